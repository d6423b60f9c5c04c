// SPDX-License-Identifier: Apache-2.0
// FIFOs whose names lie among the host's files. The name is the host's (listings, rename(2), link(2), chmod(2) are as
// for files), the bytes are the family's: the host never opens it, so nothing leads out of the family.
#pragma once

#include "libos/fs/inode.hpp"

namespace postern::libos {

/// open(2) of the FIFO that `attributes` describe, at the canonical `path`. The caller sets the File's path. Blocks as
/// pipe_open_fifo. Errno::acces, Errno::nxio.
Res<FileRef> open_host_fifo(Thread& thread, const gate::Attributes& attributes, std::string_view path, u32 open_flags);
/// A FIFO has just been made: who still has an earlier one of that number open keeps it for himself.
void host_fifo_made(const gate::Attributes& attributes);

}  // namespace postern::libos
