// SPDX-License-Identifier: Apache-2.0
// What exec means for processes, threads and signals. The loader calls these around replacing the address space.
//
// Order in the loader: open and check everything, copy the argument vector into private memory; prepare_exec();
// when that answered `continues`: clear the address space, load, build the stack; finish_exec(); fill in the Frame.
// From prepare_exec() on there is no way back: a later failure ends the process with SIGKILL (exit_process(9)).
#pragma once

#include <string_view>

#include "libos/errno.hpp"
#include "libos/fs/file.hpp"

namespace postern::libos {

struct Thread;

enum class ExecSide : u32 {
    continues,       ///< go on: the caller is the only thread of its process and owns its address space alone
    parent_resumed,  ///< the caller was a vfork context. A fresh picoprocess goes on with the exec; this side is the
                     ///< vfork's caller again: drop what was prepared and answer resumed_result() from sys_execve.
};

/// Ends all other threads of the process; the caller takes over the process's number. In a vfork context forks for
/// real first: `held` are the Files that the caller holds references to, so that each side can release its own. Blocks.
/// Errno::again when no further process may be made.
Res<ExecSide> prepare_exec(Thread& thread, File* const* held = nullptr, u32 held_count = 0);
/// After parent_resumed: what sys_execve must answer. The thread's Frame is the vfork's again.
i64 resumed_result();

/// Once the new image is in place: handlers become default, alternate stack, robust list, timers and descriptors
/// marked close-on-exec go, credentials are fixed, names are set, the vfork parent is released.
/// `arguments` and `environment` are NUL-separated; `executable` is the canonical path.
void finish_exec(Thread& thread, std::string_view executable, std::string_view arguments, std::string_view environment);

}  // namespace postern::libos
