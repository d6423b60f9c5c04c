// SPDX-License-Identifier: Apache-2.0
// Registers as tracers know them: struct user, and sets of struct iovec.
#include "libos/ptrace/registers.hpp"

#include "libos/ptrace/letters.hpp"
#include "libos/signal/frame.hpp"
#include "libos/syscall/dispatch.hpp"

#include "base/memory.hpp"
#include "libos/process/calls.hpp"
#include "libos/ptrace/memory.hpp"
#include "libos/shared/arena.hpp"
#include "libos/time/timers.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u64 kUserAreaSize = 912;  // struct user
constexpr u64 kSettableFlags = 0x50dd5;

struct UserVector {
    u64 base, size;
};

/// What a stopped thread saves its vector state to, or loads it from: pages that both see.
struct VectorLetter {
    void* area;
    u32 load;
};

/// NT_X86_XSTATE.
Res<i64> extended_set(Thread& caller, u32 tid, u64 vector_address, const UserVector& vector, bool set) {
    const u64 whole = vector_state_size();
    if (whole == 0) return Failure{Errno::nodev};
    if (vector.size % 8 != 0) return Failure{Errno::inval};
    {
        Guard guard{process_table_lock()};
        (void)TRY(find_stopped(caller, tid));
    }
    const u64 pages = page_ceil(whole) / kPageSize;
    auto* area = static_cast<u8*>(TRY(arena::allocate_pages(pages)));
    auto exchange = [&]() -> Res<void> {
        if (set) {
            if (vector.size != whole) return Failure{Errno::fault};
            TRY(copy_in(area, vector.base, whole));
            if (!vector_state_valid(area)) return Failure{Errno::inval};
        }
        TRY(send_letter(
            caller, tid, TraceLetter::ask,
            [&](Tracing& tracing) {
                new (tracing.data) VectorLetter{area, set ? 1u : 0u};
                tracing.ask = [](Thread&, void* data) {
                    auto& letter = *static_cast<VectorLetter*>(data);
                    if (letter.load != 0)
                        vector_state_load(letter.area);
                    else
                        vector_state_save(letter.area);
                };
            },
            [](Tracing&) {}));
        const u64 size = vector.size < whole ? vector.size : whole;
        if (!set) TRY(copy_out(vector.base, area, size));
        TRY(write_user(vector_address + 8, size));
        return {};
    };
    Res<void> result = exchange();
    arena::release_pages(area, pages);
    TRY(std::move(result));
    return 0;
}

struct CallInfo {  // struct ptrace_syscall_info
    u8 kind;
    u8 padding[3];
    u32 arch;
    u64 instruction, stack;
    u64 words[7];
};

}  // namespace

UserRegisters registers_of(const Tracing& tracing) {
    const gate::Frame& f = tracing.frame;
    return {f.r15, f.r14, f.r13,   f.r12, f.rbp, f.rbx,           f.r11, f.r10,
            f.r9,  f.r8,  f.rax,   f.rcx, f.rdx, f.rsi,           f.rdi, f.original_rax,
            f.rip, 0x33,  f.flags, f.rsp, 0x2b,  tracing.fs_base, 0,     0,
            0,     0,     0};
}

Res<void> set_registers(Tracing& tracing, const UserRegisters& r) {
    if (r.fs_base >= g_parameters->user_high) return Failure{Errno::io};
    gate::Frame& f = tracing.frame;
    f.r15 = r.r15, f.r14 = r.r14, f.r13 = r.r13, f.r12 = r.r12, f.rbp = r.rbp, f.rbx = r.rbx, f.r11 = r.r11;
    f.r10 = r.r10, f.r9 = r.r9, f.r8 = r.r8, f.rax = r.rax, f.rcx = r.rcx, f.rdx = r.rdx, f.rsi = r.rsi, f.rdi = r.rdi;
    f.original_rax = r.original_rax;
    f.rip = r.rip;
    f.flags = (f.flags & ~kSettableFlags) | (r.flags & kSettableFlags);
    f.rsp = r.rsp;
    tracing.fs_base = r.fs_base;
    return {};
}

