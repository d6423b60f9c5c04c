// SPDX-License-Identifier: Apache-2.0
// shmget(2), shmat(2), shmdt(2), shmctl(2).
#include "base/format.hpp"
#include "base/memory.hpp"
#include "libos/fs/fd_table.hpp"
#include "libos/fs/path.hpp"
#include "libos/gate.hpp"
#include "libos/memory/space.hpp"
#include "libos/proc/settings.hpp"
#include "libos/sysv/calls.hpp"
#include "libos/sysv/segment.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u32 kHugeTlb = 04000;
constexpr u32 kCapabilityLock = 14;
constexpr u32 kLimitMemlock = 8;

Segment& segment_of(SysvObject* object) { return *static_cast<Segment*>(object); }
Res<Segment*> find_segment(SysvTable& table, i32 id) {
    SysvObject* object = TRY(table.find(id));
    return static_cast<Segment*>(object);
}

Res<Segment*> make_segment(Thread& thread, i32 key, u64 size, u32 flags) {
    if (size == 0 || size > settings().segment_size_limit) return Failure{Errno::inval};
    u64 pages = size / kPageSize + (size % kPageSize != 0 ? 1 : 0);
    if ((flags & kHugeTlb) != 0) return Failure{Errno::inval};  // as a kernel without huge pages
    SysvTable& table = *TRY(sysv_table(SysvKind::segments));
    if (pages > settings().segment_pages_limit - (table.total < settings().segment_pages_limit ? table.total : 0))
        return Failure{Errno::nospc};
    void* memory = TRY(arena::allocate_pages(pages));
    auto made = make_file<Segment>(memory, pages, size);
    if (!made.ok()) {
        arena::release_pages(memory, pages);
        return Failure{made.error()};
    }
    Segment& segment = *made.value();
    sysv_adopt(thread, segment, key, flags);
    segment.creator_pid = thread.process->pid;
    TextBuffer<32> name;
    name.add("/SYSV", Hex{static_cast<u32>(key), 8}, " (deleted)");
    set_path(segment, name.view());
    return &segment;
}

Res<i64> existing(Thread& thread, Segment& segment, u64 size, u32 flags) {
    if (segment.size < size) return Failure{Errno::inval};
    TRY(sysv_permission(thread, segment, flags));
    return segment.id;
}

}  // namespace

Res<i64> sys_shmget(Thread& thread, Arguments arguments) {
    const i32 key = static_cast<i32>(arguments[0]);
    const u64 size = arguments[1];
    const u32 flags = static_cast<u32>(arguments[2]);
    SysvTable& table = *TRY(sysv_table(SysvKind::segments));
    {
        Guard guard{table.lock};
        SysvObject* found = TRY(sysv_get(thread, table, key, flags));
        if (found != nullptr) return existing(thread, segment_of(found), size, flags);
    }
    Segment& segment = *TRY(make_segment(thread, key, size, flags));
    FileRef made{&segment};
    Guard guard{table.lock};
    SysvObject* found = TRY(sysv_get(thread, table, key, flags));  // another thread may have been faster
    if (found != nullptr) return existing(thread, segment_of(found), size, flags);
    TRY(table.enter(segment, static_cast<u32>(settings().segment_limit), take_next_id(settings().next_segment)));
    set_undoable(table.lock, table.total, table.total + segment.page_count());
    made.leak();
    return segment.id;
}

Res<i64> sys_shmat(Thread& thread, Arguments arguments) {
    const i32 id = static_cast<i32>(arguments[0]);
    u64 address = arguments[1];
    const u32 flags = static_cast<u32>(arguments[2]);
    if (id < 0) return Failure{Errno::inval};
    u32 map_flags = kMapFlagShared;
    if (address != 0) {
        if (!page_aligned(address)) {
            if ((flags & SHM_RND) == 0) return Failure{Errno::inval};
            address = page_floor(address);
            if (address == 0 && (flags & SHM_REMAP) != 0) return Failure{Errno::inval};
        }
        map_flags |= (flags & SHM_REMAP) != 0 ? kMapFlagFixed : kMapFlagFixedNoReplace;
    } else if ((flags & SHM_REMAP) != 0) {
        return Failure{Errno::inval};
    }
    u32 prot = gate::kProtRead, wanted = 0444;
    if ((flags & SHM_RDONLY) != 0) {
        map_flags |= kMapFlagReadOnlyFile;
    } else {
        prot |= gate::kProtWrite;
        wanted |= 0222;
    }
    if ((flags & SHM_EXEC) != 0) {
        prot |= gate::kProtExecute;
        wanted |= 0111;
    }
    SysvTable& table = *TRY(sysv_table(SysvKind::segments));
    FileRef file;
    u64 size;
    {
        Guard guard{table.lock};
        Segment& segment = *TRY(find_segment(table, id));
        TRY(sysv_permission(thread, segment, wanted));
        segment.reference();
        file = FileRef{&segment};
        size = segment.size;
    }
    auto mapped = thread.process->space->map(address, size, prot, map_flags, file.get(), 0, MappingKind::file);
    // Addresses that are taken: EINVAL here, where mmap says EEXIST.
    if (!mapped.ok()) return Failure{mapped.error() == Errno::exist ? Errno::inval : mapped.error()};
    return static_cast<i64>(mapped.value());
}

