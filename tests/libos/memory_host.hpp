// SPDX-License-Identifier: Apache-2.0
// A gate of host calls for tests of the address space, with a process and a thread around it.
#pragma once

#include "libos/gate.hpp"
#include "libos/process/process.hpp"

namespace postern::libos::testing {

inline constexpr u64 kLow = 0x1100'0000'0000, kHigh = 0x1900'0000'0000;

/// Idempotent: sets g_gate, g_parameters, g_host, this thread's GS base, and fault fix-ups on SIGSEGV and SIGBUS.
Process& set_up();
extern u64 g_gate_calls;
extern u64 g_code_changes;
extern bool g_refuse_move;
extern i64 g_live_files;

}  // namespace postern::libos::testing
