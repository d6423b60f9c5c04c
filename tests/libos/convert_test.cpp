// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "libos/time/timers.hpp"

namespace postern::libos {
namespace {

TEST(Time, ConvertsAndRefuses) {
    EXPECT_EQ(to_nanoseconds(TimeSpec{1, 5}).value(), 1'000'000'005u);
    EXPECT_EQ(to_nanoseconds(TimeVal{1, 5}).value(), 1'000'005'000u);
    EXPECT_FALSE(to_nanoseconds(TimeSpec{-1, 0}).ok());
    EXPECT_FALSE(to_nanoseconds(TimeSpec{0, -1}).ok());
    EXPECT_FALSE(to_nanoseconds(TimeSpec{0, 1'000'000'000}).ok());
    EXPECT_FALSE(to_nanoseconds(TimeVal{0, 1'000'000}).ok());
    u64 far = to_nanoseconds(TimeSpec{INT64_MAX, 999'999'999}).value();
    EXPECT_LT(far, ~0ull - far);
    EXPECT_EQ(to_timespec(1'500'000'000).seconds, 1);
    EXPECT_EQ(to_timespec(1'500'000'000).nanoseconds, 500'000'000);
    EXPECT_EQ(to_timeval(1'500'000'999).microseconds, 500'000);
}

}  // namespace
}  // namespace postern::libos
