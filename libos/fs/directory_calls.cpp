// SPDX-License-Identifier: Apache-2.0
// Listing directories, and where a process stands: getdents64(2), chdir(2), getcwd(2), chroot(2), umask(2).
#include "base/memory.hpp"
#include "libos/fs/mount.hpp"
#include "libos/fs/open.hpp"
#include "libos/fs/tmpfs.hpp"
#include "libos/gate.hpp"
#include "libos/inotify/notify.hpp"
#include "libos/process/process.hpp"
#include "libos/syscall/table.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

/// Writes struct linux_dirent64 or linux_dirent records to program memory until it is full.
class Listing final : public DirectoryVisitor {
public:
    Listing(u64 user, u64 size, bool wide) : user_{user}, size_{size}, wide_{wide} {}

    bool entry(std::string_view name, u64 inode, u8 dt_type, u64 next_position) override {
        // linux_dirent64: ino, off, reclen, type, name. linux_dirent: ino, off, reclen, name, ..., type in the last
        // byte.
        u64 head = wide_ ? 19 : 18;
        u64 length = align_up(head + name.size() + 1 + (wide_ ? 0 : 1), 8);
        if (length > size_ - done_) {
            full_ = true;
            return false;
        }
        u8 record[24 + kNameMax + 9] = {};
        u16 short_length = static_cast<u16>(length);
        memcpy(record, &inode, 8);
        memcpy(record + 8, &next_position, 8);
        memcpy(record + 16, &short_length, 2);
        if (wide_)
            record[18] = dt_type;
        else
            record[length - 1] = dt_type;
        memcpy(record + head, name.data(), name.size());
        if (!copy_out(user_ + done_, record, length).ok()) {
            fault_ = true;
            return false;
        }
        done_ += length;
        position_ = next_position;
        return true;
    }

    u64 done_ = 0, position_ = 0;
    bool full_ = false, fault_ = false;

private:
    u64 user_, size_;
    bool wide_;
};

Res<i64> list(Thread& thread, Arguments arguments, bool wide) {
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(arguments[0])));
    if ((file->status_flags & kPathFlag) != 0) return Failure{Errno::badf};
    if (!file->is_directory()) return Failure{Errno::notdir};
    Listing listing{arguments[1], static_cast<u32>(arguments[2]), wide};
    Guard guard{file->offset_lock};
    TRY(file->visit_directory(thread, file->offset, listing));
    if (listing.done_ == 0) {
        if (listing.fault_) return Failure{Errno::fault};
        if (listing.full_) return Failure{Errno::inval};
        return 0;
    }
    file->offset = listing.position_;
    if (notify_active()) notify_file(*file.get(), kNotifyAccess);
    return static_cast<i64>(listing.done_);
}

Res<void> enter(Thread& thread, std::string_view path, Inode* inode) {
    FsContext& context = *thread.process->fs;
    if (path.size() >= kPathMax) return Failure{Errno::nametoolong};
    if (inode != nullptr) inode->reference();
    Inode* old;
    {
        Guard guard{context.lock};
        memcpy(context.cwd, path.data(), path.size());
        context.cwd[path.size()] = 0;
        old = context.cwd_inode;
        context.cwd_inode = inode;
    }
    if (old != nullptr) old->release();
    return {};
}

/// A directory that may be searched, with its canonical path in place.
Res<void> find_directory(Thread& thread, u64 user_path, Place& place) {
    char path[kPathMax];
    TRY(copy_path(path, user_path));
    TRY(walk(thread, kAtWorkingDirectory, path, kFollow, place));
    gate::Attributes attributes;
    bool inside = TRY(ask_host(thread, place, attributes,
                               [&](Place& at, gate::Attributes& answer) { return query_name(at.uri, 0, answer); }));
    if (inside) {
        if (place.magic.get() != nullptr) {
            if (!place.magic->is_directory() || place.magic->path == nullptr) return Failure{Errno::notdir};
            usize length = strlen(place.magic->path);
            if (length >= kPathMax) return Failure{Errno::nametoolong};
            memcpy(place.uri + kScheme, place.magic->path, length + 1);
            place.length = static_cast<u32>(length);
            if (place.inode.get() == nullptr) return {};
        }
        if (place.inode.get() == nullptr) return Failure{Errno::noent};
        if (!place.inode->is_directory()) return Failure{Errno::notdir};
        return check_permission(thread, *place.inode, 1);
    }
    if (attributes.type != gate::StreamType::directory) return Failure{Errno::notdir};
    return check_permission(thread, kTypeDirectory | attributes.mode, attributes.owner, attributes.group, 1);
}

}  // namespace

