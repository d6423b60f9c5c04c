// SPDX-License-Identifier: Apache-2.0
// What calls on files tell inotify(7) watches. Everything is cheap while nobody watches.
//
// Watches are on objects: on an inode in a tree of the library OS, on a canonical name on the host. Events also go to
// the watch on the directory that holds the name, with the name. Names of watches follow renames.
#pragma once

#include <string_view>

#include "libos/fs/inode.hpp"
#include "libos/shared/roots.hpp"

namespace postern::libos {

/// IN_*, as Linux numbers them.
enum NotifyEvent : u32 {
    kNotifyAccess = 1,
    kNotifyModify = 2,
    kNotifyAttributes = 4,
    kNotifyCloseWrite = 8,
    kNotifyCloseNoWrite = 0x10,
    kNotifyOpen = 0x20,
    kNotifyMovedFrom = 0x40,
    kNotifyMovedTo = 0x80,
    kNotifyCreate = 0x100,
    kNotifyDelete = 0x200,
    kNotifyDeleteSelf = 0x400,
    kNotifyMoveSelf = 0x800,
    kNotifyIgnored = 0x8000,
    kNotifyOverflow = 0x4000,
    kNotifyRenamedInside = 0x10000,  ///< from one name of the directory to another: for F_NOTIFY
    kNotifyIsDirectory = 0x40000000,
};

/// Is there any watch? Tells nothing more.
inline bool notify_active() {
    const u64* watches = arena::root_if_made<const u64>(kRootNotify);
    return watches != nullptr && __atomic_load_n(watches, __ATOMIC_RELAXED) != 0;
}

/// `events` happened to what `path` (canonical) names; `inode` when it is served inside. With kNotifyIsDirectory.
/// `directory`: what holds the name, when it is served inside.
void notify_object(std::string_view path, Inode* inode, u32 events, Inode* directory = nullptr);
/// The same for the object alone, not its directory.
void notify_self(std::string_view path, Inode* inode, u32 events);
/// The same for a host object with several names, by its inode number.
void notify_linked(u64 number, u32 events);
/// For an open file that announces itself (File::announces).
void notify_file(File& file, u32 events);
/// A name has gone for good, or the inode (`path` empty): the object's watches say so and end.
void notify_gone(std::string_view path, Inode* inode);
/// Is the object at the path, or the directory that holds the name, watched?
bool notify_wanted(std::string_view path);
/// `from_directory` and `to_directory` as in notify_object.
void notify_renamed(std::string_view from, std::string_view to, Inode* inode, bool directory,
                    Inode* from_directory = nullptr, Inode* to_directory = nullptr);
/// /proc/PID/fdinfo of an inotify descriptor.
void notify_describe(File& file, void (*visit)(i32 watch, u64 inode, u32 mask, void* cookie), void* cookie);

/// F_NOTIFY (fcntl(2)) for descriptor `fd` of the calling process; `events` are DN_*, none: an end of it.
Res<void> directory_notice_set(Thread& thread, File& file, u32 fd, u32 events);
/// A descriptor of `file` in `owner` is closed. Null: the description ends.
void directory_notice_drop(File& file, const class FdTable* owner);

inline Res<i64> notify_transfer(File& file, Res<i64> result, u32 events) {
    if (notify_active() && result.ok() && result.value() > 0) [[unlikely]]
        notify_file(file, events);
    return result;
}

}  // namespace postern::libos
