// SPDX-License-Identifier: Apache-2.0
// Sets of system calls as people write them for strace: names, classes, patterns.
#pragma once

#include <bitset>
#include <optional>
#include <string>
#include <string_view>

namespace postern::cli {

inline constexpr unsigned kCallCount = 512;
using CallSet = std::bitset<kCallCount>;

/// Understands "[trace=][!]ITEM[,ITEM...]" with ITEM a call's name, %class or class, /regular-expression, a number, all
/// or none; "?ITEM" may be unknown. `table`: the text that `postern syscalls --json` prints. Empty: `error` says why.
std::optional<CallSet> parse_call_set(std::string_view text, std::string_view table, std::string& error);
/// The set as the library OS takes it: one hexadecimal digit for each four calls, the lowest first.
std::string call_set_digits(const CallSet& calls);

}  // namespace postern::cli
