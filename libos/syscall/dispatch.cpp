// SPDX-License-Identifier: Apache-2.0
// The way from the entry code to the function that serves a call, and what absent calls answer.
#include "libos/syscall/dispatch.hpp"

#include "base/format.hpp"
#include "libos/debug/crash.hpp"
#include "libos/fs/quota.hpp"
#include "libos/fs/size_limit.hpp"
#include "libos/process/process.hpp"
#include "libos/process/seccomp.hpp"
#include "libos/ptrace/tracing.hpp"
#include "libos/shared/arena.hpp"
#include "libos/signal/delivery.hpp"

namespace postern::libos {

bool g_watch_calls;

namespace {

/// Calls that the usual C libraries and runtimes try first and do without.
constexpr u16 kExpectedAbsent[] = {
    334,                      // rseq
    425, 426, 427,            // io_uring
    237, 238, 239, 256, 279,  // NUMA policy
    298, 321, 323,            // perf_event_open, bpf, userfaultfd
    444, 445, 446,            // landlock
    452, 453,                 // fchmodat2, map_shadow_stack
    457, 458, 459, 460, 461, 447, 440, 448, 272, 308, 250, 248, 249,
};

u64* g_reported;  // in the arena: one bit per call

u64 serve(Thread& thread, u64 number, Arguments arguments) {
    if (number >= kCallLimit) return static_cast<u64>(-static_cast<i64>(Errno::nosys));
    auto served = call_functions()[number](thread, arguments);
    return served.ok() ? static_cast<u64>(served.value()) : static_cast<u64>(-static_cast<i64>(served.error()));
}

[[gnu::noinline]] void serve_traced(gate::Frame* frame, Thread& thread, u64 number, Arguments arguments) {
    TracedCall call{thread, number, arguments};
    u64 result = serve(thread, number, arguments);
    if (&current_thread() == &thread)
        call.returned(result);
    else
        call.resumed(result);
    frame->rax = result;
}

[[gnu::noinline]] void serve_watched(gate::Frame* frame, Thread& thread) {
    if (thread.seccomp_mode != 0 && !seccomp_permits(thread, *frame)) return;
    const u64 number = frame->original_rax;
    const u64 arguments[6] = {frame->rdi, frame->rsi, frame->rdx, frame->r10, frame->r8, frame->r9};
    if (g_trace.recent || call_is_wanted(number)) return serve_traced(frame, thread, number, arguments);
    frame->rax = serve(thread, number, arguments);
}

/// A call of a thread that ptrace(2) follows: what its tracer may change on the way in and sees on the way out.
[[gnu::noinline]] void serve_followed(gate::Frame* frame, Thread& thread) {
    trace_call_entry(thread, *frame);
    frame->rax = frame->original_rax;
    if (frame->original_rax != gate::kNoSystemCall) {
        const u64 number = frame->original_rax;
        serve_watched(frame, thread);
        Thread& now = current_thread();
        bool executes = (number == 59 || number == 322) && frame->rax == 0;
        if (&now != &thread) return;  // the call ended a vfork context or began one, or this is a child
        if (executes) {
            frame->original_rax = number;
            trace_exec(thread);
        }
        if (frame->original_rax == gate::kNoSystemCall && number != 15) frame->original_rax = number;
    } else {
        frame->rax = static_cast<u64>(-static_cast<i64>(Errno::nosys));
    }
    trace_call_exit(thread, *frame);
    trace_step(thread, *frame);
}

}  // namespace

void serve_system_call(gate::Frame* frame) {
    gate::ThreadControl* control = gate::thread_control();
    Thread& thread = *static_cast<Thread*>(control->context);
    const u64 number = static_cast<u32>(frame->rax);  // the kernel, too, looks at eax only
    frame->original_rax = number;
    ++control->system_calls;
    if (g_watch_calls) [[unlikely]] {
        if (thread.tracing != nullptr)
            serve_followed(frame, thread);
        else
            serve_watched(frame, thread);
    } else if (number < kCallLimit) [[likely]] {
        const u64 arguments[6] = {frame->rdi, frame->rsi, frame->rdx, frame->r10, frame->r8, frame->r9};
        auto result = call_functions()[number](thread, arguments);
        frame->rax =
            result.ok() ? static_cast<u64>(result.value()) : static_cast<u64>(-static_cast<i64>(result.error()));
    } else {
        frame->rax = static_cast<u64>(-static_cast<i64>(Errno::nosys));
    }
    on_way_out(frame);
}

Res<i64> sys_absent(Thread& thread, Arguments) {
    u64 number = gate::thread_control()->frame->original_rax;
    if (number >= kCallLimit) return Failure{Errno::nosys};
    u64 bit = 1ull << (number % 64);
    if ((__atomic_fetch_or(&g_reported[number / 64], bit, __ATOMIC_RELAXED) & bit) != 0) return Failure{Errno::nosys};
    if (!g_verbose)
        for (u16 expected : kExpectedAbsent)
            if (expected == number) return Failure{Errno::nosys};
    const CallRow* row = find_call(number);
    TextBuffer<160> line;
    line.add("postern: system call not supported: ", row != nullptr ? row->name : "number", " (", number, "), process ",
             thread.process->pid, ": answered ENOSYS");
    report_line(line.view());
    return Failure{Errno::nosys};
}

Res<void> prepare_reports() {
    g_reported = static_cast<u64*>(TRY(arena::allocate(kCallLimit / 8)));
    return {};
}

/// 0: not a number.
static u64 read_bytes(std::string_view digits) {
    u64 bytes = 0;
    for (char digit : digits) {
        if (digit < '0' || digit > '9' || bytes > (1ull << 58)) return 0;
        bytes = bytes * 10 + static_cast<u64>(digit - '0');
    }
    return bytes;
}

void read_options(const char* options) {
    if (options == nullptr) return;
    std::string_view text{options};
    usize at = 0;
    while (at < text.size()) {
        usize end = at;
        while (end < text.size() && text[end] != '\n') ++end;
        std::string_view line{text.data() + at, end - at};
        if (line == "verbose=1") g_verbose = true;
        if (line.starts_with("trace")) read_trace_option(line);
        if (line.starts_with("crash")) read_crash_option(line);
        if (line.starts_with("disk=")) quota::set_limit(read_bytes({line.data() + 5, line.size() - 5}));
        if (line.starts_with("file_limit=")) set_host_file_limit(read_bytes({line.data() + 11, line.size() - 11}));
        at = end + 1;
    }
    g_watch_calls = g_trace.calls || g_trace.recent;
    begin_trace();
}

}  // namespace postern::libos
