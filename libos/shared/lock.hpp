// SPDX-License-Identifier: Apache-2.0
// Locks in shared memory that survive the death of their holder.
//
// A holder is named by its host thread number. A waiter that finds the holder's process on the host's list of deaths
// runs the holder's undo log and takes the lock over. Code under a lock changes several words through `Undo`, or
// commits with one store. Locks are held for short, bounded, non-blocking work only; library-OS code is never
// interrupted by signals, so a lock may be taken anywhere below a system call. Order: see each lock's declaration.
#pragma once

#include "base/list.hpp"
#include "libos/errno.hpp"

namespace postern::libos {

class SharedLock {
public:
    void lock();
    void unlock();
    bool try_lock();
    bool held() const { return (word_ & kOwnerMask) != 0; }
    u32 owner() const { return word_ & kOwnerMask; }
    /// In a fork's child, for a lock in private memory that the forking thread held: opens the copy.
    void reset_after_fork() { word_ = 0; }
    /// Takes the lock over if its holder is dead, and undoes what that left half done. False: it lives, or another
    /// thread was faster.
    bool take_over();

private:
    void lock_slowly();
    static constexpr u32 kWaiters = 0x8000'0000;
    static constexpr u32 kOwnerMask = 0x7fff'ffff;
    volatile u32 word_ = 0;  ///< host thread number of the holder, kWaiters
};

class Guard {
public:
    explicit Guard(SharedLock& lock) : lock_{lock} { lock_.lock(); }
    ~Guard() { lock_.unlock(); }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

private:
    SharedLock& lock_;
};

/// Writes a word and remembers the old value in the calling thread's undo log until its lock is released.
void undo_record(SharedLock& lock, u64* word);
template <class T>
void set_undoable(SharedLock& lock, T& word, T value) {
    static_assert(sizeof(T) == 8);
    undo_record(lock, reinterpret_cast<u64*>(&word));
    word = value;
}

/// What was changed so far is whole: a takeover keeps it. For long work under one lock, step by step.
void undo_commit(SharedLock& lock);

/// List changes that a takeover of `lock` undoes: a list is never seen half linked.
void undoable_insert(SharedLock& lock, ListLink& before, ListLink& link);
void undoable_unlink(SharedLock& lock, ListLink& link);
template <class T, ListLink T::*Link>
void undoable_push_back(SharedLock& lock, List<T, Link>& list, T& element) {
    undoable_insert(lock, *list.end_link().previous, element.*Link);
}

/// Every thread joins before its first lock and leaves after its last: that is how a holder's number leads to the
/// picoprocess whose death matters. `process_id` is the host's number, as in the list of deaths.
void locks_join(u32 process_id);
void locks_leave();
/// Undoes and opens what the dead picoprocess's threads held with undo records; afterwards its numbers are unknown,
/// and unknown holders count as dead.
void locks_bury(u32 process_id);

/// A lock in private memory that other threads of this picoprocess may hold while one forks: taken for the fork.
/// At most 16 registrations, in lock order; registered for the picoprocess and its forks.
void protect_over_fork(SharedLock& lock);
void locks_before_fork();
void locks_after_fork_parent();
void locks_after_fork_child();

}  // namespace postern::libos
