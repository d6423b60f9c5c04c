// SPDX-License-Identifier: Apache-2.0
// Buffers that host code fills itself: are they writable? What the kernel fills it checks on its own.
#pragma once

#include "base/types.hpp"

extern "C" postern::u64 guarded_touch(postern::u64 address);

namespace postern::host {

/// Touches each page of the buffer without changing it. The answer holds as long as nobody unmaps the buffer
/// meanwhile, which is the caller's own fault.
inline bool writable(const void* buffer, u64 size) {
    auto start = reinterpret_cast<u64>(buffer);
    if (size == 0) return true;
    if (start + size < start) return false;
    for (u64 page = page_floor(start); page < start + size; page += kPageSize)
        if (guarded_touch(page < start ? start : page) == 0) return false;
    return true;
}

}  // namespace postern::host
