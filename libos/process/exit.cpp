// SPDX-License-Identifier: Apache-2.0
// How threads and processes end: by themselves, by each other, by exec, and by the host.
#include "libos/aio/calls.hpp"
#include "libos/fs/fd_table.hpp"
#include "libos/fs/path.hpp"
#include "libos/ipc/async.hpp"
#include "libos/memory/space.hpp"
#include "libos/mqueue/queue.hpp"
#include "libos/process/calls.hpp"
#include "libos/process/futex.hpp"
#include "libos/process/table.hpp"
#include "libos/ptrace/tracing.hpp"
#include "libos/shared/arena.hpp"
#include "libos/shared/stacks.hpp"
#include "libos/signal/delivery.hpp"
#include "libos/signal/queue.hpp"
#include "libos/syscall/trace.hpp"
#include "libos/sysv/objects.hpp"
#include "libos/time/timers.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u32 kRobustLimit = 2048;
constexpr u32 kFutexTidMask = 0x3fff'ffff, kFutexOwnerDied = 0x4000'0000, kFutexWaiters = 0x8000'0000;

/// A mutex whose owner ends: marked, and one waiter told (Documentation/robust-futex-ABI.txt).
void release_robust(u64 address, u32 tid, bool pending) {
    if ((address & 3) != 0) return;
    auto word = load_user_u32(address);
    if (!word.ok()) return;
    u32 value = word.value();
    for (;;) {
        if (pending && value == 0) {
            wake_user_futex(address, 1);
            return;
        }
        if ((value & kFutexTidMask) != tid) return;
        auto changed = compare_exchange_user_u32(address, value, (value & kFutexWaiters) | kFutexOwnerDied);
        if (!changed.ok()) return;
        if (changed.value()) break;
    }
    if ((value & kFutexWaiters) != 0) wake_user_futex(address, 1);
}

void walk_robust_list(Thread& thread) {
    struct Head {
        u64 next;
        i64 offset;
        u64 pending;
    };
    u64 head = thread.robust_list;
    thread.robust_list = 0;
    if (head == 0) return;
    auto read = read_user<Head>(head);
    if (!read.ok()) return;
    Head list = read.value();
    u64 pending = list.pending & ~1ull;
    u64 at = list.next & ~1ull;
    for (u32 count = 0; at != head && at != 0 && count < kRobustLimit; ++count) {
        auto next = read_user<u64>(at);
        if (at != pending) release_robust(at + static_cast<u64>(list.offset), thread.tid, false);
        if (!next.ok()) return;
        at = next.value() & ~1ull;
    }
    if (pending != 0) release_robust(pending + static_cast<u64>(list.offset), thread.tid, true);
}

/// What the program's own memory learns of a thread's end. `alone`: nobody else sees that memory.
void leave_user_memory(Thread& thread, bool alone) {
    walk_robust_list(thread);
    if (thread.clear_child_tid != 0 && !alone) {
        if (write_user(thread.clear_child_tid, u32{0}).ok()) wake_user_futex(thread.clear_child_tid, 1);
    }
    thread.clear_child_tid = 0;
}

/// What not every process has. `killed`: by the host, so that nothing of it runs any more.
void give_back(Process& process, bool killed) {
    sysv_process_ended(process, killed);
    if ((process.uses & kUsesAio) != 0) aio_process_ended(process);
    if ((process.uses & kUsesNotification) != 0) mq_process_ended(process);
}

/// The process's last thread is `thread`, already off its list.
[[noreturn]] void end_process(Process& process, Thread& thread, u32 status) {
    bool context = process.is_context != 0;
    if (!context) process.space->abandon();
    if (process.uses != 0) give_back(process, false);
    process.files->release();
    async_send_noted(thread);  // to who waits at the other ends of its files
    process.fs->release();
    if (process.timers != nullptr) destroy_timers(process.timers);
    process.files = nullptr;
    process.fs = nullptr;
    process.timers = nullptr;
    drop_signals(process.signals.pending, process);
    if (!context) {
        u64 used = 0;
        g_gate->DkSystemTimeQuery(gate::Clock::process_cpu, &used);
        process.cpu_time = used;
    }
    VforkReturn* back = thread.vfork_return;
    gate::Frame frame;
    if (context) resume_vfork_parent(*back, thread.fs_base, frame);
    gate::ThreadControl* control = gate::thread_control();
    {
        ProcessTable& table = process_table();
        Guard guard{table.lock};
        leave_thread(thread);
        trace_thread_ended(thread, status);
        thread_destroy(thread);
        trace_tracer_ended(process);
        if (table.first == &process) table.first = nullptr;
        become_zombie(process, status);
    }
    if (context) {
        on_way_out(&frame);
        g_host->resume(&frame);
    }
    control->context = nullptr;
    locks_leave();
    u32 code = (status & 0x7f) == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f);
    g_gate->DkProcessExit(code);
    __builtin_unreachable();
}

}  // namespace

void mark_exiting(Process& process, u32 status) {
    if (process.exiting != 0) return;
    process.exit_status = status;
    process.exiting = 1;
    for (Thread* other = process.threads.front(); other != nullptr; other = process.threads.next(*other))
        notify_thread(*other, kAttentionExit);
}

