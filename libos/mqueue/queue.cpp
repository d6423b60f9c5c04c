// SPDX-License-Identifier: Apache-2.0
// Queues as objects and as files: see queue.hpp.
#include "libos/mqueue/queue.hpp"

#include "base/format.hpp"
#include "base/memory.hpp"
#include "libos/net/socket.hpp"
#include "libos/shared/roots.hpp"
#include "libos/time/timers.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {
constexpr u64 kMqueueDevice = 0x19;
constexpr u32 kTextSize = 80;  // what stat says
}  // namespace

MqNames* mq_names_if_made() { return arena::root_if_made<MqNames>(kRootMessageQueues); }
Res<MqNames*> mq_names() { return arena::root<MqNames>(kRootMessageQueues); }

void MqNames::unregister(MqInode& queue, bool woken) {
    undoable_unlink(lock, queue.in_registered);
    queue.notified = nullptr;
    File* socket = queue.socket;
    queue.socket = nullptr;
    undo_commit(lock);
    if (socket == nullptr) return;
    queue.cookie[sizeof queue.cookie - 1] = woken ? 1 : 2;  // NOTIFY_WOKENUP, NOTIFY_REMOVED
    (void)netlink_send(*socket, queue.cookie, sizeof queue.cookie);
    socket->release();
}

u64 mq_charged(MqNames& names, u32 user) {
    u64 bytes = 0;
    for (MqInode* queue = names.all.front(); queue != nullptr; queue = names.all.next(*queue))
        if (queue->charged_user == user) bytes += queue->charged;
    return bytes;
}

MqInode::~MqInode() {
    if (notified != nullptr) {
        MqNames& names = *mq_names_if_made();
        Guard guard{names.lock};
        names.unregister(*this);
    }
    while (MqMessage* message = messages.pop_front()) arena::release(message, MqMessage::bytes(message->size));
}

Res<void> MqInode::stat(Thread& thread, Stat& stat) {
    TRY(Inode::stat(thread, stat));
    stat.st_dev = kMqueueDevice;
    stat.st_nlink = in_names.linked() ? 1 : 0;
    stat.st_size = kTextSize;
    stat.st_atime = accessed;
    stat.st_mtime = modified;
    stat.st_ctime = changed;
    return {};
}

Res<void> MqInode::set_attributes(Thread&, u32 changes, const InodeAttributes& attributes) {
    if ((changes & kChangeMode) != 0) mode = kTypeRegular | (attributes.mode & 07777);
    if ((changes & kChangeOwner) != 0) uid = attributes.uid;
    if ((changes & kChangeGroup) != 0) gid = attributes.gid;
    if ((changes & kChangeAccessed) != 0) accessed = attributes.accessed;
    if ((changes & kChangeModified) != 0) modified = attributes.modified;
    changed = static_cast<i64>(realtime_now() / 1'000'000'000);
    return {};
}

Res<i64> MqFile::read(Thread&, u64 user, u64 size, u64 position) {
    TextBuffer<kTextSize + 48> text;
    auto field = [&](const char* name, u64 value, u32 width, char end) {
        TextBuffer<24> digits;
        digits.add(value);
        text.add(name, digits.view());
        for (usize at = digits.view().size(); at < width; ++at) text.add(' ');
        text.add(end);
    };
    {
        Guard guard{mq_names_if_made()->lock};
        const bool signals = queue().notified != nullptr && queue().notification.kind == 0;
        field("QSIZE:", queue().bytes, 10, ' ');
        field("NOTIFY:", queue().notified != nullptr ? static_cast<u64>(queue().notification.kind) : 0, 5, ' ');
        field("SIGNO:", signals ? static_cast<u64>(queue().notification.signal) : 0, 5, ' ');
        field("NOTIFY_PID:", queue().notified != nullptr ? queue().notified_pid : 0, 6, '\n');
    }
    std::string_view view = text.view();
    if (position >= view.size()) return 0;
    u64 count = view.size() - position < size ? view.size() - position : size;
    TRY(copy_out(user, view.data() + position, count));
    return static_cast<i64>(count);
}

Res<i64> MqFile::seek(Thread&, i64 position, u32 whence) {
    Guard guard{offset_lock};
    if (whence == 1) position += static_cast<i64>(offset);
    if (whence == 2) position += kTextSize;
    if (whence > 2 || position < 0) return Failure{Errno::inval};
    offset = static_cast<u64>(position);
    return position;
}

u32 MqFile::poll(Thread&) {
    u64 count = __atomic_load_n(&queue().count, __ATOMIC_SEQ_CST);
    u32 bits = 0;
    if (count != 0) bits |= kPollIn | kPollRdNorm;
    if (count < queue().most_messages) bits |= kPollOut | kPollWrNorm;
    return bits;
}

void MqFile::descriptor_closed(Process& process) {
    if ((process.uses & kUsesNotification) == 0) return;
    MqNames& names = *mq_names_if_made();
    Guard guard{names.lock};
    if (queue().notified == &process) names.unregister(queue());
}

void mq_process_ended(Process& process) {
    MqNames* names = mq_names_if_made();
    if (names == nullptr) return;
    Guard guard{names->lock};
    for (MqInode* queue = names->registered.front(); queue != nullptr;) {
        MqInode* next = names->registered.next(*queue);
        if (queue->notified == &process) names->unregister(*queue);
        undo_commit(names->lock);
        queue = next;
    }
}

}  // namespace postern::libos
