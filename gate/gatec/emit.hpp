// SPDX-License-Identifier: Apache-2.0
// What gatec emits from the table: each function returns the whole text of one file.
#pragma once

#include <concepts>
#include <string>

#include "gate/table.hpp"

namespace postern::gatec {

std::string emit_call_list();  ///< generated/calls.inc
std::string emit_checks();     ///< generated/checks.hpp
std::string emit_client();     ///< generated/client.hpp
std::string emit_trace();      ///< generated/trace_data.hpp
std::string emit_fuzz();       ///< generated/fuzz_data.hpp
std::string emit_page();       ///< docs/gate.md
std::string emit_json();       ///< generated/gate.json
std::string emit_lock();       ///< gate.lock

// Shared by the emitters.
inline void append(std::string& to, std::string_view text) { to += text; }
template <std::integral T>
void append(std::string& to, T number) {
    to += std::to_string(number);
}
/// Text from parts: strings and numbers.
template <class... Parts>
std::string cat(const Parts&... parts) {
    std::string result;
    (append(result, parts), ...);
    return result;
}
std::string snake(std::string_view name);               ///< DkStreamOpen -> stream_open
std::string cpp_type(gate::schema::Type type);          ///< as in gate/abi.hpp
std::string kind_list(gate::schema::Kinds kinds);       ///< "stream, directory"
std::string right_list(gate::Right right);              ///< "read, write"
std::string signature(const gate::schema::Call& call);  ///< canonical text: what gate.lock hashes
u64 fingerprint(std::string_view text);                 ///< FNV-1a, 64 bits

}  // namespace postern::gatec
