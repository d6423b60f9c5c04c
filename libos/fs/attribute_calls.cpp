// SPDX-License-Identifier: Apache-2.0
// Calls that change modes, owners, times and lengths.
#include "libos/fs/host_file.hpp"
#include "libos/fs/leases.hpp"
#include "libos/fs/open.hpp"
#include "libos/fs/size_limit.hpp"
#include "libos/fs/tmpfs.hpp"
#include "libos/gate.hpp"
#include "libos/inotify/notify.hpp"
#include "libos/process/process.hpp"
#include "libos/syscall/table.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u32 kUnchanged = ~0u;

struct Change {
    u32 mask = 0;  ///< InodeChange
    u32 now = 0;   ///< of the times in `mask`: those that become the present
    InodeAttributes values;
    bool touch = false;  ///< utimes with a null argument: write permission suffices
};

Res<void> change_inode(Thread& thread, Inode& inode, Change change) {
    if (change.mask & kChangeMode) TRY(check_owner(thread, inode.uid));
    if (change.mask & (kChangeAccessed | kChangeModified)) {
        // Append-only files may be touched, but not dated.
        const u32 forbids = change.touch ? u32{kImmutable} : u32{kImmutable} | kAppendOnly;
        if ((inode.protection & forbids) != 0) return Failure{Errno::perm};
        Res<void> owner = check_owner(thread, inode.uid);
        if (!owner.ok()) {
            if (!change.touch) return owner;
            TRY(check_permission(thread, inode, 2));
        }
        TimeStamp now = time_stamp();
        if (change.now & kChangeAccessed)
            change.values.accessed = now.seconds, change.values.accessed_ns = now.nanoseconds;
        if (change.now & kChangeModified)
            change.values.modified = now.seconds, change.values.modified_ns = now.nanoseconds;
    }
    return inode.set_attributes(thread, change.mask, change.values);
}

gate::Err change_host(const char* uri, bool follow, const Change& change) {
    gate::Attributes attributes;
    u32 mask = 0;
    if (change.mask & kChangeMode) mask |= gate::kSetMode, attributes.mode = change.values.mode & 07777;
    if (change.mask & kChangeOwner) mask |= gate::kSetOwner, attributes.owner = change.values.uid;
    if (change.mask & kChangeGroup) mask |= gate::kSetGroup, attributes.group = change.values.gid;
    if (change.mask & kChangeAccessed) {
        mask |= (change.now & kChangeAccessed) != 0 ? u32{gate::kSetAccessedNow} : u32{gate::kSetAccessed};
        // What was said beside UTIME_NOW is no time.
        if ((change.now & kChangeAccessed) == 0)
            attributes.accessed = {change.values.accessed, static_cast<u32>(change.values.accessed_ns), 0};
    }
    if (change.mask & kChangeModified) {
        mask |= (change.now & kChangeModified) != 0 ? u32{gate::kSetModifiedNow} : u32{gate::kSetModified};
        if ((change.now & kChangeModified) == 0)
            attributes.modified = {change.values.modified, static_cast<u32>(change.values.modified_ns), 0};
    }
    return g_gate->DkStreamAttributesSet(uri, follow ? 0 : u32{gate::kOpenNoFollow}, mask, &attributes);
}

/// A name that can be looked up but not changed belongs to somebody else: EPERM. The gate has one error for both, and
/// EACCES is left for what lies beyond a closed directory, and for a touch, which write permission would have allowed.
Errno refusal(const Place& place, bool follow, const Change& change) {
    gate::Attributes attributes;
    if (change.touch) return Errno::acces;
    return query_name(place.uri, follow ? 0 : u32{gate::kOpenNoFollow}, attributes) == gate::Err::ok ? Errno::perm
                                                                                                     : Errno::acces;
}

/// Which events a change is, as fsnotify_change of Linux.
u32 events_of(const Change& change) {
    u32 events = 0;
    const u32 times = change.mask & (kChangeAccessed | kChangeModified);
    if ((change.mask & (kChangeMode | kChangeOwner | kChangeGroup)) != 0) events |= kNotifyAttributes;
    if (times == (kChangeAccessed | kChangeModified)) events |= kNotifyAttributes;
    if (times == kChangeAccessed) events |= kNotifyAccess;
    if (times == kChangeModified) events |= kNotifyModify;
    return events;
}

Res<i64> change_path(Thread& thread, i32 dirfd, const char* path, bool follow, const Change& change);

/// An open file without an inode of ours.
Res<i64> change_named(Thread& thread, const File& file, bool follow, const Change& change) {
    // Pipes and other files without a name: nobody could tell the difference.
    if (file.path == nullptr || file.path[0] != '/') return 0;
    char path[kPathMax];
    usize length = strlen(file.path);
    if (length >= kPathMax) return Failure{Errno::nametoolong};
    memcpy(path, file.path, length + 1);
    return change_path(thread, kAtWorkingDirectory, path, follow, change);
}

