// SPDX-License-Identifier: Apache-2.0
// Dispatch and tracing of system calls.
#pragma once

#include "libos/syscall/table.hpp"
#include "libos/syscall/trace.hpp"

namespace postern::libos {

/// kCallLimit entries, none null: absent calls have sys_absent.
const SystemCall* call_functions();

extern bool g_watch_calls;  ///< some calls are traced or remembered
/// First picoprocess: the family's memory of which absent calls were reported already.
Res<void> prepare_reports();

/// Reads "key=value" lines of LibOsParameters::options: verbose=1, and those of syscall/trace.hpp and debug/crash.hpp.
void read_options(const char* options);

}  // namespace postern::libos
