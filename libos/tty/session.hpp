// SPDX-License-Identifier: Apache-2.0
// What processes ask of terminals. The table of processes is locked for all but foreground_of.
#pragma once

#include "libos/process/process.hpp"

namespace postern::libos {

struct Terminal;

void send_kernel_signal(Process& process, u32 signal);
void send_kernel_signal_to_group(u32 group, u32 signal);
/// A session leader lets go of its terminal, or ends: its foreground group is hung up (disassociate_ctty of Linux).
void leave_session_terminal(Process& process, bool ends);
/// Foreground group of the process's controlling terminal, and its number; ~0: it has none.
u32 foreground_of(const Process& process, u32& number);
/// The last file of the programs' side was closed. Takes the lock unless the caller has it.
void terminal_closed_by_programs(Terminal& terminal);

}  // namespace postern::libos
