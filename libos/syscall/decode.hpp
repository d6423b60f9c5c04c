// SPDX-License-Identifier: Apache-2.0
// Text of system calls for people: names of flags, signals and errors, and arguments by kind. No gate, no program
// memory of its own: the caller says how to read it.
#pragma once

#include "base/format.hpp"
#include "libos/errno.hpp"

namespace postern::libos {

/// Reads up to `size` bytes of program memory; returns how many could be read.
using ReadMemory = usize (*)(void* destination, u64 address, usize size);

struct CallText {
    const char* name;  ///< null: unknown number
    u64 number;
    const char* kinds;  ///< see table.hpp
};

/// "name(" and the arguments that can be shown before the call; returns how many were.
u32 decode_enter(Text& text, const CallText& call, const u64 (&arguments)[6], ReadMemory read);
/// The other arguments, ")" and the result. `shown` is what decode_enter returned.
void decode_leave(Text& text, const CallText& call, const u64 (&arguments)[6], u32 shown, u64 result, ReadMemory read);

const char* errno_name(i32 error);    ///< "ENOENT"; null when unknown
const char* errno_text(i32 error);    ///< "No such file or directory"
const char* signal_name(u32 signal);  ///< "SIGINT"; null for real-time signals and nonsense
void put_flags(Text& text, std::string_view set, u64 value);

}  // namespace postern::libos
