// SPDX-License-Identifier: Apache-2.0
// Small texts of the command line: sizes, durations, JSON strings, messages, "did you mean".
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/types.hpp"

namespace postern::cli {

/// "512m", "2g", "1GiB", "4096": bytes. Powers of 1024. Empty when it is none, or does not fit.
std::optional<u64> parse_size(std::string_view text);
/// "10", "10s", "1.5m", "200ms", "1h": seconds, above zero.
std::optional<double> parse_duration(std::string_view text);
/// "0.5", "2": processors, from 0.01 to `most`.
std::optional<double> parse_processors(std::string_view text, u32 most);
/// "1.5 MiB"
std::string size_text(u64 bytes);
/// "12.3 ms"
std::string time_text(u64 nanoseconds);
/// The text as a JSON string with its quotes. Bytes that are no UTF-8 are kept as U+FFFD.
std::string json_string(std::string_view text);
/// The candidate that differs little from `word`; empty when none does.
std::string_view closest(std::string_view word, std::span<const std::string_view> candidates);

/// May standard error carry colour? Only a terminal, and not with NO_COLOR or TERM=dumb.
bool colour_allowed();
/// Writes "postern: ..." and a newline to standard error in one piece.
void complain(std::string_view message);
/// Writes all of it to standard output. False when that fails (a closed pipe, a full disk).
bool print(std::string_view text);

}  // namespace postern::cli
