// SPDX-License-Identifier: Apache-2.0
// The first contents of a program's stack: strings, auxiliary vector, environment and argument pointers, count.
#pragma once

#include "libos/errno.hpp"

namespace postern::libos {

struct AuxiliaryEntry {
    u64 type, value;
};

struct StackContents {
    const char* arguments;  ///< `argument_count` NUL-terminated strings in a row
    u64 argument_bytes;
    u32 argument_count;
    const char* environment;
    u64 environment_bytes;
    u32 environment_count;
    const char* path;                 ///< AT_EXECFN
    const char* platform;             ///< AT_PLATFORM
    u8 random[16];                    ///< AT_RANDOM
    const AuxiliaryEntry* auxiliary;  ///< without RANDOM, EXECFN, PLATFORM, NULL: added here
    u32 auxiliary_count;
};

/// Bytes that the image takes below `top`.
u64 stack_image_size(const StackContents& contents);
/// Writes the image that belongs at [top - size, top) into `image`; returns the stack pointer (16-byte aligned).
/// `size` is stack_image_size() and `top` a multiple of 16.
u64 build_stack_image(const StackContents& contents, u64 top, u8* image, u64 size);

}  // namespace postern::libos
