// SPDX-License-Identifier: Apache-2.0
#include "host/linux/entry/trace.hpp"

#include "base/format.hpp"
#include "host/linux/entry/calls.hpp"
#include "host/linux/entry/threads.hpp"

#if __has_include("gate/trace.hpp")
#include "gate/trace.hpp"
#endif

namespace postern::host {
namespace {

struct Name {
    const char* text;
};
constexpr Name kNames[] = {
    {""},
#define POSTERN_CALL(number, name) {#name},
#define POSTERN_UPCALL(number, name)
#include "gate/generated/calls.inc"
#undef POSTERN_CALL
#undef POSTERN_UPCALL
};

void print(gate::CallNumber number, const u64* words, const char* outcome, u32 code) {
    TextBuffer<512> line;
    line.add(g_process.id, ".", gate::thread_control()->host_id, " ", kNames[static_cast<u32>(number)].text, "(");
    for (unsigned i = 0; i < gate::argument_count(number); ++i) line.add(i == 0 ? "0x" : ", 0x", Hex{words[i]});
    line.add(")", outcome);
    if (code != ~0u) line.add(code);
    line.add("\n");
    DkDebugStringPrint(line.view().data(), line.size());
}

}  // namespace

void trace_begin(gate::CallNumber number, const u64* words) {
    if (number == CallNumber::DkProcessExit || number == CallNumber::DkThreadExit) print(number, words, "", ~0u);
}

void trace_end(gate::CallNumber number, const u64* words, gate::Err result) {
    if (number == CallNumber::DkDebugStringPrint) return;  // it writes to the same place
    print(number, words, " = ", static_cast<u32>(result));
}

}  // namespace postern::host
