// SPDX-License-Identifier: Apache-2.0
// Turns a `syscall` instruction that has trapped into a jump to the library OS, while other threads may run the code.
//
// Two techniques, both replacing one instruction by another of the same length, so that no thread can ever stand
// between old and new bytes:
//   mov   `mov $number,%eax` right before the `syscall` becomes `jmp rel32` to a trampoline. The `syscall` stays: code
//         that jumps straight to it traps as before.
//   cave  the `syscall` itself becomes `jmp rel8` to dead padding nearby, which holds a `jmp rel32`.
// What neither fits keeps trapping, which is always right.
//
// How bytes change: with one thread, plainly. With more, as one 8-byte compare-and-exchange when they lie in one
// aligned quadword (instruction fetch sees such a store whole), otherwise by the breakpoint protocol: first byte int3,
// barrier, other bytes, barrier, first byte, barrier. A thread that runs into the breakpoint meanwhile is sent to the
// trampoline; one whose breakpoint has gone when its handler looks just runs the instruction again. What is in progress
// is published under a sequence number, so the handler never combines an old address with a new byte.
//
// One patch at a time. The lock is only tried where waiting could deadlock (in handlers), and never held while
// something is waited for; fork, exec and changes of code take it for good reason and for a bounded time.
#pragma once

#include "base/types.hpp"

namespace postern::host {

/// What the patcher needs from its surroundings; tests supply their own.
struct PatchHost {
    /// Keeps [address, address + size) mapped as it is until release(); its protection bits (1 read, 2 write,
    /// 4 execute), or 0 when that is impossible now or the memory is shared with other processes. Must not wait.
    u32 (*freeze)(u64 address, u64 size);
    void (*release)();
    bool (*protect)(u64 address, u64 size, u32 prot);
    bool (*barrier)();  ///< serialises instruction fetch of all threads of the process
    bool (*alone)();    ///< no other thread can run
    /// Memory for trampolines near `near`, mapped read and execute; 0: none. May wait: called without the lock.
    u64 (*place)(u64 near, u64 size);
    bool (*load)(u64 address, u8* byte);  ///< false if the byte cannot be read
    void (*yield)();                      ///< lets the holder of the lock run
};

enum class PatchResult : u8 { patched_mov, patched_cave, busy, refused };

class Patcher {
public:
    /// `warm_up`: how often a site traps before it is worth a patch. A patch costs as much as a dozen traps, and most
    /// sites of short programs run a few times only.
    explicit constexpr Patcher(const PatchHost& host, u32 warm_up = 0) : host_{host}, warm_up_{warm_up} {}

    /// In the handler of a trap at `site`. `number` was in rax.
    PatchResult consider(u64 site, u64 number);
    /// As consider, outside of handlers, for a call that another copy of this code trapped at. Only where trampolines
    /// have a place already: nothing is waited for.
    void advise(u64 site, u64 number) {
        if (find_region(site) != nullptr) consider(site, number);
    }
    /// For a breakpoint trap at `address`: where to continue, or 0 when the breakpoint is not the patcher's.
    u64 resolve_breakpoint(u64 address) const;
    /// Start of the original call when `rip` is inside a trampoline, else `rip`.
    u64 leave_trampoline(u64 rip) const;

    // For code that nobody runs yet, in the process that makes it (ahead.cpp).

    /// What a CPUID instruction answers, in the order in which the registers are set.
    struct Identification {
        u32 rax, rbx, rcx, rdx;
    };
    /// Replaces the `mov $n,%eax` at `site` by a jump to code that does what the instructions from there to `after` do,
    /// of which the last is a `syscall`. False: what lies between depends on its place or changes the number.
    bool replace_call(u64 site, u64 after);
    /// As replace_call, when the last one is a CPUID that answers `answer`.
    bool replace_cpuid(u64 site, u64 after, const Identification& answer);

    /// Trampolines that were made elsewhere by another Patcher are mapped at [base, base + size): nothing is put there.
    bool adopt_region(u64 base, u64 size);

    void code_changed(u64 address, u64 size);
    void code_reset();
    void lock();
    void unlock();
    bool try_lock();
    /// In a forked child whose parent held the lock over the fork.
    void after_fork() { unlock(); }

    /// For tests: use the breakpoint protocol for every patch.
    void force_breakpoints(bool on) { force_breakpoints_ = on; }
    u64 patched() const { return patched_; }
    u64 breakpoint_patches() const { return breakpoint_patches_; }

private:
    static constexpr u64 kRegionSize = 16384;
    static constexpr u64 kSlotSize = 32;  // code, and in the last 8 bytes how far it is to where the call starts over
    static constexpr u64 kRewindOffset = 24;  // (0: nowhere, the slot's code can be interrupted)
    static constexpr u32 kMaxRegions = 128;
    static constexpr u64 kReach = 0x7fff'0000;
    static constexpr u32 kMemory = 1024;  // sites remembered
    static constexpr u32 kPatience = 16;  // traps at a site whose mov is patched before the call itself is

    struct Region {
        u64 base;
        u32 used, slots;
    };
    /// The code around a site, copied once: what is decided on cannot change while it is looked at.
    struct Window {
        static constexpr u32 kBefore = 40, kAfter = 144;
        u64 address;
        u8 bytes[kBefore + 2 + kAfter];
        u32 before = 0;  ///< readable bytes before the site, at most kBefore
        u32 after = 0;   ///< readable bytes behind the call, at most kAfter
        bool is_call = false;
        Window(const PatchHost& host, u64 site);
        const u8* site() const { return bytes + kBefore; }
    };

    Region* find_region(u64 site);
    Region* add_region(u64 base, u64 size);  ///< null: the table is full
    bool plan_mov(u64 site, u64 number) const;
    static bool is_mov(const Window& window, u64 distance);
    bool can_carry(u64 site, u64 after) const;
    u64 take_slots(u64 site, u32 count);
    void jump_from(u64 site, u64 slot);
    static void write_exit(u8* code, u64 address, u64 after);
    u64 plan_cave(u64 site) const;
    PatchResult apply(u64 site, u64 number, bool mov, u64 cave, Region& region);
    void replace(u64 address, const u8* bytes, u32 count, u64 trampoline);
    void breakpoint_replace(u64 address, const u8* bytes, u32 count, u64 trampoline);
    void publish(u64 address, u64 trampoline);
    u32 remembered(u64 site) const;
    void remember(u64 site, u32 count);
    bool cold(u64 site);

    PatchHost host_;
    u32 warm_up_;
    u32 lock_word_ = 0;
    bool force_breakpoints_ = false;
    u64 patched_ = 0;
    u64 breakpoint_patches_ = 0;

    // The patch in progress. Odd version: being changed.
    u64 version_ = 0;
    u64 active_address_ = 0;
    u64 active_trampoline_ = 0;

    u32 region_count_ = 0;
    Region regions_[kMaxRegions] = {};
    bool remembers_ = false;    // something is in memory_: else it is not touched, for each page written is one copied
    u64 memory_[kMemory] = {};  // site in the low 48 bits, count above; kRefused: never again
    static constexpr u32 kRefused = 0xffff;
};

}  // namespace postern::host
