// SPDX-License-Identifier: Apache-2.0
// What futex(2) and the calls of its second form share: see futex.cpp and futex_vector.cpp.
#pragma once

#include "libos/process/process.hpp"

namespace postern::libos::futex {

inline constexpr u32 kAnyBit = 0xffff'ffff;

/// How many threads wait on words like this one, over-estimated: raised before the last look at the word.
u32& bucket(u64 address, bool is_private);

/// Sleeps while the word is `expected`, until `deadline` (gate::kForever: none) on the monotonic clock or, with
/// `realtime`, on the wall clock. Errno::again, Errno::timedout, Errno::restart_sys.
Res<i64> wait_until(Thread& thread, u64 address, u32 expected, bool is_private, u64 deadline, bool realtime);
Res<i64> wake(u64 address, u32 count, bool is_private, u32 mask);
Res<i64> requeue(u64 from, u64 to, u32 wake_count, u32 move_count, bool is_private, bool compare, u32 expected);

/// Wakes up to `count` threads that wait for this word among several. How many.
u32 wake_vectors(u64 address, u32 count, bool is_private);
/// The thread died in futex_waitv.
void forget_vector(Thread& thread);

}  // namespace postern::libos::futex
