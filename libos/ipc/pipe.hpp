// SPDX-License-Identifier: Apache-2.0
// Pipes and FIFOs (pipe(7), fifo(7)): a ring of bytes in the arena between any processes of the family.
#pragma once

#include "libos/fs/fd_table.hpp"

namespace postern::libos {

inline constexpr u64 kPipeBuf = 4096;  ///< PIPE_BUF: writes up to here are not mixed with others'
inline constexpr u64 kPipeDefaultSize = 64 << 10;

class Pipe;

/// A FIFO's ring: an inode holds one reference for as long as it exists.
Res<Pipe*> pipe_create();
void pipe_reference(Pipe& pipe);
void pipe_release(Pipe& pipe);
/// open(2) of a FIFO: waits for the other side unless O_NONBLOCK (ENXIO for a writer without readers) or O_RDWR.
/// The caller fills in the File's inode and path. Blocks; Errno::restart_sys by a signal.
Res<FileRef> pipe_open_fifo(Thread& thread, Pipe& pipe, u32 open_flags);

/// pipe2(2) without descriptors: reader first. `flags`: O_NONBLOCK, O_DIRECT.
Res<void> pipe_create_pair(u32 flags, FileRef& reader, FileRef& writer);

/// tee(2): copies what is in one pipe to another without taking it. Blocks unless `wait` is false. Errno::inval when
/// the files are not two different pipes.
Res<i64> pipe_tee(Thread& thread, File& from, File& to, u64 size, bool wait);

/// Bytes that fit now, after waiting for some to fit. Errno::again without `wait`; Errno::pipe (with its signal).
Res<u64> pipe_wait_for_room(Thread& thread, File& file, bool wait);
bool pipe_is_same(File& left, File& right);  ///< two ends of one pipe

/// F_GETPIPE_SZ and F_SETPIPE_SZ for fcntl(2). Errno::badf when the file is no pipe.
Res<i64> pipe_get_size(File& file);
Res<i64> pipe_set_size(Thread& thread, File& file, u64 size);

}  // namespace postern::libos
