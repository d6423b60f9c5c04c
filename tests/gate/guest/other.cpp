// SPDX-License-Identifier: Apache-2.0
// Time, randomness, references; what every call checks and in which order; the calls that are not there.
#include "tests/gate/guest/guest.hpp"

namespace guest {
namespace {

constexpr Handle kForged[] = {1, 0xffff'ffff, 0x8000'0001, 0x7fff'0001, 0x0001'ffff, 65536, 12345};

}  // namespace

GATE_CASE(clocks) {
    u64 last = 0;
    for (u32 i = 0; i < 1000; ++i) {
        u64 time = GET(gate().system_time_query(Clock::monotonic));
        CHECK(time >= last);
        last = time;
    }
    CHECK(GET(gate().system_time_query(Clock::realtime)) > 1'600'000'000ull * 1'000'000'000);
    CHECK(GET(gate().system_time_query(Clock::boottime)) >= last / 2);
    for (Clock clock : {Clock::realtime_coarse, Clock::monotonic_coarse, Clock::monotonic_raw, Clock::tai})
        CHECK(GET(gate().system_time_query(clock)) != 0);
    u64 before = GET(gate().system_time_query(Clock::thread_cpu));
    u64 process = GET(gate().system_time_query(Clock::process_cpu));
    for (u64 end = now() + 20 * kMillisecond; now() < end;) {
    }
    u64 after = GET(gate().system_time_query(Clock::thread_cpu));
    CHECK(after > before);
    CHECK(GET(gate().system_time_query(Clock::process_cpu)) > process);
    sleep_ms(30);
    CHECK(GET(gate().system_time_query(Clock::thread_cpu)) - after < 25 * kMillisecond);
    CHECK_ERR(gate().system_time_query(static_cast<Clock>(9)), bad_argument);
    CHECK_ERR(gate().system_time_query(static_cast<Clock>(0xffff'ffff)), bad_argument);
}

GATE_CASE(timers_interrupt) {
    // Without a personality the interrupt ends a sleep and leaves its reason in the thread control.
    for (TimerKind kind : {TimerKind::monotonic, TimerKind::process_cpu}) {
        REQUIRE_OK(gate().timer_set(kind, 10 * kMillisecond));
        u32 wanted = kind == TimerKind::monotonic ? kExternalTimer : kExternalProfileTimer;
        u64 end = now() + 5000 * kMillisecond;
        while (now() < end && (thread_control()->external & wanted) == 0)
            if (kind == TimerKind::monotonic) sleep_ms(1);
        CHECK((thread_control()->external & wanted) != 0);
        thread_control()->external &= ~wanted;
        clear_interrupt();
        CHECK_OK(gate().timer_set(kind, 0));
    }
    REQUIRE_OK(gate().timer_set(TimerKind::monotonic, 10 * kMillisecond));
    CHECK_OK(gate().timer_set(TimerKind::monotonic, 0));
    sleep_ms(25);
    CHECK_EQ(thread_control()->external & kExternalTimer, 0u);
    CHECK_ERR(gate().timer_set(static_cast<TimerKind>(3), 1), bad_argument);
}

GATE_CASE(random_bits) {
    u8* bytes = fresh_memory(2 * kPageSize);
    CHECK_OK(gate().random_bits_read(bytes, 2 * kPageSize));
    u32 ones = 0;
    for (u64 i = 0; i < 16 * kPageSize; ++i) ones += bytes[i / 8] >> i % 8 & 1;
    CHECK(ones > 30000);
    CHECK(ones < 35536);
    u8 again[64];
    CHECK_OK(gate().random_bits_read(again, sizeof again));
    CHECK(memcmp(bytes, again, sizeof again) != 0);
    CHECK_OK(gate().random_bits_read(bytes, 0));
    CHECK_ERR(gate().random_bits_read(reinterpret_cast<void*>(fresh_range(kPageSize)), 8), bad_address);
}

GATE_CASE(instruction_cache_flush) {
    u8* code = fresh_memory(kPageSize);
    u64 address = reinterpret_cast<u64>(code);
    auto run = [&] { return reinterpret_cast<u32 (*)()>(address)(); };
    for (u32 value = 1; value < 20; ++value) {
        REQUIRE_OK(gate().virtual_memory_protect(address, kPageSize, kProtRead | kProtWrite));
        code[0] = 0xb8;  // mov $value, %eax; ret
        memcpy(code + 1, &value, 4);
        code[5] = 0xc3;
        REQUIRE_OK(gate().virtual_memory_protect(address, kPageSize, kProtRead | kProtExecute));
        REQUIRE_OK(gate().instruction_cache_flush(address, 6));
        CHECK_EQ(run(), value);
    }
    CHECK_ERR(gate().instruction_cache_flush(~0ull - 4, 16), bad_argument);
}

GATE_CASE(references_are_counted) {
    Handle event = GET(gate().notification_event_create(1));
    CHECK_OK(gate().object_reference(event));
    CHECK_OK(gate().object_reference(event));
    CHECK_OK(gate().object_close(event));
    CHECK_OK(gate().object_close(event));
    u32 signalled = 0;
    CHECK_OK(g_calls->DkEventPeek(event, &signalled));
    CHECK_EQ(signalled, 1u);
    CHECK_OK(gate().object_close(event));
    CHECK_ERR(gate().object_close(event), bad_handle);
    CHECK_ERR(gate().object_reference(event), bad_handle);
    CHECK_ERR(g_calls->DkEventPeek(event, &signalled), bad_handle);
    // A number that is used again does not revive the old handle.
    Handle next = GET(gate().notification_event_create(0));
    CHECK(next != event);
    CHECK_ERR(gate().event_set(event), bad_handle);
    close(next);
}

GATE_CASE(closing_works_for_every_kind) {
    for (u32 round = 0; round < 200; ++round) {
        Handle handles[] = {GET(gate().notification_event_create(0)), GET(gate().synchronization_event_create(0)),
                            GET(gate().semaphore_create(0, 1)),       GET(open("pipe:", kAccessRead | kAccessWrite)),
                            GET(open("null:", kAccessRead)),          GET(open("memory:?size=4096", kAccessRead))};
        for (Handle handle : handles) CHECK_OK(gate().object_close(handle));
    }
}

GATE_CASE(forged_handles_are_bad) {
    char byte = 0;
    u64 number = 0;
    u32 word = 0;
    Handle handle = kNoHandle;
    Attributes attributes{};
    for (Handle forged : kForged) {
        CHECK_ERR(gate().stream_read(forged, 0, &byte, 1), bad_handle);
        CHECK_ERR(gate().stream_write(forged, 0, &byte, 1), bad_handle);
        CHECK_ERR(g_calls->DkStreamMap(forged, fresh_range(kPageSize), kPageSize, 0, kProtRead, 0), bad_handle);
        CHECK_ERR(g_calls->DkStreamSetLength(forged, 0, 0, LengthChange::truncate), bad_handle);
        CHECK_ERR(g_calls->DkStreamFlush(forged, 0), bad_handle);
        CHECK_ERR(g_calls->DkStreamGetEvent(forged, kReadyRead, &handle), bad_handle);
        alignas(8) u8 records[512];
        CHECK_ERR(g_calls->DkStreamEnumerateChildren(forged, &number, records, sizeof records, &number), bad_handle);
        CHECK_ERR(g_calls->DkStreamAttributesQueryByHandle(forged, &attributes), bad_handle);
        CHECK_ERR(g_calls->DkStreamLock(forged, 0, 1, kLockShared, 0), bad_handle);
        CHECK_ERR(g_calls->DkStreamChangesRegister(forged, kChangeNames, forged), bad_handle);
        CHECK_ERR(g_calls->DkEventSet(forged), bad_handle);
        CHECK_ERR(g_calls->DkEventClear(forged), bad_handle);
        CHECK_ERR(g_calls->DkEventPeek(forged, &word), bad_handle);
        CHECK_ERR(g_calls->DkSemaphoreRelease(forged, 1, nullptr), bad_handle);
        CHECK_ERR(g_calls->DkSemaphorePeek(forged, &word), bad_handle);
        CHECK_ERR(g_calls->DkProcessGetExitCode(forged, &word), bad_handle);
        CHECK_ERR(g_calls->DkThreadRaiseException(forged, 0), bad_handle);
        CHECK_ERR(g_calls->DkObjectReference(forged), bad_handle);
        CHECK_ERR(g_calls->DkObjectClose(forged), bad_handle);
        CHECK_ERR(g_calls->DkObjectsWaitAny(1, &forged, kPoll, &word), bad_handle);
    }
    CHECK_ERR(g_calls->DkObjectClose(kNoHandle), bad_handle);
}

GATE_CASE(wrong_kinds_come_before_rights) {
    // A stream that may only be read: calls for other kinds say wrong_kind, calls for writing say denied.
    Handle stream = GET(open("null:", kAccessRead));
    Handle event = GET(gate().notification_event_create(0));
    Handle semaphore = GET(gate().semaphore_create(0, 1));
    u32 word;
    u64 number;
    char byte = 0;
    CHECK_ERR(g_calls->DkEventSet(stream), wrong_kind);
    CHECK_ERR(g_calls->DkEventClear(semaphore), wrong_kind);
    CHECK_ERR(g_calls->DkEventPeek(stream, &word), wrong_kind);
    CHECK_ERR(g_calls->DkSemaphoreRelease(event, 1, nullptr), wrong_kind);
    CHECK_ERR(g_calls->DkSemaphorePeek(stream, &word), wrong_kind);
    CHECK_ERR(g_calls->DkProcessGetExitCode(event, &word), wrong_kind);
    CHECK_ERR(g_calls->DkThreadRaiseException(stream, 0), wrong_kind);
    CHECK_ERR(g_calls->DkStreamRead(event, kNoOffset, &byte, 1, &number), wrong_kind);
    CHECK_ERR(g_calls->DkStreamWrite(semaphore, kNoOffset, &byte, 1, &number), wrong_kind);
    CHECK_ERR(g_calls->DkStreamLock(event, 0, 1, kLockShared, 0), wrong_kind);
    alignas(8) u8 records[512];
    number = 0;
    CHECK_ERR(g_calls->DkStreamEnumerateChildren(stream, &number, records, sizeof records, &number), wrong_kind);
    CHECK_ERR(g_calls->DkStreamFlush(event, 0), wrong_kind);
    CHECK_ERR(g_calls->DkStreamMap(event, fresh_range(kPageSize), kPageSize, 0, kProtRead, 0), wrong_kind);
    CHECK_ERR(g_calls->DkStreamWrite(stream, kNoOffset, &byte, 1, &number), denied);
    // A value that is not defined is refused before any handle is looked at.
    CHECK_ERR(g_calls->DkStreamFlush(0x7fff'0001, 9), bad_argument);
    CHECK_ERR(g_calls->DkStreamGetEvent(0x7fff'0001, 0x100, &word), bad_argument);
    CHECK_ERR(g_calls->DkStreamLock(event, 0, 1, 9, 0), bad_argument);
    for (Handle handle : {stream, event, semaphore}) close(handle);
}

GATE_CASE(results_need_a_place) {
    Handle event = GET(gate().notification_event_create(0));
    u32 word;
    Attributes attributes{};
    CHECK_ERR(g_calls->DkNotificationEventCreate(0, nullptr), bad_address);
    CHECK_ERR(g_calls->DkSemaphoreCreate(0, 1, nullptr), bad_address);
    CHECK_ERR(g_calls->DkEventPeek(event, nullptr), bad_address);
    CHECK_ERR(g_calls->DkObjectsWaitAny(1, nullptr, kPoll, &word), bad_address);
    CHECK_ERR(g_calls->DkObjectsWaitAny(1, &event, kPoll, nullptr), bad_address);
    CHECK_ERR(g_calls->DkObjectsWaitReady(1, nullptr, kPoll, &word), bad_address);
    CHECK_ERR(g_calls->DkStreamOpen("null:", kAccessRead, 0, 0, 0, nullptr, nullptr), bad_address);
    CHECK_ERR(g_calls->DkProcessFork(nullptr), bad_address);
    CHECK_ERR(g_calls->DkThreadGetParameter(nullptr), bad_address);
    CHECK_ERR(g_calls->DkThreadDelayExecution(nullptr), bad_address);
    CHECK_ERR(g_calls->DkSystemTimeQuery(Clock::monotonic, nullptr), bad_address);
    CHECK_ERR(g_calls->DkStreamAttributesQueryByHandle(event, nullptr), bad_address);
    CHECK_ERR(g_calls->DkStreamAttributesQueryByHandle(event, &attributes), wrong_kind);
    CHECK_ERR(g_calls->DkStreamRead(event, kNoOffset, &word, 4, nullptr), bad_address);
    CHECK_ERR(g_calls->DkDebugStringPrint(reinterpret_cast<char*>(fresh_range(kPageSize)), 4), bad_address);
    close(event);
}

GATE_CASE(debug_print) {
    CHECK_OK(gate().debug_string_print("note printed for people\n", 24));
    CHECK_OK(gate().debug_string_print("", 0));
}

GATE_CASE(calls_that_are_not_there_say_so) {
    // Each of these works or answers Err::unsupported, whatever its arguments.
    Handle handle = kNoHandle, other = kNoHandle;
    u64 number = 0;
    u32 word = 0;
    char byte = 0;
    Handle null = GET(open("null:", kAccessRead));
    CHECK_ERR(g_calls->DkInputEventRead(null, &byte, 1, &number), unsupported);
    CHECK_ERR(g_calls->DkFrameBufferExport(0, 1, 1, 4, &handle), unsupported);
    CHECK_ERR(g_calls->DkFrameBufferNotifyUpdate(null, 0, 0, 1, 1), unsupported);
    CHECK_ERR(g_calls->DkStreamMapPeBinary(null, fresh_range(kPageSize), &number), unsupported);
    CHECK_ERR(g_calls->DkChannelCreate(&handle, &other), unsupported);
    CHECK_ERR(g_calls->DkChannelCall(null, &byte, 1, &byte, 1, &word), unsupported);
    CHECK_ERR(g_calls->DkChannelReplyReceive(null, nullptr, 0, &byte, 1, &word), unsupported);
    CHECK_ERR(g_calls->DkChannelSend(null, &byte, 1), unsupported);
    CHECK_ERR(g_calls->DkHandlePass(null, null, &handle), unsupported);
    close(null);
}

GATE_CASE(the_start_parameters_are_sound) {
    CHECK_EQ(g_parameters->version, kAbiVersion);
    CHECK(g_parameters->size >= sizeof(LibOsParameters));
    CHECK_EQ(g_calls->version, kAbiVersion);
    CHECK_EQ(g_calls->size, sizeof(Calls));
    auto* entries = reinterpret_cast<const u64*>(g_calls);
    for (u32 i = 1; i <= kCallCount; ++i) CHECK(entries[i] != 0);
    CHECK(g_parameters->argument_count >= 1);
    CHECK(g_parameters->arguments[g_parameters->argument_count] == nullptr);
    CHECK(g_parameters->working_directory[0] == '/');
    CHECK(g_parameters->user_low < g_parameters->user_high);
    CHECK(g_parameters->processor_count >= 1);
    CHECK(g_parameters->memory_limit != 0);
    CHECK(g_parameters->thread.value != 0);
    u64 stack = reinterpret_cast<u64>(__builtin_frame_address(0));
    CHECK(stack > g_parameters->stack_low && stack < g_parameters->stack_high);
    CHECK(thread_control()->self == thread_control());
}

}  // namespace guest
