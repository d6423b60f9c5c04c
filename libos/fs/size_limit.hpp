// SPDX-License-Identifier: Apache-2.0
// How large a file may become: RLIMIT_FSIZE (getrlimit(2)), and for files of the host what the family's limit says.
#pragma once

#include "libos/fs/file.hpp"

namespace postern::libos {

/// For files of the host, in bytes. Before the first program runs.
void set_host_file_limit(u64 bytes);

/// How much of `size` may be written at `position` (or, with O_APPEND, at the end). Errno::fbig with SIGXFSZ: nothing.
Res<u64> limit_size(Thread& thread, File& file, u64 position, u64 size);
/// Is `length` beyond the limit, so that limit_length() must be asked?
bool beyond_limit(const Thread& thread, bool on_host, u64 length);
/// May a file of `size` bytes become one of `length`? Errno::fbig with SIGXFSZ: it may not.
Res<void> limit_length(Thread& thread, bool on_host, u64 size, u64 length);

}  // namespace postern::libos
