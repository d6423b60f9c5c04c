// SPDX-License-Identifier: Apache-2.0
// A control group of this run's own that limits processor time, where the caller may make one.
#pragma once

#include <string>
#include <string_view>

#include "host/linux/monitor/sys.hpp"

namespace postern::host {

/// Where this process's group lies that has the `cpu` controller.
struct GroupPlace {
    std::string directory;  ///< empty: none
    bool unified = false;   ///< cgroup v2
};
/// `groups`: /proc/self/cgroup, `mounts`: /proc/self/mountinfo.
GroupPlace find_cpu_group(std::string_view groups, std::string_view mounts);

/// A child of the caller's own group, so that limits of that one hold, too. Gone when the object is. A watcher, a child
/// of this process, removes it when this process is killed; what even that leaves the next run removes.
class CpuGroup {
public:
    ~CpuGroup() { remove(); }
    /// False: there is none to be had, and nothing was changed.
    bool create(double share);
    bool present() const { return !name_.empty(); }
    /// Puts a process, and what it will fork, under the limit.
    bool add(int process) const;
    /// Nanoseconds for which somebody in it waited for the next period.
    u64 held() const;
    bool owns(int process) const { return process > 0 && process == watcher_; }
    /// The watcher is no longer needed. The group stays until the object goes.
    void end_watch();

private:
    void remove();
    void watch();
    Fd parent_, group_;
    std::string name_;
    int watcher_ = -1;
    bool unified_ = false;
};

}  // namespace postern::host
