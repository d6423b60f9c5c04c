// SPDX-License-Identifier: Apache-2.0
#include "cli/text.hpp"

#include <gtest/gtest.h>

namespace postern::cli {
namespace {

TEST(Size, UnitsArePowersOf1024) {
    EXPECT_EQ(parse_size("4096"), 4096u);
    EXPECT_EQ(parse_size("1b"), 1u);
    EXPECT_EQ(parse_size("512m"), 512u << 20);
    EXPECT_EQ(parse_size("2G"), u64{2} << 30);
    EXPECT_EQ(parse_size("2GiB"), u64{2} << 30);
    EXPECT_EQ(parse_size("1kb"), 1024u);
}
TEST(Size, RefusesWhatIsNone) {
    for (const char* text : {"", "0", "m", "-1", "1x", "1.5g", " 1", "99999999999t", "18446744073709551616"})
        EXPECT_FALSE(parse_size(text)) << text;
}
TEST(Duration, SecondsUnlessSaid) {
    EXPECT_EQ(parse_duration("10"), 10.0);
    EXPECT_EQ(parse_duration("1.5m"), 90.0);
    EXPECT_EQ(parse_duration("200ms"), 0.2);
    EXPECT_EQ(parse_duration("1h"), 3600.0);
    for (const char* text : {"", "0", "-1", "soon", "1d", "inf", "nan", "1e300"})
        EXPECT_FALSE(parse_duration(text)) << text;
}
TEST(Processors, FromAHundredthToAll) {
    EXPECT_EQ(parse_processors("0.5", 2), 0.5);
    EXPECT_EQ(parse_processors("2", 2), 2.0);
    EXPECT_EQ(parse_processors("0.01", 2), 0.01);
    EXPECT_EQ(parse_processors("1.25", 64), 1.25);
    for (const char* text : {"", "0", "0.009", "2.01", "-1", "1x", "1e0", "nan", "inf", " 1", "+1"})
        EXPECT_FALSE(parse_processors(text, 2)) << text;
}
TEST(Json, EscapesWhatMustBe) {
    EXPECT_EQ(json_string("a\"b\\c\n"), "\"a\\\"b\\\\c\\u000a\"");
    EXPECT_EQ(json_string("\xc3\xa4"), "\"\xc3\xa4\"");
    EXPECT_EQ(json_string("\xff\xc3"), "\"\\ufffd\\ufffd\"");
    EXPECT_EQ(json_string("\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\"");  // a surrogate
}
TEST(Closest, FindsSlipsAndNothingElse) {
    const std::string_view words[] = {"--timeout", "--trace", "--memory"};
    EXPECT_EQ(closest("--tiemout", words), "--timeout");
    EXPECT_EQ(closest("--time", words), "--timeout");
    EXPECT_EQ(closest("--memmory", words), "--memory");
    EXPECT_EQ(closest("--zzzzzzzz", words), "");
}

}  // namespace
}  // namespace postern::cli
