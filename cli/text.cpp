// SPDX-License-Identifier: Apache-2.0
#include "cli/text.hpp"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <vector>

namespace postern::cli {
namespace {

bool equal_ignoring_case(std::string_view left, std::string_view right) {
    return left.size() == right.size() && strncasecmp(left.data(), right.data(), left.size()) == 0;
}

bool write_all(int descriptor, std::string_view text) {
    while (!text.empty()) {
        ssize_t count = write(descriptor, text.data(), text.size());
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return false;
        text.remove_prefix(static_cast<usize>(count));
    }
    return true;
}

/// Edits from one word to the other: insertions, deletions, replacements and swapped neighbours.
usize distance(std::string_view left, std::string_view right) {
    std::vector<std::vector<usize>> cost(left.size() + 1, std::vector<usize>(right.size() + 1));
    for (usize i = 0; i <= left.size(); ++i) cost[i][0] = i;
    for (usize j = 0; j <= right.size(); ++j) cost[0][j] = j;
    for (usize i = 1; i <= left.size(); ++i) {
        for (usize j = 1; j <= right.size(); ++j) {
            cost[i][j] =
                std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, cost[i - 1][j - 1] + (left[i - 1] != right[j - 1])});
            if (i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1])
                cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
        }
    }
    return cost[left.size()][right.size()];
}

/// Length of the UTF-8 sequence at the start of `text`, 0 when there is none.
usize utf8_length(std::string_view text) {
    auto byte = [&](usize i) { return static_cast<unsigned char>(text[i]); };
    unsigned char first = byte(0);
    usize length = first < 0x80                    ? 1
                   : first >= 0xc2 && first < 0xe0 ? 2
                   : first >= 0xe0 && first < 0xf0 ? 3
                   : first >= 0xf0 && first < 0xf5 ? 4
                                                   : 0;
    if (length == 0 || length > text.size()) return 0;
    for (usize i = 1; i < length; ++i)
        if ((byte(i) & 0xc0) != 0x80) return 0;
    if (first == 0xe0 && byte(1) < 0xa0) return 0;  // overlong
    if (first == 0xed && byte(1) > 0x9f) return 0;  // surrogates
    if (first == 0xf0 && byte(1) < 0x90) return 0;
    if (first == 0xf4 && byte(1) > 0x8f) return 0;
    return length;
}

}  // namespace

std::optional<u64> parse_size(std::string_view text) {
    u64 value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || value == 0) return {};
    std::string_view unit = text.substr(static_cast<usize>(end - text.data()));
    static constexpr std::string_view kUnits[] = {"b", "k", "m", "g", "t"};
    for (int power = 0; power < 5; ++power) {
        std::string letter{kUnits[power]};
        bool named =
            equal_ignoring_case(unit, letter) || (power == 0 && unit.empty()) ||
            (power > 0 && (equal_ignoring_case(unit, letter + "b") || equal_ignoring_case(unit, letter + "ib")));
        if (!named) continue;
        u64 factor = u64{1} << (10 * power);
        if (value > ~u64{0} / 2 / factor) return {};
        return value * factor;
    }
    return {};
}

std::optional<double> parse_duration(std::string_view text) {
    double value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{}) return {};
    std::string_view unit = text.substr(static_cast<usize>(end - text.data()));
    if (unit == "ms")
        value /= 1000;
    else if (unit == "m")
        value *= 60;
    else if (unit == "h")
        value *= 3600;
    else if (!unit.empty() && unit != "s")
        return {};
    if (!(value > 0) || value > 1e9) return {};
    return value;
}

std::optional<double> parse_processors(std::string_view text, u32 most) {
    double value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
    if (error != std::errc{} || end != text.data() + text.size() || !(value >= 0.01 && value <= most)) return {};
    return value;
}

std::string size_text(u64 bytes) {
    static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = static_cast<double>(bytes);
    int unit = 0;
    while (value >= 1024 && unit < 4) value /= 1024, ++unit;
    char text[40];
    snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
    return text;
}

std::string time_text(u64 nanoseconds) {
    char text[40];
    double ms = static_cast<double>(nanoseconds) / 1e6;
    if (ms < 1000)
        snprintf(text, sizeof text, "%.1f ms", ms);
    else
        snprintf(text, sizeof text, "%.2f s", ms / 1000);
    return text;
}

std::string json_string(std::string_view text) {
    std::string out = "\"";
    while (!text.empty()) {
        usize length = utf8_length(text);
        unsigned char first = static_cast<unsigned char>(text[0]);
        if (length == 0) {
            out += "\\ufffd";
            length = 1;
        } else if (first == '"' || first == '\\') {
            out += '\\';
            out += text[0];
        } else if (first < 0x20) {
            char escape[8];
            snprintf(escape, sizeof escape, "\\u%04x", first);
            out += escape;
        } else {
            out += text.substr(0, length);
        }
        text.remove_prefix(length);
    }
    return out + "\"";
}

std::string_view closest(std::string_view word, std::span<const std::string_view> candidates) {
    std::string_view best;
    usize best_distance = std::max<usize>(1, word.size() / 3) + 1;
    for (std::string_view candidate : candidates) {
        usize d = distance(word, candidate);
        // A word cut short ("--time" for "--timeout") is a likely slip, too.
        if (word.size() > 3 && candidate.starts_with(word)) d = 1;
        if (d < best_distance) best = candidate, best_distance = d;
    }
    return best;
}

bool colour_allowed() {
    static const bool allowed = [] {
        const char* none = getenv("NO_COLOR");
        const char* term = getenv("TERM");
        return isatty(STDERR_FILENO) == 1 && (none == nullptr || *none == 0) &&
               (term == nullptr || strcmp(term, "dumb") != 0);
    }();
    return allowed;
}

void complain(std::string_view message) {
    std::string line = colour_allowed() ? "\x1b[1;31mpostern:\x1b[0m " : "postern: ";
    line += message;
    line += '\n';
    write_all(STDERR_FILENO, line);
}

bool print(std::string_view text) { return write_all(STDOUT_FILENO, text); }

}  // namespace postern::cli
