// SPDX-License-Identifier: Apache-2.0
// semget(2), semop(2), semtimedop(2), semctl(2).
#include "base/memory.hpp"
#include "libos/proc/settings.hpp"
#include "libos/sysv/calls.hpp"
#include "libos/sysv/semaphore.hpp"
#include "libos/time/timers.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

SemaphoreSet& set_of(SysvObject* object) { return *static_cast<SemaphoreSet*>(object); }
Res<SemaphoreSet*> find_set(SysvTable& table, i32 id) {
    SysvObject* object = TRY(table.find(id));
    return static_cast<SemaphoreSet*>(object);
}

/// Memory of the calling picoprocess for as long as a call lasts.
class Scratch {
public:
    Scratch() = default;
    Scratch(const Scratch&) = delete;
    ~Scratch() {
        if (memory_ != nullptr) heap::release(memory_, size_);
    }
    Res<void*> take(usize size) {
        memory_ = TRY(heap::allocate(size));
        size_ = size;
        return memory_;
    }

private:
    void* memory_ = nullptr;
    usize size_ = 0;
};

Res<i64> existing(Thread& thread, SemaphoreSet& set, i32 count, u32 flags) {
    if (static_cast<u32>(count) > set.count) return Failure{Errno::inval};
    TRY(sysv_permission(thread, set, flags));
    return set.id;
}

/// The process's adjustments to the set, made if there are none. Lock held.
Res<SemaphoreUndo*> find_undo(SysvTable& table, SemaphoreSet& set, Process& process) {
    for (SemaphoreUndo* undo = set.undos.front(); undo != nullptr; undo = set.undos.next(*undo))
        if (undo->process == &process) return undo;
    void* memory = TRY(arena::allocate(SemaphoreUndo::bytes(set.count)));
    auto* undo = new (memory) SemaphoreUndo;
    undo->process = &process;
    undo->count = set.count;
    process.uses |= kUsesUndo;
    undoable_push_back(table.lock, set.undos, *undo);
    undo_commit(table.lock);
    return undo;
}

}  // namespace

Res<i64> sys_semget(Thread& thread, Arguments arguments) {
    const i32 key = static_cast<i32>(arguments[0]), count = static_cast<i32>(arguments[1]);
    const u32 flags = static_cast<u32>(arguments[2]);
    const auto& limits = settings().semaphore_limits;
    if (count < 0 || static_cast<u64>(count) > limits[0]) return Failure{Errno::inval};
    SysvTable& table = *TRY(sysv_table(SysvKind::semaphores));
    TRY(prepare_journal());
    SemaphoreGuard guard{table};
    SysvObject* found = TRY(sysv_get(thread, table, key, flags));
    if (found != nullptr) return existing(thread, set_of(found), count, flags);
    if (count == 0) return Failure{Errno::inval};
    if (table.total + static_cast<u64>(count) > limits[1]) return Failure{Errno::nospc};
    const usize bytes = SemaphoreSet::bytes(static_cast<u32>(count));
    void* memory = TRY(arena::allocate(bytes));
    auto* set = new (memory) SemaphoreSet;
    set->count = static_cast<u32>(count);
    sysv_adopt(thread, *set, key, flags);
    auto entered = table.enter(*set, static_cast<u32>(limits[3]), take_next_id(settings().next_semaphore));
    if (!entered.ok()) {
        arena::release(set, bytes);
        return Failure{entered.error()};
    }
    set_undoable(table.lock, table.total, table.total + static_cast<u64>(count));
    return set->id;
}

