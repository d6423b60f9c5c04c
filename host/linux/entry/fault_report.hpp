// SPDX-License-Identifier: Apache-2.0
// The kernel's signal frames, and the end of a picoprocess whose host part or library OS has failed.
#pragma once

#include <stddef.h>

#include "base/types.hpp"

namespace postern::host {

/// ucontext_t of x86-64 as the kernel builds it (arch/x86/include/uapi/asm/sigcontext.h).
struct SignalContext {
    u64 flags;
    void* link;
    u64 stack_base;
    i32 stack_flags;
    i32 padding;
    u64 stack_size;
    u64 r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
    u16 cs, gs, fs, ss;
    u64 error, trap, old_mask, cr2;
    u64 floating_point;
};
static_assert(offsetof(SignalContext, rip) == 168 && offsetof(SignalContext, cr2) == 216);

struct SignalInfo {
    i32 number, error, code, padding;
    u64 address;
    i32 call_number;
    u32 arch;
};

/// Prints where and with which registers, leaves the stack's addresses to the monitor, who knows their names, and ends
/// the picoprocess with status 125. Calls nothing that could fail again.
[[noreturn]] void report_fault(const char* where, int signal, const SignalInfo& info, const SignalContext& context);

}  // namespace postern::host
