// SPDX-License-Identifier: Apache-2.0
// Calls on descriptors: close(2), dup(2), fcntl(2), flock(2), ioctl(2).
#include "libos/fs/leases.hpp"
#include "libos/fs/locks.hpp"
#include "libos/fs/open.hpp"
#include "libos/fs/tmpfs.hpp"
#include "libos/inotify/notify.hpp"
#include "libos/ipc/async.hpp"
#include "libos/ipc/pipe.hpp"
#include "libos/process/process.hpp"
#include "libos/syscall/table.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

enum Command : u32 {
    kDup = 0,
    kGetFd = 1,
    kSetFd = 2,
    kGetFlags = 3,
    kSetFlags = 4,
    kGetLock = 5,
    kSetLock = 6,
    kSetLockWait = 7,
    kSetOwner = 8,
    kGetOwner = 9,
    kSetSignal = 10,
    kGetSignal = 11,
    kSetOwnerEx = 15,
    kGetOwnerEx = 16,
    kOfdGetLock = 36,
    kOfdSetLock = 37,
    kOfdSetLockWait = 38,
    kSetLease = 1024,
    kGetLease = 1025,
    kNotify = 1026,
    kSameQuery = 1027,
    kCreatedQuery = 1028,
    kDupCloseOnExec = 1030,
    kSetPipeSize = 1031,
    kGetPipeSize = 1032,
    kAddSeals = 1033,
    kGetSeals = 1034,
    kGetHint = 1035,
    kSetHint = 1036,
};

struct UserLock {  // struct flock of x86-64
    i16 type, whence;
    i32 padding0;
    i64 start, length;
    i32 pid, padding1;
};

