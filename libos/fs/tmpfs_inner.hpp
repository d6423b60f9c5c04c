// SPDX-License-Identifier: Apache-2.0
// What the files that implement memory trees share.
#pragma once

#include "libos/fs/quota.hpp"
#include "libos/fs/tmpfs.hpp"

namespace postern::libos {

inline constexpr u32 kCapabilityFowner = 3;

/// An inode of a memory tree, counted. What its destructor gives back is taken here.
template <class T>
Res<T*> make_object() {
    TRY(quota::take_object());
    auto made = make_inode<T>();
    if (!made.ok()) quota::give_object();
    return made;
}

/// Memory for names and data is the tree's space.
inline auto no_space(Errno error) { return Failure{error == Errno::nomem ? Errno::nospc : error}; }

inline void born_now(MemoryInode& inode) {
    inode.accessed = inode.modified = inode.changed = inode.born = time_stamp();
    inode.device = kTmpfsDevice;
}

}  // namespace postern::libos
