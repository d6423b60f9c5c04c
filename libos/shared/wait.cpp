// SPDX-License-Identifier: Apache-2.0
// Wait queues and sleeping. A thread's wake word says all that a waker must know:
//   0 awake and not woken, 1 woken, 2 asleep on the word, 3 asleep in the host with streams.
// A waker exchanges it for 1 and makes a gate call only for 2 and 3, so a wake-up between a sleeper's last look at its
// condition and its sleep is never lost: the sleeper's own exchange of 0 for 2 or 3 fails.
#include "libos/shared/wait.hpp"

#include "libos/ipc/async.hpp"
#include "libos/process/process.hpp"
#include "libos/shared/arena.hpp"
#include "libos/signal/delivery.hpp"

namespace postern::libos {

namespace {

constexpr u32 kAwake = 0, kWoken = 1, kOnWord = 2, kOnStreams = 3;

void rouse(Thread& thread, u32 was) {
    if (was == kOnWord) {
        u32 woken;
        g_gate->DkAddressWake(&thread.wake_word, 1, gate::kAddressShared, nullptr, 0, 0, &woken);
    } else if (was == kOnStreams) {
        g_gate->DkThreadInterrupt(thread.token);
    }
}

}  // namespace

void wake_thread(Thread& thread) { rouse(thread, __atomic_exchange_n(&thread.wake_word, kWoken, __ATOMIC_SEQ_CST)); }

void notify_thread(Thread& thread, u32 attention) {
    __atomic_or_fetch(&thread.attention, attention, __ATOMIC_SEQ_CST);
    if (thread.control == gate::thread_control() && &thread == &current_thread()) {
        // Between two sleeps of one wait, for the host's requests: who waits for the signal itself has to look.
        if (thread.waiting_mask != 0) __atomic_store_n(&thread.wake_word, kWoken, __ATOMIC_SEQ_CST);
        return;
    }
    u32 was = __atomic_exchange_n(&thread.wake_word, kWoken, __ATOMIC_SEQ_CST);
    // Awake: it may run program code or be in a gate call of some file, and both end by an interrupt.
    if (was == kAwake || was == kWoken) {
        if (thread.token.value != 0) g_gate->DkThreadInterrupt(thread.token);
    } else {
        rouse(thread, was);
    }
}

void WaitQueue::add(WaitEntry& entry, u32 events) {
    Guard guard{lock_};
    // The count is raised before and lowered after: a death in between leaves it too high, which costs a look, and
    // never too low, which would lose wake-ups.
    __atomic_add_fetch(&waiters_, 1, __ATOMIC_SEQ_CST);
    entry.events = events;
    entry.queue = this;
    undoable_push_back(lock_, entries_, entry);
}

void WaitQueue::remove(WaitEntry& entry) {
    Guard guard{lock_};
    if (!entry.link.linked()) return;
    undoable_unlink(lock_, entry.link);
    entry.queue = nullptr;
    __atomic_sub_fetch(&waiters_, 1, __ATOMIC_SEQ_CST);
}

void WaitQueue::wake_slow(u32 events) {
    constexpr u32 kBatch = 16;
    Thread* asleep[kBatch];
    u32 was[kBatch];
    u32 count = 0;
    {
        Guard guard{lock_};
        bool one_woken = false;
        for (WaitEntry* entry = entries_.front(); entry != nullptr; entry = entries_.next(*entry)) {
            if (entry->exclusive != 0 && one_woken) continue;
            bool woke = true;
            if (((entry->events | kPollErr | kPollHup) & events) == 0) continue;
            if (entry->notify != nullptr) {
                woke = entry->notify(*entry, events);
            } else if (entry->thread != nullptr) {
                u32 old = __atomic_exchange_n(&entry->thread->wake_word, kWoken, __ATOMIC_SEQ_CST);
                if (old == kOnWord || old == kOnStreams) {
                    if (count == kBatch) {
                        rouse(*entry->thread, old);
                    } else {
                        asleep[count] = entry->thread;
                        was[count++] = old;
                    }
                }
            }
            if (entry->exclusive != 0) one_woken = woke;
        }
    }
    // Sleepers take this queue's lock first thing: they are roused after it is free. Threads are never unmapped, so a
    // rouse that comes late hits a thread that does not mind.
    for (u32 index = 0; index < count; ++index) rouse(*asleep[index], was[index]);
}

Blocker::Blocker(Thread& thread) : thread_{thread} {}

Blocker::~Blocker() {
    __atomic_exchange_n(&thread_.wake_word, kAwake, __ATOMIC_SEQ_CST);
    thread_.block_mode = BlockMode::running;
}

void Blocker::prepare() { __atomic_exchange_n(&thread_.wake_word, kAwake, __ATOMIC_SEQ_CST); }

Res<void> Blocker::wait(gate::Deadline deadline, gate::WaitItem* items, u32 count) {
    if (thread_.noted_signals != nullptr) [[unlikely]]
        async_send_noted(thread_);
    u32 sleeping = count == 0 ? kOnWord : kOnStreams;
    thread_.block_mode = count == 0 ? BlockMode::on_word : BlockMode::on_streams;
    u32 expected = kAwake;
    if (!__atomic_compare_exchange_n(&thread_.wake_word, &expected, sleeping, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST)) {
        thread_.block_mode = BlockMode::running;
        // A wake-up by a signal also sets the word; the caller's next round must not sleep on it.
        if (interrupted(thread_)) return Failure{Errno::restart_sys};
        return {};
    }
    Res<void> result{};
    for (;;) {
        if (interrupted(thread_)) {
            result = Failure{Errno::restart_sys};
            break;
        }
        gate::Err error;
        u32 ready = 0;
        if (count == 0)
            error = g_gate->DkAddressWait(&thread_.wake_word, kOnWord, deadline, gate::kAddressShared);
        else
            error = g_gate->DkObjectsWaitReady(count, items, deadline, &ready);
        if (error == gate::Err::interrupted) take_interrupts();
        if (count != 0 && error == gate::Err::ok && ready != 0) break;
        if (__atomic_load_n(&thread_.wake_word, __ATOMIC_SEQ_CST) == kWoken) {
            if (interrupted(thread_)) result = Failure{Errno::restart_sys};
            break;
        }
        if (error == gate::Err::timed_out) {
            result = Failure{Errno::timedout};
            break;
        }
        if (error != gate::Err::ok && error != gate::Err::interrupted && error != gate::Err::would_block) {
            result = Failure{to_errno(error)};
            break;
        }
    }
    __atomic_exchange_n(&thread_.wake_word, kAwake, __ATOMIC_SEQ_CST);
    thread_.block_mode = BlockMode::running;
    return result;
}

Res<WaitEntry*> wait_entry_acquire(Thread& thread) {
    if (thread.wait_entry_used == 0) {
        thread.wait_entry_used = 1;
        thread.wait_entry.notify = nullptr;
        thread.wait_entry.exclusive = 0;
        return &thread.wait_entry;
    }
    WaitEntry* entry = TRY(arena::create<WaitEntry>());
    entry->next_extra = thread.more_entries;
    thread.more_entries = entry;
    return entry;
}

void wait_entry_release(Thread& thread, WaitEntry& entry) {
    if (&entry == &thread.wait_entry) {
        thread.wait_entry_used = 0;
        return;
    }
    for (WaitEntry** at = &thread.more_entries; *at != nullptr; at = &(*at)->next_extra) {
        if (*at != &entry) continue;
        *at = entry.next_extra;
        break;
    }
    arena::destroy(&entry);
}

}  // namespace postern::libos
