// SPDX-License-Identifier: Apache-2.0
// Guarded copies next to unmapped pages.
#include "libos/user.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>

#include "memory_host.hpp"

namespace postern::libos {
namespace {

class User : public ::testing::Test {
protected:
    void SetUp() override {
        testing::set_up();
        page_ = testing::kLow + 0x100000;
        mmap(reinterpret_cast<void*>(page_), kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
             -1, 0);
    }
    void TearDown() override { munmap(reinterpret_cast<void*>(page_), kPageSize); }
    u64 end() const { return page_ + kPageSize; }
    u64 page_;
};

TEST_F(User, CopiesAllSizes) {
    u8 from[1024], back[1024];
    for (usize i = 0; i < sizeof from; ++i) from[i] = static_cast<u8>(i * 7 + 1);
    for (usize size = 0; size <= sizeof from; ++size) {
        ASSERT_TRUE(copy_out(page_ + 3, from, size).ok());
        std::memset(back, 0, sizeof back);
        ASSERT_TRUE(copy_in(back, page_ + 3, size).ok());
        ASSERT_EQ(std::memcmp(from, back, size), 0);
    }
}

TEST_F(User, StopsAtTheLastGoodByte) {
    u8 buffer[1024] = {1, 2, 3};
    for (usize size : {1u, 2u, 4u, 7u, 8u, 9u, 16u, 63u, 191u, 192u, 500u, 1000u}) {
        for (usize good = 0; good < size; good += size / 7 + 1) {
            ASSERT_EQ(copy_in(buffer, end() - good, size).ok(), false);
            ASSERT_EQ(copy_in_some(buffer, end() - good, size), good) << size;
            ASSERT_EQ(copy_out(end() - good, buffer, size).error(), Errno::fault);
            ASSERT_EQ(copy_out_some(end() - good, buffer, size), good);
            ASSERT_EQ(zero_out(end() - good, size).ok(), false);
        }
    }
}

TEST_F(User, StringsAndWords) {
    char text[32];
    std::strcpy(reinterpret_cast<char*>(page_), "hello");
    EXPECT_EQ(copy_in_string(text, page_, sizeof text).value(), 5u);
    EXPECT_EQ(copy_in_string(text, page_, 6).value(), 5u);
    EXPECT_EQ(copy_in_string(text, page_, 5).error(), Errno::nametoolong);
    std::memset(reinterpret_cast<void*>(end() - 4), 'x', 4);
    EXPECT_EQ(copy_in_string(text, end() - 4, sizeof text).error(), Errno::fault);
    u32 expected = 1;
    EXPECT_EQ(compare_exchange_user_u32(page_ + 64, expected, 9).value(), false);
    EXPECT_EQ(expected, 0u);
    EXPECT_EQ(compare_exchange_user_u32(page_ + 64, expected, 9).value(), true);
    EXPECT_EQ(load_user_u32(page_ + 64).value(), 9u);
    EXPECT_FALSE(load_user_u32(end()).ok());
    EXPECT_FALSE(compare_exchange_user_u32(end(), expected, 9).ok());
}

TEST_F(User, RefusesTheLibraryOs) {
    u64 secret = 42, out = 0;
    EXPECT_EQ(copy_in(&out, reinterpret_cast<u64>(&secret), 8).error(), Errno::fault);
    EXPECT_EQ(copy_in(&out, testing::kHigh - 4, 8).error(), Errno::fault);
    EXPECT_EQ(copy_in(&out, ~0ull - 3, 8).error(), Errno::fault);
    EXPECT_EQ(copy_in_some(&out, reinterpret_cast<u64>(&secret), 8), 0u);
    EXPECT_EQ(out, 0u);
}

}  // namespace
}  // namespace postern::libos
