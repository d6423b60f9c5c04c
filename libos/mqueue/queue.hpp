// SPDX-License-Identifier: Apache-2.0
// POSIX message queues: objects with names of their own, open like files, with messages ordered by priority.
//
// One lock guards all names and queues. It is above wait queues' locks and a process's lock, and below the table of
// processes.
#pragma once

#include "libos/fs/inode.hpp"
#include "libos/process/process.hpp"

namespace postern::libos {

inline constexpr u32 kPriorityMost = 32768;

struct MqMessage {
    ListLink link;
    u32 priority = 0;
    u64 size = 0;
    u8 text[8] = {};
    static usize bytes(u64 size) { return sizeof(MqMessage) - 8 + (size < 8 ? 8 : size); }
};

/// struct sigevent's first members.
struct MqNotification {
    u64 value;
    i32 signal, kind;
};

class MqInode final : public Inode {
public:
    ~MqInode() override;
    Res<void> stat(Thread& thread, Stat& stat) override;
    Res<void> set_attributes(Thread& thread, u32 changes, const InodeAttributes& attributes) override;

    ListLink in_names;  ///< the list of names holds a reference while this is linked
    char name[kNameMax + 1] = {};
    u64 most_messages = 0, most_size = 0;
    u64 count = 0, bytes = 0;
    u64 charged = 0;  ///< against RLIMIT_MSGQUEUE
    u32 charged_user = 0;
    i64 accessed = 0, modified = 0, changed = 0;  ///< seconds
    List<MqMessage, &MqMessage::link> messages;   ///< highest priority first, the oldest first within one
    WaitQueue readers, writers, watchers;
    ListLink in_registered;  ///< while somebody is registered for a notification
    Process* notified = nullptr;
    u32 notified_pid = 0;
    MqNotification notification{};
    File* socket = nullptr;  ///< of SIGEV_THREAD: where the C library's helper thread hears of it; referenced
    u8 cookie[32] = {};      ///< what it is sent
};

class MqFile final : public File {
public:
    explicit MqFile(u32 flags) { status_flags = flags; }
    FileKind kind() const override { return FileKind::message_queue; }
    MqInode& queue() const { return static_cast<MqInode&>(*inode); }
    Res<i64> read(Thread& thread, u64 user, u64 size, u64 position) override;
    bool seekable() const override { return true; }
    Res<i64> seek(Thread& thread, i64 offset, u32 whence) override;
    Res<void> stat(Thread& thread, Stat& stat) override { return inode->stat(thread, stat); }
    u32 poll(Thread& thread) override;
    WaitQueue* wait_queue() override { return &queue().watchers; }
    void descriptor_closed(Process& process) override;
};

struct MqNames {
    SharedLock lock;
    List<MqInode, &MqInode::in_names> all;
    List<MqInode, &MqInode::in_registered> registered;
    u64 count = 0;
    /// Lock held.
    void unregister(MqInode& queue, bool woken = false);
};
Res<MqNames*> mq_names();
MqNames* mq_names_if_made();
u64 mq_charged(MqNames& names, u32 user);  ///< bytes that named queues of a user count; lock held
void mq_process_ended(Process& process);

}  // namespace postern::libos