Res<i64> sys_getdents64(Thread& thread, Arguments arguments) { return list(thread, arguments, true); }
Res<i64> sys_getdents(Thread& thread, Arguments arguments) { return list(thread, arguments, false); }

Res<i64> sys_chdir(Thread& thread, Arguments arguments) {
    Place place;
    TRY(find_directory(thread, arguments[0], place));
    TRY(enter(thread, place.view(), place.inode.get()));
    return 0;
}

Res<i64> sys_fchdir(Thread& thread, Arguments arguments) {
    FileRef file = TRY(thread.process->files->get(static_cast<u32>(arguments[0])));
    if (!file->is_directory() || file->path == nullptr) return Failure{Errno::notdir};
    Stat stat;
    TRY(file->stat(thread, stat));
    TRY(check_permission(thread, stat.st_mode, stat.st_uid, stat.st_gid, 1));
    TRY(enter(thread, {file->path, strlen(file->path)}, file->inode));
    return 0;
}

Res<i64> sys_getcwd(Thread& thread, Arguments arguments) {
    FsContext& context = *thread.process->fs;
    char path[kPathMax];
    {
        Guard guard{context.lock};
        copy_string(path, sizeof path, {context.cwd, strlen(context.cwd)});
        if (context.cwd_inode != nullptr && context.cwd_inode->device == kTmpfsDevice &&
            static_cast<MemoryInode*>(context.cwd_inode)->links == 0)
            return Failure{Errno::noent};
    }
    if (mount_of(path) == nullptr || mount_of(path)->root == nullptr) {
        // The host's: others may have removed it.
        char uri[kScheme + kPathMax] = "file:";
        memcpy(uri + kScheme, path, strlen(path) + 1);
        gate::Attributes attributes;
        if (query_name(uri, 0, attributes) == gate::Err::not_found && (attributes.name_flags & gate::kNameInside) == 0)
            return Failure{Errno::noent};
    }
    const char* shown = path;
    usize root = strlen(context.root);
    if (root > 1) {
        bool below = memcmp(path, context.root, root) == 0 && (path[root] == '/' || path[root] == 0);
        if (below) {
            shown = path[root] == 0 ? "/" : path + root;
        } else {  // outside of what chroot(2) has left
            constexpr std::string_view kPrefix = "(unreachable)";
            const usize length = strlen(path);
            if (length + kPrefix.size() >= sizeof path) return Failure{Errno::nametoolong};
            for (usize at = length + 1; at-- > 0;) path[at + kPrefix.size()] = path[at];
            memcpy(path, kPrefix.data(), kPrefix.size());
        }
    }
    usize size = strlen(shown) + 1;
    if (size > arguments[1]) return Failure{Errno::range};
    TRY(copy_out(arguments[0], shown, size));
    return static_cast<i64>(size);
}

Res<i64> sys_chroot(Thread& thread, Arguments arguments) {
    constexpr u32 kCapabilityChroot = 18;
    Place place;
    TRY(find_directory(thread, arguments[0], place));
    if (!has_capability(thread, kCapabilityChroot)) return Failure{Errno::perm};
    FsContext& context = *thread.process->fs;
    Guard guard{context.lock};
    copy_string(context.root, kPathMax, place.view());
    return 0;
}

Res<i64> sys_umask(Thread& thread, Arguments arguments) {
    return __atomic_exchange_n(&thread.process->fs->umask, static_cast<u32>(arguments[0]) & 0777, __ATOMIC_SEQ_CST);
}

}  // namespace postern::libos
