// SPDX-License-Identifier: Apache-2.0
// Memory of traced processes, for their tracer: /proc/PID/mem and process_vm_readv(2).
#pragma once

#include "libos/fs/fd_table.hpp"

namespace postern::libos {

/// Bytes of the memory of the caller or of a process that it may look into, from `address` on: how many could be read
/// or written. Errno::srch, Errno::perm: it may not look there; Errno::fault: not even the first.
Res<usize> trace_read(Thread& caller, u32 tid, u64 address, void* data, usize size);
Res<usize> trace_write(Thread& caller, u32 tid, u64 address, const void* data, usize size);

/// Has the thread, wherever it is, run `serve` on `data`, which travels there and back: at most 1 KiB. Waits `tries`
/// times 50 ms. Errno::srch: it has ended or does not answer; late answers change nothing here.
Res<void> ask_thread(Thread& caller, u32 tid, void (*serve)(Thread& thread, void* data), void* data, u32 size,
                     u32 tries);

/// An open /proc/PID/mem. Errno::acces: it may not look there.
Res<FileRef> open_process_memory(Thread& caller, u32 pid, u32 open_flags);

}  // namespace postern::libos
