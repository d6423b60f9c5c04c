// SPDX-License-Identifier: Apache-2.0
// Events, semaphores, waits on objects and on addresses.
#include "tests/gate/guest/guest.hpp"

namespace guest {
namespace {

u32 load(const u32& word) { return __atomic_load_n(&word, __ATOMIC_ACQUIRE); }
void add(u32& word) { __atomic_add_fetch(&word, 1, __ATOMIC_SEQ_CST); }

Err wait_one(Handle handle, Deadline deadline = kPoll) {
    u32 index = 77;
    Err error = g_calls->DkObjectsWaitAny(1, &handle, deadline, &index);
    if (error == Err::ok && index != 0) return Err::bad_state;
    return error;
}

u32 peek_event(Handle event) {
    u32 value = 77;
    CHECK_OK(g_calls->DkEventPeek(event, &value));
    return value;
}
u32 peek_semaphore(Handle semaphore) {
    u32 value = 77;
    CHECK_OK(g_calls->DkSemaphorePeek(semaphore, &value));
    return value;
}

}  // namespace

GATE_CASE(notification_event_stays_set) {
    Handle event = GET(gate().notification_event_create(0));
    CHECK_EQ(peek_event(event), 0u);
    CHECK_ERR(wait_one(event), timed_out);
    CHECK_OK(gate().event_set(event));
    CHECK_EQ(peek_event(event), 1u);
    CHECK_OK(wait_one(event));
    CHECK_OK(wait_one(event, kForever));
    CHECK_OK(gate().event_clear(event));
    CHECK_EQ(peek_event(event), 0u);
    CHECK_ERR(wait_one(event), timed_out);
    close(event);
    Handle set = GET(gate().notification_event_create(1));
    CHECK_OK(wait_one(set));
    close(set);
    CHECK_ERR(gate().notification_event_create(2), bad_argument);
}

GATE_CASE(synchronisation_event_releases_one) {
    Handle event = GET(gate().synchronization_event_create(1));
    CHECK_OK(wait_one(event));
    CHECK_ERR(wait_one(event), timed_out);
    CHECK_OK(gate().event_set(event));
    CHECK_OK(gate().event_set(event));  // sets do not accumulate
    CHECK_EQ(peek_event(event), 1u);
    CHECK_EQ(peek_event(event), 1u);  // peeking takes nothing
    CHECK_OK(wait_one(event));
    CHECK_ERR(wait_one(event), timed_out);
    CHECK_OK(gate().event_set(event));
    CHECK_OK(gate().event_clear(event));
    CHECK_ERR(wait_one(event), timed_out);
    close(event);
    CHECK_ERR(gate().synchronization_event_create(7), bad_argument);
}

GATE_CASE(events_wake_sleepers) {
    struct Shared {
        Handle event;
        u32 woken;
    } shared{};
    static Thread threads[4];
    auto sleeper = [](void* argument) {
        auto* shared = static_cast<Shared*>(argument);
        u32 index;
        if (g_calls->DkObjectsWaitAny(1, &shared->event, in_ms(20'000), &index) == Err::ok) add(shared->woken);
    };
    // A synchronisation event: one per set.
    shared.event = GET(gate().synchronization_event_create(0));
    for (Thread& thread : threads) REQUIRE(thread.start(sleeper, &shared));
    for (u32 i = 1; i <= 4; ++i) {
        sleep_ms(10);
        CHECK_EQ(load(shared.woken), i - 1);
        CHECK_OK(gate().event_set(shared.event));
        for (u32 tries = 0; tries < 5000 && load(shared.woken) < i; ++tries) sleep_ms(1);
        CHECK_EQ(load(shared.woken), i);
    }
    for (Thread& thread : threads) thread.join();
    close(shared.event);
    // A notification event: all with one.
    shared.event = GET(gate().notification_event_create(0));
    shared.woken = 0;
    for (Thread& thread : threads) REQUIRE(thread.start(sleeper, &shared));
    sleep_ms(10);
    CHECK_OK(gate().event_set(shared.event));
    for (Thread& thread : threads) thread.join();
    CHECK_EQ(shared.woken, 4u);
    close(shared.event);
}

GATE_CASE(semaphore_counts) {
    Handle semaphore = GET(gate().semaphore_create(2, 3));
    CHECK_EQ(peek_semaphore(semaphore), 2u);
    CHECK_OK(wait_one(semaphore));
    CHECK_OK(wait_one(semaphore));
    CHECK_ERR(wait_one(semaphore), timed_out);
    u32 previous = 9;
    CHECK_OK(gate().semaphore_release(semaphore, 2, &previous));
    CHECK_EQ(previous, 0u);
    CHECK_EQ(peek_semaphore(semaphore), 2u);
    CHECK_ERR(gate().semaphore_release(semaphore, 2, &previous), too_big);
    CHECK_EQ(peek_semaphore(semaphore), 2u);
    CHECK_OK(gate().semaphore_release(semaphore, 1));
    CHECK_EQ(peek_semaphore(semaphore), 3u);
    CHECK_ERR(gate().semaphore_release(semaphore, 0xffff'ffff), too_big);
    CHECK_ERR(gate().semaphore_release(semaphore, 0), bad_argument);
    close(semaphore);
    CHECK_ERR(gate().semaphore_create(0, 0), bad_argument);
    CHECK_ERR(gate().semaphore_create(4, 3), bad_argument);
}

GATE_CASE(semaphore_hands_out_each_unit_once) {
    struct Shared {
        Handle semaphore;
        u32 taken;
    } shared{};
    shared.semaphore = GET(gate().semaphore_create(0, 1000));
    static Thread threads[4];
    for (Thread& thread : threads)
        REQUIRE(thread.start(
            [](void* argument) {
                auto* shared = static_cast<Shared*>(argument);
                while (wait_one(shared->semaphore, in_ms(500)) == Err::ok) add(shared->taken);
            },
            &shared));
    for (u32 i = 0; i < 100; ++i) CHECK_OK(gate().semaphore_release(shared.semaphore, 5));
    for (Thread& thread : threads) thread.join();
    CHECK_EQ(shared.taken, 500u);
    CHECK_EQ(peek_semaphore(shared.semaphore), 0u);
    close(shared.semaphore);
}

GATE_CASE(wait_any_takes_the_lowest_ready_and_only_that) {
    Handle first = GET(gate().synchronization_event_create(0));
    Handle second = GET(gate().synchronization_event_create(1));
    Handle third = GET(gate().semaphore_create(1, 1));
    Handle handles[] = {first, second, third};
    u32 index = 9;
    CHECK_OK(g_calls->DkObjectsWaitAny(3, handles, kForever, &index));
    CHECK_EQ(index, 1u);
    CHECK_EQ(peek_event(second), 0u);
    CHECK_EQ(peek_semaphore(third), 1u);
    CHECK_OK(g_calls->DkObjectsWaitAny(3, handles, kForever, &index));
    CHECK_EQ(index, 2u);
    CHECK_EQ(peek_semaphore(third), 0u);
    CHECK_ERR(g_calls->DkObjectsWaitAny(3, handles, kPoll, &index), timed_out);
    CHECK_OK(gate().event_set(first));
    CHECK_OK(g_calls->DkObjectsWaitAny(3, handles, kForever, &index));
    CHECK_EQ(index, 0u);
    u64 start = now();
    CHECK_ERR(g_calls->DkObjectsWaitAny(3, handles, start + 25 * kMillisecond, &index), timed_out);
    CHECK(now() - start >= 25 * kMillisecond);
    CHECK_ERR(g_calls->DkObjectsWaitAny(0, handles, kPoll, &index), bad_argument);
    CHECK_ERR(g_calls->DkObjectsWaitAny(65, handles, kPoll, &index), bad_argument);
    handles[2] = 0x7fff'0001;
    CHECK_OK(gate().event_set(first));
    CHECK_ERR(g_calls->DkObjectsWaitAny(3, handles, kPoll, &index), bad_handle);
    CHECK_EQ(peek_event(first), 1u);  // a refused wait takes nothing
    for (Handle handle : {first, second, third}) close(handle);
}

GATE_CASE(wait_any_on_streams_and_events) {
    Handle event = GET(gate().notification_event_create(0));
    Handle pipe = GET(open("pipe:", kAccessRead | kAccessWrite));
    Handle handles[] = {event, pipe};
    u32 index = 9;
    CHECK_ERR(g_calls->DkObjectsWaitAny(2, handles, in_ms(10), &index), timed_out);
    CHECK_OK(write(pipe, "x"));
    CHECK_OK(g_calls->DkObjectsWaitAny(2, handles, in_ms(5000), &index));
    CHECK_EQ(index, 1u);
    CHECK_OK(gate().event_set(event));
    CHECK_OK(g_calls->DkObjectsWaitAny(2, handles, in_ms(5000), &index));
    CHECK_EQ(index, 0u);
    CHECK_OK(gate().event_clear(event));
    u8 byte;
    CHECK_OK(read(pipe, &byte, 1));
    // Asleep for both, woken by the event.
    Thread thread;
    REQUIRE(thread.start(
        [](void* argument) {
            sleep_ms(20);
            (void)g_calls->DkEventSet(*static_cast<Handle*>(argument));
        },
        &event));
    CHECK_OK(g_calls->DkObjectsWaitAny(2, handles, in_ms(10'000), &index));
    CHECK_EQ(index, 0u);
    thread.join();
    close(event);
    close(pipe);
}

GATE_CASE(wait_ready_reports_all_with_directions) {
    Handle pipe = GET(open("pipe:", kAccessRead | kAccessWrite));
    Handle event = GET(gate().synchronization_event_create(1));
    Handle idle = GET(gate().notification_event_create(0));
    WaitItem items[] = {{kNoHandle, kReadyRead, 77, 0},
                        {pipe, kReadyRead | kReadyWrite, 77, 0},
                        {event, kReadyRead, 77, 0},
                        {idle, kReadyRead, 77, 0}};
    u32 ready = 9;
    CHECK_OK(g_calls->DkObjectsWaitReady(4, items, kForever, &ready));
    CHECK_EQ(ready, 2u);
    CHECK_EQ(items[0].got, 0u);
    CHECK_EQ(items[1].got, u32{kReadyWrite});
    CHECK_EQ(items[2].got, u32{kReadyRead});
    CHECK_EQ(items[3].got, 0u);
    CHECK_EQ(peek_event(event), 1u);  // nothing is taken
    CHECK_OK(write(pipe, "x"));
    CHECK_OK(g_calls->DkObjectsWaitReady(4, items, kPoll, &ready));
    CHECK_EQ(items[1].got, u32{kReadyRead | kReadyWrite});
    items[1].want = kReadyRead;
    CHECK_OK(g_calls->DkObjectsWaitReady(4, items, kPoll, &ready));
    CHECK_EQ(items[1].got, u32{kReadyRead});
    u8 byte;
    CHECK_OK(read(pipe, &byte, 1));
    CHECK_OK(gate().event_clear(event));
    u64 start = now();
    CHECK_ERR(g_calls->DkObjectsWaitReady(4, items, start + 20 * kMillisecond, &ready), timed_out);
    CHECK_EQ(ready, 0u);
    CHECK(now() - start >= 20 * kMillisecond);
    items[3].want = 0x100;
    CHECK_ERR(g_calls->DkObjectsWaitReady(4, items, kPoll, &ready), bad_argument);
    items[3].want = kReadyRead;
    items[3].handle = 0x7fff'0001;
    CHECK_ERR(g_calls->DkObjectsWaitReady(4, items, kPoll, &ready), bad_handle);
    CHECK_ERR(g_calls->DkObjectsWaitReady(4097, items, kPoll, &ready), bad_argument);
    for (Handle handle : {pipe, event, idle}) close(handle);
}

GATE_CASE(stream_event_follows_readiness) {
    Handle pipe = GET(open("pipe:", kAccessRead | kAccessWrite));
    Handle readable = GET(gate().stream_get_event(pipe, kReadyRead));
    Handle writable = GET(gate().stream_get_event(pipe, kReadyWrite));
    CHECK_EQ(peek_event(readable), 0u);
    CHECK_EQ(peek_event(writable), 1u);
    CHECK_OK(wait_one(writable));
    CHECK_ERR(wait_one(readable), timed_out);
    CHECK_OK(write(pipe, "x"));
    CHECK_OK(wait_one(readable, in_ms(5000)));
    CHECK_EQ(peek_event(readable), 1u);
    u8 byte;
    CHECK_OK(read(pipe, &byte, 1));
    CHECK_EQ(peek_event(readable), 0u);
    CHECK_ERR(gate().event_set(readable), denied);
    CHECK_ERR(gate().stream_get_event(pipe, kReadyRead | kReadyWrite), bad_argument);
    CHECK_ERR(gate().stream_get_event(pipe, 0), bad_argument);
    CHECK_ERR(gate().stream_get_event(readable, kReadyRead), wrong_kind);
    for (Handle handle : {pipe, readable, writable}) close(handle);
}

GATE_CASE(abort_event) {
    Handle event = GET(gate().notification_event_create(0));
    CHECK_OK(gate().abort_event_register(event));
    CHECK_EQ(peek_event(event), 0u);
    CHECK_OK(gate().abort_event_register(kNoHandle));
    Handle semaphore = GET(gate().semaphore_create(0, 1));
    CHECK_ERR(gate().abort_event_register(semaphore), wrong_kind);
    CHECK_ERR(gate().abort_event_register(0x7fff'0001), bad_handle);
    close(event);
    close(semaphore);
}

GATE_CASE(address_wait_answers_at_once) {
    u32 word = 5;
    CHECK_ERR(gate().address_wait(&word, 4, kForever, kAddressPrivate), would_block);
    u64 start = now();
    CHECK_ERR(gate().address_wait(&word, 5, start + 20 * kMillisecond, kAddressPrivate), timed_out);
    CHECK(now() - start >= 20 * kMillisecond);
    CHECK_ERR(gate().address_wait(&word, 5, kPoll, kAddressPrivate), timed_out);
    u64 wall = GET(gate().system_time_query(Clock::realtime));
    CHECK_ERR(gate().address_wait(&word, 5, wall + 10 * kMillisecond, kAddressPrivate | kAddressRealtime), timed_out);
    auto* odd = reinterpret_cast<u32*>(reinterpret_cast<u64>(&word) + 1);
    CHECK_ERR(gate().address_wait(odd, 5, kPoll, kAddressPrivate), bad_argument);
    CHECK_ERR(gate().address_wait(&word, 5, kPoll, 0x40), bad_argument);
    auto* nowhere = reinterpret_cast<u32*>(fresh_range(kPageSize));
    CHECK_ERR(gate().address_wait(nowhere, 0, kPoll, kAddressPrivate), bad_address);
    u32 woken = 9;
    CHECK_OK(gate().address_wake(&word, 1, kAddressPrivate, nullptr, 0, 0, &woken));
    CHECK_EQ(woken, 0u);
    CHECK_ERR(gate().address_wake(&word, 1, 0x40, nullptr, 0, 0), bad_argument);
}

GATE_CASE(address_wake_counts) {
    struct Shared {
        u32 word, awake, asleep;
    };
    static Shared shared;
    static Thread threads[3];
    for (u32 flags : {u32{kAddressPrivate}, u32{kAddressShared}}) {
        static u32 the_flags;
        the_flags = flags;
        shared = {};
        for (Thread& thread : threads)
            REQUIRE(thread.start(
                [](void*) {
                    add(shared.asleep);
                    if (g_calls->DkAddressWait(&shared.word, 0, in_ms(20'000), the_flags) == Err::ok) add(shared.awake);
                },
                nullptr));
        while (load(shared.asleep) < 3) sleep_ms(1);
        u32 total = 0;
        // A wake may come before the sleep begins, so repeat until each has been woken; never more than asked.
        for (u32 tries = 0; tries < 5000 && total < 3; ++tries) {
            u32 woken = 0;
            CHECK_OK(gate().address_wake(&shared.word, 1, flags, nullptr, 0, 0, &woken));
            CHECK(woken <= 1);
            total += woken;
            sleep_ms(1);
        }
        CHECK_EQ(total, 3u);
        for (Thread& thread : threads) thread.join();
        CHECK_EQ(shared.awake, 3u);
    }
}

GATE_CASE(address_wake_moves_waiters) {
    struct Shared {
        u32 condition, mutex, awake, asleep;
    };
    static Shared shared;
    static Thread threads[4];
    shared = {};
    for (Thread& thread : threads)
        REQUIRE(thread.start(
            [](void*) {
                add(shared.asleep);
                if (g_calls->DkAddressWait(&shared.condition, 0, in_ms(20'000), kAddressPrivate) == Err::ok)
                    add(shared.awake);
            },
            nullptr));
    while (load(shared.asleep) < 4) sleep_ms(1);
    sleep_ms(50);  // all four sleep now, save on a very slow machine
    u32 woken = 9;
    CHECK_ERR(gate().address_wake(&shared.condition, 1, kAddressPrivate, &shared.mutex, 3, 77, &woken), would_block);
    sleep_ms(10);
    CHECK_EQ(load(shared.awake), 0u);
    CHECK_OK(gate().address_wake(&shared.condition, 1, kAddressPrivate, &shared.mutex, 3, 0, &woken));
    CHECK_EQ(woken, 4u);
    for (u32 tries = 0; tries < 1000 && load(shared.awake) < 1; ++tries) sleep_ms(1);
    sleep_ms(10);
    CHECK_EQ(load(shared.awake), 1u);
    CHECK_OK(gate().address_wake(&shared.condition, 9, kAddressPrivate, nullptr, 0, 0, &woken));
    CHECK_EQ(woken, 0u);
    CHECK_OK(gate().address_wake(&shared.mutex, 9, kAddressPrivate, nullptr, 0, 0, &woken));
    CHECK_EQ(woken, 3u);
    for (Thread& thread : threads) thread.join();
    CHECK_EQ(shared.awake, 4u);
}

GATE_CASE(address_wait_across_processes) {
    u64 address = fresh_range(kPageSize);
    REQUIRE_OK(gate().virtual_memory_alloc(address, kPageSize, kAllocCommit | kAllocShared, kProtRead | kProtWrite));
    auto* words = reinterpret_cast<u32*>(address);
    u32 code = in_child(
        [](void* argument) -> u32 {
            auto* words = static_cast<u32*>(argument);
            __atomic_store_n(&words[1], 1, __ATOMIC_RELEASE);
            ForkResult grandchild;
            if (g_calls->DkProcessFork(&grandchild) != Err::ok) return 3;
            if (grandchild.is_child != 0) {
                sleep_ms(20);
                __atomic_store_n(&words[0], 1, __ATOMIC_RELEASE);
                u32 woken = 0;
                for (u32 tries = 0; tries < 1000 && woken == 0 && load(words[2]) == 0; ++tries) {
                    (void)g_calls->DkAddressWake(&words[0], 1, kAddressShared, nullptr, 0, 0, &woken);
                    sleep_ms(1);
                }
                g_calls->DkProcessExit(0);
            }
            Err error = g_calls->DkAddressWait(&words[0], 0, in_ms(20'000), kAddressShared);
            __atomic_store_n(&words[2], 1, __ATOMIC_RELEASE);
            u32 index;
            (void)g_calls->DkObjectsWaitAny(1, &grandchild.process, in_ms(20'000), &index);
            return error == Err::ok || error == Err::would_block ? 7 : 4;
        },
        words);
    CHECK_EQ(code, 7u);
    CHECK_EQ(words[1], 1u);
}

}  // namespace guest
