// SPDX-License-Identifier: Apache-2.0
// The monitor and a family's only thread on one processor, for as long as that one asks for files.
//
// The two never run at the same time then, and still Linux would put them on different processors: to hand a descriptor
// over, SECCOMP_IOCTL_NOTIF_ADDFD wakes the thread and sleeps until it has taken it, and an idle processor looks better
// for each of the two than the one in use. Waking a processor is what costs: 85 us for opening a file, 20 with this.
#pragma once

#include <sched.h>

#include "base/types.hpp"

namespace postern::host {

class SameProcessor {
public:
    SameProcessor();
    /// Both run where the caller does, until release(). Nothing is done when there is only one processor to choose, and
    /// now and then for some milliseconds: what else runs there may make another one better.
    void hold(int thread);
    void release();
    bool held() const { return thread_ > 0; }

private:
    cpu_set_t own_, theirs_;
    bool choice_;
    int thread_ = 0;
    u64 change_ = 0;  ///< monotonic ns: until then it is held, or left alone
};

}  // namespace postern::host
