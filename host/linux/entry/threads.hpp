// SPDX-License-Identifier: Apache-2.0
// Threads: each has an area in entry's heap with its thread control and the stack of its signal handlers.
#pragma once

#include "host/linux/entry/state.hpp"

namespace postern::host {

inline constexpr u64 kThreadAreaStride = 256 * 1024;
inline constexpr u64 kHandlerStackOffset = 64 * 1024;
inline constexpr u64 kHandlerStackSize = 64 * 1024;
inline constexpr u32 kMaxThreads = 8192;

struct ThreadArea {
    gate::ThreadControl control;
    u32 tid;         ///< host number; cleared and woken by the kernel when the thread has ended: 0 is free
    u32 generation;  ///< of the use of this area, for thread handles
    u32 polling;     ///< sleeps in ppoll for objects that other threads may signal: wake it with the kick signal
    u32 nudges;      ///< kick signals on their way that only mean "look again" and are no interrupts
    u32 in_handler;
    u32 stepping;  ///< a single step is on its way back to the program
    u32 parent;    ///< of this forked process's first thread: the parent's host number, 0: none, or its code differs
    u32 traps;     ///< system calls that came by SIGSYS since the process began, for --stats
};

inline ThreadArea& thread_area(u32 index) {
    u64 base = index == 0 ? kFirstThreadArea : kThreadAreas + u64{index} * kThreadAreaStride;
    return *reinterpret_cast<ThreadArea*>(base);
}
inline u32 thread_area_index(const ThreadArea& area) {
    u64 base = reinterpret_cast<u64>(&area);
    return base == kFirstThreadArea ? 0 : static_cast<u32>((base - kThreadAreas) / kThreadAreaStride);
}
static_assert(kFirstThreadArea + kHandlerStackOffset + kHandlerStackSize == kHandleTable);
inline ThreadArea& current_area() { return *reinterpret_cast<ThreadArea*>(gate::thread_control()); }

/// Sets up area 0 for the calling thread, and the GS base. Pre-filter.
void adopt_first_thread();
/// In a forked child: the calling thread is the only one left.
void adopt_after_fork();
/// Number of areas ever used: loops over threads end there.
u32 thread_area_count();
/// Is there only the calling thread in this address space?
bool single_threaded();
/// DkThreadInterrupt for a thread of this picoprocess. False: it has ended, or its queue of signals is full.
bool kick(ThreadArea& area);
/// Makes a thread that is `polling` look at its objects again; no interrupt, and without effect in any other thread.
void nudge(ThreadArea& area);
/// Bit of ThreadControl::pending while a nudge is to be acted on. Only wait loops see it.
inline constexpr u32 kPendingNudge = 2;
/// Adds the calling thread's counters to the family's.
void flush_counters();

}  // namespace postern::host
