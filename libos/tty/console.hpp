// SPDX-License-Identifier: Apache-2.0
// The terminal whose keyboard and screen are the monitor's (`postern run -t`): it lives here like any other, and the
// host hands on raw bytes.
//
// The host's standard input is a stream of packets: a byte that says which (gate/console.hpp), then the packet. After
// each the host interrupts the family (kExternalWindow), so that keys work whatever programs do.
#pragma once

#include "libos/fs/fd_table.hpp"

namespace postern::libos {

struct Terminal;

/// Was this family started with a terminal?
bool console_wanted();
/// The first process: makes the terminal, and opens it as descriptors 0, 1 and 2.
Res<void> install_console(FdTable& table);
/// Takes what the keyboard has sent. Call without locks. Does nothing when there is no console.
void console_input();
/// Puts output on the screen as far as that does not block. True: there is nothing left.
bool console_output(Terminal& terminal);
/// As far as it goes at once, for callers under a lock: announces nothing.
void console_flush(Terminal& terminal);
/// Where output goes, to wait for room; none when the screen is gone.
gate::Handle console_output_handle();
bool console_present();
/// Foreground group of the console; 0: none.
u32 console_foreground();

}  // namespace postern::libos
