// SPDX-License-Identifier: Apache-2.0
// The host's signal handlers. They only redirect: nothing of the program or the library OS runs in them.
//
// A handler may come anywhere. What it does depends on where the thread was:
//   program code              the context is rewritten so that the thread goes on in an entry stub
//   resume path               start over at resume_check: the frame is intact there
//   before an interruptible   make it answer -EINTR
//   host call
//   anywhere else inside      `pending` is set; the way back to the program looks at it
// SIGSYS is never blocked, in no handler and no thread: a trapped call while it is blocked would be fatal.
#include "host/linux/entry/signals.hpp"

#include <asm/signal.h>

#include "base/format.hpp"
#include "host/linux/entry/calls.hpp"
#include "host/linux/entry/fault_report.hpp"
#include "host/linux/entry/host_call.hpp"
#include "host/linux/entry/patch/patching.hpp"
#include "host/linux/entry/personality.hpp"
#include "host/linux/entry/threads.hpp"
#include "host/linux/filter/rules.hpp"

namespace postern::host {
namespace {

using gate::ExceptionInfo;
using gate::ExceptionKind;
using gate::ThreadControl;

constexpr u64 kDirection = 0x400, kTrapFlag = 0x100;

u64 word(const void* address) { return reinterpret_cast<u64>(address); }

bool in_entry_image(u64 address) { return address >= kEntryBase && address < word(entry_image_end); }
bool in_libos(u64 address) { return address >= g_process.libos_low && address < g_process.libos_high; }
bool in_time_page(u64 address) { return address - g_process.time_page < g_process.time_page_size; }

/// Is the thread on a stack of the library OS or of entry? All lie above the addresses that programs are given.
bool on_host_stack(const ThreadControl& control, u64 rsp) {
    return (rsp >= control.stack_low && rsp <= control.stack_top) || (rsp >= kEntryBase && rsp < kTimePageBase);
}

bool in_program(const ThreadControl& control, const SignalContext& context) {
    return !in_host_image(context.rip) && !on_host_stack(control, context.rsp);
}

/// Sends the interrupted program to one of the stubs that save it in a Frame.
void leave_program(ThreadControl& control, SignalContext& context, void (*stub)()) {
    control.async_rip = leave_trampoline(context.rip);
    control.async_rsp = context.rsp;
    control.async_flags = context.eflags;
    context.eflags &= ~(kDirection | kTrapFlag);
    context.rip = word(reinterpret_cast<void*>(stub));
}

/// The part that kick, timers and requests from outside share.
void interrupt(ThreadControl& control, SignalContext& context) {
    control.pending = 1;
    u64 rip = context.rip;
    if (in_program(control, context))
        leave_program(control, context, interrupt_entry);
    else if (rip >= word(resume_check) && rip < word(resume_end))
        context.rip = word(resume_check);
    else if (rip >= word(host_call_window_start) && rip <= word(host_call_window_site))
        context.rip = word(host_call_interrupted);
}

/// True when the signal was a nudge: a wait for objects, asleep or about to sleep, looks again.
bool take_nudge(ThreadArea& area, SignalContext& context) {
    u32 nudges = __atomic_load_n(&area.nudges, __ATOMIC_SEQ_CST);
    do {
        if (nudges == 0) return false;
    } while (
        !__atomic_compare_exchange_n(&area.nudges, &nudges, nudges - 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    if (__atomic_load_n(&area.polling, __ATOMIC_SEQ_CST) == 0) return true;
    __atomic_or_fetch(&area.control.pending, kPendingNudge, __ATOMIC_SEQ_CST);
    u64 rip = context.rip;
    if (rip >= word(host_call_window_start) && rip <= word(host_call_window_site))
        context.rip = word(host_call_interrupted);
    return true;
}

u32 external_request(int signal) {
    switch (signal) {
        case SIGINT: return gate::kExternalInterrupt;
        case SIGTERM: return gate::kExternalTerminate;
        case SIGHUP: return gate::kExternalHangup;
        case SIGQUIT: return gate::kExternalQuit;
        case SIGWINCH: return gate::kExternalWindow;
        case SIGALRM: return gate::kExternalTimer;
        case SIGVTALRM: return gate::kExternalCpuTimer;
        case SIGPROF: return gate::kExternalProfileTimer;
        case SIGUSR1: return gate::kExternalUser1;
        case SIGUSR2: return gate::kExternalUser2;
        case kSignalContinue: return gate::kExternalContinue;
        case SIGTSTP: return gate::kExternalStop;
        case kSignalDeaths: return gate::kExternalDeaths;
        default: return 0;
    }
}

/// A thread that was just made and has not set its GS base yet would take its parent's control for its own.
void adopt_base(const SignalContext& context) {
    u64 rip = context.rip;
    if (rip >= word(gate_clone_returned) && rip <= word(gate_clone_set_base) && context.rax == 0)
        asm volatile("wrgsbase %0" ::"r"(context.rbx) : "memory");
}

// Apart from the handler, so that nothing is read relative to the GS base before it is the thread's own.
[[gnu::noinline]] void note_interrupt(int signal, SignalContext* context) {
    ThreadControl& control = *gate::thread_control();
    if (signal == kKickSignal && take_nudge(current_area(), *context)) return;
    if (u32 request = external_request(signal)) __atomic_or_fetch(&control.external, request, __ATOMIC_SEQ_CST);
    if (signal == SIGTERM && g_process.notice->stopping != 0) set_abort_event();
    interrupt(control, *context);
}

extern "C" void handle_interrupt(int signal, SignalInfo*, SignalContext* context) {
    adopt_base(*context);
    note_interrupt(signal, context);
}

ExceptionInfo describe(int signal, const SignalInfo& info, const SignalContext& context) {
    ExceptionInfo result;
    result.trap = static_cast<u32>(context.trap);
    result.error_code = static_cast<u32>(context.error);
    result.address = info.address;
    result.detail = static_cast<u32>(info.code);
    switch (signal) {
        case SIGSEGV:
            result.kind = context.trap == 12 ? ExceptionKind::stack_fault : ExceptionKind::access_violation;
            if (context.trap == 14) {
                result.flags = ((context.error & 2) ? 1 : 0) | ((context.error & 16) ? 2 : 0);
                if (info.code == 2 /* SEGV_ACCERR */) result.flags |= 4;
            } else {
                result.address = 0;  // a general-protection fault names none
            }
            break;
        case SIGBUS:
            result.kind = context.trap == 17 ? ExceptionKind::alignment : ExceptionKind::bus_error;
            if (context.trap == 12) result.kind = ExceptionKind::stack_fault;
            result.flags = (context.error & 2) ? 1 : 0;
            break;
        case SIGFPE: result.kind = ExceptionKind::arithmetic; break;
        case SIGILL: result.kind = ExceptionKind::illegal_instruction; break;
        case SIGTRAP: result.kind = context.trap == 1 ? ExceptionKind::single_step : ExceptionKind::breakpoint; break;
    }
    return result;
}

/// The trap of a program that is single-stepped, in code that is not its own: on the way back to the program the flag
/// stays, and the jump there does not count as its step; on the way in it is taken away.
bool pass_step(SignalContext& context) {
    ThreadArea& area = current_area();
    u64 rip = context.rip;
    if (rip >= word(resume_check) && rip < word(resume_end)) {
        area.stepping = 1;
        return true;
    }
    if (in_host_image(rip)) {
        context.eflags &= ~kTrapFlag;
        return true;
    }
    return __atomic_exchange_n(&area.stepping, 0, __ATOMIC_RELAXED) != 0;
}

extern "C" void handle_fault(int signal, SignalInfo* info, SignalContext* context) {
    u64 rip = context->rip;
    // Guarded reads come first: they also serve handlers that interrupted the program.
    if (rip == word(guarded_load_site) || rip == word(guarded_load_byte_site) || rip == word(guarded_touch_site)) {
        context->rip = word(guarded_load_fault);
        return;
    }
    ThreadControl& control = *gate::thread_control();
    if (info->code <= 0 && signal != SIGTRAP) {
        // Sent by kill(2) from outside, not a fault: a request to end.
        __atomic_or_fetch(&control.external, gate::kExternalTerminate, __ATOMIC_SEQ_CST);
        interrupt(control, *context);
        return;
    }
    if (signal == SIGTRAP && context->trap == 3 && !in_host_image(rip)) {
        if (u64 next = resolve_breakpoint(rip - 1)) {
            context->rip = next;
            return;
        }
    }
    if (signal == SIGTRAP && context->trap == 1 && pass_step(*context)) return;
    ExceptionInfo described = describe(signal, *info, *context);
    if (signal == SIGSEGV && rip >= word(resume_check) && rip < word(resume_end)) {
        // The last jump of the way back, to an address that is none: all registers are the program's already.
        context->rip = control.resume_rip;
        control.exception = described;
        leave_program(control, *context, exception_entry);
        return;
    }
    // A call of the library OS's into memory that cannot be executed faults outside its image, and is its fault still.
    if (in_libos(rip) || (!in_program(control, *context) && !in_entry_image(rip))) {
        if (u64 next = g_process.libos_exception(&described, rip)) {
            context->rip = next;
            return;
        }
        report_fault(in_libos(rip) ? "the library OS" : "the library OS (a jump out of it)", signal, *info, *context);
    }
    if (!in_program(control, *context)) report_fault("the host part", signal, *info, *context);
    control.exception = described;
    leave_program(control, *context, exception_entry);
}

/// Calls that the time page makes on behalf of the host part, because it cannot answer: served here.
void serve_time_page(SignalContext& context) {
    if (context.rax == __NR_clock_gettime)
        context.rax = static_cast<u64>(early_call(__NR_clock_gettime, context.rdi, context.rsi));
    else
        context.rax = static_cast<u64>(-ENOSYS);
}

extern "C" void handle_system_call(int signal, SignalInfo* info, SignalContext* context) {
    ThreadControl& control = *gate::thread_control();
    if (info->code != 1 /* SYS_SECCOMP */) return interrupt(control, *context);
    count_trap();
    u64 rip = context->rip;
    context->eflags &= ~kTrapFlag;  // a step ends with the call
    if (on_host_stack(control, context->rsp)) {
        if (in_time_page(rip)) return serve_time_page(*context);
        report_fault("the library OS (a system call)", signal, *info, *context);
    }
    // Code in the host part that the program jumped to is none of its sites.
    if (rip < kUserHigh) consider_patch(rip - 2, context->rax);
    context->rcx = rip;
    context->rip = word(reinterpret_cast<void*>(syscall_entry));
}

struct HostAction {
    void (*handler)(int, SignalInfo*, SignalContext*);
    u64 flags;
    void (*restorer)();
    u64 mask;
};

constexpr u64 bit(int signal) { return 1ull << (signal - 1); }

void install(int signal, void (*handler)(int, SignalInfo*, SignalContext*), u64 unblocked) {
    HostAction action{handler, SA_SIGINFO | SA_ONSTACK | SA_RESTORER, gate_signal_return, ~(unblocked | bit(SIGSYS))};
    if (early_call(__NR_rt_sigaction, signal, &action, nullptr, 8) < 0) fail("cannot set a signal handler");
}

void ignore(int signal) {
    HostAction action{reinterpret_cast<void (*)(int, SignalInfo*, SignalContext*)>(1), SA_RESTORER, gate_signal_return,
                      0};
    early_call(__NR_rt_sigaction, signal, &action, nullptr, 8);
}

}  // namespace

bool in_host_image(u64 address) { return in_entry_image(address) || in_libos(address); }

void install_signal_handlers() {
    // Only the reading of program bytes faults inside a handler, in the handlers of SIGSYS and SIGTRAP.
    install(SIGSYS, handle_system_call, bit(SIGSEGV) | bit(SIGBUS));
    install(SIGTRAP, handle_fault, bit(SIGSEGV) | bit(SIGBUS));
    for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) install(signal, handle_fault, 0);
    for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGALRM, SIGVTALRM, SIGPROF, SIGUSR1, SIGUSR2,
                       kSignalContinue, SIGTSTP, kSignalDeaths, kKickSignal})
        install(signal, handle_interrupt, bit(SIGSEGV) | bit(SIGBUS));
    // Errors of calls tell the same: EPIPE, EFBIG. Reading or writing a terminal in the background fails likewise. And
    // whoever is stopped and continued from outside goes on with the call that it sleeps in.
    for (int signal : {SIGPIPE, SIGXFSZ, SIGTTIN, SIGTTOU, SIGCONT}) ignore(signal);
    u64 none = 0;
    early_call(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, &none, nullptr, 8);
}

}  // namespace postern::host
