// SPDX-License-Identifier: Apache-2.0
// Processes and threads of the family. Both live in the arena, so that every member can find, signal and wait for
// every other; what belongs to one address space (its map of memory) hangs off by private pointer.
//
// Numbers are the family's own: 1 is the library OS's reaper of orphans (no picoprocess), 2 the first program.
#pragma once

#include "base/list.hpp"
#include "libos/errno.hpp"
#include "libos/shared/lock.hpp"
#include "libos/shared/wait.hpp"
#include "libos/signal/state.hpp"

namespace postern::libos {

class Space;       // memory/space.hpp (private heap)
class FdTable;     // fs/fd_table.hpp (arena)
struct FsContext;  // fs/context.hpp (arena): root, working directory, umask
struct Timers;     // time/timers.hpp (arena)
struct Process;
struct PidHandle;  // process/pidfd.hpp (arena)

/// Bits of Credentials::securebits (capabilities(7)).
inline constexpr u32 kNoSetuidFixup = 1 << 2, kKeepCapabilities = 1 << 4;

struct Credentials {
    u32 uid, euid, suid, fsuid;
    u32 gid, egid, sgid, fsgid;
    u32 group_count;
    u32 groups[32];
    u64 capabilities_effective, capabilities_permitted, capabilities_inheritable, capabilities_bounding,
        capabilities_ambient;
    u32 securebits;
};

enum class BlockMode : u32 { running, on_word, on_streams };

/// Bits of Thread::attention: what a thread has to do before it may block or return to the program.
enum Attention : u32 {
    kAttentionSignal = 1,    ///< signals may have become deliverable
    kAttentionStop = 2,      ///< the process is stopped (job control)
    kAttentionCpuClock = 8,  ///< CPU timers on its own clock may be due
    kAttentionNoted = 16,    ///< Thread::noted_signals are to be sent
    kAttentionExit = 4,      ///< the process ends, or another thread executes a new program
};

/// What the end of a process has to give back beyond what every process has.
enum ProcessUse : u32 {
    kUsesUndo = 1,      ///< System V semaphores to adjust
    kUsesSegments = 2,  ///< System V segments attached
    kUsesWaits = 4,     ///< its threads have slept in System V calls
    kUsesAio = 8,
    kUsesNotification = 16,  ///< mq_notify
};
struct VforkReturn;
struct LibOsStack;
struct RecentCalls;
struct Tracing;
struct TraceNotice;
struct Thread;
using RestartFunction = Res<i64> (*)(Thread& thread);

struct Thread {
    ListLink in_process;
    Process* process = nullptr;
    u32 tid = 0;
    u32 host_id = 0;  ///< owner number in SharedLocks
    gate::ThreadToken token;
    gate::ThreadControl* control = nullptr;  ///< valid in the thread's own picoprocess only

    u32 wake_word = 0;
    volatile BlockMode block_mode = BlockMode::running;
    WaitEntry wait_entry;  ///< for the common single wait
    u32 wait_entry_used = 0;

    SignalState signals;            ///< mask, pending, alternate stack
    volatile u32 stop_request = 0;  ///< StopReason: exit this thread, park for exec, ...
    u32 clear_child_tid_set = 0;
    u64 clear_child_tid = 0;  ///< user address: zeroed and woken at exit
    u64 robust_list = 0, robust_list_size = 0;
    u64 fs_base = 0;
    char name[16] = {};
    u64 restart_data[4] = {};           ///< for restart_syscall
    u64 stack_low = 0, stack_size = 0;  ///< library-OS stack (private heap pages)
    u32 exit_word = 0;                  ///< cleared by the host when the stack is free
    Process* vfork_parent = nullptr;    ///< the process context to return to (vfork on the parent's own thread)

