// SPDX-License-Identifier: Apache-2.0
// Programs of seccomp(2) filters: classic BPF over the number and arguments of a call.
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>

#include "base/types.hpp"

namespace postern::libos {

/// In the arena, never changed. Each holds a reference to the one before it.
struct SeccompProgram {
    SeccompProgram* before;
    u32 references;
    u32 count;  ///< instructions
    u32 total;  ///< of this one and those before it
    sock_filter code[1];

    static usize bytes(u32 count) { return sizeof(SeccompProgram) + (count - 1) * sizeof(sock_filter); }
};

/// As bpf_check_classic and seccomp_check_filter of Linux: only known instructions, jumps forward and inside, an end.
bool seccomp_valid(const sock_filter* code, u32 count);
/// What a valid program answers: SECCOMP_RET_*.
u32 seccomp_run(const SeccompProgram& program, const seccomp_data& data);

}  // namespace postern::libos
