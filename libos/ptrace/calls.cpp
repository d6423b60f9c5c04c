// SPDX-License-Identifier: Apache-2.0
// ptrace(2), the tracer's side.
#include "libos/process/calls.hpp"
#include "base/memory.hpp"
#include "libos/process/table.hpp"
#include "libos/ptrace/memory.hpp"
#include "libos/ptrace/tracing.hpp"
#include "libos/shared/arena.hpp"
#include "libos/signal/delivery.hpp"
#include "libos/signal/frame.hpp"
#include "libos/signal/queue.hpp"
#include "libos/syscall/dispatch.hpp"
#include "libos/time/timers.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

enum Request : u32 {
    kTraceMe = 0,
    kPeekText = 1,
    kPeekData = 2,
    kPeekUser = 3,
    kPokeText = 4,
    kPokeData = 5,
    kPokeUser = 6,
    kContinue = 7,
    kKill = 8,
    kSingleStep = 9,
    kGetRegisters = 12,
    kSetRegisters = 13,
    kGetFloat = 14,
    kSetFloat = 15,
    kAttach = 16,
    kDetach = 17,
    kSystemCall = 24,
    kSetOptions = 0x4200,
    kGetMessage = 0x4201,
    kGetInfo = 0x4202,
    kSetInfo = 0x4203,
    kGetSet = 0x4204,
    kSetSet = 0x4205,
    kSeize = 0x4206,
    kInterrupt = 0x4207,
    kListen = 0x4208,
    kGetMask = 0x420a,
    kSetMask = 0x420b,
    kGetCall = 0x420e,
};

/// struct user_regs_struct of x86-64.
struct UserRegisters {
    u64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, original_rax, rip, cs, flags, rsp, ss,
        fs_base, gs_base, ds, es, fs, gs;
};
static_assert(sizeof(UserRegisters) == 27 * 8);
constexpr u64 kUserAreaSize = 912;  // struct user
constexpr u64 kSettableFlags = 0x50dd5;

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

Errno no_tracee() { return Errno::srch; }

/// The caller's stopped tracee. Table lock is held.
Res<Thread*> find_stopped(Thread& caller, u32 tid) {
    Thread* thread = find_thread_locked(tid);
    if (thread == nullptr || thread->tracing == nullptr || thread->tracing->tracer != caller.process ||
        thread->tracing->stopped == 0)
        return Failure{no_tracee()};
    return thread;
}

/// Has the stopped thread carry out what is in its letter box. `fill` and `take` run under the table lock.
template <class Fill, class Take>
Res<void> send_letter(Thread& caller, u32 tid, TraceLetter letter, Fill fill, Take take) {
    Tracing* tracing;
    u32 seen;
    {
        Guard guard{process_table_lock()};
        Thread* thread = TRY(find_stopped(caller, tid));
        tracing = thread->tracing;
        fill(*tracing);
        seen = tracing->answered;
        tracing->letter = letter;
        notify_thread(*thread, kAttentionSignal);
    }
    for (;;) {
        gate::Err error = gate::Err::ok;
        if (tracing->answered == seen)
            error = g_gate->DkAddressWait(const_cast<u32*>(&tracing->answered), seen, monotonic_now() + 50'000'000,
                                          gate::kAddressShared);
        if (error == gate::Err::interrupted) take_interrupts();
        Guard guard{process_table_lock()};
        Thread* thread = find_thread_locked(tid);
        if (thread == nullptr || thread->tracing != tracing || tracing->tracer != caller.process)
            return Failure{no_tracee()};
        if (tracing->answered == seen) {
            if ((caller.attention & kAttentionExit) != 0) return Failure{Errno::intr};
            continue;
        }
        if (tracing->error != 0) return Failure{Errno::io};
        take(*tracing);
        return {};
    }
}

