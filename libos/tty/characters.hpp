// SPDX-License-Identifier: Apache-2.0
// Classes of bytes as the terminal driver of Linux sees them: ISO 8859-1, whatever the locale.
#pragma once

#include "base/types.hpp"

namespace postern::libos {

constexpr bool is_control(u8 byte) { return byte < 32 || byte == 127; }
constexpr bool is_upper(u8 byte) {
    return (byte >= 'A' && byte <= 'Z') || (byte >= 0xc0 && byte <= 0xde && byte != 0xd7);
}
constexpr bool is_lower(u8 byte) { return (byte >= 'a' && byte <= 'z') || (byte >= 0xdf && byte != 0xf7); }
constexpr bool is_word(u8 byte) {
    return is_upper(byte) || is_lower(byte) || (byte >= '0' && byte <= '9') || byte == '_';
}
constexpr u8 to_lower(u8 byte) { return is_upper(byte) ? static_cast<u8>(byte + 32) : byte; }
constexpr u8 to_upper(u8 byte) { return is_lower(byte) ? static_cast<u8>(byte - 32) : byte; }

}  // namespace postern::libos
