// SPDX-License-Identifier: Apache-2.0
// What is asked of clone(2) and its like (clone_calls.cpp), and what makes it (clone_thread.cpp, clone.cpp).
#pragma once

#include "libos/errno.hpp"

namespace postern::libos {

struct Thread;

enum CloneFlags : u64 {
    kCloneVm = 0x100,
    kCloneFs = 0x200,
    kCloneFiles = 0x400,
    kCloneSignalHandlers = 0x800,
    kClonePidfd = 0x1000,
    kCloneVfork = 0x4000,
    kCloneParent = 0x8000,
    kCloneThread = 0x10000,
    kCloneNewNs = 0x20000,
    kCloneSetTls = 0x80000,
    kCloneParentSetTid = 0x100000,
    kCloneChildClearTid = 0x200000,
    kCloneDetached = 0x400000,
    kCloneChildSetTid = 0x1000000,
    kCloneNewCgroup = 0x2000000,
    kCloneNewUts = 0x4000000,
    kCloneNewIpc = 0x8000000,
    kCloneNewUser = 0x10000000,
    kCloneNewPid = 0x20000000,
    kCloneNewNet = 0x40000000,
    kCloneClearSignalHandlers = 0x100000000ull,
    kCloneIntoCgroup = 0x200000000ull,
};
inline constexpr u64 kNamespaces = kCloneNewNs | kCloneNewCgroup | kCloneNewUts | kCloneNewIpc | kCloneNewUser |
                                   kCloneNewPid | kCloneNewNet | 0x80 /* CLONE_NEWTIME, clone3 only */;

struct CloneArguments {
    u64 flags = 0;
    u64 stack = 0;  ///< the child's stack pointer, 0: the caller's
    u64 parent_tid = 0, child_tid = 0, tls = 0;
    u64 pidfd = 0;  ///< where CLONE_PIDFD stores the descriptor
    u32 exit_signal = 0;
};

/// What a new thread, of whichever process, has of the one that makes it.
void inherit_thread(Thread& child, const Thread& parent);

/// Their arguments are checked. Both return in the child, too.
Res<i64> clone_thread(Thread& thread, const CloneArguments& arguments);
Res<i64> clone_process(Thread& thread, const CloneArguments& arguments);

}  // namespace postern::libos