Res<void> peek(Thread& caller, u32 tid, u64 address, void* data, u32 size) {
    return send_letter(
        caller, tid, TraceLetter::peek, [&](Tracing& tracing) { tracing.address = address, tracing.size = size; },
        [&](Tracing& tracing) { memcpy(data, tracing.data, size); });
}

Res<void> poke(Thread& caller, u32 tid, u64 address, const void* data, u32 size) {
    return send_letter(
        caller, tid, TraceLetter::poke,
        [&](Tracing& tracing) {
            tracing.address = address, tracing.size = size;
            memcpy(tracing.data, data, size);
        },
        [](Tracing&) {});
}

constexpr u32 kPatience = 100;  ///< of 50 ms

/// Leaves a letter with a thread that runs or sleeps, and interrupts it to look. Table lock is not held.
Res<void> visit(Thread& caller, u32 tid, TraceLetter what, u64 address, void* data, u32 size,
                void (*ask)(Thread&, void*) = nullptr, u32 patience = kPatience) {
    Tracing* letter = TRY(arena::create<Tracing>());
    letter->visit = 1;
    letter->letter = what;
    letter->address = address;
    letter->size = size;
    letter->ask = ask;
    if (what != TraceLetter::peek) memcpy(letter->data, data, size);
    bool left = false;
    for (u32 tries = 0; tries < patience; ++tries) {
        {
            Guard guard{process_table_lock()};
            Thread* thread = find_thread_locked(tid);
            bool there =
                thread != nullptr && thread->process != nullptr && thread->process->state != ProcessState::zombie;
            Tracing* none = nullptr;
            if (there && !left)
                left = __atomic_compare_exchange_n(&thread->visitor, &none, letter, false, __ATOMIC_SEQ_CST,
                                                   __ATOMIC_SEQ_CST);
            if (!there) break;
            if (left && letter->answered == 0) g_gate->DkThreadInterrupt(thread->token);
        }
        if (letter->answered == 0) {
            gate::Err error = g_gate->DkAddressWait(const_cast<u32*>(&letter->answered), 0,
                                                    monotonic_now() + 50'000'000, gate::kAddressShared);
            if (error == gate::Err::interrupted) take_interrupts();
        }
        if (letter->answered != 0) {
            Res<void> result{};
            if (letter->error != 0)
                result = Failure{Errno::fault};
            else if (what != TraceLetter::poke)
                memcpy(data, letter->data, size);
            arena::destroy(letter);
            return result;
        }
        if ((caller.attention & kAttentionExit) != 0) break;
    }
    Guard guard{process_table_lock()};
    Thread* thread = find_thread_locked(tid);
    Tracing* mine = letter;
    // Who has taken the letter and died with it leaves it lying.
    if (!left || (thread != nullptr && __atomic_compare_exchange_n(&thread->visitor, &mine, nullptr, false,
                                                                   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)))
        arena::destroy(letter);
    return Failure{Errno::srch};
}

/// Whom to ask for memory of the process: a thread that the caller has stopped, else any. Table lock is held.
Res<u32> thread_to_ask(Thread& caller, u32 number, bool& stopped) {
    Thread* named = find_thread_locked(number);
    if (named == nullptr || named->process == nullptr) return Failure{Errno::srch};
    Process& process = *named->process;
    for (Thread* thread = process.threads.front(); thread != nullptr; thread = process.threads.next(*thread))
        if (thread->tracing != nullptr && thread->tracing->tracer == caller.process && thread->tracing->stopped != 0)
            return thread->tid;
    if (!may_look_into(*caller.process, process)) return Failure{Errno::perm};
    stopped = false;
    return process.threads.front() != nullptr ? process.threads.front()->tid : number;
}