    volatile u32 attention = 0;           ///< Attention bits, set by anybody, cleared by the thread itself
    u32 exit_pending = 0;                 ///< exit_thread has begun
    Thread* next_in_bucket = nullptr;     ///< number table
    RestartFunction restart = nullptr;    ///< set with restart_data before answering Errno::restart_block
    LibOsStack* stack = nullptr;          ///< private heap; null for the first thread of a picoprocess's line
    VforkReturn* vfork_return = nullptr;  ///< private heap; of a vfork context: how to go back
    WaitEntry* more_entries = nullptr;    ///< arena; wait entries beyond the embedded one, in use
    u64 waiting_mask = 0;                 ///< sigtimedwait: signals waited for
    u64 fault_trap = 0, fault_error = 0, fault_address = 0;  ///< last fault, as signal frames show it
    u64 affinity = ~0ull;
    i32 nice = 0;
    u32 scheduler = 0;           ///< SCHED_*
    u32 real_time_priority = 0;  ///< of FIFO and RR
    u32 reset_on_fork = 0;       ///< SCHED_RESET_ON_FORK
    u64 deadline[3] = {};        ///< of DEADLINE: runtime, deadline, period
    u32 io_priority = 0;         ///< ioprio_set(2)
    u32 timer_slack = 50000, default_timer_slack = 50000;
    Tracing* tracing = nullptr;  ///< arena; ptrace/tracing.hpp: somebody traces the thread
    Tracing* visitor = nullptr;  ///< arena; a letter for a thread that runs: it looks when it is interrupted
    struct VectorWaiter* vector_waiter = nullptr;      ///< arena; the futex_waitv(2) that it sleeps in
    u32 seccomp_mode = 0;                              ///< process/seccomp.hpp
    struct SeccompProgram* seccomp_filters = nullptr;  ///< arena; the last one set
    struct NotedSignal* noted_signals = nullptr;       ///< private heap; ipc/async.hpp
    RecentCalls* recent_calls = nullptr;  ///< private heap; for the report of a crash, where that is asked for
};

/// What waited-for children used, as far as the host has been asked; see usage.hpp.
struct ChildrenUsage {
    static constexpr u32 kMost = 24;
    gate::MembersUsage known = {};
    u32 unasked[kMost] = {};  ///< host numbers
    u32 count = 0;
};

enum class ProcessState : u32 { free, starting, running, stopped, zombie, reaped };

struct Process {
    ListLink in_table, in_parent;
    u32 pid = 0;
    u32 pgid = 0, sid = 0;
    Process* parent = nullptr;
    volatile ProcessState state = ProcessState::free;
    u32 host_id = 0;       ///< as in the host's list of deaths; 0 for a vfork context
    u32 exit_status = 0;   ///< wait(2) encoding
    u32 wait_flags = 0;    ///< stopped/continued not yet reported
    u32 exit_signal = 17;  ///< SIGCHLD
    u32 exit_code_host = 0;
    SharedLock lock;  ///< threads, children, signal queues. Order: table lock, parent, child
    List<Thread, &Thread::in_process> threads;
    u32 thread_count = 0;
    List<Process, &Process::in_parent> children;
    WaitQueue child_events;  ///< wait4 sleeps here
    WaitQueue vfork_done;
    u32 vfork_pending = 0;
    ProcessSignals signals;  ///< actions, shared pending
    Credentials credentials;
    FdTable* files = nullptr;
    FsContext* fs = nullptr;
    Timers* timers = nullptr;
    Space* space = nullptr;                              ///< private pointer, meaningful in its own picoprocess
    u64 limits[16][2] = {};                              ///< RLIMIT_*: soft, hard
    u64 cpu_user_children = 0, cpu_system_children = 0;  ///< nanoseconds
    u64 start_time = 0;                                  ///< Clock::monotonic
    static constexpr u32 kAuxiliaryWords = 64;
    u64 auxiliary[kAuxiliaryWords] = {};  ///< the auxiliary vector as the program got it: /proc/PID/auxv
    u32 auxiliary_count = 0;              ///< words of it
    u64 start_stack = 0;                  ///< where the program found its argument count: /proc/PID/auxv lies above
    u32 dumpable = 1, no_new_privileges = 0, child_subreaper = 0, parent_death_signal = 0;
    u32 personality = 0;
    u32 did_exec = 0;
    char executable[4096] = {};    ///< canonical path, for /proc/PID/exe
    char* command_line = nullptr;  ///< arena: NUL-separated, for /proc/PID/cmdline
    u32 command_line_size = 0;
    char* environment = nullptr;
    u32 environment_size = 0;

