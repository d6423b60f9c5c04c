// SPDX-License-Identifier: Apache-2.0
// The first stack as a C library walks it.
#include <elf.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <vector>

#include "libos/loader/stack.hpp"

namespace postern::libos {
namespace {

TEST(Stack, HasLinuxLayout) {
    const char arguments[] = "prog\0-x\0";
    const char environment[] = "A=1\0B=22\0C=\0";
    AuxiliaryEntry auxiliary[] = {{AT_PAGESZ, 4096}, {AT_ENTRY, 77}};
    StackContents contents{};
    contents.arguments = arguments, contents.argument_bytes = sizeof arguments - 1, contents.argument_count = 2;
    contents.environment = environment, contents.environment_bytes = sizeof environment - 1;
    contents.environment_count = 3;
    contents.path = "/bin/prog", contents.platform = "x86_64";
    for (u8 i = 0; i < 16; ++i) contents.random[i] = i;
    contents.auxiliary = auxiliary, contents.auxiliary_count = 2;

    u64 size = stack_image_size(contents);
    std::vector<u8> memory(size + 64);
    u64 top = (reinterpret_cast<u64>(memory.data()) + size + 63) & ~15ull;
    u64 pointer = build_stack_image(contents, top, reinterpret_cast<u8*>(top - size), size);
    EXPECT_EQ(pointer % 16, 0u);
    EXPECT_EQ(pointer, top - size);

    auto* word = reinterpret_cast<u64*>(pointer);
    EXPECT_EQ(*word++, 2u);
    EXPECT_STREQ(reinterpret_cast<char*>(word[0]), "prog");
    EXPECT_STREQ(reinterpret_cast<char*>(word[1]), "-x");
    EXPECT_EQ(word[2], 0u);
    word += 3;
    EXPECT_STREQ(reinterpret_cast<char*>(word[0]), "A=1");
    EXPECT_STREQ(reinterpret_cast<char*>(word[1]), "B=22");
    EXPECT_STREQ(reinterpret_cast<char*>(word[2]), "C=");
    EXPECT_EQ(word[3], 0u);
    // Programs overwrite their title over both blocks: environment follows arguments without a gap.
    EXPECT_EQ(word[0], reinterpret_cast<u64*>(pointer)[2] + 3);
    word += 4;
    std::map<u64, u64> found;
    for (; word[0] != AT_NULL; word += 2) found[word[0]] = word[1];
    EXPECT_EQ(found[AT_PAGESZ], 4096u);
    EXPECT_EQ(found[AT_ENTRY], 77u);
    EXPECT_STREQ(reinterpret_cast<char*>(found[AT_EXECFN]), "/bin/prog");
    EXPECT_STREQ(reinterpret_cast<char*>(found[AT_PLATFORM]), "x86_64");
    EXPECT_EQ(std::memcmp(reinterpret_cast<u8*>(found[AT_RANDOM]), contents.random, 16), 0);
    EXPECT_EQ(*reinterpret_cast<u64*>(top - 8), 0u);
}

}  // namespace
}  // namespace postern::libos
