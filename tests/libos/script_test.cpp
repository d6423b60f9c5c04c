// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>

#include "libos/loader/elf.hpp"

namespace postern::libos {
namespace {

std::string parse(const std::string& text) {
    auto line = parse_script(text.data(), text.size());
    if (!line.ok()) return "refused";
    return std::string{line.value().interpreter} + "|" + std::string{line.value().argument};
}

TEST(Script, FollowsTheKernelsRules) {
    EXPECT_EQ(parse("#!/bin/sh\necho"), "/bin/sh|");
    EXPECT_EQ(parse("#! /bin/sh -e -x \necho"), "/bin/sh|-e -x");
    EXPECT_EQ(parse("#!\t/usr/bin/env\tpython3\n"), "/usr/bin/env|python3");
    EXPECT_EQ(parse("#!/bin/sh"), "/bin/sh|");
    EXPECT_EQ(parse("#!\n/bin/sh"), "refused");
    EXPECT_EQ(parse("#!   \n"), "refused");
    EXPECT_EQ(parse("#"), "refused");
    EXPECT_EQ(parse(std::string("#!/bin/a\0b\n", 11)), "/bin/a|");
}

TEST(Script, LongLines) {
    std::string name(300, 'x');
    EXPECT_EQ(parse(("#!/" + name).substr(0, 256)), "refused");  // the interpreter itself is cut
    std::string cut = ("#!/bin/sh " + name).substr(0, 256);
    EXPECT_EQ(parse(cut), "/bin/sh|" + cut.substr(10));  // an argument may be
}

}  // namespace
}  // namespace postern::libos