Res<i64> sys_shmdt(Thread& thread, Arguments arguments) {
    TRY(thread.process->space->detach(arguments[0]));
    return 0;
}

namespace {

void fill(shmid64_ds& to, const Segment& segment) {
    memset(&to, 0, sizeof to);
    sysv_fill(to.shm_perm, segment);
    to.shm_segsz = segment.size;
    to.shm_atime = segment.attach_time;
    to.shm_dtime = segment.detach_time;
    to.shm_ctime = segment.changed;
    to.shm_cpid = static_cast<i32>(segment.creator_pid);
    to.shm_lpid = static_cast<i32>(segment.last_pid);
    to.shm_nattch = segment.attached;
}

Res<i64> read_status(Thread& thread, SysvTable& table, i32 id, u32 command, u64 user) {
    shmid64_ds status;
    i64 result = 0;
    {
        Guard guard{table.lock};
        Segment* segment;
        if (command == IPC_STAT) {
            segment = TRY(find_segment(table, id));
        } else {
            segment = static_cast<Segment*>(table.at(static_cast<u32>(id) & (SysvTable::kMost - 1)));
            if (segment == nullptr) return Failure{Errno::inval};
            result = segment->id;
        }
        if (command != SHM_STAT_ANY) TRY(sysv_permission(thread, *segment, 0444));
        fill(status, *segment);
    }
    TRY(write_user(user, status));
    return result;
}

Res<i64> remove(Thread& thread, SysvTable& table, i32 id) {
    bool gone;
    Segment* segment;
    {
        Guard guard{table.lock};
        segment = TRY(find_segment(table, id));
        TRY(sysv_owner(thread, *segment));
        segment->mode |= kSegmentRemoved;
        table.forget_key(*segment);
        gone = segment->leave_when_unused(table);
    }
    if (gone) segment->release();
    return 0;
}

Res<i64> set_locked(Thread& thread, SysvTable& table, i32 id, bool lock) {
    Guard guard{table.lock};
    Segment& segment = *TRY(find_segment(table, id));
    if (!sysv_capable(thread, kCapabilityLock)) {
        u32 user = thread.process->credentials.euid;
        if (user != segment.uid && user != segment.creator_uid) return Failure{Errno::perm};
        if (lock && thread.process->limits[kLimitMemlock][0] == 0) return Failure{Errno::perm};
    }
    segment.mode = lock ? segment.mode | kSegmentLocked : segment.mode & ~kSegmentLocked;
    return 0;
}

i64 at_least_zero(i32 value) { return value < 0 ? 0 : value; }

}  // namespace

Res<i64> sys_shmctl(Thread& thread, Arguments arguments) {
    const i32 id = static_cast<i32>(arguments[0]), command = static_cast<i32>(arguments[1]);
    const u64 user = arguments[2];
    if (command < 0 || id < 0) return Failure{Errno::inval};
    SysvTable& table = *TRY(sysv_table(SysvKind::segments));
    switch (command) {
        case IPC_INFO: {
            shminfo64 info;
            memset(&info, 0, sizeof info);
            info.shmmni = info.shmseg = settings().segment_limit;
            info.shmmax = settings().segment_size_limit;
            info.shmall = settings().segment_pages_limit;
            info.shmmin = 1;
            TRY(write_user(user, info));
            Guard guard{table.lock};
            return at_least_zero(table.highest());
        }
        case SHM_INFO: {
            shm_info info;
            memset(&info, 0, sizeof info);
            i64 highest;
            {
                Guard guard{table.lock};
                info.used_ids = static_cast<i32>(table.count());
                info.shm_tot = info.shm_rss = table.total;
                highest = at_least_zero(table.highest());
            }
            TRY(write_user(user, info));
            return highest;
        }
        case IPC_STAT:
        case SHM_STAT:
        case SHM_STAT_ANY: return read_status(thread, table, id, static_cast<u32>(command), user);
        case IPC_SET: {
            auto wanted = TRY(read_user<shmid64_ds>(user));
            Guard guard{table.lock};
            Segment& segment = *TRY(find_segment(table, id));
            TRY(sysv_owner(thread, segment));
            TRY(sysv_set(segment, wanted.shm_perm));
            segment.changed = sysv_seconds();
            return 0;
        }
        case IPC_RMID: return remove(thread, table, id);
        case SHM_LOCK:
        case SHM_UNLOCK: return set_locked(thread, table, id, command == SHM_LOCK);
        default: return Failure{Errno::inval};
    }
}

}  // namespace postern::libos
