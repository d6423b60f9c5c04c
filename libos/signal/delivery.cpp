// SPDX-License-Identifier: Apache-2.0
// The ways out: delivery and default actions of signals, job control, restarts, faults, and the host's requests.
#include "libos/signal/delivery.hpp"

#include "libos/debug/crash.hpp"
#include "libos/ipc/async.hpp"
#include "libos/memory/space.hpp"
#include "libos/process/table.hpp"
#include "libos/ptrace/tracing.hpp"
#include "libos/signal/frame.hpp"
#include "libos/signal/queue.hpp"
#include "libos/time/timers.hpp"
#include "libos/tty/console.hpp"

namespace postern::libos {

namespace {

constexpr u64 kRestartCall = 219;  // restart_syscall

u64 error_value(Errno error) { return static_cast<u64>(-static_cast<i64>(error)); }

/// Every call site has a `syscall` instruction, or a jump in its place, in the two bytes before its return address.
void call_again(gate::Frame& frame, u64 number) {
    frame.rax = number;
    frame.rip -= 2;
    frame.original_rax = gate::kNoSystemCall;
}

void settle_restart(gate::Frame& frame, const SignalAction* handler) {
    if (frame.original_rax == gate::kNoSystemCall || !is_restart(frame.rax)) return;
    auto code = static_cast<Errno>(-static_cast<i64>(frame.rax));
    bool again = code == Errno::restart_no_intr || handler == nullptr ||
                 (code == Errno::restart_sys && (handler->flags & kRestart) != 0);
    if (!again)
        frame.rax = error_value(Errno::intr);
    else
        call_again(frame, code == Errno::restart_block ? kRestartCall : frame.original_rax);
    frame.original_rax = gate::kNoSystemCall;
}

void stop_process(Thread& thread, u32 signal) {
    Process& process = *thread.process;
    Guard table_guard{process_table_lock()};
    if (signal != kSigStop && group_is_orphaned(process.pgid, nullptr)) return;
    {
        Guard guard{process.lock};
        // A SIGCONT or SIGKILL that came since has precedence.
        if (process.exiting != 0 || (process.signals.pending.set & signal_bit(kSigCont)) != 0) return;
        process.stop_signal = signal;
        if (process.state == ProcessState::stopped) {
            // Its tracer had let the thread go on in spite of the last stop.
            if (thread.tracing != nullptr) thread.tracing->passed_stop = thread.tracing->reported_stop = 0;
            return;
        }
        process.state = ProcessState::stopped;
        ++process.stop_count;
        process.wait_flags = (process.wait_flags & ~u32{kContinueUnreported}) | kStopUnreported;
        for (Thread* other = process.threads.front(); other != nullptr; other = process.threads.next(*other))
            if (other != &thread) notify_thread(*other, kAttentionStop);
    }
    if (!traced_by_parent(process)) notify_parent(process, 5 /* CLD_STOPPED */, static_cast<i32>(signal));
}

/// Sleeps on the thread's own word until the process runs again or ends.
void park(Thread& thread) {
    Process& process = *thread.process;
    auto idle = [&] {
        return process.state == ProcessState::stopped && !may_trace_stop(thread) &&
               (thread.attention & kAttentionExit) == 0;
    };
    while (idle()) {
        __atomic_exchange_n(&thread.wake_word, 0, __ATOMIC_SEQ_CST);
        if (!idle()) break;
        u32 awake = 0;
        if (!__atomic_compare_exchange_n(&thread.wake_word, &awake, 2, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            continue;
        gate::Err error = g_gate->DkAddressWait(&thread.wake_word, 2, gate::kForever, gate::kAddressShared);
        if (error == gate::Err::interrupted) take_interrupts();
    }
    __atomic_exchange_n(&thread.wake_word, 0, __ATOMIC_SEQ_CST);
}

void report_continued(Process& process) {
    if (__atomic_exchange_n(&process.continued_unreported, 0, __ATOMIC_SEQ_CST) == 0) return;
    Guard guard{process_table_lock()};
    notify_parent(process, 6 /* CLD_CONTINUED */, kSigCont);
}

[[noreturn]] void end_by_signal(Thread& thread, const gate::Frame& frame, const SignalInfo& info) {
    u32 signal = static_cast<u32>(info.signal);
    report_crash(thread, frame, info, makes_core(signal));
    // No core file is ever written; the flag says what Linux would have done with the program's own limit.
    Process& process = current_process();
    constexpr u32 kLimitCore = 4;
    bool core = makes_core(signal) && process.dumpable != 0 && process.limits[kLimitCore][0] != 0;
    exit_process(signal | (core ? kCoreFlag : 0));
}

/// Runs or performs one signal. True: a handler will run.
bool act(Thread& thread, gate::Frame& frame, const SignalInfo& info) {
    Process& process = *thread.process;
    u32 signal = static_cast<u32>(info.signal);
    SignalAction action;
    {
        // The action may change at any time by another thread: one consistent copy, and its own one-shot reset.
        Guard guard{process.lock};
        action = process.signals.actions[signal];
        if (action.handler > 1 && (action.flags & kResetHandler) != 0) process.signals.actions[signal].handler = 0;
    }
    if (action.handler == 1) return false;
    if (action.handler == 0) {
        if (ignored_by_default(signal)) return false;
        if ((signal_bit(signal) & kStopSignals) != 0) {
            stop_process(thread, signal);
            return false;
        }
        end_by_signal(thread, frame, info);
    }
    settle_restart(frame, &action);
    if (!push_signal_frame(thread, frame, action, info).ok()) {
        if (signal == kSigSegv) {
            Guard guard{process.lock};
            process.signals.actions[kSigSegv].handler = 0;
        }
        SignalInfo bad;
        bad.signal = kSigSegv;
        bad.code = 0x80;  // SI_KERNEL
        force_signal(thread, bad);
        return false;
    }
    thread.signals.has_saved_mask = 0;
    u64 mask = thread.signals.mask | action.mask;
    if ((action.flags & kNoDefer) == 0) mask |= signal_bit(signal);
    set_signal_mask(thread, mask);
    return true;
}

}  // namespace

void leave_slowly(gate::Frame* frame) {
    Thread& thread = current_thread();
    Process& process = *thread.process;
    for (;;) {
        u32 attention = __atomic_fetch_and(&thread.attention, u32{kAttentionExit}, __ATOMIC_SEQ_CST);
        if (thread.noted_signals != nullptr) async_send_noted(thread);
        if ((attention & kAttentionExit) != 0) exit_thread(process.exit_status);
        if ((attention & kAttentionCpuClock) != 0) cpu_clock_attention(process);
        if (held_by_stop(thread)) {
            if (may_trace_stop(thread))
                trace_group_stop(thread, *frame);
            else
                park(thread);
            __atomic_or_fetch(&thread.attention, u32{kAttentionSignal}, __ATOMIC_SEQ_CST);
            continue;
        }
        if (process.continued_unreported != 0) report_continued(process);
        if (thread.tracing != nullptr) trace_attention(thread, *frame);
        SignalInfo info;
        if (dequeue_signal(thread, ~(thread.signals.mask & ~kUnblockable), info)) {
            if (thread.tracing == nullptr || trace_signal(thread, *frame, info)) act(thread, *frame, info);
            __atomic_or_fetch(&thread.attention, u32{kAttentionSignal}, __ATOMIC_SEQ_CST);
            continue;
        }
        if (thread.signals.has_saved_mask != 0) {
            // sigsuspend and its like end without a handler: a stop and continue, or a signal taken by another thread.
            thread.signals.has_saved_mask = 0;
            set_signal_mask(thread, thread.signals.saved_mask);
        }
        if (thread.attention == 0) break;
    }
    settle_restart(*frame, nullptr);
}

namespace {

/// Processes of the first program's group are the foreground: what a terminal's keys would reach.
void signal_foreground(u32 signal) {
    ProcessTable& table = process_table();
    SignalInfo info;
    info.signal = static_cast<i32>(signal);
    info.code = 0x80;  // SI_KERNEL
    Guard guard{table.lock};
    if (table.first == nullptr) {
        // The first program is gone: whoever is left is asked.
        for (Process* process = table.processes.front(); process != nullptr; process = table.processes.next(*process))
            if (process->state != ProcessState::zombie) send_signal(*process, info);
        return;
    }
    u32 group = console_foreground() != 0 ? console_foreground() : table.first->pgid;
    for (Process* process = table.processes.front(); process != nullptr; process = table.processes.next(*process))
        if (process->pgid == group && process->state != ProcessState::zombie) send_signal(*process, info);
}

void signal_first(u32 signal) {
    ProcessTable& table = process_table();
    SignalInfo info;
    info.signal = static_cast<i32>(signal);
    info.code = 0;
    Guard guard{table.lock};
    if (table.first != nullptr)
        send_signal(*table.first, info);
    else
        for (Process* process = table.processes.front(); process != nullptr; process = table.processes.next(*process))
            if (process->state != ProcessState::zombie) send_signal(*process, info);
}

void serve_requests(u32 external) {
    if (external == 0) return;
    if ((external & gate::kExternalDeaths) != 0) collect_deaths();
    constexpr u32 kTimers = gate::kExternalTimer | gate::kExternalCpuTimer | gate::kExternalProfileTimer;
    if ((external & kTimers) != 0) {
        // The host's timer is the picoprocess's, which a vfork context shares with the process it came from.
        Process* process = &current_process();
        Process* parent = current_thread().vfork_parent;
        run_due_timers(*process, external & kTimers);
        if (parent != nullptr) run_due_timers(*parent, external & kTimers);
    }
    if ((external & gate::kExternalInterrupt) != 0) signal_foreground(kSigInt);
    if ((external & gate::kExternalQuit) != 0) signal_foreground(kSigQuit);
    if ((external & gate::kExternalWindow) != 0) {
        if (console_present())
            console_input();
        else
            signal_foreground(kSigWinch);
    }
    if ((external & gate::kExternalHangup) != 0) signal_first(kSigHup);
    if ((external & gate::kExternalTerminate) != 0) signal_first(kSigTerm);
    if ((external & gate::kExternalUser1) != 0) signal_first(kSigUsr1);
    if ((external & gate::kExternalUser2) != 0) signal_first(kSigUsr2);
    if ((external & gate::kExternalStop) != 0) signal_foreground(kSigTstp);
    if ((external & gate::kExternalContinue) != 0) signal_foreground(kSigCont);
}

/// Vectors of the processor, for the frame's `trapno` and the codes of siginfo.
enum Vector : u32 { kDivide = 0, kDebug = 1, kStackSegmentFault = 12, kGeneralProtection = 13, kAlignment = 17 };

SignalInfo describe_fault(const gate::Frame& frame, const gate::ExceptionInfo& info) {
    constexpr i32 kByKernel = 0x80;
    SignalInfo signal;
    signal.fault.address = frame.rip;
    switch (info.kind) {
        case gate::ExceptionKind::access_violation:
            signal.signal = kSigSegv;
            if (info.trap == kGeneralProtection) {
                signal.code = kByKernel;
                signal.fault.address = 0;
            } else {
                signal.code = (info.flags & 4) != 0 ? 2 : 1;  // SEGV_ACCERR, SEGV_MAPERR
                signal.fault.address = info.address;
            }
            break;
        case gate::ExceptionKind::bus_error:
            signal.signal = kSigBus;
            signal.code = 2;  // BUS_ADRERR
            signal.fault.address = info.address;
            break;
        case gate::ExceptionKind::arithmetic:
            signal.signal = kSigFpe;
            signal.code = info.detail != 0 ? static_cast<i32>(info.detail) : info.trap == kDivide ? 1 : 14;
            break;
        case gate::ExceptionKind::illegal_instruction:
            signal.signal = kSigIll;
            signal.code = 2;  // ILL_ILLOPN
            break;
        case gate::ExceptionKind::breakpoint:
            signal.signal = kSigTrap;
            signal.code = kByKernel;
            signal.fault.address = 0;
            break;
        case gate::ExceptionKind::single_step:
            signal.signal = kSigTrap;
            signal.code = 2;  // TRAP_TRACE
            break;
        case gate::ExceptionKind::alignment:
            signal.signal = kSigBus;
            signal.code = 1;  // BUS_ADRALN
            signal.fault.address = info.address;
            break;
        case gate::ExceptionKind::stack_fault:
            signal.signal = kSigBus;
            signal.code = kByKernel;
            signal.fault.address = 0;
            break;
        case gate::ExceptionKind::none:
        case gate::ExceptionKind::interrupt: break;
    }
    return signal;
}

}  // namespace

void take_interrupts() {
    gate::ThreadControl* control = gate::thread_control();
    // The flag first: a request that arrives in between raises it again, for nothing at worst.
    control->pending = 0;
    serve_requests(__atomic_exchange_n(&control->external, 0, __ATOMIC_SEQ_CST));
    Thread* thread = static_cast<Thread*>(control->context);
    if (thread != nullptr && thread->visitor != nullptr) answer_visitor(*thread);
}

void serve_exception(gate::Frame* frame, const gate::ExceptionInfo* info) {
    Thread* context = static_cast<Thread*>(gate::thread_control()->context);
    if (context == nullptr) return;  // this thread is ending
    Thread& thread = *context;
    if (info->kind == gate::ExceptionKind::interrupt) {
        serve_requests(info->external | __atomic_exchange_n(&gate::thread_control()->external, 0, __ATOMIC_SEQ_CST));
        if (thread.visitor != nullptr) answer_visitor(thread);
    } else if (info->kind != gate::ExceptionKind::none) {
        frame->original_rax = gate::kNoSystemCall;
        gate::ExceptionInfo fault = *info;
        if (info->kind == gate::ExceptionKind::access_violation && info->trap != kGeneralProtection) {
            auto resolved = thread.process->space->resolve_fault(info->address, info->flags);
            if (resolved.ok() && resolved.value()) return;
            if (!resolved.ok()) fault.kind = gate::ExceptionKind::bus_error;
        }
        thread.fault_trap = info->trap;
        thread.fault_error = info->error_code;
        thread.fault_address = info->address;
        force_signal(thread, describe_fault(*frame, fault));
    }
    if (thread.attention != 0) leave_slowly(frame);
}

}  // namespace postern::libos