template <class Step>
Res<usize> in_steps(Thread& caller, u32 number, u64 address, usize size, Step step) {
    u32 tid;
    bool stopped = true;
    {
        Guard guard{process_table_lock()};
        tid = TRY(thread_to_ask(caller, number, stopped));
    }
    usize done = 0;
    while (done < size) {
        // Steps end with pages: what can be reached of a range is.
        u64 left_of_page = kPageSize - (address + done) % kPageSize;
        usize count = size - done < sizeof(Tracing::data) ? size - done : sizeof(Tracing::data);
        if (count > left_of_page) count = static_cast<usize>(left_of_page);
        auto result = step(stopped, tid, address + done, done, static_cast<u32>(count));
        if (!result.ok()) {
            if (done != 0) break;
            return Failure{result.error() == Errno::io ? Errno::fault : result.error()};
        }
        done += count;
    }
    return done;
}

Res<i64> resume(Thread& caller, u32 tid, TraceResume how, u64 signal, bool detach) {
    if (signal > kSignalCount) return Failure{Errno::io};
    Guard guard{process_table_lock()};
    Thread* thread = TRY(find_stopped(caller, tid));
    Tracing& tracing = *thread->tracing;
    tracing.deliver = static_cast<u32>(signal);
    if (detach) {
        tracing.tracer = nullptr;
        __atomic_sub_fetch(&caller.process->tracees, 1, __ATOMIC_SEQ_CST);
    }
    tracing.stopped = 0;
    tracing.command = how;
    notify_thread(*thread, kAttentionSignal);
    return 0;
}

Res<i64> trace_me(Thread& thread) {
    Guard guard{process_table_lock()};
    Process* parent = thread.process->parent;
    if (thread.tracing != nullptr || parent == nullptr || parent->pid <= 1) return Failure{Errno::perm};
    Tracing* tracing = TRY(arena::create<Tracing>());
    tracing->tracer = parent;
    thread.tracing = tracing;
    __atomic_add_fetch(&thread.process->traced_threads, 1, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&parent->tracees, 1, __ATOMIC_SEQ_CST);
    g_watch_calls = true;
    return 0;
}

/// `held`: the thread is stopped with its process.
Res<void> begin_tracing(Thread& caller, u32 tid, bool seize, u32 options, bool& held) {
    Guard guard{process_table_lock()};
    Thread* thread = find_thread_locked(tid);
    if (thread == nullptr) return Failure{Errno::srch};
    Process& process = *thread->process;
    if (&process == caller.process || process.is_context != 0 || process.pid <= 1 || thread->tracing != nullptr ||
        !may_look_into(*caller.process, process))
        return Failure{Errno::perm};
    Tracing* tracing = TRY(arena::create<Tracing>());
    tracing->tracer = caller.process;
    tracing->seized = seize ? 1 : 0;
    tracing->options = seize ? options : 0;
    held = process.state == ProcessState::stopped;
    thread->tracing = tracing;
    __atomic_add_fetch(&process.traced_threads, 1, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&caller.process->tracees, 1, __ATOMIC_SEQ_CST);
    if (!seize) {
        SignalInfo info;
        info.signal = kSigStop;
        send_signal_to_thread(*thread, info);
    }
    if (held) notify_thread(*thread, kAttentionStop);
    return {};
}

Res<i64> attach(Thread& caller, u32 tid, bool seize, u32 options) {
    if (seize && (options & ~u32{kTraceOptions}) != 0) return Failure{Errno::io};
    // A thread that was let go a moment ago still has to notice.
    for (;;) {
        {
            Guard guard{process_table_lock()};
            Thread* thread = find_thread_locked(tid);
            if (thread == nullptr || thread->tracing == nullptr || thread->tracing->tracer != nullptr) break;
        }
        u64 left = 100'000;
        g_gate->DkThreadDelayExecution(&left);
        if (left != 0) take_interrupts();
        if (interrupted(caller)) return Failure{Errno::restart_no_intr};
    }
    bool held = false;
    TRY(begin_tracing(caller, tid, seize, options, held));
    // Of a stopped process the thread is at the tracer's disposal when the call returns.
    for (u32 tries = 0; held && tries < 1000; ++tries) {
        {
            Guard guard{process_table_lock()};
            if (find_stopped(caller, tid).ok()) break;
        }
        u64 left = 100'000;
        g_gate->DkThreadDelayExecution(&left);
        if (left != 0) take_interrupts();
        if (interrupted(caller)) break;
    }
    return 0;
}
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

