// SPDX-License-Identifier: Apache-2.0
#include "gate/info.hpp"

#include "gate/gatec/emit.hpp"

namespace postern::gate {

std::string_view gate_json() {
    static const std::string text = gatec::emit_json();
    return text;
}

std::string_view gate_page() {
    static const std::string text = gatec::emit_page();
    return text;
}

}  // namespace postern::gate
