// SPDX-License-Identifier: Apache-2.0
// The launcher's description of this start: "key=value;" pairs with percent-encoded texts.
#include "base/memory.hpp"
#include "host/linux/entry/state.hpp"

namespace postern::host {

Config g_config;

namespace {

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool decode_text(std::string_view from, char* to, usize capacity) {
    usize length = 0;
    for (usize i = 0; i < from.size(); ++i) {
        char character = from[i];
        if (character == '%') {
            if (i + 2 >= from.size()) return false;
            int high = hex_digit(from[i + 1]), low = hex_digit(from[i + 2]);
            if (high < 0 || low < 0) return false;
            character = static_cast<char>(high << 4 | low);
            i += 2;
        }
        if (length + 1 >= capacity) return false;
        to[length++] = character;
    }
    to[length] = 0;
    return true;
}

bool decode_number(std::string_view from, u64& value) {
    value = 0;
    for (char digit : from) {
        if (digit < '0' || digit > '9' || value > ~0ull / 10 - 1) return false;
        value = value * 10 + static_cast<u64>(digit - '0');
    }
    return !from.empty();
}

struct NumberKey {
    std::string_view key;
    u32 Config::*narrow;
    u64 Config::*wide;
};
constexpr NumberKey kNumbers[] = {
    {"v", &Config::version, nullptr},
    {"mem", nullptr, &Config::memory_limit},
    {"pids", nullptr, &Config::process_limit},
    {"uid", &Config::user_id, nullptr},
    {"gid", &Config::group_id, nullptr},
    {"huid", &Config::host_user_id, nullptr},
    {"hgid", &Config::host_group_id, nullptr},
    {"arena", nullptr, &Config::arena_size},
    {"listen", &Config::listener, nullptr},
    {"landlock", &Config::landlock, nullptr},
    {"killable", &Config::killable_receive, nullptr},
    {"patch", &Config::patch, nullptr},
    {"stats", &Config::stats, nullptr},
    {"ahead", &Config::ahead, nullptr},
    {"cpus", &Config::processors, nullptr},
};

bool assign(std::string_view key, std::string_view value, Config& config) {
    for (const NumberKey& number : kNumbers) {
        if (number.key != key) continue;
        u64 parsed;
        if (!decode_number(value, parsed)) return false;
        if (number.wide != nullptr)
            config.*number.wide = parsed;
        else
            config.*number.narrow = static_cast<u32>(parsed);
        return true;
    }
    if (key == "cwd") return decode_text(value, config.working_directory, sizeof config.working_directory);
    if (key == "opt") return decode_text(value, config.options, sizeof config.options);
    if (key == "tgkill") config.signal_scope = value == "scope";
    if (key == "trace") config.trace_gate = value == "gate";
    return true;
}

}  // namespace

bool parse_config(const char* text, Config& config) {
    std::string_view all{text, strlen(text)};
    usize start = 0;
    while (start < all.size()) {
        usize equals = start, end;
        while (equals < all.size() && all[equals] != '=') ++equals;
        if (equals == all.size()) return false;
        end = equals + 1;
        while (end < all.size() && all[end] != ';') ++end;
        if (!assign({all.data() + start, equals - start}, {all.data() + equals + 1, end - equals - 1}, config))
            return false;
        start = end + 1;
    }
    return config.version == kProtocolVersion;
}

}  // namespace postern::host
