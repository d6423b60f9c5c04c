// SPDX-License-Identifier: Apache-2.0
// Thread calls.
#include "tests/gate/guest/guest.hpp"

namespace guest {
namespace {

u32 load(const u32& word) { return __atomic_load_n(&word, __ATOMIC_ACQUIRE); }
void store(u32& word, u32 value) { __atomic_store_n(&word, value, __ATOMIC_RELEASE); }

/// Waits up to five seconds for `word` to get `value`.
bool eventually(const u32& word, u32 value) {
    for (u32 i = 0; i < 5000; ++i) {
        if (load(word) == value) return true;
        sleep_ms(1);
    }
    return false;
}

u64 read_fs_word() {
    u64 value;
    asm volatile("movq %%fs:0, %0" : "=r"(value));
    return value;
}

}  // namespace

GATE_CASE(thread_runs_and_clears_its_word) {
    struct Seen {
        u64 parameter, stack;
        u32 done;
    } seen{};
    Thread thread;
    REQUIRE(thread.start(
        [](void* argument) {
            auto* seen = static_cast<Seen*>(argument);
            u64 parameter = 0;
            (void)g_calls->DkThreadGetParameter(&parameter);
            seen->parameter = parameter;
            seen->stack = reinterpret_cast<u64>(__builtin_frame_address(0));
            store(seen->done, 1);
        },
        &seen));
    CHECK(thread.handle != kNoHandle);
    CHECK(thread.token.value != 0);
    u32 index = 9;
    CHECK_OK(g_calls->DkObjectsWaitAny(1, &thread.handle, in_ms(5000), &index));
    CHECK_EQ(index, 0u);
    CHECK_EQ(seen.done, 1u);
    CHECK_EQ(seen.parameter, reinterpret_cast<u64>(&thread));
    // The handle stays signalled.
    CHECK_OK(g_calls->DkObjectsWaitAny(1, &thread.handle, kPoll, &index));
    thread.join();
}

GATE_CASE(first_thread_has_no_parameter) {
    u64 parameter = 77;
    CHECK_OK(g_calls->DkThreadGetParameter(&parameter));
    CHECK_EQ(parameter, 0u);
}

GATE_CASE(many_threads) {
    static u32 counter;
    counter = 0;
    static Thread threads[32];
    for (Thread& thread : threads)
        REQUIRE(thread.start([](void*) { __atomic_add_fetch(&counter, 1, __ATOMIC_SEQ_CST); }, nullptr));
    for (Thread& thread : threads) thread.join();
    CHECK_EQ(counter, 32u);
}

GATE_CASE(thread_create_checks_its_stack) {
    Handle handle = kNoHandle;
    ThreadToken token;
    CHECK_ERR(g_calls->DkThreadCreate(reinterpret_cast<u64>(fresh_memory(kPageSize)), 64, 0, &handle, &token),
              bad_argument);
    CHECK_ERR(g_calls->DkThreadCreate(1ull << 63, 65536, 0, &handle, &token), bad_argument);
    CHECK_ERR(g_calls->DkThreadCreate(fresh_range(65536) + 65536 - 8, ~0ull - 4096, 0, &handle, &token), bad_argument);
}

GATE_CASE(delay_lasts_and_leaves_nothing) {
    u64 start = now(), left = 30 * kMillisecond;
    CHECK_OK(g_calls->DkThreadDelayExecution(&left));
    u64 took = now() - start;
    CHECK(took >= 30 * kMillisecond);
    CHECK(took < 5000 * kMillisecond);
    CHECK_EQ(left, 0u);
    left = 0;
    CHECK_OK(g_calls->DkThreadDelayExecution(&left));
}

GATE_CASE(yield) {
    for (u32 i = 0; i < 100; ++i) CHECK_OK(gate().thread_yield_execution());
}

GATE_CASE(interrupt_ends_a_delay) {
    struct Shared {
        u32 started, done;
        Err result;
        u64 left;
    } shared{};
    Thread thread;
    REQUIRE(thread.start(
        [](void* argument) {
            auto* shared = static_cast<Shared*>(argument);
            u64 left = 20'000 * kMillisecond;
            store(shared->started, 1);
            shared->result = g_calls->DkThreadDelayExecution(&left);
            shared->left = left;
            clear_interrupt();
            store(shared->done, 1);
        },
        &shared));
    CHECK(eventually(shared.started, 1));
    sleep_ms(20);
    u64 start = now();
    CHECK_OK(gate().thread_interrupt(thread.token));
    CHECK(eventually(shared.done, 1));
    CHECK(now() - start < 5000 * kMillisecond);
    CHECK(shared.result == Err::interrupted);
    CHECK(shared.left > 1000 * kMillisecond);
    CHECK(shared.left < 20'000 * kMillisecond);
    thread.join();
}

GATE_CASE(interrupt_before_the_sleep_is_not_lost) {
    // The thread interrupts itself, then sleeps: the sleep must end at once.
    struct Shared {
        ThreadToken token;
        u32 go, word, done;
        Err delay, wait, address;
    } shared{};
    Thread thread;
    REQUIRE(thread.start(
        [](void* argument) {
            auto* shared = static_cast<Shared*>(argument);
            while (load(shared->go) == 0) sleep_ms(1);
            u64 left = 20'000 * kMillisecond;
            (void)g_calls->DkThreadInterrupt(shared->token);
            shared->delay = g_calls->DkThreadDelayExecution(&left);
            clear_interrupt();
            Handle event = kNoHandle;
            (void)g_calls->DkNotificationEventCreate(0, &event);
            u32 index;
            (void)g_calls->DkThreadInterrupt(shared->token);
            shared->wait = g_calls->DkObjectsWaitAny(1, &event, in_ms(20'000), &index);
            clear_interrupt();
            (void)g_calls->DkThreadInterrupt(shared->token);
            shared->address = g_calls->DkAddressWait(&shared->word, 0, in_ms(20'000), kAddressPrivate);
            clear_interrupt();
            store(shared->done, 1);
        },
        &shared));
    shared.token = thread.token;
    u64 start = now();
    store(shared.go, 1);
    CHECK(eventually(shared.done, 1));
    CHECK(now() - start < 5000 * kMillisecond);
    CHECK(shared.delay == Err::interrupted);
    CHECK(shared.wait == Err::interrupted);
    CHECK(shared.address == Err::interrupted);
    thread.join();
}

GATE_CASE(interrupt_ends_every_blocking_call) {
    struct Shared {
        u32 step, word;
        Err results[5];
        Handle event, pipe;
    } shared{};
    shared.event = GET(gate().notification_event_create(0));
    shared.pipe = GET(open("pipe:", kAccessRead | kAccessWrite));
    Thread thread;
    REQUIRE(thread.start(
        [](void* argument) {
            auto* shared = static_cast<Shared*>(argument);
            u32 number;
            u64 actual;
            u8 byte;
            WaitItem items[2] = {{shared->pipe, kReadyRead, 0, 0}, {shared->event, kReadyRead, 0, 0}};
            Deadline deadline = in_ms(20'000);
            auto next = [&](u32 step) {
                clear_interrupt();
                store(shared->step, step);
            };
            next(1);
            shared->results[0] = g_calls->DkObjectsWaitAny(1, &shared->event, deadline, &number);
            next(2);
            shared->results[1] = g_calls->DkAddressWait(&shared->word, 0, deadline, kAddressPrivate);
            next(3);
            shared->results[2] = g_calls->DkAddressWait(&shared->word, 0, deadline, kAddressShared);
            next(4);
            shared->results[3] = g_calls->DkObjectsWaitReady(2, items, deadline, &number);
            next(5);
            shared->results[4] = g_calls->DkStreamRead(shared->pipe, kNoOffset, &byte, 1, &actual);
            next(6);
        },
        &shared));
    for (u32 step = 1; step <= 5; ++step) {
        if (!eventually(shared.step, step)) break;
        sleep_ms(15);
        CHECK_OK(gate().thread_interrupt(thread.token));
    }
    CHECK(eventually(shared.step, 6));
    for (Err result : shared.results) CHECK_ERR(result, interrupted);
    thread.join();
    close(shared.event);
    close(shared.pipe);
}

GATE_CASE(interrupts_race_with_sleeps) {
    // Each round the thread sleeps "for ever" once and is interrupted at a random moment around the start of the sleep.
    struct Shared {
        u32 round, answered, word, lost;
    } shared{};
    constexpr u32 kRounds = 1000;
    Thread thread;
    REQUIRE(thread.start(
        [](void* argument) {
            auto* shared = static_cast<Shared*>(argument);
            for (u32 round = 1; round <= kRounds; ++round) {
                while (load(shared->round) < round) __builtin_ia32_pause();
                Err result = g_calls->DkAddressWait(&shared->word, 0, in_ms(10'000), kAddressPrivate);
                if (result != Err::interrupted) __atomic_add_fetch(&shared->lost, 1, __ATOMIC_RELAXED);
                clear_interrupt();
                store(shared->answered, round);
            }
        },
        &shared));
    for (u32 round = 1; round <= kRounds; ++round) {
        store(shared.round, round);
        for (u32 spin = (round * 7) % 400; spin > 0; --spin) __builtin_ia32_pause();
        if (err_of(gate().thread_interrupt(thread.token)) != Err::ok) break;
        u64 start = now();
        while (load(shared.answered) < round && now() - start < 11'000 * kMillisecond) {
            if (now() - start > 2 * kMillisecond) (void)gate().thread_yield_execution();
        }
        if (load(shared.answered) < round) {
            CHECK(!"an interrupt was lost");
            return;
        }
    }
    CHECK_EQ(thread_control()->pending, 0u);
    CHECK_EQ(shared.lost, 0u);
    thread.join();
}

GATE_CASE(raise_exception_carries_its_code) {
    struct Shared {
        u32 started, done, pending, external;
        Err result;
    } shared{};
    Thread thread;
    REQUIRE(thread.start(
        [](void* argument) {
            auto* shared = static_cast<Shared*>(argument);
            store(shared->started, 1);
            u64 left = 20'000 * kMillisecond;
            shared->result = g_calls->DkThreadDelayExecution(&left);
            shared->pending = thread_control()->pending;
            shared->external = thread_control()->external;
            clear_interrupt();
            store(shared->done, 1);
        },
        &shared));
    CHECK(eventually(shared.started, 1));
    sleep_ms(10);
    CHECK_OK(gate().thread_raise_exception(thread.handle, kExternalUser1));
    CHECK(eventually(shared.done, 1));
    CHECK_ERR(shared.result, interrupted);
    CHECK(shared.pending != 0);
    CHECK((shared.external & kExternalUser1) != 0);
    CHECK_ERR(gate().thread_raise_exception(thread.handle, 0x8000'0000), bad_argument);
    thread.join();
    Handle event = GET(gate().notification_event_create(0));
    CHECK_ERR(gate().thread_raise_exception(event, kExternalUser1), wrong_kind);
    CHECK_ERR(gate().thread_raise_exception(0x7fff'1234, kExternalUser1), bad_handle);
    close(event);
}

GATE_CASE(interrupt_of_nobody) {
    CHECK_ERR(gate().thread_interrupt(ThreadToken{0}), not_found);
    // A forged token may name nobody, or nobody of the family.
    for (u64 value : {1ull, 0xffff'ffffull, ~0ull, 0x1'0000'0001ull, 0x8000'0000'0000'0000ull}) {
        Err error = err_of(gate().thread_interrupt(ThreadToken{value}));
        CHECK(error == Err::not_found || error == Err::denied);
    }
    Thread thread;
    REQUIRE(thread.start([](void*) {}, nullptr));
    ThreadToken token = thread.token;
    u32 index;
    CHECK_OK(g_calls->DkObjectsWaitAny(1, &thread.handle, in_ms(5000), &index));
    thread.join();
    CHECK_ERR(gate().thread_interrupt(token), not_found);
}

GATE_CASE(segment_base) {
    static u64 word = 0x1122'3344'5566'7788;
    static u64 other = 0x99;
    REQUIRE_OK(gate().segment_base_set(0, reinterpret_cast<u64>(&word)));
    CHECK_EQ(read_fs_word(), word);
    // Each thread has its own.
    Thread thread;
    static u64 seen;
    REQUIRE(thread.start(
        [](void*) {
            (void)g_calls->DkSegmentBaseSet(0, reinterpret_cast<u64>(&other));
            sleep_ms(5);
            seen = read_fs_word();
        },
        nullptr));
    thread.join();
    CHECK_EQ(seen, other);
    CHECK_EQ(read_fs_word(), word);
    CHECK_ERR(gate().segment_base_set(1, 0), bad_argument);
    CHECK_ERR(gate().segment_base_set(0, 1ull << 63), bad_argument);
    CHECK_EQ(read_fs_word(), word);
}

}  // namespace guest
