// SPDX-License-Identifier: Apache-2.0
// Library-OS stacks of threads beyond the first: private memory with an unmapped page below each.
#pragma once

#include "libos/errno.hpp"

namespace postern::libos {

inline constexpr u64 kLibOsStackSize = 64 << 10;

struct LibOsStack {
    LibOsStack* next;
    u64 low;
    u32 in_use;  ///< the host clears it when the exiting thread has left the stack
};

/// A stack of kLibOsStackSize bytes, reused when an exited thread has left one. Errno::nomem.
Res<LibOsStack*> stack_acquire();
/// In a fork's child: all stacks but the caller's (null: the first thread's) have no user any more.
void stacks_after_fork(LibOsStack* own);
/// Once in the first picoprocess, before a second thread exists.
void heap_initialize();

}  // namespace postern::libos
