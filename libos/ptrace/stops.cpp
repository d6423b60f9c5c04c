// SPDX-License-Identifier: Apache-2.0
// The traced thread's side: its stops, its letter box, and what its tracer hears.
#include "base/memory.hpp"
#include "libos/memory/space.hpp"
#include "libos/process/table.hpp"
#include "libos/ptrace/tracing.hpp"
#include "libos/shared/arena.hpp"
#include "libos/signal/delivery.hpp"
#include "libos/signal/queue.hpp"
#include "libos/syscall/dispatch.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u64 kTrapFlag = 0x100;

/// Wakes the tracer's wait(2). Table lock is held.
void tell(Process& tracer, const Thread& thread, i32 code, i32 status) {
    const SignalAction& action = tracer.signals.actions[kSigChld];
    if ((action.flags & 1 /* SA_NOCLDSTOP */) == 0 || code <= 3) {
        SignalInfo info;
        info.signal = kSigChld;
        info.code = code;
        info.child.pid = thread.tid;
        info.child.uid = thread.process->credentials.uid;
        info.child.status = status;
        send_signal(tracer, info);
    }
    __atomic_add_fetch(&tracer.child_event_count, 1, __ATOMIC_SEQ_CST);
    tracer.child_events.wake(kPollIn);
}

/// Writes program memory that the program itself may not write: breakpoints.
bool poke(Process& process, u64 address, const void* data, usize size, bool visit) {
    if (copy_out(address, data, size).ok()) return true;
    if (visit) return false;
    u64 start = page_floor(address), end = page_ceil(address + size);
    u32 prot = process.space->protection_at(address);
    if (prot == 0) return false;
    if (g_gate->DkVirtualMemoryProtect(start, end - start, gate::kProtRead | gate::kProtWrite) != gate::Err::ok)
        return false;
    bool done = copy_out(address, data, size).ok();
    g_gate->DkVirtualMemoryProtect(start, end - start, prot);
    return done;
}

void answer_letter(Thread& thread, Tracing& tracing) {
    if (tracing.letter == TraceLetter::none) return;  // the last answer may not have been read yet
    tracing.error = 0;
    u32 size = tracing.size < sizeof tracing.data ? tracing.size : sizeof tracing.data;
    switch (tracing.letter) {
        case TraceLetter::none: return;
        case TraceLetter::ask: tracing.ask(thread, tracing.data); break;
        case TraceLetter::peek:
            if (copy_in_some(tracing.data, tracing.address, size) != size) tracing.error = 1;
            break;
        case TraceLetter::poke:
            if (!poke(*thread.process, tracing.address, tracing.data, size, tracing.visit != 0)) tracing.error = 1;
            break;
        // The vector state is live in the processor while the library OS runs.
        case TraceLetter::save_vectors: asm volatile("fxsave64 (%0)" ::"r"(tracing.data) : "memory"); break;
        case TraceLetter::load_vectors: {
            u32 control;
            memcpy(&control, tracing.data + 24, 4);
            control &= 0xffff;  // reserved bits of MXCSR would fault
            memcpy(tracing.data + 24, &control, 4);
            asm volatile("fxrstor64 (%0)" ::"r"(tracing.data) : "memory");
            break;
        }
    }
    tracing.letter = TraceLetter::none;
    __atomic_add_fetch(&tracing.answered, 1, __ATOMIC_SEQ_CST);
    u32 woken;
    g_gate->DkAddressWake(const_cast<u32*>(&tracing.answered), 1, gate::kAddressShared, nullptr, 0, 0, &woken);
}

bool has_work(const Thread& thread, const Tracing& tracing) {
    return tracing.command != TraceResume::none || tracing.letter != TraceLetter::none ||
           (thread.attention & kAttentionExit) != 0;
}

/// As park() of job control: on the thread's own word.
void sleep_for_letter(Thread& thread, Tracing& tracing) {
    __atomic_exchange_n(&thread.wake_word, 0, __ATOMIC_SEQ_CST);
    if (!has_work(thread, tracing)) {
        u32 awake = 0;
        if (__atomic_compare_exchange_n(&thread.wake_word, &awake, 2, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
            gate::Err error = g_gate->DkAddressWait(&thread.wake_word, 2, gate::kForever, gate::kAddressShared);
            if (error == gate::Err::interrupted) take_interrupts();
        }
    }
    __atomic_exchange_n(&thread.wake_word, 0, __ATOMIC_SEQ_CST);
}

/// After a stop: nobody traces any more.
void let_go(Thread& thread) {
    Tracing* tracing = thread.tracing;
    thread.tracing = nullptr;
    __atomic_sub_fetch(&thread.process->traced_threads, 1, __ATOMIC_SEQ_CST);
    arena::destroy(tracing);
}

}  // namespace

