// SPDX-License-Identifier: Apache-2.0
// Compares the table with gate/abi.hpp while compiling: each call's C++ type, its place, and that none is missing.
#include <cstddef>
#include <tuple>
#include <type_traits>

#include "gate/table.hpp"

namespace postern::gate::schema {

template <Type>
struct CppType;
#define POSTERN_TYPE(name, type) \
    template <>                  \
    struct CppType<Type::name> { \
        using Is = type;         \
    }
POSTERN_TYPE(u32_value, u32);
POSTERN_TYPE(u64_value, u64);
POSTERN_TYPE(handle, Handle);
POSTERN_TYPE(deadline, Deadline);
POSTERN_TYPE(token, ThreadToken);
POSTERN_TYPE(free_kind, FreeKind);
POSTERN_TYPE(length_change, LengthChange);
POSTERN_TYPE(link_kind, LinkKind);
POSTERN_TYPE(clock, Clock);
POSTERN_TYPE(timer_kind, TimerKind);
POSTERN_TYPE(u32_pointer, u32*);
POSTERN_TYPE(u64_pointer, u64*);
POSTERN_TYPE(handle_pointer, Handle*);
POSTERN_TYPE(token_pointer, ThreadToken*);
POSTERN_TYPE(handle_list, const Handle*);
POSTERN_TYPE(wait_items, WaitItem*);
POSTERN_TYPE(fork_result, ForkResult*);
POSTERN_TYPE(attributes, Attributes*);
POSTERN_TYPE(attributes_in, const Attributes*);
POSTERN_TYPE(bytes_in, const void*);
POSTERN_TYPE(bytes_out, void*);
POSTERN_TYPE(string, const char*);
POSTERN_TYPE(string_list, const char* const*);
POSTERN_TYPE(parameters, const LibOsParameters*);
POSTERN_TYPE(exception_info, const ExceptionInfo*);
#undef POSTERN_TYPE

template <Returns>
struct CppResult {
    using Is = void;
};
template <>
struct CppResult<Returns::error> {
    using Is = Err;
};
template <>
struct CppResult<Returns::address> {
    using Is = u64;
};

template <usize Row, class Indices>
struct SignatureOf;
template <usize Row, usize... I>
struct SignatureOf<Row, std::index_sequence<I...>> {
    using Is = typename CppResult<kTable[Row].returns>::Is (*)(typename CppType<kTable[Row].params[I].type>::Is...);
};
template <usize Row>
using Signature = typename SignatureOf<Row, std::make_index_sequence<kTable[Row].param_count>>::Is;

#define POSTERN_CALL(place, symbol)                                                                                  \
    static_assert(kTable[place - 1].name == #symbol, "gate::Calls and the table disagree about " #symbol);           \
    static_assert(std::is_same_v<decltype(Calls::symbol), Signature<place - 1>>, #symbol " differs from the table"); \
    static_assert(offsetof(Calls, symbol) == 8 + 8 * (place - 1), #symbol " is not in its place in gate::Calls");
#define POSTERN_UPCALL(place, symbol)                                \
    static_assert(kTable[kCallCount + place - 101].name == #symbol); \
    static_assert(std::is_same_v<decltype(&symbol), Signature<kCallCount + place - 101>>, #symbol " differs");
#include "gate/generated/calls.inc"
#undef POSTERN_CALL
#undef POSTERN_UPCALL
static_assert(sizeof(Calls) == 8 + 8 * kCallCount, "a call of gate::Calls is missing from the table");

}  // namespace postern::gate::schema
