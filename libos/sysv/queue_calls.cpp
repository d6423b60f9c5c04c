// SPDX-License-Identifier: Apache-2.0
// msgget(2), msgsnd(2), msgrcv(2), msgctl(2).
#include "base/memory.hpp"
#include "libos/proc/settings.hpp"
#include "libos/proc/text.hpp"
#include "libos/sysv/calls.hpp"
#include "libos/sysv/queue.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u32 kCapabilityResource = 24;

MessageQueue& queue_of(SysvObject* object) { return *static_cast<MessageQueue*>(object); }
Res<MessageQueue*> find_queue(SysvTable& table, i32 id) {
    SysvObject* object = TRY(table.find(id));
    return static_cast<MessageQueue*>(object);
}
Res<SysvMessage*> make_message(i64 type, u64 size) {
    void* memory = TRY(arena::allocate(SysvMessage::bytes(size)));
    auto* message = new (memory) SysvMessage;
    message->type = type;
    message->size = size;
    return message;
}
MessageWaiter& waiter_of(SysvWaiter& waiter) { return static_cast<MessageWaiter&>(waiter); }
void free_message(SysvMessage* message) { arena::release(message, SysvMessage::bytes(message->size)); }

bool matches(const SysvMessage& message, MessageMatch match, i64 type) {
    switch (match) {
        case MessageMatch::any: return true;
        case MessageMatch::equal: return message.type == type;
        case MessageMatch::not_equal: return message.type != type;
        case MessageMatch::less_or_equal: return message.type <= type;
        case MessageMatch::number: return false;
    }
    return false;
}

/// The message to receive, null: none. Of those up to a type the lowest type comes first.
SysvMessage* choose(MessageQueue& queue, MessageMatch match, i64 type) {
    SysvMessage* found = nullptr;
    i64 position = 0;
    for (SysvMessage* message = queue.messages.front(); message != nullptr; message = queue.messages.next(*message)) {
        if (match == MessageMatch::number) {
            if (position++ == type) return message;
            continue;
        }
        if (!matches(*message, match, type)) continue;
        if (match != MessageMatch::less_or_equal || message->type == 1) return message;
        found = message;
        type = message->type - 1;
    }
    return found;
}

/// Hands a new message to a receiver that sleeps for it. False: nobody wants it.
bool hand_over(SysvTable& table, MessageQueue& queue, SysvMessage& message) {
    while (true) {
        SysvWaiter* waiter = queue.receivers.front();
        while (waiter != nullptr && !matches(message, waiter_of(*waiter).match, waiter_of(*waiter).type))
            waiter = queue.receivers.next(*waiter);
        if (waiter == nullptr) return false;
        MessageWaiter& receiver = waiter_of(*waiter);
        if (receiver.room < message.size && receiver.cuts == 0) {
            sysv_decide(table, *waiter, Errno::toobig);
            continue;
        }
        receiver.message = &message;
        queue.last_receiver = receiver.process->pid;
        queue.received = sysv_seconds();
        sysv_decide(table, *waiter, Errno::ok);
        return true;
    }
}

bool fits(const MessageQueue& queue, u64 size) {
    return size + queue.bytes <= queue.most_bytes && 1 + queue.count <= queue.most_bytes;
}

/// Senders try again, in order; as many as there is room for.
void wake_senders(SysvTable& table, MessageQueue& queue) {
    u64 bytes = queue.bytes, count = queue.count;
    SysvWaiter* waiter = queue.senders.front();
    while (waiter != nullptr) {
        SysvWaiter* next = queue.senders.next(*waiter);
        u64 size = waiter_of(*waiter).room;
        if (size + bytes <= queue.most_bytes && 1 + count <= queue.most_bytes) {
            bytes += size;
            ++count;
            sysv_decide(table, *waiter, Errno::ok);
        }
        waiter = next;
    }
}

/// Sleeps as `receivers` or `senders` of the queue. Lock not held afterwards; the waiter is off all lists.
i32 sleep_on(Thread& thread, SysvTable& table, MessageWaiter& waiter) {
    Blocker blocker{thread};
    (void)sysv_sleep(thread, blocker, waiter, gate::kForever);
    Guard guard{table.lock};
    i32 status = waiter.status;
    sysv_leave_waiter(table, waiter);
    return status == SysvWaiter::kPending ? -static_cast<i32>(Errno::intr) : status;
}

}  // namespace

