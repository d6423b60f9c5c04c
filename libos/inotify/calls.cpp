// SPDX-License-Identifier: Apache-2.0
// inotify_init(2), inotify_add_watch(2), inotify_rm_watch(2), and reading events.
#include "libos/inotify/calls.hpp"

#include <asm/ioctls.h>

#include "base/memory.hpp"
#include "libos/fs/host_file.hpp"
#include "libos/fs/open.hpp"
#include "libos/fs/tmpfs.hpp"
#include "libos/inotify/watches.hpp"
#include "libos/proc/settings.hpp"
#include "libos/process/process.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u32 kAllEvents = 0xfff;
constexpr u32 kOnlyDirectory = 0x01000000, kDontFollow = 0x02000000, kMaskCreate = 0x10000000, kMaskAdd = 0x20000000;
constexpr u32 kKnownBits = kAllEvents | 0x2000 | 0x4000 | 0x8000 | kOnlyDirectory | kDontFollow | 0x04000000 |
                           kMaskCreate | kMaskAdd | kNotifyIsDirectory | 0x80000000;
constexpr u32 kKeptBits = kAllEvents | 0x04000000 | 0x80000000;

struct Record {  // struct inotify_event without its name
    i32 watch;
    u32 mask, cookie, length;
};

Res<i64> init(Thread& thread, u32 flags) {
    if ((flags & ~u32{kNonBlockFlag | kCloseOnExecFlag}) != 0) return Failure{Errno::inval};
    NotifyTable& table = *TRY(notify_table());
    {
        Guard guard{table.lock};
        if (table.instances >= settings().notify_instance_limit) return Failure{Errno::mfile};
        ++table.instances;
    }
    auto made = make_file<InotifyFile>(flags & kNonBlockFlag);
    if (!made.ok()) {
        Guard guard{table.lock};
        --table.instances;
        return Failure{made.error()};
    }
    FileRef file{made.value()};
    set_path(*file, "anon_inode:inotify");
    u32 fd = TRY(thread.process->files->install(std::move(file), (flags & kCloseOnExecFlag) != 0));
    return static_cast<i64>(fd);
}

/// Lock held: what is new of the watch's mask, or a fresh watch.
Res<i64> change_watch(Watch& watch, u32 mask) {
    if ((mask & kMaskCreate) != 0) return Failure{Errno::exist};
    watch.mask = (mask & kMaskAdd) != 0 ? watch.mask | (mask & kKeptBits) : mask & kKeptBits;
    return watch.id;
}

Res<i64> add_watch(InotifyFile& instance, const Place& place, u64 number, u32 mask) {
    NotifyTable& table = *TRY(notify_table());
    Inode* inode = place.inode.get();
    if (inode != nullptr && inode->device != kTmpfsDevice) inode = nullptr;  // see lasts() in watches.cpp
    char* path = static_cast<char*>(TRY(arena::allocate(place.length + 1)));
    memcpy(path, place.path(), place.length);
    auto fresh = arena::create<Watch>();
    auto drop = [&] {
        arena::release(path, place.length + 1);
        if (fresh.ok()) arena::destroy(fresh.value());
    };
    if (!fresh.ok()) {
        drop();
        return Failure{Errno::nomem};
    }
    Guard guard{table.lock};
    for (Watch* watch = instance.watches.front(); watch != nullptr; watch = instance.watches.next(*watch)) {
        if (inode != nullptr ? watch->inode != inode : watch->view() != place.view()) continue;
        drop();
        return change_watch(*watch, mask);
    }
    if (table.watches >= settings().notify_watch_limit) {
        drop();
        return Failure{Errno::nospc};
    }
    Watch& watch = *fresh.value();
    watch.instance = &instance;
    watch.inode = inode;
    watch.number = number;
    watch.path = path;
    watch.length = place.length;
    watch.mask = mask & kKeptBits;
    watch.id = ++instance.last_id;
    watch_enter(table, watch);
    return watch.id;
}

}  // namespace

InotifyFile::~InotifyFile() {
    NotifyTable& table = *notify_table_if_made();
    Guard guard{table.lock};
    while (Watch* watch = watches.front()) watch_leave(table, *watch);
    while (QueuedNotice* notice = notices.pop_front()) arena::release(notice, QueuedNotice::bytes(notice->length));
    --table.instances;
}