namespace {

Res<i64> operate(Thread& thread, Arguments arguments, gate::Deadline deadline) {
    const i32 id = static_cast<i32>(arguments[0]);
    const u64 wanted_count = static_cast<u32>(arguments[2]);
    if (wanted_count < 1 || id < 0) return Failure{Errno::inval};
    if (wanted_count > settings().semaphore_limits[2] || wanted_count > kOperationMost) return Failure{Errno::toobig};
    const u32 count = static_cast<u32>(wanted_count);
    sembuf few[8];
    sembuf* operations = few;
    Scratch scratch;
    if (count > 8) {
        void* memory = TRY(scratch.take(count * sizeof(sembuf)));
        operations = static_cast<sembuf*>(memory);
    }
    TRY(copy_in(operations, arguments[1], count * sizeof(sembuf)));
    u32 highest = 0;
    bool undoes = false, alters = false;
    for (u32 index = 0; index < count; ++index) {
        if (operations[index].sem_num > highest) highest = operations[index].sem_num;
        if ((operations[index].sem_flg & SEM_UNDO) != 0) undoes = true;
        if (operations[index].sem_op != 0) alters = true;
    }
    Process& process = *thread.process;
    SysvTable& table = *TRY(sysv_table(SysvKind::semaphores));
    SemaphoreSleeper* sleeper;
    const usize bytes = SemaphoreSleeper::bytes(count);
    {
        SemaphoreGuard guard{table};
        SemaphoreSet& set = *TRY(find_set(table, id));
        if (highest >= set.count) return Failure{Errno::fbig};
        TRY(sysv_permission(thread, set, alters ? 0222 : 0444));
        SemaphoreUndo* undo = nullptr;
        if (undoes) undo = TRY(find_undo(table, set, process));
        u32 blocking = 0;
        bool would_wait = true;
        auto done = perform(set, operations, count, process.pid, undo, blocking, would_wait);
        if (done.ok()) {
            if (alters) serve_sleepers(table, set);
            return 0;
        }
        if (done.error() != Errno::again || !would_wait) return Failure{done.error()};
        void* memory = TRY(arena::allocate(bytes));
        sleeper = new (memory) SemaphoreSleeper;
        sleeper->set = &set;
        sleeper->undo = undo;
        sleeper->pid = process.pid;
        sleeper->count = count;
        sleeper->blocking = blocking;
        sleeper->alters = alters;
        memcpy(sleeper->operations, operations, count * sizeof(sembuf));
        sysv_enter_waiter(table, thread, *sleeper);
        undoable_push_back(table.lock, set.sleepers, static_cast<SysvWaiter&>(*sleeper));
    }
    Blocker blocker{thread};
    auto slept = sysv_sleep(thread, blocker, *sleeper, deadline);
    i32 status;
    {
        SemaphoreGuard guard{table};
        status = sleeper->status;
        sysv_leave_waiter(table, *sleeper);
    }
    arena::release(sleeper, bytes);
    if (status == 0) return 0;
    if (status != SysvWaiter::kPending) return Failure{static_cast<Errno>(-status)};
    // signal(7): never restarted. A timeout answers EAGAIN.
    return Failure{slept.ok() || slept.error() != Errno::timedout ? Errno::intr : Errno::again};
}

}  // namespace

Res<i64> sys_semop(Thread& thread, Arguments arguments) { return operate(thread, arguments, gate::kForever); }

Res<i64> sys_semtimedop(Thread& thread, Arguments arguments) {
    const gate::Deadline deadline = TRY(read_timeout(arguments[3]));
    return operate(thread, arguments, deadline);
}

