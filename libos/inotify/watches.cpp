// SPDX-License-Identifier: Apache-2.0
// Watches and queues: who is told, in which words. See notify.hpp.
#include "libos/inotify/watches.hpp"

#include "base/memory.hpp"
#include "libos/fs/tmpfs.hpp"
#include "libos/ipc/async.hpp"
#include "libos/proc/settings.hpp"
#include "libos/shared/roots.hpp"

namespace postern::libos {

namespace {

constexpr u32 kExcludeUnlinked = 0x04000000;
constexpr u32 kAlways = kNotifyIgnored | kNotifyOverflow | 0x2000 /* IN_UNMOUNT */;
constexpr u32 kNamedOnly =
    kNotifyMovedFrom | kNotifyMovedTo | kNotifyCreate | kNotifyDelete;  ///< told to the directory alone
constexpr u32 kSelfOnly = kNotifyDeleteSelf | kNotifyMoveSelf;

/// Inodes of made-up trees are fresh with every look: there the name is what is watched.
bool lasts(const Inode* inode) { return inode != nullptr && inode->device == kTmpfsDevice; }

u32 hash_of(std::string_view path) {
    u32 hash = 2166136261u;
    for (char letter : path) hash = (hash ^ static_cast<u8>(letter)) * 16777619u;
    return (hash ^ hash >> 16) % NotifyTable::kBuckets;
}
u32 hash_of(const Inode* inode) {
    return static_cast<u32>(reinterpret_cast<u64>(inode) >> 4 ^ reinterpret_cast<u64>(inode) >> 14) %
           NotifyTable::kBuckets;
}

template <Watch* Watch::*kNext>
void unchain(SharedLock& lock, Watch*& bucket, Watch& watch) {
    for (Watch** at = &bucket; *at != nullptr; at = &((*at)->*kNext)) {
        if (*at != &watch) continue;
        set_undoable(lock, *at, watch.*kNext);
        return;
    }
}

/// The directory part of a canonical path, and the name in it. Empty: the root has none.
std::string_view parent_of(std::string_view path, std::string_view& name) {
    usize slash = path.size();
    while (slash > 0 && path[slash - 1] != '/') --slash;
    if (slash == 0 || path.size() == 1) return {};
    name = {path.data() + slash, path.size() - slash};
    return {path.data(), slash == 1 ? 1 : slash - 1};
}

void tell(NotifyTable& table, Watch& watch, u32 events, u32 cookie, std::string_view name) {
    const u32 always = watch.directory == nullptr ? kAlways : 0;
    const u32 wanted = (watch.mask | always) & events & ~u32{kNotifyIsDirectory};
    if (wanted == 0) return;
    if (watch.directory != nullptr) {
        async_note(*watch.directory, watch.fd, kAsyncMessage);
        if ((watch.mask & kWatchOnce) != 0) watch_leave(table, watch);
        return;
    }
    notice_add(table, *watch.instance, watch.id, wanted | (events & kNotifyIsDirectory), cookie, name);
    if ((watch.mask & kWatchOnce) == 0) return;
    notice_add(table, *watch.instance, watch.id, kNotifyIgnored, 0, {});
    watch_leave(table, watch);
}

void tell_path(NotifyTable& table, std::string_view path, u32 events, u32 cookie, std::string_view name,
               bool unlinked) {
    for (Watch* watch = table.by_path[hash_of(path)]; watch != nullptr;) {
        Watch* next = watch->next_by_path;
        bool excluded = unlinked && (watch->mask & kExcludeUnlinked) != 0;
        if (watch->view() == path && !excluded) tell(table, *watch, events, cookie, name);
        watch = next;
    }
}

void tell_inode(NotifyTable& table, Inode* inode, u32 events, u32 cookie = 0, std::string_view name = {}) {
    for (Watch* watch = table.by_inode[hash_of(inode)]; watch != nullptr;) {
        Watch* next = watch->next_by_inode;
        if (watch->inode == inode) tell(table, *watch, events, cookie, name);
        watch = next;
    }
}

void tell_self(NotifyTable& table, std::string_view path, Inode* inode, u32 events) {
    if (lasts(inode))
        tell_inode(table, inode, events);
    else
        tell_path(table, path, events, 0, {}, false);
}

void tell_parent(NotifyTable& table, std::string_view path, Inode* directory, u32 events, u32 cookie, bool unlinked) {
    std::string_view name;
    std::string_view parent = parent_of(path, name);
    if (lasts(directory))
        tell_inode(table, directory, events, cookie, name);
    else if (!parent.empty())
        tell_path(table, parent, events, cookie, name, unlinked);
}

void replace_path(NotifyTable& table, Watch& watch, std::string_view from, std::string_view to) {
    const usize length = to.size() + (watch.length - from.size());
    auto memory = arena::allocate(length + 1);
    if (!memory.ok()) return;
    auto text = static_cast<char*>(memory.value());
    memcpy(text, to.data(), to.size());
    memcpy(text + to.size(), watch.path + from.size(), watch.length - from.size());
    unchain<&Watch::next_by_path>(table.lock, table.by_path[hash_of(watch.view())], watch);
    char* const old = watch.path;
    const usize old_size = watch.length + 1;
    watch.path = text;
    watch.length = static_cast<u32>(length);
    Watch*& bucket = table.by_path[hash_of(watch.view())];
    set_undoable(table.lock, watch.next_by_path, bucket);
    set_undoable(table.lock, bucket, &watch);
    undo_commit(table.lock);
    arena::release(old, old_size);
}

}  // namespace

NotifyTable* notify_table_if_made() { return arena::root_if_made<NotifyTable>(kRootNotify); }
Res<NotifyTable*> notify_table() { return arena::root<NotifyTable>(kRootNotify); }

void watch_enter(NotifyTable& table, Watch& watch) {
    Watch*& bucket = table.by_path[hash_of(watch.view())];
    watch.next_by_path = bucket;
    set_undoable(table.lock, bucket, &watch);
    if (watch.inode != nullptr) {
        Watch*& of_inode = table.by_inode[hash_of(watch.inode)];
        watch.next_by_inode = of_inode;
        set_undoable(table.lock, of_inode, &watch);
        watch.inode->watched = 1;
    }
    if (watch.instance != nullptr)
        undoable_push_back(table.lock, watch.instance->watches, watch);
    else
        undoable_push_back(table.lock, table.directories, watch);
    set_undoable(table.lock, table.watches, table.watches + 1);
}

void watch_leave(NotifyTable& table, Watch& watch) {
    unchain<&Watch::next_by_path>(table.lock, table.by_path[hash_of(watch.view())], watch);
    if (watch.inode != nullptr) unchain<&Watch::next_by_inode>(table.lock, table.by_inode[hash_of(watch.inode)], watch);
    undoable_unlink(table.lock, watch.in_instance);
    set_undoable(table.lock, table.watches, table.watches - 1);
    undo_commit(table.lock);
    arena::release(watch.path, watch.length + 1);
    arena::destroy(&watch);
}

Watch* watch_of(InotifyFile& instance, i32 id) {
    for (Watch* watch = instance.watches.front(); watch != nullptr; watch = instance.watches.next(*watch))
        if (watch->id == id) return watch;
    return nullptr;
}

void notice_add(NotifyTable& table, InotifyFile& instance, i32 id, u32 mask, u32 cookie, std::string_view name) {
    QueuedNotice* last = instance.notices.back();
    const u32 length = name.empty() ? 0 : static_cast<u32>((name.size() + 1 + 15) / 16 * 16);
    // What repeats the last event is told once.
    if (last != nullptr && (mask & kNotifyIgnored) == 0 && last->watch == id && last->mask == mask &&
        last->length == length && last->cookie == cookie &&
        (length == 0 || (memcmp(last->name, name.data(), name.size()) == 0 && last->name[name.size()] == 0)))
        return;
    if (instance.count >= settings().notify_queue_limit) {
        if (instance.overflowed != 0) return;
        instance.overflowed = 1;
        id = -1;
        mask = kNotifyOverflow;
        cookie = 0;
        name = {};
    }
    const u32 told = name.empty() ? 0 : length;
    auto memory = arena::allocate(QueuedNotice::bytes(told));
    if (!memory.ok()) return;
    auto* notice = new (memory.value()) QueuedNotice;
    notice->watch = id;
    notice->mask = mask;
    notice->cookie = cookie;
    notice->length = told;
    if (told != 0) memset(notice->name, 0, told);
    memcpy(notice->name, name.data(), name.size());
    undoable_push_back(table.lock, instance.notices, *notice);
    set_undoable(table.lock, instance.count, instance.count + 1);
    set_undoable(table.lock, instance.bytes, instance.bytes + 16 + told);
    undo_commit(table.lock);
    instance.queue.wake(kPollIn | kPollRdNorm);
}

void notify_object(std::string_view path, Inode* inode, u32 events, Inode* directory) {
    NotifyTable* table = notify_table_if_made();
    if (table == nullptr) return;
    Guard guard{table->lock};
    if ((events & kSelfOnly) == 0) tell_parent(*table, path, directory, events, 0, false);
    if ((events & kNamedOnly) == 0) tell_self(*table, path, inode, events);
}

void notify_self(std::string_view path, Inode* inode, u32 events) {
    NotifyTable* table = notify_table_if_made();
    if (table == nullptr) return;
    Guard guard{table->lock};
    tell_self(*table, path, inode, events);
}

void notify_linked(u64 number, u32 events) {
    NotifyTable* table = notify_table_if_made();
    if (table == nullptr) return;
    Guard guard{table->lock};
    for (Watch* bucket : table->by_path) {
        for (Watch* watch = bucket; watch != nullptr;) {
            Watch* next = watch->next_by_path;
            if (watch->inode == nullptr && watch->number == number) tell(*table, *watch, events, 0, {});
            watch = next;
        }
    }
}

void notify_file(File& file, u32 events) {
    NotifyTable* table = notify_table_if_made();
    if (table == nullptr || file.announces == 0 || file.path == nullptr) return;
    std::string_view path{file.path, strlen(file.path)};
    if (file.is_directory()) events |= kNotifyIsDirectory;
    Guard guard{table->lock};
    tell_parent(*table, path, nullptr, events, 0, file.inode != nullptr && file.inode->unlinked());
    tell_self(*table, path, file.inode, events);
}

void notify_gone(std::string_view path, Inode* inode) {
    NotifyTable* table = notify_table_if_made();
    if (table == nullptr) return;
    Guard guard{table->lock};
    // Each look may free the watch and others: from the start again.
    for (;;) {
        Watch* watch = inode != nullptr ? table->by_inode[hash_of(inode)] : table->by_path[hash_of(path)];
        while (watch != nullptr && (inode != nullptr ? watch->inode != inode : watch->view() != path))
            watch = inode != nullptr ? watch->next_by_inode : watch->next_by_path;
        if (watch == nullptr) break;
        if (watch->instance != nullptr) {
            if ((watch->mask & kNotifyDeleteSelf) != 0)
                notice_add(*table, *watch->instance, watch->id, kNotifyDeleteSelf, 0, {});
            notice_add(*table, *watch->instance, watch->id, kNotifyIgnored, 0, {});
        }
        watch_leave(*table, *watch);
    }
}

bool notify_wanted(std::string_view path) {
    if (!notify_active()) return false;
    NotifyTable& table = *notify_table_if_made();
    std::string_view name;
    const std::string_view paths[2] = {path, parent_of(path, name)};
    Guard guard{table.lock};
    for (std::string_view one : paths) {
        if (one.empty()) continue;
        for (Watch* watch = table.by_path[hash_of(one)]; watch != nullptr; watch = watch->next_by_path)
            if (watch->view() == one) return true;
    }
    return false;
}

void notify_renamed(std::string_view from, std::string_view to, Inode* inode, bool directory, Inode* from_directory,
                    Inode* to_directory) {
    NotifyTable* table = notify_table_if_made();
    if (table == nullptr) return;
    const u32 kind = directory ? u32{kNotifyIsDirectory} : 0;
    Guard guard{table->lock};
    const u32 cookie = ++table->cookie;
    std::string_view name;
    if (parent_of(from, name) == parent_of(to, name))
        tell_parent(*table, from, from_directory, kNotifyRenamedInside | kind, 0, false);
    tell_parent(*table, from, from_directory, kNotifyMovedFrom | kind, cookie, false);
    tell_parent(*table, to, to_directory, kNotifyMovedTo | kind, cookie, false);
    tell_self(*table, from, inode, kNotifyMoveSelf);
    for (Watch*& bucket : table->by_path) {
        for (Watch* watch = bucket; watch != nullptr;) {
            Watch* next = watch->next_by_path;
            std::string_view path = watch->view();
            if (path.starts_with(from) && (path.size() == from.size() || path[from.size()] == '/'))
                replace_path(*table, *watch, from, to);
            watch = next;
        }
    }
}

void notify_describe(File& file, void (*visit)(i32 watch, u64 inode, u32 mask, void* cookie), void* cookie) {
    auto& instance = static_cast<InotifyFile&>(file);
    Guard guard{notify_table_if_made()->lock};
    for (Watch* watch = instance.watches.front(); watch != nullptr; watch = instance.watches.next(*watch))
        visit(watch->id, watch->number, watch->mask, cookie);
}

}  // namespace postern::libos
