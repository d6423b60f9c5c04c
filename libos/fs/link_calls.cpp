// SPDX-License-Identifier: Apache-2.0
// Calls on hard and symbolic links: link(2), symlink(2), readlink(2).
#include "libos/fs/handle_cache.hpp"
#include "libos/fs/name_calls.hpp"
#include "libos/gate.hpp"
#include "libos/inotify/notify.hpp"
#include "libos/process/process.hpp"
#include "libos/syscall/table.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

Res<i64> link_at(Thread& thread, i32 old_dirfd, u64 old_user, i32 new_dirfd, u64 new_user, u32 flags) {
    if ((flags & ~(kAtSymlinkFollow | kAtEmptyPath)) != 0) return Failure{Errno::inval};
    Place from, to;
    {
        char path[kPathMax];
        usize length = TRY(copy_path(path, old_user));
        if (length == 0 && (flags & kAtEmptyPath) != 0) {
            FileRef file = TRY(thread.process->files->get(static_cast<u32>(old_dirfd)));
            if (file->inode == nullptr) return Failure{Errno::xdev};
            from.inside = true;
            from.inode = InodeRef::share(file->inode);
        } else {
            TRY(walk(thread, old_dirfd, path, (flags & kAtSymlinkFollow) != 0 ? u32{kFollow} : 0, from));
        }
    }
    TRY(new_place(thread, new_dirfd, new_user, to));
    for (u32 attempt = 0;; ++attempt) {
        if (from.inside && to.inside) break;
        if (!from.inside && !to.inside) {
            if ((flags & kAtSymlinkFollow) != 0) {
                // The gate links what the name itself is: where it leads is asked first.
                gate::Attributes attributes;
                bool inside = TRY(ask_host(thread, from, attributes, [](Place& at, gate::Attributes& answer) {
                    return query_name(at.uri, 0, answer);
                }));
                if (inside) continue;
            }
            gate::Err error = g_gate->DkStreamLink(from.uri, to.uri, gate::LinkKind::hard);
            if (error == gate::Err::ok && notify_active()) {
                gate::Attributes attributes;
                find_name(thread, from, attributes);
                find_name(thread, to, attributes);
                notify_linked(attributes.identity, kNotifyAttributes);
                notify_object(to.view(), nullptr, kNotifyCreate, to.directory.get());
            }
            if (error == gate::Err::ok) return 0;
            bool moved = error == gate::Err::not_found && attempt == 0 &&
                         (leads_inside(thread, from) | leads_inside(thread, to));
            if (moved) continue;
            if (error == gate::Err::denied) {
                gate::Attributes attributes;
                find_name(thread, from, attributes);
                if (attributes.type == gate::StreamType::directory) return Failure{Errno::perm};
            }
            return Failure{to_errno(error)};
        }
        if (attempt == 0 && leads_inside(thread, from.inside ? to : from)) continue;
        return Failure{Errno::xdev};
    }
    TRY(check_new(to));
    if (to.must_be_directory) return Failure{Errno::noent};
    if (from.inode.get() == nullptr) return Failure{from.magic.get() != nullptr ? Errno::xdev : Errno::noent};
    TRY(to.directory->add_name(thread, to.name(), *from.inode));
    if (notify_active()) {
        notify_self(from.view(), from.inode.get(), kNotifyAttributes);
        notify_object(to.view(), nullptr, kNotifyCreate, to.directory.get());
    }
    return 0;
}