Res<i64> InotifyFile::read(Thread& thread, u64 user, u64 size, u64) {
    SharedLock& lock = notify_table_if_made()->lock;
    u64 done = 0;
    for (;;) {
        QueuedNotice* notice;
        {
            Guard guard{lock};
            notice = notices.front();
            if (notice != nullptr) {
                const u64 needed = sizeof(Record) + notice->length;
                if (needed > size - done) {
                    if (done == 0) return Failure{Errno::inval};
                    return static_cast<i64>(done);
                }
                undoable_unlink(lock, notice->link);
                set_undoable(lock, count, count - 1);
                set_undoable(lock, bytes, bytes - needed);
                if (notice->mask == kNotifyOverflow) overflowed = 0;
            }
        }
        if (notice == nullptr) {
            if (done != 0) return static_cast<i64>(done);
            if ((status_flags & kNonBlockFlag) != 0) return Failure{Errno::again};
            TRY(wait_until(thread, queue, kPollIn, gate::kForever,
                           [this] { return __atomic_load_n(&count, __ATOMIC_SEQ_CST) != 0; }));
            continue;
        }
        const Record record{notice->watch, notice->mask, notice->cookie, notice->length};
        Res<void> copied = write_user(user + done, record);
        if (copied.ok()) copied = copy_out(user + done + sizeof record, notice->name, notice->length);
        done += sizeof record + notice->length;
        arena::release(notice, QueuedNotice::bytes(notice->length));
        TRY(std::move(copied));
    }
}

Res<i64> InotifyFile::ioctl(Thread&, u32 request, u64 argument) {
    if (request != FIONREAD) return Failure{Errno::notty};
    TRY(write_user(argument, static_cast<i32>(bytes)));
    return 0;
}

Res<void> InotifyFile::stat(Thread& thread, Stat& stat) {
    fill_anonymous_stat(thread, stat, 0600, 1);
    return {};
}

Res<i64> sys_inotify_init(Thread& thread, Arguments) { return init(thread, 0); }
Res<i64> sys_inotify_init1(Thread& thread, Arguments arguments) { return init(thread, static_cast<u32>(arguments[0])); }

Res<i64> sys_inotify_add_watch(Thread& thread, Arguments arguments) {
    const u32 mask = static_cast<u32>(arguments[2]);
    if ((mask & ~kKnownBits) != 0 || (mask & kKnownBits) == 0) return Failure{Errno::inval};
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(arguments[0])));
    if ((mask & kMaskAdd) != 0 && (mask & kMaskCreate) != 0) return Failure{Errno::inval};
    if (file->kind() != FileKind::inotify) return Failure{Errno::inval};
    char path[kPathMax];
    TRY(copy_path(path, arguments[1]));
    Place place;
    const bool follow = (mask & kDontFollow) == 0;
    TRY(walk(thread, kAtWorkingDirectory, path, follow ? u32{kFollow} : 0, place));
    gate::Attributes attributes;
    bool inside = TRY(ask_host(thread, place, attributes, [&](Place& at, gate::Attributes& answer) {
        return query_name(at.uri, follow ? 0 : u32{gate::kOpenNoFollow}, answer);
    }));
    Stat stat;
    if (inside) {
        if (place.inode.get() == nullptr) return Failure{Errno::noent};
        TRY(place.inode->stat(thread, stat));
        TRY(check_permission(thread, *place.inode, 4));
    } else {
        fill_stat(attributes, stat);
        TRY(check_permission(thread, stat.st_mode, stat.st_uid, stat.st_gid, 4));
    }
    if ((mask & kOnlyDirectory) != 0 && (stat.st_mode & kTypeMask) != kTypeDirectory) return Failure{Errno::notdir};
    return add_watch(static_cast<InotifyFile&>(*file.get()), place, stat.st_ino, mask);
}

Res<i64> sys_inotify_rm_watch(Thread& thread, Arguments arguments) {
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(arguments[0])));
    if (file->kind() != FileKind::inotify) return Failure{Errno::inval};
    auto& instance = static_cast<InotifyFile&>(*file.get());
    NotifyTable& table = *TRY(notify_table());
    Guard guard{table.lock};
    Watch* watch = watch_of(instance, static_cast<i32>(arguments[1]));
    if (watch == nullptr) return Failure{Errno::inval};
    notice_add(table, instance, watch->id, kNotifyIgnored, 0, {});
    watch_leave(table, *watch);
    return 0;
}

}  // namespace postern::libos
