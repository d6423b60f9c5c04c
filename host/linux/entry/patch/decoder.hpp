// SPDX-License-Identifier: Apache-2.0
// Lengths of x86-64 instructions, and the few kinds that patching must tell apart.
//
// Small on purpose: no operands, no semantics. For every instruction that Zydis accepts the length is the same (tests
// compare all bytes of large libraries and random bytes); some byte strings that processors refuse get a length too.
#pragma once

#include "base/types.hpp"

namespace postern::host {

enum class InstructionKind : u8 {
    other,
    nop,         ///< of any length
    breakpoint,  ///< int3
    system_call,
    conditional,  ///< relative branch that may fall through, loop, call
    jump,         ///< never falls through: jmp, ret, hlt, ud2
};

struct Instruction {
    u8 length = 0;  ///< 0: not an instruction, or longer than what is available
    InstructionKind kind = InstructionKind::other;
};

Instruction decode(const u8* bytes, usize available);

}  // namespace postern::host
