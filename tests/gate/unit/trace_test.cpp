// SPDX-License-Identifier: Apache-2.0
// Decoded gate calls, character by character.
#include "gate/trace.hpp"

#include <gtest/gtest.h>

#include <cstring>

#include "gate/abi.hpp"

namespace {

using namespace postern;
using namespace postern::gate;

/// Addresses below a page are "not accessible".
bool copy(void* to, u64 from, usize size) {
    if (from < 4096) return false;
    std::memcpy(to, reinterpret_cast<const void*>(from), size);
    return true;
}

template <class... Values>
std::string decode(CallNumber call, const Err* result, Values... arguments) {
    auto word = [](auto value) {
        if constexpr (std::is_pointer_v<decltype(value)>)
            return reinterpret_cast<u64>(value);
        else
            return static_cast<u64>(value);
    };
    u64 values[8] = {word(arguments)...};
    TextBuffer<1024> text;
    trace::format_call(text, call, values, result, copy);
    return std::string{text.view()};
}

constexpr Err kOk = Err::ok, kDenied = Err::denied, kTimedOut = Err::timed_out;

TEST(Trace, ValuesByName) {
    EXPECT_EQ(decode(CallNumber::DkVirtualMemoryAlloc, &kOk, 0x10000, 8192, kAllocCommit | kAllocReplace, 3),
              "DkVirtualMemoryAlloc(address=0x10000, size=8192, flags=commit|replace, prot=read|write) = ok");
    EXPECT_EQ(decode(CallNumber::DkVirtualMemoryProtect, nullptr, 0x10000, 4096, 0),
              "DkVirtualMemoryProtect(address=0x10000, size=4096, prot=none)");
    EXPECT_EQ(decode(CallNumber::DkVirtualMemoryFree, &kOk, 0x10000, 4096, 1),
              "DkVirtualMemoryFree(address=0x10000, size=4096, kind=decommit) = ok");
    EXPECT_EQ(decode(CallNumber::DkVirtualMemoryFree, &kDenied, 0x10000, 4096, 77),
              "DkVirtualMemoryFree(address=0x10000, size=4096, kind=77) = denied");
    EXPECT_EQ(decode(CallNumber::DkVirtualMemoryProtect, &kDenied, 0x10000, 4096, 0x81),
              "DkVirtualMemoryProtect(address=0x10000, size=4096, prot=read|0x80) = denied");
}

TEST(Trace, StringsAndResults) {
    Handle handle = 7;
    EXPECT_EQ(decode(CallNumber::DkStreamOpen, &kOk, "file:/etc/passwd", 1, 0644, 0, 2, &handle, 0),
              "DkStreamOpen(\"file:/etc/passwd\", access=read, mode=0644, create=never, options=no_follow, stream=7, "
              "attributes=null) = ok");
    EXPECT_EQ(decode(CallNumber::DkStreamDelete, &kDenied, "file:/a\"b\\\n\x01", 1),
              "DkStreamDelete(\"file:/a\\\"b\\\\\\n\\x01\", directory=1) = denied");
    // A pointer that the caller cannot read is shown as a number, and out-arguments of a failed call as addresses.
    EXPECT_EQ(decode(CallNumber::DkStreamDelete, &kDenied, 16, 0), "DkStreamDelete(0x10, directory=0) = denied");
    EXPECT_EQ(decode(CallNumber::DkEventPeek, &kDenied, 3, 0x20), "DkEventPeek(event=3, signalled=0x20) = denied");
    std::string longer = "file:/" + std::string(100, 'x');
    std::string shown = decode(CallNumber::DkStreamDelete, &kOk, longer.c_str(), 0);
    EXPECT_NE(shown.find("\"..., directory=0"), shown.npos) << shown;
}

TEST(Trace, BuffersAndLists) {
    u64 actual = 5;
    EXPECT_EQ(decode(CallNumber::DkStreamWrite, &kOk, 4, kNoOffset, "hello", 5, &actual),
              "DkStreamWrite(stream=4, offset=none, buffer=\"hello\", size=5, actual=5) = ok");
    Handle handles[] = {4, 9};
    u32 index = 1;
    EXPECT_EQ(decode(CallNumber::DkObjectsWaitAny, &kOk, 2, handles, kForever, &index),
              "DkObjectsWaitAny(count=2, handles=[4, 9], deadline=forever, index=1) = ok");
    WaitItem items[] = {{4, kReadyRead | kReadyWrite, kReadyWrite, 0}};
    u32 ready = 1;
    EXPECT_EQ(decode(CallNumber::DkObjectsWaitReady, &kOk, 1, items, kPoll, &ready),
              "DkObjectsWaitReady(count=1, items=[4:read|write>write], deadline=poll, ready=1) = ok");
    EXPECT_EQ(decode(CallNumber::DkObjectsWaitAny, &kTimedOut, 2, handles, 12345, &index).substr(0, 62),
              "DkObjectsWaitAny(count=2, handles=[4, 9], deadline=12345, inde");
}

TEST(Trace, EveryCallFitsALine) {
    for (u32 i = 1; i <= kCallCount; ++i) {
        u64 values[8] = {1, 1, 1, 1, 1, 1, 1, 1};
        TextBuffer<1024> text;
        trace::format_call(text, static_cast<CallNumber>(i), values, &kDenied, copy);
        EXPECT_FALSE(text.truncated());
        EXPECT_EQ(text.view().find('\n'), text.view().npos);
    }
}

TEST(Trace, NamesOutsideTheirRange) {
    EXPECT_EQ(trace::name(static_cast<CallNumber>(999)), "?");
    EXPECT_EQ(trace::name(static_cast<Err>(999)), "?");
    EXPECT_EQ(trace::name(Err::bad_state), "bad_state");
}

}  // namespace
