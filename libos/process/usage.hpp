// SPDX-License-Identifier: Apache-2.0
// What processes have used of the host (getrusage(2), wait4(2)). Only the host knows, and asking costs as much as
// opening a file: so it is asked when a program wants to know, and children are gathered until then.
#pragma once

#include "libos/process/process.hpp"
#include "libos/time/timers.hpp"

namespace postern::libos {

/// A child that has been waited for, taken out of the table under its lock.
struct ReapedUsage {
    u32 host_id = 0;  ///< 0: it had no picoprocess of its own
    ChildrenUsage children;
};
/// Table lock is held.
ReapedUsage take_usage(const Process& child);
/// The child counts for its parent from now on.
void note_child_usage(Process& parent, const ReapedUsage& child);
/// The same, and the answer is what the child and its own children used.
gate::MembersUsage ask_child_usage(Process& parent, const ReapedUsage& child);

/// The answer only.
gate::MembersUsage ask_usage(const ReapedUsage& child);

gate::MembersUsage own_usage(Process& process);
gate::MembersUsage children_usage(Process& process);

struct RUsage {  // struct rusage
    TimeVal user, system;
    i64 most_memory_kib, unused[3], minor_faults, major_faults, swaps, blocks_in, blocks_out, messages[2], signals;
    i64 waits, preemptions;
};
static_assert(sizeof(RUsage) == 144);
/// `cpu`: all processor time, in nanoseconds.
RUsage to_rusage(const gate::MembersUsage& usage, u64 cpu);

}  // namespace postern::libos
