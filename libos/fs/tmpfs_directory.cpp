// SPDX-License-Identifier: Apache-2.0
// Directories of memory trees: names, and how they change.
#include "base/memory.hpp"
#include "libos/fs/tmpfs_inner.hpp"
#include "libos/process/process.hpp"

namespace postern::libos {

namespace {

constexpr u32 kRenameNoReplace = 1, kRenameExchange = 2;

}  // namespace

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
    SharedLock& lock = memory_tree_lock();
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
    SharedLock& lock = memory_tree_lock();
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
    Guard guard{memory_tree_lock()};
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
            Guard guard{memory_tree_lock()};
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
    Guard guard{memory_tree_lock()};
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
    Guard guard{memory_tree_lock()};
    if (find(name) != nullptr) return Failure{Errno::exist};
    TRY(may_change(thread));
    TRY(insert(name, *child));
    set_undoable(memory_tree_lock(), links, links + 1);
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
    Guard guard{memory_tree_lock()};
    TRY(insert(name, *child));
    links += 1;
    child->reference();
    return made;
}

Res<void> MemoryDirectory::make_link(Thread& thread, std::string_view name, std::string_view target) {
    MemoryLink* child = TRY(MemoryLink::make(target));
    InodeRef made{child};
    adopt(thread, *child, kTypeLink | 0777);
    Guard guard{memory_tree_lock()};
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
    Guard guard{memory_tree_lock()};
    if (find(name) != nullptr) return Failure{Errno::exist};
    TRY(may_change(thread));
    TRY(insert(name, existing));
    existing.reference();
    set_undoable(memory_tree_lock(), child.links, child.links + 1);
    child.touch_changed();
    return {};
}

Res<void> MemoryDirectory::remove(Thread& thread, std::string_view name, bool directory) {
    InodeRef gone;
    Entry* entry;
    {
        SharedLock& lock = memory_tree_lock();
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
    SharedLock& lock = memory_tree_lock();
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

}  // namespace postern::libos