Res<LockRange> range_of(Thread& thread, File& file, const UserLock& lock) {
    i64 base = 0;
    if (lock.whence == 1) {
        base = TRY(file.seek(thread, 0, 1));
    } else if (lock.whence == 2) {
        Stat stat;
        TRY(file.stat(thread, stat));
        base = stat.st_size;
    } else if (lock.whence != 0) {
        return Failure{Errno::inval};
    }
    i64 start;
    if (__builtin_add_overflow(base, lock.start, &start)) return Failure{Errno::overflow};
    if (start < 0) return Failure{Errno::inval};
    // The end is exclusive here, and one more than the largest offset fits.
    u64 end = static_cast<u64>(start);
    if (lock.length > 0) {
        if (lock.length - 1 > 0x7fff'ffff'ffff'ffff - start) return Failure{Errno::overflow};
        end += static_cast<u64>(lock.length);
    } else if (lock.length < 0) {
        start += lock.length;
        if (start < 0) return Failure{Errno::inval};
    }
    LockRange range;
    range.start = static_cast<u64>(start);
    range.end = lock.length == 0 ? ~0ull : end;
    if (lock.type < 0 || lock.type > 2) return Failure{Errno::inval};
    range.type = static_cast<LockType>(lock.type);
    return range;
}

Res<i64> record_lock(Thread& thread, File& file, u32 command, u64 user) {
    if ((file.status_flags & kPathFlag) != 0) return Failure{Errno::badf};
    auto lock = TRY(read_user<UserLock>(user));
    bool ofd = command >= kOfdGetLock;
    if (ofd && lock.pid != 0) return Failure{Errno::inval};
    LockSort sort = ofd ? LockSort::description : LockSort::posix;
    LockRange range = TRY(range_of(thread, file, lock));
    range.pid = thread.process->pid;
    if (command == kGetLock || command == kOfdGetLock) {
        if (range.type == LockType::none) return Failure{Errno::inval};
        TRY(lock_test(thread, file, sort, range));
        lock.type = static_cast<i16>(range.type);
        if (range.type != LockType::none) {
            lock.whence = 0;
            lock.start = static_cast<i64>(range.start);
            lock.length = range.end == ~0ull ? 0 : static_cast<i64>(range.end - range.start);
            lock.pid = static_cast<i32>(range.pid);
        }
        TRY(write_user(user, lock));
        return 0;
    }
    if (range.type == LockType::read && !readable(file)) return Failure{Errno::badf};
    if (range.type == LockType::write && !writable(file)) return Failure{Errno::badf};
    TRY(lock_set(thread, file, sort, range, command == kSetLockWait || command == kOfdSetLockWait));
    return 0;
}

MemoryFileInode* sealable(File& file) {
    if (file.inode == nullptr || file.inode->device != kTmpfsDevice || (file.inode->mode & kTypeMask) != kTypeRegular)
        return nullptr;
    return static_cast<MemoryFileInode*>(file.inode);
}

Res<i64> add_seals(File& file, u32 seals) {
    constexpr u32 kAll = 0x3f, kSealSeal = 1, kSealWrite = 8;
    MemoryFileInode* inode = sealable(file);
    if (inode == nullptr) return Failure{Errno::inval};
    if (!writable(file)) return Failure{Errno::perm};
    if ((seals & ~kAll) != 0) return Failure{Errno::inval};
    if ((inode->seals & kSealSeal) != 0) return Failure{Errno::perm};
    if ((seals & kSealWrite) != 0 && inode->writable_maps != 0) return Failure{Errno::busy};
    inode->seals |= seals;
    return 0;
}

Res<i64> set_flags(File& file, u32 fd, u32 flags) {
    constexpr u32 kChangeable = kAsyncFlag | kAppendFlag | kNonBlockFlag | kDirectFlag | kNoAccessTimeFlag;
    if ((file.status_flags & kPathFlag) != 0) return Failure{Errno::badf};
    if (((flags ^ file.status_flags) & kAppendFlag) != 0 && file.inode != nullptr &&
        (file.inode->protection & kAppendOnly) != 0)
        return Failure{Errno::perm};
    if (!file.signals_readiness() && file.host_handle() == gate::kNoHandle) flags &= ~u32{kAsyncFlag};
    if (((flags ^ file.status_flags) & kAsyncFlag) != 0) TRY(async_set(file, fd, (flags & kAsyncFlag) != 0));
    file.status_flags = (file.status_flags & ~kChangeable) | (flags & kChangeable);
    return 0;
}

bool has_protection(const File& file) {
    return file.inode != nullptr && file.inode->device == kTmpfsDevice &&
           (file.is_directory() || (file.inode->mode & kTypeMask) == kTypeRegular);
}

/// FS_IOC_SETFLAGS.
Res<void> set_protection(Thread& thread, Inode& inode, u64 user) {
    constexpr u32 kCapabilityImmutable = 9, kAll = kShownProtection | kNoAccessTime;
    const u32 wanted = TRY(read_user<u32>(user));
    TRY(check_owner(thread, inode.uid));
    if ((wanted & ~kAll) != 0) return Failure{Errno::opnotsupp};
    if (((wanted ^ inode.protection) & (kImmutable | kAppendOnly)) != 0 &&
        !has_capability(thread, kCapabilityImmutable))
        return Failure{Errno::perm};
    inode.protection = wanted;
    static_cast<MemoryInode&>(inode).touch_changed();
    return {};
}

Res<i64> duplicate(Thread& thread, FileRef file, u32 lowest, bool close_on_exec) {
    u32 fd = TRY(thread.process->files->install(static_cast<FileRef&&>(file), close_on_exec, lowest));
    return static_cast<i64>(fd);
}

Res<i64> replace(Thread& thread, u32 old_fd, u32 new_fd, bool close_on_exec) {
    FileRef file = TRY(thread.process->files->get(old_fd));
    u32 fd = TRY(thread.process->files->install_at(static_cast<FileRef&&>(file), new_fd, close_on_exec));
    return static_cast<i64>(fd);
}

}  // namespace

Res<i64> sys_close(Thread& thread, Arguments arguments) {
    TRY(thread.process->files->close(static_cast<u32>(arguments[0])));
    return 0;
}

