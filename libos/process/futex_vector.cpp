// SPDX-License-Identifier: Apache-2.0
// futex_waitv(2) and the other calls of futex's second form. The gate waits on one word; who waits for several sleeps
// as for any file, and whoever wakes a word looks for it in a list of the family's.
#include "base/memory.hpp"
#include "libos/fs/file.hpp"
#include "libos/memory/space.hpp"
#include "libos/process/calls.hpp"
#include "libos/process/futex.hpp"
#include "libos/process/table.hpp"
#include "libos/shared/roots.hpp"
#include "libos/time/timers.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u32 kMostWaiters = 128;
constexpr u32 kSizeMask = 3, kSize32 = 2, kPrivate = 128;

struct UserWaiter {  // struct futex_waitv
    u64 value, address;
    u32 flags, reserved;
};

/// Where a word is, the same for everybody who shares it.
struct WordPlace {
    u64 object = 0, more = 0;  ///< picoprocess, or what is mapped
    u64 offset = 0;
    bool operator==(const WordPlace&) const = default;
};

struct Word {
    WordPlace place;
    u64 address;
    u32 expected;
    u32 is_private;
};

}  // namespace

/// In the arena, for the length of one call.
struct VectorWaiter {
    ListLink link;
    Thread* thread = nullptr;
    u32 count = 0;
    volatile i32 woken = -1;
    Word words[kMostWaiters];
};

namespace {

struct VectorTable {
    u64 waiters = 0;  ///< first: looked at without the lock
    SharedLock lock;
    List<VectorWaiter, &VectorWaiter::link> all;
};

WordPlace place_of(Thread& thread, u64 address, bool is_private) {
    const Process& process = *thread.process;
    WordPlace place{process.carrier_id, 0, address};
    if (is_private) return place;
    File* file = nullptr;
    u64 offset = 0;
    {
        Guard guard{process.space->lock()};
        const Mapping* mapping = process.space->at_or_above(address);
        if (mapping == nullptr || mapping->start > address || mapping->shared == 0 || mapping->file == nullptr)
            return place;
        file = mapping->file;
        file->reference();
        offset = mapping->offset + (address - mapping->start);
    }
    Stat stat;
    const bool named = file->inode != nullptr || file->path != nullptr;
    if (named && file->stat(thread, stat).ok())
        place = {stat.st_dev, stat.st_ino, offset};
    else
        place = {reinterpret_cast<u64>(file), 1, offset};
    file->release();
    return place;
}

VectorTable* table_if_made() { return arena::root_if_made<VectorTable>(kRootVectorFutexes); }

void leave(VectorTable& table, VectorWaiter& waiter) {
    Guard guard{table.lock};
    if (!waiter.link.linked()) return;
    undoable_unlink(table.lock, waiter.link);
    set_undoable(table.lock, table.waiters, table.waiters - 1);
}

Res<void> parse(Thread& thread, u64 user, u32 count, VectorWaiter& waiter) {
    for (u32 index = 0; index < count; ++index) {
        auto given = TRY(read_user<UserWaiter>(user + index * sizeof(UserWaiter)));
        if ((given.flags & ~(kSizeMask | kPrivate)) != 0 || given.reserved != 0) return Failure{Errno::inval};
        if ((given.flags & kSizeMask) != kSize32 || given.value >> 32 != 0) return Failure{Errno::inval};
        Word& word = waiter.words[index];
        word.address = given.address;
        word.expected = static_cast<u32>(given.value);
        word.is_private = (given.flags & kPrivate) != 0 ? 1 : 0;
    }
    waiter.count = count;
    for (u32 index = 0; index < count; ++index) {
        Word& word = waiter.words[index];
        if ((word.address & 3) != 0) return Failure{Errno::inval};
        (void)TRY(load_user_u32(word.address));
        word.place = place_of(thread, word.address, word.is_private != 0);
    }
    return {};
}

Res<void> clock_deadline(u64 timeout, u32 clock, u64& deadline, bool& realtime) {
    deadline = gate::kForever;
    realtime = false;
    if (timeout == 0) return {};
    if (clock > 1) return Failure{Errno::inval};  // CLOCK_REALTIME, CLOCK_MONOTONIC
    auto time = TRY(read_user<TimeSpec>(timeout));
    deadline = TRY(to_nanoseconds(time));
    realtime = clock == 0;
    return {};
}

Res<i64> wait_for_any(Thread& thread, VectorTable& table, VectorWaiter& waiter, u64 deadline) {
    {
        Guard guard{table.lock};
        undoable_push_back(table.lock, table.all, waiter);
        set_undoable(table.lock, table.waiters, table.waiters + 1);
    }
    Blocker blocker{thread};
    for (;;) {
        blocker.prepare();
        if (waiter.woken >= 0) return waiter.woken;
        // After the entry in the list: who changed a word before this look finds it or is seen by it.
        for (u32 index = 0; index < waiter.count; ++index) {
            u32 value = TRY(load_user_u32(waiter.words[index].address));
            if (value == waiter.words[index].expected) continue;
            if (waiter.woken >= 0) return waiter.woken;
            return Failure{Errno::again};
        }
        auto waited = blocker.wait(deadline);
        if (waiter.woken >= 0) return waiter.woken;
        TRY(std::move(waited));
    }
}

void count_words(const VectorWaiter& waiter, u32 change) {
    for (u32 index = 0; index < waiter.count; ++index) {
        const Word& word = waiter.words[index];
        __atomic_add_fetch(&futex::bucket(word.address, word.is_private != 0), change, __ATOMIC_SEQ_CST);
    }
}

struct Flags {
    bool is_private;
};
Res<Flags> parse_flags(u32 flags, u64 value) {
    if ((flags & ~(kSizeMask | kPrivate)) != 0 || (flags & kSizeMask) != kSize32) return Failure{Errno::inval};
    if (value >> 32 != 0) return Failure{Errno::inval};
    return Flags{(flags & kPrivate) != 0};
}

}  // namespace