Res<i64> sys_msgget(Thread& thread, Arguments arguments) {
    const i32 key = static_cast<i32>(arguments[0]);
    const u32 flags = static_cast<u32>(arguments[1]);
    SysvTable& table = *TRY(sysv_table(SysvKind::queues));
    Guard guard{table.lock};
    SysvObject* found = TRY(sysv_get(thread, table, key, flags));
    if (found != nullptr) {
        TRY(sysv_permission(thread, *found, flags));
        return found->id;
    }
    MessageQueue* queue = TRY(arena::create<MessageQueue>());
    queue->most_bytes = settings().queue_bytes_limit;
    sysv_adopt(thread, *queue, key, flags);
    auto entered = table.enter(*queue, static_cast<u32>(settings().queue_limit), take_next_id(settings().next_queue));
    if (!entered.ok()) {
        arena::destroy(queue);
        return Failure{entered.error()};
    }
    return queue->id;
}

Res<i64> sys_msgsnd(Thread& thread, Arguments arguments) {
    const i32 id = static_cast<i32>(arguments[0]);
    const u64 user = arguments[1], size = arguments[2];
    const u32 flags = static_cast<u32>(arguments[3]);
    const i64 type = TRY(read_user<i64>(user));
    if (size > settings().message_limit || id < 0) return Failure{Errno::inval};
    if (type < 1) return Failure{Errno::inval};
    SysvMessage* message = TRY(make_message(type, size));
    Res<i64> result = [&]() -> Res<i64> {
        TRY(copy_in(message->text, user + sizeof(i64), size));
        SysvTable& table = *TRY(sysv_table(SysvKind::queues));
        for (bool first = true;; first = false) {
            MessageWaiter* waiter;
            {
                Guard guard{table.lock};
                auto found = table.find(id);
                if (!found.ok()) return Failure{first ? found.error() : Errno::idrm};
                MessageQueue& queue = queue_of(found.value());
                TRY(sysv_permission(thread, queue, 0222));
                if (fits(queue, size)) {
                    queue.last_sender = thread.process->pid;
                    queue.sent = sysv_seconds();
                    if (hand_over(table, queue, *message)) return 0;
                    undoable_push_back(table.lock, queue.messages, *message);
                    set_undoable(table.lock, queue.bytes, queue.bytes + size);
                    set_undoable(table.lock, queue.count, queue.count + 1);
                    set_undoable(table.lock, table.total, table.total + size);
                    set_undoable(table.lock, table.items, table.items + 1);
                    return 0;
                }
                if ((flags & IPC_NOWAIT) != 0) return Failure{Errno::again};
                waiter = TRY(arena::create<MessageWaiter>());
                waiter->sends = 1;
                waiter->room = size;
                sysv_enter_waiter(table, thread, *waiter);
                undoable_push_back(table.lock, queue.senders, static_cast<SysvWaiter&>(*waiter));
            }
            i32 status = sleep_on(thread, table, *waiter);
            arena::destroy(waiter);
            if (status != 0) return Failure{static_cast<Errno>(-status)};
        }
    }();
    if (!result.ok()) free_message(message);
    return result;
}

namespace {

struct Selection {
    MessageMatch match;
    i64 type;
};
Selection selection_of(i64 type, u32 flags) {
    if ((flags & MSG_COPY) != 0) return {MessageMatch::number, type};
    if (type == 0) return {MessageMatch::any, 0};
    if (type < 0) return {MessageMatch::less_or_equal, type == INT64_MIN ? INT64_MAX : -type};
    return {(flags & MSG_EXCEPT) != 0 ? MessageMatch::not_equal : MessageMatch::equal, type};
}

Res<SysvMessage*> copy_of(const SysvMessage& from) {
    SysvMessage* message = TRY(make_message(from.type, from.size));
    memcpy(message->text, from.text, from.size);
    return message;
}

/// Off the queue, or a copy with MSG_COPY. Blocks unless IPC_NOWAIT.
Res<SysvMessage*> receive(Thread& thread, i32 id, u64 room, Selection selection, u32 flags) {
    SysvTable& table = *TRY(sysv_table(SysvKind::queues));
    for (bool first = true;; first = false) {
        MessageWaiter* waiter;
        {
            Guard guard{table.lock};
            auto found = table.find(id);
            if (!found.ok()) return Failure{first ? found.error() : Errno::idrm};
            MessageQueue& queue = queue_of(found.value());
            TRY(sysv_permission(thread, queue, 0444));
            SysvMessage* message = choose(queue, selection.match, selection.type);
            if (message != nullptr) {
                if (room < message->size && (flags & MSG_NOERROR) == 0) return Failure{Errno::toobig};
                if (selection.match == MessageMatch::number) return copy_of(*message);
                undoable_unlink(table.lock, message->link);
                set_undoable(table.lock, queue.bytes, queue.bytes - message->size);
                set_undoable(table.lock, queue.count, queue.count - 1);
                set_undoable(table.lock, table.total, table.total - message->size);
                set_undoable(table.lock, table.items, table.items - 1);
                undo_commit(table.lock);
                queue.received = sysv_seconds();
                queue.last_receiver = thread.process->pid;
                wake_senders(table, queue);
                return message;
            }
            if ((flags & IPC_NOWAIT) != 0) return Failure{Errno::nomsg};
            waiter = TRY(arena::create<MessageWaiter>());
            waiter->match = selection.match;
            waiter->type = selection.type;
            waiter->room = room;
            waiter->cuts = (flags & MSG_NOERROR) != 0;
            sysv_enter_waiter(table, thread, *waiter);
            undoable_push_back(table.lock, queue.receivers, static_cast<SysvWaiter&>(*waiter));
        }
        i32 status = sleep_on(thread, table, *waiter);
        SysvMessage* message = waiter->message;
        arena::destroy(waiter);
        if (status == -static_cast<i32>(Errno::again)) continue;  // the queue's owner or mode changed
        if (status != 0) return Failure{static_cast<Errno>(-status)};
        return message;
    }
}

}  // namespace

