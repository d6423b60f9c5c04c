// SPDX-License-Identifier: Apache-2.0
// The vocabulary in which gate/table.hpp declares calls: argument types, shapes, units, rights, errors with reasons.
//
// Everything here is a literal type, so that one constexpr table serves the compiler (signature checks), the generator
// `gatec` (stubs, reference page, JSON, lock file) and the tests.
#pragma once

#include <array>
#include <string_view>

#include "gate/types.hpp"

namespace postern::gate::schema {

using std::string_view;

inline constexpr usize kMaxParameters = 8;
inline constexpr usize kMaxErrors = 20;

/// The C++ type of an argument, exactly as in gate/abi.hpp.
enum class Type : u8 {
    none,
    u32_value,
    u64_value,
    handle,
    deadline,
    token,
    free_kind,
    length_change,
    link_kind,
    clock,
    timer_kind,
    // pointers
    u32_pointer,
    u64_pointer,
    handle_pointer,
    token_pointer,
    handle_list,     ///< const Handle*
    wait_items,      ///< WaitItem*
    fork_result,     ///< ForkResult*
    attributes,      ///< Attributes*
    attributes_in,   ///< const Attributes*
    bytes_in,        ///< const void*
    bytes_out,       ///< void*
    string,          ///< const char*
    string_list,     ///< const char* const*
    parameters,      ///< const LibOsParameters*
    exception_info,  ///< const ExceptionInfo*
};

enum class Direction : u8 { in, out, in_out };

/// What a number counts, or what a pointer points to.
enum class Unit : u8 {
    none,
    bytes,
    page_bytes,
    page_address,
    address,
    byte_offset,
    count,
    nanoseconds,
    deadline,
    uri,
    text,
    pixels,
    bits
};

/// Which values a number may have. The names of bits and members are in gate/domains.hpp.
enum class Domain : u8 {
    any,
    boolean,  ///< 0 or 1
    alloc_flags,
    prot,
    free_kind,
    segment,
    address_flags,
    access,
    create,
    open_options,
    attribute_options,  ///< the OpenOptions that name an object: no_follow, directory, link
    map_flags,
    length_change,
    rename_flags,
    ready,
    attribute_mask,
    link_kind,
    lock_mode,
    change_filter,
    clock,
    timer_kind,
    external,
    list_options,
    permission_bits,  ///< POSIX mode, 0-07777
};

/// Set of object kinds a handle argument accepts.
using Kinds = u8;
constexpr Kinds kind_bit(ObjectKind kind) { return static_cast<Kinds>(1u << static_cast<unsigned>(kind)); }
template <class... K>
constexpr Kinds kinds(K... kind) {
    return static_cast<Kinds>((kind_bit(kind) | ...));
}
inline constexpr Kinds kAnyKind =
    kinds(ObjectKind::stream, ObjectKind::directory, ObjectKind::event, ObjectKind::semaphore, ObjectKind::process,
          ObjectKind::thread, ObjectKind::channel);
inline constexpr Kinds kWaitable = kinds(ObjectKind::stream, ObjectKind::event, ObjectKind::semaphore,
                                         ObjectKind::process, ObjectKind::thread, ObjectKind::channel);

struct Param {
    string_view name;
    Type type = Type::none;
    Direction direction = Direction::in;
    Unit unit = Unit::none;
    Domain domain = Domain::any;
    Kinds kinds = 0;  ///< handle arguments, and lists of handles
    Right right = Right::none;
    bool optional = false;      ///< pointer: may be null; handle: may be kNoHandle; string: may be absent
    string_view sized_by = {};  ///< buffers and lists: the argument that holds their size or count
    string_view doc = {};
};

struct Reason {
    Err code = Err::ok;
    string_view why;
};

enum class Group : u8 { memory, thread, synchronisation, process, stream, channel, other, upcall };
enum class Origin : u8 { drawbridge, addition };
enum class Status : u8 { working, unsupported };
enum class Returns : u8 { error, nothing, never, address };

struct Call {
    u16 number = 0;
    string_view name;
    Group group = Group::other;
    Origin origin = Origin::drawbridge;
    Returns returns = Returns::error;
    bool blocks = false;  ///< may sleep until something outside the call happens; then interruptible
    u16 since = 1;        ///< kAbiVersion in which it appeared
    Status linux_status = Status::working;
    usize param_count = 0;
    std::array<Param, kMaxParameters> params{};
    usize error_count = 0;
    std::array<Reason, kMaxErrors> errors{};
    string_view doc;
    string_view why;  ///< additions: why none of the other calls serves

