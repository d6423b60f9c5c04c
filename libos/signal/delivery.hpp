// SPDX-License-Identifier: Apache-2.0
// The ways out of the library OS: where signals are delivered, calls restarted, threads stopped and ended.
//
// The dispatcher stores a call's result in frame->rax as the kernel does, -Errno with the restart codes included, and
// calls on_way_out(). `original_rax` is the call's number, or kNoSystemCall when nothing may be restarted (after an
// exception, rt_sigreturn or execve).
#pragma once

#include "libos/gate.hpp"
#include "libos/process/process.hpp"

namespace postern::libos {

constexpr bool is_restart(u64 rax) { return rax - static_cast<u64>(-516) <= 4; }

void leave_slowly(gate::Frame* frame);

/// Last step of every system call. May not return (the thread or process ends here).
inline void on_way_out(gate::Frame* frame) {
    if (current_thread().attention == 0 && !is_restart(frame->rax)) [[likely]]
        return;
    leave_slowly(frame);
}

/// The personality's exception callback: faults of the program, and interrupts.
void serve_exception(gate::Frame* frame, const gate::ExceptionInfo* info);

/// Acts on what the host has noted for the calling thread (ThreadControl::pending and external): after a blocking gate
/// call answered Err::interrupted, so that the next one can block. Then ask interrupted(thread).
void take_interrupts();

}  // namespace postern::libos
