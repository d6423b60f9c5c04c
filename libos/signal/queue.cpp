// SPDX-License-Identifier: Apache-2.0
// Sending: queues of pending signals, what is dropped, who is told (signal(7), kernel/signal.c for the order of rules).
#include "libos/signal/queue.hpp"

#include "libos/process/table.hpp"
#include "libos/ptrace/tracing.hpp"
#include "libos/shared/arena.hpp"
#include "libos/time/timers_state.hpp"

namespace postern::libos {

namespace {

constexpr u32 kLimitSigPending = 11;
constexpr u64 kIgnored = signal_bit(kSigChld) | signal_bit(kSigCont) | signal_bit(kSigUrg) | signal_bit(kSigWinch);
constexpr u64 kCore = signal_bit(kSigQuit) | signal_bit(kSigIll) | signal_bit(kSigTrap) | signal_bit(kSigAbrt) |
                      signal_bit(kSigBus) | signal_bit(kSigFpe) | signal_bit(kSigSegv) | signal_bit(kSigXcpu) |
                      signal_bit(kSigXfsz) | signal_bit(kSigSys);

bool ignores(const Process& process, const Thread* thread, u32 signal) {
    u64 bit = signal_bit(signal);
    // A blocked signal stays: the disposition may be another one by the time it is let through.
    if (thread != nullptr && ((thread->signals.mask | thread->waiting_mask) & bit) != 0) return false;
    if (process.traced_threads != 0) return false;  // the tracer sees all of them
    const SignalAction& action = process.signals.actions[signal];
    return action.handler == 1 || (action.handler == 0 && ignored_by_default(signal));
}

bool wants(const Thread& thread, u64 bit) {
    if (thread.exit_pending != 0 || (thread.attention & kAttentionExit) != 0) return false;
    return (thread.signals.mask & ~thread.waiting_mask & bit & ~kUnblockable) == 0;
}

void drop_everywhere(Process& process, u64 set) {
    drop_signals(process.signals.pending, process, set);
    for (Thread* thread = process.threads.front(); thread != nullptr; thread = process.threads.next(*thread))
        drop_signals(thread->signals.pending, process, set);
}

/// SIGCONT lets a stopped process run, whatever happens to the signal itself.
void resume_stopped(Process& process) {
    if (process.state != ProcessState::stopped) return;
    process.state = ProcessState::running;
    process.wait_flags = (process.wait_flags & ~u32{kStopUnreported}) | kContinueUnreported;
    process.continued_unreported = 1;
    for (Thread* thread = process.threads.front(); thread != nullptr; thread = process.threads.next(*thread))
        notify_thread(*thread, kAttentionSignal);
}

}  // namespace

bool ignored_by_default(u32 signal) { return signal <= 31 && (kIgnored & signal_bit(signal)) != 0; }
bool makes_core(u32 signal) { return signal <= 31 && (kCore & signal_bit(signal)) != 0; }

Res<void> enqueue(PendingSignals& pending, Process& process, const SignalInfo& info) {
    u32 signal = static_cast<u32>(info.signal);
    u64 bit = signal_bit(signal);
    constexpr i32 kTimer = -2;  // SI_TIMER: each timer has a place of its own in the queue
    if (signal < kSigRtMin && (pending.set & bit) != 0 && info.code != kTimer) return {};  // standard signals merge
    bool over = process.queued_signals >= process.limits[kLimitSigPending][0];
    QueuedSignal* node = nullptr;
    // A standard signal is never lost for want of memory, its information may be.
    if (!over || (signal < kSigRtMin && info.code >= 0)) {
        auto made = arena::create<QueuedSignal>();
        if (made.ok()) node = made.value();
    }
    if (node == nullptr) {
        if (signal >= kSigRtMin && info.code < 0) return Failure{Errno::again};
        pending.set |= bit;
        return {};
    }
    QueuedSignal& queued = *node;
    queued.info = info;
    ++process.queued_signals;
    if (pending.last != nullptr)
        pending.last->next = &queued;
    else
        pending.first = &queued;
    pending.last = &queued;
    pending.set |= bit;
    return {};
}

bool take(PendingSignals& pending, Process& process, u64 set, SignalInfo& info) {
    set &= pending.set;
    if (set == 0) return false;
    if ((set & kFaultSignals) != 0) set &= kFaultSignals;
    u32 signal = static_cast<u32>(__builtin_ctzll(set)) + 1;
    QueuedSignal* previous = nullptr;
    QueuedSignal* found = nullptr;
    QueuedSignal* before_found = nullptr;
    bool more = false;
    for (QueuedSignal* at = pending.first; at != nullptr; previous = at, at = at->next) {
        if (static_cast<u32>(at->info.signal) != signal) continue;
        if (found != nullptr) {
            more = true;
            break;
        }
        found = at;
        before_found = previous;
    }
    if (!more) pending.set &= ~signal_bit(signal);
    if (found == nullptr) {
        info = SignalInfo{};
        info.signal = static_cast<i32>(signal);
        return true;
    }
    info = found->info;
    if (before_found != nullptr)
        before_found->next = found->next;
    else
        pending.first = found->next;
    if (pending.last == found) pending.last = before_found;
    --process.queued_signals;
    arena::destroy(found);
    return true;
}

void drop_signals(PendingSignals& pending, Process& process, u64 set) {
    if ((pending.set & set) == 0) return;
    pending.set &= ~set;
    QueuedSignal** at = &pending.first;
    pending.last = nullptr;
    while (QueuedSignal* node = *at) {
        if ((signal_bit(static_cast<u32>(node->info.signal)) & set) != 0) {
            *at = node->next;
            --process.queued_signals;
            arena::destroy(node);
        } else {
            pending.last = node;
            at = &node->next;
        }
    }
}

void drop_signals(PendingSignals& pending, Process& process) { drop_signals(pending, process, ~0ull); }

bool signal_ignored(Process& process, Thread* thread, u32 signal) {
    Guard guard{process.lock};
    return ignores(process, thread != nullptr ? thread : process.threads.front(), signal);
}

void retarget_signals(Process& process) {
    u64 set = process.signals.pending.set;
    for (Thread* thread = process.threads.front(); thread != nullptr && set != 0;
         thread = process.threads.next(*thread)) {
        u64 takes = set & ~(thread->signals.mask & ~thread->waiting_mask);
        if (takes == 0 || !wants(*thread, takes & -takes)) continue;
        notify_thread(*thread, kAttentionSignal);
        set &= ~takes;
    }
}

Res<void> queue_signal(Process& process, Thread* target, const SignalInfo& info) {
    u32 signal = static_cast<u32>(info.signal);
    u64 bit = signal_bit(signal);
    if (process.pid == kOutside) return {};
    Guard guard{process.lock};
    if (process.state == ProcessState::zombie || process.state == ProcessState::reaped || process.exiting != 0)
        return {};
    if (signal == kSigKill) {
        mark_exiting(process, kSigKill);
        return {};
    }
    if ((bit & kStopSignals) != 0) {
        drop_everywhere(process, signal_bit(kSigCont));
    } else if (signal == kSigCont) {
        drop_everywhere(process, kStopSignals);
        resume_stopped(process);
    }
    if (ignores(process, target != nullptr ? target : process.threads.front(), signal)) return {};
    PendingSignals& pending = target != nullptr ? target->signals.pending : process.signals.pending;
    bool merged = signal < kSigRtMin && (pending.set & bit) != 0;
    TRY(enqueue(pending, process, info));
    process.signal_events.wake(kPollIn);
    if (merged) return {};
    if (target != nullptr) {
        if (wants(*target, bit)) notify_thread(*target, kAttentionSignal);
        return {};
    }
    for (Thread* thread = process.threads.front(); thread != nullptr; thread = process.threads.next(*thread)) {
        if (!wants(*thread, bit)) continue;
        notify_thread(*thread, kAttentionSignal);
        break;
    }
    return {};
}

void send_signal(Process& process, const SignalInfo& info) { (void)queue_signal(process, nullptr, info); }

void send_signal_to_thread(Thread& thread, const SignalInfo& info) {
    (void)queue_signal(*thread.process, &thread, info);
}

void force_signal(Thread& thread, const SignalInfo& info) {
    Process& process = *thread.process;
    u64 bit = signal_bit(static_cast<u32>(info.signal));
    Guard guard{process.lock};
    SignalAction& action = process.signals.actions[info.signal];
    if (action.handler == 1 || (thread.signals.mask & bit) != 0) {
        action.handler = 0;
        thread.signals.mask &= ~bit;
    }
    (void)enqueue(thread.signals.pending, process, info);
    thread.attention = thread.attention | kAttentionSignal;
}

SignalInfo user_signal(u32 signal) {
    Process& process = current_process();
    SignalInfo info;
    info.signal = static_cast<i32>(signal);
    info.code = 0;  // SI_USER
    info.rt.pid = process.pid;
    info.rt.uid = process.credentials.uid;
    return info;
}

u64 pending_signals(const Thread& thread) { return thread.signals.pending.set | thread.process->signals.pending.set; }

u64 deliverable(const Thread& thread) { return pending_signals(thread) & ~(thread.signals.mask & ~kUnblockable); }

bool dequeue_signal(Thread& thread, u64 set, SignalInfo& info) {
    if ((pending_signals(thread) & set) == 0) return false;
    Process& process = *thread.process;
    Guard guard{process.lock};
    if (!take(thread.signals.pending, process, set, info) && !take(process.signals.pending, process, set, info))
        return false;
    if (info.code == -2 /* SI_TIMER */ && process.timers != nullptr) posix_timer_delivered(process, info);
    return true;
}

void set_signal_mask(Thread& thread, u64 mask) {
    u64 old = thread.signals.mask;
    mask &= ~kUnblockable;
    thread.signals.mask = mask;
    u64 pending = pending_signals(thread);
    if (pending == 0) [[likely]]
        return;
    if ((pending & ~mask) != 0) __atomic_or_fetch(&thread.attention, u32{kAttentionSignal}, __ATOMIC_SEQ_CST);
    Process& process = *thread.process;
    if (process.thread_count > 1 && (process.signals.pending.set & mask & ~old) != 0) {
        Guard guard{process.lock};
        retarget_signals(process);
    }
}

void begin_temporary_mask(Thread& thread, u64 mask) {
    thread.signals.saved_mask = thread.signals.mask;
    thread.signals.has_saved_mask = 1;
    set_signal_mask(thread, mask);
}

void end_temporary_mask(Thread& thread, bool interrupted) {
    if (thread.signals.has_saved_mask == 0) return;
    if (interrupted) {
        // The signal that ended the wait is delivered under the temporary mask; the way out restores the old one.
        __atomic_or_fetch(&thread.attention, u32{kAttentionSignal}, __ATOMIC_SEQ_CST);
        return;
    }
    thread.signals.has_saved_mask = 0;
    set_signal_mask(thread, thread.signals.saved_mask);
}

bool interrupted(const Thread& thread) {
    u32 attention = thread.attention;
    if (attention == 0) return false;
    if ((attention & kAttentionExit) != 0) return true;
    if (held_by_stop(thread)) return true;
    if (thread.tracing != nullptr && (thread.tracing->interrupt | thread.tracing->starting) != 0 &&
        thread.tracing->seized != 0)
        return true;
    return (attention & kAttentionSignal) != 0 && deliverable(thread) != 0;
}

}  // namespace postern::libos
