// SPDX-License-Identifier: Apache-2.0
// seccomp(2): filters that a program puts on its own calls. They are evaluated here, before a call is served; the wall
// around the picoprocess is the host's and knows nothing of them.
#pragma once

#include "gate/personality.hpp"
#include "libos/process/process.hpp"

namespace postern::libos {

enum SeccompMode : u32 { kSeccompNone = 0, kSeccompStrict = 1, kSeccompFilter = 2 };

/// May the call in `frame` be served? Otherwise what the filters want has been done: frame->rax is its answer. May not
/// return: the thread or process ends.
bool seccomp_permits(Thread& thread, gate::Frame& frame);
/// A child thread or process begins with its parent's mode and filters. The child has none yet.
void seccomp_inherit(Thread& child, const Thread& parent);
void seccomp_forget(Thread& thread);  ///< the thread ends
u32 seccomp_filter_count(const Thread& thread);
/// PR_SET_SECCOMP.
Res<i64> seccomp_set(Thread& thread, u64 mode, u64 program);

}  // namespace postern::libos
