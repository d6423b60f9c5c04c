// SPDX-License-Identifier: Apache-2.0
// Signal frames. Vector state is live in the processor while the library OS runs; it passes through a buffer on the
// library OS's own stack, so that a bad program stack is found by a guarded copy and never by the state instructions.
#include "libos/signal/frame.hpp"

#include "base/memory.hpp"
#include "libos/gate.hpp"
#include "libos/process/process.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u64 kRedZone = 128;
constexpr u64 kFrameCs = 0x33, kFrameSs = 0x2b;
constexpr u64 kFlagsFromProgram = 0x50dd5;  // AC OF DF TF SF ZF AF PF CF RF
constexpr u64 kTrapFlag = 0x100, kDirectionFlag = 0x400, kResumeFlag = 0x10000;
constexpr u64 kProtectionKeys = 1 << 9;  // no part of what a handler may keep: the host's own
constexpr u64 kMaximumState = 16384;     // room for tile registers
constexpr u64 kHeaderOffset = 512;

u64 features() { return g_parameters->processor_features[3] & ~kProtectionKeys; }

/// Size of the whole area, 512 where the processor has no XSAVE.
u64 state_size() {
    u64 size = g_parameters->processor_features[2];
    if (features() == 0 || size < kLegacySize + 64 || size > kMaximumState) return kLegacySize;
    return size;
}
bool extended() { return state_size() > kLegacySize; }

extern "C" void libos_reset_vector_state(u64 features);

void save_state(u8* area) {
    if (extended()) {
        u64 mask = features();
        asm volatile("xsave64 (%0)"
                     :
                     : "r"(area), "a"(static_cast<u32>(mask)), "d"(static_cast<u32>(mask >> 32))
                     : "memory");
    } else {
        asm volatile("fxsave64 (%0)" : : "r"(area) : "memory");
    }
}

void load_state(const u8* area) {
    if (extended()) {
        u64 mask = features();
        asm volatile("xrstor64 (%0)"
                     :
                     : "r"(area), "a"(static_cast<u32>(mask)), "d"(static_cast<u32>(mask >> 32))
                     : "memory");
    } else {
        asm volatile("fxrstor64 (%0)" : : "r"(area) : "memory");
    }
}

u8* align64(u8* pointer) { return reinterpret_cast<u8*>(align_up(reinterpret_cast<u64>(pointer), 64)); }

/// The processor faults on reserved bits: what it knows of MXCSR is in the area it saves.
void clean_mxcsr(u8* area) {
    alignas(16) u8 probe[kLegacySize];
    memset(probe, 0, sizeof probe);
    asm volatile("fxsave64 (%0)" : : "r"(probe) : "memory");
    u32 mask;
    memcpy(&mask, probe + 28, sizeof mask);
    if (mask == 0) mask = 0xffbf;
    u32 value;
    memcpy(&value, area + 24, sizeof value);
    value &= mask;
    memcpy(area + 24, &value, sizeof value);
}

Res<void> restore_state(u64 address) {
    if (address == 0) {
        libos_reset_vector_state(extended() ? features() : 0);
        return {};
    }
    u64 size = state_size();
    auto storage = static_cast<u8*>(__builtin_alloca(size + 64));
    u8* area = align64(storage);
    TRY(copy_in(area, address, kLegacySize));
    ExtendedStateMark mark;
    memcpy(&mark, area + kMarkOffset, sizeof mark);
    bool whole = false;
    if (extended() && mark.magic1 == kMagic1 && mark.size >= kLegacySize + 64 && mark.size <= size &&
        mark.extended_size >= mark.size + 4) {
        auto magic = read_user<u32>(address + mark.size);
        whole = magic.ok() && magic.value() == kMagic2;
    }
    if (extended()) {
        memset(area + kLegacySize, 0, size - kLegacySize);
        u64 present = 3;  // without the mark: x87 and SSE only, the rest becomes initial, as the kernel does
        if (whole) {
            TRY(copy_in(area + kLegacySize, address + kLegacySize, mark.size - kLegacySize));
            memcpy(&present, area + kHeaderOffset, sizeof present);
            present &= features() & mark.features;
        }
        memset(area + kHeaderOffset, 0, 64);
        memcpy(area + kHeaderOffset, &present, sizeof present);
    }
    clean_mxcsr(area);
    load_state(area);
    return {};
}

}  // namespace

u64 vector_state_size() { return extended() ? state_size() : 0; }

void vector_state_save(void* area) {
    auto bytes = static_cast<u8*>(area);
    save_state(bytes);
    const u64 present = features();
    memset(bytes + kMarkOffset, 0, kLegacySize - kMarkOffset);
    memcpy(bytes + kMarkOffset, &present, sizeof present);
}

void vector_state_load(const void* area) { load_state(static_cast<const u8*>(area)); }

bool vector_state_valid(const void* area) {
    auto bytes = static_cast<const u8*>(area);
    u64 header[8];
    memcpy(header, bytes + kHeaderOffset, sizeof header);
    if ((header[0] & ~features()) != 0) return false;
    for (u32 index = 1; index < 8; ++index)
        if (header[index] != 0) return false;
    u8 cleaned[kLegacySize];
    memcpy(cleaned, bytes, sizeof cleaned);
    clean_mxcsr(cleaned);
    return memcmp(cleaned, bytes, sizeof cleaned) == 0;
}

bool on_alternate_stack(const Thread& thread, u64 stack_pointer) {
    const SignalState& signals = thread.signals;
    if ((signals.alt_flags & kAutoDisarm) != 0) return false;
    return stack_pointer > signals.alt_stack && stack_pointer - signals.alt_stack <= signals.alt_size;
}

