// SPDX-License-Identifier: Apache-2.0
// Random calls made from the table: none may do more than answer, and only with an error that the table lists.
//
// Runs in forked picoprocesses: a call may well unmap what the caller needs, which must end that picoprocess only.
#include "gate/fuzz.hpp"

#include "tests/gate/guest/guest.hpp"

namespace guest {
namespace {

/// Calls that end or duplicate the caller, or sleep for a time that was not asked for.
bool excluded(CallNumber call) {
    switch (call) {
        case CallNumber::DkThreadExit:
        case CallNumber::DkProcessExit:
        case CallNumber::DkProcessFork:
        case CallNumber::DkProcessCreate:
        case CallNumber::DkThreadCreate:
        case CallNumber::DkThreadDelayExecution:
        case CallNumber::DkDebugStringPrint:  // floods the log
        case CallNumber::DkStreamLock:        // may wait without a deadline
        case CallNumber::DkStreamFlush:       // storage may be slow
        case CallNumber::none: return true;
        default: return false;
    }
}

using AnyCall = Err (*)(u64, u64, u64, u64, u64, u64, u64, u64);

struct Round {
    u64 seed;
    u32 calls;
};

u32 fuzz_child(void* argument) {
    auto* round = static_cast<Round*>(argument);
    fuzz::Random random{round->seed};
    constexpr u64 kBuffer = 16 * kPageSize, kArea = 64 * kPageSize;
    u64 buffer = reinterpret_cast<u64>(fresh_memory(kBuffer));
    u64 area = fresh_range(kArea);

    static Handle handles[12];
    auto take = [](Res<Handle> result) { return result.ok() ? result.take() : kNoHandle; };
    handles[0] = take(gate().notification_event_create(1));
    handles[1] = take(gate().synchronization_event_create(1));
    handles[2] = take(gate().semaphore_create(3, 10));
    handles[3] = take(open("pipe:", kAccessRead | kAccessWrite, kCreateNever, kOpenNonBlocking));
    handles[4] = take(open("null:", kAccessRead | kAccessWrite));
    handles[5] = take(open("memory:?size=65536", kAccessRead | kAccessWrite));
    handles[6] = take(file_with(at("fuzz.bin"), "0123456789"));
    handles[7] = take(open(at("", 1), kAccessRead, kCreateNever, kOpenDirectory));
    handles[8] = take(open("memory:?size=4096", kAccessRead));
    close(handles[8]);  // stale
    static const char* uris[] = {
        at("fuzz.a", 2),    at("fuzz.b", 3),      at("fuzz.d/x", 4), "null:", "memory:?size=8192", "nonsense:x", "",
        "file:/fixed/text", "pipe.client:nobody", at("", 5)};
    static const ObjectKind kinds[12] = {ObjectKind::event,  ObjectKind::event,     ObjectKind::semaphore,
                                         ObjectKind::stream, ObjectKind::stream,    ObjectKind::stream,
                                         ObjectKind::stream, ObjectKind::directory, ObjectKind::none,
                                         ObjectKind::none,   ObjectKind::none,      ObjectKind::none};
    fuzz::Pool pool{handles, kinds, 12, uris, 10, area, area + kArea, buffer, kBuffer, ThreadToken{0}, 0};
    auto* entries = reinterpret_cast<const AnyCall*>(reinterpret_cast<const u64*>(g_calls) + 1);

    for (u32 i = 0; i < round->calls; ++i) {
        auto call = static_cast<CallNumber>(1 + random.below(kCallCount));
        if (excluded(call)) continue;
        pool.now = now();
        u64 values[8] = {};
        const fuzz::Argument* arguments = &fuzz::kArguments[generated::kFirstRule[static_cast<u32>(call)]];
        for (u32 k = 0; k < argument_count(call); ++k) values[k] = fuzz::make(arguments[k], random, pool);
        if (call == CallNumber::DkAddressWait) values[2] = random.one_in(2) ? kPoll : pool.now + 100'000;
        if (call == CallNumber::DkStreamRead || call == CallNumber::DkStreamWrite ||
            call == CallNumber::DkRandomBitsRead)
            values[call == CallNumber::DkRandomBitsRead ? 1 : 3] %= 3 * kBuffer;  // time, not safety
        if (call == CallNumber::DkObjectsWaitReady || call == CallNumber::DkObjectsWaitAny)
            values[0] %= 80;  // the list lies in the buffer, or the fault is the caller's
        if (call == CallNumber::DkSegmentBaseSet || call == CallNumber::DkTimerSet) values[1] &= 0xffff'ffff;
        Err error = entries[static_cast<u32>(call) - 1](values[0], values[1], values[2], values[3], values[4],
                                                        values[5], values[6], values[7]);
        clear_interrupt();
        if (static_cast<u32>(error) >= kErrCount || !may_return(call, error)) {
            TextBuffer<200> text;
            text.add(generated::kCallNames[static_cast<u32>(call)], " answered ", err_name(error), ", call ", i,
                     " of seed ", round->seed, "; arguments");
            for (u32 k = 0; k < argument_count(call); ++k) text.add(" 0x", Hex{values[k]});
            report(__FILE__, __LINE__, "only errors of the table", text.view());
            return 99;
        }
    }
    return 0;
}

}  // namespace

GATE_CASE(random_calls_answer_as_the_table_says) {
    // Further arguments: how many rounds, and the first one, to repeat a failure.
    auto argument = [](int index, u64 otherwise) {
        if (g_parameters->argument_count <= index) return otherwise;
        u64 number = 0;
        for (const char* digit = g_parameters->arguments[index]; *digit != 0; ++digit)
            number = number * 10 + static_cast<u64>(*digit - '0');
        return number;
    };
    u64 first = argument(4, 1), rounds = argument(3, 20);
    for (u64 seed = first; seed < first + rounds; ++seed) {
        Round round{seed * 0x9e37'79b9'7f4a'7c15ull, 500};
        u32 code = in_child(fuzz_child, &round);
        if (code == 0) continue;
        TextBuffer<64> text;
        text.add("round ", seed, " ended with ", code);
        report(__FILE__, __LINE__, "a round ends well", text.view());
    }
    for (std::string_view name : {"fuzz.bin", "fuzz.a", "fuzz.b"}) {
        (void)gate().stream_delete(at(name), 0);
        (void)gate().stream_delete(at(name), 1);
    }
    // The host is as it was.
    Handle event = GET(gate().notification_event_create(1));
    u32 signalled = 0;
    CHECK_OK(g_calls->DkEventPeek(event, &signalled));
    CHECK_EQ(signalled, 1u);
    close(event);
}

}  // namespace guest
