// SPDX-License-Identifier: Apache-2.0
// Address waits, events and semaphores, and waiting for any mixture of objects.
//
// Events and semaphores are words of this picoprocess. Waits for them alone sleep on one sequence word that every
// change advances; waits that include streams sleep in ppoll(2) and are woken by the kick signal. Nothing else than
// wait loops looks at the sequence, and a change without waiters makes no host call.
#include <asm/poll.h>
#include <linux/futex.h>

#include "base/memory.hpp"
#include "host/linux/entry/calls.hpp"
#include "host/linux/entry/changes.hpp"
#include "host/linux/entry/handles.hpp"
#include "host/linux/entry/host_call.hpp"
#include "host/linux/entry/threads.hpp"

namespace postern::host {

using gate::ObjectKind;
using gate::Right;

namespace {

u32 change_sequence = 0;
u32 sequence_waiters = 0;
u32 poll_waiters = 0;
Handle abort_event = 0;

constexpr u32 kMaxItems = 4096;
constexpr u64 kSlice = 20'000'000;  // for objects whose changes the host announces to nobody: 20 ms
constexpr u32 kPollRdHup = 0x2000;

struct PollItem {
    i32 descriptor;
    i16 events;
    i16 result;
};

/// Ready bits now, from words of this picoprocess only; streams are asked by ppoll.
u32 ready_now(HandleEntry& entry) {
    switch (entry.kind) {
        case ObjectKind::event:
            if (entry.flags & kHandleChangeEvent) check_changes(entry);
            return __atomic_load_n(&entry.word, __ATOMIC_ACQUIRE) != 0 ? gate::kReadyRead : 0u;
        case ObjectKind::semaphore: return __atomic_load_n(&entry.word, __ATOMIC_ACQUIRE) != 0 ? gate::kReadyRead : 0u;
        case ObjectKind::process:
            if (!(entry.flags & kHandleDead) && on_deaths_list(entry.word)) entry.flags |= kHandleDead;
            return (entry.flags & kHandleDead) ? gate::kReadyRead : 0u;
        case ObjectKind::thread: {
            ThreadArea& area = thread_area(entry.word);
            return area.generation != entry.maximum || __atomic_load_n(&area.tid, __ATOMIC_ACQUIRE) == 0
                       ? gate::kReadyRead
                       : 0u;
        }
        default: return 0;
    }
}

bool is_stream(const HandleEntry& entry) {
    return entry.kind == ObjectKind::stream || (entry.kind == ObjectKind::event && (entry.flags & kHandleStreamEvent));
}
/// Streams without a descriptor (null:, link targets) are always ready.
u32 stream_ready_without_host(const HandleEntry& entry, u32 want) {
    return entry.descriptor < 0 ? want & (gate::kReadyRead | gate::kReadyWrite) : 0;
}

u32 to_ready(i16 events) {
    u32 ready = 0;
    if (events & POLLIN) ready |= gate::kReadyRead;
    if (events & POLLOUT) ready |= gate::kReadyWrite;
    if (events & (POLLERR | POLLNVAL)) ready |= gate::kReadyError;
    if (events & (POLLHUP | static_cast<i16>(kPollRdHup))) ready |= gate::kReadyHangup;
    if (events & POLLPRI) ready |= gate::kReadyPriority;
    return ready;
}
i16 to_events(u32 want) {
    i16 events = 0;
    if (want & gate::kReadyRead) events |= POLLIN;
    if (want & gate::kReadyWrite) events |= POLLOUT;
    if (want & gate::kReadyPriority) events |= POLLPRI;
    return events;
}

/// Takes one unit. False when another thread was faster.
bool take(HandleEntry& entry) {
    if (entry.kind == ObjectKind::semaphore) {
        u32 count = __atomic_load_n(&entry.word, __ATOMIC_ACQUIRE);
        while (count != 0)
            if (__atomic_compare_exchange_n(&entry.word, &count, count - 1, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
                return true;
        return false;
    }
    if (entry.kind == ObjectKind::event && !(entry.flags & (kHandleManualReset | kHandleStreamEvent)))
        return __atomic_exchange_n(&entry.word, 0, __ATOMIC_ACQ_REL) != 0;
    return true;
}

enum class Sleep { again, timed_out, interrupted, no_memory };

/// What a wait looks at. `pass` fills in `got` of all items and counts the ready ones.
struct Wait {
    WaitItem* items;
    u32 count;
    bool has_streams = false;
    bool has_others = false;  // objects of this picoprocess
    bool needs_slices = false;
    u32* only_word = nullptr;  // set if one word outside our own sequence tells of every change
    PollItem* polls = nullptr;
    u32 poll_count = 0;

    u32 look() {
        u32 ready = 0;
        for (u32 i = 0; i < count; ++i) {
            WaitItem& item = items[i];
            if (item.handle == 0) continue;
            HandleEntry& entry = entry_of(item.handle);
            item.got = is_stream(entry) ? stream_ready_without_host(entry, item.want) : ready_now(entry);
            ready += item.got != 0;
        }
        return ready;
    }

    /// Asks the host about streams; sleeps at most until `deadline`. > 0: ready items.
    long poll(Deadline deadline, bool sleep) {
        poll_count = 0;
        for (u32 i = 0; i < count; ++i) {
            WaitItem& item = items[i];
            if (item.handle == 0) continue;
            HandleEntry& entry = entry_of(item.handle);
            if (!is_stream(entry) || entry.descriptor < 0) continue;
            u32 want = entry.kind == ObjectKind::event ? entry.word : item.want;
            bool split = entry.second_descriptor >= 0;
            polls[poll_count++] = {entry.descriptor, to_events(split ? want & ~u32{gate::kReadyWrite} : want), 0};
            if (split) polls[poll_count++] = {entry.second_descriptor, to_events(want & gate::kReadyWrite), 0};
        }
        HostTime time{};
        HostTime* limit = &time;
        if (sleep && deadline == gate::kForever) limit = nullptr;
        if (sleep && deadline != gate::kForever) {
            u64 now = monotonic_now();
            if (deadline > now) time = to_host_time(deadline - now);
        }
        long result = sleep ? call_interruptible(__NR_ppoll, polls, poll_count, limit, nullptr, 8)
                            : call(__NR_ppoll, polls, poll_count, limit, nullptr, 8);
        if (result <= 0) return result;
        u32 place = 0;
        long ready = 0;
        for (u32 i = 0; i < count; ++i) {
            WaitItem& item = items[i];
            if (item.handle == 0) continue;
            HandleEntry& entry = entry_of(item.handle);
            if (!is_stream(entry) || entry.descriptor < 0) {
                ready += item.got != 0;
                continue;
            }
            item.got = to_ready(polls[place++].result);
            if (entry.second_descriptor >= 0) item.got |= to_ready(polls[place++].result);
            ready += item.got != 0;
        }
        return ready;
    }

    /// The end of processes and of threads is announced by the monitor and by the kernel, on words of their own.
    void find_only_word() {
        bool processes = true;
        for (u32 i = 0; i < count; ++i)
            processes = processes && (items[i].handle == 0 || entry_of(items[i].handle).kind == ObjectKind::process);
        if (processes) only_word = const_cast<u32*>(g_process.notice->deaths);
        if (count == 1 && items[0].handle != 0 && entry_of(items[0].handle).kind == ObjectKind::thread)
            only_word = &thread_area(entry_of(items[0].handle).word).tid;
    }

    Sleep sleep_for_objects(u32 sequence, Deadline deadline) {
        HostTime time{};
        if (deadline != gate::kForever) time = to_host_time(deadline);
        bool own = only_word == nullptr;
        long result = call_interruptible(__NR_futex, own ? &change_sequence : only_word,
                                         own ? FUTEX_WAIT_BITSET_PRIVATE : FUTEX_WAIT_BITSET, sequence,
                                         deadline == gate::kForever ? nullptr : &time, nullptr, ~0u);
        if (result == -ETIMEDOUT) return Sleep::timed_out;
        if (result == -EINTR) return Sleep::interrupted;
        return Sleep::again;
    }

    /// Repeats until something is ready. ok, timed_out, interrupted or no_memory.
    Err run(Deadline deadline, u32& ready) {
        alignas(8) PollItem few[64];
        u64 poll_bytes = 0;
        for (u32 i = 0; i < count; ++i) {
            if (items[i].handle == 0) continue;
            HandleEntry& entry = entry_of(items[i].handle);
            if (is_stream(entry)) {
                if (entry.descriptor >= 0) has_streams = true;
            } else {
                has_others = true;
                if (entry.kind == ObjectKind::process || entry.kind == ObjectKind::thread ||
                    (entry.flags & kHandleChangeEvent))
                    needs_slices = true;
            }
        }
        if (needs_slices && !has_streams) find_only_word();
        if (only_word != nullptr) needs_slices = false;
        polls = few;
        if (has_streams && 2 * count > 64) {
            poll_bytes = sizeof(PollItem) * 2 * count;
            polls = static_cast<PollItem*>(allocate_poll_items(poll_bytes));
            if (polls == nullptr) return Err::no_memory;
        }
        Err result = loop(deadline, ready);
        if (poll_bytes != 0) release_poll_items(polls, poll_bytes);
        return result;
    }

private:
    static void* allocate_poll_items(u64 bytes);
    static void release_poll_items(void* items, u64 bytes);

    Err loop(Deadline deadline, u32& ready) {
        ThreadArea& area = current_area();
        u32* waiting = has_streams ? &poll_waiters : &sequence_waiters;
        bool announce = has_others && deadline != gate::kPoll;
        if (announce) {
            if (has_streams) __atomic_store_n(&area.polling, 1, __ATOMIC_SEQ_CST);
            __atomic_add_fetch(waiting, 1, __ATOMIC_SEQ_CST);
        }
        Err result = Err::ok;
        for (;;) {
            // Before the look: a nudge after it ends the sleep at once.
            if (announce && has_streams) __atomic_and_fetch(&area.control.pending, ~kPendingNudge, __ATOMIC_SEQ_CST);
            u32 sequence = __atomic_load_n(only_word != nullptr ? only_word : &change_sequence, __ATOMIC_SEQ_CST);
            ready = look();
            bool at_once = ready != 0 || deadline == gate::kPoll;
            if (has_streams && (at_once || !has_others)) {
                // Without objects of our own one host call does everything.
                long polled = poll(deadline, !at_once);
                if (polled > 0) ready = static_cast<u32>(polled);
                if (polled < 0 && polled != -EINTR) {
                    result = to_gate_error(-polled);
                    break;
                }
                if (polled == -EINTR && !at_once) {
                    if (area.control.pending != 0) {
                        result = Err::interrupted;
                        break;
                    }
                    continue;
                }
                if (ready != 0) break;
                if (at_once || deadline != gate::kForever) {
                    if (at_once || monotonic_now() >= deadline) {
                        result = Err::timed_out;
                        break;
                    }
                }
                continue;
            }
            if (ready != 0) break;
            if (deadline == gate::kPoll) {
                result = Err::timed_out;
                break;
            }
            Deadline until = deadline;
            if (needs_slices) {
                u64 slice = monotonic_now() + kSlice;
                if (slice < until) until = slice;
            }
            bool timed_out = false, interrupted = false;
            if (has_streams) {
                long polled = poll(until, true);
                if (polled > 0) {
                    ready = static_cast<u32>(polled);
                    break;
                }
                timed_out = polled == 0;
                interrupted = polled == -EINTR;
                if (polled < 0 && !interrupted) {
                    result = to_gate_error(-polled);
                    break;
                }
            } else {
                Sleep slept = sleep_for_objects(sequence, until);
                timed_out = slept == Sleep::timed_out;
                interrupted = slept == Sleep::interrupted;
            }
            if (interrupted && (area.control.pending & ~kPendingNudge) != 0) {
                ready = look();  // what woke us may be an object: it counts first
                if (ready == 0) result = Err::interrupted;
                break;
            }
            if (timed_out && deadline != gate::kForever && monotonic_now() >= deadline) {
                ready = look();
                if (ready == 0) result = Err::timed_out;
                break;
            }
        }
        if (announce) {
            __atomic_sub_fetch(waiting, 1, __ATOMIC_SEQ_CST);
            if (has_streams) {
                __atomic_store_n(&area.polling, 0, __ATOMIC_SEQ_CST);
                __atomic_and_fetch(&area.control.pending, ~kPendingNudge, __ATOMIC_SEQ_CST);
            }
        }
        return result;
    }
};

void* Wait::allocate_poll_items(u64 bytes) { return bytes <= 8192 ? allocate_small(bytes) : allocate_pages(bytes); }
void Wait::release_poll_items(void* items, u64 bytes) {
    if (bytes <= 8192)
        release_small(items, bytes);
    else
        release_pages(items, bytes);
}

Err check_waitable(Handle handle, HandleEntry*& entry) {
    if (Err error = lookup_any(handle, entry); error != Err::ok) return error;
    switch (entry->kind) {
        case ObjectKind::stream:
        case ObjectKind::event:
        case ObjectKind::semaphore:
        case ObjectKind::process:
        case ObjectKind::thread: break;
        default: return Err::wrong_kind;
    }
    return gate::has(static_cast<Right>(entry->rights), Right::wait) ? Err::ok : Err::denied;
}

Err create_object(ObjectKind kind, u32 word, u32 maximum, u32 flags, Handle* out) {
    if (out == nullptr) return Err::bad_address;
    auto handle = create_handle(kind, Right::signal | Right::wait, -1);
    if (!handle.ok()) return handle.error();
    HandleEntry& entry = entry_of(handle.value());
    entry.word = word;
    entry.maximum = maximum;
    entry.flags = flags;
    *out = handle.value();
    return Err::ok;
}

}  // namespace

void objects_changed() {
    __atomic_add_fetch(&change_sequence, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&sequence_waiters, __ATOMIC_SEQ_CST) != 0)
        call(__NR_futex, &change_sequence, FUTEX_WAKE_PRIVATE, 0x7fff'ffff);
    if (__atomic_load_n(&poll_waiters, __ATOMIC_SEQ_CST) != 0) {
        u32 count = thread_area_count();
        for (u32 i = 0; i < count; ++i) {
            ThreadArea& area = thread_area(i);
            if (&area != &current_area() && __atomic_load_n(&area.polling, __ATOMIC_SEQ_CST) != 0) nudge(area);
        }
    }
}

void forget_waiters_after_fork() {
    if (sequence_waiters != 0) sequence_waiters = 0;
    if (poll_waiters != 0) poll_waiters = 0;
}

bool on_deaths_list(u32 process) {
    const volatile u32* deaths = g_process.notice->deaths;
    u32 count = deaths[0];
    u32 filled = count < gate::kDeathsCapacity ? count : gate::kDeathsCapacity;
    for (u32 i = 0; i < filled; ++i)
        if (deaths[1 + i] == process) return true;
    return false;
}

void set_abort_event() {
    if (abort_event != 0) DkEventSet(abort_event);
}

// Events and semaphores --------------------------------------------------------------------------------------------

Err DkNotificationEventCreate(u32 signalled, Handle* event) {
    if (signalled > 1) return Err::bad_argument;
    return create_object(ObjectKind::event, signalled, 1, kHandleManualReset, event);
}

Err DkSynchronizationEventCreate(u32 signalled, Handle* event) {
    if (signalled > 1) return Err::bad_argument;
    return create_object(ObjectKind::event, signalled, 1, 0, event);
}

Err DkSemaphoreCreate(u32 count, u32 maximum, Handle* semaphore) {
    if (maximum == 0 || count > maximum) return Err::bad_argument;
    return create_object(ObjectKind::semaphore, count, maximum, 0, semaphore);
}

Err DkSemaphoreRelease(Handle semaphore, u32 count, u32* previous) {
    if (count == 0) return Err::bad_argument;
    HandleEntry* entry;
    if (Err error = lookup(semaphore, ObjectKind::semaphore, Right::signal, entry); error != Err::ok) return error;
    u32 old = __atomic_load_n(&entry->word, __ATOMIC_ACQUIRE);
    do {
        if (count > entry->maximum - old) return Err::too_big;
    } while (!__atomic_compare_exchange_n(&entry->word, &old, old + count, false, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE));
    if (previous != nullptr) *previous = old;
    objects_changed();
    return Err::ok;
}

Err DkSemaphorePeek(Handle semaphore, u32* count) {
    HandleEntry* entry;
    if (Err error = lookup(semaphore, ObjectKind::semaphore, Right::wait, entry); error != Err::ok) return error;
    if (count == nullptr) return Err::bad_address;
    *count = __atomic_load_n(&entry->word, __ATOMIC_ACQUIRE);
    return Err::ok;
}

Err DkEventSet(Handle event) {
    HandleEntry* entry;
    if (Err error = lookup(event, ObjectKind::event, Right::signal, entry); error != Err::ok) return error;
    if (__atomic_exchange_n(&entry->word, 1, __ATOMIC_SEQ_CST) == 0) objects_changed();
    return Err::ok;
}

Err DkEventClear(Handle event) {
    HandleEntry* entry;
    if (Err error = lookup(event, ObjectKind::event, Right::signal, entry); error != Err::ok) return error;
    __atomic_store_n(&entry->word, 0, __ATOMIC_SEQ_CST);
    return Err::ok;
}

Err DkEventPeek(Handle event, u32* signalled) {
    HandleEntry* entry;
    if (Err error = lookup(event, ObjectKind::event, Right::wait, entry); error != Err::ok) return error;
    if (signalled == nullptr) return Err::bad_address;
    if (entry->flags & kHandleStreamEvent) {
        WaitItem item{event, gate::kReadyRead, 0, 0};
        Wait wait{&item, 1};
        u32 ready = 0;
        wait.run(gate::kPoll, ready);
        *signalled = ready != 0;
        return Err::ok;
    }
    *signalled = ready_now(*entry) != 0;
    return Err::ok;
}

Err DkAbortEventRegister(Handle event) {
    if (event != 0) {
        HandleEntry* entry;
        if (Err error = lookup(event, ObjectKind::event, Right::signal, entry); error != Err::ok) return error;
    }
    abort_event = event;
    return Err::ok;
}

// Waiting ----------------------------------------------------------------------------------------------------------

Err DkObjectsWaitAny(u32 count, const Handle* handles, Deadline deadline, u32* index) {
    if (count == 0 || count > 64) return Err::bad_argument;
    if (handles == nullptr || index == nullptr) return Err::bad_address;
    WaitItem items[64];
    for (u32 i = 0; i < count; ++i) {
        HandleEntry* entry;
        if (Err error = check_waitable(handles[i], entry); error != Err::ok) return error;
        items[i] = {handles[i], gate::kReadyRead, 0, 0};
    }
    for (;;) {
        Wait wait{items, count};
        u32 ready = 0;
        if (Err error = wait.run(deadline, ready); error != Err::ok) return error;
        for (u32 i = 0; i < count; ++i) {
            if (items[i].got == 0) continue;
            if (take(entry_of(items[i].handle))) {
                *index = i;
                return Err::ok;
            }
        }
    }
}

Err DkObjectsWaitReady(u32 count, WaitItem* items, Deadline deadline, u32* ready) {
    if (count > kMaxItems) return Err::bad_argument;
    if ((items == nullptr && count != 0) || ready == nullptr) return Err::bad_address;
    *ready = 0;
    constexpr u32 kAllBits =
        gate::kReadyRead | gate::kReadyWrite | gate::kReadyError | gate::kReadyHangup | gate::kReadyPriority;
    for (u32 i = 0; i < count; ++i)
        if (items[i].want & ~kAllBits) return Err::bad_argument;
    for (u32 i = 0; i < count; ++i) {
        items[i].got = 0;
        if (items[i].handle == 0) continue;
        HandleEntry* entry;
        if (Err error = check_waitable(items[i].handle, entry); error != Err::ok) return error;
    }
    Wait wait{items, count};
    u32 found = 0;
    Err error = wait.run(deadline, found);
    *ready = found;
    return error;
}

Err DkAddressWait(u32* address, u32 expected, Deadline deadline, u32 flags) {
    if (reinterpret_cast<u64>(address) % 4 != 0 || (flags & ~3u) != 0) return Err::bad_argument;
    long operation = FUTEX_WAIT_BITSET;
    if (!(flags & gate::kAddressShared)) operation |= FUTEX_PRIVATE_FLAG;
    if (flags & gate::kAddressRealtime) operation |= FUTEX_CLOCK_REALTIME;
    HostTime time{};
    if (deadline != gate::kForever) time = to_host_time(deadline);
    long result = call_interruptible(__NR_futex, address, operation, expected,
                                     deadline == gate::kForever ? nullptr : &time, nullptr, ~0u);
    if (result == -EINTR && gate::thread_control()->pending == 0) return Err::ok;  // allowed: a wake without cause
    return gate_result(result);
}

Err DkAddressWake(u32* address, u32 count, u32 flags, u32* requeue_to, u32 requeue_count, u32 expected, u32* woken) {
    if (reinterpret_cast<u64>(address) % 4 != 0 || reinterpret_cast<u64>(requeue_to) % 4 != 0 || (flags & ~3u) != 0)
        return Err::bad_argument;
    long private_flag = (flags & gate::kAddressShared) ? 0 : FUTEX_PRIVATE_FLAG;
    if (count > 0x7fff'ffff) count = 0x7fff'ffff;
    if (requeue_count > 0x7fff'ffff) requeue_count = 0x7fff'ffff;
    long result;
    if (requeue_to != nullptr)
        result =
            call(__NR_futex, address, FUTEX_CMP_REQUEUE | private_flag, count, requeue_count, requeue_to, expected);
    else
        result = count == 0 ? 0 : call(__NR_futex, address, FUTEX_WAKE | private_flag, count, 0, 0, 0);
    if (result < 0) return to_gate_error(-result);
    if (woken != nullptr) *woken = static_cast<u32>(result);
    return Err::ok;
}

}  // namespace postern::host
