// SPDX-License-Identifier: Apache-2.0
// Events, semaphores and waits. Waiting takes exactly one unit of exactly one object, except DkObjectsWaitReady, which
// takes nothing.
#pragma once

#include "gate/table/common.hpp"

namespace postern::gate::schema {

inline constexpr Param kDeadlineParam = value(Type::deadline, "deadline", Unit::deadline, Domain::any,
                                              "absolute, on Clock::monotonic; kPoll: do not wait; kForever: no end");

inline constexpr Call kSynchronisationCalls[] = {
    call(13, "DkNotificationEventCreate", Group::synchronisation) +
        in32("signalled", "initial state", Domain::boolean) + new_handle("event", ObjectKind::event, "the event") +
        fails(Err::bad_argument, "`signalled` is neither 0 nor 1") + reason::kNewHandle +
        docs("Makes a notification event: once set it stays set and releases every waiter until it is cleared."),

    call(14, "DkSynchronizationEventCreate", Group::synchronisation) +
        in32("signalled", "initial state", Domain::boolean) + new_handle("event", ObjectKind::event, "the event") +
        fails(Err::bad_argument, "`signalled` is neither 0 nor 1") + reason::kNewHandle +
        docs("Makes a synchronisation event: a set releases one waiter, which clears it. Sets do not accumulate."),

    call(15, "DkSemaphoreCreate", Group::synchronisation) + in32("count", "initial units", Domain::any, Unit::count) +
        in32("maximum", "largest number of units, not 0", Domain::any, Unit::count) +
        new_handle("semaphore", ObjectKind::semaphore, "the semaphore") +
        fails(Err::bad_argument, "`maximum` is 0, or `count` exceeds it") + reason::kNewHandle +
        docs("Makes a counting semaphore. A wait takes one unit."),

    call(16, "DkSemaphoreRelease", Group::synchronisation) +
        handle("semaphore", ObjectKind::semaphore, Right::signal, "the semaphore") +
        in32("count", "units to add, not 0", Domain::any, Unit::count) +
        maybe(out(Type::u32_pointer, "previous", "units before the call; may be null", Unit::count)) + reason::kHandle +
        fails(Err::bad_argument, "`count` is 0") +
        fails(Err::too_big, "the maximum would be exceeded: nothing is added") +
        fails(Err::bad_address, "`previous` is not writable") + docs("Adds units and wakes as many waiters."),

    call(17, "DkSemaphorePeek", Group::synchronisation) +
        handle("semaphore", ObjectKind::semaphore, Right::wait, "the semaphore") +
        out(Type::u32_pointer, "count", "units now", Unit::count) + reason::kHandle +
        fails(Err::bad_address, "`count` is not writable") + docs("Reads the number of units without taking any."),

    call(18, "DkEventSet", Group::synchronisation) + handle("event", ObjectKind::event, Right::signal, "the event") +
        reason::kHandle + docs("Sets an event. What the caller wrote before is seen by whoever the event releases."),

    call(19, "DkEventClear", Group::synchronisation) + handle("event", ObjectKind::event, Right::signal, "the event") +
        reason::kHandle + docs("Clears an event."),

    call(20, "DkEventPeek", Group::synchronisation) + handle("event", ObjectKind::event, Right::wait, "the event") +
        out(Type::u32_pointer, "signalled", "1: set") + reason::kHandle +
        fails(Err::bad_address, "`signalled` is not writable") + docs("Reads an event without waiting or clearing it."),

    call(21, "DkObjectsWaitAny", Group::synchronisation) +
        in32("count", "number of handles, 1 to 64", Domain::any, Unit::count) +
        Param{.name = "handles",
              .type = Type::handle_list,
              .unit = Unit::count,
              .kinds = kWaitable,
              .right = Right::wait,
              .sized_by = "count",
              .doc = "what to wait for"} +
        kDeadlineParam + out(Type::u32_pointer, "index", "which object was taken", Unit::count) + reason::kHandle +
        fails(Err::bad_argument, "`count` is 0 or above 64") + fails(Err::bad_address, "a list is not accessible") +
        fails(Err::timed_out, "the deadline passed") + fails(Err::interrupted, "DkThreadInterrupt ended the wait") +
        fails(Err::no_memory, "the host lacks memory for the wait") + blocking +
        docs("Waits until one object is ready and takes one unit of it: a synchronisation event is cleared, a "
             "semaphore loses one unit, anything else is left as it is. The lowest ready index is taken. A process or "
             "thread is ready when it has ended, a stream when it can be read or has been closed."),

    call(22, "DkAbortEventRegister", Group::synchronisation) +
        maybe(handle("event", ObjectKind::event, Right::signal,
                     "set when the host ends the picoprocess; "
                     "kNoHandle: none")) +
        reason::kHandle +
        docs("Names the event that the host sets when it is about to end this picoprocess (a limit, the end of its "
             "family), so that a thread that waits for it can save what must be saved. One per picoprocess; the "
             "latest registration holds."),

    call(23, "DkObjectsWaitReady", Group::synchronisation) +
        in32("count", "number of items, 1 to 4096", Domain::any, Unit::count) +
        Param{.name = "items",
              .type = Type::wait_items,
              .direction = Direction::in_out,
              .unit = Unit::count,
              .domain = Domain::ready,
              .kinds = kWaitable,
              .right = Right::wait,
              .sized_by = "count",
              .doc = "handles and the readiness wanted of each; kNoHandle items are skipped"} +
        kDeadlineParam + out(Type::u32_pointer, "ready", "number of items with `got` not 0", Unit::count) +
        reason::kHandle + fails(Err::bad_argument, "`count` is above 4096, or a bit of `want` is not defined") +
        fails(Err::bad_address, "a list is not accessible") + fails(Err::timed_out, "the deadline passed") +
        fails(Err::interrupted, "DkThreadInterrupt ended the wait") +
        fails(Err::no_memory, "the host lacks memory for the wait") + blocking +
        docs("Waits until at least one item is ready, then reports every ready item with its direction bits; takes no "
             "unit. Error and hang-up are reported wanted or not. Events, semaphores, processes and threads are ready "
             "to read.") +
        needed("DkObjectsWaitAny reports one object without direction, so serving poll with it costs one call per "
               "descriptor and pass, and cannot tell readable from writable."),

    call(24, "DkAddressWait", Group::synchronisation) +
        Param{.name = "address",
              .type = Type::u32_pointer,
              .direction = Direction::in,
              .unit = Unit::address,
              .doc = "word to watch, aligned to 4 bytes"} +
        in32("expected", "sleep only while the word has this value") + kDeadlineParam +
        in32("flags", "shared or private, and the deadline's clock", Domain::address_flags, Unit::bits) +
        fails(Err::bad_argument, "the address is not aligned, or a flag is not defined") +
        fails(Err::bad_address, "the word is not accessible") + fails(Err::would_block, "the word differs already") +
        fails(Err::timed_out, "the deadline passed") + fails(Err::interrupted, "DkThreadInterrupt ended the wait") +
        blocking +
        docs("Sleeps until DkAddressWake on the same word, provided that the word has the expected value when the "
             "sleep begins. May return without a wake; callers check their condition again.") +
        needed("Events and semaphores are one host object per lock and a call per operation. Locks of programs and of "
               "the library OS live in memory, cost no call when free, and only their sleepers need the host."),

    call(25, "DkAddressWake", Group::synchronisation) +
        Param{.name = "address",
              .type = Type::u32_pointer,
              .direction = Direction::in,
              .unit = Unit::address,
              .doc = "word that is waited on"} +
        in32("count", "most threads to wake", Domain::any, Unit::count) +
        in32("flags", "as the waiters gave", Domain::address_flags, Unit::bits) +
        Param{.name = "requeue_to",
              .type = Type::u32_pointer,
              .unit = Unit::address,
              .optional = true,
              .doc = "word that further waiters wait on from now on; null: none"} +
        in32("requeue_count", "most threads to move", Domain::any, Unit::count) +
        in32("expected", "moving only: the value that `*address` must have") +
        maybe(out(Type::u32_pointer, "woken", "threads woken and moved; may be null", Unit::count)) +
        fails(Err::bad_argument, "an address is not aligned, or a flag is not defined") +
        fails(Err::bad_address, "a word or `woken` is not accessible") +
        fails(Err::would_block, "moving was asked and `*address` differs from `expected`: nothing is done") +
        docs("Wakes threads in DkAddressWait, and moves others to a second word without waking them.") +
        needed("The other half of DkAddressWait. Moving waiters is part of it because a broadcast on a condition "
               "variable that wakes all would only make them queue on the mutex."),
};

}  // namespace postern::gate::schema
