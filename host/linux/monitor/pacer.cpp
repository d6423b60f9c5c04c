// SPDX-License-Identifier: Apache-2.0
// A leaky bucket: credit comes in at the permitted rate up to a fixed amount, time used is taken out. Without credit
// the family is held back until there is enough for a while. What was used in excess, because nobody looked in time, is
// debt and paid first, so that the average holds whatever the program does between two looks.
#include "host/linux/monitor/pacer.hpp"

#include <algorithm>

namespace postern::host {

namespace {
constexpr double kPeriod = 100e6;   ///< of running and being held back, for who is always busy; as cgroups have it
constexpr double kShortest = 2e6;   ///< between two looks
constexpr double kPatience = 50e6;  ///< longest time between two looks at who does nothing, times the share
}  // namespace

Pacer::Pacer(double share, u32 most, u64 now, u64 used)
    : share_{share},
      excess_{std::max(static_cast<double>(most) - share, 0.01)},
      fill_{std::max(kPeriod * share * excess_ / (share + excess_), kShortest * excess_)},
      credit_{fill_},
      patience_{kShortest},
      last_{now},
      last_used_{used},
      next_{now + static_cast<u64>(std::max(fill_ / excess_, kShortest))} {}

bool Pacer::measure(u64 now, u64 used) {
    double elapsed = static_cast<double>(now - last_),
           spent = used > last_used_ ? static_cast<double>(used - last_used_) : 0;
    last_ = now;
    last_used_ = used;
    // Twice what is needed to go on: what came in while nobody looked is not lost.
    credit_ = std::min(credit_ + share_ * elapsed - spent, 2 * fill_);
    // Nearly nothing counts as nothing: there would be a look for each microsecond that is left.
    if (running_ && credit_ < 0.05 * fill_) {
        running_ = false;
        stopped_ = now;
    } else if (!running_ && credit_ >= 0.95 * fill_) {
        running_ = true;
        held_ += now - stopped_;
    }
    double wait;
    if (running_) {
        patience_ = spent > 0 ? kShortest : std::min(patience_ * 2, std::max(kPatience * share_, kShortest));
        wait = std::max({credit_ / excess_, kShortest, patience_});
    } else {
        wait = std::max((fill_ - credit_) / share_, kShortest / 4);
    }
    next_ = now + static_cast<u64>(wait);
    return running_;
}

}  // namespace postern::host
