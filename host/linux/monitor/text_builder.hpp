// SPDX-License-Identifier: Apache-2.0
// Makes prepared text (gate::PreparedText): a copy of an ELF file's machine code in which system calls jump to the
// library OS instead of trapping, and in dynamic loaders CPUID instructions to what they would answer.
//
// The bytes are found by patterns that the compiler's output has and chance has not; each hit must also be an
// instruction of its own by the Patcher's reckoning. What is missed traps and is patched while the program runs.
#pragma once

#include <optional>
#include <vector>

#include "gate/types.hpp"

namespace postern::host {

struct BuiltText {
    gate::PreparedText text;  ///< size 0: the file is a program or library, and nothing in it is worth the trouble
    std::vector<u8> image;    ///< text.code_size bytes of code, then text.size of text
    u32 calls = 0;            ///< system calls that jump
    u32 cpuids = 0;
};

inline constexpr u64 kLargestText = 16 << 20;

/// Reads the file at `descriptor`, which may be anybody's and may change meanwhile. Nothing: it is no ELF file for this
/// processor, it is damaged, it cannot be read, or its code is larger than kLargestText.
std::optional<BuiltText> build_text(int descriptor);

}  // namespace postern::host
