// SPDX-License-Identifier: Apache-2.0
#include "shared_host.hpp"

#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "libos/shared/layout.hpp"
#include "libos/shared/self.hpp"

namespace postern::libos {

const gate::Calls* g_gate;
const gate::LibOsParameters* g_parameters;
const gate::PersonalityHost* g_host;

void panic(const char* what) {
    std::fprintf(stderr, "panic: %s\n", what);
    std::abort();
}

namespace self {
namespace {
thread_local u32 t_id;
thread_local u64 t_slot, t_undo_count;
}  // namespace
u32 id() {
    if (t_id == 0) t_id = static_cast<u32>(gettid());
    return t_id;
}
u64& slot() { return t_slot; }
u64& undo_count() { return t_undo_count; }
}  // namespace self

namespace test {
namespace {

using gate::Err;

int g_file = -1;
gate::Calls g_calls;
gate::LibOsParameters g_test_parameters;
u32* g_deaths;

u64 now() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<u64>(time.tv_sec) * 1'000'000'000 + static_cast<u64>(time.tv_nsec);
}

Err query_time(gate::Clock, u64* nanoseconds) {
    *nanoseconds = now();
    return Err::ok;
}

Err address_wait(u32* address, u32 expected, u64 deadline, u32) {
    timespec time{static_cast<time_t>(deadline / 1'000'000'000), static_cast<long>(deadline % 1'000'000'000)};
    long result = syscall(SYS_futex, address, FUTEX_WAIT_BITSET, expected, deadline == gate::kForever ? nullptr : &time,
                          nullptr, FUTEX_BITSET_MATCH_ANY);
    if (result == 0) return Err::ok;
    return errno == ETIMEDOUT ? Err::timed_out : errno == EAGAIN ? Err::would_block : Err::interrupted;
}

Err address_wake(u32* address, u32 count, u32, u32*, u32, u32, u32* woken) {
    *woken = static_cast<u32>(syscall(SYS_futex, address, FUTEX_WAKE, count, nullptr, nullptr, 0));
    return Err::ok;
}

Err yield() {
    sched_yield();
    return Err::ok;
}

Err open_stream(const char*, u32, u32, u32, u32, gate::Handle* stream, gate::Attributes*) {
    *stream = 7;
    return Err::ok;
}

Err map_stream(gate::Handle, u64 address, u64 size, u64, u32, u32) {
    void* place =
        mmap(reinterpret_cast<void*>(address), size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, g_file, 0);
    return place == MAP_FAILED ? Err::no_memory : Err::ok;
}

Err allocate(u64 address, u64 size, u32, u32) {
    void* place = mmap(reinterpret_cast<void*>(address), size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    return place == MAP_FAILED ? Err::no_memory : Err::ok;
}

Err free_memory(u64 address, u64 size, gate::FreeKind kind) {
    int advice = kind == gate::FreeKind::remove ? MADV_REMOVE : MADV_DONTNEED;
    return madvise(reinterpret_cast<void*>(address), size, advice) == 0 ? Err::ok : Err::bad_argument;
}

}  // namespace

void start(u64 size) {
    if (g_file >= 0) close(g_file);
    g_file = memfd_create("arena", 0);
    if (ftruncate(g_file, static_cast<off_t>(size)) != 0) std::abort();
    if (g_deaths == nullptr)
        g_deaths =
            static_cast<u32*>(mmap(nullptr, 2 * kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    g_deaths[0] = 0;
    g_calls.DkSystemTimeQuery = query_time;
    g_calls.DkAddressWait = address_wait;
    g_calls.DkAddressWake = address_wake;
    g_calls.DkThreadYieldExecution = yield;
    g_calls.DkStreamOpen = open_stream;
    g_calls.DkStreamMap = map_stream;
    g_calls.DkVirtualMemoryAlloc = allocate;
    g_calls.DkVirtualMemoryFree = free_memory;
    g_test_parameters.process_limit = 512;
    g_test_parameters.deaths = g_deaths;
    g_gate = &g_calls;
    g_parameters = &g_test_parameters;
    self::slot() = 0;
    self::undo_count() = 0;
    if (!arena::initialize(size).ok()) std::abort();
    locks_join(static_cast<u32>(getpid()));
}

void become(u32 thread, u32 process) {
    self::t_id = thread;
    self::slot() = 0;
    self::undo_count() = 0;
    locks_join(process);
}

void report_death(u32 process) {
    g_deaths[1 + g_deaths[0] % gate::kDeathsCapacity] = process;
    g_deaths[0] = g_deaths[0] + 1;
}

}  // namespace test
}  // namespace postern::libos
