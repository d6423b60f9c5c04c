// SPDX-License-Identifier: Apache-2.0
// Gate calls as text, with decoded arguments and results: `--trace=gate`, and the names in error reports.
//
//   DkStreamOpen("file:/etc/passwd", access=read, mode=0, create=never, options=0, stream=7, attributes=0x...) = ok
//
// Freestanding. Memory of the caller is read through a function of the host's, which may refuse: a trace must not
// fault where the call itself answers Err::bad_address.
#pragma once

#include "base/format.hpp"
#include "gate/checks.hpp"

namespace postern::gate::trace {

struct Name {
    const char* name;
    u64 value;
};
struct Names {
    const Name* names;
    u8 count;
    bool flags;
};
enum class Shape : u8 {
    number,
    octal,
    address,
    offset,
    handle,
    deadline,
    token,
    u32_pointer,
    u64_pointer,
    handle_pointer,
    token_pointer,
    handle_list,
    wait_items,
    string,
    bytes
};
struct Argument {
    const char* name;
    Shape shape;
    u8 out;       ///< the pointee is set by the call
    u8 in_out;    ///< the pointee is read and set
    u8 domain;    ///< index of kNames
    i8 sized_by;  ///< argument that holds the size, -1: none
};

}  // namespace postern::gate::trace

#include "gate/generated/trace_data.hpp"

