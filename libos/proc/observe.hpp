// SPDX-License-Identifier: Apache-2.0
// What only a process itself can tell of its address space and time, told to others: one of its threads is asked.
#pragma once

#include "libos/proc/address_space.hpp"

namespace postern::libos {

struct Observed {
    Memory memory;
    u64 locked = 0;  ///< bytes
    u64 cpu = 0;     ///< nanoseconds
};

/// False: the process has ended, or answers nothing for a fifth of a second.
bool observe(Thread& caller, u32 pid, Observed& observed);
/// write_maps() of another process. Errno::acces: the caller may not look into it; Errno::srch.
Res<void> observe_maps(Thread& caller, u32 pid, ProcText& text, bool details);
/// CPU time of another process or, with `of_thread`, of one thread. Errno::inval: there is none.
Res<u64> observe_cpu(Thread& caller, u32 number, bool of_thread);

}  // namespace postern::libos
