// SPDX-License-Identifier: Apache-2.0
// The four memory functions that compilers call, and string helpers, for code without a C library.
#pragma once

#include <string_view>

#include "base/types.hpp"

#if __STDC_HOSTED__
#include <cstring>
#else
extern "C" {
void* memcpy(void* destination, const void* source, std::size_t size);
void* memmove(void* destination, const void* source, std::size_t size);
void* memset(void* destination, int value, std::size_t size);
int memcmp(const void* left, const void* right, std::size_t size);
std::size_t strlen(const char* text);
}
#endif

namespace postern {

/// Copies as much of `text` as fits with a final NUL. Returns false when something was cut off.
bool copy_string(char* destination, usize capacity, std::string_view text);

}  // namespace postern
