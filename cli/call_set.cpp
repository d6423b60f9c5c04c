// SPDX-License-Identifier: Apache-2.0
#include "cli/call_set.hpp"

#include <regex.h>

#include <set>
#include <vector>

#include "cli/text.hpp"

namespace postern::cli {
namespace {

struct Call {
    unsigned number;
    std::string_view name;
    std::string_view classes;
};

/// The value of `"key": ` in one row of the table, which is our own text: no escapes in what is asked for here.
std::string_view field(std::string_view row, std::string_view key) {
    std::string pattern = "\"" + std::string{key} + "\": ";
    usize at = row.find(pattern);
    if (at == std::string_view::npos) return {};
    row.remove_prefix(at + pattern.size());
    if (row.starts_with('"')) return row.substr(1, row.find('"', 1) - 1);
    return row.substr(0, row.find_first_of(",}"));
}

std::vector<Call> read_table(std::string_view table) {
    std::vector<Call> calls;
    while (!table.empty()) {
        std::string_view row = table.substr(0, table.find('\n'));
        table.remove_prefix(row.size() < table.size() ? row.size() + 1 : row.size());
        std::string_view number = field(row, "number");
        if (number.empty()) continue;
        unsigned value = 0;
        for (char digit : number) value = value * 10 + static_cast<unsigned>(digit - '0');
        if (value < kCallCount) calls.push_back({value, field(row, "name"), field(row, "classes")});
    }
    return calls;
}

bool has_word(std::string_view words, std::string_view word) {
    while (!words.empty()) {
        std::string_view first = words.substr(0, words.find(' '));
        if (first == word) return true;
        words.remove_prefix(first.size() < words.size() ? first.size() + 1 : first.size());
    }
    return false;
}

/// Names that strace(1) has for calls of other machines, or that people know from the C library.
std::string_view own_name(std::string_view name) {
    if (name == "fstatat" || name == "fstatat64") return "newfstatat";
    if (name == "pread") return "pread64";
    if (name == "pwrite") return "pwrite64";
    if (name == "sigaction") return "rt_sigaction";
    if (name == "sigprocmask") return "rt_sigprocmask";
    if (name == "wait" || name == "waitpid") return "wait4";
    return name;
}

bool add_pattern(const std::vector<Call>& calls, const std::string& pattern, CallSet& set, std::string& error) {
    regex_t compiled;
    if (regcomp(&compiled, pattern.c_str(), REG_EXTENDED | REG_NOSUB) != 0) {
        error = "'/" + pattern + "' is not a regular expression";
        return false;
    }
    for (const Call& call : calls)
        if (regexec(&compiled, std::string{call.name}.c_str(), 0, nullptr, 0) == 0) set.set(call.number);
    regfree(&compiled);
    return true;
}

bool add_item(const std::vector<Call>& calls, std::string_view item, CallSet& set, std::string& error) {
    bool may_be_unknown = item.starts_with('?');
    if (may_be_unknown) item.remove_prefix(1);
    if (item == "all") return set.set(), true;
    if (item == "none") return true;
    if (item.starts_with('/')) return add_pattern(calls, std::string{item.substr(1)}, set, error);
    if (!item.empty() && item.find_first_not_of("0123456789") == std::string_view::npos && item.size() < 4) {
        unsigned number = static_cast<unsigned>(std::stoul(std::string{item}));
        if (number < kCallCount) return set.set(number), true;
    }
    bool only_class = item.starts_with('%');
    std::string_view word = only_class ? item.substr(1) : own_name(item);
    bool found = false;
    // `stat` is a call's name and a class: with % the class, as for strace.
    for (const Call& call : calls)
        if (!only_class && call.name == word) set.set(call.number), found = true;
    if (found) return true;
    for (const Call& call : calls)
        if (has_word(call.classes, word)) set.set(call.number), found = true;
    if (found || may_be_unknown) return true;
    std::vector<std::string_view> names;
    std::set<std::string_view> classes;
    for (const Call& call : calls) {
        if (!only_class) names.push_back(call.name);
        std::string_view rest = call.classes;
        while (!rest.empty()) {
            std::string_view first = rest.substr(0, rest.find(' '));
            classes.insert(first);
            rest.remove_prefix(first.size() < rest.size() ? first.size() + 1 : first.size());
        }
    }
    names.insert(names.end(), classes.begin(), classes.end());
    std::string_view guess = closest(word, names);
    error = "'" + std::string{item} + "' is no system call and no class.";
    if (!guess.empty()) error += " Did you mean '" + std::string{only_class ? "%" : ""} + std::string{guess} + "'?";
    error += " Classes:";
    for (std::string_view name : classes) error += " %" + std::string{name};
    return false;
}

}  // namespace

std::optional<CallSet> parse_call_set(std::string_view text, std::string_view table, std::string& error) {
    for (std::string_view prefix : {"trace=", "t="})
        if (text.starts_with(prefix)) text.remove_prefix(prefix.size());
    bool invert = text.starts_with('!');
    if (invert) text.remove_prefix(1);
    if (text.empty()) {
        error = "nothing is named. Examples: file   %network,read   '!futex'   /^open";
        return {};
    }
    const std::vector<Call> calls = read_table(table);
    CallSet set;
    for (;;) {
        std::string_view item = text.substr(0, text.find(','));
        if (!add_item(calls, item, set, error)) return {};
        if (item.size() == text.size()) break;
        text.remove_prefix(item.size() + 1);
    }
    return invert ? ~set : set;
}

std::string call_set_digits(const CallSet& calls) {
    std::string digits;
    for (unsigned i = 0; i < kCallCount; i += 4) {
        unsigned value = 0;
        for (unsigned bit = 0; bit < 4; ++bit) value |= calls[i + bit] ? 1u << bit : 0;
        digits += "0123456789abcdef"[value];
    }
    return digits;
}

}  // namespace postern::cli
