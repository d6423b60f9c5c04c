// SPDX-License-Identifier: Apache-2.0
// What the compiler's own output refers to, for an image without its runtime library.
#include "base/types.hpp"

#if defined(POSTERN_FREESTANDING)

extern "C" int __popcountdi2(long value) {
    auto bits = static_cast<postern::u64>(value);
    bits -= (bits >> 1) & 0x5555'5555'5555'5555;
    bits = (bits & 0x3333'3333'3333'3333) + ((bits >> 2) & 0x3333'3333'3333'3333);
    bits = (bits + (bits >> 4)) & 0x0f0f'0f0f'0f0f'0f0f;
    return static_cast<int>((bits * 0x0101'0101'0101'0101) >> 56);
}

#endif
