// SPDX-License-Identifier: Apache-2.0
// Registers of stopped tracees, for ptrace(2).
#pragma once

#include "libos/errno.hpp"

namespace postern::libos {

struct Thread;
struct Tracing;

/// struct user_regs_struct of x86-64.
struct UserRegisters {
    u64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, original_rax, rip, cs, flags, rsp, ss,
        fs_base, gs_base, ds, es, fs, gs;
};
static_assert(sizeof(UserRegisters) == 27 * 8);

/// Of a stopped tracee. Errno::io for what no thread can have.
UserRegisters registers_of(const Tracing& tracing);
Res<void> set_registers(Tracing& tracing, const UserRegisters& registers);

/// PTRACE_GETREGSET and PTRACE_SETREGSET, of the set `kind` (NT_*), with the struct iovec at `vector_address`.
Res<i64> register_set(Thread& caller, u32 tid, u64 kind, u64 vector_address, bool set);
/// PTRACE_GET_SYSCALL_INFO.
Res<i64> call_info(Thread& caller, u32 tid, u64 size, u64 address);
/// PTRACE_PEEKUSER and PTRACE_POKEUSER.
Res<i64> user_area(Thread& caller, u32 tid, u64 offset, u64 data, bool set);

}  // namespace postern::libos
