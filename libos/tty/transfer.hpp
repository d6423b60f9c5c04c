// SPDX-License-Identifier: Apache-2.0
// Moving bytes between programs and terminals in pieces that fit on a stack.
#pragma once

#include "libos/process/process.hpp"
#include "libos/user.hpp"

namespace postern::libos {

inline constexpr u32 kTerminalPiece = 1024;

/// Source and target of a transfer: program memory, or the library OS's own.
struct TerminalBytes {
    u64 address;
    bool user;

    Res<void> fetch(u8* piece, u64 at, u64 size) const {
        if (user) return copy_in(piece, address + at, size);
        __builtin_memcpy(piece, reinterpret_cast<const u8*>(address) + at, size);
        return {};
    }
    Res<void> store(const u8* piece, u64 at, u64 size) const {
        if (user) return copy_out(address + at, piece, size);
        __builtin_memcpy(reinterpret_cast<u8*>(address) + at, piece, size);
        return {};
    }
};

}  // namespace postern::libos
