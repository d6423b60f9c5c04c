// SPDX-License-Identifier: Apache-2.0
#include "host/linux/monitor/throttle.hpp"

#include <signal.h>

#include <algorithm>
#include <cmath>

#include "host/linux/monitor/census.hpp"

namespace postern::host {

namespace {

constexpr u64 kSecondSweep = 2'000'000;

u64 own_time() {
    timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<u64>(time.tv_sec) * 1'000'000'000 + static_cast<u64>(time.tv_nsec);
}

}  // namespace

void Throttle::prepare(double share, bool with_group) {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (share <= 0 || sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    u32 there = static_cast<u32>(CPU_COUNT(&allowed));
    share_ = share;
    most_ = there;
    shown_ = std::min(static_cast<u32>(std::ceil(share)), there);
    if (with_group && group_.create(share)) return;
    if (shown_ < there) {
        // Not always the first ones: several runs would crowd there.
        narrow_ = true;
        most_ = shown_;
        CPU_ZERO(&affinity_);
        u32 first = static_cast<u32>(getpid()) % there, at = 0;
        for (int processor = 0; processor < CPU_SETSIZE; ++processor) {
            if (!CPU_ISSET(processor, &allowed)) continue;
            if ((at++ + there - first) % there < shown_) CPU_SET(processor, &affinity_);
        }
    }
}

void Throttle::started(int process) {
    if (share_ <= 0 || process <= 0) return;
    if (group_.present()) group_.add(process);
    // The group does not hold the monitor, which works for the family and can be kept busy by it.
    if (!pacer_ && share_ < shown_) pacer_.emplace(share_, most_, now_ns(), used({process}));
}

u64 Throttle::next() const {
    if (!pacer_) return ~0ull;
    return holding() && sweep_ != 0 ? std::min(sweep_, pacer_->next()) : pacer_->next();
}

/// With the monitor's own: what it does, it does for the family.
u64 Throttle::used(const std::vector<int>& members) const {
    u64 total = ended_time_ + own_time();
    for (int process : members) total += processor_time(process);
    return total;
}

void Throttle::look(const std::function<std::vector<int>()>& members) {
    u64 now = now_ns();
    if (now < next()) return;
    std::vector<int> all = members();
    bool before = pacer_->running();
    if (!before && now < pacer_->next()) {
        sweep_ = 0;
        for (int process : all) kill(process, SIGSTOP);
        return;
    }
    bool after = pacer_->measure(now, used(all));
    if (after == before && after) return;
    // A process whose birth was on its way is stopped a little later.
    sweep_ = after || !before ? 0 : now + kSecondSweep;
    for (int process : all) kill(process, after ? SIGCONT : SIGSTOP);
}

u64 Throttle::held_ns() const { return (group_.present() ? group_.held() : 0) + (pacer_ ? pacer_->held(now_ns()) : 0); }

}  // namespace postern::host
