// SPDX-License-Identifier: Apache-2.0
// Text of system calls: see decode.hpp. The look is strace(1)'s, which people know how to read.
#include "libos/syscall/decode.hpp"

namespace postern::libos {

namespace {

constexpr usize kShownBytes = 48;
constexpr usize kShownPath = 256;

void put_quoted(Text& text, const u8* bytes, usize size, bool more) {
    text.add('"');
    for (usize i = 0; i < size; ++i) {
        u8 byte = bytes[i];
        switch (byte) {
            case '\n': text.add("\\n"); break;
            case '\t': text.add("\\t"); break;
            case '\r': text.add("\\r"); break;
            case '"': text.add("\\\""); break;
            case '\\': text.add("\\\\"); break;
            default:
                if (byte >= 32 && byte < 127)
                    text.add(static_cast<char>(byte));
                else
                    text.add("\\", Octal{byte, 0});
        }
    }
    text.add('"');
    if (more) text.add("...");
}

void put_pointer(Text& text, u64 value) {
    if (value == 0)
        text.add("NULL");
    else
        text.add("0x", Hex{value});
}

void put_string(Text& text, u64 address, usize limit, ReadMemory read) {
    u8 bytes[kShownPath];
    if (limit > sizeof bytes) limit = sizeof bytes;
    usize got = address == 0 ? 0 : read(bytes, address, limit);
    if (got == 0) return put_pointer(text, address);
    usize length = 0;
    while (length < got && bytes[length] != 0) ++length;
    put_quoted(text, bytes, length, length == got && got == limit);
}

void put_data(Text& text, u64 address, u64 size, ReadMemory read) {
    u8 bytes[kShownBytes];
    usize wanted = size < sizeof bytes ? size : sizeof bytes;
    usize got = address == 0 ? 0 : read(bytes, address, wanted);
    if (got == 0 && size != 0) return put_pointer(text, address);
    put_quoted(text, bytes, got, got < size);
}

void put_strings(Text& text, u64 address, ReadMemory read) {
    constexpr u32 kShown = 8;
    if (address == 0) return text.put("NULL");
    text.add('[');
    for (u32 i = 0;; ++i) {
        u64 pointer;
        if (read(&pointer, address + i * 8, 8) != 8 || pointer == 0) break;
        if (i != 0) text.add(", ");
        if (i == kShown) {
            text.add("...");
            break;
        }
        put_string(text, pointer, kShownBytes, read);
    }
    text.add(']');
}

void put_count(Text& text, u64 address, ReadMemory read) {
    u32 count = 0;
    u64 pointer;
    while (count < 10000 && read(&pointer, address + u64{count} * 8, 8) == 8 && pointer != 0) ++count;
    put_pointer(text, address);
    text.add(" /* ", count, " vars */");
}

void put_signal(Text& text, u32 signal) {
    const char* name = signal_name(signal);
    if (name != nullptr)
        text.add(name);
    else if (signal >= 32 && signal <= 64)
        text.add("SIGRT_", signal - 32);
    else
        text.add(static_cast<i32>(signal));
}

void put_signal_set(Text& text, u64 address, ReadMemory read) {
    u64 mask;
    if (address == 0 || read(&mask, address, 8) != 8) return put_pointer(text, address);
    bool invert = __builtin_popcountll(mask) > 40;
    if (invert) text.add('~'), mask = ~mask;
    text.add('[');
    bool first = true;
    for (u32 signal = 1; signal <= 64; ++signal) {
        if ((mask >> (signal - 1) & 1) == 0) continue;
        if (!first) text.add(' ');
        first = false;
        const char* name = signal_name(signal);
        if (name != nullptr)
            text.add(name + 3);
        else
            text.add("RT_", signal - 32);
    }
    text.add(']');
}

struct Kind {
    std::string_view name;
    std::string_view detail;  ///< after ':'
};

/// Walks the words of a kinds text.
class Kinds {
public:
    explicit Kinds(const char* text) : at_{text} {}
    bool next(Kind& kind) {
        skip();
        if (*at_ == 0 || *at_ == '>') return false;
        kind = word();
        return true;
    }
    /// What stands after '>'; "int" by default.
    Kind result() {
        Kind kind;
        while (next(kind)) {
        }
        if (*at_ != '>') return {"int", {}};
        ++at_;
        skip();
        return word();
    }

private:
    void skip() {
        while (*at_ == ' ') ++at_;
    }
    Kind word() {
        const char* start = at_;
        const char* colon = nullptr;
        for (; *at_ != 0 && *at_ != ' '; ++at_)
            if (*at_ == ':' && colon == nullptr) colon = at_;
        if (colon == nullptr) return {{start, static_cast<usize>(at_ - start)}, {}};
        return {{start, static_cast<usize>(colon - start)}, {colon + 1, static_cast<usize>(at_ - colon - 1)}};
    }
    const char* at_;
};

/// Filled in by the call, so shown after it.
bool is_output(const Kind& kind) { return kind.name == "out" || kind.name == "stat" || kind.name == "fds"; }

u32 digit(std::string_view text) { return text.empty() ? 0 : static_cast<u32>(text[0] - '0') % 6; }

void put_argument(Text& text, const Kind& kind, const u64 (&arguments)[6], u32 index, u64 result, ReadMemory read) {
    const u64 value = arguments[index];
    const bool failed = result > ~4096ull;
    if (kind.name == "fd") {
        if (static_cast<i32>(value) == -100)
            text.add("AT_FDCWD");
        else
            text.add(static_cast<i32>(value));
    } else if (kind.name == "path") {
        put_string(text, value, kShownPath, read);
    } else if (kind.name == "str") {
        put_string(text, value, kShownBytes, read);
    } else if (kind.name == "size" || kind.name == "uint") {
        text.add(kind.name == "uint" ? static_cast<u64>(static_cast<u32>(value)) : value);
    } else if (kind.name == "int" || kind.name == "pid") {
        text.add(static_cast<i32>(value));
    } else if (kind.name == "off") {
        text.add(static_cast<i64>(value));
    } else if (kind.name == "mode") {
        text.add('0', Octal{static_cast<u32>(value)});
    } else if (kind.name == "hex") {
        text.add("0x", Hex{value});
    } else if (kind.name == "sig") {
        put_signal(text, static_cast<u32>(value));
    } else if (kind.name == "sigset") {
        put_signal_set(text, value, read);
    } else if (kind.name == "timespec") {
        i64 time[2];
        if (value == 0 || read(time, value, sizeof time) != sizeof time) return put_pointer(text, value);
        text.add("{tv_sec=", time[0], ", tv_nsec=", time[1], "}");
    } else if (kind.name == "flags") {
        put_flags(text, kind.detail, static_cast<u32>(value));
    } else if (kind.name == "in") {
        put_data(text, value, arguments[digit(kind.detail)], read);
    } else if (kind.name == "out" && !failed) {
        u64 limit = arguments[digit(kind.detail)];
        put_data(text, value, result < limit ? result : limit, read);
    } else if (kind.name == "stat" && !failed) {
        u8 bytes[56];
        if (read(bytes, value, sizeof bytes) != sizeof bytes) return put_pointer(text, value);
        u32 mode;
        i64 size;
        __builtin_memcpy(&mode, bytes + 24, sizeof mode);
        __builtin_memcpy(&size, bytes + 48, sizeof size);
        text.add("{st_mode=0", Octal{mode}, ", st_size=", size, ", ...}");
    } else if (kind.name == "fds" && !failed) {
        i32 fds[2];
        if (read(fds, value, sizeof fds) != sizeof fds) return put_pointer(text, value);
        text.add('[', fds[0], ", ", fds[1], ']');
    } else if (kind.name == "argv") {
        put_strings(text, value, read);
    } else if (kind.name == "envp") {
        put_count(text, value, read);
    } else {
        put_pointer(text, value);
    }
}

}  // namespace

u32 argument_count(const CallText& call) {
    Kinds kinds{call.kinds};
    Kind kind;
    u32 count = 0;
    while (count < 6 && kinds.next(kind)) ++count;
    return count;
}

u32 shown_before(const CallText& call) {
    Kinds kinds{call.kinds};
    Kind kind;
    u32 count = 0;
    while (count < 6 && kinds.next(kind) && !is_output(kind)) ++count;
    return count;
}

u32 arguments_of_kind(const CallText& call, std::string_view name) {
    Kinds kinds{call.kinds};
    Kind kind;
    u32 found = 0;
    for (u32 index = 0; index < 6 && kinds.next(kind); ++index)
        if (kind.name == name) found |= 1u << index;
    return found;
}

bool result_is_hexadecimal(const CallText& call) {
    Kind form = Kinds{call.kinds}.result();
    return form.name == "ptr" || form.name == "hex";
}

void decode_argument(Text& text, const CallText& call, const u64 (&arguments)[6], u32 wanted, u64 result,
                     ReadMemory read) {
    Kinds kinds{call.kinds};
    Kind kind;
    for (u32 index = 0; index < 6 && kinds.next(kind); ++index)
        if (index == wanted) return put_argument(text, kind, arguments, index, result, read);
}

void put_json(Text& text, std::string_view bytes, usize limit) {
    for (char character : bytes) {
        if (text.size() + 6 > limit) return;
        u8 byte = static_cast<u8>(character);
        if (byte == '"' || byte == '\\')
            text.add('\\', character);
        else if (byte < 32 || byte >= 127)
            text.add("\\u00", Hex{byte, 2});
        else
            text.add(character);
    }
}

u32 decode_enter(Text& text, const CallText& call, const u64 (&arguments)[6], ReadMemory read) {
    if (call.name != nullptr)
        text.add(call.name, '(');
    else
        text.add("call_", call.number, '(');
    u32 count = shown_before(call);
    for (u32 index = 0; index < count; ++index) {
        if (index != 0) text.add(", ");
        decode_argument(text, call, arguments, index, 0, read);
    }
    return count;
}

void decode_leave(Text& text, const CallText& call, const u64 (&arguments)[6], u32 shown, u64 result, ReadMemory read) {
    u32 count = argument_count(call);
    for (u32 index = shown; index < count; ++index) {
        if (index != 0) text.add(", ");
        decode_argument(text, call, arguments, index, result, read);
    }
    text.add(") = ");
    if (result > ~4096ull) {
        i32 error = static_cast<i32>(-static_cast<i64>(result));
        const char* name = errno_name(error);
        if (error >= 512)
            text.add("? ", name != nullptr ? name : "?", " (", errno_text(error), ')');
        else if (name != nullptr)
            text.add("-1 ", name, " (", errno_text(error), ')');
        else
            text.add("-1 errno ", error);
        return;
    }
    if (result_is_hexadecimal(call))
        text.add("0x", Hex{result});
    else
        text.add(static_cast<i64>(result));
}

}  // namespace postern::libos
