// SPDX-License-Identifier: Apache-2.0
// --trace: one line per system call, written at once so that lines of several processes do not mix.
#include "libos/process/process.hpp"
#include "libos/syscall/dispatch.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

usize read_program(void* destination, u64 address, usize size) { return copy_in_some(destination, address, size); }

CallText text_of(u64 number) {
    const CallRow* row = find_call(number);
    if (row == nullptr) return {nullptr, number, "hex hex hex hex hex hex"};
    // Nobody serves it, so nobody has described its arguments.
    if (row->kinds[0] == 0 && row->level == Level::absent) return {row->name, number, "hex hex hex hex hex hex"};
    return {row->name, number, row->kinds};
}

bool never_returns(u64 number) { return number == 60 || number == 231; }

/// The number in front is the thread's that returns: after a fork both sides do.
void print(const TraceLine& line) {
    TextBuffer<1040> whole;
    whole.add('[', current_thread().tid, "] ", line.view(), line.truncated() ? "...\n" : "\n");
    g_gate->DkDebugStringPrint(whole.view().data(), whole.size());
}

}  // namespace

u32 trace_enter(TraceLine& line, u64 number, Arguments arguments) {
    u32 shown = decode_enter(line, text_of(number), arguments, read_program);
    if (never_returns(number)) {
        line.add(") = ?");
        print(line);
    }
    return shown;
}

void trace_leave(TraceLine& line, u64 number, Arguments arguments, u32 shown, u64 result) {
    decode_leave(line, text_of(number), arguments, shown, result, read_program);
    print(line);
}

void trace_resumed(TraceLine& line, u64 result) {
    line.add("<... vfork resumed>) = ", static_cast<i64>(result));
    print(line);
}

}  // namespace postern::libos
