// SPDX-License-Identifier: Apache-2.0
// Child picoprocesses.
#include "tests/gate/guest/guest.hpp"

namespace guest {

GATE_CASE(fork_copies_and_returns_twice) {
    static u32 value;
    value = 1;
    ForkResult fork;
    REQUIRE_OK(g_calls->DkProcessFork(&fork));
    if (fork.is_child != 0) {
        bool good = value == 1 && fork.self.value != 0;
        value = 2;
        g_calls->DkProcessExit(good ? 23 : 1);
    }
    CHECK(fork.process != kNoHandle);
    CHECK(fork.self.value != 0);
    CHECK(fork.child.value != 0);
    CHECK(fork.child.value != fork.self.value);
    CHECK(fork.child_id != 0);
    u32 index, code = 0;
    CHECK_OK(g_calls->DkObjectsWaitAny(1, &fork.process, in_ms(20'000), &index));
    CHECK_OK(g_calls->DkProcessGetExitCode(fork.process, &code));
    CHECK_EQ(code, 23u);
    CHECK_EQ(value, 1u);
    // The code can be read again, and the handle stays signalled.
    CHECK_OK(g_calls->DkProcessGetExitCode(fork.process, &code));
    CHECK_EQ(code, 23u);
    CHECK_OK(g_calls->DkObjectsWaitAny(1, &fork.process, kPoll, &index));
    close(fork.process);
    CHECK_ERR(g_calls->DkProcessGetExitCode(fork.process, &code), bad_handle);
}

GATE_CASE(bare_fork_leaves_the_program_behind) {
    constexpr u64 kSize = 1 << 20;
    const u64 place = g_parameters->user_low + (64ull << 20);
    auto commit = [&] { return g_calls->DkVirtualMemoryAlloc(place, kSize, kAllocCommit, kProtRead | kProtWrite); };
    REQUIRE_OK(commit());
    *reinterpret_cast<volatile u32*>(place) = 7;
    for (u32 flags : {u32{kForkBare}, 0u}) {
        ForkResult fork;
        fork.flags = flags;
        REQUIRE_OK(g_calls->DkProcessFork(&fork));
        if (fork.is_child != 0) {
            Err error = commit();
            g_calls->DkProcessExit(error == Err::ok ? 1 : error == Err::exists ? 2 : 3);
        }
        u32 index, code = 0;
        CHECK_OK(g_calls->DkObjectsWaitAny(1, &fork.process, in_ms(20'000), &index));
        CHECK_OK(g_calls->DkProcessGetExitCode(fork.process, &code));
        CHECK_EQ(code, flags != 0 ? 1u : 2u);
        CHECK_EQ(*reinterpret_cast<volatile u32*>(place), 7u);
        close(fork.process);
    }
    ForkResult wrong;
    wrong.flags = 2;
    CHECK_ERR(g_calls->DkProcessFork(&wrong), bad_argument);
    CHECK_OK(g_calls->DkVirtualMemoryFree(place, kSize, FreeKind::release));
}

GATE_CASE(exit_code_of_a_running_child) {
    ForkResult fork;
    REQUIRE_OK(g_calls->DkProcessFork(&fork));
    if (fork.is_child != 0) {
        u64 left = 20'000 * kMillisecond;
        Err error = g_calls->DkThreadDelayExecution(&left);
        clear_interrupt();
        g_calls->DkProcessExit(error == Err::interrupted ? 5 : 6);
    }
    u32 code = 0, index;
    CHECK_ERR(g_calls->DkProcessGetExitCode(fork.process, &code), would_block);
    CHECK_ERR(g_calls->DkObjectsWaitAny(1, &fork.process, kPoll, &index), timed_out);
    // A thread of another picoprocess is interrupted by its token. The child may not sleep yet: then it is told again.
    Err waited = Err::timed_out;
    for (u32 tries = 0; tries < 100 && waited == Err::timed_out; ++tries) {
        sleep_ms(10);
        Err error = err_of(gate().thread_interrupt(fork.child));
        CHECK(error == Err::ok || error == Err::not_found);
        waited = g_calls->DkObjectsWaitAny(1, &fork.process, in_ms(100), &index);
    }
    CHECK_OK(waited);
    CHECK_OK(g_calls->DkProcessGetExitCode(fork.process, &code));
    CHECK_EQ(code, 5u);
    close(fork.process);
}

GATE_CASE(fork_keeps_handles_with_their_numbers) {
    struct Shared {
        Handle pipe, event, file;
    } shared{};
    shared.pipe = GET(open("pipe:", kAccessRead | kAccessWrite));
    shared.event = GET(gate().notification_event_create(1));
    shared.file = GET(file_with(at("fork.txt"), "abcdef"));
    u32 code = in_child(
        [](void* argument) -> u32 {
            auto* shared = static_cast<Shared*>(argument);
            u32 signalled = 0;
            if (g_calls->DkEventPeek(shared->event, &signalled) != Err::ok || signalled != 1) return 1;
            char byte = 0;
            if (err_of(read(shared->file, &byte, 1, 3)) != Err::ok || byte != 'd') return 2;
            if (err_of(write(shared->pipe, "from the child")) != Err::ok) return 3;
            close(shared->file);
            return 9;
        },
        &shared);
    CHECK_EQ(code, 9u);
    char text[32] = {};
    CHECK_EQ(GET(read(shared.pipe, text, sizeof text)), 14u);
    CHECK(std::string_view{text} == "from the child");
    char byte = 0;
    CHECK_OK(read(shared.file, &byte, 1, 0));  // the child's close is its own
    for (Handle handle : {shared.pipe, shared.event, shared.file}) close(handle);
    CHECK_OK(gate().stream_delete(at("fork.txt"), 0));
}

GATE_CASE(fork_takes_only_the_calling_thread) {
    static u32 ticks;
    static u32 stop;
    ticks = stop = 0;
    Thread thread;
    REQUIRE(thread.start(
        [](void*) {
            while (__atomic_load_n(&stop, __ATOMIC_ACQUIRE) == 0) {
                __atomic_add_fetch(&ticks, 1, __ATOMIC_RELAXED);
                sleep_ms(1);
            }
        },
        nullptr));
    sleep_ms(10);
    u32 code = in_child(
        [](void*) -> u32 {
            u32 before = __atomic_load_n(&ticks, __ATOMIC_RELAXED);
            sleep_ms(30);
            return before == __atomic_load_n(&ticks, __ATOMIC_RELAXED) ? 11 : 12;
        },
        nullptr);
    CHECK_EQ(code, 11u);
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    thread.join();
}

GATE_CASE(many_children) {
    static ForkResult forks[16];
    for (u32 i = 0; i < 16; ++i) {
        REQUIRE_OK(g_calls->DkProcessFork(&forks[i]));
        if (forks[i].is_child != 0) g_calls->DkProcessExit(i);
    }
    for (u32 i = 0; i < 16; ++i) {
        u32 index, code = ~0u;
        CHECK_OK(g_calls->DkObjectsWaitAny(1, &forks[i].process, in_ms(20'000), &index));
        CHECK_OK(g_calls->DkProcessGetExitCode(forks[i].process, &code));
        CHECK_EQ(code, i);
        close(forks[i].process);
    }
}

GATE_CASE(exit_ends_all_threads) {
    u32 code = in_child(
        [](void*) -> u32 {
            static Thread threads[4];
            for (Thread& thread : threads) thread.start([](void*) { sleep_ms(20'000); }, nullptr);
            return 31;
        },
        nullptr);
    CHECK_EQ(code, 31u);
}

GATE_CASE(exit_from_another_thread) {
    u32 code = in_child(
        [](void*) -> u32 {
            static Thread thread;
            thread.start([](void*) { g_calls->DkProcessExit(32); }, nullptr);
            sleep_ms(20'000);
            return 1;
        },
        nullptr);
    CHECK_EQ(code, 32u);
}

GATE_CASE(last_thread_exit_ends_the_process) {
    ForkResult fork;
    REQUIRE_OK(g_calls->DkProcessFork(&fork));
    if (fork.is_child != 0) g_calls->DkThreadExit(nullptr);
    u32 index, code = 77;
    CHECK_OK(g_calls->DkObjectsWaitAny(1, &fork.process, in_ms(20'000), &index));
    CHECK_OK(g_calls->DkProcessGetExitCode(fork.process, &code));
    CHECK_EQ(code, 0u);
    close(fork.process);
}

GATE_CASE(a_fault_without_fixup_ends_the_process) {
    ForkResult fork;
    REQUIRE_OK(g_calls->DkProcessFork(&fork));
    if (fork.is_child != 0) {
        *reinterpret_cast<volatile u8*>(fresh_range(kPageSize)) = 1;
        g_calls->DkProcessExit(0);
    }
    u32 index, code = 0;
    CHECK_OK(g_calls->DkObjectsWaitAny(1, &fork.process, in_ms(20'000), &index));
    CHECK_OK(g_calls->DkProcessGetExitCode(fork.process, &code));
    CHECK(code != 0);
    close(fork.process);
}

// A fresh picoprocess runs the same image: with "child" as its second argument it is the case below that answers.
GATE_CASE(create_starts_empty_with_the_streams_given) {
    Handle pipe = GET(open("pipe:", kAccessRead | kAccessWrite));
    Handle streams[3] = {kNoHandle, pipe, pipe};
    const char* arguments[] = {"guest", "role_of_the_child", scratch(), "hello", nullptr};
    Handle process = GET(gate().process_create("file:/usr/bin/true", arguments, streams, 3));
    u32 index, code = 77;
    CHECK_OK(g_calls->DkObjectsWaitAny(1, &process, in_ms(20'000), &index));
    CHECK_OK(g_calls->DkProcessGetExitCode(process, &code));
    CHECK_EQ(code, 17u);
    char text[64] = {};
    CHECK_EQ(GET(read(pipe, text, sizeof text)), 18u);
    CHECK(std::string_view{text} == "a child says hello");
    close(pipe);
    close(process);
}

GATE_CASE(role_of_the_child) {
    if (g_parameters->argument_count != 4 || std::string_view{g_parameters->arguments[3]} != "hello") return;
    // The parent's handles are not here, and standard output is its pipe.
    Handle output = GET(open("stdout:", kAccessWrite));
    CHECK_OK(write(output, "a child says hello"));
    g_calls->DkProcessExit(17);
}

GATE_CASE(create_refuses) {
    const char* arguments[] = {"x", nullptr};
    Handle streams[4] = {};
    CHECK_ERR(gate().process_create("file:/no/such/program", arguments, streams, 0), not_found);
    CHECK_ERR(gate().process_create("nonsense", arguments, streams, 0), bad_argument);
    CHECK_ERR(gate().process_create("file:/usr/bin/true", arguments, streams, 4), bad_argument);
    Handle event = GET(gate().notification_event_create(0));
    streams[0] = event;
    CHECK_ERR(gate().process_create("file:/usr/bin/true", arguments, streams, 1), wrong_kind);
    streams[0] = 0x7fff'0001;
    CHECK_ERR(gate().process_create("file:/usr/bin/true", arguments, streams, 1), bad_handle);
    close(event);
}

}  // namespace guest
