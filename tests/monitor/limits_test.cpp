// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "host/linux/monitor/cpu_group.hpp"
#include "host/linux/monitor/pacer.hpp"

namespace postern::host {
namespace {

constexpr u64 kSecond = 1'000'000'000, kMillisecond = 1'000'000;

/// Plays a family that keeps `busy` processors busy whenever it may run, and a monitor that looks `late` after each
/// time that it was told. Returns the processor time used of the time that passed.
double play(double share, u32 most, double busy, u64 length, u64 late, u32* looks = nullptr) {
    double used = 0;
    u64 now = kSecond;
    Pacer pacer{share, most, now, 0};
    while (now < kSecond + length) {
        u64 next = pacer.next() + late;
        EXPECT_GT(next, now);
        if (pacer.running()) used += busy * static_cast<double>(next - now);
        now = next;
        pacer.measure(now, static_cast<u64>(used));
        if (looks != nullptr) ++*looks;
    }
    return used / static_cast<double>(now - kSecond);
}

TEST(Pacer, HoldsTheAverage) {
    for (double share : {0.01, 0.05, 0.1, 0.3, 0.5, 0.9, 0.99})
        EXPECT_NEAR(play(share, 1, 1, 20 * kSecond, 0), share, 0.1 * share) << share;
    for (double share : {1.01, 1.5, 1.9, 3.5}) {
        u32 most = static_cast<u32>(share) + 1;
        EXPECT_NEAR(play(share, most, most, 20 * kSecond, 0), share, 0.1 * share) << share;
    }
}
TEST(Pacer, HoldsOverTwoSeconds) { EXPECT_NEAR(play(0.5, 1, 1, 2 * kSecond, 0), 0.5, 0.05); }
TEST(Pacer, BeingLateCostsWhoUsedIt) {
    EXPECT_NEAR(play(0.5, 1, 1, 20 * kSecond, 30 * kMillisecond), 0.5, 0.05);
    EXPECT_NEAR(play(0.1, 1, 1, 20 * kSecond, 20 * kMillisecond), 0.1, 0.01);
}
TEST(Pacer, LeavesAloneWhoUsesLess) {
    EXPECT_NEAR(play(0.5, 1, 0.4, 10 * kSecond, 0), 0.4, 0.001);
    Pacer pacer{0.5, 1, 0, 0};
    for (u64 now = 0; now < kSecond; now = pacer.next()) EXPECT_TRUE(pacer.measure(now, now * 2 / 5));
    EXPECT_EQ(pacer.held(kSecond), 0u);
}
TEST(Pacer, LooksSeldom) {
    u32 looks = 0;
    play(0.5, 1, 1, 10 * kSecond, 0, &looks);
    EXPECT_LT(looks, 500u);
    looks = 0;
    play(0.5, 1, 0, 10 * kSecond, 0, &looks);
    EXPECT_LT(looks, 400u);
}
TEST(Pacer, TellsHowLongItHeld) {
    Pacer pacer{0.5, 1, 0, 0};
    EXPECT_FALSE(pacer.measure(kSecond, kSecond));  // half a second too much
    EXPECT_EQ(pacer.held(kSecond + kMillisecond), kMillisecond);
    EXPECT_FALSE(pacer.measure(kSecond + 500 * kMillisecond, kSecond));
    EXPECT_TRUE(pacer.measure(2 * kSecond + 100 * kMillisecond, kSecond));
    EXPECT_EQ(pacer.held(5 * kSecond), kSecond + 100 * kMillisecond);
}
TEST(Pacer, ClocksThatGoBackAreNoCredit) {
    Pacer pacer{0.5, 1, kSecond, kSecond};
    EXPECT_TRUE(pacer.measure(kSecond + kMillisecond, 0));
    EXPECT_FALSE(pacer.measure(kSecond + 2 * kMillisecond, kSecond));
}

constexpr char kMounts[] =
    "24 1 0:22 / /sys/fs/cgroup ro - tmpfs tmpfs rw\n"
    "25 24 0:23 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "26 24 0:24 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
    "27 24 0:25 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

TEST(CpuGroup, VersionOne) {
    GroupPlace place = find_cpu_group("3:cpuset:/\n2:cpu,cpuacct:/user/me\n0::/other\n", kMounts);
    EXPECT_EQ(place.directory, "/sys/fs/cgroup/cpu,cpuacct/user/me");
    EXPECT_FALSE(place.unified);
    EXPECT_EQ(find_cpu_group("1:cpu:/\n", kMounts).directory, "/sys/fs/cgroup/cpu,cpuacct");
}
TEST(CpuGroup, VersionTwo) {
    GroupPlace place =
        find_cpu_group("0::/user.slice/x.scope\n", "30 1 0:9 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    EXPECT_EQ(place.directory, "/sys/fs/cgroup/user.slice/x.scope");
    EXPECT_TRUE(place.unified);
}
TEST(CpuGroup, OnlyPartOfTheTreeIsMounted) {
    const char* mounts = "30 1 0:9 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    EXPECT_EQ(find_cpu_group("0::/docker/1/a\n", mounts).directory, "/sys/fs/cgroup/a");
    EXPECT_EQ(find_cpu_group("0::/docker/1\n", mounts).directory, "/sys/fs/cgroup");
    EXPECT_EQ(find_cpu_group("0::/docker/12\n", mounts).directory, "");
    EXPECT_EQ(find_cpu_group("0::/../sibling\n", "30 1 0:9 / /g rw - cgroup2 cgroup2 rw\n").directory, "");
}
TEST(CpuGroup, NoneOrNonsense) {
    for (const char* groups : {"", "\n", "0", "0::", "::", "0::relative\n", "1:cpu\n", "5:memory:/\n"})
        EXPECT_EQ(find_cpu_group(groups, kMounts).directory, "") << groups;
    for (const char* mounts : {"", "a b c\n", "1 2 3 4 5 6 - cgroup2\n", "1 2 3 / /a\\040b rw - cgroup2 x rw\n"})
        EXPECT_EQ(find_cpu_group("0::/\n", mounts).directory, "") << mounts;
}

}  // namespace
}  // namespace postern::host
