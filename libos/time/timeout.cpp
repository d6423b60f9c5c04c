// SPDX-License-Identifier: Apache-2.0
// How long system calls wait: relative times become deadlines.
#include "libos/time/timers.hpp"
#include "libos/user.hpp"

namespace postern::libos {

gate::Deadline deadline_after(u64 nanoseconds) {
    if (nanoseconds == 0) return gate::kPoll;
    u64 now = monotonic_now();
    return nanoseconds >= gate::kForever - now ? gate::kForever : now + nanoseconds;
}

Res<gate::Deadline> read_timeout(u64 user) {
    if (user == 0) return gate::kForever;
    TimeSpec time = TRY(read_user<TimeSpec>(user));
    u64 nanoseconds = TRY(to_nanoseconds(time));
    return deadline_after(nanoseconds);
}

}  // namespace postern::libos
