// SPDX-License-Identifier: Apache-2.0
// Directory entries as the kernel gives them: linux_dirent64 of getdents64(2).
#pragma once

#include "base/types.hpp"

namespace postern::host {

struct HostRecord {
    u64 inode;
    u64 offset;  ///< position after this entry
    u16 length;  ///< bytes of this record
    u8 type;     ///< DT_*
    char name[];
};

}  // namespace postern::host
