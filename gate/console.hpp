// SPDX-License-Identifier: Apache-2.0
// How a host hands a keyboard to a library OS that keeps the terminal itself (library option "terminal=1"): "stdin:" is
// a stream of packets that are read whole, "stdout:" takes bytes as they are for the screen. Neither blocks. After
// packets the host interrupts a member with kExternalWindow.
#pragma once

#include "base/types.hpp"

namespace postern::gate {

inline constexpr u32 kConsolePacketSize = 1024;

/// First byte of a packet.
enum class ConsolePacket : u8 {
    keys = 0,    ///< bytes as typed
    window = 1,  ///< struct winsize: rows, columns, width, height as 16-bit numbers
    hangup = 2,  ///< the keyboard is gone
};

}  // namespace postern::gate
