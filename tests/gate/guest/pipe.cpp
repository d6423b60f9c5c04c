// SPDX-License-Identifier: Apache-2.0
// Streams that are no files: pipe:, pipe.server:, pipe.client:, null:, stdin:, stdout:, stderr:, memory:
#include "tests/gate/guest/guest.hpp"

namespace guest {
namespace {

constexpr u32 kReadWrite = kAccessRead | kAccessWrite;

u32 ready_now(Handle stream, u32 want) {
    WaitItem item{stream, want, 0, 0};
    u32 ready;
    (void)g_calls->DkObjectsWaitReady(1, &item, kPoll, &ready);
    return item.got;
}

}  // namespace

GATE_CASE(pipe_carries_bytes_in_order) {
    Handle pipe = GET(open("pipe:", kReadWrite));
    CHECK_EQ(GET(write(pipe, "one ")), 4u);
    CHECK_EQ(GET(write(pipe, "two")), 3u);
    char text[32] = {};
    CHECK_EQ(GET(read(pipe, text, 5)), 5u);
    CHECK(std::string_view(text, 5) == "one t");
    CHECK_EQ(GET(read(pipe, text, sizeof text)), 2u);
    CHECK_ERR(read(pipe, text, 1, 0), not_seekable);
    CHECK_ERR(write(pipe, "x", 0), not_seekable);
    CHECK_ERR(gate().stream_set_length(pipe, 0, 0, LengthChange::truncate), not_seekable);
    CHECK_ERR(gate().stream_map(pipe, fresh_range(kPageSize), kPageSize, 0, kProtRead, kMapPrivate), unsupported);
    CHECK(GET(gate().stream_attributes_query_by_handle(pipe)).type == StreamType::pipe);
    close(pipe);
}

GATE_CASE(pipe_blocks_until_there_is_something) {
    Handle pipe = GET(open("pipe:", kReadWrite));
    Thread thread;
    REQUIRE(thread.start(
        [](void* argument) {
            sleep_ms(20);
            CHECK_OK(write(*static_cast<Handle*>(argument), "late"));
        },
        &pipe));
    char text[8] = {};
    u64 start = now();
    CHECK_EQ(GET(read(pipe, text, sizeof text)), 4u);
    CHECK(now() - start >= 5 * kMillisecond);
    thread.join();
    close(pipe);
}

GATE_CASE(pipe_non_blocking) {
    Handle pipe = GET(open("pipe:", kReadWrite, kCreateNever, kOpenNonBlocking));
    char byte;
    CHECK_ERR(read(pipe, &byte, 1), would_block);
    static char block[4096];
    u64 total = 0;
    for (u32 i = 0; i < 1000; ++i) {
        auto written = gate().stream_write(pipe, kNoOffset, block, sizeof block);
        if (!written.ok()) {
            CHECK_ERR(written, would_block);
            break;
        }
        total += written.value();
    }
    CHECK(total >= 4096);
    CHECK(total < 1000 * sizeof block);
    CHECK_EQ(ready_now(pipe, kReadyRead | kReadyWrite) & (kReadyRead | kReadyWrite), u32{kReadyRead});
    close(pipe);
}

GATE_CASE(pipe_between_processes) {
    struct Shared {
        Handle request, reply;
    } shared{};
    shared.request = GET(open("pipe:", kReadWrite));
    shared.reply = GET(open("pipe:", kReadWrite));
    ForkResult fork;
    REQUIRE_OK(g_calls->DkProcessFork(&fork));
    if (fork.is_child != 0) {
        for (u32 i = 0; i < 100; ++i) {
            u32 value;
            if (err_of(read(shared.request, &value, 4)) != Err::ok) g_calls->DkProcessExit(1);
            value += 1;
            if (err_of(write(shared.reply, {reinterpret_cast<char*>(&value), 4})) != Err::ok) g_calls->DkProcessExit(2);
        }
        g_calls->DkProcessExit(8);
    }
    for (u32 i = 0; i < 100; ++i) {
        u32 value = i * 3;
        CHECK_OK(write(shared.request, {reinterpret_cast<char*>(&value), 4}));
        CHECK_OK(read(shared.reply, &value, 4));
        CHECK_EQ(value, i * 3 + 1);
    }
    u32 index, code = 0;
    CHECK_OK(g_calls->DkObjectsWaitAny(1, &fork.process, in_ms(20'000), &index));
    CHECK_OK(g_calls->DkProcessGetExitCode(fork.process, &code));
    CHECK_EQ(code, 8u);
    for (Handle handle : {shared.request, shared.reply, fork.process}) close(handle);
}

GATE_CASE(named_pipes_connect_by_name) {
    CHECK_ERR(open("pipe.client:nobody", kReadWrite), not_found);
    Handle server = GET(open("pipe.server:gate-test", kAccessRead));
    Handle clients[2], sides[2];
    for (u32 i = 0; i < 2; ++i) clients[i] = GET(open("pipe.client:gate-test", kReadWrite));
    for (u32 i = 0; i < 2; ++i) CHECK_EQ(GET(read(server, &sides[i], sizeof(Handle))), sizeof(Handle));
    // Connections are accepted in the order of their clients.
    char text[8] = {};
    for (u32 i = 0; i < 2; ++i) {
        CHECK_OK(write(clients[i], i == 0 ? "ask 0" : "ask 1"));
        CHECK_EQ(GET(read(sides[i], text, sizeof text)), 5u);
        CHECK_EQ(text[4], '0' + i);
        CHECK_OK(write(sides[i], "answer"));
        CHECK_EQ(GET(read(clients[i], text, sizeof text)), 6u);
        CHECK(std::string_view(text, 6) == "answer");
    }
    // When one side is gone the other reads to the end and cannot write.
    CHECK_OK(write(sides[0], "last"));
    close(sides[0]);
    CHECK_EQ(GET(read(clients[0], text, sizeof text)), 4u);
    CHECK_EQ(GET(read(clients[0], text, sizeof text)), 0u);
    CHECK_ERR(write(clients[0], "x"), closed);
    CHECK((ready_now(clients[0], kReadyRead) & (kReadyHangup | kReadyRead)) != 0);
    u8 small[2];
    CHECK_ERR(read(server, small, sizeof small), bad_argument);
    close(server);
    CHECK_ERR(open("pipe.client:gate-test", kReadWrite), not_found);
    for (Handle handle : {clients[0], clients[1], sides[1]}) close(handle);
    // The old spelling.
    server = GET(open("pipe.srv:gate-test-2", kAccessRead));
    CHECK_ERR(open("pipe.server:gate-test-2", kAccessRead), exists);
    close(server);
}

GATE_CASE(named_pipes_reach_other_processes) {
    Handle server = GET(open("pipe.server:family", kAccessRead));
    ForkResult fork;
    REQUIRE_OK(g_calls->DkProcessFork(&fork));
    if (fork.is_child != 0) {
        auto client = open("pipe.client:family", kReadWrite);
        if (!client.ok()) g_calls->DkProcessExit(1);
        char byte;
        bool good = write(client.value(), "hi").ok() && read(client.value(), &byte, 1).ok() && byte == '!';
        g_calls->DkProcessExit(good ? 14 : 2);
    }
    Handle side = kNoHandle;
    CHECK_EQ(GET(read(server, &side, sizeof side)), sizeof side);
    char text[8];
    CHECK_EQ(GET(read(side, text, sizeof text)), 2u);
    CHECK_OK(write(side, "!"));
    u32 index, code = 0;
    CHECK_OK(g_calls->DkObjectsWaitAny(1, &fork.process, in_ms(20'000), &index));
    CHECK_OK(g_calls->DkProcessGetExitCode(fork.process, &code));
    CHECK_EQ(code, 14u);
    for (Handle handle : {server, side, fork.process}) close(handle);
}

GATE_CASE(null_swallows_and_is_empty) {
    Handle null = GET(open("null:", kReadWrite));
    char byte = 'x';
    CHECK_EQ(GET(write(null, "anything", kNoOffset)), 8u);
    CHECK_EQ(GET(read(null, &byte, 1)), 0u);
    CHECK_EQ(byte, 'x');
    CHECK(GET(gate().stream_attributes_query_by_handle(null)).type == StreamType::null);
    CHECK_EQ(ready_now(null, kReadyRead | kReadyWrite), u32{kReadyRead | kReadyWrite});
    close(null);
}

GATE_CASE(standard_streams) {
    Handle in = GET(open("stdin:", kAccessRead));
    char text[32] = {};
    // The launcher of this test gives "from the launcher" on standard input.
    CHECK_EQ(GET(read(in, text, sizeof text)), 17u);
    CHECK(std::string_view{text} == "from the launcher");
    CHECK_ERR(write(in, "x"), denied);
    close(in);
    CHECK_ERR(open("stdin:", kAccessRead), not_found);  // with its last handle a standard stream is gone
    for (const char* uri : {"stdout:", "stderr:"}) {
        Handle out = GET(open(uri, kAccessWrite));
        CHECK_OK(write(out, "note standard stream\n"));
        CHECK_ERR(read(out, text, 1), denied);
        Handle again = GET(open(uri, kAccessWrite));
        close(out);  // the other handle keeps the stream
        CHECK_OK(write(again, "note standard stream again\n"));
        close(again);
    }
}

GATE_CASE(memory_streams) {
    Handle memory = GET(open("memory:?size=65536", kReadWrite));
    Attributes attributes = GET(gate().stream_attributes_query_by_handle(memory));
    CHECK(attributes.type == StreamType::memory);
    CHECK_EQ(attributes.size, 65536u);
    CHECK_OK(write(memory, "written", 100));
    char text[8] = {};
    CHECK_EQ(GET(read(memory, text, 7, 100)), 7u);
    CHECK(std::string_view{text} == "written");
    u64 first = fresh_range(65536), second = fresh_range(kPageSize);
    REQUIRE_OK(gate().stream_map(memory, first, 65536, 0, kProtRead | kProtWrite, kMapShared));
    REQUIRE_OK(gate().stream_map(memory, second, kPageSize, 0, kProtRead | kProtWrite, kMapPrivate));
    auto* bytes = reinterpret_cast<char*>(first);
    CHECK_EQ(bytes[100], 'w');
    bytes[0] = 's';
    CHECK_EQ(*reinterpret_cast<char*>(second), 's');
    *reinterpret_cast<char*>(second) = 'p';
    CHECK_EQ(bytes[0], 's');
    u32 code = in_child(
        [](void* argument) -> u32 {
            static_cast<char*>(argument)[200] = 'c';
            return 21;
        },
        bytes);
    CHECK_EQ(code, 21u);
    CHECK_EQ(bytes[200], 'c');
    CHECK_OK(gate().virtual_memory_free(first, kPageSize, FreeKind::remove));
    CHECK_EQ(bytes[100], 0);
    CHECK_OK(gate().stream_unmap(first, 65536));
    CHECK_OK(gate().stream_unmap(second, kPageSize));
    close(memory);
    CHECK_ERR(open("memory:", kReadWrite), not_found);
    CHECK_ERR(open("memory:?size=12x", kReadWrite), bad_argument);
}

GATE_CASE(the_arena_is_shared_by_the_family) {
    Handle arena = GET(open("memory:arena", kReadWrite));
    u64 size = GET(gate().stream_attributes_query_by_handle(arena)).size;
    CHECK_EQ(size, g_parameters->arena_size);
    u64 address = fresh_range(kPageSize);
    REQUIRE_OK(gate().stream_map(arena, address, kPageSize, size - kPageSize, kProtRead | kProtWrite, kMapShared));
    auto* word = reinterpret_cast<u32*>(address);
    *word = 5;
    u32 code = in_child(
        [](void* argument) -> u32 {
            *static_cast<u32*>(argument) += 1;
            return 22;
        },
        word);
    CHECK_EQ(code, 22u);
    CHECK_EQ(*word, 6u);
    CHECK_ERR(gate().stream_set_length(arena, 0, 0, LengthChange::truncate), denied);
    CHECK_OK(gate().stream_unmap(address, kPageSize));
    close(arena);
}

}  // namespace guest