Res<void> push_signal_frame(Thread& thread, gate::Frame& frame, const SignalAction& action, const SignalInfo& info) {
    if ((action.flags & kRestorer) == 0) return Failure{Errno::fault};
    SignalState& signals = thread.signals;
    u64 size = state_size();
    u64 sp = frame.rsp - kRedZone;
    bool nested = on_alternate_stack(thread, frame.rsp);
    bool entering = false;
    if ((action.flags & kOnStack) != 0 && !nested && (signals.alt_flags & kDisabled) == 0 && signals.alt_size != 0) {
        sp = signals.alt_stack + signals.alt_size;
        entering = true;
    }
    u64 state = (sp - size - sizeof kMagic2) & ~63ull;
    u64 at = ((state - sizeof(SignalFrame)) & ~15ull) - 8;
    // Running off the alternate stack must not silently write below it.
    if ((nested || entering) && (at <= signals.alt_stack || at - signals.alt_stack > signals.alt_size))
        return Failure{Errno::fault};

    auto storage = static_cast<u8*>(__builtin_alloca(size + 64));
    u8* area = align64(storage);
    memset(area, 0, size);
    save_state(area);
    if (extended()) {
        ExtendedStateMark mark = {};
        mark.magic1 = kMagic1;
        mark.extended_size = static_cast<u32>(size + sizeof kMagic2);
        mark.features = features();
        mark.size = static_cast<u32>(size);
        memcpy(area + kMarkOffset, &mark, sizeof mark);
        TRY(write_user(state + size, kMagic2));
    }
    TRY(copy_out(state, area, size));

    SignalFrame out;
    memset(static_cast<void*>(&out), 0, sizeof out);
    out.restorer = action.restorer;
    out.flags = kStackSegment | kStrictStackSegment | (extended() ? u64{kExtendedState} : 0);
    out.stack.pointer = signals.alt_stack;
    out.stack.size = signals.alt_size;
    out.stack.flags =
        static_cast<i32>((signals.alt_flags & kAutoDisarm) | ((signals.alt_flags & kDisabled) != 0 ? u32{kDisabled}
                                                              : nested ? u32{kOnAlternateStack}
                                                                       : 0u));
    SignalContext& context = out.context;
    context.r8 = frame.r8, context.r9 = frame.r9, context.r10 = frame.r10, context.r11 = frame.r11;
    context.r12 = frame.r12, context.r13 = frame.r13, context.r14 = frame.r14, context.r15 = frame.r15;
    context.rdi = frame.rdi, context.rsi = frame.rsi, context.rbp = frame.rbp, context.rbx = frame.rbx;
    context.rdx = frame.rdx, context.rax = frame.rax, context.rcx = frame.rcx, context.rsp = frame.rsp;
    context.rip = frame.rip, context.flags = frame.flags;
    context.cs = kFrameCs, context.ss = kFrameSs;
    context.error = thread.fault_error, context.trap = thread.fault_trap, context.cr2 = thread.fault_address;
    u64 mask = signals.has_saved_mask != 0 ? signals.saved_mask : signals.mask;
    context.old_mask = mask;
    context.float_state = state;
    out.mask = mask;
    out.info = info;
    TRY(copy_out(at, &out, sizeof out));

    if ((signals.alt_flags & kAutoDisarm) != 0 && entering) {
        signals.alt_flags = kDisabled;
        signals.alt_stack = signals.alt_size = 0;
    }
    frame.rip = action.handler;
    frame.rsp = at;
    frame.rdi = static_cast<u64>(static_cast<u32>(info.signal));
    frame.rsi = at + __builtin_offsetof(SignalFrame, info);
    frame.rdx = at + __builtin_offsetof(SignalFrame, flags);
    frame.rax = 0;
    frame.flags &= ~(kTrapFlag | kDirectionFlag | kResumeFlag);
    frame.original_rax = gate::kNoSystemCall;
    // A handler starts with the state of a fresh program, as since Linux 3.7.
    libos_reset_vector_state(extended() ? features() : 0);
    return {};
}

Res<void> pop_signal_frame(Thread& thread, gate::Frame& frame) {
    SignalFrame in;
    u64 at = frame.rsp - 8;  // the handler's `ret` took the restorer's address
    TRY(copy_in(static_cast<void*>(&in), at, sizeof in));
    const SignalContext& context = in.context;
    // Addresses that the processor refuses would fault in the gate's code instead of here.
    if (context.rip >> 47 != 0 || context.rsp >> 47 != 0) return Failure{Errno::fault};
    TRY(restore_state(context.float_state));
    frame.r8 = context.r8, frame.r9 = context.r9, frame.r10 = context.r10, frame.r11 = context.r11;
    frame.r12 = context.r12, frame.r13 = context.r13, frame.r14 = context.r14, frame.r15 = context.r15;
    frame.rdi = context.rdi, frame.rsi = context.rsi, frame.rbp = context.rbp, frame.rbx = context.rbx;
    frame.rdx = context.rdx, frame.rax = context.rax, frame.rcx = context.rcx, frame.rsp = context.rsp;
    frame.rip = context.rip;
    frame.flags = (frame.flags & ~kFlagsFromProgram) | (context.flags & kFlagsFromProgram);
    frame.original_rax = gate::kNoSystemCall;
    set_signal_mask(thread, in.mask);
    SignalState& signals = thread.signals;
    u32 flags = static_cast<u32>(in.stack.flags);
    if (!on_alternate_stack(thread, frame.rsp)) {
        if ((flags & kDisabled) != 0) {
            signals.alt_flags = kDisabled;
            signals.alt_stack = signals.alt_size = 0;
        } else if (in.stack.size >= 2048) {
            signals.alt_flags = flags & kAutoDisarm;
            signals.alt_stack = in.stack.pointer;
            signals.alt_size = in.stack.size;
        }
    }
    return {};
}

}  // namespace postern::libos
