// SPDX-License-Identifier: Apache-2.0
// ptrace(2), the tracer's side. Memory: letters.cpp. Registers: registers.cpp.
#include "libos/process/calls.hpp"
#include "base/memory.hpp"
#include "libos/process/table.hpp"
#include "libos/ptrace/letters.hpp"
#include "libos/ptrace/registers.hpp"
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
                return Failure{Errno::srch};
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
