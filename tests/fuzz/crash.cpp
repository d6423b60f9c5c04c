// SPDX-License-Identifier: Apache-2.0
// What the report of a crash reads: unwind tables, symbol tables, arguments of calls; and the JSON that traces are made
// of.
#include <stdlib.h>
#include <string.h>

#include <vector>

#include "libos/debug/symbols.hpp"
#include "libos/debug/unwind.hpp"

using namespace postern;
using namespace postern::libos;

namespace {

constexpr u64 kBase = 0x10'0000;
const u8* g_data;
usize g_size;

/// The input is the program's memory from kBase on, and the file.
usize read_input(void* to, u64 address, usize size) {
    if (address < kBase || address - kBase >= g_size) return 0;
    usize at = address - kBase, count = size < g_size - at ? size : g_size - at;
    memcpy(to, g_data + at, count);
    return count;
}

struct Input final : FileReader {
    usize read(void* buffer, usize size, u64 offset) override {
        return offset > ~kBase ? 0 : read_input(buffer, kBase + offset, size);
    }
};

void stack() {
    UnwindFrame frame{};
    frame.interrupted = true;
    for (u32 i = 0; i < kUnwindRegisters; ++i) {
        u16 place = 0;
        read_input(&place, kBase + i * 2, sizeof place);
        frame.registers[i] = kBase + place;
    }
    for (u32 depth = 0; depth < 20; ++depth) {
        auto module = find_module_tables(kBase, read_input);
        u64 header = module.ok() && module.value().eh_frame_header != 0 ? module.value().eh_frame_header : kBase + 34;
        if (!unwind(frame, header, read_input).ok() && !unwind_by_frame_pointer(frame, read_input).ok()) break;
    }
}

void text() {
    static constexpr const char* kKinds[] = {
        "fd out:2 size",    "path flags:open mode > fd", "ptr argv envp",          "sig sigset sigset size",
        "stat timespec",    "fds flags:clone hex > ptr", "fd in:2 size flags:map", "str ptr int uint off pid",
        "fd fd fd fd fd fd"};
    u64 arguments[6] = {};
    for (u32 i = 0; i < 6 && i * 2 + 2 <= g_size; ++i) {
        u16 value;
        memcpy(&value, g_data + i * 2, 2);
        arguments[i] = (value & 1) != 0 ? kBase + value : value;
    }
    for (const char* kinds : kKinds) {
        CallText call{"call", 1, kinds};
        TextBuffer<300> line;
        u32 shown = decode_enter(line, call, arguments, read_input);
        decode_leave(line, call, arguments, shown, arguments[5], read_input);
        TextBuffer<400> json;
        put_json(json, line.view(), 350);
        for (usize i = 0; i < json.size(); ++i) {
            u8 byte = static_cast<u8>(json.view()[i]);
            if (byte < 32 || byte > 126 || byte == '"') {
                if (byte != '"' || i == 0 || json.view()[i - 1] != '\\') abort();
            }
        }
        if (json.size() > 350) abort();
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    g_data = data;
    g_size = size;
    stack();
    text();
    Input file;
    u64 address = 0;
    memcpy(&address, data, size < 8 ? size : 8);
    (void)find_symbol(file, address);
    (void)find_symbol(file, address & 0xffff);
    return 0;
}
