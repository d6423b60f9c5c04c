// SPDX-License-Identifier: Apache-2.0
// Time, timers, randomness, instruction cache, debug log.
#include "base/memory.hpp"
#include "host/linux/entry/calls.hpp"
#include "host/linux/entry/host_call.hpp"
#include "host/linux/entry/state.hpp"

namespace postern::host {
namespace {

constexpr u64 kNanosecondsPerSecond = 1'000'000'000;

long host_clock(Clock clock) {
    switch (clock) {
        case Clock::realtime: return 0;
        case Clock::monotonic: return 1;
        case Clock::process_cpu: return 2;
        case Clock::thread_cpu: return 3;
        case Clock::monotonic_raw: return 4;
        case Clock::realtime_coarse: return 5;
        case Clock::monotonic_coarse: return 6;
        case Clock::boottime: return 7;
        case Clock::tai: return 11;
    }
    return -1;
}

long read_clock(long clock, HostTime& time) {
    // The time page is asked only for clocks that it keeps itself: for others it would make a system call of its own.
    bool in_page = clock != 2 && clock != 3;
    if (in_page && g_process.time_function != nullptr && g_process.time_function(clock, &time) == 0) return 0;
    return call(__NR_clock_gettime, clock, &time);
}

}  // namespace

HostTime to_host_time(u64 nanoseconds) {
    return {static_cast<i64>(nanoseconds / kNanosecondsPerSecond),
            static_cast<i64>(nanoseconds % kNanosecondsPerSecond)};
}

u64 monotonic_now() {
    HostTime time{};
    read_clock(1, time);
    return static_cast<u64>(time.seconds) * kNanosecondsPerSecond + static_cast<u64>(time.nanoseconds);
}

Err DkSystemTimeQuery(Clock clock, u64* nanoseconds) {
    long number = host_clock(clock);
    if (number < 0) return Err::bad_argument;
    if (nanoseconds == nullptr) return Err::bad_address;
    HostTime time{};
    if (long result = read_clock(number, time); result < 0) return to_gate_error(-result);
    *nanoseconds = static_cast<u64>(time.seconds) * kNanosecondsPerSecond + static_cast<u64>(time.nanoseconds);
    return Err::ok;
}

Err DkTimerSet(TimerKind kind, u64 nanoseconds) {
    long which;
    switch (kind) {
        case TimerKind::monotonic: which = 0; break;
        case TimerKind::process_cpu_user: which = 1; break;
        case TimerKind::process_cpu: which = 2; break;
        default: return Err::bad_argument;
    }
    u64 microseconds = nanoseconds / 1000 + (nanoseconds % 1000 != 0);
    u64 seconds = microseconds / 1'000'000;
    if (seconds > 0x7fff'ffff) seconds = 0x7fff'ffff;
    struct {
        i64 interval_seconds, interval_microseconds, seconds, microseconds;
    } value{0, 0, static_cast<i64>(seconds), static_cast<i64>(microseconds % 1'000'000)};
    return gate_result(call(__NR_setitimer, which, &value, nullptr));
}

Err DkRandomBitsRead(void* buffer, u64 size) {
    auto* to = static_cast<u8*>(buffer);
    while (size != 0) {
        long result = call(__NR_getrandom, to, size < (1u << 20) ? size : (1u << 20), 0);
        if (result == -EINTR) continue;
        if (result < 0) return Err::bad_address;
        to += result;
        size -= static_cast<u64>(result);
    }
    return Err::ok;
}

Err DkInstructionCacheFlush(u64 address, u64 size) {
    return address + size < address ? Err::bad_argument : Err::ok;  // x86-64 keeps its caches coherent
}

Err DkDebugStringPrint(const char* text, u64 size) {
    if (size > 4096) size = 4096;
    if (g_process.trace_descriptor < 0) return Err::ok;
    long result = call(__NR_write, g_process.trace_descriptor, text, size);
    return result == -EFAULT ? Err::bad_address : Err::ok;
}

}  // namespace postern::host
