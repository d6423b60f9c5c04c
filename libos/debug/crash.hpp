// SPDX-License-Identifier: Apache-2.0
// What users are told when a program dies of its own fault: one line, or with --crash-report registers, the last system
// calls and the stack.
#pragma once

#include <string_view>

#include "gate/personality.hpp"
#include "libos/errno.hpp"
#include "libos/signal/state.hpp"

namespace postern::libos {

struct Thread;

enum class CrashReport : u8 { none, brief, full };
extern CrashReport g_crash_report;

/// Understands the option lines "crash=none|short|full"; leaves others alone.
void read_crash_option(std::string_view line);
/// The calling thread's process is about to end by `info` with the registers in `frame`; `core`: the signal is one that
/// makes a core file. Says nothing of signals that others sent.
void report_crash(Thread& thread, const gate::Frame& frame, const SignalInfo& info, bool core);

}  // namespace postern::libos
