// SPDX-License-Identifier: Apache-2.0
// What the rest of the library OS needs to give terminals their names.
#pragma once

#include "libos/fs/inode.hpp"

namespace postern::libos {

inline constexpr u32 kMultiplexerDevice = 0x502;
/// st_rdev of /dev/pts/N, and tty_nr of /proc/PID/stat.
constexpr u32 terminal_device(u32 number) { return 136 << 8 | (number & 0xff) | (number & 0xfff00) << 12; }

/// /dev/pts.
__attribute__((weak)) Res<InodeRef> create_pts_tree();
/// open(2) of /dev/tty. Errno::nxio without a controlling terminal.
Res<FileRef> open_controlling_terminal(Thread& thread, u32 open_flags);
/// open(2) of /dev/ptmx.
Res<FileRef> open_multiplexer(Thread& thread, u32 open_flags);

}  // namespace postern::libos
