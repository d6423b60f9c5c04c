// SPDX-License-Identifier: Apache-2.0
// F_NOTIFY of fcntl(2), which came before inotify: a signal to the owner of an open directory when something in it
// changes. A watch of the same table as inotify's, with a description of the directory in place of an instance.
#include "base/memory.hpp"
#include "libos/fs/tmpfs.hpp"
#include "libos/inotify/watches.hpp"
#include "libos/ipc/async.hpp"
#include "libos/process/process.hpp"

namespace postern::libos {

namespace {

enum DirectoryEvent : u32 {  // DN_*
    kAccess = 1,
    kModify = 2,
    kCreate = 4,
    kDelete = 8,
    kRename = 16,
    kAttributes = 32,
    kMany = 0x8000'0000,
};

u32 mask_of(u32 events) {
    u32 mask = 0;
    if ((events & kAccess) != 0) mask |= kNotifyAccess;
    if ((events & kModify) != 0) mask |= kNotifyModify;
    if ((events & kCreate) != 0) mask |= kNotifyCreate | kNotifyMovedTo;
    if ((events & kDelete) != 0) mask |= kNotifyDelete | kNotifyMovedFrom;
    if ((events & kRename) != 0) mask |= kNotifyRenamedInside;
    if ((events & kAttributes) != 0) mask |= kNotifyAttributes;
    if ((events & kMany) == 0) mask |= kWatchOnce;
    return mask;
}

Watch* notice_of(NotifyTable& table, const File& file, const FdTable* owner) {
    for (Watch* watch = table.directories.front(); watch != nullptr; watch = table.directories.next(*watch))
        if (watch->directory == &file && (owner == nullptr || watch->owner == owner)) return watch;
    return nullptr;
}

}  // namespace

Res<void> directory_notice_set(Thread& thread, File& file, u32 fd, u32 events) {
    FdTable* owner = thread.process->files;
    if ((events & ~u32{kMany}) == 0) {
        directory_notice_drop(file, owner);
        return {};
    }
    if (!file.is_directory()) return Failure{Errno::notdir};
    if (file.path == nullptr) return Failure{Errno::inval};
    NotifyTable& table = *TRY(notify_table());
    const usize length = strlen(file.path);
    auto path = static_cast<char*>(TRY(arena::allocate(length + 1)));
    memcpy(path, file.path, length);
    auto made = arena::create<Watch>();
    if (!made.ok()) {
        arena::release(path, length + 1);
        return Failure{made.error()};
    }
    Watch* fresh = made.value();
    if (file.signal_owner == 0) async_own(file, *thread.process);
    {
        Guard guard{table.lock};
        if (Watch* watch = notice_of(table, file, owner); watch != nullptr) {
            const u32 once = watch->mask & mask_of(events) & kWatchOnce;
            watch->mask = ((watch->mask | mask_of(events)) & ~kWatchOnce) | once;
            watch->fd = fd;
        } else {
            watch = fresh;
            fresh = nullptr;
            if (file.inode != nullptr && file.inode->device == kTmpfsDevice) watch->inode = file.inode;
            watch->path = path;
            watch->length = static_cast<u32>(length);
            watch->mask = mask_of(events);
            watch->directory = &file;
            watch->owner = owner;
            watch->fd = fd;
            watch_enter(table, *watch);
            file.has_directory_notice = 1;
        }
    }
    if (fresh != nullptr) {
        arena::release(path, length + 1);
        arena::destroy(fresh);
    }
    return {};
}

void directory_notice_drop(File& file, const FdTable* owner) {
    NotifyTable* table = notify_table_if_made();
    if (table == nullptr || file.has_directory_notice == 0) return;
    Guard guard{table->lock};
    while (Watch* watch = notice_of(*table, file, owner)) watch_leave(*table, *watch);
}

}  // namespace postern::libos
