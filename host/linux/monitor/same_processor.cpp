// SPDX-License-Identifier: Apache-2.0
#include "host/linux/monitor/same_processor.hpp"

#include "host/linux/monitor/sys.hpp"

namespace postern::host {

namespace {
constexpr u64 kHeld = 50'000'000, kLeftAlone = 5'000'000;
}

SameProcessor::SameProcessor() : choice_{sched_getaffinity(0, sizeof own_, &own_) == 0 && CPU_COUNT(&own_) > 1} {}

void SameProcessor::hold(int thread) {
    if (!choice_) return;
    const u64 now = now_ns();
    if (held() && now >= change_) {
        release();
        change_ = now + kLeftAlone;
    }
    if (held() || now < change_) return;
    int here = sched_getcpu();
    if (here < 0 || sched_getaffinity(thread, sizeof theirs_, &theirs_) != 0 || CPU_COUNT(&theirs_) < 2 ||
        !CPU_ISSET(static_cast<unsigned>(here), &theirs_))
        return;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<unsigned>(here), &one);
    if (sched_setaffinity(thread, sizeof one, &one) != 0) return;
    thread_ = thread;
    change_ = now + kHeld;
    if (sched_setaffinity(0, sizeof one, &one) != 0) release();
}

void SameProcessor::release() {
    if (!held()) return;
    // It may have ended; what else may be wrong leaves it slower, not stuck.
    sched_setaffinity(thread_, sizeof theirs_, &theirs_);
    sched_setaffinity(0, sizeof own_, &own_);
    thread_ = 0;
    change_ = 0;
}

}  // namespace postern::host