Res<i64> sys_msgrcv(Thread& thread, Arguments arguments) {
    const i32 id = static_cast<i32>(arguments[0]);
    const u64 user = arguments[1], room = arguments[2];
    const u32 flags = static_cast<u32>(arguments[4]);
    if (id < 0 || static_cast<i64>(room) < 0) return Failure{Errno::inval};
    if ((flags & MSG_COPY) != 0 && ((flags & MSG_EXCEPT) != 0 || (flags & IPC_NOWAIT) == 0))
        return Failure{Errno::inval};
    SysvMessage* message = TRY(receive(thread, id, room, selection_of(static_cast<i64>(arguments[3]), flags), flags));
    u64 size = message->size < room ? message->size : room;
    Res<void> copied = write_user(user, message->type);
    if (copied.ok()) copied = copy_out(user + sizeof(i64), message->text, size);
    free_message(message);
    TRY(std::move(copied));
    return static_cast<i64>(size);
}

namespace {

Res<i64> read_status(Thread& thread, SysvTable& table, i32 id, u32 command, u64 user) {
    msqid64_ds status;
    memset(&status, 0, sizeof status);
    i64 result = 0;
    {
        Guard guard{table.lock};
        MessageQueue* queue;
        if (command == IPC_STAT) {
            queue = TRY(find_queue(table, id));
        } else {
            queue = static_cast<MessageQueue*>(table.at(static_cast<u32>(id) & (SysvTable::kMost - 1)));
            if (queue == nullptr) return Failure{Errno::inval};
            result = queue->id;
        }
        if (command != MSG_STAT_ANY) TRY(sysv_permission(thread, *queue, 0444));
        sysv_fill(status.msg_perm, *queue);
        status.msg_stime = queue->sent;
        status.msg_rtime = queue->received;
        status.msg_ctime = queue->changed;
        status.msg_cbytes = queue->bytes;
        status.msg_qnum = queue->count;
        status.msg_qbytes = queue->most_bytes;
        status.msg_lspid = static_cast<i32>(queue->last_sender);
        status.msg_lrpid = static_cast<i32>(queue->last_receiver);
    }
    TRY(write_user(user, status));
    return result;
}

Res<i64> read_info(SysvTable& table, bool usage, u64 user) {
    msginfo info;
    memset(&info, 0, sizeof info);
    info.msgmax = static_cast<i32>(settings().message_limit);
    info.msgmnb = static_cast<i32>(settings().queue_bytes_limit);
    info.msgmni = static_cast<i32>(settings().queue_limit);
    info.msgssz = 16;
    info.msgseg = 0xffff;
    info.msgmap = info.msgtql = 16384;
    info.msgpool = 512000;
    i64 highest;
    {
        Guard guard{table.lock};
        if (usage) {
            info.msgpool = static_cast<i32>(table.count());
            info.msgmap = static_cast<i32>(table.items);
            info.msgtql = static_cast<i32>(table.total);
        }
        highest = table.highest() < 0 ? 0 : table.highest();
    }
    TRY(write_user(user, info));
    return highest;
}

Res<i64> change(Thread& thread, SysvTable& table, i32 id, u64 user) {
    auto wanted = TRY(read_user<msqid64_ds>(user));
    Guard guard{table.lock};
    MessageQueue& queue = *TRY(find_queue(table, id));
    TRY(sysv_owner(thread, queue));
    if (wanted.msg_qbytes > settings().queue_bytes_limit && !sysv_capable(thread, kCapabilityResource))
        return Failure{Errno::perm};
    TRY(sysv_set(queue, wanted.msg_perm));
    queue.most_bytes = wanted.msg_qbytes;
    queue.changed = sysv_seconds();
    while (SysvWaiter* waiter = queue.receivers.front()) sysv_decide(table, *waiter, Errno::again);
    wake_senders(table, queue);
    return 0;
}

Res<i64> remove(Thread& thread, SysvTable& table, i32 id) {
    MessageQueue* queue;
    {
        Guard guard{table.lock};
        queue = TRY(find_queue(table, id));
        TRY(sysv_owner(thread, *queue));
        set_undoable(table.lock, table.total, table.total - queue->bytes);
        set_undoable(table.lock, table.items, table.items - queue->count);
        table.leave(*queue);
        undo_commit(table.lock);
        while (SysvWaiter* waiter = queue->receivers.front()) sysv_decide(table, *waiter, Errno::idrm);
        while (SysvWaiter* waiter = queue->senders.front()) sysv_decide(table, *waiter, Errno::idrm);
    }
    while (SysvMessage* message = queue->messages.pop_front()) free_message(message);
    arena::destroy(queue);
    return 0;
}

}  // namespace

