// SPDX-License-Identifier: Apache-2.0
// Dispatch and tracing of system calls.
#pragma once

#include "libos/syscall/decode.hpp"
#include "libos/syscall/table.hpp"

namespace postern::libos {

/// kCallLimit entries, none null: absent calls have sys_absent.
const SystemCall* call_functions();

extern bool g_trace_calls;  ///< --trace: a line per call
/// First picoprocess: the family's memory of which absent calls were reported already.
Res<void> prepare_reports();

/// Reads "key=value" lines of LibOsParameters::options: trace=calls, verbose=1.
void read_options(const char* options);

/// One line of the trace, begun before the call (arguments may change) and ended after it.
using TraceLine = TextBuffer<1000>;

/// Returns how many arguments are in the line; prints it for calls that do not return.
u32 trace_enter(TraceLine& line, u64 number, Arguments arguments);
/// `result` as in rax.
void trace_leave(TraceLine& line, u64 number, Arguments arguments, u32 shown, u64 result);

/// A thread goes on after its vfork child has left it.
void trace_resumed(TraceLine& line, u64 result);

}  // namespace postern::libos
