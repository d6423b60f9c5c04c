// SPDX-License-Identifier: Apache-2.0
// Dispatch and tracing of system calls.
#pragma once

#include "libos/syscall/table.hpp"

namespace postern::libos {

/// kCallLimit entries, none null: absent calls have sys_absent.
const SystemCall* call_functions();

extern bool g_trace_calls;       ///< --trace: a line per call
extern bool g_report_all_absent; ///< --verbose: also the calls that programs try and do without

/// Reads "key=value" lines of LibOsParameters::options.
void read_options(const char* options);

/// One line of the trace. `result` as in rax.
void trace_enter(Thread& thread, u64 number, Arguments arguments);
void trace_leave(Thread& thread, u64 number, Arguments arguments, u64 result);

}  // namespace postern::libos
