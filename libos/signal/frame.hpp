// SPDX-License-Identifier: Apache-2.0
// The signal frame of x86-64 Linux, byte for byte: programs and unwinders read and change it.
#pragma once

#include "gate/personality.hpp"
#include "libos/signal/state.hpp"

namespace postern::libos {

struct Thread;

struct StackDescription {  // stack_t
    u64 pointer;
    i32 flags;
    i32 padding;
    u64 size;
};

struct SignalContext {  // struct sigcontext_64
    u64 r8, r9, r10, r11, r12, r13, r14, r15;
    u64 rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, flags;
    u16 cs, gs, fs, ss;
    u64 error, trap, old_mask, cr2;
    u64 float_state;
    u64 reserved[8];
};
static_assert(sizeof(SignalContext) == 256);

struct SignalFrame {  // struct rt_sigframe
    u64 restorer;
    u64 flags;  // struct ucontext from here
    u64 link;
    StackDescription stack;
    SignalContext context;
    u64 mask;
    SignalInfo info;
};
static_assert(sizeof(SignalFrame) == 440);

/// What the processor's extended state area holds in bytes 464..511 for software (asm/sigcontext.h).
struct ExtendedStateMark {
    u32 magic1;
    u32 extended_size;
    u64 features;
    u32 size;
    u32 padding[7];
};
inline constexpr u32 kMagic1 = 0x46505853, kMagic2 = 0x46505845;
inline constexpr u64 kMarkOffset = 464;
inline constexpr u64 kLegacySize = 512;

enum FrameFlags : u64 { kExtendedState = 1, kStackSegment = 2, kStrictStackSegment = 4 };
enum ActionFlags : u64 {
    kNoChildStop = 1,
    kNoChildWait = 2,
    kSigInfo = 4,
    kRestorer = 0x0400'0000,
    kOnStack = 0x0800'0000,
    kRestart = 0x1000'0000,
    kNoDefer = 0x4000'0000,
    kResetHandler = 0x8000'0000,
};
enum AlternateStackFlags : u32 { kOnAlternateStack = 1, kDisabled = 2, kAutoDisarm = 0x8000'0000 };

/// The calling thread's vector state as ptrace(2) shows it (NT_X86_XSTATE), in an area of this many bytes, on a
/// boundary of 64; 0: the processor has no XSAVE.
u64 vector_state_size();
void vector_state_save(void* area);
void vector_state_load(const void* area);
/// May an area that a program wrote be loaded?
bool vector_state_valid(const void* area);

bool on_alternate_stack(const Thread& thread, u64 stack_pointer);

/// Puts a frame on the program's stack and makes `frame` call the handler. Errno::fault: the stack is not usable.
Res<void> push_signal_frame(Thread& thread, gate::Frame& frame, const SignalAction& action, const SignalInfo& info);
/// rt_sigreturn's work: `frame` and the vector state become what the program's frame says. Errno::fault: it is bad.
Res<void> pop_signal_frame(Thread& thread, gate::Frame& frame);

}  // namespace postern::libos
