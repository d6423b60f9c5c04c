// SPDX-License-Identifier: Apache-2.0
// Advisory locks inside the family: POSIX record locks, open file description locks (fcntl(2)) and flock(2).
//
// A lock belongs to an owner: POSIX locks to a descriptor table (as Linux has it), the others to an open file
// description. All live in one list in the arena; programs hold few at a time.
#pragma once

#include "libos/fs/file.hpp"

namespace postern::libos {

class FdTable;

enum class LockSort : u32 { posix, description, whole };      ///< fcntl, F_OFD_*, flock
enum class LockType : u32 { read = 0, write = 1, none = 2 };  ///< F_RDLCK, F_WRLCK, F_UNLCK

struct LockRange {
    u64 start = 0, end = ~0ull;  ///< first byte and the one after the last; ~0: to the end of all files
    LockType type = LockType::none;
    u32 pid = 0;  ///< of the holder, as F_GETLK tells it
};

/// Sets, changes or releases. With `wait` blocks while others hold what conflicts: Errno::restart_sys, Errno::deadlk.
/// Without: Errno::again.
Res<void> lock_set(Thread& thread, File& file, LockSort sort, const LockRange& range, bool wait);
/// The first lock in the way of `range`, which becomes it; type none when there is none.
Res<void> lock_test(Thread& thread, File& file, LockSort sort, LockRange& range);
/// close(2): POSIX locks of the table on the file go. Cheap while the table never took one.
void locks_descriptor_closed(FdTable& table, File& file);
/// The table or description is gone.
void locks_drop_owner(const void* owner);
/// Once, before the first fork.
Res<void> locks_initialize();

}  // namespace postern::libos
