// SPDX-License-Identifier: Apache-2.0
#include "host/linux/entry/trace.hpp"

#include "base/format.hpp"
#include "gate/trace.hpp"
#include "host/linux/entry/calls.hpp"
#include "host/linux/entry/threads.hpp"

extern "C" postern::u64 guarded_load_byte(postern::u64 address, postern::u8* value);

namespace postern::host {
namespace {

/// What a call points to may be inaccessible: that is the call's error to report, not the trace's to die of.
bool copy_guarded(void* to, u64 from, usize size) {
    for (usize i = 0; i < size; ++i)
        if (guarded_load_byte(from + i, static_cast<u8*>(to) + i) == 0) return false;
    return true;
}

void print(CallNumber number, const u64* words, const Err* result) {
    TextBuffer<1024> line;
    line.add(process_id(), ".", gate::thread_control()->host_id, " ");
    gate::trace::format_call(line, number, words, result, copy_guarded);
    line.add("\n");
    DkDebugStringPrint(line.view().data(), line.size());
}

}  // namespace

void trace_begin(CallNumber number, const u64* words) {
    if (number == CallNumber::DkProcessExit || number == CallNumber::DkThreadExit) print(number, words, nullptr);
}

void trace_end(CallNumber number, const u64* words, Err result) {
    if (number == CallNumber::DkDebugStringPrint) return;  // it writes to the same place
    print(number, words, &result);
}

}  // namespace postern::host
