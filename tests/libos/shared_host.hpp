// SPDX-License-Identifier: Apache-2.0
// A gate for hosted tests: just enough of it for the shared-memory code, over ordinary threads and processes.
#pragma once

#include "libos/gate.hpp"

namespace postern::libos::test {

/// Maps a fresh arena of `size` bytes at its fixed address and makes the calling thread its first user.
void start(u64 size);
/// The calling thread's number from now on, as if it were a thread of host process `process`.
void become(u32 thread, u32 process);
/// Appends to the list of deaths.
void report_death(u32 process);

}  // namespace postern::libos::test
