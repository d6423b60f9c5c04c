// SPDX-License-Identifier: Apache-2.0
// Below one route: opening without following anything, and what may be opened at all.
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/vfs.h>

#include "host/linux/monitor/names_inner.hpp"

namespace postern::host {

using core::Route;
using core::TargetKind;
using gate::Err;

namespace {

long openat2(int directory, const char* path, u64 flags, u64 resolve) {
    open_how how = {};
    how.flags = flags;
    how.resolve = resolve;
    long result = syscall(SYS_openat2, directory, path, &how, sizeof how);
    return result < 0 ? -errno : result;
}

}  // namespace

Err error_from_errno(int error) {
    switch (error < 0 ? -error : error) {
        case 0: return Err::ok;
        case ENOENT: return Err::not_found;
        case EEXIST: return Err::exists;
        case ENOTDIR: return Err::not_directory;
        case EISDIR: return Err::is_directory;
        case ENOTEMPTY: return Err::not_empty;
        case ELOOP:
        case EMLINK: return Err::too_many_links;
        case ENAMETOOLONG: return Err::name_too_long;
        case EXDEV: return Err::cross_device;
        case EROFS: return Err::read_only;
        case ENOSPC:
        case EDQUOT: return Err::no_space;
        case EFBIG: return Err::too_big;
        case EBUSY:
        case ETXTBSY: return Err::busy;
        case EACCES:
        case EPERM: return Err::denied;
        case ENOMEM: return Err::no_memory;
        case EMFILE:
        case ENFILE: return Err::no_quota;
        case EINVAL: return Err::bad_argument;
        case EAGAIN: return Err::would_block;
        case EOPNOTSUPP:
        case ENOSYS: return Err::unsupported;
        default: return Err::io;
    }
}

FileSystemClass classify_file_system(int descriptor) {
    struct statfs status;
    if (fstatfs(descriptor, &status) != 0) return FileSystemClass::forbidden;
    switch (static_cast<unsigned>(status.f_type)) {
        case PROC_SUPER_MAGIC:
        case SYSFS_MAGIC:
        case DEBUGFS_MAGIC:
        case TRACEFS_MAGIC:
        case SECURITYFS_MAGIC:
        case SELINUX_MAGIC:
        case SMACK_MAGIC:
        case CGROUP_SUPER_MAGIC:
        case CGROUP2_SUPER_MAGIC:
        case BPF_FS_MAGIC:
        case PSTOREFS_MAGIC:
        case EFIVARFS_MAGIC:
        case DEVPTS_SUPER_MAGIC:
        case BINFMTFS_MAGIC:
        case NSFS_MAGIC:
        case 0x62656570:  // configfs
        case 0x65735543:  // fusectl
        case 0x19800202:  // mqueue
        case RDTGROUP_SUPER_MAGIC: return FileSystemClass::forbidden;
        case FUSE_SUPER_MAGIC:
        case NFS_SUPER_MAGIC:
        case SMB_SUPER_MAGIC:
        case SMB2_SUPER_MAGIC:
        case CIFS_SUPER_MAGIC:
        case CEPH_SUPER_MAGIC:
        case AFS_SUPER_MAGIC:
        case AFS_FS_MAGIC:
        case CODA_SUPER_MAGIC:
        case AUTOFS_SUPER_MAGIC:
        case V9FS_MAGIC: return FileSystemClass::slow;
        default: return FileSystemClass::plain;
    }
}

std::string host_path(const Route& route, std::string_view path, std::string_view rest) {
    if (route.match != core::Match::glob) return std::string{route.target.name};
    std::string_view matched = rest.empty() ? path : path.substr(0, path.size() - rest.size() - 1);
    std::string result{directory_of(route.target.name)};
    result += matched.substr(matched.rfind('/'));
    return result;
}

int Names::reopen(int fd, int flags) {
    char number[16];
    snprintf(number, sizeof number, "%d", fd);
    int result = openat(self_descriptors_, number, flags | O_CLOEXEC | O_NOCTTY);
    return result < 0 ? -errno : result;
}

/// Link-free opening below `top` for kernels without openat2: no component of `rest` is `.` or `..`, and none is
/// followed, so the walk cannot leave.
int Names::walk_beneath(int top, const std::string& rest) {
    Fd current;
    int directory = top;
    usize start = 0;
    struct stat first;
    if (fstat(top, &first) != 0) return -errno;
    for (;;) {
        usize end = rest.find('/', start);
        bool last = end == std::string::npos;
        std::string component = rest.substr(start, last ? std::string::npos : end - start);
        Fd next{openat(directory, component.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC)};
        if (!next.valid()) return -errno;
        struct stat status;
        if (fstat(next.get(), &status) != 0) return -errno;
        if (status.st_dev != first.st_dev && !crossing_) return -EXDEV;
        if (last) return next.release();
        if (S_ISLNK(status.st_mode)) return -ELOOP;
        if (!S_ISDIR(status.st_mode)) return -ENOTDIR;
        current = std::move(next);
        directory = current.get();
        start = end + 1;
    }
}

int Names::open_beneath(int top, const std::string& rest) {
    if (avoid_openat2_) return walk_beneath(top, rest);
    u64 resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;
    if (!crossing_) resolve |= RESOLVE_NO_XDEV;
    for (int i = 0; i < kMaxRaces; ++i) {
        long fd = openat2(top, rest.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC, resolve);
        if (fd == -ENOSYS || fd == -EPERM) {  // EPERM: an older container's filter
            avoid_openat2_ = true;
            return walk_beneath(top, rest);
        }
        if (fd != -EAGAIN) return static_cast<int>(fd);
    }
    return -EIO;
}

int Names::read_beneath(int top, const std::string& rest) {
    if (avoid_openat2_ || crossing_) return -ENOSYS;
    // A pipe without writers must not keep anybody waiting; for files and directories it makes no difference.
    u64 flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC;
    u64 resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
    return static_cast<int>(openat2(top, rest.c_str(), flags, resolve));
}

Err Names::top(const Route& route, std::string_view path, std::string_view rest, int& fd, Fd& owned,
               std::string& link) {
    State& known = state(route);
    if (route.target.binding >= 0) {
        if (known.slow && !in_worker_) return worker();
        fd = route.target.binding;
        return Err::ok;
    }
    if (!known.link.empty()) {
        link = known.link;
        return Err::ok;
    }
    if (known.error != Err::ok) return known.error;
    std::string place = host_path(route, path, rest);
    // A default's last component may be a link of the host; its directory (`/`, `/etc`) is the administrator's.
    int flags = O_PATH | O_CLOEXEC | (route.target.link ? O_NOFOLLOW : 0);
    Fd opened{open(place.c_str(), flags)};
    bool lasting = route.stable && route.match != core::Match::glob;
    if (!opened.valid()) {
        Err error = error_from_errno(errno);
        if (lasting && error == Err::not_found) known.error = error;
        return error;
    }
    struct stat status;
    if (fstat(opened.get(), &status) != 0) return error_from_errno(errno);
    if (S_ISLNK(status.st_mode)) {
        char text[kMaxPath];
        ssize_t length = readlinkat(opened.get(), "", text, sizeof text - 1);
        if (length <= 0) return Err::io;
        link.assign(text, static_cast<usize>(length));
        if (lasting) known.link = link;
        return Err::ok;
    }
    FileSystemClass kind = classify_file_system(opened.get());
    if (kind == FileSystemClass::forbidden) {
        // A route that names such a thing exactly is the user's own word; what lies below it is not offered.
        if (S_ISDIR(status.st_mode)) return Err::denied;
    }
    known.slow = kind == FileSystemClass::slow;
    fd = opened.get();
    // Files are opened anew each time: editors replace them. A directory stays the one that was named at start.
    if (S_ISDIR(status.st_mode) && route.match != core::Match::glob) {
        const_cast<Route&>(route).target.binding = opened.release();
    } else {
        owned = std::move(opened);
    }
    return known.slow && !in_worker_ ? worker() : Err::ok;
}

}  // namespace postern::host