namespace futex {

u32 wake_vectors(u64 address, u32 count, bool is_private) {
    VectorTable* table = table_if_made();
    if (table == nullptr || __atomic_load_n(&table->waiters, __ATOMIC_SEQ_CST) == 0) return 0;
    const WordPlace place = place_of(current_thread(), address, is_private);
    u32 woken = 0;
    Guard guard{table->lock};
    for (VectorWaiter* waiter = table->all.front(); waiter != nullptr && woken < count;
         waiter = table->all.next(*waiter)) {
        if (waiter->woken >= 0) continue;
        for (u32 index = 0; index < waiter->count; ++index) {
            const Word& word = waiter->words[index];
            if ((word.is_private != 0) != is_private || !(word.place == place)) continue;
            waiter->woken = static_cast<i32>(index);
            wake_thread(*waiter->thread);
            ++woken;
            break;
        }
    }
    return woken;
}

void forget_vector(Thread& thread) {
    VectorWaiter* waiter = thread.vector_waiter;
    thread.vector_waiter = nullptr;
    if (waiter == nullptr || table_if_made() == nullptr) return;
    leave(*table_if_made(), *waiter);
    arena::destroy(waiter);
}

}  // namespace futex

Res<i64> sys_futex_waitv(Thread& thread, Arguments arguments) {
    const u32 count = static_cast<u32>(arguments[1]);
    if (static_cast<u32>(arguments[2]) != 0) return Failure{Errno::inval};
    if (count == 0 || count > kMostWaiters || arguments[0] == 0) return Failure{Errno::inval};
    u64 deadline;
    bool realtime;
    TRY(clock_deadline(arguments[3], static_cast<u32>(arguments[4]), deadline, realtime));
    if (realtime) {
        const u64 now = realtime_now();
        deadline = deadline > now ? monotonic_now() + (deadline - now) : 0;
    }
    VectorTable& table = *TRY(arena::root<VectorTable>(kRootVectorFutexes));
    auto* waiter = TRY(arena::create<VectorWaiter>());
    waiter->thread = &thread;
    thread.vector_waiter = waiter;
    auto parsed = parse(thread, arguments[0], count, *waiter);
    if (!parsed.ok()) {
        futex::forget_vector(thread);
        return Failure{parsed.error()};
    }
    count_words(*waiter, 1);
    Res<i64> result = wait_for_any(thread, table, *waiter, deadline);
    count_words(*waiter, ~0u);
    futex::forget_vector(thread);
    return result;
}

Res<i64> sys_futex_wake(Thread&, Arguments arguments) {
    const Flags flags = TRY(parse_flags(static_cast<u32>(arguments[3]), arguments[1]));
    const u32 mask = static_cast<u32>(arguments[1]);
    if ((arguments[0] & 3) != 0 || mask == 0) return Failure{Errno::inval};
    if (static_cast<i32>(arguments[2]) <= 0) return 0;
    return futex::wake(arguments[0], static_cast<u32>(arguments[2]), flags.is_private, mask);
}

Res<i64> sys_futex_wait(Thread& thread, Arguments arguments) {
    const Flags flags = TRY(parse_flags(static_cast<u32>(arguments[3]), arguments[1]));
    if (arguments[2] >> 32 != 0) return Failure{Errno::inval};
    u64 deadline;
    bool realtime;
    TRY(clock_deadline(arguments[4], static_cast<u32>(arguments[5]), deadline, realtime));
    if (static_cast<u32>(arguments[2]) == 0 || (arguments[0] & 3) != 0) return Failure{Errno::inval};
    return futex::wait_until(thread, arguments[0], static_cast<u32>(arguments[1]), flags.is_private, deadline,
                             realtime);
}

Res<i64> sys_futex_requeue(Thread&, Arguments arguments) {
    if (static_cast<u32>(arguments[1]) != 0 || arguments[0] == 0) return Failure{Errno::inval};
    UserWaiter pair[2];
    for (u32 index = 0; index < 2; ++index) {
        pair[index] = TRY(read_user<UserWaiter>(arguments[0] + index * sizeof(UserWaiter)));
        if (pair[index].reserved != 0) return Failure{Errno::inval};
        const Flags flags = TRY(parse_flags(pair[index].flags, pair[index].value));
        if (flags.is_private != ((pair[0].flags & kPrivate) != 0)) return Failure{Errno::inval};
    }
    const i32 wakes = static_cast<i32>(arguments[2]), moves = static_cast<i32>(arguments[3]);
    if (wakes < 0 || moves < 0 || (pair[0].address & 3) != 0 || (pair[1].address & 3) != 0)
        return Failure{Errno::inval};
    return futex::requeue(pair[0].address, pair[1].address, static_cast<u32>(wakes), static_cast<u32>(moves),
                          (pair[0].flags & kPrivate) != 0, true, static_cast<u32>(pair[0].value));
}

}  // namespace postern::libos
