// SPDX-License-Identifier: Apache-2.0
// Linux's time structures and nanoseconds.
#include "libos/time/timers.hpp"

namespace postern::libos {

namespace {
constexpr u64 kSecond = 1'000'000'000;
constexpr u64 kFarFuture = 1ull << 62;  // 146 years: sums of two stay below kForever
}  // namespace

Res<u64> to_nanoseconds(const TimeSpec& time) {
    if (time.seconds < 0 || time.nanoseconds < 0 || time.nanoseconds >= static_cast<i64>(kSecond))
        return Failure{Errno::inval};
    if (static_cast<u64>(time.seconds) >= kFarFuture / kSecond) return kFarFuture;
    return static_cast<u64>(time.seconds) * kSecond + static_cast<u64>(time.nanoseconds);
}

Res<u64> to_nanoseconds(const TimeVal& time) {
    if (time.seconds < 0 || time.microseconds < 0 || time.microseconds >= 1'000'000) return Failure{Errno::inval};
    if (static_cast<u64>(time.seconds) >= kFarFuture / kSecond) return kFarFuture;
    return static_cast<u64>(time.seconds) * kSecond + static_cast<u64>(time.microseconds) * 1000;
}

TimeSpec to_timespec(u64 nanoseconds) {
    return {static_cast<i64>(nanoseconds / kSecond), static_cast<i64>(nanoseconds % kSecond)};
}

TimeVal to_timeval(u64 nanoseconds) {
    return {static_cast<i64>(nanoseconds / kSecond), static_cast<i64>(nanoseconds % kSecond / 1000)};
}

}  // namespace postern::libos
