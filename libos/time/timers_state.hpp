// SPDX-License-Identifier: Apache-2.0
// What struct Timers holds: see timers.hpp.
#pragma once

#include "libos/signal/state.hpp"
#include "libos/time/timers.hpp"

namespace postern::libos {

/// setitimer(2)'s three. Deadlines of REAL are on Clock::monotonic; the others count CPU time, and only the host
/// knows how far they are.
struct IntervalTimer {
    u64 deadline = 0;  ///< on its clock, 0: off
    u64 interval = 0;
};

/// Only a thread itself can read its CPU clock, everybody that of the process.
enum CpuClock : u32 { kNoCpuClock, kProcessCpuClock, kThreadCpuClock };

struct PosixTimer {
    ProcessTimer timer;
    u32 in_use = 0;
    i32 id = 0;
    i32 clock = 0;          ///< Linux number
    u32 cpu = kNoCpuClock;  ///< CpuClock it counts on: fired with the profiling timer
    u32 cpu_thread = 0;     ///< of a thread's clock: whose
    u64 cpu_seen = 0;       ///< that clock when its thread last looked
    u32 notify = 0;         ///< SIGEV_*
    u32 signal = 0;
    u64 value = 0;          ///< sigev_value
    u32 tid = 0;            ///< SIGEV_THREAD_ID
    u32 overrun = 0;        ///< of the last expiry that was delivered
    u32 serial = 0;         ///< of the setting: a signal of an earlier one does not arm it again
    u32 signal_queued = 0;  ///< periodic and not armed again before its signal is taken
    u64 interval = 0;
    u64 due = 0;  ///< on its clock (monotonic for wall clocks); 0: disarmed
    Process* process = nullptr;
};

enum IntervalKind : u32 { kItimerReal = 0, kItimerVirtual = 1, kItimerProf = 2 };
inline constexpr u32 kPosixTimerLimit = 256;

struct Timers {
    SharedLock lock;  ///< below a process's lock; not held while `expired` runs or signals are sent
    List<ProcessTimer, &ProcessTimer::link> armed;
    u64 host_deadline = 0;           ///< when the host's timer will interrupt, 0: off
    ProcessTimer* firing = nullptr;  ///< its `expired` is running
    ProcessTimer real;               ///< ITIMER_REAL and alarm
    u64 real_interval = 0;
    IntervalTimer virtual_timer, profile_timer;
    PosixTimer* posix[kPosixTimerLimit] = {};
};

void arm_real_timer(Process& process, u64 deadline, u64 interval);
/// A timer's signal was taken from its queue: `info` learns the overrun, and a periodic timer is armed again. The
/// process's lock is held.
void posix_timer_delivered(Process& process, SignalInfo& info);
/// POSIX timers on CPU clocks and RLIMIT_CPU: fires what is due and asks the host for the next profiling interrupt.
void cpu_timers_due(Process& process);
void program_cpu_timers(Process& process);  ///< after a CPU deadline or RLIMIT_CPU changed
u64 clock_now(gate::Clock clock);

}  // namespace postern::libos
