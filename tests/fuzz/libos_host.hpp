// SPDX-License-Identifier: Apache-2.0
// The whole library OS in this process, over a gate of a few host calls: one program with one thread, private trees
// /tmp and /dev/shm, served trees /proc and /dev, and a host of made-up names around them. Nothing reaches the real
// files.
#pragma once

#include <span>

#include "libos/process/process.hpp"

namespace postern::fuzz {

inline constexpr u64 kUserLow = 0x1100'0000'0000, kUserHigh = 0x1900'0000'0000;
/// Program memory that calls may point into; the pages around it are not there.
inline constexpr u64 kUserData = 0x1000'0000'0000 + 0x0200'0000'0000;
inline constexpr u64 kUserDataSize = 64 << 10;

/// Once. Ends this process when the library OS does not start.
libos::Thread& start_library();
/// As the dispatcher calls it; signals that become due are dropped.
i64 system_call(u64 number, const u64 (&arguments)[6]);
/// Closes what is open, empties the private trees and goes back to /tmp.
void clean_up();

/// Interprets `data` as calls out of `allowed` with arguments that point into the rest of it.
void run_calls(std::span<const u8> data, std::span<const u16> allowed);

}  // namespace postern::fuzz
