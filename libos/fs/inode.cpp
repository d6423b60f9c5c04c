// SPDX-License-Identifier: Apache-2.0
// Defaults of inodes, open directories, and permission checks.
#include "libos/fs/inode.hpp"

#include "base/memory.hpp"
#include "libos/inotify/notify.hpp"
#include "libos/process/process.hpp"

namespace postern::libos {

namespace {

/// A directory that the library OS serves cannot be changed by programs unless it says how.
Errno refuse(const Inode& inode) { return inode.is_directory() ? Errno::perm : Errno::notdir; }

constexpr u32 kCapabilityDacOverride = 1, kCapabilityDacReadSearch = 2, kCapabilityFowner = 3;

}  // namespace

Res<void> Inode::stat(Thread&, Stat& stat) {
    memset(&stat, 0, sizeof stat);
    stat.st_dev = device;
    stat.st_ino = number;
    stat.st_nlink = is_directory() ? 2 : 1;
    stat.st_mode = mode;
    stat.st_uid = uid;
    stat.st_gid = gid;
    stat.st_blksize = 4096;
    return {};
}

Res<FileRef> Inode::open(Thread&, u32 open_flags) {
    if (!is_directory()) return Failure{Errno::nxio};
    DirectoryFile* file = TRY(make_file<DirectoryFile>());
    file->status_flags = open_flags;
    return FileRef{file};
}

Res<InodeRef> Inode::lookup(Thread&, std::string_view) {
    return Failure{is_directory() ? Errno::noent : Errno::notdir};
}
Res<void> Inode::visit(Thread&, u64, DirectoryVisitor&) {
    if (!is_directory()) return Failure{Errno::notdir};
    return {};
}
Res<InodeRef> Inode::create(Thread&, std::string_view, u32) { return Failure{refuse(*this)}; }
Res<void> Inode::make_directory(Thread&, std::string_view, u32) { return Failure{refuse(*this)}; }
Res<void> Inode::make_link(Thread&, std::string_view, std::string_view) { return Failure{refuse(*this)}; }
Res<void> Inode::add_name(Thread&, std::string_view, Inode&) { return Failure{refuse(*this)}; }
Res<void> Inode::remove(Thread&, std::string_view, bool) { return Failure{refuse(*this)}; }
Res<void> Inode::rename(Thread&, std::string_view, Inode&, std::string_view, u32) { return Failure{refuse(*this)}; }
Res<usize> Inode::read_link(Thread&, char*, usize) { return Failure{Errno::inval}; }
Res<FileRef> Inode::follow(Thread&) { return Failure{Errno::nosys}; }
Res<void> Inode::set_attributes(Thread&, u32, const InodeAttributes&) { return Failure{Errno::perm}; }
Res<void> Inode::truncate(Thread&, u64) { return Failure{is_directory() ? Errno::isdir : Errno::inval}; }

void Inode::release() {
    if (__atomic_sub_fetch(&references_, 1, __ATOMIC_SEQ_CST) != 0) return;
    if (watched != 0) [[unlikely]]
        notify_gone({}, this);
    u32 size = object_size;
    this->~Inode();
    if (size != 0) arena::release(this, size);
}

Res<void> PathFile::stat(Thread& thread, Stat& stat) {
    if (inode != nullptr) return inode->stat(thread, stat);
    stat = stat_;
    return {};
}

Res<i64> DirectoryFile::seek(Thread&, i64 position, u32 whence) {
    Guard guard{offset_lock};
    if (whence == 1) position += static_cast<i64>(offset);
    if (whence > 1 || position < 0) return Failure{Errno::inval};
    offset = static_cast<u64>(position);
    return position;
}

Res<void> DirectoryFile::visit_directory(Thread& thread, u64 position, DirectoryVisitor& visitor) {
    if (position == 0) {
        if (!visitor.entry(".", inode->number, 4, 1)) return {};
        position = 1;
    }
    if (position == 1) {
        u64 parent = inode->number;
        if (!visitor.entry("..", parent, 4, 2)) return {};
        position = 2;
    }
    return inode->visit(thread, position, visitor);
}

bool has_capability(Thread& thread, u32 capability) {
    return (thread.process->credentials.capabilities_effective >> capability & 1) != 0;
}

Res<void> check_permission(Thread& thread, u32 mode, u32 uid, u32 gid, u32 wanted, bool real_ids) {
    const Credentials& credentials = thread.process->credentials;
    u32 user = real_ids ? credentials.uid : credentials.fsuid;
    u32 group = real_ids ? credentials.gid : credentials.fsgid;
    u32 granted = mode & 7;
    if (user == uid) {
        granted = mode >> 6 & 7;
    } else {
        bool member = group == gid;
        for (u32 index = 0; index < credentials.group_count && !member; ++index)
            member = credentials.groups[index] == gid;
        if (member) granted = mode >> 3 & 7;
    }
    if ((granted & wanted) == wanted) return {};
    bool directory = (mode & kTypeMask) == kTypeDirectory;
    if (has_capability(thread, kCapabilityDacOverride) && ((wanted & 1) == 0 || directory || (mode & 0111) != 0))
        return {};
    if (has_capability(thread, kCapabilityDacReadSearch) && (wanted == 4 || (directory && (wanted & 2) == 0)))
        return {};
    return Failure{Errno::acces};
}

Res<void> check_owner(Thread& thread, u32 uid) {
    if (thread.process->credentials.fsuid == uid || has_capability(thread, kCapabilityFowner)) return {};
    return Failure{Errno::perm};
}

u64 fresh_inode_number() {
    // Numbers are unique in the family: the counter lives in the arena.
    static u64* counter;
    if (counter == nullptr) {
        auto made = arena::allocate(sizeof(u64));
        if (!made.ok()) return 1;
        counter = static_cast<u64*>(made.value());
        *counter = 1;
    }
    return __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
}

}  // namespace postern::libos