Res<i64> change_path(Thread& thread, i32 dirfd, const char* path, bool follow, const Change& change) {
    Place place;
    TRY(walk(thread, dirfd, path, follow ? u32{kFollow} : 0, place));
    Res<bool> acted = act_host(thread, place, [&](Place& at) {
        if (change.mask != 0) return change_host(at.uri, follow, change);
        gate::Attributes attributes;
        return query_name(at.uri, follow ? 0 : u32{gate::kOpenNoFollow}, attributes);
    });
    if (!acted.ok() && acted.error() == Errno::acces) return Failure{refusal(place, follow, change)};
    bool inside = TRY(acted);
    if (!inside) {
        if (notify_active()) {
            gate::Attributes attributes;
            (void)ask_host(thread, place, attributes, [&](Place& at, gate::Attributes& answer) {
                return query_name(at.uri, follow ? 0 : u32{gate::kOpenNoFollow}, answer);
            });
            bool directory = attributes.type == gate::StreamType::directory;
            notify_object(place.view(), nullptr, events_of(change) | (directory ? u32{kNotifyIsDirectory} : 0));
        }
        return 0;
    }
    Inode* inode = place.inode.get();
    // /proc/self/fd/N: what the descriptor refers to, even if that is a link.
    if (inode == nullptr && place.magic.get() != nullptr) return change_named(thread, *place.magic, false, change);
    if (inode == nullptr) return Failure{Errno::noent};
    if (change.mask != 0) TRY(change_inode(thread, *inode, change));
    if (notify_active())
        notify_object(place.view(), inode, events_of(change) | (inode->is_directory() ? u32{kNotifyIsDirectory} : 0));
    return 0;
}

Res<i64> change_file(Thread& thread, u32 fd, const Change& change, bool path_allowed) {
    HeldFile file;
    TRY(file.hold(thread, fd));
    if (!path_allowed && (file->status_flags & kPathFlag) != 0) return Failure{Errno::badf};
    if (file->inode != nullptr) {
        if (change.mask != 0) TRY(change_inode(thread, *file->inode, change));
        if (notify_active()) notify_file(*file.get(), events_of(change));
        return 0;
    }
    return change_named(thread, *file.get(), true, change);
}

Res<i64> change_at(Thread& thread, i32 dirfd, u64 user_path, u32 at_flags, const Change& change) {
    char path[kPathMax];
    usize length = TRY(copy_path(path, user_path));
    if (length == 0 && (at_flags & kAtEmptyPath) != 0) {
        if (dirfd == kAtWorkingDirectory) return change_path(thread, dirfd, ".", true, change);
        return change_file(thread, static_cast<u32>(dirfd), change, true);
    }
    return change_path(thread, dirfd, path, (at_flags & kAtSymlinkNoFollow) == 0, change);
}

Change mode_change(u64 mode) {
    Change change;
    change.mask = kChangeMode;
    change.values.mode = static_cast<u32>(mode) & 07777;
    return change;
}
Change owner_change(u64 uid, u64 gid) {
    Change change;
    change.values.uid = static_cast<u32>(uid);
    change.values.gid = static_cast<u32>(gid);
    if (change.values.uid != kUnchanged) change.mask |= kChangeOwner;
    if (change.values.gid != kUnchanged) change.mask |= kChangeGroup;
    return change;
}

constexpr i64 kNow = 0x3fff'ffff, kOmit = 0x3fff'fffe;  // UTIME_NOW, UTIME_OMIT

Res<Change> time_change(const i64 (&times)[4]) {
    Change change;
    change.mask = kChangeAccessed | kChangeModified;
    const i64 nanoseconds[2] = {times[1], times[3]};
    const u32 bits[2] = {kChangeAccessed, kChangeModified};
    u32 nows = 0;
    for (u32 index = 0; index < 2; ++index) {
        if (nanoseconds[index] == kOmit) {
            change.mask &= ~bits[index];
        } else if (nanoseconds[index] == kNow) {
            change.now |= bits[index];
            ++nows;
        } else if (nanoseconds[index] < 0 || nanoseconds[index] >= 1'000'000'000) {
            return Failure{Errno::inval};
        }
    }
    change.touch = nows == 2;
    change.values.accessed = times[0];
    change.values.accessed_ns = times[1];
    change.values.modified = times[2];
    change.values.modified_ns = times[3];
    return change;
}

Change touch() {
    Change change;
    change.mask = change.now = kChangeAccessed | kChangeModified;
    change.touch = true;
    return change;
}

