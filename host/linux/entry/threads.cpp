// SPDX-License-Identifier: Apache-2.0
#include "host/linux/entry/threads.hpp"

#include <asm/signal.h>
#include <linux/mman.h>

#include "base/memory.hpp"
#include "host/linux/entry/calls.hpp"
#include "host/linux/entry/handles.hpp"
#include "host/linux/entry/host_call.hpp"
#include "host/linux/entry/offsets.h"
#include "host/linux/filter/rules.hpp"

namespace postern::host {
namespace {

using gate::Err;
using gate::Handle;
using gate::ThreadControl;

static_assert(offsetof(ThreadControl, self) == CONTROL_SELF);
static_assert(offsetof(ThreadControl, guest_rsp) == CONTROL_GUEST_RSP);
static_assert(offsetof(ThreadControl, stack_top) == CONTROL_STACK_TOP);
static_assert(offsetof(ThreadControl, syscall_entry) == CONTROL_SYSCALL_ENTRY);
static_assert(offsetof(ThreadControl, frame) == CONTROL_FRAME);
static_assert(offsetof(ThreadControl, pending) == CONTROL_PENDING);
static_assert(offsetof(ThreadControl, resume_rip) == CONTROL_RESUME_RIP);
static_assert(offsetof(ThreadControl, async_rip) == CONTROL_ASYNC_RIP);
static_assert(offsetof(ThreadControl, async_rsp) == CONTROL_ASYNC_RSP);
static_assert(offsetof(ThreadControl, async_flags) == CONTROL_ASYNC_FLAGS);
static_assert(offsetof(ThreadControl, gate_calls) == CONTROL_GATE_CALLS);
static_assert(offsetof(ThreadControl, host_calls) == CONTROL_HOST_CALLS);
static_assert(offsetof(ThreadControl, system_calls) == CONTROL_SYSTEM_CALLS);
static_assert(offsetof(ThreadArea, control) == 0);
static_assert(sizeof(gate::Frame) == FRAME_SIZE);
static_assert(offsetof(gate::Frame, rax) == 0 && offsetof(gate::Frame, r11) == 56 &&
              offsetof(gate::Frame, flags) == 112);
static_assert(offsetof(gate::Frame, rip) == 128 && offsetof(gate::Frame, original_rax) == 144);
static_assert(sizeof(ThreadArea) <= kPageSize);

u32 area_count = 0;  // areas [0, area_count) are mapped
u32 live_threads = 1;

struct AlternateStack {
    u64 base;
    i32 flags;
    i32 padding;
    u64 size;
};

void set_handler_stack(ThreadArea& area) {
    AlternateStack stack{reinterpret_cast<u64>(&area) + kHandlerStackOffset, 0, 0, kHandlerStackSize};
    early_call(__NR_sigaltstack, &stack, nullptr);
}

/// The gap below the handler stack stays unmapped: an overflow faults instead of damaging the control.
bool map_area(ThreadArea& area) {
    u64 base = reinterpret_cast<u64>(&area);
    constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
    return early_call(__NR_mmap, base, kPageSize, PROT_READ | PROT_WRITE, kFlags, -1, 0) == static_cast<long>(base) &&
           early_call(__NR_mmap, base + kHandlerStackOffset, kHandlerStackSize, PROT_READ | PROT_WRITE, kFlags, -1, 0) >
               0;
}

gate::ThreadToken token_of(u32 process, u32 tid) { return {(u64{process} << 32) | tid}; }

void prepare(ThreadArea& area, u32 process, u64 stack_low, u64 stack_size, u64 parameter) {
    u32 generation = area.generation + 1, traps = area.traps;
    memset(static_cast<void*>(&area), 0, sizeof area);
    area.generation = generation;
    area.traps = traps;  // of earlier threads: they count for the process
    ThreadControl& control = area.control;
    control.self = &control;
    control.stack_low = stack_low;
    control.stack_top = (stack_low + stack_size) & ~15ull;
    control.syscall_entry = reinterpret_cast<u64>(&syscall_entry);
    control.parameter = parameter;
    control.token = token_of(process, 0);
}

/// An area that no thread uses, marked as taken, or null.
ThreadArea* claim_area() {
    EntryGuard guard{entry_lock()};
    for (u32 i = 0; i < area_count; ++i) {
        ThreadArea& area = thread_area(i);
        if (__atomic_load_n(&area.tid, __ATOMIC_ACQUIRE) == 0) {
            area.tid = ~0u;
            return &area;
        }
    }
    if (area_count == kMaxThreads || !map_area(thread_area(area_count))) return nullptr;
    ThreadArea& area = thread_area(area_count++);
    area.tid = ~0u;
    return &area;
}

}  // namespace

void adopt_first_thread() {
    ThreadArea& area = thread_area(0);
    area_count = 1;
    prepare(area, 0, kStartStack, kStartStackSize, 0);
    asm volatile("wrgsbase %0" ::"r"(&area.control));
    set_handler_stack(area);
    area.tid = static_cast<u32>(early_call(__NR_set_tid_address, &area.tid));
    area.control.host_id = area.tid;
    area.control.token = token_of(static_cast<u32>(early_call(__NR_getpid)), area.tid);
}

void adopt_after_fork() {
    ThreadArea& mine = current_area();
    // Nothing is written that is so already: each write copies a page.
    for (u32 i = 0; i < area_count; ++i)
        if (&thread_area(i) != &mine && (thread_area(i).tid | thread_area(i).traps) != 0)
            thread_area(i).tid = thread_area(i).traps = 0;
    if (live_threads != 1) live_threads = 1;
    mine.polling = 0;
    mine.nudges = 0;
    mine.parent = single_threaded() ? process_id() : 0;
    mine.traps = 0;
    mine.control.host_id = mine.tid;
    mine.control.token = token_of(mine.tid, mine.tid);  // written by the kernel: CLONE_CHILD_SETTID
    mine.control.pending = 0;
    mine.control.external = 0;
    mine.control.gate_calls = mine.control.host_calls = mine.control.system_calls = 0;
}

u32 thread_area_count() { return __atomic_load_n(&area_count, __ATOMIC_ACQUIRE); }

bool single_threaded() { return __atomic_load_n(&live_threads, __ATOMIC_ACQUIRE) == 1; }

bool kick(ThreadArea& area) {
    u32 tid = __atomic_load_n(&area.tid, __ATOMIC_ACQUIRE);
    return tid != 0 && tid != ~0u && call(__NR_tgkill, process_id(), tid, kKickSignal) == 0;
}

void nudge(ThreadArea& area) {
    // The signal queues (it is a real-time one): as many arrive as are counted, whichever of them is taken for which.
    __atomic_add_fetch(&area.nudges, 1, __ATOMIC_SEQ_CST);
    // Without a signal under way the count would swallow an interrupt (the queue of signals may be full).
    if (!kick(area)) __atomic_sub_fetch(&area.nudges, 1, __ATOMIC_SEQ_CST);
}

void flush_counters() {
    if (g_config.stats == 0) return;
    ThreadControl& control = *gate::thread_control();
    RequestHeader& header = *g_process.requests;
    __atomic_add_fetch(&header.system_calls, control.system_calls, __ATOMIC_RELAXED);
    __atomic_add_fetch(&header.gate_calls, control.gate_calls, __ATOMIC_RELAXED);
    __atomic_add_fetch(&header.host_calls, control.host_calls, __ATOMIC_RELAXED);
    control.system_calls = control.gate_calls = control.host_calls = 0;
}

// Gate calls -------------------------------------------------------------------------------------------------------

Err DkThreadCreate(u64 stack, u64 stack_size, u64 parameter, Handle* thread, gate::ThreadToken* token) {
    if (thread == nullptr || token == nullptr) return Err::bad_address;
    if (stack % 16 != 0 || stack_size < kPageSize || stack_size % 16 != 0 || stack + stack_size < stack ||
        stack + stack_size > 1ull << 47)
        return Err::bad_argument;
    ThreadArea* area = claim_area();
    if (area == nullptr) return Err::no_memory;
    prepare(*area, process_id(), stack, stack_size, parameter);
    area->tid = ~0u;
    auto handle = create_handle(gate::ObjectKind::thread, gate::Right::wait | gate::Right::signal, -1);
    if (!handle.ok()) {
        area->tid = 0;
        return handle.error();
    }
    HandleEntry& entry = entry_of(handle.value());
    entry.word = thread_area_index(*area);
    entry.maximum = area->generation;
    // Before the thread exists: its first patch must already know that it is not alone.
    __atomic_add_fetch(&live_threads, 1, __ATOMIC_SEQ_CST);
    count_host_call();
    long tid;
    do {
        tid = gate_clone_thread(kThreadFlags, static_cast<long>(area->control.stack_top), &area->tid, &area->tid,
                                &area->control);
    } while (tid == -EINTR);
    if (tid < 0) {
        __atomic_sub_fetch(&live_threads, 1, __ATOMIC_SEQ_CST);
        close_handle(handle.value());
        area->tid = 0;
        return tid == -EAGAIN ? Err::no_quota : to_gate_error(-tid);
    }
    *thread = handle.value();
    *token = token_of(process_id(), static_cast<u32>(tid));
    return Err::ok;
}

extern "C" [[noreturn]] void thread_started(ThreadControl* control) {
    ThreadArea& area = *reinterpret_cast<ThreadArea*>(control);
    set_handler_stack(area);
    control->host_id = area.tid;
    // The process was written by the creating thread.
    control->token = token_of(process_id(), area.tid);
    g_process.libos_thread_start(control->parameter);
    __builtin_trap();
}

void DkThreadExit(u32* clear) {
    flush_counters();
    // From here on other threads may take this process for single-threaded; this one runs no program code any more.
    __atomic_sub_fetch(&live_threads, 1, __ATOMIC_SEQ_CST);
    gate_thread_exit(clear);
}

Err DkThreadGetParameter(u64* parameter) {
    if (parameter == nullptr) return Err::bad_address;
    *parameter = gate::thread_control()->parameter;
    return Err::ok;
}

Err DkThreadYieldExecution() {
    call(__NR_sched_yield);
    return Err::ok;
}

Err DkThreadDelayExecution(u64* nanoseconds) {
    if (nanoseconds == nullptr) return Err::bad_address;
    struct {
        i64 seconds, nanoseconds;
    } time{static_cast<i64>(*nanoseconds / 1'000'000'000), static_cast<i64>(*nanoseconds % 1'000'000'000)};
    if (time.seconds > 0x3fff'ffff) time.seconds = 0x3fff'ffff;
    long result = call_interruptible(__NR_ppoll, nullptr, 0, &time, nullptr, 8);
    if (result == 0) {
        *nanoseconds = 0;
        return Err::ok;
    }
    if (result == -EINTR)
        *nanoseconds = static_cast<u64>(time.seconds) * 1'000'000'000 + static_cast<u64>(time.nanoseconds);
    return to_gate_error(-result);
}

Err DkThreadInterrupt(gate::ThreadToken thread) {
    u32 process = static_cast<u32>(thread.value >> 32), tid = static_cast<u32>(thread.value);
    if (process == 0 || tid == 0 || static_cast<i32>(process) < 0 || static_cast<i32>(tid) < 0) return Err::not_found;
    long result;
    do {
        result = call(__NR_tgkill, process, tid, kKickSignal);
    } while (result == -EINTR);  // only where the monitor sends it
    if (result == -ESRCH) return Err::not_found;
    return gate_result(result);
}

Err DkThreadRaiseException(Handle thread, u32 code) {
    if (gate::check_values<CallNumber::DkThreadRaiseException>(thread, code) != Err::ok) return Err::bad_argument;
    HandleEntry* entry;
    if (Err error = lookup(thread, gate::ObjectKind::thread, gate::Right::signal, entry); error != Err::ok)
        return error;
    ThreadArea& area = thread_area(entry->word);
    if (area.generation != entry->maximum || area.tid == 0) return Err::bad_state;
    // The code travels in the external bits: the exception callback of that thread sees them.
    __atomic_or_fetch(&area.control.external, code, __ATOMIC_SEQ_CST);
    kick(area);
    return Err::ok;
}

Err DkSegmentBaseSet(u32 segment, u64 base) {
    if (segment != 0) return Err::bad_argument;
    if ((static_cast<i64>(base << 16) >> 16) != static_cast<i64>(base)) return Err::bad_argument;  // not canonical
    if (base >= 1ull << 47) return Err::bad_argument;
    asm volatile("wrfsbase %0" ::"r"(base));
    return Err::ok;
}

}  // namespace postern::host
