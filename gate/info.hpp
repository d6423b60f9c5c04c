// SPDX-License-Identifier: Apache-2.0
// The gate described for programs: what `postern gate --json` prints. Hosted code; link postern_gate_info.
#pragma once

#include <string_view>

namespace postern::gate {

/// The whole table as JSON: calls, arguments, errors, sets. Valid for the life of the program.
std::string_view gate_json();

/// The same as the reference page, docs/gate.md.
std::string_view gate_page();

}  // namespace postern::gate
