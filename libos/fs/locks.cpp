// SPDX-License-Identifier: Apache-2.0
// Locks: see locks.hpp. A process that is killed in here leaves a whole list: every change of it is one store.
#include "libos/fs/locks.hpp"

#include "libos/fs/fd_table.hpp"
#include "libos/fs/inode.hpp"
#include "libos/process/process.hpp"
#include "libos/shared/arena.hpp"

namespace postern::libos {

namespace {

struct Held {
    Held* next;
    u64 device, inode;
    const void* owner;
    LockSort sort;
    LockRange range;
};

/// Who waits for whom, to find cycles.
struct Waiting {
    Waiting* next;
    const void* owner;
    const void* holder;
};

struct LockTable {
    SharedLock lock;
    Held* held = nullptr;
    Waiting* waiting = nullptr;
    WaitQueue queue;  ///< woken at every release
    volatile u32 releases = 0;
};

LockTable* g_locks;  // made with the first tree, before any fork

Res<LockTable*> table() {
    if (g_locks == nullptr) g_locks = TRY(arena::create<LockTable>());
    return g_locks;
}

const void* owner_of(Thread& thread, File& file, LockSort sort) {
    return sort == LockSort::posix ? static_cast<const void*>(thread.process->files) : &file;
}

bool same_space(LockSort a, LockSort b) { return (a == LockSort::whole) == (b == LockSort::whole); }

bool overlap(const LockRange& a, const LockRange& b) { return a.start < b.end && b.start < a.end; }

struct Key {
    u64 device, inode;
    const void* owner;
    LockSort sort;
};

Held* conflict(LockTable& locks, const Key& key, const LockRange& range) {
    if (range.type == LockType::none) return nullptr;
    Held* first = nullptr;  // in the file, as F_GETLK is to tell it
    for (Held* held = locks.held; held != nullptr; held = held->next)
        if (held->device == key.device && held->inode == key.inode && same_space(held->sort, key.sort) &&
            held->owner != key.owner && overlap(held->range, range) &&
            (held->range.type == LockType::write || range.type == LockType::write) &&
            (first == nullptr || held->range.start < first->range.start))
            first = held;
    return first;
}

bool deadlock(LockTable& locks, const void* owner, const void* holder) {
    for (u32 steps = 0; steps < 64; ++steps) {
        if (holder == owner) return true;
        Waiting* waiting = locks.waiting;
        while (waiting != nullptr && waiting->owner != holder) waiting = waiting->next;
        if (waiting == nullptr) return false;
        holder = waiting->holder;
    }
    return false;
}

void insert(LockTable& locks, Held* held, const Key& key, const LockRange& range) {
    held->device = key.device;
    held->inode = key.inode;
    held->owner = key.owner;
    held->sort = key.sort;
    held->range = range;
    held->next = locks.held;
    __atomic_store_n(&locks.held, held, __ATOMIC_RELEASE);
}

/// Replaces what the owner holds in the range. `spare` are two nodes for what splitting leaves.
void apply(LockTable& locks, const Key& key, LockRange range, Held* (&spare)[2]) {
    for (Held** at = &locks.held; *at != nullptr;) {
        Held* held = *at;
        bool own = held->device == key.device && held->inode == key.inode && held->sort == key.sort &&
                   held->owner == key.owner;
        bool touches = held->range.start <= range.end && range.start <= held->range.end;
        if (!own || !touches || (!overlap(held->range, range) && held->range.type != range.type)) {
            at = &held->next;
            continue;
        }
        if (held->range.type == range.type) {  // merges into the new one
            if (held->range.start < range.start) range.start = held->range.start;
            if (held->range.end > range.end) range.end = held->range.end;
            *at = held->next;
            arena::destroy(held);
            continue;
        }
        LockRange before = held->range, after = held->range;
        before.end = range.start;
        after.start = range.end;
        bool keep_before = before.start < before.end, keep_after = after.start < after.end;
        if (keep_before && keep_after) {
            Held* fresh = spare[0];
            spare[0] = nullptr;
            held->range = before;
            insert(locks, fresh, key, after);
            at = &held->next;
        } else if (keep_before || keep_after) {
            held->range = keep_before ? before : after;
            at = &held->next;
        } else {
            *at = held->next;
            arena::destroy(held);
        }
    }
    if (range.type != LockType::none) {
        insert(locks, spare[1], key, range);
        spare[1] = nullptr;
    }
}

void wake(LockTable& locks) {
    __atomic_add_fetch(&locks.releases, 1, __ATOMIC_SEQ_CST);
    locks.queue.wake(kPollIn);
}

template <class Match>
void drop_if(LockTable& locks, Match match) {
    bool dropped = false;
    {
        Guard guard{locks.lock};
        for (Held** at = &locks.held; *at != nullptr;) {
            Held* held = *at;
            if (!match(*held)) {
                at = &held->next;
                continue;
            }
            *at = held->next;
            arena::destroy(held);
            dropped = true;
        }
    }
    if (dropped) wake(locks);
}

}  // namespace

Res<void> lock_set(Thread& thread, File& file, LockSort sort, const LockRange& range, bool wait) {
    LockTable& locks = *TRY(table());
    Stat stat;
    TRY(file.stat(thread, stat));
    Key key{stat.st_dev, stat.st_ino, owner_of(thread, file, sort), sort};
    if (sort == LockSort::posix)
        thread.process->files->note_lock();
    else
        file.has_locks = 1;
    Waiting waiting{nullptr, key.owner, nullptr};
    for (;;) {
        u32 seen = __atomic_load_n(&locks.releases, __ATOMIC_SEQ_CST);
        Held* spare[2] = {};
        for (Held*& node : spare) {
            auto made = arena::create<Held>();
            if (!made.ok()) {
                if (spare[0] != nullptr) arena::destroy(spare[0]);
                return Failure{Errno::nolck};
            }
            node = made.value();
        }
        Held* blocker;
        bool cycle = false;
        const void* holder = nullptr;
        {
            Guard guard{locks.lock};
            blocker = conflict(locks, key, range);
            if (blocker == nullptr) {
                apply(locks, key, range, spare);
            } else {
                holder = blocker->owner;
                cycle = wait && sort == LockSort::posix && deadlock(locks, key.owner, holder);
            }
        }
        for (Held* node : spare)
            if (node != nullptr) arena::destroy(node);
        if (blocker == nullptr) {
            wake(locks);
            return {};
        }
        if (!wait) return Failure{Errno::again};
        if (cycle) return Failure{Errno::deadlk};
        auto* note = TRY(arena::create<Waiting>(waiting));
        note->holder = holder;
        {
            Guard guard{locks.lock};
            note->next = locks.waiting;
            locks.waiting = note;
        }
        auto woken = wait_until(thread, locks.queue, kPollIn, gate::kForever,
                                [&locks, seen] { return __atomic_load_n(&locks.releases, __ATOMIC_SEQ_CST) != seen; });
        {
            Guard guard{locks.lock};
            for (Waiting** at = &locks.waiting; *at != nullptr; at = &(*at)->next)
                if (*at == note) {
                    *at = note->next;
                    break;
                }
        }
        arena::destroy(note);
        if (!woken.ok()) return Failure{woken.error()};
    }
}

Res<void> lock_test(Thread& thread, File& file, LockSort sort, LockRange& range) {
    LockTable& locks = *TRY(table());
    Stat stat;
    TRY(file.stat(thread, stat));
    Key key{stat.st_dev, stat.st_ino, owner_of(thread, file, sort), sort};
    Guard guard{locks.lock};
    Held* held = conflict(locks, key, range);
    if (held == nullptr) {
        range.type = LockType::none;
        return {};
    }
    range = held->range;
    if (held->sort != LockSort::posix) range.pid = ~0u;
    return {};
}

void locks_descriptor_closed(FdTable& owner, File& file) {
    if (g_locks == nullptr) return;
    Stat stat;
    if (!file.stat(current_thread(), stat).ok()) return;
    drop_if(*g_locks, [&](const Held& held) {
        return held.owner == &owner && held.device == stat.st_dev && held.inode == stat.st_ino;
    });
}

void locks_drop_owner(const void* owner) {
    if (g_locks == nullptr) return;
    drop_if(*g_locks, [owner](const Held& held) { return held.owner == owner; });
}

Res<void> locks_initialize() {
    TRY(table());
    return {};
}

}  // namespace postern::libos