namespace {

Res<i64> read_status(Thread& thread, SysvTable& table, i32 id, u32 command, u64 user) {
    semid64_ds status;
    memset(&status, 0, sizeof status);
    i64 result = 0;
    {
        SemaphoreGuard guard{table};
        SemaphoreSet* set;
        if (command == IPC_STAT) {
            set = TRY(find_set(table, id));
        } else {
            set = static_cast<SemaphoreSet*>(table.at(static_cast<u32>(id) & (SysvTable::kMost - 1)));
            if (set == nullptr) return Failure{Errno::inval};
            result = set->id;
        }
        if (command != SEM_STAT_ANY) TRY(sysv_permission(thread, *set, 0444));
        sysv_fill(status.sem_perm, *set);
        status.sem_otime = static_cast<i64>(set->operated);
        status.sem_ctime = set->changed;
        status.sem_nsems = set->count;
    }
    TRY(write_user(user, status));
    return result;
}

Res<i64> read_info(SysvTable& table, bool usage, u64 user) {
    const auto& limits = settings().semaphore_limits;
    seminfo info;
    memset(&info, 0, sizeof info);
    info.semmni = static_cast<i32>(limits[3]);
    info.semmns = info.semmap = info.semmnu = static_cast<i32>(limits[1]);
    info.semmsl = static_cast<i32>(limits[0]);
    info.semopm = info.semume = static_cast<i32>(limits[2]);
    info.semvmx = info.semaem = kSemaphoreMost;
    info.semusz = 20;  // SEMUSZ
    i64 highest;
    {
        SemaphoreGuard guard{table};
        if (usage) {
            info.semusz = static_cast<i32>(table.count());
            info.semaem = static_cast<i32>(table.total);
        }
        highest = table.highest() < 0 ? 0 : table.highest();
    }
    TRY(write_user(user, info));
    return highest;
}

/// GETALL and SETALL. The set may be replaced while its size is not locked: looked up again with the values at hand.
Res<i64> all_values(Thread& thread, SysvTable& table, i32 id, bool set_them, u64 user) {
    u32 count;
    {
        SemaphoreGuard guard{table};
        SemaphoreSet& set = *TRY(find_set(table, id));
        TRY(sysv_permission(thread, set, set_them ? 0222 : 0444));
        count = set.count;
    }
    Scratch scratch;
    void* memory = TRY(scratch.take(count * sizeof(u16)));
    auto* values = static_cast<u16*>(memory);
    if (set_them) {
        TRY(copy_in(values, user, count * sizeof(u16)));
        for (u32 index = 0; index < count; ++index)
            if (values[index] > kSemaphoreMost) return Failure{Errno::range};
    }
    {
        SemaphoreGuard guard{table};
        auto found = table.find(id);
        if (!found.ok()) return Failure{Errno::idrm};
        SemaphoreSet& set = set_of(found.value());
        if (set_them) {
            for (u32 index = 0; index < count; ++index) set_value(set, index, values[index], thread.process->pid);
            set.changed = sysv_seconds();
            serve_sleepers(table, set);
            return 0;
        }
        for (u32 index = 0; index < count; ++index) values[index] = static_cast<u16>(set.semaphores[index].value());
    }
    TRY(copy_out(user, values, count * sizeof(u16)));
    return 0;
}

Res<i64> one_value(Thread& thread, SysvTable& table, i32 id, i32 number, u32 command, i32 value) {
    if (command == SETVAL && (value > kSemaphoreMost || value < 0)) return Failure{Errno::range};
    SemaphoreGuard guard{table};
    SemaphoreSet& set = *TRY(find_set(table, id));
    if (number < 0 || static_cast<u32>(number) >= set.count) {
        TRY(sysv_permission(thread, set, command == SETVAL ? 0222 : 0444));
        return Failure{Errno::inval};
    }
    TRY(sysv_permission(thread, set, command == SETVAL ? 0222 : 0444));
    const auto& semaphore = set.semaphores[number];
    if (command == GETVAL) return semaphore.value();
    if (command == GETPID) return static_cast<i64>(semaphore.pid());
    if (command == SETVAL) {
        set_value(set, static_cast<u32>(number), value, thread.process->pid);
        set.changed = sysv_seconds();
        serve_sleepers(table, set);
        return 0;
    }
    i64 sleeping = 0;
    for (SysvWaiter* waiter = set.sleepers.front(); waiter != nullptr; waiter = set.sleepers.next(*waiter)) {
        auto& sleeper = static_cast<SemaphoreSleeper&>(*waiter);
        const sembuf& operation = sleeper.operations[sleeper.blocking];
        bool for_zero = operation.sem_op == 0;
        if (operation.sem_num == number && for_zero == (command == GETZCNT)) ++sleeping;
    }
    return sleeping;
}

}  // namespace

Res<i64> sys_semctl(Thread& thread, Arguments arguments) {
    const i32 id = static_cast<i32>(arguments[0]), number = static_cast<i32>(arguments[1]);
    const u32 command = static_cast<u32>(arguments[2]);
    const u64 user = arguments[3];
    if (id < 0) return Failure{Errno::inval};
    SysvTable& table = *TRY(sysv_table(SysvKind::semaphores));
    TRY(prepare_journal());
    switch (command) {
        case IPC_INFO:
        case SEM_INFO: return read_info(table, command == SEM_INFO, user);
        case IPC_STAT:
        case SEM_STAT:
        case SEM_STAT_ANY: return read_status(thread, table, id, command, user);
        case GETALL:
        case SETALL: return all_values(thread, table, id, command == SETALL, user);
        case GETVAL:
        case GETPID:
        case GETNCNT:
        case GETZCNT:
        case SETVAL: return one_value(thread, table, id, number, command, static_cast<i32>(user));
        case IPC_SET: {
            auto wanted = TRY(read_user<semid64_ds>(user));
            SemaphoreGuard guard{table};
            SemaphoreSet& set = *TRY(find_set(table, id));
            TRY(sysv_owner(thread, set));
            TRY(sysv_set(set, wanted.sem_perm));
            set.changed = sysv_seconds();
            return 0;
        }
        case IPC_RMID: {
            SemaphoreGuard guard{table};
            SemaphoreSet& set = *TRY(find_set(table, id));
            TRY(sysv_owner(thread, set));
            set_undoable(table.lock, table.total, table.total - set.count);
            table.leave(set);
            undo_commit(table.lock);
            destroy_set(table, set);
            return 0;
        }
        default: return Failure{Errno::inval};
    }
}

}  // namespace postern::libos
