// SPDX-License-Identifier: Apache-2.0
// The table of the gate: every call and upcall, declared once, in the order of its number.
//
// A number is stable and never reused; a call's number is also its place in gate::Calls, so that the structure in
// gate/abi.hpp only ever grows at its end. gate/gatec turns the table into gate/generated/, docs/gate.md and
// gate/gate.lock; gate/table_check.cpp compares it with the C++ types of gate/abi.hpp.
#pragma once

#include "gate/domains.hpp"
#include "gate/schema.hpp"
#include "gate/table/channel.hpp"
#include "gate/table/memory.hpp"
#include "gate/table/other.hpp"
#include "gate/table/process.hpp"
#include "gate/table/stream.hpp"
#include "gate/table/synchronisation.hpp"
#include "gate/table/thread.hpp"

namespace postern::gate::schema {

template <usize... N>
consteval auto in_order(const Call (&... groups)[N]) {
    std::array<Call, (N + ...)> result{};
    usize count = 0;
    auto add = [&](const auto& group) {
        for (const Call& call : group) {
            usize place = count++;
            for (; place > 0 && result[place - 1].number > call.number; --place) result[place] = result[place - 1];
            result[place] = call;
        }
    };
    (add(groups), ...);
    return result;
}

/// Calls first (numbers 1...), then upcalls (numbers above 100).
inline constexpr auto kTable = in_order(kMemoryCalls, kThreadCalls, kSynchronisationCalls, kProcessCalls, kStreamCalls,
                                        kChannelCalls, kOtherCalls, kUpcalls);
inline constexpr usize kUpcallCount = sizeof(kUpcalls) / sizeof(kUpcalls[0]);
inline constexpr usize kCallCount = kTable.size() - kUpcallCount;
inline constexpr usize kMostCalls = 64;

// The shape of the gate.
static_assert(kCallCount <= kMostCalls, "the gate stays narrow: at most 64 calls in all");
static_assert(kUpcallCount == 3, "upcalls are Drawbridge's three");

consteval usize count_of(Origin origin) {
    usize count = 0;
    for (const Call& call : kTable) count += call.group != Group::upcall && call.origin == origin;
    return count;
}
static_assert(count_of(Origin::drawbridge) == 45, "Drawbridge's 45 calls");

// Well-formedness. Each predicate is one rule; the message names it.
consteval bool numbers_dense() {
    for (usize i = 0; i < kCallCount; ++i)
        if (kTable[i].number != i + 1) return false;
    for (usize i = kCallCount; i < kTable.size(); ++i)
        if (kTable[i].number != 101 + i - kCallCount || kTable[i].group != Group::upcall) return false;
    return true;
}
static_assert(numbers_dense(), "numbers ascend without gaps: a number is a place in gate::Calls");

consteval bool names_unique() {
    for (usize i = 0; i < kTable.size(); ++i)
        for (usize j = 0; j < i; ++j)
            if (kTable[i].name == kTable[j].name) return false;
    return true;
}
static_assert(names_unique(), "two calls have one name");

consteval bool documented() {
    for (const Call& call : kTable) {
        if (call.doc.empty() || call.name.empty() || call.since == 0 || call.since > kAbiVersion) return false;
        if ((call.origin == Origin::addition) != !call.why.empty()) return false;
        for (const Param& param : call)
            if (param.name.empty() || param.doc.empty() || param.type == Type::none) return false;
        for (usize i = 0; i < call.error_count; ++i)
            if (call.errors[i].why.empty()) return false;
    }
    return true;
}
static_assert(documented(), "every call, argument and error is documented; additions say why they exist");

constexpr bool may_return(const Call& call, Err error) {
    for (usize i = 0; i < call.error_count; ++i)
        if (call.errors[i].code == error) return true;
    return false;
}

consteval bool errors_sound() {
    for (const Call& call : kTable) {
        if (call.returns != Returns::error && call.error_count != 0) return false;
        for (usize i = 0; i < call.error_count; ++i) {
            if (call.errors[i].code == Err::ok) return false;
            for (usize j = 0; j < i; ++j)
                if (call.errors[i].code == call.errors[j].code) return false;
        }
    }
    return true;
}
static_assert(errors_sound(), "errors of a call are unique, and calls that return none list none");

constexpr bool is_handle_in(const Param& param) {
    return param.type == Type::handle || param.type == Type::handle_list || param.type == Type::wait_items;
}

consteval bool handles_sound() {
    for (const Call& call : kTable)
        for (const Param& param : call) {
            bool names_handles = is_handle_in(param) || param.type == Type::handle_pointer;
            if (names_handles != (param.kinds != 0)) return false;
            if (is_handle_in(param)) {
                if (!may_return(call, Err::bad_handle)) return false;
                if (param.kinds != kAnyKind && !may_return(call, Err::wrong_kind)) return false;
                if (param.right != Right::none && !may_return(call, Err::denied)) return false;
            } else if (param.right != Right::none) {
                return false;
            }
        }
    return true;
}
static_assert(handles_sound(), "handle arguments name kinds and rights, and the call the errors that follow");

constexpr bool is_pointer(Type type) { return type >= Type::u32_pointer; }

consteval bool values_checkable() {
    for (const Call& call : kTable) {
        if (call.returns != Returns::error || call.group == Group::upcall) continue;
        for (const Param& param : call) {
            bool restricted =
                param.domain != Domain::any || param.unit == Unit::page_address || param.unit == Unit::page_bytes;
            if (restricted && param.type != Type::wait_items && !may_return(call, Err::bad_argument) &&
                call.linux_status == Status::working)
                return false;
            if (is_pointer(param.type) && call.linux_status == Status::working && !may_return(call, Err::bad_address))
                return false;
        }
    }
    return true;
}
static_assert(values_checkable(), "restricted values need Err::bad_argument, pointers Err::bad_address");

consteval bool sizes_named() {
    for (const Call& call : kTable)
        for (const Param& param : call) {
            if (param.type == Type::bytes_in || param.type == Type::bytes_out || param.type == Type::handle_list ||
                param.type == Type::wait_items) {
                if (param.sized_by.empty()) return false;
            }
            if (param.sized_by.empty()) continue;
            bool found = false;
            for (const Param& other : call) found = found || other.name == param.sized_by;
            if (!found) return false;
        }
    return true;
}
static_assert(sizes_named(), "buffers and lists name the argument that holds their size");

consteval bool blocking_interruptible() {
    for (const Call& call : kTable)
        if (call.blocks && !may_return(call, Err::interrupted)) return false;
    return true;
}
static_assert(blocking_interruptible(), "what blocks can be interrupted");

consteval bool unsupported_listed() {
    for (const Call& call : kTable)
        if (call.linux_status == Status::unsupported && !may_return(call, Err::unsupported)) return false;
    return true;
}
static_assert(unsupported_listed(), "a call without implementation answers Err::unsupported");

}  // namespace postern::gate::schema