bool traced_by_parent(const Process& child) {
    if (child.traced_threads == 0 || child.parent == nullptr) return false;
    const Thread* leader = find_thread_locked(child.pid);
    return leader != nullptr && leader->tracing != nullptr && leader->tracing->tracer == child.parent;
}

bool may_trace_stop(const Thread& thread) { return thread.tracing != nullptr && thread.process->is_context == 0; }

u32 trace_stop(Thread& thread, gate::Frame& frame, TraceStop kind, u32 status, u64 message, const SignalInfo* info) {
    Tracing& tracing = *thread.tracing;
    g_watch_calls = true;
    const u64 fs_base = thread.fs_base;
    {
        Guard guard{process_table_lock()};
        if (tracing.tracer == nullptr) {
            let_go(thread);
            return info != nullptr ? static_cast<u32>(info->signal) : 0;
        }
        tracing.frame = frame;
        tracing.fs_base = fs_base;
        if (tracing.mode == TraceResume::single_step) tracing.frame.flags &= ~kTrapFlag;
        tracing.kind = kind;
        tracing.status = status;
        tracing.message = message;
        tracing.has_info = info != nullptr ? 1 : 0;
        if (info != nullptr) tracing.info = *info;
        tracing.deliver = 0;
        tracing.command = TraceResume::none;
        tracing.unreported = 1;
        tracing.stopped = 1;
        tell(*tracing.tracer, thread, 4 /* CLD_TRAPPED */, static_cast<i32>(status));
    }
    while (tracing.command == TraceResume::none && (thread.attention & kAttentionExit) == 0) {
        answer_letter(thread, tracing);
        sleep_for_letter(thread, tracing);
    }
    Guard guard{process_table_lock()};
    answer_letter(thread, tracing);
    tracing.stopped = 0;
    tracing.unreported = 0;
    frame = tracing.frame;
    if (tracing.fs_base != fs_base) {
        thread.fs_base = tracing.fs_base;
        g_gate->DkSegmentBaseSet(0, tracing.fs_base);
    }
    u32 deliver = tracing.deliver;
    tracing.mode = tracing.command;
    if (tracing.mode == TraceResume::single_step) frame.flags |= kTrapFlag;
    if (tracing.tracer == nullptr) let_go(thread);
    return deliver;
}

void answer_visitor(Thread& thread) {
    if (Tracing* letter = __atomic_exchange_n(&thread.visitor, nullptr, __ATOMIC_SEQ_CST))
        answer_letter(thread, *letter);
}

bool trace_signal(Thread& thread, gate::Frame& frame, SignalInfo& info) {
    if (!may_trace_stop(thread) || info.signal == kSigKill) return true;
    u32 signal = trace_stop(thread, frame, TraceStop::signal, static_cast<u32>(info.signal), 0, &info);
    if (signal == 0) return false;
    if (thread.tracing != nullptr && thread.tracing->info.signal == static_cast<i32>(signal))
        info = thread.tracing->info;
    if (static_cast<i32>(signal) != info.signal) {
        info = SignalInfo{};
        info.signal = static_cast<i32>(signal);
    }
    return true;
}

bool held_by_stop(const Thread& thread) {
    if (thread.process->state != ProcessState::stopped) return false;
    const Tracing* tracing = thread.tracing;
    return tracing == nullptr || tracing->passed_stop != thread.process->stop_count;
}

