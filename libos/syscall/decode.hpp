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

/// One argument as the two above show it; `result` matters to what the call fills in.
void decode_argument(Text& text, const CallText& call, const u64 (&arguments)[6], u32 index, u64 result,
                     ReadMemory read);
/// How many arguments the row describes, and how many of them can be shown before the call.
u32 argument_count(const CallText& call);
u32 shown_before(const CallText& call);
/// Which arguments are of `kind`: bit 0 the first.
u32 arguments_of_kind(const CallText& call, std::string_view kind);
/// Is the result an address or another number that is read in hexadecimal?
bool result_is_hexadecimal(const CallText& call);
/// `bytes` as they stand in a JSON string, without its quotes; stops before `text` would hold more than `limit`.
void put_json(Text& text, std::string_view bytes, usize limit);

const char* errno_name(i32 error);    ///< "ENOENT"; null when unknown
const char* errno_text(i32 error);    ///< "No such file or directory"
const char* signal_name(u32 signal);  ///< "SIGINT"; null for real-time signals and nonsense
void put_flags(Text& text, std::string_view set, u64 value);

}  // namespace postern::libos
