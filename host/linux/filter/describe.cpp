// SPDX-License-Identifier: Apache-2.0
#include "host/linux/filter/describe.hpp"

namespace postern::host {

void describe_rule(const Rule& rule, Text& text) {
    text.add(Padded{rule.number, 3}, " ", rule.name, rule.action == RuleAction::notify ? "  [asks the monitor]" : "",
             "\n      ", rule.reason, "\n");
    for (u32 i = 0; i < rule.pattern_count; ++i) {
        const ArgumentPattern& pattern = rule.patterns[i];
        text.add("      argument ", pattern.index, " (", pattern.width, " bits) ");
        switch (pattern.test) {
            case ArgumentTest::equal: text.add("== ", pattern.values[0]); break;
            case ArgumentTest::masked_equal:
                text.add("& ", "0x", Hex{pattern.width == 32 ? pattern.mask & 0xffff'ffff : pattern.mask},
                         " == ", pattern.values[0]);
                break;
            case ArgumentTest::in_set:
                text.add("in {");
                for (u32 j = 0; j < pattern.count; ++j) text.add(j == 0 ? "0x" : ", 0x", Hex{pattern.values[j]});
                text.add("}");
                break;
            case ArgumentTest::range: text.add("in ", pattern.values[0], "..", pattern.values[1]); break;
        }
        text.add(": ", pattern.text, "\n");
    }
}

void describe_rules(const FilterOptions& options, Text& text) {
    for (u32 i = 0; i < kRuleCount; ++i)
        if (rule_active(kRules[i], options)) describe_rule(kRules[i], text);
    text.add(distinct_numbers(), " distinct calls, at most ", kMaxNumbers, "\n");
}

}  // namespace postern::host
