// SPDX-License-Identifier: Apache-2.0
// What the system calls itself: uname(2), /proc/version and /proc/sys/kernel say the same.
#pragma once

#include "libos/proc/node.hpp"

namespace postern::libos {

inline constexpr char kSystemRelease[] = "6.12.0-postern";
inline constexpr char kSystemVersion[] = "#1 SMP PREEMPT_DYNAMIC Postern";
inline constexpr char kSystemNode[] = "postern";

Res<void> write_configuration(const Subject& subject, ProcText& text);  ///< /proc/config.gz

/// What lies in /proc/sys, for the table of /proc.
inline constexpr u32 kProcSysCount = 5;
extern const Node kProcSysNodes[kProcSysCount];

}  // namespace postern::libos
