// SPDX-License-Identifier: Apache-2.0
// Calls that make, change and remove names.
#include "libos/fs/name_calls.hpp"
#include "libos/fs/host_fifo.hpp"
#include "libos/fs/mount.hpp"
#include "libos/fs/open.hpp"
#include "libos/fs/tmpfs.hpp"
#include "libos/gate.hpp"
#include "libos/inotify/notify.hpp"
#include "libos/process/process.hpp"
#include "libos/syscall/table.hpp"
#include "libos/user.hpp"

namespace postern::libos {

Res<void> new_place(Thread& thread, i32 dirfd, u64 user_path, Place& place) {
    char path[kPathMax];
    TRY(copy_path(path, user_path));
    return walk(thread, dirfd, path, kMayBeMissing, place);
}

Res<void> check_new(const Place& place) {
    if (place.inode.get() != nullptr || place.magic.get() != nullptr) return Failure{Errno::exist};
    if (place.directory.get() == nullptr) return Failure{Errno::noent};
    return {};
}

void find_name(Thread& thread, Place& place, gate::Attributes& attributes) {
    (void)ask_host(thread, place, attributes,
                   [](Place& at, gate::Attributes& answer) { return query_name(at.uri, gate::kOpenNoFollow, answer); });
}

bool leads_inside(Thread& thread, Place& place) {
    if (place.inside) return false;
    gate::Attributes attributes;
    auto inside = ask_host(thread, place, attributes, [](Place& at, gate::Attributes& answer) {
        return query_name(at.uri, gate::kOpenNoFollow, answer);
    });
    return inside.ok() && inside.value();
}

namespace {

Res<i64> open_at(Thread& thread, i32 dirfd, u64 user_path, u32 flags, u32 mode) {
    char path[kPathMax];
    TRY(copy_path(path, user_path));
    FileRef file = TRY(open_path(thread, dirfd, path, flags, mode));
    u32 fd = TRY(thread.process->files->install(static_cast<FileRef&&>(file), (flags & kCloseOnExecFlag) != 0));
    return static_cast<i64>(fd);
}

Res<i64> make_directory(Thread& thread, i32 dirfd, u64 user_path, u32 mode) {
    Place place;
    TRY(new_place(thread, dirfd, user_path, place));
    mode = mode & 01777 & ~thread.process->fs->umask;
    gate::Attributes attributes;
    gate::Handle handle = gate::kNoHandle;
    bool inside = TRY(ask_host(thread, place, attributes, [&](Place& at, gate::Attributes& answer) {
        return g_gate->DkStreamOpen(at.uri, gate::kAccessRead, mode, gate::kCreateAlways, gate::kOpenMakeDirectory,
                                    &handle, &answer);
    }));
    if (!inside) {
        if (handle != gate::kNoHandle) g_gate->DkObjectClose(handle);
        if (notify_active())
            notify_object(place.view(), nullptr, kNotifyCreate | kNotifyIsDirectory, place.directory.get());
        return 0;
    }
    TRY(check_new(place));
    TRY(place.directory->make_directory(thread, place.name(), mode));
    if (notify_active())
        notify_object(place.view(), nullptr, kNotifyCreate | kNotifyIsDirectory, place.directory.get());
    return 0;
}

/// Does the name of a host place end in "." (1) or ".." (2)? The gate would take it for the directory that it leads to.
u32 last_dots(const Place& place) {
    std::string_view text = place.view();
    usize end = text.size();
    while (end > 1 && text[end - 1] == '/') --end;
    text = {text.data(), end};
    if (text.ends_with("/.")) return 1;
    return text.ends_with("/..") ? 2 : 0;
}

/// rmdir(2) and rename(2) of such a name: `wanted` when it leads to something.
Errno refuse_dots(Thread& thread, Place& place, Errno wanted) {
    gate::Attributes attributes;
    auto asked = ask_host(thread, place, attributes,
                          [](Place& at, gate::Attributes& answer) { return query_name(at.uri, 0, answer); });
    return asked.ok() ? wanted : asked.error();
}

Res<i64> remove_name(Thread& thread, i32 dirfd, u64 user_path, bool directory) {
    char path[kPathMax];
    TRY(copy_path(path, user_path));
    Place place;
    TRY(walk(thread, dirfd, path, 0, place));
    if (u32 dots = last_dots(place); directory && !place.inside && dots != 0)
        return Failure{refuse_dots(thread, place, dots == 1 ? Errno::inval : Errno::notempty)};
    gate::Attributes attributes;
    const bool tells = notify_active();
    if (tells && !place.inside) find_name(thread, place, attributes);
    if (directory && !place.inside && keeps_names(place)) return Failure{Errno::notempty};
    bool inside =
        TRY(act_host(thread, place, [&](Place& at) { return g_gate->DkStreamDelete(at.uri, directory ? 1 : 0); }));
    if (!inside) {
        if (tells) {
            if (!directory) notify_linked(attributes.identity, kNotifyAttributes);
            notify_object(place.view(), nullptr, kNotifyDelete | (directory ? u32{kNotifyIsDirectory} : 0),
                          place.directory.get());
            if (directory || attributes.links <= 1) notify_gone(place.view(), nullptr);
        }
        return 0;
    }
    if (directory && place.last_dots != 0) return Failure{place.last_dots == 1 ? Errno::inval : Errno::notempty};
    if (place.directory.get() == nullptr) return Failure{directory ? Errno::busy : Errno::isdir};
    if (!directory && place.must_be_directory)
        return Failure{place.inode->is_directory() ? Errno::isdir : Errno::notdir};
    TRY(place.directory->remove(thread, place.name(), directory));
    if (tells) {
        if (!directory) notify_self(place.view(), place.inode.get(), kNotifyAttributes);
        notify_object(place.view(), nullptr, kNotifyDelete | (directory ? u32{kNotifyIsDirectory} : 0),
                      place.directory.get());
    }
    return 0;
}

Res<i64> rename_at(Thread& thread, i32 old_dirfd, u64 old_user, i32 new_dirfd, u64 new_user, u32 flags) {
    constexpr u32 kNoReplace = 1, kExchange = 2;
    if ((flags & ~(kNoReplace | kExchange)) != 0 || flags == (kNoReplace | kExchange)) return Failure{Errno::inval};
    Place from, to;
    {
        char path[kPathMax];
        TRY(copy_path(path, old_user));
        TRY(walk(thread, old_dirfd, path, 0, from));
    }
    TRY(new_place(thread, new_dirfd, new_user, to));
    const bool tells = notify_active();
    gate::Attributes moved_attributes, replaced;
    if (tells && !from.inside) find_name(thread, from, moved_attributes);
    if (tells && !to.inside) find_name(thread, to, replaced);
    for (u32 attempt = 0;; ++attempt) {
        if (!from.inside && !to.inside) {
            if (last_dots(from) != 0) return Failure{refuse_dots(thread, from, Errno::busy)};
            if (last_dots(to) != 0) return Failure{refuse_dots(thread, to, Errno::busy)};
            gate::Err error = g_gate->DkStreamRename(from.uri, to.uri, flags);
            if (error == gate::Err::ok && tells) {
                gate::Attributes after;
                find_name(thread, to, after);
                if (flags != kExchange) notify_gone(to.view(), nullptr);
                notify_renamed(from.view(), to.view(), nullptr, moved_attributes.type == gate::StreamType::directory);
            }
            if (error == gate::Err::ok) return 0;
            bool moved = (error == gate::Err::not_found || error == gate::Err::cross_device) && attempt == 0 &&
                         (leads_inside(thread, from) | leads_inside(thread, to));
            if (!moved) return Failure{to_errno(error)};
            continue;
        }
        if (from.inside != to.inside) {
            // The other may lead inside through a link.
            Place& outside = from.inside ? to : from;
            if (attempt == 0 && leads_inside(thread, outside)) continue;
            return Failure{Errno::xdev};
        }
        break;
    }
    if (from.last_dots != 0 || to.last_dots != 0 || from.directory.get() == nullptr || to.directory.get() == nullptr)
        return Failure{Errno::busy};
    if (from.directory->device != to.directory->device) return Failure{Errno::xdev};
    if (mount_of(from.view()) != mount_of(to.view())) return Failure{Errno::xdev};
    if (!from.inode->is_directory() && (from.must_be_directory || to.must_be_directory)) return Failure{Errno::notdir};
    TRY(from.directory->rename(thread, from.name(), *to.directory, to.name(), flags));
    if (tells) {
        if (to.inode.get() != nullptr && flags != kExchange) notify_self(to.view(), to.inode.get(), kNotifyAttributes);
        notify_renamed(from.view(), to.view(), from.inode.get(), from.inode->is_directory(), from.directory.get(),
                       to.directory.get());
    }
    return 0;
}

Res<i64> make_node(Thread& thread, i32 dirfd, u64 user_path, u32 mode, u32 number) {
    u32 type = mode & kTypeMask;
    if (type == 0) type = kTypeRegular;
    constexpr u32 kCapabilityMknod = 27;
    const bool device = type == kTypeCharacter || type == kTypeBlock;
    if (type == kTypeDirectory) return Failure{Errno::perm};
    if (!device && type != kTypeRegular && type != kTypeFifo && type != kTypeSocket) return Failure{Errno::inval};
    Place place;
    TRY(new_place(thread, dirfd, user_path, place));
    mode = mode & 07777 & ~thread.process->fs->umask;
    gate::Attributes attributes;
    gate::Handle handle = gate::kNoHandle;
    auto asked = ask_host(thread, place, attributes, [&](Place& at, gate::Attributes& answer) {
        if (type == kTypeFifo)
            return g_gate->DkStreamOpen(at.uri, gate::kAccessRead, mode, gate::kCreateAlways, gate::kOpenMakeFifo,
                                        &handle, &answer);
        // Names of sockets and devices on the host would lead out of the family.
        if (type != kTypeRegular) {
            gate::Err error = query_name(at.uri, gate::kOpenNoFollow, answer);
            return error == gate::Err::ok ? gate::Err::exists : error;
        }
        return g_gate->DkStreamOpen(at.uri, gate::kAccessWrite, mode, gate::kCreateAlways, 0, &handle, &answer);
    });
    const bool kept = !asked.ok() && asked.error() == Errno::noent && (device || type == kTypeSocket) && !place.inside;
    if (!asked.ok() && !kept) return Failure{asked.error()};
    // A character device 0:0 is a whiteout, which everybody may make.
    const bool whiteout = type == kTypeCharacter && number == 0;
    if (device && !whiteout && !has_capability(thread, kCapabilityMknod)) return Failure{Errno::perm};
    if (kept) {
        InodeRef made = TRY(make_socket_name(thread, place, type | mode));
        if (device) static_cast<MemoryDevice&>(*made).device_number = number;
    } else if (!asked.value()) {
        if (handle != gate::kNoHandle) g_gate->DkObjectClose(handle);
        if (type == kTypeFifo) host_fifo_made(attributes);
    } else {
        TRY(check_new(place));
        if (place.must_be_directory) return Failure{Errno::noent};
        if (device && place.directory->device != kTmpfsDevice) return Failure{Errno::perm};
        InodeRef made = TRY(place.directory->create(thread, place.name(), type | mode));
        if (device) static_cast<MemoryDevice&>(*made).device_number = number;
    }
    if (notify_active()) notify_object(place.view(), nullptr, kNotifyCreate, place.directory.get());
    return 0;
}

}  // namespace

Res<i64> sys_open(Thread& thread, Arguments arguments) {
    return open_at(thread, kAtWorkingDirectory, arguments[0], static_cast<u32>(arguments[1]),
                   static_cast<u32>(arguments[2]));
}
Res<i64> sys_creat(Thread& thread, Arguments arguments) {
    return open_at(thread, kAtWorkingDirectory, arguments[0], kCreateFlag | kWriteOnlyFlag | kTruncateFlag,
                   static_cast<u32>(arguments[1]));
}
Res<i64> sys_openat(Thread& thread, Arguments arguments) {
    return open_at(thread, fd_of(arguments[0]), arguments[1], static_cast<u32>(arguments[2]),
                   static_cast<u32>(arguments[3]));
}
Res<i64> sys_openat2(Thread& thread, Arguments arguments) {
    struct How {
        u64 flags, mode, resolve;
    };
    constexpr u64 kKnown = 017777777 | kPathFlag | kTemporaryFlag;
    constexpr u64 kCached = 0x20;
    u64 size = arguments[3];
    if (size < sizeof(How)) return Failure{Errno::inval};
    if (size > kPageSize) return Failure{Errno::toobig};
    auto how = TRY(read_user<How>(arguments[2]));
    for (u64 at = sizeof(How); at < size; ++at) {
        u8 byte = TRY(read_user<u8>(arguments[2] + at));
        if (byte != 0) return Failure{Errno::toobig};
    }
    bool creates = (how.flags & (kCreateFlag | kTemporaryFlag)) != 0;
    if ((how.flags & ~kKnown) != 0 || (how.mode & ~07777ull) != 0 || (!creates && how.mode != 0))
        return Failure{Errno::inval};
    if ((how.resolve & ~0x3full) != 0) return Failure{Errno::inval};
    // Restrictions on the way that are not enforced are refused, not ignored.
    if ((how.resolve & kCached) != 0) return Failure{Errno::again};
    if (how.resolve != 0) return Failure{Errno::nosys};
    return open_at(thread, fd_of(arguments[0]), arguments[1], static_cast<u32>(how.flags), static_cast<u32>(how.mode));
}

Res<i64> sys_mkdir(Thread& thread, Arguments arguments) {
    return make_directory(thread, kAtWorkingDirectory, arguments[0], static_cast<u32>(arguments[1]));
}
Res<i64> sys_mkdirat(Thread& thread, Arguments arguments) {
    return make_directory(thread, fd_of(arguments[0]), arguments[1], static_cast<u32>(arguments[2]));
}
Res<i64> sys_rmdir(Thread& thread, Arguments arguments) {
    return remove_name(thread, kAtWorkingDirectory, arguments[0], true);
}
Res<i64> sys_unlink(Thread& thread, Arguments arguments) {
    return remove_name(thread, kAtWorkingDirectory, arguments[0], false);
}
Res<i64> sys_unlinkat(Thread& thread, Arguments arguments) {
    if ((arguments[2] & ~u64{kAtRemoveDirectory}) != 0) return Failure{Errno::inval};
    return remove_name(thread, fd_of(arguments[0]), arguments[1], arguments[2] != 0);
}
Res<i64> sys_rename(Thread& thread, Arguments arguments) {
    return rename_at(thread, kAtWorkingDirectory, arguments[0], kAtWorkingDirectory, arguments[1], 0);
}
Res<i64> sys_renameat(Thread& thread, Arguments arguments) {
    return rename_at(thread, fd_of(arguments[0]), arguments[1], fd_of(arguments[2]), arguments[3], 0);
}
Res<i64> sys_renameat2(Thread& thread, Arguments arguments) {
    return rename_at(thread, fd_of(arguments[0]), arguments[1], fd_of(arguments[2]), arguments[3],
                     static_cast<u32>(arguments[4]));
}
Res<i64> sys_mknod(Thread& thread, Arguments arguments) {
    return make_node(thread, kAtWorkingDirectory, arguments[0], static_cast<u32>(arguments[1]),
                     static_cast<u32>(arguments[2]));
}
Res<i64> sys_mknodat(Thread& thread, Arguments arguments) {
    return make_node(thread, fd_of(arguments[0]), arguments[1], static_cast<u32>(arguments[2]),
                     static_cast<u32>(arguments[3]));
}
}  // namespace postern::libos
