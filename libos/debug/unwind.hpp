// SPDX-License-Identifier: Apache-2.0
// Stacks of programs by the tables that compilers leave in them (.eh_frame: System V ABI for x86-64, DWARF 5 section
// 6.4). All that is read is the program's own and may be nonsense: reads are guarded and everything is bounded.
#pragma once

#include "libos/errno.hpp"
#include "libos/syscall/decode.hpp"

namespace postern::libos {

inline constexpr u32 kUnwindRegisters = 17;  ///< DWARF's numbers: 6 rbp, 7 rsp, 16 the return address

struct UnwindFrame {
    u64 registers[kUnwindRegisters];
    bool interrupted;  ///< the address is an instruction's own and not one that a call returns to
    u64& pc() { return registers[16]; }
    u64& sp() { return registers[7]; }
    u64& bp() { return registers[6]; }
    /// An address inside the instruction that is meant: for what looks up functions.
    u64 lookup_address() const { return registers[16] - (interrupted ? 0 : 1); }
};

/// Goes to the caller. `header`: where the module's PT_GNU_EH_FRAME segment is in memory. Errno::noent: its tables do
/// not cover the address or use what is not understood here; Errno::fault: the stack cannot be read; Errno::inval:
/// nonsense.
Res<void> unwind(UnwindFrame& frame, u64 header, ReadMemory read);
/// The same by the chain of frame pointers, for code without tables.
Res<void> unwind_by_frame_pointer(UnwindFrame& frame, ReadMemory read);

/// What the program headers in memory at `base` say of the module there.
struct ModulePlace {
    u64 bias = 0;             ///< address in memory minus address in the file's tables
    u64 eh_frame_header = 0;  ///< in memory; 0: none
};
Res<ModulePlace> find_module_tables(u64 base, ReadMemory read);

}  // namespace postern::libos