    Process* next_in_bucket = nullptr;   ///< number table
    u32 exiting = 0;                     ///< exit_status is decided: all threads end
    u32 exec_pending = 0;                ///< a thread waits in become_single_threaded for the others to end
    WaitQueue thread_events;             ///< that one sleeps here
    volatile u32 child_event_count = 0;  ///< counts changes of children's states
    WaitQueue signal_events;             ///< woken for every signal queued: signalfd waits here
    u32 continued_unreported = 0;        ///< the parent is owed a SIGCHLD with CLD_CONTINUED
    u32 stop_signal = 0;
    u32 stop_count = 0;      ///< stops so far: tracers let threads go on in spite of one
    u32 queued_signals = 0;  ///< against RLIMIT_SIGPENDING
    u32 carrier_id = 0;      ///< host number of the picoprocess that runs it; differs from host_id for vfork
    u32 forker_id = 0;       ///< host number of the picoprocess that forks it, until it runs
    u32 is_context = 0;      ///< a vfork context: shares its picoprocess with its parent
    u64 cpu_time = 0;        ///< nanoseconds, final, once a zombie
    u64 io_reserved[4] = {};
    u32 traced_threads = 0;                ///< threads of this process that somebody traces
    u32 tracees = 0;                       ///< threads that this process traces
    TraceNotice* trace_notices = nullptr;  ///< ends of tracees that are no children, to be waited for; table lock
    u64 terminal = 0;                      ///< controlling terminal: Terminal::id, 0 or stale: none (tty/terminal.hpp)
    u32 terminal_old_group = 0;            ///< of a session leader whose terminal hung up: its last foreground group
    PidHandle* pid_handle = nullptr;       ///< what pidfds of it refer to; null: it has none
    u32 barriers = 0;                      ///< what was registered with membarrier(2)
    u32 uses = 0;                          ///< ProcessUse bits
    i32 oom_score_adjustment = 0;          ///< /proc/PID/oom_score_adj: stored only
    u32 last_host_id = 0;                  ///< of a zombie that had a picoprocess of its own
    ChildrenUsage children_usage;          ///< of those that were waited for; table lock
};

/// From `expected` to `wanted` in one step. False: the state is another one, which `expected` then tells.
inline bool change_state(Process& process, ProcessState& expected, ProcessState wanted) {
    u32 old = static_cast<u32>(expected);
    bool done = __atomic_compare_exchange_n(reinterpret_cast<volatile u32*>(&process.state), &old,
                                            static_cast<u32>(wanted), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    expected = static_cast<ProcessState>(old);
    return done;
}

/// A vfork context's handles are its parent's own: closing the last descriptor closes no handle.
inline bool shares_picoprocess(const Process& process) { return process.is_context != 0; }

/// First picoprocess, from LibOsInitialize after arena::initialize: process 2 with its thread, tables and streams.
Res<Process*> create_first_process(const gate::LibOsParameters& parameters);
/// Ends `process` (of the calling picoprocess or not) as if by SIGKILL; used for host-killed members.
void collect_deaths();

inline Thread& current_thread() { return *static_cast<Thread*>(gate::thread_control()->context); }
inline Process& current_process() { return *current_thread().process; }

/// Looks up by number; null when there is none. Valid while the caller holds the table lock, or for its own relatives.
Process* find_process(u32 pid);
Thread* find_thread(u32 tid);
SharedLock& process_table_lock();
/// Calls `visit(process)` for each process that is not free, with the table locked.
void for_each_process(void (*visit)(Process&, void*), void* cookie);

/// Ends the calling thread's whole process: `status` in wait(2) encoding. Never returns.
[[noreturn]] void exit_process(u32 status);
/// Ends the calling thread only (the last one ends the process with `status`).
[[noreturn]] void exit_thread(u32 status);
/// exec: stops and removes all other threads of the calling process; the caller becomes the leader.
Res<void> become_single_threaded(Thread& thread);

/// Has the thread anything to do before it may block or return to the program?
bool interrupted(const Thread& thread);

}  // namespace postern::libos
