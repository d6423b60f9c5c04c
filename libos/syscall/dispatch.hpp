// SPDX-License-Identifier: Apache-2.0
// Dispatch and tracing of system calls.
#pragma once

#include "libos/syscall/decode.hpp"
#include "libos/syscall/table.hpp"

namespace postern::libos {

/// kCallLimit entries, none null: absent calls have sys_absent.
const SystemCall* call_functions();

extern bool g_trace_calls;       ///< --trace: a line per call
extern bool g_report_all_absent; ///< --verbose: also the calls that programs try and do without

/// Reads "key=value" lines of LibOsParameters::options.
void read_options(const char* options);

/// One line of the trace, begun before the call (arguments may change) and ended after it.
using TraceLine = TextBuffer<1000>;

/// Returns how many arguments are in the line; prints it for calls that do not return.
u32 trace_enter(TraceLine& line, u64 number, Arguments arguments);
/// `result` as in rax.
void trace_leave(TraceLine& line, u64 number, Arguments arguments, u32 shown, u64 result);

}  // namespace postern::libos