struct CallInfo {  // struct ptrace_syscall_info
    u8 kind;
    u8 padding[3];
    u32 arch;
    u64 instruction, stack;
    u64 words[7];
};

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

Res<i64> simple(Thread& caller, u32 request, u32 tid, u64 address, u64 data) {
    SignalInfo info;
    u64 word = 0;
    if (request == kSetInfo) TRY(copy_in(&info, data, sizeof info));
    if (request == kSetMask) word = TRY(read_user<u64>(data));
    if (request == kSetOptions && (data & ~u64{kTraceOptions}) != 0) return Failure{Errno::inval};
    if ((request == kGetMask || request == kSetMask) && address != 8) return Failure{Errno::inval};
    {
        Guard guard{process_table_lock()};
        Thread* thread = TRY(find_stopped(caller, tid));
        Tracing& tracing = *thread->tracing;
        switch (request) {
            case kSetOptions: tracing.options = static_cast<u32>(data); return 0;
            case kGetMessage: word = tracing.message; break;
            case kGetInfo:
                if (tracing.kind == TraceStop::group) return Failure{Errno::inval};
                if (tracing.has_info != 0) {
                    info = tracing.info;
                } else {  // as the kernel makes them up
                    info.signal = static_cast<i32>(tracing.status & 0x7f);
                    info.code = static_cast<i32>(tracing.status);
                    info.rt.pid = thread->tid;
                }
                break;
            case kSetInfo: tracing.info = info; return 0;
            case kGetMask: word = thread->signals.mask; break;
            case kSetMask: thread->signals.mask = word & ~kUnblockable; return 0;
            default: return Failure{Errno::io};
        }
    }
    if (request == kGetInfo)
        TRY(write_user(data, info));
    else
        TRY(write_user(data, word));
    return 0;
}

}  // namespace

Res<void> ask_thread(Thread& caller, u32 tid, void (*serve)(Thread& thread, void* data), void* data, u32 size,
                     u32 tries) {
    return visit(caller, tid, TraceLetter::ask, 0, data, size, serve, tries);
}

Res<usize> trace_read(Thread& caller, u32 tid, u64 address, void* data, usize size) {
    if (tid == caller.process->pid || tid == caller.tid) {
        usize got = copy_in_some(data, address, size);
        return got != 0 || size == 0 ? Res<usize>{got} : Res<usize>{Failure{Errno::fault}};
    }
    return in_steps(caller, tid, address, size, [&](bool stopped, u32 thread, u64 at, usize done, u32 count) {
        u8* bytes = static_cast<u8*>(data) + done;
        return stopped ? peek(caller, thread, at, bytes, count)
                       : visit(caller, thread, TraceLetter::peek, at, bytes, count);
    });
}

Res<usize> trace_write(Thread& caller, u32 tid, u64 address, const void* data, usize size) {
    if (tid == caller.process->pid || tid == caller.tid) {
        usize got = copy_out_some(address, data, size);
        return got != 0 || size == 0 ? Res<usize>{got} : Res<usize>{Failure{Errno::fault}};
    }
    return in_steps(caller, tid, address, size, [&](bool stopped, u32 thread, u64 at, usize done, u32 count) {
        u8* bytes = const_cast<u8*>(static_cast<const u8*>(data)) + done;
        return stopped ? poke(caller, thread, at, bytes, count)
                       : visit(caller, thread, TraceLetter::poke, at, bytes, count);
    });
}

