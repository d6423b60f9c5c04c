// SPDX-License-Identifier: Apache-2.0
// Blocking: threads wait on queues in the arena, on host streams, or on both at once, and are woken by each other.
//
// A thread that waits only for arena objects sleeps on its own wake word. One that also waits for host streams sleeps
// in DkObjectsWaitReady and is woken by DkThreadInterrupt. Which of the two is recorded in the Thread, so wakers know.
#pragma once

#include "base/list.hpp"
#include "libos/errno.hpp"
#include "libos/gate.hpp"
#include "libos/shared/lock.hpp"

namespace postern::libos {

struct Thread;
class WaitQueue;

/// EPOLL*/POLL* bits: numerically equal in Linux for IN, PRI, OUT, ERR, HUP, RDNORM, WRNORM, RDHUP.
enum PollBits : u32 {
    kPollIn = 1,
    kPollPri = 2,
    kPollOut = 4,
    kPollErr = 8,
    kPollHup = 16,
    kPollNval = 32,
    kPollRdNorm = 64,
    kPollRdBand = 128,
    kPollWrNorm = 256,
    kPollWrBand = 512,
    kPollRdHup = 0x2000,
};

/// One thread's (or one epoll set's) place in one queue. Lives in the arena while queued.
struct WaitEntry {
    ListLink link;
    WaitQueue* queue = nullptr;
    Thread* thread = nullptr;  ///< woken, unless `notify` is set
    u32 events = 0;            ///< PollBits of interest
    u32 exclusive = 0;         ///< woken one at a time
    /// Called instead of waking `thread`, with the queue locked: must not block (epoll's ready list). True: somebody
    /// was woken by it, so that of exclusive entries no other is needed.
    bool (*notify)(WaitEntry& entry, u32 events) = nullptr;
    u64 cookie = 0;
    WaitEntry* next_extra = nullptr;  ///< chain of the thread's entries beyond its embedded one
};

/// In the arena, zero-initialised. The queue's lock is a leaf, taken last.
class WaitQueue {
public:
    void add(WaitEntry& entry, u32 events);
    void remove(WaitEntry& entry);
    /// Wakes everybody interested in any of `events` (exclusive entries: only one). Cheap when nobody waits.
    void wake(u32 events) {
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (__atomic_load_n(&waiters_, __ATOMIC_RELAXED) != 0) wake_slow(events);
    }
    bool has_waiters() const { return __atomic_load_n(&waiters_, __ATOMIC_RELAXED) != 0; }

private:
    void wake_slow(u32 events);
    SharedLock lock_;
    u32 waiters_ = 0;
    List<WaitEntry, &WaitEntry::link> entries_;
};

/// Makes the calling thread wakeable, then: add to queues, check the condition, wait(), remove, repeat.
/// Typical use is `wait_until` below.
class Blocker {
public:
    explicit Blocker(Thread& thread);
    ~Blocker();
    /// Forgets wake-ups so far; conditions are checked after this and before wait().
    void prepare();
    /// Sleeps until woken. Errno::timedout at the deadline (Clock::monotonic), Errno::restart_sys when a signal that is
    /// not blocked (or a request to stop) is pending. Host streams in `items` (may be empty) end the wait as well.
    Res<void> wait(gate::Deadline deadline, gate::WaitItem* items = nullptr, u32 count = 0);

private:
    Thread& thread_;
};

/// Blocks until `condition()` holds. `condition` must be cheap and take no lock that wakers hold while waking.
template <class Condition>
Res<void> wait_until(Thread& thread, WaitQueue& queue, u32 events, gate::Deadline deadline, Condition condition);

/// A WaitEntry in the arena for the calling thread: its embedded one, or a fresh one when that is in use.
Res<WaitEntry*> wait_entry_acquire(Thread& thread);
void wait_entry_release(Thread& thread, WaitEntry& entry);

/// Wakes one thread out of Blocker::wait.
void wake_thread(Thread& thread);
/// Sets Attention bits and gets the thread out of wherever it is: sleep, gate call or program code.
void notify_thread(Thread& thread, u32 attention);

}  // namespace postern::libos

#include "libos/shared/wait_inline.hpp"
