// SPDX-License-Identifier: Apache-2.0
// System V semaphore sets: values, sleepers in order of arrival, and what a process's end takes back (SEM_UNDO).
//
// Whoever changes a set performs the operations of sleepers that have become possible, as Linux does: a sleeper wakes
// up with its outcome decided. Changes of many words (an operation may have 500) go through a journal that the next
// owner of the lock finishes when a process was killed in between.
#pragma once

#include "libos/sysv/objects.hpp"

namespace postern::libos {

inline constexpr i32 kSemaphoreMost = 32767;  // SEMVMX
inline constexpr u32 kOperationMost = 500;    // SEMOPM

struct SemaphoreSet;

/// One process's adjustments to one set.
struct SemaphoreUndo {
    ListLink link;  ///< in the set
    Process* process = nullptr;
    u32 count = 0;
    i64 adjust[1];  ///< `count` of them
    static usize bytes(u32 count) { return sizeof(SemaphoreUndo) + (count - 1) * sizeof(i64); }
};

struct SemaphoreSleeper : SysvWaiter {
    SemaphoreSet* set = nullptr;
    SemaphoreUndo* undo = nullptr;
    u32 pid = 0;
    u32 count = 0;
    u32 blocking = 0;  ///< index of the operation that cannot be done
    u32 alters = 0;
    sembuf operations[1];
    static usize bytes(u32 count) { return sizeof(SemaphoreSleeper) + (count - 1) * sizeof(sembuf); }
};

struct SemaphoreSet : SysvObject {
    struct Semaphore {
        u64 word = 0;  ///< value, and who changed it last above
        i32 value() const { return static_cast<i32>(static_cast<u32>(word)); }
        u32 pid() const { return static_cast<u32>(word >> 32); }
        static u64 make(i32 value, u32 pid) { return u64{pid} << 32 | static_cast<u32>(value); }
    };
    u64 operated = 0;  ///< otime, seconds
    u32 count = 0;
    List<SysvWaiter, &SysvWaiter::link> sleepers;
    List<SemaphoreUndo, &SemaphoreUndo::link> undos;
    Semaphore semaphores[1];
    static usize bytes(u32 count) { return sizeof(SemaphoreSet) + (count - 1) * sizeof(Semaphore); }
};

/// The table's lock with the journal behind it: an interrupted change is finished first.
class SemaphoreGuard {
public:
    explicit SemaphoreGuard(SysvTable& table);
    ~SemaphoreGuard() { table_.lock.unlock(); }
    SemaphoreGuard(const SemaphoreGuard&) = delete;
    SemaphoreGuard& operator=(const SemaphoreGuard&) = delete;

private:
    SysvTable& table_;
};

Res<void> prepare_journal();  ///< before the first set is made

// Lock held.

/// Tries all operations at once. Errno::again: some would block (`blocking` says which, and `would_wait` whether that
/// one may); Errno::range. Nothing changes unless all succeed.
Res<void> perform(SemaphoreSet& set, const sembuf* operations, u32 count, u32 pid, SemaphoreUndo* undo, u32& blocking,
                  bool& would_wait);
/// Does what sleepers wait for, until none of them can go on.
void serve_sleepers(SysvTable& table, SemaphoreSet& set);
void set_value(SemaphoreSet& set, u32 index, i32 value, u32 pid);
/// Frees everything that belongs to a set that is out of the table; its sleepers answer EIDRM.
void destroy_set(SysvTable& table, SemaphoreSet& set);

}  // namespace postern::libos
