// SPDX-License-Identifier: Apache-2.0
// Counting a family: who belongs to it, how many threads it has, how much memory it uses.
#pragma once

#include <vector>

#include "base/types.hpp"
#include "gate/personality.hpp"

namespace postern::host {

/// All children of this process, dead ones that were not reaped included.
std::vector<int> children_of_self();
/// Threads of `process`; 0 when it is gone.
u32 thread_count(int process);
/// Processor time of a child, all its threads included, in nanoseconds; 0 when it has been reaped.
u64 processor_time(int process);
/// Adds what /proc says of a living process. False: its memory is gone, it is about to end.
bool add_living_usage(int process, gate::MembersUsage& usage);
/// Bytes of memory that only this process uses (anonymous and copied pages). Readable for processes that are not
/// dumpable, too; pages shared with other family members count with each.
u64 private_memory(int process);
/// Bytes that a memory file occupies.
u64 file_memory(int descriptor);

}  // namespace postern::host
