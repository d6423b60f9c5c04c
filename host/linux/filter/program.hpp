// SPDX-License-Identifier: Apache-2.0
// The rules as a seccomp program (seccomp(2), classic BPF), and an evaluator of such programs for tests.
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>

#include "host/linux/filter/rules.hpp"

namespace postern::host {

struct FilterOptions {
    bool signal_scope = true;  ///< Landlock confines signals; otherwise tgkill goes to the monitor
    // For tests of the wall itself: leave out one rule, or one argument pattern of it (both indexes into kRules).
    i32 omit_rule = -1;
    i32 omit_pattern = -1;
};

inline constexpr usize kMaxFilterLength = 512;

/// Writes the program to `out`. Returns its length, 0 when `capacity` is too small. Needs no memory and no C library.
usize build_filter(const FilterOptions& options, sock_filter* out, usize capacity);

/// What the kernel would return for `data` (SECCOMP_RET_*). Understands the instructions that build_filter emits;
/// anything else, and running off the end, counts as SECCOMP_RET_KILL_PROCESS.
u32 evaluate_filter(const sock_filter* program, usize length, const seccomp_data& data);

/// Is the rule part of a program with these options?
bool rule_active(const Rule& rule, const FilterOptions& options);

}  // namespace postern::host