Res<i64> sys_ptrace(Thread& caller, Arguments arguments) {
    const u32 request = static_cast<u32>(arguments[0]), tid = static_cast<u32>(arguments[1]);
    const u64 address = arguments[2], data = arguments[3];
    u64 word = 0;
    switch (request) {
        case kTraceMe: return trace_me(caller);
        case kAttach: return attach(caller, tid, false, 0);
        case kSeize:
            return address != 0 ? Res<i64>{Failure{Errno::io}} : attach(caller, tid, true, static_cast<u32>(data));
        case kPeekText:
        case kPeekData:
            TRY(peek(caller, tid, address, &word, sizeof word));
            TRY(write_user(data, word));
            return 0;
        case kPokeText:
        case kPokeData: TRY(poke(caller, tid, address, &data, sizeof data)); return 0;
        case kPeekUser: return user_area(caller, tid, address, data, false);
        case kPokeUser: return user_area(caller, tid, address, data, true);
        case kContinue: return resume(caller, tid, TraceResume::go_on, data, false);
        case kSystemCall: return resume(caller, tid, TraceResume::system_call, data, false);
        case kSingleStep: return resume(caller, tid, TraceResume::single_step, data, false);
        case kListen: {
            Guard guard{process_table_lock()};
            Thread* thread = TRY(find_stopped(caller, tid));
            Tracing& tracing = *thread->tracing;
            if (tracing.seized == 0 || tracing.kind != TraceStop::event || tracing.status >> 8 != kEventStop)
                return Failure{Errno::io};
            tracing.stopped = 0;
            tracing.command = TraceResume::listen;
            notify_thread(*thread, kAttentionSignal);
            return 0;
        }
        case kDetach: return resume(caller, tid, TraceResume::go_on, data, true);
        case kKill: {
            Guard guard{process_table_lock()};
            Thread* thread = TRY(find_stopped(caller, tid));
            SignalInfo info;
            info.signal = kSigKill;
            send_signal(*thread->process, info);
            return 0;
        }
        case kInterrupt: {
            Guard guard{process_table_lock()};
            Thread* thread = find_thread_locked(tid);
            if (thread == nullptr || thread->tracing == nullptr || thread->tracing->tracer != caller.process)
                return Failure{no_tracee()};
            if (thread->tracing->seized == 0) return Failure{Errno::io};
            thread->tracing->interrupt = 1;
            notify_thread(*thread, kAttentionSignal);
            return 0;
        }
        case kGetRegisters:
        case kSetRegisters: {
            UserRegisters registers;
            if (request == kSetRegisters) TRY(copy_in(&registers, data, sizeof registers));
            {
                Guard guard{process_table_lock()};
                Thread* thread = TRY(find_stopped(caller, tid));
                Tracing& tracing = *thread->tracing;
                if (request == kSetRegisters) {
                    TRY(set_registers(tracing, registers));
                    return 0;
                }
                registers = registers_of(tracing);
            }
            TRY(copy_out(data, &registers, sizeof registers));
            return 0;
        }
        case kGetFloat:
        case kSetFloat: {
            u8 bytes[512];
            if (request == kSetFloat) {
                TRY(copy_in(bytes, data, sizeof bytes));
                TRY(send_letter(
                    caller, tid, TraceLetter::load_vectors,
                    [&](Tracing& tracing) { memcpy(tracing.data, bytes, sizeof bytes); }, [](Tracing&) {}));
                return 0;
            }
            TRY(send_letter(
                caller, tid, TraceLetter::save_vectors, [](Tracing&) {},
                [&](Tracing& tracing) { memcpy(bytes, tracing.data, sizeof bytes); }));
            TRY(copy_out(data, bytes, sizeof bytes));
            return 0;
        }
        case kGetSet: return register_set(caller, tid, address, data, false);
        case kSetSet: return register_set(caller, tid, address, data, true);
        case kGetCall: return call_info(caller, tid, address, data);
        default: return simple(caller, request, tid, address, data);
    }
}

}  // namespace postern::libos
