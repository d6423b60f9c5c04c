// SPDX-License-Identifier: Apache-2.0
// What the test guests share: they stand in the place of the library OS and talk to the gate alone.
#pragma once

#include "base/format.hpp"
#include "gate/abi.hpp"
#include "gate/personality.hpp"

namespace postern::guest {

extern const gate::LibOsParameters* parameters;
extern const gate::Calls* calls;

template <class... Parts>
void print(const Parts&... parts) {
    TextBuffer<512> text;
    text.add(parts...);
    calls->DkDebugStringPrint(text.view().data(), text.size());
}
[[noreturn]] inline void fail(const char* what, u64 value = 0) {
    print("FAILED: ", what, " (", value, ")\n");
    calls->DkProcessExit(1);
    __builtin_trap();
}
inline void expect(bool condition, const char* what, u64 value = 0) {
    if (!condition) fail(what, value);
}
inline void expect_ok(gate::Err error, const char* what) {
    expect(error == gate::Err::ok, what, static_cast<u64>(error));
}

inline u64 now() {
    u64 value = 0;
    calls->DkSystemTimeQuery(gate::Clock::monotonic, &value);
    return value;
}

/// Each guest's own program. `run` is called on the first thread.
void run();

}  // namespace postern::guest
