// SPDX-License-Identifier: Apache-2.0
#include "libos/fs/leases.hpp"

#include "base/memory.hpp"
#include "libos/fs/fd_table.hpp"
#include "libos/fs/open.hpp"
#include "libos/fs/tmpfs.hpp"
#include "libos/ipc/async.hpp"
#include "libos/proc/settings.hpp"
#include "libos/process/table.hpp"
#include "libos/shared/roots.hpp"
#include "libos/signal/queue.hpp"
#include "libos/time/timers.hpp"

namespace postern::libos {

namespace {

constexpr u32 kCapabilityLease = 28;

struct Lease {
    ListLink link;
    File* file = nullptr;  ///< not referenced: it tells when it goes
    u32 fd = 0;            ///< as F_SETLEASE was asked, for siginfo
    LockType type = LockType::none;
    LockType target = LockType::none;  ///< while it is being broken
    u32 breaking = 0;
    u64 deadline = 0;
};

struct Leases {
    u64 count = 0;  ///< first: leases_active() looks at it
    SharedLock lock;
    List<Lease, &Lease::link> all;
    WaitQueue changes;
};

Res<Leases*> leases() { return arena::root<Leases>(kRootLeases); }

bool is_memory(const Inode* inode) { return inode != nullptr && inode->device == kTmpfsDevice; }

bool same_object(const File& left, const Inode* inode, std::string_view path) {
    if (is_memory(left.inode) || is_memory(inode)) return left.inode == inode;
    return left.path != nullptr && path == std::string_view{left.path, strlen(left.path)};
}

struct Opens {
    const File* file;
    u32 readers = 0, writers = 0;  ///< of other descriptions
};

/// Descriptions of the same object in all tables of the family.
void count_opens(Opens& opens) {
    for_each_process(
        [](Process& process, void* cookie) {
            Opens& opens = *static_cast<Opens*>(cookie);
            if (process.files == nullptr || process.state == ProcessState::zombie) return;
            std::string_view path;
            if (opens.file->path != nullptr) path = {opens.file->path, strlen(opens.file->path)};
            for (i32 fd = process.files->next_open(0); fd >= 0;
                 fd = process.files->next_open(static_cast<u32>(fd) + 1)) {
                auto other = process.files->get(static_cast<u32>(fd));
                if (!other.ok() || other.value().get() == opens.file) continue;
                const File& file = *other.value();
                if ((file.status_flags & kPathFlag) != 0 || !same_object(file, opens.file->inode, path)) continue;
                ++(writable(file) ? opens.writers : opens.readers);
            }
        },
        &opens);
}

Lease* lease_of(Leases& all, const File& file) {
    for (Lease* lease = all.all.front(); lease != nullptr; lease = all.all.next(*lease))
        if (lease->file == &file) return lease;
    return nullptr;
}

/// Lock held.
void remove(Leases& all, Lease& lease) {
    undoable_unlink(all.lock, lease.link);
    set_undoable(all.lock, all.count, all.count - 1);
    undo_commit(all.lock);
    arena::destroy(&lease);
}

bool in_the_way(const Lease& lease, bool writes) { return lease.type == LockType::write || writes; }

}  // namespace

LockType lease_get(File& file) {
    if (file.has_lease == 0) return LockType::none;
    auto all = leases();
    if (!all.ok()) return LockType::none;
    Guard guard{all.value()->lock};
    Lease* lease = lease_of(*all.value(), file);
    if (lease == nullptr) return LockType::none;
    return lease->breaking != 0 ? lease->target : lease->type;
}

Res<void> lease_set(Thread& thread, File& file, u32 fd, u32 type) {
    if (type > 2) return Failure{Errno::inval};
    Stat stat;
    TRY(file.stat(thread, stat));
    if (thread.process->credentials.fsuid != stat.st_uid && !has_capability(thread, kCapabilityLease))
        return Failure{Errno::acces};
    if ((stat.st_mode & kTypeMask) != kTypeRegular) return Failure{Errno::inval};
    const auto wanted = static_cast<LockType>(type);
    Leases& all = *TRY(leases());
    if (wanted != LockType::none) {
        Opens opens{&file};
        count_opens(opens);
        if (wanted == LockType::read && (opens.writers != 0 || writable(file))) return Failure{Errno::again};
        if (wanted == LockType::write && (opens.writers != 0 || opens.readers != 0)) return Failure{Errno::again};
    }
    Lease* fresh = nullptr;
    {
        Guard guard{all.lock};
        Lease* lease = lease_of(all, file);
        if (wanted == LockType::none) {
            if (lease == nullptr) return Failure{Errno::again};
            file.has_lease = 0;
            remove(all, *lease);
        } else if (lease != nullptr) {
            if (lease->breaking != 0 && lease->target != wanted) return Failure{Errno::again};
            lease->breaking = 0;
            lease->type = wanted;
        } else {
            fresh = TRY(arena::create<Lease>());
            fresh->file = &file;
            fresh->fd = fd;
            fresh->type = wanted;
            file.has_lease = 1;
            if (file.signal_owner == 0) async_own(file, *thread.process);
            undoable_push_back(all.lock, all.all, *fresh);
            set_undoable(all.lock, all.count, all.count + 1);
        }
    }
    all.changes.wake(kPollIn);
    return {};
}

void lease_drop(File& file) {
    auto all = leases();
    if (!all.ok()) return;
    {
        Guard guard{all.value()->lock};
        Lease* lease = lease_of(*all.value(), file);
        if (lease == nullptr) return;
        remove(*all.value(), *lease);
    }
    all.value()->changes.wake(kPollIn);
}

Res<void> lease_break(Thread& thread, const Place& place, bool writes, bool wait) {
    Leases& all = *TRY(leases());
    const Inode* inode = place.inode.get();
    for (;;) {
        u64 deadline = 0;
        const File* holder = nullptr;
        {
            Guard guard{all.lock};
            const u64 now = monotonic_now();
            for (Lease* lease = all.all.front(); lease != nullptr;) {
                Lease* next = all.all.next(*lease);
                if (same_object(*lease->file, inode, place.view()) && in_the_way(*lease, writes)) {
                    const LockType target = writes ? LockType::none : LockType::read;
                    if (lease->breaking != 0 && now >= lease->deadline) {  // it had its time
                        if (lease->target == LockType::none) {
                            lease->file->has_lease = 0;
                            remove(all, *lease);
                        } else {
                            lease->type = lease->target;
                            lease->breaking = 0;
                        }
                        lease = next;
                        continue;
                    }
                    holder = lease->file;
                    const bool tells = lease->breaking == 0 || (target == LockType::none && lease->target != target);
                    if (tells) {
                        if (lease->breaking == 0) lease->deadline = now + settings().lease_break_time * 1'000'000'000;
                        lease->breaking = 1;
                        lease->target = target;
                        async_note(*lease->file, lease->fd, kAsyncMessage);
                    }
                    deadline = lease->deadline;
                    break;
                }
                lease = next;
            }
        }
        if (holder == nullptr) return {};
        if (!wait) return Failure{Errno::again};
        auto waited = wait_until(thread, all.changes, kPollIn, deadline, [&] {
            Guard guard{all.lock};
            for (Lease* lease = all.all.front(); lease != nullptr; lease = all.all.next(*lease))
                if (lease->file == holder && in_the_way(*lease, writes)) return false;
            return true;
        });
        if (!waited.ok() && waited.error() != Errno::timedout) return Failure{waited.error()};
    }
}

}  // namespace postern::libos
