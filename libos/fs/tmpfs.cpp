// SPDX-License-Identifier: Apache-2.0
// Names and attributes of memory trees. Data: tmpfs_data.cpp.
#include "libos/fs/tmpfs.hpp"

#include "base/memory.hpp"
#include "libos/fs/quota.hpp"
#include "libos/ipc/pipe.hpp"
#include "libos/process/process.hpp"
#include "libos/time/timers.hpp"

namespace postern::libos {

namespace {

constexpr u32 kRenameNoReplace = 1, kRenameExchange = 2;
constexpr u32 kCapabilityFowner = 3, kCapabilityFsetid = 4;

/// An inode of a memory tree, counted. What its destructor gives back is taken here.
template <class T>
Res<T*> make_object() {
    TRY(quota::take_object());
    auto made = make_inode<T>();
    if (!made.ok()) quota::give_object();
    return made;
}

/// In the arena; set up with the first tree.
struct TreeLock {
    SharedLock lock;
};
TreeLock* g_tree;

SharedLock& tree_lock() { return g_tree->lock; }

Res<void> no_space(Errno error) { return Failure{error == Errno::nomem ? Errno::nospc : error}; }

void stamp(TimeStamp time, i64& seconds, i64& nanoseconds) {
    seconds = time.seconds;
    nanoseconds = time.nanoseconds;
}

void born_now(MemoryInode& inode) {
    inode.accessed = inode.modified = inode.changed = inode.born = time_stamp();
    inode.device = kTmpfsDevice;
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

// Directories ----------------------------------------------------------------------------------------------------

MemoryDirectory::~MemoryDirectory() {
    while (Entry* entry = entries_.front()) {
        entries_.remove(*entry);
        entry->inode->release();
        arena::release(entry, entry_bytes(entry->length));
    }
    if (buckets_ != nullptr) arena::release(buckets_, bucket_count_ * sizeof(Entry*));
}

Res<void> MemoryDirectory::stat(Thread& thread, Stat& stat) {
    TRY(MemoryInode::stat(thread, stat));
    stat.st_size = static_cast<i64>((count_ + 2) * 20);
    return {};
}

u32 MemoryDirectory::hash_of(std::string_view name) {
    u32 hash = 2166136261u;
    for (char character : name) hash = (hash ^ static_cast<u8>(character)) * 16777619u;
    return hash;
}

MemoryDirectory::Entry* MemoryDirectory::find(std::string_view name) const {
    if (bucket_count_ == 0) return nullptr;
    u32 hash = hash_of(name);
    for (Entry* entry = buckets_[hash & (bucket_count_ - 1)]; entry != nullptr; entry = entry->next)
        if (entry->hash == hash && entry->length == name.size() && memcmp(entry->name, name.data(), name.size()) == 0)
            return entry;
    return nullptr;
}

Res<void> MemoryDirectory::grow() {
    if (count_ < bucket_count_) return {};
    u64 fresh_count = bucket_count_ == 0 ? 8 : bucket_count_ * 4;
    auto fresh = static_cast<Entry**>(TRY(arena::allocate(fresh_count * sizeof(Entry*))));
    // The chains are rebuilt from the list. A process that is killed in between leaves no buckets at all, and whoever
    // comes next rebuilds them.
    Entry** old = buckets_;
    u64 old_count = bucket_count_;
    __atomic_store_n(&bucket_count_, 0, __ATOMIC_SEQ_CST);
    for (Entry* entry = entries_.front(); entry != nullptr; entry = entries_.next(*entry)) {
        entry->next = fresh[entry->hash & (fresh_count - 1)];
        fresh[entry->hash & (fresh_count - 1)] = entry;
    }
    buckets_ = fresh;
    __atomic_store_n(&bucket_count_, fresh_count, __ATOMIC_SEQ_CST);
    if (old != nullptr) arena::release(old, old_count * sizeof(Entry*));
    return {};
}

Res<MemoryDirectory::Entry*> MemoryDirectory::make_entry(std::string_view name, Inode& inode) {
    auto entry = static_cast<Entry*>(TRY(arena::allocate(entry_bytes(name.size()))));
    new (&entry->link) ListLink;
    entry->inode = &inode;
    entry->hash = hash_of(name);
    entry->length = static_cast<u32>(name.size());
    memcpy(entry->name, name.data(), name.size());
    return entry;
}

void MemoryDirectory::insert(Entry& entry) {
    SharedLock& lock = tree_lock();
    entry.position = next_position_;
    Entry*& bucket = buckets_[entry.hash & (bucket_count_ - 1)];
    entry.next = bucket;
    set_undoable(lock, bucket, &entry);
    undoable_push_back(lock, entries_, entry);
    set_undoable(lock, count_, count_ + 1);
    next_position_ = next_position_ + 1;
}

/// The reference goes to the entry.
Res<void> MemoryDirectory::insert(std::string_view name, Inode& inode) {
    if (removed_ != 0) return Failure{Errno::noent};
    auto grown = grow();
    if (!grown.ok()) return no_space(grown.error());
    auto entry = make_entry(name, inode);
    if (!entry.ok()) return no_space(entry.error());
    insert(*entry.value());
    touch_modified();
    return {};
}

void MemoryDirectory::unlink(Entry& entry) {
    SharedLock& lock = tree_lock();
    Entry** at = &buckets_[entry.hash & (bucket_count_ - 1)];
    while (*at != &entry) at = &(*at)->next;
    set_undoable(lock, *at, entry.next);
    undoable_unlink(lock, entry.link);
    set_undoable(lock, count_, count_ - 1);
    touch_modified();
}

Res<void> MemoryDirectory::may_change(Thread& thread) const { return check_permission(thread, *this, 3); }

Res<void> MemoryDirectory::may_remove(Thread& thread, const Inode& child) const {
    TRY(may_change(thread));
    if ((protection & kAppendOnly) != 0 || (child.protection & (kImmutable | kAppendOnly)) != 0)
        return Failure{Errno::perm};
    if ((mode & 01000) == 0 || has_capability(thread, kCapabilityFowner)) return {};
    u32 user = thread.process->credentials.fsuid;
    if (user == uid || user == child.uid) return {};
    return Failure{Errno::perm};
}

void MemoryDirectory::adopt(Thread& thread, MemoryInode& child, u32 child_mode) {
    const Credentials& credentials = thread.process->credentials;
    child.mode = child_mode;
    child.uid = credentials.fsuid;
    child.gid = (mode & 02000) != 0 ? gid : credentials.fsgid;
    if ((mode & 02000) != 0 && child.is_directory()) child.mode |= 02000;
    born_now(child);
}

Res<InodeRef> MemoryDirectory::lookup(Thread&, std::string_view name) {
    Guard guard{tree_lock()};
    if (bucket_count_ == 0 && count_ != 0) TRY(grow());
    Entry* entry = find(name);
    if (entry == nullptr) return Failure{Errno::noent};
    return InodeRef::share(entry->inode);
}

Res<void> MemoryDirectory::visit(Thread& thread, u64 position, DirectoryVisitor& visitor) {
    // Visitors copy to program memory, which may take long: names are collected in small batches under the lock.
    struct Item {
        u64 position, number;
        u8 type;
        u8 length;
        char name[kNameMax];
    };
    constexpr u32 kBatch = 24;
    (void)thread;
    Item items[kBatch];
    for (;;) {
        u32 count = 0;
        {
            Guard guard{tree_lock()};
            for (Entry* entry = entries_.front(); entry != nullptr && count < kBatch; entry = entries_.next(*entry)) {
                if (entry->position < position) continue;
                Item& item = items[count++];
                item.position = entry->position;
                item.number = entry->inode->number;
                item.type = static_cast<u8>((entry->inode->mode & kTypeMask) >> 12);
                item.length = static_cast<u8>(entry->length);
                memcpy(item.name, entry->name, entry->length);
            }
        }
        for (u32 index = 0; index < count; ++index) {
            Item& item = items[index];
            if (!visitor.entry({item.name, item.length}, item.number, item.type, item.position + 1)) return {};
            position = item.position + 1;
        }
        if (count < kBatch) break;
    }
    touch_accessed();
    return {};
}

Res<InodeRef> MemoryDirectory::create(Thread& thread, std::string_view name, u32 child_mode) {
    TRY(may_change(thread));
    MemoryInode* child;
    if ((child_mode & kTypeMask) == kTypeRegular)
        child = TRY(make_object<MemoryFileInode>());
    else if ((child_mode & kTypeMask) == kTypeCharacter || (child_mode & kTypeMask) == kTypeBlock)
        child = TRY(make_object<MemoryDevice>());
    else
        child = TRY(make_object<MemoryFifo>());
    InodeRef made{child};
    adopt(thread, *child, child_mode);
    Guard guard{tree_lock()};
    if (find(name) != nullptr) return Failure{Errno::exist};
    TRY(insert(name, *child));
    child->reference();
    return made;
}

Res<void> MemoryDirectory::make_directory(Thread& thread, std::string_view name, u32 child_mode) {
    MemoryDirectory* child = TRY(make_object<MemoryDirectory>());
    InodeRef made{child};
    adopt(thread, *child, kTypeDirectory | (child_mode & 07777));
    child->links = 2;
    child->parent = this;
    Guard guard{tree_lock()};
    if (find(name) != nullptr) return Failure{Errno::exist};
    TRY(may_change(thread));
    TRY(insert(name, *child));
    set_undoable(tree_lock(), links, links + 1);
    made.leak();
    return {};
}

Res<InodeRef> MemoryDirectory::add_directory(std::string_view name, u32 child_mode, u32 owner, u32 group) {
    if (Entry* entry = find(name)) return InodeRef::share(entry->inode);
    MemoryDirectory* child = TRY(make_object<MemoryDirectory>());
    InodeRef made{child};
    child->mode = kTypeDirectory | child_mode;
    child->uid = owner;
    child->gid = group;
    born_now(*child);
    child->links = 2;
    child->parent = this;
    Guard guard{tree_lock()};
    TRY(insert(name, *child));
    links += 1;
    child->reference();
    return made;
}

Res<void> MemoryDirectory::make_link(Thread& thread, std::string_view name, std::string_view target) {
    MemoryLink* child = TRY(MemoryLink::make(target));
    InodeRef made{child};
    adopt(thread, *child, kTypeLink | 0777);
    Guard guard{tree_lock()};
    if (find(name) != nullptr) return Failure{Errno::exist};
    TRY(may_change(thread));
    TRY(insert(name, *child));
    made.leak();
    return {};
}

Res<void> MemoryDirectory::add_name(Thread& thread, std::string_view name, Inode& existing) {
    if (existing.device != kTmpfsDevice) return Failure{Errno::xdev};
    if (existing.is_directory() || (existing.protection & (kImmutable | kAppendOnly)) != 0) return Failure{Errno::perm};
    auto& child = static_cast<MemoryInode&>(existing);
    Guard guard{tree_lock()};
    if (find(name) != nullptr) return Failure{Errno::exist};
    TRY(may_change(thread));
    TRY(insert(name, existing));
    existing.reference();
    set_undoable(tree_lock(), child.links, child.links + 1);
    child.touch_changed();
    return {};
}

Res<void> MemoryDirectory::remove(Thread& thread, std::string_view name, bool directory) {
    InodeRef gone;
    Entry* entry;
    {
        SharedLock& lock = tree_lock();
        Guard guard{lock};
        entry = find(name);
        if (entry == nullptr) return Failure{Errno::noent};
        auto& child = static_cast<MemoryInode&>(*entry->inode);
        TRY(may_remove(thread, child));
        if (directory) {
            if (!child.is_directory()) return Failure{Errno::notdir};
            auto& below = static_cast<MemoryDirectory&>(child);
            if (below.count_ != 0) return Failure{Errno::notempty};
            set_undoable(lock, below.removed_, u64{1});
            set_undoable(lock, child.links, u64{0});
            set_undoable(lock, links, links - 1);
        } else {
            if (child.is_directory()) return Failure{Errno::isdir};
            set_undoable(lock, child.links, child.links - 1);
        }
        unlink(*entry);
        child.touch_changed();
        gone = InodeRef{entry->inode};
    }
    arena::release(entry, entry_bytes(entry->length));
    return {};
}

bool MemoryDirectory::inside(const MemoryDirectory* directory, const Inode* ancestor) {
    for (; directory != nullptr; directory = directory->parent)
        if (directory == ancestor) return true;
    return false;
}

Res<void> MemoryDirectory::rename(Thread& thread, std::string_view name, Inode& target, std::string_view new_name,
                                  u32 flags) {
    if (target.device != kTmpfsDevice || !target.is_directory()) return Failure{Errno::xdev};
    auto& to = static_cast<MemoryDirectory&>(target);
    SharedLock& lock = tree_lock();
    InodeRef gone;
    Entry* old_entry = nullptr;  // freed without the lock
    Entry* replaced_entry = nullptr;
    {
        Guard guard{lock};
        Entry* from = find(name);
        if (from == nullptr) return Failure{Errno::noent};
        auto& moved = static_cast<MemoryInode&>(*from->inode);
        Entry* there = to.find(new_name);
        if (there == nullptr && (flags & kRenameExchange) != 0) return Failure{Errno::noent};
        if (there != nullptr && (flags & kRenameNoReplace) != 0) return Failure{Errno::exist};
        TRY(may_remove(thread, moved));
        if (there != nullptr)
            TRY(to.may_remove(thread, *there->inode));
        else
            TRY(to.may_change(thread));
        if (to.removed_ != 0) return Failure{Errno::noent};
        if (there != nullptr && there->inode == from->inode) return {};
        if (moved.is_directory() && inside(&to, &moved)) return Failure{Errno::inval};
        if (flags & kRenameExchange) {
            Inode* other = there->inode;
            if (other->is_directory() && inside(this, other)) return Failure{Errno::inval};
            if (moved.is_directory() != other->is_directory() && this != &to) {
                MemoryDirectory& gains = moved.is_directory() ? to : *this;
                MemoryDirectory& loses = moved.is_directory() ? *this : to;
                set_undoable(lock, gains.links, gains.links + 1);
                set_undoable(lock, loses.links, loses.links - 1);
            }
            if (moved.is_directory()) set_undoable(lock, static_cast<MemoryDirectory&>(moved).parent, &to);
            if (other->is_directory()) set_undoable(lock, static_cast<MemoryDirectory*>(other)->parent, this);
            set_undoable(lock, from->inode, other);
            set_undoable(lock, there->inode, static_cast<Inode*>(&moved));
            static_cast<MemoryInode*>(other)->touch_changed();
            moved.touch_changed();
            touch_modified();
            to.touch_modified();
            return {};
        }
        if (there != nullptr) {
            Inode& other = *there->inode;
            if (moved.is_directory() && !other.is_directory()) return Failure{Errno::notdir};
            if (!moved.is_directory() && other.is_directory()) return Failure{Errno::isdir};
            if (other.is_directory() && static_cast<MemoryDirectory&>(other).count_ != 0)
                return Failure{Errno::notempty};
        }
        auto grown = to.grow();
        if (!grown.ok()) return no_space(grown.error());
        auto made = to.make_entry(new_name, moved);
        if (!made.ok()) return no_space(made.error());
        if (there != nullptr) {
            auto& other = static_cast<MemoryInode&>(*there->inode);
            if (other.is_directory()) {
                set_undoable(lock, static_cast<MemoryDirectory&>(other).removed_, u64{1});
                set_undoable(lock, to.links, to.links - 1);
                set_undoable(lock, other.links, u64{0});
            } else {
                set_undoable(lock, other.links, other.links - 1);
            }
            other.touch_changed();
            to.unlink(*there);
            replaced_entry = there;
            gone = InodeRef{there->inode};
        }
        unlink(*from);
        to.insert(*made.value());
        old_entry = from;
        if (moved.is_directory() && this != &to) {
            set_undoable(lock, links, links - 1);
            set_undoable(lock, to.links, to.links + 1);
            set_undoable(lock, static_cast<MemoryDirectory&>(moved).parent, &to);
        }
        moved.touch_changed();
        to.touch_modified();
    }
    if (old_entry != nullptr) arena::release(old_entry, entry_bytes(old_entry->length));
    if (replaced_entry != nullptr) arena::release(replaced_entry, entry_bytes(replaced_entry->length));
    return {};
}

MemoryDirectory::Entry* MemoryDirectory::entry_of(const Inode& inode) {
    for (Entry* entry = entries_.front(); entry != nullptr; entry = entries_.next(*entry))
        if (entry->inode == &inode) return entry;
    return nullptr;
}

InodeRef memory_find(Inode& root, u64 number, char (&path)[kMemoryPath]) {
    if (root.number == number) return InodeRef::share(&root);
    usize length = strlen(path);
    Guard guard{tree_lock()};
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