/// struct timeval[2]; null: now.
Res<Change> microsecond_times(u64 user) {
    if (user == 0) return touch();
    i64 times[4];
    TRY(copy_in(times, user, sizeof times));
    for (u32 index : {1u, 3u}) {
        if (times[index] < 0 || times[index] >= 1'000'000) return Failure{Errno::inval};
        times[index] *= 1000;
    }
    return time_change(times);
}

}  // namespace

Res<i64> sys_chmod(Thread& thread, Arguments arguments) {
    return change_at(thread, kAtWorkingDirectory, arguments[0], 0, mode_change(arguments[1]));
}
Res<i64> sys_fchmod(Thread& thread, Arguments arguments) {
    return change_file(thread, static_cast<u32>(arguments[0]), mode_change(arguments[1]), false);
}
Res<i64> sys_fchmodat(Thread& thread, Arguments arguments) {
    return change_at(thread, fd_of(arguments[0]), arguments[1], 0, mode_change(arguments[2]));
}
Res<i64> sys_fchmodat2(Thread& thread, Arguments arguments) {
    if ((arguments[3] & ~u64{kAtSymlinkNoFollow | kAtEmptyPath}) != 0) return Failure{Errno::inval};
    if ((arguments[3] & kAtSymlinkNoFollow) != 0) {
        Stat stat;
        TRY(stat_at(thread, fd_of(arguments[0]), arguments[1], static_cast<u32>(arguments[3]), stat));
        if ((stat.st_mode & kTypeMask) == kTypeLink) return Failure{Errno::opnotsupp};
    }
    return change_at(thread, fd_of(arguments[0]), arguments[1], static_cast<u32>(arguments[3]),
                     mode_change(arguments[2]));
}
Res<i64> sys_chown(Thread& thread, Arguments arguments) {
    return change_at(thread, kAtWorkingDirectory, arguments[0], 0, owner_change(arguments[1], arguments[2]));
}
Res<i64> sys_lchown(Thread& thread, Arguments arguments) {
    return change_at(thread, kAtWorkingDirectory, arguments[0], kAtSymlinkNoFollow,
                     owner_change(arguments[1], arguments[2]));
}
Res<i64> sys_fchown(Thread& thread, Arguments arguments) {
    return change_file(thread, static_cast<u32>(arguments[0]), owner_change(arguments[1], arguments[2]), false);
}
Res<i64> sys_fchownat(Thread& thread, Arguments arguments) {
    if ((arguments[4] & ~u64{kAtSymlinkNoFollow | kAtEmptyPath}) != 0) return Failure{Errno::inval};
    return change_at(thread, fd_of(arguments[0]), arguments[1], static_cast<u32>(arguments[4]),
                     owner_change(arguments[2], arguments[3]));
}

Res<i64> sys_utime(Thread& thread, Arguments arguments) {
    Change change = touch();
    if (arguments[1] != 0) {
        i64 pair[2];
        TRY(copy_in(pair, arguments[1], sizeof pair));
        change = TRY(time_change({pair[0], 0, pair[1], 0}));
    }
    return change_at(thread, kAtWorkingDirectory, arguments[0], 0, change);
}
Res<i64> sys_utimes(Thread& thread, Arguments arguments) {
    Change change = TRY(microsecond_times(arguments[1]));
    return change_at(thread, kAtWorkingDirectory, arguments[0], 0, change);
}
Res<i64> sys_futimesat(Thread& thread, Arguments arguments) {
    Change change = TRY(microsecond_times(arguments[2]));
    if (arguments[1] == 0) return change_file(thread, static_cast<u32>(arguments[0]), change, false);
    return change_at(thread, fd_of(arguments[0]), arguments[1], 0, change);
}
Res<i64> sys_utimensat(Thread& thread, Arguments arguments) {
    if ((arguments[3] & ~u64{kAtSymlinkNoFollow | kAtEmptyPath}) != 0) return Failure{Errno::inval};
    Change change = touch();
    if (arguments[2] != 0) {
        i64 times[4];
        TRY(copy_in(times, arguments[2], sizeof times));
        change = TRY(time_change(times));
        if (change.mask == 0) return 0;  // both omitted: not even the name is looked at
    }
    if (arguments[1] == 0) {
        if (fd_of(arguments[0]) == kAtWorkingDirectory) return Failure{Errno::fault};
        return change_file(thread, static_cast<u32>(arguments[0]), change, false);
    }
    return change_at(thread, fd_of(arguments[0]), arguments[1], static_cast<u32>(arguments[3]), change);
}

