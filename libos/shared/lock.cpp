// SPDX-License-Identifier: Apache-2.0
// SharedLock, undo logs, and the registry that leads from a holder to its picoprocess.
#include "libos/shared/lock.hpp"

#include "libos/shared/layout.hpp"
#include "libos/shared/self.hpp"

namespace postern::libos {

using arena::Header;
using arena::Holder;
using arena::UndoLog;
using arena::UndoRecord;

namespace {

constexpr u32 kSpins = 200;            // about as long as the longest critical section
constexpr u64 kPatience = 50'000'000;  // nanoseconds between looks at whether the holder still lives

bool died_since(u32 process, u32 since) {
    const volatile u32* deaths = g_parameters->deaths;
    if (deaths == nullptr) return false;
    u32 count = deaths[0];
    if (count - since > gate::kDeathsCapacity) since = count - gate::kDeathsCapacity;
    for (u32 index = since; index != count; ++index)
        if (deaths[1 + index % gate::kDeathsCapacity] == process) return true;
    return false;
}

/// A thread joins before its first lock, so a number that nobody bears belonged to a thread that is gone.
bool is_dead(u32 thread) {
    Header& header = arena::header();
    if (header.holders == nullptr) return false;
    u64 high = header.holder_high;
    for (u64 index = 0; index < high; ++index) {
        Holder& holder = header.holders[index];
        if (holder.thread == thread) return died_since(holder.process, holder.deaths);
    }
    return true;
}

void undo(UndoRecord& record) {
    if (record.word != nullptr)
        *record.word = record.value;
    else if (record.count != 0)
        arena::set_page_bits(record.first, record.count, false);
}

/// Runs the records of `lock` in all logs but the caller's, newest first. Only a dead holder can have left any.
void replay(SharedLock& lock) {
    Header& header = arena::header();
    if (header.holders == nullptr) return;
    u64 high = header.holder_high;
    for (u64 index = 0; index < high; ++index) {
        if (self::slot() == index + 1) continue;
        UndoLog& log = header.logs[index];
        for (u64 at = log.used; at-- > 0;) {
            UndoRecord& record = log.records[at];
            if (record.lock != &lock) continue;
            undo(record);
            record.lock = nullptr;
        }
    }
}

/// Drops the caller's records of one lock. They are the newest unless locks were released out of order.
void forget(SharedLock& lock) {
    UndoLog& log = arena::header().logs[self::slot() - 1];
    u64 used = log.used;
    while (used > 0 && (log.records[used - 1].lock == &lock || log.records[used - 1].lock == nullptr)) --used;
    for (u64 at = 0; at < used; ++at)
        if (log.records[at].lock == &lock) log.records[at].lock = nullptr;
    log.used = used;
    self::undo_count() = used;
}

UndoRecord* next_record(SharedLock& lock) {
    if (self::slot() == 0) return nullptr;  // the first picoprocess's start: nobody else is there yet
    UndoLog& log = arena::header().logs[self::slot() - 1];
    if (log.used == arena::kUndoRecords) return nullptr;
    UndoRecord& record = log.records[log.used];
    record.lock = &lock;
    return &record;
}

void commit_record() {
    UndoLog& log = arena::header().logs[self::slot() - 1];
    asm volatile("" ::: "memory");  // stores become visible in program order; only the compiler could change it
    log.used = log.used + 1;
    self::undo_count() = log.used;
    asm volatile("" ::: "memory");
}

SharedLock* g_fork_locks[16];
u32 g_fork_lock_count;

}  // namespace

bool SharedLock::try_lock() {
    u32 expected = 0;
    return __atomic_compare_exchange_n(&word_, &expected, self::id(), false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

void SharedLock::lock() {
    if (!try_lock()) [[unlikely]]
        lock_slowly();
}

void SharedLock::lock_slowly() {
    for (u32 spin = 0; spin < kSpins; ++spin) {
        if (word_ == 0 && try_lock()) return;
        __builtin_ia32_pause();
    }
    u32 id = self::id();
    for (;;) {
        u32 seen = word_;
        if ((seen & kOwnerMask) == 0) {
            // Others may sleep: the bit stays, so that unlock wakes the next one.
            if (__atomic_compare_exchange_n(&word_, &seen, id | kWaiters, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
                return;
            continue;
        }
        if ((seen & kWaiters) == 0 &&
            !__atomic_compare_exchange_n(&word_, &seen, seen | kWaiters, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            continue;
        u64 now = 0;
        g_gate->DkSystemTimeQuery(gate::Clock::monotonic, &now);
        gate::Err error =
            g_gate->DkAddressWait(const_cast<u32*>(&word_), seen | kWaiters, now + kPatience, gate::kAddressShared);
        if (error == gate::Err::timed_out && take_over()) return;
        // A pending interrupt must not turn this into a busy loop; it is acted on on the way out.
        if (error == gate::Err::interrupted) {
            if ((word_ & kOwnerMask) != 0) g_gate->DkThreadYieldExecution();
            if ((word_ & kOwnerMask) != 0 && take_over()) return;
        }
    }
}

void SharedLock::unlock() {
    if (self::undo_count() != 0) [[unlikely]]
        forget(*this);
    u32 old = __atomic_exchange_n(&word_, 0, __ATOMIC_RELEASE);
    if ((old & kWaiters) != 0) [[unlikely]] {
        u32 woken;
        g_gate->DkAddressWake(const_cast<u32*>(&word_), 1, gate::kAddressShared, nullptr, 0, 0, &woken);
    }
}

bool SharedLock::take_over() {
    u32 seen = word_;
    u32 owner = seen & kOwnerMask;
    if (owner == 0 || owner == self::id() || !is_dead(owner)) return false;
    if (!__atomic_compare_exchange_n(&word_, &seen, self::id() | kWaiters, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return false;
    replay(*this);
    return true;
}

void undo_record(SharedLock& lock, u64* word) {
    UndoRecord* record = next_record(lock);
    if (record == nullptr) return;
    record->word = word;
    record->value = *word;
    commit_record();
}

void arena::undo_record_pages(SharedLock& lock, u64 first, u64 count) {
    UndoRecord* record = next_record(lock);
    if (record == nullptr) return;
    record->word = nullptr;
    record->first = first;
    record->count = count;
    commit_record();
}

void undo_commit(SharedLock& lock) {
    if (self::undo_count() != 0) forget(lock);
}

void undoable_insert(SharedLock& lock, ListLink& before, ListLink& link) {
    ListLink* after = before.next;
    set_undoable(lock, link.previous, &before);
    set_undoable(lock, link.next, after);
    set_undoable(lock, after->previous, &link);
    set_undoable(lock, before.next, &link);
}

void undoable_unlink(SharedLock& lock, ListLink& link) {
    if (!link.linked()) return;
    set_undoable(lock, link.previous->next, link.next);
    set_undoable(lock, link.next->previous, link.previous);
    set_undoable(lock, link.next, static_cast<ListLink*>(nullptr));
    set_undoable(lock, link.previous, static_cast<ListLink*>(nullptr));
}

void locks_join(u32 process_id) {
    Header& header = arena::header();
    u32 id = self::id();
    for (u64 index = 0; index < header.holder_count; ++index) {
        Holder& holder = header.holders[index];
        u32 expected = 0;
        if (holder.thread != 0 ||
            !__atomic_compare_exchange_n(&holder.thread, &expected, id, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
            continue;
        // Until `process` is written a death is not noticed; then the number is on the list already, and counts.
        holder.deaths = g_parameters->deaths != nullptr ? g_parameters->deaths[0] : 0;
        holder.process = process_id;
        header.logs[index].used = 0;
        u64 high = header.holder_high;
        while (high < index + 1 && !__atomic_compare_exchange_n(&header.holder_high, &high, index + 1, false,
                                                                __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
        }
        self::slot() = index + 1;
        self::undo_count() = 0;
        return;
    }
    // More threads than the family's limit cannot exist: the registry has room for that limit and more.
    self::slot() = 0;
    self::undo_count() = 0;
}

void locks_leave() {
    if (self::slot() == 0) return;
    Holder& holder = arena::header().holders[self::slot() - 1];
    holder.process = 0;
    __atomic_store_n(&holder.thread, 0, __ATOMIC_RELEASE);
    self::slot() = 0;
}

void locks_bury(u32 process_id) {
    Header& header = arena::header();
    u64 high = header.holder_high;
    for (u64 index = 0; index < high; ++index) {
        Holder& holder = header.holders[index];
        if (holder.thread == 0 || holder.process != process_id) continue;
        UndoLog& log = header.logs[index];
        for (u64 at = log.used; at-- > 0;) {
            SharedLock* lock = log.records[at].lock;
            if (lock != nullptr && lock->owner() == holder.thread && lock->take_over()) lock->unlock();
        }
        log.used = 0;
        holder.process = 0;
        __atomic_store_n(&holder.thread, 0, __ATOMIC_RELEASE);
    }
}

void protect_over_fork(SharedLock& lock) {
    for (u32 index = 0; index < g_fork_lock_count; ++index)
        if (g_fork_locks[index] == &lock) return;
    if (g_fork_lock_count == 16) panic("too many locks to protect over fork");
    g_fork_locks[g_fork_lock_count++] = &lock;
}

void locks_before_fork() {
    for (u32 index = 0; index < g_fork_lock_count; ++index) g_fork_locks[index]->lock();
}

void locks_after_fork_parent() {
    for (u32 index = g_fork_lock_count; index-- > 0;) g_fork_locks[index]->unlock();
}

void locks_after_fork_child() {
    for (u32 index = 0; index < g_fork_lock_count; ++index) g_fork_locks[index]->reset_after_fork();
}

}  // namespace postern::libos
