// SPDX-License-Identifier: Apache-2.0
// System calls on actions, masks, alternate stacks and waiting for signals.
#include "libos/process/table.hpp"
#include "libos/signal/delivery.hpp"
#include "libos/signal/frame.hpp"
#include "libos/signal/queue.hpp"
#include "libos/syscall/table.hpp"
#include "libos/time/timers.hpp"
#include "libos/user.hpp"

namespace postern::libos {

Res<i64> sys_rt_sigaction(Thread& thread, Arguments arguments) {
    u32 signal = static_cast<u32>(arguments[0]);
    if (arguments[3] != sizeof(u64)) return Failure{Errno::inval};
    if (signal < 1 || signal > kSignalCount) return Failure{Errno::inval};
    Process& process = *thread.process;
    SignalAction fresh, old;
    if (arguments[1] != 0) {
        fresh = TRY(read_user<SignalAction>(arguments[1]));
        if ((signal_bit(signal) & kUnblockable) != 0) return Failure{Errno::inval};
        fresh.mask &= ~kUnblockable;
    }
    {
        Guard guard{process.lock};
        SignalAction& action = process.signals.actions[signal];
        old = action;
        if (arguments[1] != 0) {
            action = fresh;
            bool ignored = fresh.handler == 1 || (fresh.handler == 0 && ignored_by_default(signal));
            if (ignored) {  // POSIX: pending signals that are ignored now are discarded, blocked or not
                drop_signals(process.signals.pending, process, signal_bit(signal));
                for (Thread* other = process.threads.front(); other != nullptr; other = process.threads.next(*other))
                    drop_signals(other->signals.pending, process, signal_bit(signal));
            }
        }
    }
    if (arguments[2] != 0) TRY(write_user(arguments[2], old));
    return 0;
}

Res<i64> sys_rt_sigprocmask(Thread& thread, Arguments arguments) {
    if (arguments[3] != sizeof(u64)) return Failure{Errno::inval};
    u64 old = thread.signals.mask;
    if (arguments[1] != 0) {
        u64 set = TRY(read_user<u64>(arguments[1]));
        u64 mask;
        switch (static_cast<u32>(arguments[0])) {
            case 0: mask = old | set; break;
            case 1: mask = old & ~set; break;
            case 2: mask = set; break;
            default: return Failure{Errno::inval};
        }
        set_signal_mask(thread, mask);
    }
    if (arguments[2] != 0) TRY(write_user(arguments[2], old));
    return 0;
}

Res<i64> sys_rt_sigpending(Thread& thread, Arguments arguments) {
    if (arguments[1] > sizeof(u64)) return Failure{Errno::inval};
    u64 set = pending_signals(thread) & thread.signals.mask;
    TRY(copy_out(arguments[0], &set, arguments[1]));
    return 0;
}

namespace {

/// Sleeps until a signal is deliverable or the thread must end.
void wait_for_signal(Thread& thread) {
    Blocker blocker{thread};
    for (;;) {
        blocker.prepare();
        if (interrupted(thread)) return;
        Res<void> waited = blocker.wait(gate::kForever);
        if (!waited.ok()) return;
    }
}

}  // namespace

Res<i64> sys_rt_sigsuspend(Thread& thread, Arguments arguments) {
    if (arguments[1] != sizeof(u64)) return Failure{Errno::inval};
    u64 mask = TRY(read_user<u64>(arguments[0]));
    begin_temporary_mask(thread, mask);
    wait_for_signal(thread);
    end_temporary_mask(thread, true);
    return Failure{Errno::restart_no_hand};
}

Res<i64> sys_pause(Thread& thread, Arguments) {
    wait_for_signal(thread);
    return Failure{Errno::restart_no_hand};
}

Res<i64> sys_rt_sigtimedwait(Thread& thread, Arguments arguments) {
    if (arguments[3] != sizeof(u64)) return Failure{Errno::inval};
    u64 set = TRY(read_user<u64>(arguments[0]));
    set &= ~kUnblockable;
    const gate::Deadline deadline = TRY(read_timeout(arguments[2]));
    SignalInfo info;
    bool found = dequeue_signal(thread, set, info);
    if (!found && deadline != gate::kPoll) {
        // From here on senders see the signals as wanted by this thread, although they are blocked.
        thread.waiting_mask = set;
        Blocker blocker{thread};
        Errno error = Errno::ok;
        for (;;) {
            blocker.prepare();
            found = dequeue_signal(thread, set, info);
            if (found) break;
            if (error != Errno::ok) break;
            Res<void> waited = blocker.wait(deadline);
            if (!waited.ok()) error = waited.error();
        }
        thread.waiting_mask = 0;
        if (!found) return Failure{error == Errno::timedout ? Errno::again : Errno::intr};
    }
    if (!found) return Failure{Errno::again};
    if (arguments[1] != 0) TRY(write_user(arguments[1], info));
    return static_cast<i64>(info.signal);
}

Res<i64> sys_sigaltstack(Thread& thread, Arguments arguments) {
    SignalState& signals = thread.signals;
    u64 stack_pointer = gate::thread_control()->frame->rsp;
    bool on_stack = on_alternate_stack(thread, stack_pointer);
    StackDescription old = {};
    old.pointer = signals.alt_stack;
    old.size = signals.alt_size;
    u32 state = (signals.alt_flags & kDisabled) != 0 ? u32{kDisabled} : on_stack ? u32{kOnAlternateStack} : 0u;
    old.flags = static_cast<i32>(state | (signals.alt_flags & kAutoDisarm));
    if (arguments[0] != 0) {
        StackDescription fresh = TRY(read_user<StackDescription>(arguments[0]));
        u32 flags = static_cast<u32>(fresh.flags);
        u32 mode = flags & ~u32{kAutoDisarm};
        if (on_stack) return Failure{Errno::perm};
        if (mode != 0 && mode != kOnAlternateStack && mode != kDisabled) return Failure{Errno::inval};
        if (mode == kDisabled) {
            signals.alt_flags = kDisabled;
            signals.alt_stack = signals.alt_size = 0;
        } else {
            constexpr u64 kMinimum = 2048;
            if (fresh.size < kMinimum) return Failure{Errno::nomem};
            signals.alt_flags = flags & kAutoDisarm;
            signals.alt_stack = fresh.pointer;
            signals.alt_size = fresh.size;
        }
    }
    if (arguments[1] != 0) TRY(write_user(arguments[1], old));
    return 0;
}

Res<i64> sys_rt_sigreturn(Thread& thread, Arguments) {
    gate::Frame& frame = *gate::thread_control()->frame;
    if (!pop_signal_frame(thread, frame).ok()) {
        SignalInfo bad;
        bad.signal = kSigSegv;
        bad.code = 0x80;
        frame.original_rax = gate::kNoSystemCall;
        force_signal(thread, bad);
        return 0;
    }
    return static_cast<i64>(frame.rax);
}

Res<i64> sys_restart_syscall(Thread& thread, Arguments) {
    RestartFunction restart = thread.restart;
    thread.restart = nullptr;
    if (restart == nullptr) return Failure{Errno::intr};
    return restart(thread);
}

}  // namespace postern::libos
