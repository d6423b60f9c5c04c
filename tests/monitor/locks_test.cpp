// SPDX-License-Identifier: Apache-2.0
#include "host/linux/monitor/locks.hpp"

#include <gtest/gtest.h>

namespace postern::host {
namespace {

using gate::Err;

constexpr FileLocks::Owner kA{10, 1}, kB{11, 1};

TEST(Locks, SharedAndExclusive) {
    FileLocks locks;
    EXPECT_EQ(locks.apply(1, 1, kA, 0, 10, 1), Err::ok);
    EXPECT_EQ(locks.apply(1, 1, kB, 5, 10, 1), Err::ok);
    EXPECT_EQ(locks.apply(1, 1, kB, 5, 10, 2), Err::would_block);
    EXPECT_EQ(locks.apply(1, 1, kB, 10, 5, 2), Err::ok);
    EXPECT_EQ(locks.apply(1, 2, kB, 0, 10, 2), Err::ok);  // another file
    EXPECT_EQ(locks.apply(1, 1, kA, 0, 0, 2), Err::would_block);
}

TEST(Locks, OwnLocksAreReplacedAndSplit) {
    FileLocks locks;
    EXPECT_EQ(locks.apply(1, 1, kA, 0, 100, 2), Err::ok);
    EXPECT_EQ(locks.apply(1, 1, kA, 40, 20, 0), Err::ok);
    EXPECT_EQ(locks.count(), 2u);
    EXPECT_EQ(locks.apply(1, 1, kB, 40, 20, 2), Err::ok);
    EXPECT_EQ(locks.apply(1, 1, kB, 39, 1, 1), Err::would_block);
    EXPECT_EQ(locks.apply(1, 1, kB, 60, 1, 1), Err::would_block);
    EXPECT_EQ(locks.apply(1, 1, kA, 0, 0, 0), Err::ok);
    EXPECT_EQ(locks.count(), 1u);
}

TEST(Locks, EndWithTheirProcess) {
    FileLocks locks;
    EXPECT_EQ(locks.apply(1, 1, kA, 0, 0, 2), Err::ok);
    locks.ended(kA.process);
    EXPECT_EQ(locks.apply(1, 1, kB, 0, 0, 2), Err::ok);
}

TEST(Locks, RefuseNonsense) {
    FileLocks locks;
    EXPECT_EQ(locks.apply(1, 1, kA, ~0ull, 2, 2), Err::bad_argument);
    EXPECT_EQ(locks.apply(1, 1, kA, 0, 1, 3), Err::bad_argument);
    EXPECT_EQ(locks.apply(1, 1, kA, ~0ull, 1, 2), Err::ok);
    for (u64 i = 0; i < 2 * FileLocks::kMaxLocks; ++i) {
        if (locks.apply(1, 2, kA, 2 * i, 1, 1) == Err::no_quota) return;
    }
    FAIL() << "no limit";
}

}  // namespace
}  // namespace postern::host
