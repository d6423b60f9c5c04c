// SPDX-License-Identifier: Apache-2.0
// How a personality (the Linux library OS is one) gets the system calls and exceptions of the program it carries.
//
// This is an interface above the gate, after Windows' pico providers: a personality registers once and receives four
// callbacks. The host part inside the picoprocess saves the program's general registers in a Frame on the thread's
// library-OS stack, calls, and afterwards resumes what the Frame then says. Vector registers stay live in the
// processor: the library OS is compiled for general registers only, and saves them itself where a program can see it.
#pragma once

#include "gate/types.hpp"

namespace postern::gate {

/// The program's general registers. Field order is the push order of the entry code and part of this interface.
struct Frame {
    u64 rax, r9, r8, r10, rdx, rsi, rdi;  // call number and arguments, arguments last first
    u64 r11, r15, r14, r13, r12, rbp, rbx;
    u64 flags, rcx, rip, rsp;
    u64 original_rax;  ///< the call's number while a system call is served; kNoSystemCall otherwise
    u64 reserved;
};
static_assert(sizeof(Frame) == 160);
inline constexpr u64 kNoSystemCall = ~0ull;

/// At the GS base of every thread. Offsets are used by assembly (see entry code); the first 128 bytes never move.
struct ThreadControl {
    ThreadControl* self;      // 0
    u64 guest_rsp;            // 8   scratch of the entry code
    u64 stack_top;            // 16  where the entry code puts the Frame
    u64 syscall_entry;        // 24  patched sites jump through here: rcx holds the return address
    Frame* frame;             // 32  the program's registers while the library OS runs
    volatile u32 pending;     // 40  not 0: the personality's exception callback is owed an interrupt
    u32 external;             // 44  ExternalRequest bits gathered since the last interrupt callback
    u64 resume_rip;           // 48  scratch of the resume code
    void* context;            // 56  the personality's thread context
    u64 async_rip;            // 64  scratch: where the program was when an exception or interrupt came
    u64 async_rsp;            // 72
    u64 async_rcx;            // 80
    u64 stack_low;            // 88
    u32 host_id;              // 96  host number of the thread
    u32 in_host;              // 100 not 0 while host code of this thread runs that must not be interrupted
    ThreadToken token;        // 104
    u64 parameter;            // 112
    u64 async_flags;          // 120
    ExceptionInfo exception;  // 128
    u64 gate_calls;           ///< counters for --stats
    u64 host_calls;
    u64 system_calls;
    u64 reserved[8];
};

struct Personality {
    u32 version;
    u32 size;
    /// Serves the call in `frame` (number in rax). On return the program resumes as `frame` says.
    void (*system_call)(Frame* frame);
    /// A fault of the program, or an interrupt (ExceptionKind::interrupt: also called on the way out of a system
    /// call while `pending` is set). The personality clears nothing in ThreadControl: `pending` is cleared before.
    void (*exception)(Frame* frame, const ExceptionInfo* info);
    /// The host ended this thread or process by itself (for example: out of memory while growing). May be null.
    void (*thread_exit)();
    void (*process_exit)(u32 code);
    /// Where the host may put `size` bytes of generated code within +-2 GiB of `near`; 0: nowhere. The guest chooses
    /// all addresses, those of trampolines included. May be called in any thread that runs program code.
    u64 (*place_code)(u64 near, u64 size);
    /// Optional. Keeps the mappings of a range as they are until code_end(): returns their common gate::Prot bits with
    /// kCodeFrozen, or 0 when that is impossible at this moment, when they differ, or when the memory is shared with
    /// other processes. Called by handlers on a thread that was running program code: must try locks, never wait.
    u32 (*code_begin)(u64 address, u64 size) = nullptr;
    void (*code_end)() = nullptr;
};
inline constexpr u32 kCodeFrozen = 0x8000'0000;

/// Bits, so that a host can gather them.
enum class Limit : u32 {
    memory = 1,     ///< LibOsParameters::memory_limit
    disk = 2,       ///< what private files may take
    file_size = 4,  ///< how large the host lets a file grow
};

/// Sums, but for the first.
struct MembersUsage {
    u64 most_memory;  ///< bytes that the largest of them had in memory at its peak
    u64 memory;       ///< bytes that they have in memory now
    u64 minor_faults, major_faults;
    u64 waits, preemptions;  ///< context switches
    u64 system_ns;           ///< the part of their processor time that the host's kernel used
};

/// What the host offers to a personality besides the gate.
struct PersonalityHost {
    u32 version;
    u32 size;
    Err (*register_personality)(const Personality* personality);  ///< once per image; Err::exists the second time
    /// Leaves the library OS for good and runs the program as `frame` says, on the calling thread.
    void (*resume)(Frame* frame) __attribute__((noreturn));
    /// Code in the range was replaced or unmapped: forget patches there. Call before the memory is reused.
    void (*code_changed)(u64 address, u64 size);
    /// exec: all program memory is gone; forget all patches and trampolines.
    void (*code_reset)();
    /// The code of a PreparedText is mapped at [address, address + size) and about to run. False: it cannot be kept in
    /// mind; do not use it.
    bool (*code_prepared)(u64 address, u64 size) = nullptr;
    /// What `count` members used together (their host numbers; they may have ended), 64 at most. Err::would_block: one
    /// of them is ending at this moment. Asks the host, so it costs more than a gate call. May be null.
    Err (*members_usage)(const u32* members, u32 count, MembersUsage* usage);
    /// The family has met a limit of its own (Limit) and the program was refused something: the host's user is told at
    /// the end. A hint that nothing depends on. May be null.
    void (*limit_met)(Limit limit);
};

inline ThreadControl* thread_control() {
    ThreadControl* control;
    asm("movq %%gs:0, %0" : "=r"(control));
    return control;
}

}  // namespace postern::gate
