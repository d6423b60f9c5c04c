// SPDX-License-Identifier: Apache-2.0
// Calls that ask about files: stat(2), statx(2), access(2), statfs(2).
#include "base/memory.hpp"
#include "libos/fs/host_file.hpp"
#include "libos/fs/mount.hpp"
#include "libos/fs/open.hpp"
#include "libos/fs/quota.hpp"
#include "libos/fs/tmpfs.hpp"
#include "libos/gate.hpp"
#include "libos/process/process.hpp"
#include "libos/syscall/table.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

Res<i64> put_stat(u64 user, const Stat& stat) {
    TRY(copy_out(user, &stat, Stat::sizeof_linux));
    return 0;
}

struct StatxTime {
    i64 seconds;
    u32 nanoseconds;
    i32 reserved;
};
struct Statx {  // linux/stat.h
    u32 mask, block_size;
    u64 attributes;
    u32 links, uid, gid;
    u16 mode, spare0;
    u64 inode, size, blocks, attributes_mask;
    StatxTime accessed, born, changed, modified;
    u32 rdev_major, rdev_minor, dev_major, dev_minor;
    u64 mount;
    u32 dio_memory, dio_offset;
    u64 spare[12];
};
static_assert(sizeof(Statx) == 256);

struct StatFs {  // struct statfs of x86-64
    i64 type, block_size;
    u64 blocks, blocks_free, blocks_available, files, files_free;
    i32 id[2];
    i64 name_length, fragment_size, flags;
    i64 spare[4];
};
static_assert(sizeof(StatFs) == 120);

constexpr i64 kTmpfsMagic = 0x01021994, kProcMagic = 0x9fa0, kSysfsMagic = 0x62656572, kExt4Magic = 0xef53,
              kPtsMagic = 0x1cd1;
constexpr i64 kReadOnlyMount = 1, kNoSuid = 2, kNoDev = 4, kValid = 0x20, kRelativeAccess = 0x1000;

bool equal(const char* a, std::string_view b) { return strlen(a) == b.size() && memcmp(a, b.data(), b.size()) == 0; }

/// `rights`: gate::Right bits when the place is the host's.
Res<i64> put_statfs(u64 user, std::string_view path, bool inside, bool memory, bool can_write) {
    StatFs out;
    memset(&out, 0, sizeof out);
    out.block_size = out.fragment_size = kPageSize;
    out.name_length = kNameMax;
    out.flags = kValid | kNoSuid | kNoDev | kRelativeAccess;
    const Mount* mount = inside ? mount_of(path) : nullptr;
    if (mount != nullptr && equal(mount->path, "/proc")) {
        out.type = kProcMagic;
    } else if (mount != nullptr && equal(mount->path, "/dev/pts")) {
        out.type = kPtsMagic;
    } else if (mount != nullptr && equal(mount->path, "/sys")) {
        out.type = kSysfsMagic;
    } else if (inside || memory) {
        out.type = kTmpfsMagic;
        out.flags &= ~kNoDev;
        quota::Room room = quota::room();
        out.blocks = room.pages;
        out.blocks_free = out.blocks_available = room.free_pages;
        out.files = room.objects;
        out.files_free = room.free_objects;
    } else {
        // How full the host's disks are is nobody's business in here; programs only want to see room.
        out.type = kExt4Magic;
        out.blocks = 1ull << 28;
        out.blocks_free = out.blocks_available = 1ull << 27;
        out.files = 1 << 26;
        out.files_free = 1 << 25;
        if (!can_write) out.flags |= kReadOnlyMount;
    }
    TRY(write_user(user, out));
    return 0;
}

Res<i64> access_at(Thread& thread, i32 dirfd, u64 user_path, u32 wanted, u32 flags) {
    constexpr u32 kEffectiveIds = 0x200;
    if ((wanted & ~7u) != 0 || (flags & ~(kEffectiveIds | kAtSymlinkNoFollow | kAtEmptyPath)) != 0)
        return Failure{Errno::inval};
    bool real = (flags & kEffectiveIds) == 0;
    char path[kPathMax];
    usize length = TRY(copy_path(path, user_path));
    Stat stat;
    if (length == 0 && (flags & kAtEmptyPath) != 0) {
        TRY(stat_at(thread, dirfd, user_path, kAtEmptyPath, stat));
        if (wanted != 0) TRY(check_permission(thread, stat.st_mode, stat.st_uid, stat.st_gid, wanted, real));
        return 0;
    }
    bool follow = (flags & kAtSymlinkNoFollow) == 0;
    Place place;
    TRY(walk(thread, dirfd, path, follow ? u32{kFollow} : 0, place));
    gate::Attributes attributes;
    bool inside = TRY(ask_host(thread, place, attributes, [&](Place& at, gate::Attributes& answer) {
        return query_name(at.uri, follow ? 0 : u32{gate::kOpenNoFollow}, answer);
    }));
    if (!inside) {
        if (wanted == 0) return 0;
        fill_stat(attributes, stat);
        bool route_writes = (attributes.rights & static_cast<u32>(gate::Right::write)) != 0;
        if ((wanted & 2) != 0 && !route_writes) return Failure{Errno::rofs};
    } else {
        if (place.magic.get() != nullptr) {
            TRY(place.magic->stat(thread, stat));
        } else {
            if (place.inode.get() == nullptr) return Failure{Errno::noent};
            TRY(place.inode->stat(thread, stat));
        }
        if (wanted == 0) return 0;
    }
    TRY(check_permission(thread, stat.st_mode, stat.st_uid, stat.st_gid, wanted, real));
    return 0;
}