Res<i64> symlink_at(Thread& thread, u64 user_target, i32 dirfd, u64 user_path) {
    char target[kPathMax];
    usize target_length = TRY(copy_path(target, user_target));
    if (target_length == 0) return Failure{Errno::noent};
    Place place;
    TRY(new_place(thread, dirfd, user_path, place));
    bool inside = TRY(act_host(
        thread, place, [&](Place& at) { return g_gate->DkStreamLink(target, at.uri, gate::LinkKind::symbolic); }));
    if (!inside) {
        gate::Attributes attributes;
        if (notify_active()) {
            find_name(thread, place, attributes);
            notify_object(place.view(), nullptr, kNotifyCreate, place.directory.get());
        }
        return 0;
    }
    TRY(check_new(place));
    if (place.must_be_directory) return Failure{Errno::noent};
    TRY(place.directory->make_link(thread, place.name(), target));
    if (notify_active()) notify_object(place.view(), nullptr, kNotifyCreate, place.directory.get());
    return 0;
}

Res<i64> read_link_at(Thread& thread, i32 dirfd, u64 user_path, u64 buffer, u64 size) {
    if (static_cast<i32>(size) <= 0) return Failure{Errno::inval};
    char path[kPathMax];
    usize length = TRY(copy_path(path, user_path));
    if (length == 0 && dirfd != kAtWorkingDirectory) {
        // readlinkat(2): an empty path reads the link that an O_PATH descriptor refers to.
        FileRef file = TRY(thread.process->files->get(static_cast<u32>(dirfd)));
        if (file->inode == nullptr || (file->status_flags & kPathFlag) == 0) return Failure{Errno::noent};
        usize count = TRY(file->inode->read_link(thread, path, sizeof path));
        if (count > size) count = size;
        TRY(copy_out(buffer, path, count));
        return static_cast<i64>(count);
    }
    Place place;
    TRY(walk(thread, dirfd, path, 0, place));
    gate::Attributes attributes;
    char names[2 * kPathMax];
    bool inside = TRY(ask_host(thread, place, attributes, [&](Place& at, gate::Attributes& answer) {
        answer.name = names;
        answer.name_capacity = sizeof names;
        gate::Err error = gate::Err::ok;
        if (known_answer(at.uri, gate::kOpenNoFollow, answer, error) ||
            open_ahead(at.uri, gate::kOpenNoFollow, answer, error))
            return error;
        error = g_gate->DkStreamAttributesQuery(at.uri, u32{gate::kOpenNoFollow} | gate::kOpenLink, &answer);
        note_answer(at.uri, gate::kOpenNoFollow, error, answer);
        return error;
    }));
    const char* target;
    usize count;
    if (inside) {
        if (place.inode.get() == nullptr) return Failure{Errno::noent};
        count = TRY(place.inode->read_link(thread, names, kPathMax));
        target = names;
    } else {
        if (attributes.type != gate::StreamType::symlink) return Failure{Errno::inval};
        target = names + attributes.name_length + 1;
        count = attributes.target_length;
    }
    if (count > size) count = size;
    TRY(copy_out(buffer, target, count));
    return static_cast<i64>(count);
}

}  // namespace

Res<i64> sys_link(Thread& thread, Arguments arguments) {
    return link_at(thread, kAtWorkingDirectory, arguments[0], kAtWorkingDirectory, arguments[1], 0);
}
Res<i64> sys_linkat(Thread& thread, Arguments arguments) {
    return link_at(thread, fd_of(arguments[0]), arguments[1], fd_of(arguments[2]), arguments[3],
                   static_cast<u32>(arguments[4]));
}
Res<i64> sys_symlink(Thread& thread, Arguments arguments) {
    return symlink_at(thread, arguments[0], kAtWorkingDirectory, arguments[1]);
}
Res<i64> sys_symlinkat(Thread& thread, Arguments arguments) {
    return symlink_at(thread, arguments[0], fd_of(arguments[1]), arguments[2]);
}
Res<i64> sys_readlink(Thread& thread, Arguments arguments) {
    return read_link_at(thread, kAtWorkingDirectory, arguments[0], arguments[1], arguments[2]);
}
Res<i64> sys_readlinkat(Thread& thread, Arguments arguments) {
    return read_link_at(thread, fd_of(arguments[0]), arguments[1], arguments[2], arguments[3]);
}

}  // namespace postern::libos
