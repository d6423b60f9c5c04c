// SPDX-License-Identifier: Apache-2.0
// Hashes of short texts for tables of one's own making. Not for texts that an enemy chooses against the table.
#pragma once

#include <string_view>

#include "base/types.hpp"

namespace postern {

inline constexpr u64 kHashStart = 0xcbf29ce484222325ull;

/// FNV-1a, 64 bits. `start`: kHashStart, or what came before.
constexpr u64 hash_of(std::string_view text, u64 start = kHashStart) {
    for (char character : text) start = (start ^ static_cast<u8>(character)) * 0x100000001b3ull;
    return start;
}

}  // namespace postern