u32 major_of(u64 device) { return static_cast<u32>((device >> 8 & 0xfff) | (device >> 32 & ~0xfffull)); }
u32 minor_of(u64 device) { return static_cast<u32>((device & 0xff) | (device >> 12 & ~0xffull)); }

}  // namespace

Res<i64> sys_stat(Thread& thread, Arguments arguments) {
    Stat stat;
    TRY(stat_at(thread, kAtWorkingDirectory, arguments[0], 0, stat));
    return put_stat(arguments[1], stat);
}
Res<i64> sys_lstat(Thread& thread, Arguments arguments) {
    Stat stat;
    TRY(stat_at(thread, kAtWorkingDirectory, arguments[0], kAtSymlinkNoFollow, stat));
    return put_stat(arguments[1], stat);
}
Res<i64> sys_fstat(Thread& thread, Arguments arguments) {
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(arguments[0])));
    Stat stat;
    TRY(file->stat(thread, stat));
    return put_stat(arguments[1], stat);
}
Res<i64> sys_newfstatat(Thread& thread, Arguments arguments) {
    u32 flags = static_cast<u32>(arguments[3]);
    if ((flags & ~(kAtSymlinkNoFollow | kAtNoAutomount | kAtEmptyPath)) != 0) return Failure{Errno::inval};
    Stat stat;
    TRY(stat_at(thread, fd_of(arguments[0]), arguments[1], flags, stat));
    return put_stat(arguments[2], stat);
}

Res<i64> sys_statx(Thread& thread, Arguments arguments) {
    constexpr u32 kSyncFlags = 0x6000;
    constexpr u32 kBasic = 0x7ff, kBorn = 0x800, kReservedMask = 0x8000'0000;
    u32 flags = static_cast<u32>(arguments[2]);
    if ((flags & ~(kAtSymlinkNoFollow | kAtNoAutomount | kAtEmptyPath | kSyncFlags)) != 0 ||
        (flags & kSyncFlags) == kSyncFlags || (arguments[3] & kReservedMask) != 0)
        return Failure{Errno::inval};
    Stat stat;
    TRY(stat_at(thread, fd_of(arguments[0]), arguments[1], flags, stat));
    Statx out;
    memset(&out, 0, sizeof out);
    out.mask = kBasic | (stat.born_seconds != 0 ? kBorn : 0);
    out.block_size = static_cast<u32>(stat.st_blksize);
    out.links = static_cast<u32>(stat.st_nlink);
    out.uid = stat.st_uid;
    out.gid = stat.st_gid;
    out.mode = static_cast<u16>(stat.st_mode);
    out.inode = stat.st_ino;
    out.size = static_cast<u64>(stat.st_size);
    out.blocks = static_cast<u64>(stat.st_blocks);
    out.accessed = {stat.st_atime, static_cast<u32>(stat.st_atime_nsec), 0};
    out.modified = {stat.st_mtime, static_cast<u32>(stat.st_mtime_nsec), 0};
    out.changed = {stat.st_ctime, static_cast<u32>(stat.st_ctime_nsec), 0};
    if (stat.st_dev == kTmpfsDevice) {
        out.attributes = stat.protection & kShownProtection;
        out.attributes_mask = kShownProtection;
    }
    out.born = {stat.born_seconds, static_cast<u32>(stat.born_nanoseconds), 0};
    out.rdev_major = major_of(stat.st_rdev);
    out.rdev_minor = minor_of(stat.st_rdev);
    out.dev_major = major_of(stat.st_dev);
    out.dev_minor = minor_of(stat.st_dev);
    TRY(write_user(arguments[4], out));
    return 0;
}

Res<i64> sys_access(Thread& thread, Arguments arguments) {
    return access_at(thread, kAtWorkingDirectory, arguments[0], static_cast<u32>(arguments[1]), 0);
}
Res<i64> sys_faccessat(Thread& thread, Arguments arguments) {
    return access_at(thread, fd_of(arguments[0]), arguments[1], static_cast<u32>(arguments[2]), 0);
}
Res<i64> sys_faccessat2(Thread& thread, Arguments arguments) {
    return access_at(thread, fd_of(arguments[0]), arguments[1], static_cast<u32>(arguments[2]),
                     static_cast<u32>(arguments[3]));
}

Res<i64> sys_statfs(Thread& thread, Arguments arguments) {
    char path[kPathMax];
    TRY(copy_path(path, arguments[0]));
    Place place;
    TRY(walk(thread, kAtWorkingDirectory, path, kFollow, place));
    gate::Attributes attributes;
    bool inside = TRY(ask_host(thread, place, attributes,
                               [&](Place& at, gate::Attributes& answer) { return query_name(at.uri, 0, answer); }));
    if (inside && place.inode.get() == nullptr && place.magic.get() == nullptr) return Failure{Errno::noent};
    return put_statfs(arguments[1], place.view(), inside, false,
                      (attributes.rights & static_cast<u32>(gate::Right::write)) != 0);
}

Res<i64> sys_fstatfs(Thread& thread, Arguments arguments) {
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(arguments[0])));
    const char* path = file->path;
    bool named = path != nullptr && path[0] == '/';
    bool memory = file->inode != nullptr || !named;
    return put_statfs(arguments[1], named ? std::string_view{path} : std::string_view{"/"}, memory && named, memory,
                      writable(*file.get()));
}

}  // namespace postern::libos