Res<i64> sys_close_range(Thread& thread, Arguments arguments) {
    constexpr u64 kUnshare = 2, kCloseOnExec = 4;
    u32 first = static_cast<u32>(arguments[0]), last = static_cast<u32>(arguments[1]);
    if ((arguments[2] & ~(kUnshare | kCloseOnExec)) != 0 || first > last) return Failure{Errno::inval};
    // Threads of one process share one table here: unsharing a single thread's is not offered.
    if ((arguments[2] & kUnshare) != 0 && thread.process->thread_count > 1) return Failure{Errno::inval};
    thread.process->files->close_range(first, last, (arguments[2] & kCloseOnExec) != 0);
    return 0;
}

Res<i64> sys_dup(Thread& thread, Arguments arguments) {
    FileRef file = TRY(thread.process->files->get(static_cast<u32>(arguments[0])));
    return duplicate(thread, static_cast<FileRef&&>(file), 0, false);
}

Res<i64> sys_dup2(Thread& thread, Arguments arguments) {
    u32 old_fd = static_cast<u32>(arguments[0]), new_fd = static_cast<u32>(arguments[1]);
    if (old_fd == new_fd) {
        FileRef file = TRY(thread.process->files->get(old_fd));
        return static_cast<i64>(new_fd);
    }
    return replace(thread, old_fd, new_fd, false);
}

Res<i64> sys_dup3(Thread& thread, Arguments arguments) {
    u32 old_fd = static_cast<u32>(arguments[0]), new_fd = static_cast<u32>(arguments[1]);
    if ((arguments[2] & ~u64{kCloseOnExecFlag}) != 0 || old_fd == new_fd) return Failure{Errno::inval};
    return replace(thread, old_fd, new_fd, arguments[2] != 0);
}

Res<i64> sys_fcntl(Thread& thread, Arguments arguments) {
    FdTable& files = *thread.process->files;
    u32 fd = static_cast<u32>(arguments[0]), command = static_cast<u32>(arguments[1]);
    u64 argument = arguments[2];
    FileRef file = TRY(files.get(fd));
    if ((file->status_flags & kPathFlag) != 0 && command > kGetFlags && command != kDupCloseOnExec &&
        command != kSameQuery)
        return Failure{Errno::badf};
    switch (command) {
        case kDup:
        case kDupCloseOnExec:
            if (argument >= thread.process->limits[7][0]) return Failure{Errno::inval};
            return duplicate(thread, static_cast<FileRef&&>(file), static_cast<u32>(argument), command != kDup);
        case kGetFd: {
            bool set = TRY(files.close_on_exec(fd));
            return set ? 1 : 0;
        }
        case kSetFd: TRY(files.set_close_on_exec(fd, (argument & 1) != 0)); return 0;
        case kGetFlags: return static_cast<i64>(file->status_flags);
        case kSetFlags: return set_flags(*file, fd, static_cast<u32>(argument));
        case kGetLock:
        case kSetLock:
        case kSetLockWait:
        case kOfdGetLock:
        case kOfdSetLock:
        case kOfdSetLockWait: return record_lock(thread, *file, command, argument);
        case kSetOwner: TRY(async_set_owner(*file, static_cast<i32>(argument))); return 0;
        case kGetOwner: return file->signal_owner;
        case kSetOwnerEx: {
            auto owner = TRY(read_user<AsyncOwner>(argument));
            TRY(async_set_owner(*file, owner));
            return 0;
        }
        case kGetOwnerEx: {
            TRY(write_user(argument, async_owner(*file)));
            return 0;
        }
        case kSetSignal:
            if (argument > kSignalCount) return Failure{Errno::inval};
            file->signal_number = static_cast<u32>(argument);
            return 0;
        case kGetSignal: return static_cast<i64>(file->signal_number);
        case kGetLease: return static_cast<i64>(lease_get(*file));
        case kSetLease:
            TRY(lease_set(thread, *file, static_cast<u32>(arguments[0]), static_cast<u32>(argument)));
            return 0;
        case kNotify: TRY(directory_notice_set(thread, *file, fd, static_cast<u32>(argument))); return 0;
        case kSameQuery: {
            FileRef other = TRY(files.get(static_cast<u32>(argument)));
            return other.get() == file.get() ? 1 : 0;
        }
        case kCreatedQuery: return static_cast<i64>(file->created);
        case kGetPipeSize: return pipe_get_size(*file);
        case kSetPipeSize: return pipe_set_size(thread, *file, argument);
        case kAddSeals: return add_seals(*file, static_cast<u32>(argument));
        case kGetSeals: {
            MemoryFileInode* inode = sealable(*file);
            if (inode == nullptr) return Failure{Errno::inval};
            return static_cast<i64>(inode->seals);
        }
        default: return Failure{Errno::inval};
    }
}

