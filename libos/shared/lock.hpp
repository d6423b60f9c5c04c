// SPDX-License-Identifier: Apache-2.0
// Locks in shared memory that survive the death of their holder.
//
// A holder is named by its host thread number. A waiter that finds the holder's process on the host's list of deaths
// runs the holder's undo log and takes the lock over. Code under a lock changes several words through `Undo`, or
// commits with one store. Locks are held for short, bounded, non-blocking work only; library-OS code is never
// interrupted by signals, so a lock may be taken anywhere below a system call. Order: see each lock's declaration.
#pragma once

#include "libos/errno.hpp"

namespace postern::libos {

class SharedLock {
public:
    void lock();
    void unlock();
    bool try_lock();
    bool held() const { return (word_ & kOwnerMask) != 0; }

private:
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

}  // namespace postern::libos
