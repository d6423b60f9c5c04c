// SPDX-License-Identifier: Apache-2.0
// mq_open(2), mq_unlink(2), mq_timedsend(2), mq_timedreceive(2), mq_notify(2), mq_getsetattr(2).
#include "libos/mqueue/calls.hpp"

#include "base/format.hpp"
#include "base/memory.hpp"
#include "libos/fs/open.hpp"
#include "libos/fs/path.hpp"
#include "libos/ipc/anonymous.hpp"
#include "libos/mqueue/queue.hpp"
#include "libos/net/socket.hpp"
#include "libos/proc/settings.hpp"
#include "libos/time/timers.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u32 kCreate = 0100, kExclusive = 0200, kNonBlock = 04000;
constexpr u32 kCapabilityFowner = 3, kCapabilityResource = 24;
constexpr u32 kLimitQueues = 12;  // RLIMIT_MSGQUEUE
constexpr u64 kHardMessages = 65536, kHardSize = 16 << 20;

struct Attributes {  // struct mq_attr
    i64 flags, most_messages, most_size, count;
    i64 reserved[4];
};

i64 seconds_now() { return static_cast<i64>(realtime_now() / 1'000'000'000); }

struct Name {
    char text[kNameMax + 2];
    usize size;
};
Res<void> read_name(u64 user, Name& name) {
    name.size = TRY(copy_in_string(name.text, user, sizeof name.text));
    if (name.size == 0) return Failure{Errno::noent};
    if (name.size > kNameMax) return Failure{Errno::nametoolong};
    std::string_view view{name.text, name.size};
    if (view == "." || view == "..") return Failure{Errno::acces};
    for (char letter : view)
        if (letter == '/') return Failure{Errno::acces};
    return {};
}

MqInode* find(MqNames& names, const Name& name) {
    for (MqInode* queue = names.all.front(); queue != nullptr; queue = names.all.next(*queue))
        if (memcmp(queue->name, name.text, name.size + 1) == 0) return queue;
    return nullptr;
}

/// A queue of its own, not yet among the names. Lock held.
Res<MqInode*> make_queue(Thread& thread, MqNames& names, const Name& name, u32 mode, const Attributes* wanted) {
    Process& process = *thread.process;
    const bool privileged = has_capability(thread, kCapabilityResource);
    const Settings& limits = settings();
    if (names.count >= limits.mq_queue_limit && !privileged) return Failure{Errno::nospc};
    u64 messages =
        limits.mq_message_limit < limits.mq_message_default ? limits.mq_message_limit : limits.mq_message_default;
    u64 size = limits.mq_size_limit < limits.mq_size_default ? limits.mq_size_limit : limits.mq_size_default;
    if (wanted != nullptr) {
        if (wanted->most_messages <= 0 || wanted->most_size <= 0) return Failure{Errno::inval};
        messages = static_cast<u64>(wanted->most_messages);
        size = static_cast<u64>(wanted->most_size);
        if (messages > (privileged ? kHardMessages : limits.mq_message_limit) ||
            size > (privileged ? kHardSize : limits.mq_size_limit))
            return Failure{Errno::inval};
    }
    const u64 tree = messages * 48 + (messages < kPriorityMost ? messages : u64{kPriorityMost}) * 48;
    const u64 charge = messages * size + tree;
    const u32 user = process.credentials.uid;
    if (mq_charged(names, user) + charge > process.limits[kLimitQueues][0]) return Failure{Errno::mfile};
    MqInode* queue = TRY(make_inode<MqInode>());
    memcpy(queue->name, name.text, name.size + 1);
    queue->mode = kTypeRegular | (mode & ~process.fs->umask & 07777);
    queue->uid = process.credentials.fsuid;
    queue->gid = process.credentials.fsgid;
    queue->most_messages = messages;
    queue->most_size = size;
    queue->charged = charge;
    queue->charged_user = user;
    queue->accessed = queue->modified = queue->changed = seconds_now();
    return queue;
}

}  // namespace

Res<i64> sys_mq_open(Thread& thread, Arguments arguments) {
    const u32 flags = static_cast<u32>(arguments[1]);
    Attributes wanted;
    const bool has_attributes = arguments[3] != 0;
    if (has_attributes) TRY(copy_in(&wanted, arguments[3], sizeof wanted));
    Name name;
    TRY(read_name(arguments[0], name));
    const u32 access = flags & kAccessMask;
    MqNames& names = *TRY(mq_names());
    InodeRef inode;
    {
        Guard guard{names.lock};
        MqInode* queue = find(names, name);
        if (queue != nullptr) {
            if ((flags & (kCreate | kExclusive)) == (kCreate | kExclusive)) return Failure{Errno::exist};
            if (access == 3) return Failure{Errno::inval};
            TRY(check_permission(thread, *queue, access == 0 ? 4 : access == 1 ? 2 : 6));
            inode = InodeRef::share(queue);
        } else {
            if ((flags & kCreate) == 0) return Failure{Errno::noent};
            queue = TRY(
                make_queue(thread, names, name, static_cast<u32>(arguments[2]), has_attributes ? &wanted : nullptr));
            inode = InodeRef{queue};
            queue->reference();
            undoable_push_back(names.lock, names.all, *queue);
            set_undoable(names.lock, names.count, names.count + 1);
        }
    }
    MqFile* made = TRY(make_file<MqFile>(flags & (kAccessMask | kNonBlock)));
    FileRef file{made};
    TextBuffer<kNameMax + 2> path;
    path.add('/', std::string_view{name.text, name.size});
    set_path(*made, path.view());
    made->inode = inode.leak();
    u32 fd = TRY(thread.process->files->install(std::move(file), true));
    return static_cast<i64>(fd);
}

Res<i64> sys_mq_unlink(Thread& thread, Arguments arguments) {
    Name name;
    TRY(read_name(arguments[0], name));
    MqNames& names = *TRY(mq_names());
    MqInode* queue;
    {
        Guard guard{names.lock};
        queue = find(names, name);
        if (queue == nullptr) return Failure{Errno::noent};
        // The directory of queues is sticky; mq_unlink(3) says EACCES.
        if (thread.process->credentials.fsuid != queue->uid && !has_capability(thread, kCapabilityFowner))
            return Failure{Errno::acces};
        undoable_unlink(names.lock, queue->in_names);
        set_undoable(names.lock, names.count, names.count - 1);
        queue->changed = seconds_now();
    }
    queue->release();
    return 0;
}

namespace {

/// An absolute time of the wall clock, on the monotonic one. Clocks inside are never set.
Res<gate::Deadline> read_deadline(u64 user) {
    if (user == 0) return gate::kForever;
    TimeSpec time = TRY(read_user<TimeSpec>(user));
    u64 at = TRY(to_nanoseconds(time));
    u64 wall = realtime_now();
    return deadline_after(at > wall ? at - wall : 0);
}

Res<MqFile*> queue_file(File& file, bool wanted_access) {
    if (file.kind() != FileKind::message_queue || !wanted_access) return Failure{Errno::badf};
    return static_cast<MqFile*>(&file);
}

/// Lock held: tells the registered process, once, of a message in a queue that was empty and that nobody waits at.
void notify(Thread& sender, MqInode& queue) {
    Process* process = queue.notified;
    if (process == nullptr) return;
    mq_names_if_made()->unregister(queue, true);
    if (queue.notification.kind != 0) return;  // SIGEV_NONE, or SIGEV_THREAD, which has heard
    SignalInfo info;
    info.signal = queue.notification.signal;
    info.code = -3;  // SI_MESGQ
    info.rt.pid = sender.process->pid;
    info.rt.uid = sender.process->credentials.uid;
    info.rt.value = queue.notification.value;
    send_signal(*process, info);
}

void insert(SharedLock& lock, MqInode& queue, MqMessage& message) {
    MqMessage* before = queue.messages.back();
    while (before != nullptr && before->priority < message.priority) before = queue.messages.previous(*before);
    ListLink& place = before != nullptr ? before->link : queue.messages.end_link();
    undoable_insert(lock, place, message.link);
    set_undoable(lock, queue.count, queue.count + 1);
    set_undoable(lock, queue.bytes, queue.bytes + message.size);
}

void free_message(MqMessage* message) { arena::release(message, MqMessage::bytes(message->size)); }

/// Puts the message in or waits for room.
Res<void> put(Thread& thread, MqFile& file, MqMessage& message, gate::Deadline deadline) {
    MqInode& queue = file.queue();
    SharedLock& lock = mq_names_if_made()->lock;
    for (;;) {
        {
            Guard guard{lock};
            if (queue.count < queue.most_messages) {
                const bool was_empty = queue.count == 0;
                insert(lock, queue, message);
                queue.modified = queue.changed = seconds_now();
                if (was_empty && !queue.readers.has_waiters()) notify(thread, queue);
                break;
            }
        }
        if ((file.status_flags & kNonBlock) != 0) return Failure{Errno::again};
        TRY(wait_until(thread, queue.writers, kPollOut, deadline,
                       [&] { return __atomic_load_n(&queue.count, __ATOMIC_SEQ_CST) < queue.most_messages; }));
    }
    queue.readers.wake(kPollIn);
    queue.watchers.wake(kPollIn | kPollRdNorm);
    return {};
}

Res<MqMessage*> get(Thread& thread, MqFile& file, gate::Deadline deadline) {
    MqInode& queue = file.queue();
    SharedLock& lock = mq_names_if_made()->lock;
    MqMessage* message;
    for (;;) {
        {
            Guard guard{lock};
            message = queue.messages.front();
            if (message != nullptr) {
                undoable_unlink(lock, message->link);
                set_undoable(lock, queue.count, queue.count - 1);
                set_undoable(lock, queue.bytes, queue.bytes - message->size);
                queue.accessed = queue.changed = seconds_now();
                break;
            }
        }
        if ((file.status_flags & kNonBlock) != 0) return Failure{Errno::again};
        TRY(wait_until(thread, queue.readers, kPollIn, deadline,
                       [&] { return __atomic_load_n(&queue.count, __ATOMIC_SEQ_CST) != 0; }));
    }
    queue.writers.wake(kPollOut);
    queue.watchers.wake(kPollOut | kPollWrNorm);
    return message;
}

}  // namespace

Res<i64> sys_mq_timedsend(Thread& thread, Arguments arguments) {
    gate::Deadline deadline = TRY(read_deadline(arguments[4]));
    const u64 size = arguments[2];
    const u32 priority = static_cast<u32>(arguments[3]);
    if (priority >= kPriorityMost) return Failure{Errno::inval};
    HeldFile held;
    TRY(held.hold(thread, static_cast<u32>(arguments[0])));
    MqFile& file = *TRY(queue_file(*held.get(), writable(*held.get())));
    if (size > file.queue().most_size) return Failure{Errno::msgsize};
    void* memory = TRY(arena::allocate(MqMessage::bytes(size)));
    auto* message = new (memory) MqMessage;
    message->priority = priority;
    message->size = size;
    Res<void> done = copy_in(message->text, arguments[1], size);
    if (done.ok()) done = put(thread, file, *message, deadline);
    if (done.ok()) return 0;
    free_message(message);
    return Failure{done.error()};
}

Res<i64> sys_mq_timedreceive(Thread& thread, Arguments arguments) {
    gate::Deadline deadline = TRY(read_deadline(arguments[4]));
    HeldFile held;
    TRY(held.hold(thread, static_cast<u32>(arguments[0])));
    MqFile& file = *TRY(queue_file(*held.get(), readable(*held.get())));
    if (arguments[2] < file.queue().most_size) return Failure{Errno::msgsize};
    MqMessage* message = TRY(get(thread, file, deadline));
    const u64 size = message->size;
    Res<void> copied = copy_out(arguments[1], message->text, size);
    if (copied.ok() && arguments[3] != 0) copied = write_user(arguments[3], message->priority);
    free_message(message);
    TRY(std::move(copied));
    return static_cast<i64>(size);
}

Res<i64> sys_mq_notify(Thread& thread, Arguments arguments) {
    MqNotification wanted{};
    const bool registers = arguments[1] != 0;
    if (registers) {
        wanted = TRY(read_user<MqNotification>(arguments[1]));
        if (wanted.kind < 0 || wanted.kind > 2) return Failure{Errno::inval};
        if (wanted.kind == 0 && (wanted.signal < 0 || wanted.signal > static_cast<i32>(kSignalCount)))
            return Failure{Errno::inval};
    }
    HeldFile held;
    TRY(held.hold(thread, static_cast<u32>(arguments[0])));
    MqFile& file = *TRY(queue_file(*held.get(), true));
    MqInode& queue = file.queue();
    u8 cookie[sizeof queue.cookie] = {};
    FileRef socket;
    if (registers && wanted.kind == 2) {  // SIGEV_THREAD: `signal` is a netlink socket, `value` leads to the cookie
        TRY(copy_in(cookie, wanted.value, sizeof cookie));
        socket = TRY(thread.process->files->get(static_cast<u32>(wanted.signal)));
        TRY(netlink_send(*socket, nullptr, 0));
    }
    Process& process = *thread.process;
    MqNames& names = *mq_names_if_made();
    Guard guard{names.lock};
    if (!registers) {
        if (queue.notified == &process) names.unregister(queue);
        return 0;
    }
    if (queue.notified != nullptr) return Failure{Errno::busy};
    process.uses |= kUsesNotification;
    queue.notified = &process;
    queue.notified_pid = process.pid;
    queue.notification = wanted;
    queue.socket = socket.leak();
    memcpy(queue.cookie, cookie, sizeof cookie);
    undoable_push_back(names.lock, names.registered, queue);
    return 0;
}

Res<i64> sys_mq_getsetattr(Thread& thread, Arguments arguments) {
    Attributes wanted{};
    if (arguments[1] != 0) {
        TRY(copy_in(&wanted, arguments[1], sizeof wanted));
        if ((wanted.flags & ~i64{kNonBlock}) != 0) return Failure{Errno::inval};
    }
    HeldFile held;
    TRY(held.hold(thread, static_cast<u32>(arguments[0])));
    MqFile& file = *TRY(queue_file(*held.get(), true));
    MqInode& queue = file.queue();
    Attributes old{};
    old.flags = file.status_flags & kNonBlock;
    old.most_messages = static_cast<i64>(queue.most_messages);
    old.most_size = static_cast<i64>(queue.most_size);
    old.count = static_cast<i64>(queue.count);
    if (arguments[1] != 0)
        file.status_flags = (file.status_flags & ~kNonBlock) | static_cast<u32>(wanted.flags & kNonBlock);
    if (arguments[2] != 0) TRY(write_user(arguments[2], old));
    return 0;
}

}  // namespace postern::libos
