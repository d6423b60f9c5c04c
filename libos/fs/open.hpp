// SPDX-License-Identifier: Apache-2.0
// Linux's numbers for open(2) and its relatives, and what the calls on files share.
#pragma once

#include "libos/fs/walk.hpp"
#include "libos/ipc/anonymous.hpp"

namespace postern::libos {

enum OpenFlag : u32 {
    kReadOnlyFlag = 0,
    kWriteOnlyFlag = 1,
    kReadWriteFlag = 2,
    kAccessMask = 3,
    kCreateFlag = 0100,
    kExclusiveFlag = 0200,
    kNoTerminalFlag = 0400,
    kTruncateFlag = 01000,
    kAppendFlag = 02000,
    kNonBlockFlag = 04000,
    kDataSyncFlag = 010000,
    kAsyncFlag = 020000,
    kDirectFlag = 040000,
    kLargeFileFlag = 0100000,
    kDirectoryFlag = 0200000,
    kNoFollowFlag = 0400000,
    kNoAccessTimeFlag = 01000000,
    kCloseOnExecFlag = 02000000,
    kPathFlag = 010000000,
    kTemporaryFlag = 020000000,
};
enum AtFlag : u32 {
    kAtSymlinkNoFollow = 0x100,
    kAtRemoveDirectory = 0x200,
    kAtSymlinkFollow = 0x400,
    kAtNoAutomount = 0x800,
    kAtEmptyPath = 0x1000,
};

inline constexpr u64 kMostTransfer = 0x7fff'f000;  ///< MAX_RW_COUNT

inline bool readable(const File& file) {
    return (file.status_flags & (kAccessMask | kPathFlag)) == kReadOnlyFlag ||
           (file.status_flags & (kAccessMask | kPathFlag)) == kReadWriteFlag;
}
inline bool writable(const File& file) {
    u32 access = file.status_flags & (kAccessMask | kPathFlag);
    return access == kWriteOnlyFlag || access == kReadWriteFlag;
}

/// The descriptor argument of a call.
inline i32 fd_of(u64 argument) { return static_cast<i32>(argument); }

/// Attributes of what a (dirfd, path) pair names, path in program memory, with AT_* flags.
Res<void> stat_at(Thread& thread, i32 dirfd, u64 user_path, u32 at_flags, Stat& stat);

/// Opens what was found without a name; `path` is one of its names. As open(2) without O_CREAT.
Res<FileRef> open_found(Thread& thread, Inode& inode, std::string_view path, u32 flags);

}  // namespace postern::libos