namespace {

/// PTRACE_LISTEN: until the process is continued, or the tracer wants something.
void listen(Thread& thread, Tracing& tracing) {
    auto idle = [&] {
        return thread.process->state == ProcessState::stopped && tracing.tracer != nullptr && tracing.interrupt == 0 &&
               (thread.attention & kAttentionExit) == 0;
    };
    while (idle()) {
        __atomic_exchange_n(&thread.wake_word, 0, __ATOMIC_SEQ_CST);
        u32 awake = 0;
        if (idle() &&
            __atomic_compare_exchange_n(&thread.wake_word, &awake, 2, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
            gate::Err error = g_gate->DkAddressWait(&thread.wake_word, 2, gate::kForever, gate::kAddressShared);
            if (error == gate::Err::interrupted) take_interrupts();
        }
    }
    __atomic_exchange_n(&thread.wake_word, 0, __ATOMIC_SEQ_CST);
    if (thread.process->state == ProcessState::stopped)
        tracing.reported_stop = 0;
    else
        tracing.interrupt = 1;  // that the stop is over is told as PTRACE_EVENT_STOP
    tracing.mode = TraceResume::go_on;
}

}  // namespace

void trace_group_stop(Thread& thread, gate::Frame& frame) {
    Tracing& tracing = *thread.tracing;
    const u32 stop = thread.process->stop_count;
    if (tracing.tracer != nullptr && tracing.mode == TraceResume::listen && tracing.reported_stop == stop)
        return listen(thread, tracing);
    tracing.reported_stop = stop;
    tracing.starting = 0;
    tracing.interrupt = 0;
    const bool seized = tracing.seized != 0;
    (void)trace_stop(thread, frame, seized ? TraceStop::event : TraceStop::group,
                     thread.process->stop_signal | (seized ? u32{kEventStop} << 8 : 0), 0, nullptr);
    if (thread.tracing != nullptr && thread.tracing->mode != TraceResume::listen) thread.tracing->passed_stop = stop;
}

void trace_attention(Thread& thread, gate::Frame& frame) {
    if (!may_trace_stop(thread)) return;
    Tracing& tracing = *thread.tracing;
    if (tracing.tracer == nullptr) {
        Guard guard{process_table_lock()};
        if (thread.tracing != nullptr && tracing.tracer == nullptr) let_go(thread);
        return;
    }
    bool seized_start = tracing.starting != 0 && tracing.seized != 0;
    if (!seized_start && tracing.interrupt == 0) return;
    tracing.starting = 0;
    tracing.interrupt = 0;
    (void)trace_stop(thread, frame, TraceStop::event, kSigTrap | kEventStop << 8, 0, nullptr);
}

void trace_event(Thread& thread, TraceEvent event, u64 message) {
    if (!may_trace_stop(thread)) return;
    static constexpr u32 kOptions[] = {0,          kTraceFork,      kTraceVfork, kTraceClone,
                                       kTraceExec, kTraceVforkDone, kTraceExit,  kTraceSeccomp};
    if ((thread.tracing->options & kOptions[event]) == 0) return;
    (void)trace_stop(thread, *gate::thread_control()->frame, TraceStop::event, kSigTrap | event << 8, message, nullptr);
}

void trace_exec(Thread& thread) {
    if (thread.tracing == nullptr) return;
    g_watch_calls = true;
    Tracing& tracing = *thread.tracing;
    if ((tracing.options & kTraceExec) != 0) return trace_event(thread, kEventExec, thread.tid);
    if (tracing.seized != 0) return;
    SignalInfo info;
    info.signal = kSigTrap;
    info.rt.pid = thread.process->pid;
    info.rt.uid = thread.process->credentials.uid;
    send_signal_to_thread(thread, info);
}

void trace_call_entry(Thread& thread, gate::Frame& frame) {
    if (!may_trace_stop(thread) || thread.tracing->mode != TraceResume::system_call) return;
    u32 good = (thread.tracing->options & kTraceSysGood) != 0 ? 0x80 : 0;
    u64 number = frame.rax;
    frame.rax = static_cast<u64>(-static_cast<i64>(Errno::nosys));
    u32 signal = trace_stop(thread, frame, TraceStop::call_entry, kSigTrap | good, 0, nullptr);
    frame.rax = number;
    if (signal != 0) {
        SignalInfo info;
        info.signal = static_cast<i32>(signal);
        send_signal_to_thread(thread, info);
    }
}

void trace_call_exit(Thread& thread, gate::Frame& frame) {
    if (!may_trace_stop(thread) || thread.tracing->mode != TraceResume::system_call) return;
    u32 good = (thread.tracing->options & kTraceSysGood) != 0 ? 0x80 : 0;
    u32 signal = trace_stop(thread, frame, TraceStop::call_exit, kSigTrap | good, 0, nullptr);
    if (signal != 0) {
        SignalInfo info;
        info.signal = static_cast<i32>(signal);
        send_signal_to_thread(thread, info);
    }
}

void trace_step(Thread& thread, gate::Frame& frame) {
    if (!may_trace_stop(thread) || thread.tracing->mode != TraceResume::single_step) return;
    SignalInfo info;
    info.signal = kSigTrap;
    info.code = 2;  // TRAP_TRACE
    info.fault.address = frame.rip;
    frame.flags &= ~kTrapFlag;
    force_signal(thread, info);
}

void trace_inherit(Thread& child, const Thread& parent, TraceEvent event) {
    if (parent.tracing == nullptr) return;
    Guard table_guard{process_table_lock()};
    const Tracing& from = *parent.tracing;
    u32 wanted = event == kEventFork ? kTraceFork : event == kEventVfork ? kTraceVfork : kTraceClone;
    if (from.tracer == nullptr || (from.options & wanted) == 0) return;
    auto made = arena::create<Tracing>();
    if (!made.ok()) return;
    Tracing& tracing = *made.value();
    tracing.tracer = from.tracer;
    tracing.options = from.options;
    tracing.seized = from.seized;
    tracing.starting = 1;
    child.tracing = &tracing;
    __atomic_add_fetch(&child.process->traced_threads, 1, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&from.tracer->tracees, 1, __ATOMIC_SEQ_CST);
    if (tracing.seized == 0) {
        SignalInfo info;
        info.signal = kSigStop;
        Guard guard{child.process->lock};
        (void)enqueue(child.signals.pending, *child.process, info);
    }
    __atomic_or_fetch(&child.attention, u32{kAttentionSignal}, __ATOMIC_SEQ_CST);
}

void trace_dropped(Thread& thread) {
    Tracing* tracing = thread.tracing;
    if (tracing == nullptr) return;
    thread.tracing = nullptr;
    __atomic_sub_fetch(&thread.process->traced_threads, 1, __ATOMIC_SEQ_CST);
    if (tracing->tracer != nullptr) __atomic_sub_fetch(&tracing->tracer->tracees, 1, __ATOMIC_SEQ_CST);
    arena::destroy(tracing);
}

void trace_thread_ended(Thread& thread, u32 status) {
    Tracing* tracing = thread.tracing;
    if (tracing == nullptr) return;
    thread.tracing = nullptr;
    Process* tracer = tracing->tracer;
    Process& process = *thread.process;
    __atomic_sub_fetch(&process.traced_threads, 1, __ATOMIC_SEQ_CST);
    if (tracer != nullptr) {
        __atomic_sub_fetch(&tracer->tracees, 1, __ATOMIC_SEQ_CST);
        // The end of a child's process is the parent's to hear in any case.
        if (process.parent != tracer || thread.tid != process.pid) {
            auto notice = arena::create<TraceNotice>();
            if (notice.ok()) {
                notice.value()->tid = thread.tid;
                notice.value()->status = status;
                notice.value()->next = nullptr;
                TraceNotice** at = &tracer->trace_notices;
                while (*at != nullptr) at = &(*at)->next;
                *at = notice.value();
                bool exited = (status & 0x7f) == 0;
                tell(*tracer, thread, exited ? 1 : 2, static_cast<i32>(exited ? status >> 8 : status & 0x7f));
            }
        }
    }
    arena::destroy(tracing);
}

void trace_tracer_ended(Process& tracer) {
    while (TraceNotice* notice = tracer.trace_notices) {
        tracer.trace_notices = notice->next;
        arena::destroy(notice);
    }
    if (tracer.tracees == 0) return;
    ProcessTable& table = process_table();
    for (Process* process = table.processes.front(); process != nullptr; process = table.processes.next(*process)) {
        if (process->traced_threads == 0) continue;
        for (Thread* thread = process->threads.front(); thread != nullptr; thread = process->threads.next(*thread)) {
            Tracing* tracing = thread->tracing;
            if (tracing == nullptr || tracing->tracer != &tracer) continue;
            bool kill = (tracing->options & kTraceExitKill) != 0;
            tracing->tracer = nullptr;
            tracing->command = TraceResume::go_on;
            if (kill) {
                SignalInfo info;
                info.signal = kSigKill;
                send_signal(*process, info);
            } else {
                notify_thread(*thread, kAttentionSignal);
            }
        }
    }
    tracer.tracees = 0;
}

TraceLook trace_look(Process& tracer, TraceMatch match, void* cookie, bool keep, TraceFound& found) {
    for (TraceNotice** at = &tracer.trace_notices; *at != nullptr; at = &(*at)->next) {
        TraceNotice* notice = *at;
        if (!match(nullptr, notice->tid, cookie)) continue;
        found.tid = notice->tid;
        found.status = notice->status;
        if (!keep) {
            *at = notice->next;
            arena::destroy(notice);
        }
        return TraceLook::found;
    }
    if (tracer.tracees == 0) return TraceLook::nothing;
    ProcessTable& table = process_table();
    TraceLook result = TraceLook::nothing;
    for (Process* process = table.processes.front(); process != nullptr; process = table.processes.next(*process)) {
        if (process->traced_threads == 0) continue;
        for (Thread* thread = process->threads.front(); thread != nullptr; thread = process->threads.next(*thread)) {
            Tracing* tracing = thread->tracing;
            if (tracing == nullptr || tracing->tracer != &tracer || !match(thread, thread->tid, cookie)) continue;
            result = TraceLook::some;
            if (tracing->stopped == 0 || tracing->unreported == 0) continue;
            if (!keep) tracing->unreported = 0;
            found.tid = thread->tid;
            found.status = tracing->status << 8 | 0x7f;
            found.uid = process->credentials.uid;
            return TraceLook::found;
        }
    }
    return result;
}

}  // namespace postern::libos
