// SPDX-License-Identifier: Apache-2.0
// The one table of Linux system calls: number, name, level, argument kinds, note and implementation.
//
// Rows are kept beside the code that serves them, in <area>/calls.inc, as
//     CALL(number, name, level, function, "argument kinds", "note")
// with level one of full, partial, absent (function: sys_absent). From the table come dispatch, docs/syscalls.md,
// `postern syscalls --json` and the tracer. Argument kinds, separated by blanks, in the order of the arguments:
//     fd path str ptr size int uint hex off mode pid sig sigset timespec flags:SET
//     in:N (data to print, length in argument N, counted from 0) out:N (data filled in, length is the result, at most
//     argument N)
//     stat argv envp fds
// Flag sets are in decode.cpp (open prot map mremap msync madvise clone wait futex at access sigprocmask whence); one
// that is not there prints as a number.
// followed by "> kind" for the result when it is not int (> ptr, > hex, > fd).
#pragma once

#include "libos/errno.hpp"
#include "libos/gate.hpp"

namespace postern::libos {

struct Thread;
using Arguments = const u64 (&)[6];
using SystemCall = Res<i64> (*)(Thread& thread, Arguments arguments);

enum class Level : u8 { full, partial, absent };

struct CallRow {
    u16 number;
    Level level;
    const char* name;
    SystemCall function;
    const char* kinds;
    const char* note;
};

inline constexpr u32 kCallLimit = 512;

/// Row for a number, null when Linux has no such call.
const CallRow* find_call(u64 number);
/// The personality's system_call callback: dispatch, trace, signals on the way out.
void serve_system_call(gate::Frame* frame);

Res<i64> sys_absent(Thread& thread, Arguments arguments);  ///< ENOSYS, reported once by name

}  // namespace postern::libos
