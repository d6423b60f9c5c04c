// SPDX-License-Identifier: Apache-2.0
// The table of system calls, put together at compile time from the rows of all areas and the list of all names.
#include "libos/syscall/table.hpp"

#include "libos/syscall/dispatch.hpp"

namespace postern::libos {

#define CALL(number, name, level, function, kinds, note) Res<i64> function(Thread&, Arguments);
#include "libos/syscall/rows.inc"
#undef CALL

namespace {

struct Table {
    CallRow rows[kCallLimit];
    SystemCall functions[kCallLimit];
};

constexpr Table build() {
    Table table{};
    for (u32 i = 0; i < kCallLimit; ++i) {
        table.rows[i] = {static_cast<u16>(i), Level::absent, nullptr, sys_absent, "", ""};
        table.functions[i] = sys_absent;
    }
#define NAME(number, text) table.rows[number].name = text;
#include "libos/syscall/names.inc"
#undef NAME
#define CALL(number, name, level, function, kinds, note)                      \
    table.rows[number] = {number, Level::level, name, function, kinds, note}; \
    table.functions[number] = function;
#include "libos/syscall/rows.inc"
#undef CALL
    return table;
}

constexpr Table kTable = build();

}  // namespace

const CallRow* find_call(u64 number) {
    if (number >= kCallLimit || kTable.rows[number].name == nullptr) return nullptr;
    return &kTable.rows[number];
}

const SystemCall* call_functions() { return kTable.functions; }

}  // namespace postern::libos
