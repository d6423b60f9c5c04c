// SPDX-License-Identifier: Apache-2.0
// open(2): from names to files, in trees of the library OS and through the gate.
#include "libos/fs/open.hpp"
#include "libos/inotify/notify.hpp"

#include "base/format.hpp"
#include "base/memory.hpp"
#include "libos/fs/directory_cache.hpp"
#include "libos/fs/host_fifo.hpp"
#include "libos/fs/host_file.hpp"
#include "libos/fs/leases.hpp"
#include "libos/fs/tmpfs.hpp"
#include "libos/gate.hpp"
#include "libos/ipc/stream_file.hpp"
#include "libos/process/process.hpp"

namespace postern::libos {

namespace {

constexpr u32 kCreationFlags = kCreateFlag | kExclusiveFlag | kNoTerminalFlag | kTruncateFlag | kCloseOnExecFlag;

u32 kept_flags(u32 flags) { return (flags & ~kCreationFlags) | ((flags & kPathFlag) != 0 ? 0 : u32{kLargeFileFlag}); }

/// What the object itself hears of: a terminal asks whether it is to become the caller's.
u32 told_flags(u32 flags) { return kept_flags(flags) | (flags & kNoTerminalFlag); }

u32 wanted_access(u32 flags) {
    u32 wanted = (flags & kAccessMask) == kReadOnlyFlag ? 4 : (flags & kAccessMask) == kWriteOnlyFlag ? 2 : 6;
    if ((flags & kTruncateFlag) != 0) wanted |= 2;
    return wanted;
}

Res<FileRef> path_file(const Stat& stat, Inode* inode, std::string_view path, u32 flags) {
    PathFile* made = TRY(make_file<PathFile>(stat));
    FileRef file{made};
    file->status_flags = flags & (kPathFlag | kDirectoryFlag | kNoFollowFlag);
    if (inode != nullptr) file->inode = InodeRef::share(inode).leak();
    set_path(*file, path);
    return file;
}

/// `truncated`: O_TRUNC has done something.
Res<FileRef> open_inode(Thread& thread, Place& place, u32 flags, bool created, bool& truncated) {
    Inode& inode = *place.inode;
    if (inode.is_link() && (flags & kPathFlag) == 0) return Failure{Errno::loop};
    if ((flags & kDirectoryFlag) != 0 && !inode.is_directory()) return Failure{Errno::notdir};
    if ((flags & kPathFlag) != 0) {
        Stat stat;
        TRY(inode.stat(thread, stat));
        return path_file(stat, &inode, place.view(), flags);
    }
    if (inode.is_directory() &&
        ((flags & kAccessMask) != kReadOnlyFlag || (flags & (kCreateFlag | kTruncateFlag)) != 0))
        return Failure{Errno::isdir};
    if (!created) TRY(check_permission(thread, inode, wanted_access(flags)));
    if ((inode.protection & kAppendOnly) != 0 &&
        (((flags & kAccessMask) != kReadOnlyFlag && (flags & kAppendFlag) == 0) || (flags & kTruncateFlag) != 0))
        return Failure{Errno::perm};
    if ((flags & kNoAccessTimeFlag) != 0) TRY(check_owner(thread, inode.uid));
    bool regular = (inode.mode & kTypeMask) == kTypeRegular;
    if ((flags & kTruncateFlag) != 0 && regular && !created) {
        TRY(inode.truncate(thread, 0));
        truncated = true;
    }
    FileRef file = TRY(inode.open(thread, told_flags(flags)));
    file->status_flags = kept_flags(flags);
    file->created = created ? 1 : 0;
    if (file->inode == nullptr) file->inode = InodeRef::share(&inode).leak();
    if (file->path == nullptr) set_path(*file, place.view());
    return file;
}

Res<FileRef> open_temporary(Thread& thread, Place& place, u32 flags, u32 mode) {
    if ((flags & kAccessMask) == kReadOnlyFlag) return Failure{Errno::inval};
    if (!place.inode->is_directory()) return Failure{Errno::notdir};
    if (place.inode->device != kTmpfsDevice) return Failure{Errno::opnotsupp};
    TRY(check_permission(thread, *place.inode, 3));
    InodeRef inode = TRY(make_unnamed(thread, mode));
    FileRef file = TRY(inode->open(thread, kept_flags(flags)));
    file->created = 1;
    file->status_flags = kept_flags(flags) & ~(kTemporaryFlag | kDirectoryFlag);
    TextBuffer<64> name;
    name.add("/#", inode->number, " (deleted)");
    file->inode = inode.leak();
    set_path(*file, name.view());
    return file;
}

Res<FileRef> open_inside(Thread& thread, Place& place, u32 flags, u32 mode, bool& truncated) {
    const bool create = (flags & kCreateFlag) != 0, exclusive = create && (flags & kExclusiveFlag) != 0;
    if (place.magic.get() != nullptr) {
        if (exclusive) return Failure{Errno::exist};
        if ((flags & kPathFlag) != 0) {
            Stat stat;
            TRY(place.magic->stat(thread, stat));
            const char* path = place.magic->path;
            return path_file(stat, place.magic->inode, path != nullptr ? std::string_view{path} : "", flags);
        }
        FileRef file = TRY(place.magic->reopen(thread, told_flags(flags)));
        if ((flags & kDirectoryFlag) != 0 && !file->is_directory()) return Failure{Errno::notdir};
        file->status_flags = kept_flags(flags);
        if ((flags & kTruncateFlag) != 0 && file->inode != nullptr && (file->inode->mode & kTypeMask) == kTypeRegular)
            TRY(file->truncate(thread, 0));
        return file;
    }
    if ((flags & kTemporaryFlag) != 0) {
        if (place.inode.get() == nullptr) return Failure{Errno::noent};
        return open_temporary(thread, place, flags, mode);
    }
    if (place.inode.get() != nullptr) {
        if (exclusive) return Failure{Errno::exist};
        return open_inode(thread, place, flags, false, truncated);
    }
    if (!create || place.directory.get() == nullptr) return Failure{Errno::noent};
    if (place.must_be_directory) return Failure{Errno::isdir};
    auto made = place.directory->create(thread, place.name(), kTypeRegular | mode);
    if (!made.ok()) {
        if (made.error() != Errno::exist || exclusive) return Failure{made.error()};
        // Somebody else was faster: theirs is opened.
        place.inode = TRY(place.directory->lookup(thread, place.name()));
        return open_inode(thread, place, flags, false, truncated);
    }
    place.inode = made.take();
    if (notify_active()) notify_object(place.view(), place.inode.get(), kNotifyCreate, place.directory.get());
    return open_inode(thread, place, flags & ~u32{kCreateFlag}, true, truncated);
}

u32 host_access(u32 flags) {
    u32 access = (flags & kAccessMask) == kReadOnlyFlag    ? u32{gate::kAccessRead}
                 : (flags & kAccessMask) == kWriteOnlyFlag ? u32{gate::kAccessWrite}
                                                           : u32{gate::kAccessRead} | gate::kAccessWrite;
    if ((flags & kAppendFlag) != 0 && (access & gate::kAccessWrite) != 0) access |= gate::kAccessAppend;
    return access;
}

}  // namespace

namespace {

/// Opens without asking what is known to be there for ever: a directory by its listing, a file by a handle that was
/// kept. False: the host must be asked; `kept.name` tells what is known of the name.
bool open_known(const char* uri, u32 options, bool directory, gate::Attributes& answer, KeptHandle& kept) {
    kept = {};
    kept.name = known_name(uri, options);
    if (listing_of(kept.name) == nullptr) {
        bool other = kept.name != nullptr && (!kept.name->is_directory() || kept.name->large);
        if (!other && fetch_directory(uri + kScheme)) kept.name = known_name(uri, options);
        if (listing_of(kept.name) == nullptr && (directory || !handle_cache_take(kept))) return false;
    }
    if (known_name_answer(*kept.name, answer)) return true;
    if (kept.handle != gate::kNoHandle) handle_cache_give(kept);  // its canonical name is too long for the caller
    kept = {};
    return false;
}

/// The host does not open FIFOs for us: its name was found to be one, or it is something else that cannot be opened.
Res<FileRef> open_fifo(Thread& thread, Place& place, u32 name_options, u32 flags) {
    gate::Attributes attributes;
    bool inside = TRY(ask_host(thread, place, attributes, [&](Place& at, gate::Attributes& answer) {
        return query_name(at.uri, name_options, answer);
    }));
    if (inside || attributes.type != gate::StreamType::pipe) return Failure{Errno::opnotsupp};
    if ((flags & kDirectoryFlag) != 0) return Failure{Errno::notdir};
    FileRef file = TRY(open_host_fifo(thread, attributes, place.view(), kept_flags(flags)));
    file->status_flags = kept_flags(flags);
    set_path(*file, place.view());
    return file;
}

/// The name without links and dots, if that is another. False: it is not, or too long.
template <usize N>
bool straight(const KnownName& name, char (&uri)[N]) {
    std::string_view path = name.name();
    if (name.either || name.attributes.type == gate::StreamType::symlink || path.size() + 6 > N || path.empty())
        return false;
    memcpy(uri, "file:", kScheme);
    memcpy(uri + kScheme, path.data(), path.size());
    uri[kScheme + path.size()] = 0;
    return true;
}

Res<FileRef> open_named(Thread& thread, i32 dirfd, const char* path, u32 flags, u32 mode, bool& truncated) {
    if ((flags & kPathFlag) != 0) flags &= kPathFlag | kDirectoryFlag | kNoFollowFlag | kCloseOnExecFlag;
    if ((flags & kTemporaryFlag) != 0 && (flags & kDirectoryFlag) == 0) return Failure{Errno::inval};
    if ((flags & kCreateFlag) != 0 && (flags & kDirectoryFlag) != 0) return Failure{Errno::inval};
    const bool create = (flags & kCreateFlag) != 0, exclusive = create && (flags & kExclusiveFlag) != 0;
    const bool follow = (flags & kNoFollowFlag) == 0 && !exclusive;
    mode = mode & 07777 & ~thread.process->fs->umask;
    Place place;
    TRY(walk(thread, dirfd, path, (follow ? u32{kFollow} : 0) | (create ? u32{kMayBeMissing} : 0), place));
    if (create) prefer_socket_name(place);
    gate::Attributes attributes;
    gate::Handle handle = gate::kNoHandle;
    // Whether a host file is new is only asked when somebody wants to hear of it.
    const bool tells = !place.inside && notify_active() && (flags & (kCreateFlag | kTruncateFlag)) != 0;
    const bool existed = tells && query_name(place.uri, 0, attributes) == gate::Err::ok;
    u32 options = ((flags & kNonBlockFlag) != 0 ? u32{gate::kOpenNonBlocking} : 0) |
                  (follow ? 0 : u32{gate::kOpenNoFollow}) |
                  ((flags & kDirectoryFlag) != 0 ? u32{gate::kOpenDirectory} : 0) |
                  ((flags & kTruncateFlag) != 0 ? u32{gate::kOpenTruncate} : 0);
    if ((flags & kTemporaryFlag) != 0) options = (options & ~u32{gate::kOpenDirectory}) | gate::kOpenTemporary;
    const u32 name_options = follow ? 0 : u32{gate::kOpenNoFollow};
    const bool keeps = !create && host_access(flags) == gate::kAccessRead &&
                       (flags & (kPathFlag | kTruncateFlag | kTemporaryFlag | kDirectFlag)) == 0;
    KeptHandle kept;
    auto asked = ask_host(thread, place, attributes, [&](Place& at, gate::Attributes& answer) {
        if (keeps && open_known(at.uri, name_options, (flags & kDirectoryFlag) != 0, answer, kept)) {
            handle = kept.handle;
            answer.prepared = kept.prepared;
            return gate::Err::ok;
        }
        if ((flags & kPathFlag) != 0) return query_name(at.uri, name_options, answer);
        // Names on immutable routes that are not there need no second question.
        if (!create) {
            gate::Err refusal = known_refusal(at.uri, name_options, answer);
            if (refusal != gate::Err::ok) return refusal;
        }
        u32 how = !create ? gate::kCreateNever : exclusive ? gate::kCreateAlways : gate::kCreateTry;
        // What is known to lead through links is asked for where they lead.
        char shorter[256];
        const char* uri = !create && kept.name != nullptr && straight(*kept.name, shorter) ? shorter : at.uri;
        gate::Err error = g_gate->DkStreamOpen(uri, host_access(flags), mode, how, options, &handle, &answer);
        if (!create && (error == gate::Err::ok || error == gate::Err::not_found)) {
            note_name(at.uri, name_options, error, answer);
            if (error != gate::Err::ok) note_question(at.uri + kScheme, error, answer);
            if (keeps && error == gate::Err::ok) kept.name = known_name(at.uri, name_options);
            if (kept.name != nullptr) kept.name->opened = true;
        }
        return error;
    });
    if (!asked.ok() && asked.error() == Errno::opnotsupp && !exclusive && (flags & kTemporaryFlag) == 0)
        return open_fifo(thread, place, name_options, flags);
    if (!asked.ok()) return Failure{asked.error() == Errno::busy ? Errno::txtbsy : asked.error()};
    if (asked.value()) return open_inside(thread, place, flags, mode, truncated);
    if ((flags & kPathFlag) != 0) {
        if ((flags & kDirectoryFlag) != 0 && attributes.type != gate::StreamType::directory)
            return Failure{Errno::notdir};
        Stat stat;
        fill_stat(attributes, stat);
        return path_file(stat, nullptr, place.view(), flags);
    }
    if (tells && !existed) notify_object(place.view(), nullptr, kNotifyCreate);
    truncated = existed && (flags & kTruncateFlag) != 0;
    FileRef file = TRY(make_host_file(handle, attributes, kept_flags(flags)));
    file->created = exclusive || (tells && !existed) ? 1 : 0;
    if (kept.name != nullptr && attributes.stable != 0) {
        if (attributes.type == gate::StreamType::file)
            static_cast<HostFile&>(*file).keep_as(kept.name, kept.serial);
        else if (attributes.type == gate::StreamType::directory)
            static_cast<HostDirectory&>(*file).know_as(kept.name);
    }
    if (file->path == nullptr) set_path(*file, place.view());
    return file;
}

/// Leases on what is about to be opened are broken first: opening may already truncate.
Res<void> ask_holders(Thread& thread, i32 dirfd, const char* path, u32 flags) {
    Place place;
    const bool follow = (flags & kNoFollowFlag) == 0;
    if (!walk(thread, dirfd, path, (follow ? u32{kFollow} : 0) | kMayBeMissing, place).ok()) return {};
    gate::Attributes attributes;
    auto inside = ask_host(thread, place, attributes, [&](Place& at, gate::Attributes& answer) {
        return query_name(at.uri, follow ? 0 : u32{gate::kOpenNoFollow}, answer);
    });
    if (!inside.ok()) return {};  // what is wrong with the name, the open itself will tell
    const bool writes = (flags & kAccessMask) != kReadOnlyFlag || (flags & kTruncateFlag) != 0;
    return lease_break(thread, place, writes, (flags & kNonBlockFlag) == 0);
}

}  // namespace

Res<FileRef> open_path(Thread& thread, i32 dirfd, const char* path, u32 flags, u32 mode) {
    if (leases_active() && (flags & (kPathFlag | kTemporaryFlag)) == 0) TRY(ask_holders(thread, dirfd, path, flags));
    bool truncated = false;
    FileRef file = TRY(open_named(thread, dirfd, path, flags, mode, truncated));
    if ((flags & kPathFlag) != 0) return file;
    file->announces = 1;
    if (notify_active()) {
        notify_file(*file, kNotifyOpen);
        if (truncated) notify_file(*file, kNotifyModify);
    }
    return file;
}

Res<FileRef> open_found(Thread& thread, Inode& inode, std::string_view path, u32 flags) {
    Place place;
    place.inside = true;
    place.inode = InodeRef::share(&inode);
    copy_string(place.uri + kScheme, kPathMax, path);
    place.length = static_cast<u32>(path.size());
    bool truncated = false;
    return open_inode(thread, place, flags & ~u32{kCreateFlag | kExclusiveFlag}, false, truncated);
}

Res<void> stat_path(Thread& thread, i32 dirfd, const char* path, bool follow, Stat& stat) {
    Place place;
    TRY(walk(thread, dirfd, path, follow ? u32{kFollow} : 0, place));
    gate::Attributes attributes;
    bool inside = TRY(ask_host(thread, place, attributes, [&](Place& at, gate::Attributes& answer) {
        return query_name(at.uri, follow ? 0 : u32{gate::kOpenNoFollow}, answer);
    }));
    if (!inside) {
        fill_stat(attributes, stat);
        return {};
    }
    if (place.magic.get() != nullptr) return place.magic->stat(thread, stat);
    if (place.inode.get() == nullptr) return Failure{Errno::noent};
    return place.inode->stat(thread, stat);
}

Res<void> stat_at(Thread& thread, i32 dirfd, u64 user_path, u32 at_flags, Stat& stat) {
    char path[kPathMax];
    usize length = 0;
    if (user_path != 0 || (at_flags & kAtEmptyPath) == 0) length = TRY(copy_path(path, user_path));
    if (length == 0 && (at_flags & kAtEmptyPath) != 0) {
        if (dirfd == kAtWorkingDirectory) return stat_path(thread, dirfd, ".", true, stat);
        HeldFile file;
        TRY(file.hold(thread, static_cast<u32>(dirfd)));
        return file->stat(thread, stat);
    }
    return stat_path(thread, dirfd, path, (at_flags & kAtSymlinkNoFollow) == 0, stat);
}

Res<void> install_standard_streams(FdTable& table) {
    static constexpr const char* kNames[] = {"stdin:", "stdout:", "stderr:"};
    for (u32 fd = 0; fd < 3; ++fd) {
        gate::Handle handle;
        gate::Attributes attributes;
        u32 access = fd == 0 ? u32{gate::kAccessRead} : u32{gate::kAccessWrite};
        gate::Err error = g_gate->DkStreamOpen(kNames[fd], access, 0, gate::kCreateNever, 0, &handle, &attributes);
        if (error != gate::Err::ok) continue;  // started without it: the descriptor is closed here, too
        u32 flags = fd == 0 ? u32{kReadOnlyFlag} : u32{kWriteOnlyFlag};
        if (attributes.type == gate::StreamType::character || attributes.type == gate::StreamType::socket)
            flags = kReadWriteFlag;
        auto made = make_stream_file(handle, attributes, flags | kLargeFileFlag);
        if (!made.ok()) {
            g_gate->DkObjectClose(handle);
            return Failure{made.error()};
        }
        FileRef file = made.take();
        file->has_local = 1;
        if (file->path == nullptr && attributes.type == gate::StreamType::null) set_path(*file, "/dev/null");
        if (file->path == nullptr && attributes.type == gate::StreamType::pipe) {
            TextBuffer<40> name;
            name.add("pipe:[", attributes.identity, "]");
            set_path(*file, name.view());
        }
        TRY(table.install_at(static_cast<FileRef&&>(file), fd, false));
    }
    return {};
}

}  // namespace postern::libos