Res<i64> sys_msgctl(Thread& thread, Arguments arguments) {
    const i32 id = static_cast<i32>(arguments[0]), command = static_cast<i32>(arguments[1]);
    const u64 user = arguments[2];
    if (id < 0 || command < 0) return Failure{Errno::inval};
    SysvTable& table = *TRY(sysv_table(SysvKind::queues));
    switch (command) {
        case IPC_INFO:
        case MSG_INFO: return read_info(table, command == MSG_INFO, user);
        case IPC_STAT:
        case MSG_STAT:
        case MSG_STAT_ANY: return read_status(thread, table, id, static_cast<u32>(command), user);
        case IPC_SET: return change(thread, table, id, user);
        case IPC_RMID: return remove(thread, table, id);
        default: return Failure{Errno::inval};
    }
}

void queues_process_killed(Process& process) {
    SysvTable* table = sysv_table_if_made(SysvKind::queues);
    if (table == nullptr) return;
    Guard guard{table->lock};
    for (SysvWaiter* waiter = table->waiters.front(); waiter != nullptr;) {
        SysvWaiter* next = table->waiters.next(*waiter);
        if (waiter->process == &process) {
            sysv_leave_waiter(*table, *waiter);
            undo_commit(table->lock);
            if (waiter_of(*waiter).message != nullptr) free_message(waiter_of(*waiter).message);
            arena::destroy(&waiter_of(*waiter));
        }
        waiter = next;
    }
}

Res<void> queues_text(Thread&, ProcText& text) {
    text.add("       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      ",
             "rtime      ctime\n");
    SysvTable* table = sysv_table_if_made(SysvKind::queues);
    if (table == nullptr) return {};
    Guard guard{table->lock};
    auto number = [](u64 value, int width) { return Padded{static_cast<i64>(value), width}; };
    for (i32 index = 0; index <= table->highest(); ++index) {
        auto* queue = static_cast<MessageQueue*>(table->at(static_cast<u32>(index)));
        if (queue == nullptr) continue;
        TextBuffer<16> mode;
        mode.add(Octal{queue->mode, 0});
        text.add(Padded{queue->key, 10}, ' ', Padded{queue->id, 10}, ' ');
        for (usize blank = mode.view().size(); blank < 5; ++blank) text.add(' ');
        text.add(mode.view(), "  ", number(queue->bytes, 10), ' ', number(queue->count, 10), ' ',
                 number(queue->last_sender, 5), ' ', number(queue->last_receiver, 5), ' ');
        text.add(number(queue->uid, 5), ' ', number(queue->gid, 5), ' ', number(queue->creator_uid, 5), ' ',
                 number(queue->creator_gid, 5), ' ', Padded{queue->sent, 10}, ' ', Padded{queue->received, 10}, ' ',
                 Padded{queue->changed, 10}, '\n');
    }
    return {};
}

}  // namespace postern::libos
