// SPDX-License-Identifier: Apache-2.0
// Names: resolving program paths to objects of the view (host routes, private memory trees, /proc, /dev).
#pragma once

#include <string_view>

#include "libos/fs/fd_table.hpp"

namespace postern::libos {

inline constexpr usize kPathMax = 4096;

/// Per-process root, working directory and umask; in the arena, shared by CLONE_FS.
inline constexpr i32 kAtWorkingDirectory = -100;  ///< AT_FDCWD

struct FsContext {
    u32 references;
    u32 umask;
    SharedLock lock;
    char root[kPathMax];  ///< absolute canonical path ("/" unless chroot)
    char cwd[kPathMax];   ///< absolute canonical path
    Inode* cwd_inode;     ///< referenced; null when the working directory is the host's

    static Res<FsContext*> create(const char* cwd);
    Res<FsContext*> clone();
    void reference();
    void release();
};

enum ResolveFlags : u32 {
    kFollow = 1,        ///< follow a symbolic link in the last component
    kMayBeMissing = 2,  ///< the last component need not exist (create, rename target)
    kEmptyPath = 4,     ///< AT_EMPTY_PATH
};

/// Gives the file a copy of `text` as its path. When memory is short it stays without.
void set_path(File& file, std::string_view text);

/// open(2) by absolute or dirfd-relative path in library-OS memory: what execve, the loader and openat share.
/// `flags` are Linux O_*.
Res<FileRef> open_path(Thread& thread, i32 dirfd, const char* path, u32 flags, u32 mode);
/// stat of a path without opening. `follow`: the last link.
Res<void> stat_path(Thread& thread, i32 dirfd, const char* path, bool follow, Stat& stat);
/// Mount-table hook: file-system trees inside the library OS (tmpfs, /proc, /dev) take precedence over host routes
/// below their directory.
Res<void> initialize_file_systems();

}  // namespace postern::libos