void exit_process(u32 status) {
    Thread& thread = current_thread();
    Process& process = *thread.process;
    if (process.thread_count > 1 || process.exiting != 0) {
        Guard guard{process.lock};
        mark_exiting(process, status);
    } else {
        process.exit_status = status;
        process.exiting = 1;
    }
    exit_thread(process.exit_status);
}

void exit_thread(u32 status) {
    Thread& thread = current_thread();
    Process& process = *thread.process;
    if (thread.tracing != nullptr) trace_event(thread, kEventExit, process.exiting != 0 ? process.exit_status : status);
    leave_user_memory(thread, process.thread_count == 1 && process.is_context == 0);
    drop_recent_calls(thread);
    LibOsStack* stack = thread.stack;
    bool last;
    {
        // In one piece: once the count is down the last thread may end the picoprocess, and with it this one, which
        // must not hold or need any lock then. The last thread passes through the table's lock after this one.
        Guard table_guard{process_table_lock()};
        Guard guard{process.lock};
        undoable_unlink(process.lock, thread.in_process);
        drop_signals(thread.signals.pending, process);
        last = process.thread_count == 1;
        if (!last) {
            // Signals for the process that this thread was meant to take find another taker.
            if (process.exiting == 0 && process.signals.pending.set != 0) retarget_signals(process);
            leave_thread(thread);
            trace_thread_ended(thread, process.exiting != 0 ? process.exit_status : status);
            thread_destroy(thread);
            gate::thread_control()->context = nullptr;
        }
        __atomic_store_n(&process.thread_count, process.thread_count - 1, __ATOMIC_SEQ_CST);
        if (process.exec_pending != 0) process.thread_events.wake(kPollIn);
    }
    if (last) end_process(process, thread, process.exiting != 0 ? process.exit_status : status);
    locks_leave();
    // The picoprocess's first thread has a stack of the host's, which nobody reuses.
    g_gate->DkThreadExit(stack != nullptr ? &stack->in_use : nullptr);
    __builtin_unreachable();
}

Res<i64> sys_exit(Thread&, Arguments arguments) { exit_thread(exit_code_status(static_cast<u32>(arguments[0]))); }
Res<i64> sys_exit_group(Thread&, Arguments arguments) {
    exit_process(exit_code_status(static_cast<u32>(arguments[0])));
}

namespace {

void forget_wait(WaitEntry& entry) {
    if (entry.queue != nullptr) entry.queue->remove(entry);
}

/// A member that the host killed: what its threads left behind is taken out of everybody's way.
void bury(Process& process) {
    while (Thread* thread = process.threads.front()) {
        forget_wait(thread->wait_entry);
        for (WaitEntry* entry = thread->more_entries; entry != nullptr;) {
            WaitEntry* next = entry->next_extra;
            forget_wait(*entry);
            arena::destroy(entry);
            entry = next;
        }
        futex::forget_vector(*thread);
        thread->in_process.unlink();
        leave_thread(*thread);
        trace_thread_ended(*thread, kSigKill);
        thread_destroy(*thread);
    }
    trace_tracer_ended(process);
    process.thread_count = 0;
    process.exiting = 1;
    // Off first: whoever does this may be killed as well, and then the next one starts over.
    FdTable* files = process.files;
    FsContext* fs = process.fs;
    process.files = nullptr;
    process.fs = nullptr;
    if (files != nullptr) files->abandon();
    if (fs != nullptr) fs->release();
    if (process.uses != 0) give_back(process, true);
    process.timers = nullptr;  // its timers were the dead picoprocess's: nothing of them can fire any more
    undo_commit(process_table_lock());
    become_zombie(process, kSigKill);
}

}  // namespace

namespace {

/// A child whose fork the dead picoprocess had begun. Should it be born all the same, it finds this out and ends.
bool never_born(Process& process, u32 dead) {
    if (process.carrier_id != 0 || process.forker_id != dead) return false;
    ProcessState state = ProcessState::starting;
    return change_state(process, state, ProcessState::zombie);
}

}  // namespace

void collect_deaths() {
    const volatile u32* deaths = g_parameters->deaths;
    if (deaths == nullptr) return;
    ProcessTable& table = process_table();
    if (__atomic_load_n(&table.deaths_seen, __ATOMIC_RELAXED) == deaths[0]) return;
    Guard guard{table.lock};
    u32 count = deaths[0];
    u32 from = table.deaths_seen;
    if (count - from > gate::kDeathsCapacity) from = count - gate::kDeathsCapacity;
    for (; from != count; ++from) {
        u32 dead = deaths[1 + from % gate::kDeathsCapacity];
        if (dead != 0) locks_bury(dead);
        for (Process* process = table.processes.front(); process != nullptr;) {
            Process* next = table.processes.next(*process);
            bool its_own = process->carrier_id == dead && process->state != ProcessState::zombie;
            if (dead != 0 && (its_own || never_born(*process, dead))) {
                bury(*process);
                next = table.processes.front();  // relatives may be gone too: from the start again
            }
            process = next;
        }
        table.deaths_seen = from + 1;
    }
}

}  // namespace postern::libos
