// SPDX-License-Identifier: Apache-2.0
// The library OS's way out: the gate's entry points and the parameters of this start.
#pragma once

#include <string_view>

#include "gate/abi.hpp"
#include "gate/personality.hpp"

namespace postern::libos {

extern const gate::Calls* g_gate;  ///< set once by LibOsInitialize
extern const gate::LibOsParameters* g_parameters;
extern const gate::PersonalityHost* g_host;

/// For the log that users see with --verbose; one line, no newline at the end.
void log_line(std::string_view text);
/// For what users must see in any case: why a program could not start, what is not supported.
void report_line(std::string_view text);
extern bool g_verbose;
/// The host's user is told at the end that the family met this limit; see PersonalityHost::limit_met.
inline void report_limit(gate::Limit limit) {
    if (g_host != nullptr && g_host->limit_met != nullptr) g_host->limit_met(limit);
}
/// A library-OS bug: reports `what` with the place and ends the picoprocess.
[[noreturn]] void panic(const char* what);

}  // namespace postern::libos
