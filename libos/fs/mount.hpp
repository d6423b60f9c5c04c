// SPDX-License-Identifier: Apache-2.0
// Which parts of the view the library OS serves itself. Fixed at the start of the family, kept in the arena.
#pragma once

#include "libos/fs/inode.hpp"

namespace postern::libos {

struct Mount {
    Mount* next;
    Inode* root;  ///< null: names below belong to the host all the same
    u32 length;
    u32 kind;      ///< MountKind
    char path[1];  ///< absolute, canonical, NUL
};
enum class MountKind : u32 { memory, served, host };

/// The mount whose tree `path` (canonical) lies in: the longest that is a prefix; null: the host's.
const Mount* mount_of(std::string_view path);
/// The mount exactly at `path`.
const Mount* mount_at(std::string_view path);
/// Does a mount lie below `path`? Then names there are looked at one by one.
bool mounts_below(std::string_view path);
/// For /proc/mounts: all of them.
const Mount* first_mount();

}  // namespace postern::libos