namespace postern::gate::trace {

/// Copies `size` bytes from the caller's address; false when they are not accessible.
using Copy = bool (*)(void* to, u64 from, usize size);

inline constexpr usize kMostText = 48;  ///< bytes of a string or buffer shown
inline constexpr usize kMostItems = 8;  ///< elements of a list shown

inline std::string_view name(CallNumber call) {
    return static_cast<u32>(call) <= kCallCount ? generated::kCallNames[static_cast<u32>(call)] : "?";
}
inline std::string_view name(Err error) {
    return static_cast<u32>(error) < kErrCount ? kErrorNames[static_cast<u32>(error)] : "?";
}

/// A value by the names of its set; what has no name is shown in hexadecimal.
inline void put_named(Text& text, const Names& names, u64 value) {
    if (!names.flags) {
        for (u8 i = 0; i < names.count; ++i)
            if (names.names[i].value == value) {
                text.add(names.names[i].name);
                return;
            }
        text.add(value);
        return;
    }
    bool first = true;
    for (u8 i = 0; i < names.count; ++i) {
        u64 bits = names.names[i].value;
        bool shown = bits == 0 ? value == 0 : (value & bits) == bits;
        if (!shown) continue;
        text.add(first ? "" : "|", names.names[i].name);
        value &= ~bits;
        first = false;
    }
    if (value != 0)
        text.add(first ? "" : "|", "0x", Hex{value});
    else if (first)
        text.add('0');
}

inline void put_quoted(Text& text, const char* bytes, usize size) {
    text.add('"');
    for (usize i = 0; i < size; ++i) {
        auto byte = static_cast<u8>(bytes[i]);
        if (byte == '\n')
            text.add("\\n");
        else if (byte == '"' || byte == '\\')
            text.add('\\', bytes[i]);
        else if (byte < ' ' || byte > '~')
            text.add("\\x", Hex{byte, 2});
        else
            text.add(bytes[i]);
    }
    text.add('"');
}

inline void put_address(Text& text, u64 address) {
    if (address == 0)
        text.add("null");
    else
        text.add("0x", Hex{address});
}

inline void put_string(Text& text, u64 address, Copy copy) {
    char bytes[kMostText];
    usize size = 0;
    // One byte at a time: the string may end right before memory that is not there.
    for (; size < kMostText; ++size) {
        if (!copy(&bytes[size], address + size, 1)) {
            if (size == 0) return put_address(text, address);
            break;
        }
        if (bytes[size] == 0) break;
    }
    put_quoted(text, bytes, size);
    if (size == kMostText) text.add("...");
}

inline void put_bytes(Text& text, u64 address, u64 size, Copy copy) {
    char bytes[kMostText];
    usize shown = size < kMostText ? size : kMostText;
    if (address == 0 || !copy(bytes, address, shown)) return put_address(text, address);
    put_quoted(text, bytes, shown);
    if (shown < size) text.add("...");
}

template <class T>
void put_pointee(Text& text, u64 address, Copy copy) {
    T value{};
    if (address == 0 || !copy(&value, address, sizeof value)) return put_address(text, address);
    if constexpr (std::is_class_v<T>)
        text.add("#", Hex{value.value});
    else
        text.add(value);
}

inline void put_list(Text& text, Shape shape, u64 address, u64 count, Copy copy) {
    text.add('[');
    for (u64 i = 0; i < count; ++i) {
        if (i != 0) text.add(", ");
        if (i == kMostItems) {
            text.add("...");
            break;
        }
        if (shape == Shape::handle_list) {
            put_pointee<Handle>(text, address + i * sizeof(Handle), copy);
            continue;
        }
        WaitItem item{};
        if (!copy(&item, address + i * sizeof item, sizeof item)) {
            put_address(text, address);
            break;
        }
        text.add(item.handle, ":");
        put_named(
            text,
            kNames[kArguments[generated::kFirstRule[static_cast<u32>(CallNumber::DkObjectsWaitReady)] + 1].domain],
            item.want);
        text.add(">");
        put_named(
            text,
            kNames[kArguments[generated::kFirstRule[static_cast<u32>(CallNumber::DkObjectsWaitReady)] + 1].domain],
            item.got);
    }
    text.add(']');
}

/// One argument. `after`: the call has returned Err::ok, so pointees that it sets are meaningful.
inline void put_argument(Text& text, const Argument& argument, const u64* values, unsigned index, bool after,
                         Copy copy) {
    u64 value = values[index];
    if (argument.out != 0 && !after) return put_address(text, value);
    u64 size = argument.sized_by >= 0 ? values[argument.sized_by] : 0;
    switch (argument.shape) {
        case Shape::number:
            if (kNames[argument.domain].names != nullptr)
                put_named(text, kNames[argument.domain], value);
            else
                text.add(value);
            return;
        case Shape::octal: text.add('0', Octal{value}); return;
        case Shape::address: return put_address(text, value);
        case Shape::offset:
            if (value == ~0ull)
                text.add("none");
            else
                text.add(value);
            return;
        case Shape::handle: text.add(static_cast<Handle>(value)); return;
        case Shape::deadline:
            if (value == kForever)
                text.add("forever");
            else if (value == kPoll)
                text.add("poll");
            else
                text.add(value);
            return;
        case Shape::token: text.add("#", Hex{value}); return;
        case Shape::u32_pointer: return put_pointee<u32>(text, value, copy);
        case Shape::u64_pointer: return put_pointee<u64>(text, value, copy);
        case Shape::handle_pointer: return put_pointee<Handle>(text, value, copy);
        case Shape::token_pointer: return put_pointee<ThreadToken>(text, value, copy);
        case Shape::handle_list:
        case Shape::wait_items: return put_list(text, argument.shape, value, size, copy);
        case Shape::string: return put_string(text, value, copy);
        case Shape::bytes: return put_bytes(text, value, size, copy);
    }
}

/// The whole call on one line without a newline. `values` holds the arguments as 64-bit words in order. `result`
/// null: the call has not returned yet, only what goes in is shown.
inline void format_call(Text& text, CallNumber call, const u64* values, const Err* result, Copy copy) {
    text.add(name(call), "(");
    unsigned count = argument_count(call);
    const Argument* arguments = &kArguments[generated::kFirstRule[static_cast<u32>(call)]];
    for (unsigned i = 0; i < count; ++i) {
        if (i != 0) text.add(", ");
        if (arguments[i].shape != Shape::string) text.add(arguments[i].name, "=");
        put_argument(text, arguments[i], values, i, result != nullptr && *result == Err::ok, copy);
    }
    text.add(")");
    if (result != nullptr) text.add(" = ", name(*result));
}

}  // namespace postern::gate::trace
