// SPDX-License-Identifier: Apache-2.0
// /proc/PID/fd and /proc/PID/fdinfo.
#pragma once

#include "libos/fs/inode.hpp"

namespace postern::libos {

/// The entry for descriptor `fd`; Errno::noent when it is closed. `info`: of fdinfo.
Res<InodeRef> lookup_descriptor(Thread& thread, u32 pid, u32 fd, bool info);
/// Lists descriptors from `from` on; positions are `base` + number.
Res<void> visit_descriptors(Thread& thread, u32 pid, u32 from, u64 base, bool info, DirectoryVisitor& visitor);

}  // namespace postern::libos
