// SPDX-License-Identifier: Apache-2.0
// Lazy patching as the rest of entry uses it; patcher.hpp has the mechanism.
#pragma once

#include "gate/personality.hpp"

namespace postern::host {

/// In the SIGSYS handler: `site` is the address of a `syscall` instruction of the program that trapped with `number`
/// in rax. Never waits for a lock that the interrupted thread may hold.
void consider_patch(u64 site, u64 number);

/// In the SIGTRAP handler: where to go on after a breakpoint instruction at `address`; 0: it is the program's own.
u64 resolve_breakpoint(u64 address);

/// If `rip` lies in a trampoline: the address in the program's code where the call starts over; else `rip`.
u64 leave_trampoline(u64 rip);

void patch_code_changed(u64 address, u64 size);
void patch_code_reset();
bool patch_code_prepared(u64 address, u64 size);

/// Around fork, by the forking thread. Not in signal handlers.
void patch_lock();
void patch_unlock();
void patch_after_fork();
/// Before a fork, by a thread that is alone: patches what earlier children trapped at.
void patch_ahead();

void count_trap();
void flush_patch_counters();

}  // namespace postern::host
