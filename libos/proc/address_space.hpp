// SPDX-License-Identifier: Apache-2.0
// The address space as text, and its measures. Only of the calling picoprocess.
#pragma once

#include "libos/memory/space.hpp"
#include "libos/proc/text.hpp"

namespace postern::libos {

/// Bytes and addresses. What is resident only the host knows: everything accessible counts as such.
struct Memory {
    u64 mapped = 0, accessible = 0, file = 0, code = 0, data = 0, stack = 0;
    u64 code_start = 0, code_end = 0, data_start = 0, data_end = 0, break_start = 0;
};
Memory measure(Space& space);

/// /proc/self/maps; with `details` as smaps.
Res<void> write_maps(Thread& thread, Space& space, ProcText& text, bool details);

/// PROCMAP_QUERY, an ioctl(2) of /proc/PID/maps. `user`: struct procmap_query. Errno::noent: no such mapping.
inline constexpr u32 kQueryMap = 0xc068'6611;
Res<i64> query_map(Thread& thread, Space& space, u64 user);

}  // namespace postern::libos
