// SPDX-License-Identifier: Apache-2.0
// --trace=gate: one line per gate call on the trace descriptor.
#pragma once

#include <type_traits>

#include "gate/checks.hpp"
#include "gate/types.hpp"

namespace postern::host {

template <class T>
u64 trace_word(T value) {
    if constexpr (std::is_pointer_v<T>)
        return reinterpret_cast<u64>(value);
    else if constexpr (std::is_same_v<T, gate::ThreadToken>)
        return value.value;
    else
        return static_cast<u64>(value);
}

/// Before a call that may never return, and after one that has. `words` are the arguments as numbers.
void trace_begin(gate::CallNumber number, const u64* words);
void trace_end(gate::CallNumber number, const u64* words, gate::Err result);

}  // namespace postern::host
