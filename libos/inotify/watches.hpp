// SPDX-License-Identifier: Apache-2.0
// Watches, instances and their queues of events: see notify.hpp. One lock guards all of it.
#pragma once

#include "libos/fs/fd_table.hpp"
#include "libos/inotify/notify.hpp"

namespace postern::libos {

class InotifyFile;

inline constexpr u32 kWatchOnce = 0x80000000;  ///< IN_ONESHOT

struct Watch {
    ListLink in_instance;
    Watch* next_by_path = nullptr;
    Watch* next_by_inode = nullptr;   ///< of those with an inode
    InotifyFile* instance = nullptr;  ///< null: for F_NOTIFY, with the three below
    File* directory = nullptr;        ///< not referenced: it tells when it goes
    const FdTable* owner = nullptr;
    u32 fd = 0;
    Inode* inode = nullptr;  ///< not referenced: it tells when it goes
    u64 number = 0;          ///< st_ino, for fdinfo
    char* path = nullptr;
    u32 length = 0;
    u32 mask = 0;
    i32 id = 0;
    std::string_view view() const { return {path, length}; }
};

struct QueuedNotice {
    ListLink link;
    i32 watch = 0;
    u32 mask = 0, cookie = 0;
    u32 length = 0;  ///< of the name as told: with its NULs, a multiple of 16, or 0
    char name[16] = {};
    static usize bytes(u32 length) { return sizeof(QueuedNotice) - 16 + (length < 16 ? 16 : length); }
};

struct NotifyTable {
    u64 watches = 0;  ///< first: notify_active() looks at it
    static constexpr u32 kBuckets = 256;
    SharedLock lock;
    Watch* by_path[kBuckets] = {};
    Watch* by_inode[kBuckets] = {};
    List<Watch, &Watch::in_instance> directories;  ///< of F_NOTIFY
    u32 instances = 0;
    u32 cookie = 0;
};
Res<NotifyTable*> notify_table();
NotifyTable* notify_table_if_made();

class InotifyFile final : public File {
public:
    explicit InotifyFile(u32 flags) { status_flags = flags; }
    ~InotifyFile() override;
    FileKind kind() const override { return FileKind::inotify; }
    Res<i64> read(Thread& thread, u64 user, u64 size, u64 position) override;
    Res<i64> write(Thread&, u64, u64, u64) override { return Failure{Errno::badf}; }
    Res<i64> ioctl(Thread& thread, u32 request, u64 argument) override;
    Res<void> stat(Thread& thread, Stat& stat) override;
    u32 poll(Thread&) override { return __atomic_load_n(&count, __ATOMIC_SEQ_CST) != 0 ? kPollIn | kPollRdNorm : 0; }
    WaitQueue* wait_queue() override { return &queue; }
    bool signals_readiness() const override { return true; }

    // Guarded by the table's lock.
    List<Watch, &Watch::in_instance> watches;
    List<QueuedNotice, &QueuedNotice::link> notices;
    u64 count = 0, bytes = 0;
    i32 last_id = 0;
    u32 overflowed = 0;
    WaitQueue queue;
};

// Lock held, all below.
void watch_enter(NotifyTable& table, Watch& watch);
void watch_leave(NotifyTable& table, Watch& watch);  ///< out of all lists; freed
void notice_add(NotifyTable& table, InotifyFile& instance, i32 id, u32 mask, u32 cookie, std::string_view name);
Watch* watch_of(InotifyFile& instance, i32 id);

}  // namespace postern::libos