Res<i64> register_set(Thread& caller, u32 tid, u64 kind, u64 vector_address, bool set) {
    auto vector = TRY(read_user<UserVector>(vector_address));
    constexpr u32 kStatus = 1, kFloatSet = 2, kExtendedSet = 0x202;
    if (kind == kExtendedSet) return extended_set(caller, tid, vector_address, vector, set);
    u8 bytes[512];
    u64 whole = kind == kStatus ? sizeof(UserRegisters) : 512;
    if ((kind != kStatus && kind != kFloatSet) || vector.size % 8 != 0) return Failure{Errno::inval};
    u64 size = vector.size < whole ? vector.size : whole;
    if (kind == kStatus) {
        UserRegisters registers;
        {
            Guard guard{process_table_lock()};
            Thread* thread = TRY(find_stopped(caller, tid));
            registers = registers_of(*thread->tracing);
        }
        if (set) {
            TRY(copy_in(&registers, vector.base, size));
            Guard guard{process_table_lock()};
            Thread* thread = TRY(find_stopped(caller, tid));
            TRY(set_registers(*thread->tracing, registers));
        }
        memcpy(bytes, &registers, sizeof registers);
    } else {
        TRY(send_letter(
            caller, tid, TraceLetter::save_vectors, [](Tracing&) {},
            [&](Tracing& tracing) { memcpy(bytes, tracing.data, sizeof bytes); }));
        if (set) {
            TRY(copy_in(bytes, vector.base, size));
            TRY(send_letter(
                caller, tid, TraceLetter::load_vectors,
                [&](Tracing& tracing) { memcpy(tracing.data, bytes, sizeof bytes); }, [](Tracing&) {}));
        }
    }
    if (!set) TRY(copy_out(vector.base, bytes, size));
    TRY(write_user(vector_address + 8, size));
    return 0;
}

Res<i64> call_info(Thread& caller, u32 tid, u64 size, u64 address) {
    CallInfo info{};
    u64 length = 24;
    {
        Guard guard{process_table_lock()};
        Thread* thread = TRY(find_stopped(caller, tid));
        const Tracing& tracing = *thread->tracing;
        const gate::Frame& f = tracing.frame;
        info.arch = 0xc000003e;  // AUDIT_ARCH_X86_64
        info.instruction = f.rip;
        info.stack = f.rsp;
        if (tracing.kind == TraceStop::call_entry) {
            info.kind = 1;
            const u64 words[7] = {f.original_rax, f.rdi, f.rsi, f.rdx, f.r10, f.r8, f.r9};
            memcpy(info.words, words, sizeof words);
            length = 80;
        } else if (tracing.kind == TraceStop::call_exit) {
            info.kind = 2;
            info.words[0] = f.rax;
            info.words[1] = f.rax > ~4096ull ? 1 : 0;
            length = 33;
        }
    }
    TRY(copy_out(address, &info, size < length ? size : length));
    return static_cast<i64>(length);
}

Res<i64> user_area(Thread& caller, u32 tid, u64 offset, u64 data, bool set) {
    if (offset % 8 != 0 || offset >= kUserAreaSize) return Failure{Errno::io};
    Guard guard{process_table_lock()};
    Thread* thread = TRY(find_stopped(caller, tid));
    Tracing& tracing = *thread->tracing;
    UserRegisters registers = registers_of(tracing);
    u64* words = reinterpret_cast<u64*>(&registers);
    if (!set) {
        u64 value = offset < sizeof registers ? words[offset / 8] : 0;
        TRY(write_user(data, value));
        return 0;
    }
    if (offset >= sizeof registers) return data == 0 ? Res<i64>{i64{0}} : Res<i64>{Failure{Errno::io}};
    words[offset / 8] = data;
    TRY(set_registers(tracing, registers));
    return 0;
}

}  // namespace postern::libos