Res<i64> sys_flock(Thread& thread, Arguments arguments) {
    constexpr u32 kShared = 1, kExclusive = 2, kNoWait = 4, kUnlock = 8;
    FileRef file = TRY(thread.process->files->get(static_cast<u32>(arguments[0])));
    if ((file->status_flags & kPathFlag) != 0) return Failure{Errno::badf};
    u32 operation = static_cast<u32>(arguments[1]);
    LockRange range;
    switch (operation & ~kNoWait) {
        case kShared: range.type = LockType::read; break;
        case kExclusive: range.type = LockType::write; break;
        case kUnlock: range.type = LockType::none; break;
        default: return Failure{Errno::inval};
    }
    TRY(lock_set(thread, *file, LockSort::whole, range, (operation & kNoWait) == 0));
    return 0;
}

Res<i64> sys_ioctl(Thread& thread, Arguments arguments) {
    constexpr u32 kReadable = 0x541b, kNonBlocking = 0x5421, kAsync = 0x5452, kClearCloseOnExec = 0x5450,
                  kSetCloseOnExec = 0x5451, kGetProtection = 0x8008'6601, kSetProtection = 0x4008'6602;
    u32 fd = static_cast<u32>(arguments[0]), request = static_cast<u32>(arguments[1]);
    HeldFile file;
    TRY(file.hold(thread, fd));
    if ((file->status_flags & kPathFlag) != 0) return Failure{Errno::badf};
    switch (request) {
        case kSetCloseOnExec:
        case kClearCloseOnExec: TRY(thread.process->files->set_close_on_exec(fd, request == kSetCloseOnExec)); return 0;
        case kNonBlocking: {
            i32 on = TRY(read_user<i32>(arguments[2]));
            file->status_flags = on != 0 ? file->status_flags | kNonBlockFlag : file->status_flags & ~kNonBlockFlag;
            return 0;
        }
        case kAsync: {
            i32 on = TRY(read_user<i32>(arguments[2]));
            u32 flags = on != 0 ? file->status_flags | kAsyncFlag : file->status_flags & ~u32{kAsyncFlag};
            if (flags == file->status_flags) return 0;
            if (!file->signals_readiness() && file->host_handle() == gate::kNoHandle) return Failure{Errno::notty};
            TRY(async_set(*file.get(), fd, on != 0));
            file->status_flags = flags;
            return 0;
        }
        case kGetProtection:
            if (!has_protection(*file.get())) break;
            TRY(write_user(arguments[2], file->inode->protection));
            return 0;
        case kSetProtection:
            if (!has_protection(*file.get())) break;
            TRY(set_protection(thread, *file->inode, arguments[2]));
            return 0;
        case kReadable: {
            if (!file->seekable() || file->is_directory()) break;
            Stat stat;
            TRY(file->stat(thread, stat));
            i64 at = TRY(file->seek(thread, 0, 1));
            TRY(write_user(arguments[2], static_cast<i32>(stat.st_size > at ? stat.st_size - at : 0)));
            return 0;
        }
        default: break;
    }
    return file->ioctl(thread, request, arguments[2]);
}

}  // namespace postern::libos
