// SPDX-License-Identifier: Apache-2.0
#include "libos/ipc/anonymous.hpp"

#include "base/memory.hpp"
#include "libos/fs/fd_table.hpp"
#include "libos/process/process.hpp"
#include "libos/shared/arena.hpp"
#include "libos/time/timers.hpp"

namespace postern::libos {

void fill_anonymous_stat(Thread& thread, Stat& stat, u32 mode, u64 number) {
    memset(&stat, 0, sizeof stat);
    stat.st_dev = 13;
    stat.st_ino = number;
    stat.st_nlink = 1;
    stat.st_mode = mode;
    stat.st_uid = thread.process->credentials.fsuid;
    stat.st_gid = thread.process->credentials.fsgid;
    stat.st_blksize = kPageSize;
    TimeSpec now = to_timespec(realtime_now());
    stat.st_atime = stat.st_mtime = stat.st_ctime = now.seconds;
    stat.st_atime_nsec = stat.st_mtime_nsec = stat.st_ctime_nsec = now.nanoseconds;
}

Res<void> HeldFile::hold(Thread& thread, u32 fd) {
    FdTable& table = *thread.process->files;
    file_ = table.peek(fd);
    if (file_ != nullptr) return {};
    FileRef file = TRY(table.get(fd));
    file_ = file.leak();
    referenced_ = true;
    return {};
}

void HeldFile::drop() {
    if (file_ != nullptr && referenced_) file_->release();
    file_ = nullptr;
    referenced_ = false;
}

}  // namespace postern::libos