    constexpr const Param* begin() const { return params.data(); }
    constexpr const Param* end() const { return params.data() + param_count; }
};

// Builders -------------------------------------------------------------------------------------------------------
// A declaration reads: call(number, name, group) + in32(...) + out(...) + fails(...) + blocking + docs("...").

constexpr Call call(u16 number, string_view name, Group group) {
    Call result;
    result.number = number;
    result.name = name;
    result.group = group;
    return result;
}
/// Overflow indexes past the array: a compile error, since the table is constexpr.
constexpr Call operator+(Call call, const Param& param) {
    call.params[call.param_count++] = param;
    return call;
}
constexpr Call operator+(Call call, const Reason& reason) {
    call.errors[call.error_count++] = reason;
    return call;
}
template <usize N>
constexpr Call operator+(Call call, const Reason (&reasons)[N]) {
    for (const Reason& reason : reasons) call.errors[call.error_count++] = reason;
    return call;
}
struct Doc {
    string_view text;
};
struct Why {
    string_view text;
};
struct Blocking {};
struct Unsupported {};
constexpr Call operator+(Call call, Doc doc) { return call.doc = doc.text, call; }
constexpr Call operator+(Call call, Why why) { return call.why = why.text, call.origin = Origin::addition, call; }
constexpr Call operator+(Call call, Blocking) { return call.blocks = true, call; }
constexpr Call operator+(Call call, Unsupported) { return call.linux_status = Status::unsupported, call; }
constexpr Call operator+(Call call, Returns returns) { return call.returns = returns, call; }
inline constexpr Blocking blocking{};
inline constexpr Unsupported unsupported_on_linux{};
constexpr Doc docs(string_view text) { return {text}; }
/// The paragraph that every call beyond Drawbridge's owes.
constexpr Why needed(string_view text) { return {text}; }
constexpr Reason fails(Err code, string_view why) { return {code, why}; }

constexpr Param value(Type type, string_view name, Unit unit, Domain domain, string_view doc) {
    return {.name = name, .type = type, .unit = unit, .domain = domain, .doc = doc};
}
constexpr Param in32(string_view name, string_view doc, Domain domain = Domain::any, Unit unit = Unit::none) {
    return value(Type::u32_value, name, unit, domain, doc);
}
constexpr Param in64(string_view name, string_view doc, Unit unit = Unit::none) {
    return value(Type::u64_value, name, unit, Domain::any, doc);
}
constexpr Param handle(string_view name, Kinds kinds, Right right, string_view doc) {
    return {.name = name, .type = Type::handle, .kinds = kinds, .right = right, .doc = doc};
}
constexpr Param handle(string_view name, ObjectKind kind, Right right, string_view doc) {
    return handle(name, kind_bit(kind), right, doc);
}
constexpr Param out(Type type, string_view name, string_view doc, Unit unit = Unit::none) {
    return {.name = name, .type = type, .direction = Direction::out, .unit = unit, .doc = doc};
}
constexpr Param in_out(Type type, string_view name, string_view doc, Unit unit = Unit::none) {
    return {.name = name, .type = type, .direction = Direction::in_out, .unit = unit, .doc = doc};
}
constexpr Param new_handle(string_view name, Kinds kinds, string_view doc) {
    return {.name = name, .type = Type::handle_pointer, .direction = Direction::out, .kinds = kinds, .doc = doc};
}
constexpr Param new_handle(string_view name, ObjectKind kind, string_view doc) {
    return new_handle(name, kind_bit(kind), doc);
}
constexpr Param uri(string_view name, string_view doc) {
    return {.name = name, .type = Type::string, .unit = Unit::uri, .doc = doc};
}
constexpr Param bytes_in(string_view name, string_view sized_by, string_view doc) {
    return {.name = name, .type = Type::bytes_in, .unit = Unit::bytes, .sized_by = sized_by, .doc = doc};
}
constexpr Param bytes_out(string_view name, string_view sized_by, string_view doc) {
    return {.name = name,
            .type = Type::bytes_out,
            .direction = Direction::out,
            .unit = Unit::bytes,
            .sized_by = sized_by,
            .doc = doc};
}
constexpr Param maybe(Param param) { return param.optional = true, param; }

inline constexpr string_view kGroupNames[] = {"memory", "thread",  "synchronisation", "process",
                                              "stream", "channel", "other",           "upcall"};

}  // namespace postern::gate::schema
