// SPDX-License-Identifier: Apache-2.0
// Open host streams without positions of their own: the standard streams, and named pipes of the host's routes.
#pragma once

#include "libos/fs/fd_table.hpp"

namespace postern::libos {

/// A File over an open gate stream, which it closes with its last local descriptor. `open_flags` are Linux O_* and
/// become its status flags. A regular file is read and written at the offset that it shares with whoever gave it, so
/// it cannot be sought.
Res<FileRef> make_stream_file(gate::Handle handle, const gate::Attributes& attributes, u32 open_flags);

}  // namespace postern::libos
