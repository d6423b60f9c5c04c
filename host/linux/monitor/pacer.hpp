// SPDX-License-Identifier: Apache-2.0
// How long a family may run and how long it is held back, so that on average it uses no more processor time than it
// may. Arithmetic only; who measures and who stops the processes is elsewhere (throttle.hpp).
#pragma once

#include "base/types.hpp"

namespace postern::host {

class Pacer {
public:
    /// `share`: processors' worth of time, not 0. `most`: as many processors can be busy at once, at least `share`.
    /// `now` in nanoseconds of any clock, `used` the processor time so far.
    Pacer(double share, u32 most, u64 now, u64 used);

    /// Takes a measurement. The answer, also in running(): may the family run until next()?
    bool measure(u64 now, u64 used);
    bool running() const { return running_; }
    u64 next() const { return next_; }
    /// Nanoseconds of the clock for which the family was held back.
    u64 held(u64 now) const { return held_ + (running_ ? 0 : now - stopped_); }

private:
    double share_, excess_;  ///< excess: how fast the credit can shrink
    double fill_;            ///< credit, in nanoseconds of processor time, with which the family goes on
    double credit_;
    double patience_;  ///< how long who does nothing is not looked at; grows
    u64 last_, last_used_, next_;
    u64 held_ = 0, stopped_ = 0;
    bool running_ = true;
};

}  // namespace postern::host
