// SPDX-License-Identifier: Apache-2.0
// name_to_handle_at(2) and open_by_handle_at(2), of memory trees; cachestat(2).
#include "base/memory.hpp"
#include "libos/fs/mount.hpp"
#include "libos/fs/open.hpp"
#include "libos/fs/path.hpp"
#include "libos/fs/tmpfs.hpp"
#include "libos/fs/walk.hpp"
#include "libos/proc/mounts.hpp"
#include "libos/process/process.hpp"
#include "libos/syscall/table.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u32 kMostBytes = 128;  // MAX_HANDLE_SZ
constexpr u32 kOurBytes = 12, kOurType = 1, kInvalidType = 0xff;

struct Head {  // struct file_handle
    u32 bytes;
    i32 type;
};

/// What the name leads to, if a memory tree serves it, and the mount that it lies in.
Res<InodeRef> find_memory(Thread& thread, i32 dirfd, const char* path, u32 flags, u32& mount_number) {
    constexpr u32 kEmptyPath = 0x1000, kSymlinkFollow = 0x400;
    if (path[0] == 0) {
        if ((flags & kEmptyPath) == 0) return Failure{Errno::noent};
        if (dirfd == kAtWorkingDirectory) {
            path = ".";
        } else {
            FileRef file = TRY(thread.process->files->get(static_cast<u32>(dirfd)));
            if (file->inode == nullptr || file->inode->device != kTmpfsDevice || file->path == nullptr)
                return Failure{Errno::opnotsupp};
            mount_number = number_of_mount({file->path, strlen(file->path)});
            return InodeRef::share(file->inode);
        }
    }
    Place place;
    TRY(walk(thread, dirfd, path, (flags & kSymlinkFollow) != 0 || path[0] == '.' ? u32{kFollow} : 0, place));
    gate::Attributes attributes;
    const bool inside = TRY(ask_host(thread, place, attributes, [&](Place& at, gate::Attributes& answer) {
        return query_name(at.uri, gate::kOpenNoFollow, answer);
    }));
    if (inside && place.inode.get() == nullptr && place.magic.get() == nullptr) return Failure{Errno::noent};
    constexpr u32 kIdentity = 0x200;
    if (!inside || place.inode.get() == nullptr || (place.inode->device != kTmpfsDevice && (flags & kIdentity) == 0))
        return Failure{Errno::opnotsupp};
    mount_number = number_of_mount(place.view());
    return InodeRef::share(place.inode.get());
}

}  // namespace

Res<i64> sys_name_to_handle_at(Thread& thread, Arguments arguments) {
    constexpr u32 kIdentity = 0x200, kConnectable = 2, kUniqueMount = 1;
    constexpr u32 kKnown = 0x1000 | 0x400 | kIdentity | kUniqueMount | kConnectable;
    const u32 flags = static_cast<u32>(arguments[4]);
    // A number that only identifies cannot be one that leads to names.
    if ((flags & ~kKnown) != 0 || (flags & (kIdentity | kConnectable)) == (kIdentity | kConnectable))
        return Failure{Errno::inval};
    char path[kPathMax];
    TRY(copy_path(path, arguments[1]));
    u32 mount = 0;
    InodeRef inode = TRY(find_memory(thread, static_cast<i32>(arguments[0]), path, flags, mount));
    auto head = TRY(read_user<Head>(arguments[2]));
    if (head.bytes > kMostBytes) return Failure{Errno::inval};
    const bool fits = head.bytes >= kOurBytes;
    head = {kOurBytes, static_cast<i32>(fits ? kOurType : kInvalidType)};
    if ((flags & kUniqueMount) != 0)
        TRY(write_user(arguments[3], u64{mount}));
    else
        TRY(write_user(arguments[3], mount));
    TRY(write_user(arguments[2], head));
    if (!fits) return Failure{Errno::overflow};
    TRY(write_user(arguments[2] + sizeof head, inode->number));
    TRY(write_user(arguments[2] + sizeof head + sizeof(u64), u32{0}));
    return 0;
}

Res<i64> sys_open_by_handle_at(Thread& thread, Arguments arguments) {
    constexpr u32 kCapabilitySearch = 2;
    const i32 mount_fd = static_cast<i32>(arguments[0]);
    char path[kPathMax];
    if (mount_fd == kAtWorkingDirectory) {
        FsContext& context = *thread.process->fs;
        Guard guard{context.lock};
        copy_string(path, sizeof path, {context.cwd, strlen(context.cwd)});
    } else {
        FileRef file = TRY(thread.process->files->get(static_cast<u32>(mount_fd)));
        copy_string(path, sizeof path,
                    {file->path != nullptr ? file->path : "", file->path != nullptr ? strlen(file->path) : 0});
    }
    if (!has_capability(thread, kCapabilitySearch)) return Failure{Errno::perm};
    const auto head = TRY(read_user<Head>(arguments[1]));
    if (head.bytes == 0 || head.bytes > kMostBytes) return Failure{Errno::inval};
    if (head.bytes < kOurBytes || head.type != static_cast<i32>(kOurType)) return Failure{Errno::stale};
    const u64 number = TRY(read_user<u64>(arguments[1] + sizeof head));
    const Mount* mount = path[0] == '/' ? mount_of({path, strlen(path)}) : nullptr;
    if (mount == nullptr || mount->root == nullptr || mount->root->device != kTmpfsDevice) return Failure{Errno::stale};
    copy_string(path, sizeof path, {mount->path, mount->length});
    InodeRef inode = memory_find(*mount->root, number, path);
    if (inode.get() == nullptr) return Failure{Errno::stale};
    const u32 flags = static_cast<u32>(arguments[2]);
    FileRef file = TRY(open_found(thread, *inode, path, flags));
    u32 fd = TRY(thread.process->files->install(std::move(file), (flags & kCloseOnExecFlag) != 0));
    return static_cast<i64>(fd);
}

Res<i64> sys_cachestat(Thread& thread, Arguments arguments) {
    struct Range {
        u64 offset, length;
    };
    struct Counts {  // struct cachestat
        u64 cached, dirty, written_back, evicted, recently_evicted;
    };
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(arguments[0])));
    const auto range = TRY(read_user<Range>(arguments[1]));
    if (static_cast<u32>(arguments[3]) != 0) return Failure{Errno::inval};
    // What the host has in its cache of its files it does not say.
    if (file->inode == nullptr || file->inode->device != kTmpfsDevice ||
        (file->inode->mode & kTypeMask) != kTypeRegular)
        return Failure{Errno::opnotsupp};
    const u64 first = range.offset / kPageSize;
    u64 end = ~0ull;
    if (range.length != 0 && !__builtin_add_overflow(range.offset, range.length, &end))
        end = end / kPageSize + (end % kPageSize != 0 ? 1 : 0);
    Counts counts{};
    counts.cached = static_cast<MemoryFileInode&>(*file->inode).pages_between(first, end);
    TRY(write_user(arguments[2], counts));
    return 0;
}

}  // namespace postern::libos