Res<i64> sys_truncate(Thread& thread, Arguments arguments) {
    if (static_cast<i64>(arguments[1]) < 0) return Failure{Errno::inval};
    char path[kPathMax];
    TRY(copy_path(path, arguments[0]));
    Place place;
    TRY(walk(thread, kAtWorkingDirectory, path, kFollow, place));
    if (leases_active()) TRY(lease_break(thread, place, true, true));
    gate::Attributes attributes;
    gate::Handle handle = gate::kNoHandle;
    auto opened = ask_host(thread, place, attributes, [&](Place& at, gate::Attributes& answer) {
        return g_gate->DkStreamOpen(at.uri, gate::kAccessWrite, 0, gate::kCreateNever, 0, &handle, &answer);
    });
    if (!opened.ok()) return Failure{opened.error() == Errno::opnotsupp ? Errno::inval : opened.error()};  // a FIFO
    bool inside = opened.value();
    if (!inside) {
        auto allowed = limit_length(thread, true, attributes.size, arguments[1]);
        gate::Err error = gate::Err::ok;
        if (allowed.ok()) error = g_gate->DkStreamSetLength(handle, 0, arguments[1], gate::LengthChange::truncate);
        g_gate->DkObjectClose(handle);
        TRY(std::move(allowed));
        TRY(check(error));
        if (notify_active()) notify_object(place.view(), nullptr, kNotifyModify);
        return 0;
    }
    if (place.magic.get() != nullptr) {  // /proc/self/fd/N
        if (place.magic->is_directory()) return Failure{Errno::isdir};
        FileRef file = TRY(place.magic->reopen(thread, kWriteOnlyFlag | kNonBlockFlag));
        TRY(file->truncate(thread, arguments[1]));
        if (notify_active()) notify_file(*file, kNotifyModify);
        return 0;
    }
    if (place.inode.get() == nullptr) return Failure{Errno::noent};
    if (place.inode->is_directory()) return Failure{Errno::isdir};
    TRY(check_permission(thread, *place.inode, 2));
    if (beyond_limit(thread, false, arguments[1])) {
        Stat stat;
        TRY(place.inode->stat(thread, stat));
        TRY(limit_length(thread, false, static_cast<u64>(stat.st_size), arguments[1]));
    }
    if ((place.inode->protection & kAppendOnly) != 0) return Failure{Errno::perm};
    TRY(place.inode->truncate(thread, arguments[1]));
    if (notify_active()) notify_object(place.view(), place.inode.get(), kNotifyModify);
    return 0;
}

Res<i64> sys_ftruncate(Thread& thread, Arguments arguments) {
    if (static_cast<i64>(arguments[1]) < 0) return Failure{Errno::inval};
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(arguments[0])));
    if ((file->status_flags & kPathFlag) != 0) return Failure{Errno::badf};
    if (!writable(*file.get())) return Failure{Errno::inval};
    if (beyond_limit(thread, file->on_host(), arguments[1])) {
        Stat stat;
        TRY(file->stat(thread, stat));
        TRY(limit_length(thread, file->on_host(), static_cast<u64>(stat.st_size), arguments[1]));
    }
    if (file->inode != nullptr && (file->inode->protection & kAppendOnly) != 0) return Failure{Errno::perm};
    TRY(file->truncate(thread, arguments[1]));
    if (notify_active()) notify_file(*file.get(), kNotifyModify);
    return 0;
}

Res<i64> sys_fallocate(Thread& thread, Arguments arguments) {
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(arguments[0])));
    i64 offset = static_cast<i64>(arguments[2]), length = static_cast<i64>(arguments[3]);
    if (offset < 0 || length <= 0) return Failure{Errno::inval};
    if ((arguments[1] & ~0x7full) != 0) return Failure{Errno::opnotsupp};
    if (!writable(*file.get())) return Failure{Errno::badf};
    i64 end;
    if (__builtin_add_overflow(offset, length, &end)) return Failure{Errno::fbig};
    Stat stat;
    TRY(file->stat(thread, stat));
    if ((stat.st_mode & kTypeMask) == kTypeFifo) return Failure{Errno::spipe};
    if ((stat.st_mode & kTypeMask) == kTypeDirectory) return Failure{Errno::isdir};
    if ((stat.st_mode & kTypeMask) != kTypeRegular) return Failure{Errno::nodev};
    constexpr u64 kKeepSize = 1;
    if ((arguments[1] & kKeepSize) == 0)
        TRY(limit_length(thread, file->on_host(), static_cast<u64>(stat.st_size), static_cast<u64>(end)));
    TRY(file->allocate(thread, static_cast<u32>(arguments[1]), arguments[2], arguments[3]));
    if (notify_active()) notify_file(*file.get(), kNotifyModify);
    return 0;
}

}  // namespace postern::libos
