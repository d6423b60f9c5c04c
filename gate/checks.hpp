// SPDX-License-Identifier: Apache-2.0
// Argument checks for whoever implements the gate, from the table: kinds and rights of handles, ranges of values.
//
// The order is part of the gate: all values are checked first, then pointers that must not be null, then each handle in
// argument order, and for one handle "bad handle" before "wrong kind" before "denied". Freestanding; the data is
// compact and has no texts.
#pragma once

#include <type_traits>

#include "base/types.hpp"
#include "gate/types.hpp"

namespace postern::gate {

/// What the table asks of a value.
enum class ValueRule : u8 { any, mask, maximum, page_multiple, page_size, not_null };

struct ArgumentRule {
    u8 kinds;       ///< handles: bit 1 << ObjectKind for each kind accepted; 0: no handle
    Right right;    ///< handles: right that is needed
    bool optional;  ///< handles: kNoHandle is accepted
    ValueRule rule;
    u64 limit;  ///< mask: permitted bits; maximum: largest value
};

/// What the table asks of a handle argument. `kinds` 0: the argument is no handle.
struct Requirement {
    u8 kinds = 0;
    Right right = Right::none;
    bool optional = false;
};

}  // namespace postern::gate

#include "gate/generated/checks.hpp"

namespace postern::gate {

constexpr const ArgumentRule& argument_rule(CallNumber call, unsigned argument) {
    return generated::kArgumentRules[generated::kFirstRule[static_cast<unsigned>(call)] + argument];
}

constexpr unsigned argument_count(CallNumber call) {
    return generated::kFirstRule[static_cast<unsigned>(call) + 1] - generated::kFirstRule[static_cast<unsigned>(call)];
}

constexpr Requirement requirement(CallNumber call, unsigned argument) {
    const ArgumentRule& rule = argument_rule(call, argument);
    return {rule.kinds, rule.right, rule.optional};
}

/// Bit `1 << Err` for each error that the table lists for the call; bit 0 (ok) is always set.
constexpr u32 declared_errors(CallNumber call) { return generated::kErrors[static_cast<unsigned>(call)]; }
constexpr bool may_return(CallNumber call, Err error) {
    return (declared_errors(call) >> static_cast<unsigned>(error) & 1) != 0;
}

/// Calls that the table says the Linux host answers with Err::unsupported, whatever their arguments.
constexpr bool works_on_linux(CallNumber call) {
    return (generated::kUnsupportedOnLinux >> static_cast<unsigned>(call) & 1) == 0;
}

/// The one place that orders handle errors. `kind` none: the handle is not open.
constexpr Err check_handle(Requirement wanted, ObjectKind kind, Right rights) {
    if (kind == ObjectKind::none) return Err::bad_handle;
    if ((wanted.kinds >> static_cast<unsigned>(kind) & 1) == 0) return Err::wrong_kind;
    if (!has(rights, wanted.right)) return Err::denied;
    return Err::ok;
}

constexpr Err check_value(const ArgumentRule& rule, u64 value) {
    switch (rule.rule) {
        case ValueRule::any: return Err::ok;
        case ValueRule::mask: return (value & ~rule.limit) == 0 ? Err::ok : Err::bad_argument;
        case ValueRule::maximum: return value <= rule.limit ? Err::ok : Err::bad_argument;
        case ValueRule::page_multiple: return page_aligned(value) ? Err::ok : Err::bad_argument;
        case ValueRule::page_size: return page_aligned(value) && value != 0 ? Err::ok : Err::bad_argument;
        case ValueRule::not_null: return value != 0 ? Err::ok : Err::bad_address;
    }
    return Err::bad_argument;
}

/// Err::bad_argument when any value of the call is outside what the table permits, else Err::bad_address when a
/// pointer is null that must not be. Compiles to the few comparisons that the call needs; handles are not looked at.
template <CallNumber Number, class... Arguments>
constexpr Err check_values(Arguments... arguments) {
    static_assert(sizeof...(Arguments) == argument_count(Number), "all arguments of the call, in order");
    unsigned index = 0;
    bool bad = false, null = false;
    [[maybe_unused]] auto check = [&](auto argument) {
        using T = decltype(argument);
        if constexpr (std::is_enum_v<T> || std::is_integral_v<T>)
            bad = bad || check_value(argument_rule(Number, index), static_cast<u64>(argument)) != Err::ok;
        else if constexpr (std::is_pointer_v<T>)
            null = null || (argument_rule(Number, index).rule == ValueRule::not_null && argument == nullptr);
        ++index;
    };
    (check(arguments), ...);
    return bad ? Err::bad_argument : null ? Err::bad_address : Err::ok;
}

}  // namespace postern::gate
