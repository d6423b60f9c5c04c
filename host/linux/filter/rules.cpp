// SPDX-License-Identifier: Apache-2.0
#include "host/linux/filter/rules.hpp"

#include <asm/unistd.h>

#include "host/linux/protocol.hpp"

namespace postern::host {
namespace {

constexpr ArgumentPattern equal32(u8 index, u64 value, const char* text) {
    return {index, 32, ArgumentTest::equal, 1, 0, {value}, text};
}
constexpr ArgumentPattern equal64(u8 index, u64 value, const char* text) {
    return {index, 64, ArgumentTest::equal, 1, 0, {value}, text};
}
constexpr ArgumentPattern no_bits_but(u8 index, u8 width, u64 allowed, const char* text) {
    return {index, width, ArgumentTest::masked_equal, 1, ~allowed, {0}, text};
}
constexpr ArgumentPattern range32(u8 index, u64 low, u64 high, const char* text) {
    return {index, 32, ArgumentTest::range, 2, 0, {low, high}, text};
}

// SHARED 1, PRIVATE 2, FIXED 0x10, ANONYMOUS 0x20, NORESERVE 0x4000, POPULATE 0x8000, FIXED_NOREPLACE 0x100000. Not
// HUGETLB (a pool that others need), not LOCKED, not GROWSDOWN.
constexpr u64 kMapFlags = 0x1 | 0x2 | 0x10 | 0x20 | 0x4000 | 0x8000 | 0x10'0000;

constexpr u64 kPrivate = 128, kRealtime = 256;
constexpr u64 kWake = 1, kCompareRequeue = 4, kWaitBitset = 9;

}  // namespace

const Rule kRules[] = {
    // The most frequent first.
    {__NR_pread64, "pread64", "DkStreamRead of streams with positions"},
    {__NR_read, "read", "DkStreamRead of pipes, terminals and standard streams"},
    {__NR_write, "write", "DkStreamWrite without position; DkDebugStringPrint"},
    {__NR_pwrite64, "pwrite64", "DkStreamWrite of streams with positions"},
    {__NR_futex,
     "futex",
     "DkAddressWait, DkAddressWake, events, semaphores",
     RuleAction::allow,
     RuleVariant::always,
     1,
     {{1,
       32,
       ArgumentTest::in_set,
       8,
       0,
       {kWaitBitset | kPrivate, kWake | kPrivate, kWaitBitset, kWake, kWaitBitset | kPrivate | kRealtime,
        kWaitBitset | kRealtime, kCompareRequeue | kPrivate, kCompareRequeue},
       "wait, wake and requeue; no priority-inheritance operation"}}},
    {__NR_mmap,
     "mmap",
     "DkVirtualMemoryAlloc, DkStreamMap",
     RuleAction::allow,
     RuleVariant::always,
     2,
     {no_bits_but(2, 64, 7, "prot: read, write, execute"),
      no_bits_but(3, 64, kMapFlags, "flags: shared, private, fixed, anonymous, noreserve, populate, noreplace")}},
    {__NR_munmap, "munmap", "DkVirtualMemoryFree, DkStreamUnmap"},
    {__NR_close, "close", "DkObjectClose"},
    {__NR_ppoll,
     "ppoll",
     "DkObjectsWaitAny, DkObjectsWaitReady, DkThreadDelayExecution",
     RuleAction::allow,
     RuleVariant::always,
     1,
     {equal64(3, 0, "no signal mask: SIGSYS must never be blocked")}},

    {__NR_fstat, "fstat", "DkStreamAttributesQueryByHandle"},
    {__NR_lseek,
     "lseek",
     "DkStreamEnumerateChildren from a cookie",
     RuleAction::allow,
     RuleVariant::always,
     1,
     {equal32(2, 0, "SEEK_SET")}},
    {__NR_mprotect,
     "mprotect",
     "DkVirtualMemoryProtect, code patching",
     RuleAction::allow,
     RuleVariant::always,
     1,
     {no_bits_but(2, 64, 7, "prot: read, write, execute")}},
    {__NR_rt_sigreturn, "rt_sigreturn", "return from the host's signal handlers"},
    {__NR_sched_yield, "sched_yield", "DkThreadYieldExecution"},
    {__NR_mremap,
     "mremap",
     "DkVirtualMemoryMove",
     RuleAction::allow,
     RuleVariant::always,
     1,
     {no_bits_but(3, 64, 3, "flags: maymove, fixed")}},
    {__NR_madvise,
     "madvise",
     "DkVirtualMemoryFree: decommit, lazy, remove, will_need; DkProcessFork without the program's memory",
     RuleAction::allow,
     RuleVariant::always,
     1,
     {{2, 32, ArgumentTest::in_set, 6, 0, {4, 8, 9, 3, 10, 11}, "dontneed, free, remove, willneed, dontfork, dofork"}}},
    {__NR_setitimer,
     "setitimer",
     "DkTimerSet",
     RuleAction::allow,
     RuleVariant::always,
     1,
     {range32(0, 0, 2, "real, virtual, profiling")}},
    {__NR_clone,
     "clone",
     "DkProcessFork, DkThreadCreate: admitted by the monitor",
     RuleAction::notify,
     RuleVariant::always,
     1,
     {{0, 32, ArgumentTest::in_set, 2, 0, {kThreadFlags, kForkFlags}, "exactly a thread or a fork"}}},
    {__NR_exit, "exit", "DkThreadExit"},
    {__NR_fsync, "fsync", "DkStreamFlush"},
    {__NR_fdatasync, "fdatasync", "DkStreamFlush of data only"},
    {__NR_ftruncate, "ftruncate", "DkStreamSetLength"},
    {__NR_sigaltstack, "sigaltstack", "each new thread sets its stack for the host's signal handlers"},
    {kDoorbellCall,
     "doorbell",
     "requests to the monitor; the kernel implements no such call",
     RuleAction::notify,
     RuleVariant::always,
     1,
     {{0, 64, ArgumentTest::range, 2, 0, {0, kSlotCount - 1}, "number of a request slot"}}},
    {__NR_getdents64, "getdents64", "DkStreamEnumerateChildren"},
    {__NR_restart_syscall, "restart_syscall", "how the kernel resumes ppoll and futex after SIGSTOP and SIGCONT"},
    {__NR_clock_gettime,
     "clock_gettime",
     "DkSystemTimeQuery where the time page cannot answer",
     RuleAction::allow,
     RuleVariant::always,
     1,
     {range32(0, 0, 11, "fixed clocks: never the CPU clock of another process")}},
    {__NR_exit_group, "exit_group", "DkProcessExit"},
    {__NR_tgkill,
     "tgkill",
     "DkThreadInterrupt; Landlock confines signals to the family",
     RuleAction::allow,
     RuleVariant::signal_scope,
     1,
     {equal32(2, kKickSignal, "the interrupt signal")}},
    {__NR_tgkill,
     "tgkill",
     "DkThreadInterrupt; sent by the monitor after checking the target (no Landlock scope)",
     RuleAction::notify,
     RuleVariant::no_signal_scope,
     1,
     {equal32(2, kKickSignal, "the interrupt signal")}},
    {__NR_fallocate,
     "fallocate",
     "DkStreamSetLength: allocate, punch, zero, collapse, insert",
     RuleAction::allow,
     RuleVariant::always,
     1,
     {no_bits_but(1, 32, 0x3b, "keep size, punch hole, collapse, zero, insert")}},
    {__NR_getrandom,
     "getrandom",
     "DkRandomBitsRead",
     RuleAction::allow,
     RuleVariant::always,
     1,
     {equal32(2, 0, "no flags")}},
    {__NR_membarrier,
     "membarrier",
     "code patching while other threads run",
     RuleAction::allow,
     RuleVariant::always,
     2,
     {{0, 32, ArgumentTest::in_set, 2, 0, {32, 64}, "private expedited sync-core, and its registration"},
      equal32(1, 0, "no flags")}},
};
const u32 kRuleCount = sizeof kRules / sizeof kRules[0];

u32 distinct_numbers() {
    u32 count = 0;
    for (u32 i = 0; i < kRuleCount; ++i) {
        bool seen = false;
        for (u32 j = 0; j < i; ++j) seen = seen || kRules[j].number == kRules[i].number;
        if (!seen) ++count;
    }
    return count;
}

}  // namespace postern::host
