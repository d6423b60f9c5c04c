// SPDX-License-Identifier: Apache-2.0
// The subcommands that only say how things are: routes, gate, syscalls, wall.
#include <vector>

#include "cli/command.hpp"
#include "cli/text.hpp"
#include "gate/info.hpp"
#include "host/linux/filter/describe.hpp"

extern "C" const char postern_syscalls_json[], postern_syscalls_json_end[];
extern "C" const char postern_syscalls_page[], postern_syscalls_page_end[];

namespace postern::cli {
namespace {

int show(std::string_view text) { return print(text) ? 0 : kUsageError; }

const char* test_name(host::ArgumentTest test) {
    switch (test) {
        case host::ArgumentTest::equal: return "equal";
        case host::ArgumentTest::masked_equal: return "masked_equal";
        case host::ArgumentTest::in_set: return "in_set";
        case host::ArgumentTest::range: return "range";
    }
    return "";
}

std::string wall_json(const host::FilterOptions& options) {
    std::string out = "[\n";
    bool first = true;
    for (u32 i = 0; i < host::kRuleCount; ++i) {
        const host::Rule& rule = host::kRules[i];
        if (!host::rule_active(rule, options)) continue;
        out += first ? "  {" : ",\n  {";
        first = false;
        out += "\"number\": " + std::to_string(rule.number) + ", \"name\": " + json_string(rule.name) +
               ", \"action\": " + (rule.action == host::RuleAction::notify ? "\"notify\"" : "\"allow\"") +
               ", \"reason\": " + json_string(rule.reason) + ", \"arguments\": [";
        for (u32 j = 0; j < rule.pattern_count; ++j) {
            const host::ArgumentPattern& pattern = rule.patterns[j];
            out += (j == 0 ? "{" : ", {");
            out += "\"index\": " + std::to_string(pattern.index) + ", \"bits\": " + std::to_string(pattern.width) +
                   ", \"test\": \"" + test_name(pattern.test) + "\", \"mask\": " + std::to_string(pattern.mask) +
                   ", \"values\": [";
            for (u32 k = 0; k < pattern.count; ++k) out += (k == 0 ? "" : ", ") + std::to_string(pattern.values[k]);
            out += "], \"text\": " + json_string(pattern.text) + "}";
        }
        out += "]}";
    }
    return out + "\n]\n";
}

}  // namespace

int routes(Request& request) {
    auto view = host::compile_view(request.launch.view);
    if (!view.ok()) {
        complain(view.error().message);
        return view.error().status;
    }
    return show(host::describe_routes(view.value(), request.json));
}

int gate(Request& request) { return show(request.json ? postern::gate::gate_json() : postern::gate::gate_page()); }

int syscalls(Request& request) {
    if (request.json) return show({postern_syscalls_json, postern_syscalls_json_end});
    return show({postern_syscalls_page, postern_syscalls_page_end});
}

int wall(Request& request) {
    host::FilterOptions options;
    options.signal_scope = !request.no_signal_scope;
    if (request.json) return show(wall_json(options));
    std::vector<char> buffer(64 * 1024);
    Text text{buffer.data(), buffer.size()};
    host::describe_rules(options, text);
    return show(text.view());
}

}  // namespace postern::cli
