// SPDX-License-Identifier: Apache-2.0
// Attributes of memory trees, and what is in them. Names: tmpfs_directory.cpp. Data: tmpfs_data.cpp.
#include "libos/fs/tmpfs.hpp"

#include "base/memory.hpp"
#include "libos/fs/quota.hpp"
#include "libos/fs/tmpfs_inner.hpp"
#include "libos/ipc/pipe.hpp"
#include "libos/process/process.hpp"
#include "libos/time/timers.hpp"

namespace postern::libos {

namespace {

constexpr u32 kCapabilityFsetid = 4;

/// In the arena; set up with the first tree.
struct TreeLock {
    SharedLock lock;
};
TreeLock* g_tree;

void stamp(TimeStamp time, i64& seconds, i64& nanoseconds) {
    seconds = time.seconds;
    nanoseconds = time.nanoseconds;
}

bool in_group(const Credentials& credentials, u32 group) {
    if (credentials.fsgid == group) return true;
    for (u32 index = 0; index < credentials.group_count; ++index)
        if (credentials.groups[index] == group) return true;
    return false;
}

}  // namespace

SharedLock& memory_tree_lock() { return g_tree->lock; }

TimeStamp time_stamp() {
    TimeSpec now = to_timespec(realtime_now());
    return {now.seconds, now.nanoseconds};
}

void MemoryInode::touch_modified() { modified = changed = time_stamp(); }

void MemoryInode::touch_accessed() {
    bool newer = accessed.seconds > modified.seconds ||
                 (accessed.seconds == modified.seconds && accessed.nanoseconds > modified.nanoseconds);
    if (newer) return;  // at most one update between two changes: relatime without its daily refresh
    accessed = time_stamp();
}

Res<void> MemoryInode::stat(Thread& thread, Stat& stat) {
    TRY(Inode::stat(thread, stat));
    stat.st_nlink = links;
    stamp(accessed, stat.st_atime, stat.st_atime_nsec);
    stamp(modified, stat.st_mtime, stat.st_mtime_nsec);
    stamp(changed, stat.st_ctime, stat.st_ctime_nsec);
    stamp(born, stat.born_seconds, stat.born_nanoseconds);
    stat.protection = protection;
    return {};
}

Res<void> MemoryInode::set_attributes(Thread& thread, u32 changes, const InodeAttributes& attributes) {
    // The callers have checked ownership for modes and times; owners are checked here (chown(2)).
    const Credentials& credentials = thread.process->credentials;
    constexpr u32 kCapabilityChown = 0;
    if ((changes & (kChangeMode | kChangeOwner | kChangeGroup)) != 0 && (protection & (kImmutable | kAppendOnly)) != 0)
        return Failure{Errno::perm};
    bool may_chown = has_capability(thread, kCapabilityChown);
    u32 fresh_mode = mode, fresh_uid = uid, fresh_gid = gid;
    if (changes & (kChangeOwner | kChangeGroup)) {
        if (changes & kChangeOwner) fresh_uid = attributes.uid;
        if (changes & kChangeGroup) fresh_gid = attributes.gid;
        if (!may_chown) {
            if (credentials.fsuid != uid || fresh_uid != uid) return Failure{Errno::perm};
            if (fresh_gid != gid && !in_group(credentials, fresh_gid)) return Failure{Errno::perm};
        }
        if (!is_directory() && (mode & 0111) != 0) {
            fresh_mode &= ~04000u;
            if ((mode & 0010) != 0) fresh_mode &= ~02000u;
        }
    }
    if (changes & kChangeMode) {
        fresh_mode = (mode & kTypeMask) | (attributes.mode & 07777);
        if (!has_capability(thread, kCapabilityFsetid) && !in_group(credentials, fresh_gid)) fresh_mode &= ~02000u;
    }
    mode = fresh_mode;
    uid = fresh_uid;
    gid = fresh_gid;
    if (changes & kChangeAccessed) accessed = {attributes.accessed, attributes.accessed_ns};
    if (changes & kChangeModified) modified = {attributes.modified, attributes.modified_ns};
    touch_changed();
    return {};
}

// Links and FIFOs ------------------------------------------------------------------------------------------------

Res<MemoryLink*> MemoryLink::make(std::string_view target) {
    MemoryLink* link = TRY(make_object<MemoryLink>());
    auto text = arena::allocate(target.size() + 1);
    if (!text.ok()) {
        link->release();
        return Failure{text.error()};
    }
    link->target_ = static_cast<char*>(text.value());
    copy_string(link->target_, target.size() + 1, target);
    link->size_ = static_cast<u32>(target.size());
    return link;
}

MemoryLink::~MemoryLink() {
    if (target_ != nullptr) arena::release(target_, size_ + 1);
}

Res<void> MemoryLink::stat(Thread& thread, Stat& stat) {
    TRY(MemoryInode::stat(thread, stat));
    stat.st_size = size_;
    return {};
}

Res<usize> MemoryLink::read_link(Thread&, char* buffer, usize capacity) {
    usize size = size_ < capacity ? size_ : capacity;
    memcpy(buffer, target_, size);
    if (size < capacity) buffer[size] = 0;
    return size;
}

MemoryFifo::~MemoryFifo() {
    if (pipe_ != nullptr) pipe_release(*pipe_);
}

Res<FileRef> MemoryFifo::open(Thread& thread, u32 open_flags) {
    if ((mode & kTypeMask) != kTypeFifo) return Failure{Errno::nxio};
    {
        Guard guard{lock_};
        if (pipe_ == nullptr) pipe_ = TRY(pipe_create());
    }
    return pipe_open_fifo(thread, *pipe_, open_flags);
}

Res<FileRef> MemoryDevice::open(Thread& thread, u32 open_flags) {
    if ((mode & kTypeMask) != kTypeCharacter || open_device == nullptr) return Failure{Errno::nxio};
    return open_device(thread, device_number, open_flags);
}

Res<void> MemoryDevice::stat(Thread& thread, Stat& stat) {
    TRY(MemoryInode::stat(thread, stat));
    stat.st_rdev = device_number;
    return {};
}

InodeRef memory_find(Inode& root, u64 number, char (&path)[kMemoryPath]) {
    if (root.number == number) return InodeRef::share(&root);
    usize length = strlen(path);
    Guard guard{memory_tree_lock()};
    auto* at = static_cast<MemoryDirectory*>(&root);
    MemoryDirectory::Entry* entry = at->entries_.front();
    for (;;) {
        if (entry == nullptr) {  // up again, to the next in the directory above
            if (at == &root || at->parent == nullptr) return InodeRef{};
            MemoryDirectory* child = at;
            at = at->parent;
            MemoryDirectory::Entry* place = at->entry_of(*child);
            if (place == nullptr) return InodeRef{};
            length -= place->length + 1;
            entry = at->entries_.next(*place);
            continue;
        }
        const bool directory = entry->inode->is_directory(), found = entry->inode->number == number;
        if ((directory || found) && length + 1 + entry->length < kMemoryPath) {
            path[length] = '/';
            memcpy(path + length + 1, entry->name, entry->length);
            path[length + 1 + entry->length] = 0;
            if (found) return InodeRef::share(entry->inode);
            length += entry->length + 1;
            at = static_cast<MemoryDirectory*>(entry->inode);
            entry = at->entries_.front();
        } else {
            entry = at->entries_.next(*entry);
        }
    }
}

Res<InodeRef> make_memory_tree(u32 mode, u32 uid, u32 gid) {
    if (g_tree == nullptr) g_tree = TRY(arena::create<TreeLock>());
    TRY(quota::initialize());
    MemoryDirectory* root = TRY(make_object<MemoryDirectory>());
    root->mode = kTypeDirectory | mode;
    root->uid = uid;
    root->gid = gid;
    root->links = 2;
    born_now(*root);
    return InodeRef{root};
}

Res<InodeRef> make_unnamed(Thread& thread, u32 mode) {
    auto* inode = TRY(make_object<MemoryFileInode>());
    const Credentials& credentials = thread.process->credentials;
    inode->mode = kTypeRegular | (mode & 07777);
    inode->uid = credentials.fsuid;
    inode->gid = credentials.fsgid;
    inode->links = 0;
    born_now(*inode);
    return InodeRef{inode};
}

Res<FileRef> make_memory_file(Thread& thread, u32 mode, u32 seals) {
    InodeRef inode = TRY(make_unnamed(thread, mode));
    static_cast<MemoryFileInode&>(*inode).seals = seals;
    FileRef file = TRY(inode->open(thread, 2));
    file->inode = inode.leak();
    return file;
}

}  // namespace postern::libos
