// SPDX-License-Identifier: Apache-2.0
// Offsets that the assembly uses. threads.cpp asserts each of them against the structures.
#pragma once

// gate::ThreadControl, from the GS base
#define CONTROL_SELF 0
#define CONTROL_GUEST_RSP 8
#define CONTROL_STACK_TOP 16
#define CONTROL_SYSCALL_ENTRY 24
#define CONTROL_FRAME 32
#define CONTROL_PENDING 40
#define CONTROL_RESUME_RIP 48
#define CONTROL_ASYNC_RIP 64
#define CONTROL_ASYNC_RSP 72
#define CONTROL_ASYNC_FLAGS 120
#define CONTROL_GATE_CALLS 160
#define CONTROL_HOST_CALLS 168
#define CONTROL_SYSTEM_CALLS 176

// gate::Frame
#define FRAME_SIZE 160

#define ERRNO_INTR 4
