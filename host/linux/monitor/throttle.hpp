// SPDX-License-Identifier: Apache-2.0
// --cpus: how much processor time a family gets. With a control group the kernel does it. Without one, processors are
// taken away (affinity, inherited by all picoprocesses), and what is left of a fraction is held by stopping the family
// for parts of the time: nothing inside can tell a stop from not being scheduled. With a group that happens, too, when
// what the monitor does for the family goes beyond.
#pragma once

#include <sched.h>

#include <functional>
#include <optional>
#include <vector>

#include "host/linux/monitor/cpu_group.hpp"
#include "host/linux/monitor/pacer.hpp"

namespace postern::host {

class Throttle {
public:
    /// `share`: 0 for no limit; then everything here is free of cost. Call before the keeper starts.
    void prepare(double share, bool with_group);
    /// What the keeper, and so every picoprocess, may run on; null: no change.
    const cpu_set_t* affinity() const { return narrow_ ? &affinity_ : nullptr; }
    const CpuGroup& group() const { return group_; }
    /// Processors to be shown to the program; 0: all.
    u32 shown() const { return shown_; }

    /// A picoprocess has been started that is not forked from another one.
    void started(int process);
    /// A picoprocess was reaped, after this much processor time.
    void ended(u64 time) { ended_time_ += time; }

    /// When look() has something to do; ~0: never.
    u64 next() const;
    bool holding() const { return pacer_ && !pacer_->running(); }
    /// Measures, and stops or continues the processes that `members` names.
    void look(const std::function<std::vector<int>()>& members);
    u64 held_ns() const;
    /// The family is being ended; from here on nobody needs to clean up for this process.
    void end_watch() { group_.end_watch(); }

private:
    u64 used(const std::vector<int>& members) const;

    double share_ = 0;
    u32 shown_ = 0;
    u32 most_ = 0;  ///< processors that the family can keep busy at once
    bool narrow_ = false;
    cpu_set_t affinity_;
    CpuGroup group_;
    std::optional<Pacer> pacer_;
    u64 ended_time_ = 0;
    u64 sweep_ = 0;  ///< when to stop those again that were being born
};

}  // namespace postern::host
