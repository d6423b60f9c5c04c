// SPDX-License-Identifier: Apache-2.0
// Fixed-width integers and page arithmetic that every layer of Postern shares.
#pragma once

#include <cstddef>
#include <cstdint>

namespace postern {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i8 = std::int8_t;
using i16 = std::int16_t;
using i32 = std::int32_t;
using i64 = std::int64_t;
using usize = std::size_t;

inline constexpr u64 kPageSize = 4096;

constexpr u64 page_floor(u64 value) { return value & ~(kPageSize - 1); }
/// Rounds up to a page. A value in the last page of the address space wraps to 0: callers check sizes first.
constexpr u64 page_ceil(u64 value) { return (value + kPageSize - 1) & ~(kPageSize - 1); }
constexpr bool page_aligned(u64 value) { return (value & (kPageSize - 1)) == 0; }

constexpr u64 align_up(u64 value, u64 alignment) { return (value + alignment - 1) & ~(alignment - 1); }

}  // namespace postern
