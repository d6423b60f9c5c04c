// SPDX-License-Identifier: Apache-2.0
// ptrace(2) inside the family: what a thread that is traced does at its stops, and what its tracer is told.
//
// Picoprocesses cannot read each other's memory, so a stopped thread works for its tracer: it sleeps in the library OS
// with its registers laid open in the arena, and carries out what it finds in its letter box (peek, poke, vector state)
// until it is told to go on. Relations change under the process table's lock.
#pragma once

#include "gate/personality.hpp"
#include "libos/errno.hpp"
#include "libos/signal/state.hpp"

namespace postern::libos {

struct Thread;
struct Process;

enum TraceOption : u32 {
    kTraceSysGood = 1,
    kTraceFork = 2,
    kTraceVfork = 4,
    kTraceClone = 8,
    kTraceExec = 0x10,
    kTraceVforkDone = 0x20,
    kTraceExit = 0x40,
    kTraceSeccomp = 0x80,
    kTraceExitKill = 0x100000,
    kTraceOptions = kTraceSysGood | kTraceFork | kTraceVfork | kTraceClone | kTraceExec | kTraceVforkDone | kTraceExit |
                    kTraceSeccomp | kTraceExitKill,
};
enum TraceEvent : u32 {
    kEventNone = 0,
    kEventFork = 1,
    kEventVfork = 2,
    kEventClone = 3,
    kEventExec = 4,
    kEventVforkDone = 5,
    kEventExit = 6,
    kEventSeccomp = 7,
    kEventStop = 128,
};
enum class TraceResume : u32 { none, go_on, system_call, single_step, listen };
enum class TraceStop : u32 { none, signal, call_entry, call_exit, event, group };
/// What the letter box asks for.
enum class TraceLetter : u32 { none, peek, poke, save_vectors, load_vectors, ask };

/// In the arena, one for each traced thread.
struct Tracing {
    Process* tracer = nullptr;  ///< null: the tracer has gone or lets go; table lock
    u32 options = 0;
    u32 seized = 0;
    volatile u32 stopped = 0;
    u32 unreported = 0;  ///< the stop was not waited for yet
    u32 status = 0;      ///< of the stop: signal | event << 8
    TraceStop kind = TraceStop::none;
    u64 message = 0;  ///< PTRACE_GETEVENTMSG
    SignalInfo info;  ///< of the signal that stopped it
    u32 has_info = 0;
    volatile TraceResume command = TraceResume::none;  ///< how to go on
    TraceResume mode = TraceResume::go_on;             ///< how it went on last
    u32 deliver = 0;                                   ///< signal to go on with
    u32 visit = 0;          ///< only a letter: the thread runs, and the program's own rights to its memory count
    u32 interrupt = 0;      ///< PTRACE_INTERRUPT is owed
    u32 reported_stop = 0;  ///< Process::stop_count that the tracer was told of
    u32 passed_stop = 0;    ///< the one in spite of which the thread may run
    u32 starting = 0;       ///< a child that is traced from its start: its first stop has not been
    gate::Frame frame;      ///< valid while stopped
    u64 fs_base = 0;
    volatile TraceLetter letter = TraceLetter::none;
    volatile u32 answered = 0;  ///< futex word: counts answers
    u64 address = 0;
    void (*ask)(Thread& thread, void* data) = nullptr;  ///< of `ask`: every member runs the same image
    u32 error = 0;
    u32 size = 0;
    alignas(16) u8 data[1024];
};

/// Does a stop of the process (job control) hold the thread?
bool held_by_stop(const Thread& thread);

/// A thread whose end its tracer is to hear of and is no child of his.
struct TraceNotice {
    TraceNotice* next;
    u32 tid, status;
};

/// Is the thread traced, and may it stop here? A vfork context may not: it would stop its parent.
bool may_trace_stop(const Thread& thread);

/// Stops until the tracer lets the thread go on. `frame` is what the tracer sees and changes. The signal to go on with;
/// 0: none.
u32 trace_stop(Thread& thread, gate::Frame& frame, TraceStop kind, u32 status, u64 message, const SignalInfo* info);
/// In the way out, before a signal is acted on. False: it is not to be delivered. May replace it.
bool trace_signal(Thread& thread, gate::Frame& frame, SignalInfo& info);
/// In the way out, while held_by_stop(): tells the tracer, or waits after PTRACE_LISTEN.
void trace_group_stop(Thread& thread, gate::Frame& frame);
/// In the way out: stops that the thread owes (PTRACE_INTERRUPT, its start).
void trace_attention(Thread& thread, gate::Frame& frame);
/// PTRACE_EVENT_*, if it is wanted.
void trace_event(Thread& thread, TraceEvent event, u64 message);
/// A successful execve(2).
void trace_exec(Thread& thread);
/// Before and after a system call, when these are wanted.
void trace_call_entry(Thread& thread, gate::Frame& frame);
void trace_call_exit(Thread& thread, gate::Frame& frame);
/// After a call, when single steps are wanted: the processor's trap is lost inside.
void trace_step(Thread& thread, gate::Frame& frame);

/// On every interruption: answers a letter that came without a stop.
void answer_visitor(Thread& thread);

/// fork: the child, not in the table yet, is traced too if its parent's tracer wants that. `event`: how it was made.
void trace_inherit(Thread& child, const Thread& parent, TraceEvent event);
/// The thread never ran (table lock held): nobody hears of it.
void trace_dropped(Thread& thread);
/// The thread leaves the table (table lock held). `status` as for wait(2).
void trace_thread_ended(Thread& thread, u32 status);
/// The process ends: what it traces is let go.
void trace_tracer_ended(Process& process);

/// For wait(2): a stop or an end among what `process` traces. `visit` decides whether a number is meant.
struct TraceFound {
    u32 tid = 0, status = 0;  ///< wait(2) encoding
    u32 uid = 0;
};
enum class TraceLook { nothing, found, some };  ///< some: there are tracees, without news
using TraceMatch = bool (*)(const Thread* thread, u32 tid, void* cookie);
TraceLook trace_look(Process& process, TraceMatch match, void* cookie, bool keep, TraceFound& found);

}  // namespace postern::libos
