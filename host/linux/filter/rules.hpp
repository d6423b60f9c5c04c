// SPDX-License-Identifier: Apache-2.0
// The wall as data: every host call that code inside a picoprocess may make, why, and with which arguments.
//
// The list must be safe whoever jumps to it: a hostile program can reach the gate page as easily as the host's own
// code. So nothing here takes a path, a program or a destination, and nothing works on another process except `tgkill`
// with one signal number, confined by Landlock or by the monitor. Arguments are compared at the width the kernel reads.
#pragma once

#include "base/types.hpp"

namespace postern::host {

enum class ArgumentTest : u8 {
    equal,         ///< argument == values[0]
    masked_equal,  ///< (argument & mask) == values[0]
    in_set,        ///< argument is one of values[0 .. count)
    range,         ///< values[0] <= argument <= values[1]; 64-bit only with bounds below 4 GiB
};

struct ArgumentPattern {
    u8 index = 0;   ///< 0-5
    u8 width = 32;  ///< bits that the kernel reads: 32 or 64
    ArgumentTest test = ArgumentTest::equal;
    u8 count = 1;
    u64 mask = 0;
    u64 values[8] = {};
    const char* text = "";  ///< the same in words
};

enum class RuleAction : u8 { allow, notify };
/// Which kernels a rule is for. A call may have one rule per variant.
enum class RuleVariant : u8 { always, signal_scope, no_signal_scope };

struct Rule {
    u16 number;
    const char* name;
    const char* reason;
    RuleAction action = RuleAction::allow;
    RuleVariant variant = RuleVariant::always;
    u8 pattern_count = 0;
    ArgumentPattern patterns[3] = {};
};

/// clone(2) flags, exactly. A fork: the kernel's parent and reaper is the monitor's side (the exit signal comes from
/// the caller's own group leader with CLONE_PARENT). A thread: everything shared, the number cleared at its end.
inline constexpr u64 kForkFlags =
    0x0000'8000 /* PARENT */ | 0x0020'0000 /* CHILD_CLEARTID */ | 0x0100'0000 /* CHILD_SETTID */;
inline constexpr u64 kThreadFlags = 0x0000'0100 /* VM */ | 0x0000'0200 /* FS */ | 0x0000'0400 /* FILES */ |
                                    0x0000'0800 /* SIGHAND */ | 0x0001'0000 /* THREAD */ | 0x0004'0000 /* SYSVSEM */ |
                                    0x0010'0000 /* PARENT_SETTID */ | 0x0020'0000 /* CHILD_CLEARTID */;

inline constexpr int kKickSignal = 64;  ///< DkThreadInterrupt; the only signal that tgkill may carry

/// All rules; those first in the list are tested first, in order, the others by binary search on the number.
extern const Rule kRules[];
extern const u32 kRuleCount;
inline constexpr u32 kHotRules = 9;
inline constexpr u32 kMaxNumbers = 44;  ///< distinct calls the wall may ever have without network

/// Number of distinct system-call numbers in kRules.
u32 distinct_numbers();

}  // namespace postern::host
