// SPDX-License-Identifier: Apache-2.0
// Descriptors that name a process (pidfd_open(2), CLONE_PIDFD).
#pragma once

#include "libos/fs/fd_table.hpp"
#include "libos/process/process.hpp"

namespace postern::libos {

/// What descriptors and their process know of each other. In the arena; outlives both sides' halves.
struct PidHandle {
    u32 references = 1;
    u32 pid = 0;
    Process* process = nullptr;  ///< null once it is reaped. Guarded by the table of processes
    u32 exit_status = 0;         ///< of a reaped one: wait(2) encoding
    volatile u32 ended = 0;      ///< a zombie, or reaped
    WaitQueue queue;             ///< woken when it ends
};

/// A descriptor's file for `process`. Table lock held. Errno::nomem.
Res<FileRef> make_pid_file(Process& process, u32 open_flags);
/// The handle behind a descriptor's file. Errno::badf: it is no pidfd.
Res<PidHandle*> pid_handle_of(File& file);
// Called for processes with a handle; table lock held.
void pid_handle_ended(Process& process);
void pid_handle_reaped(Process& process);

}  // namespace postern::libos
