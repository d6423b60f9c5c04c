// SPDX-License-Identifier: Apache-2.0
// The wall for people: `./x check --wall` prints this.
#pragma once

#include "base/format.hpp"
#include "host/linux/filter/program.hpp"

namespace postern::host {

/// One paragraph per active rule: call, action, argument patterns, reason. Appends to `text`.
void describe_rule(const Rule& rule, Text& text);
void describe_rules(const FilterOptions& options, Text& text);

}  // namespace postern::host
