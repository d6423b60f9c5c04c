// SPDX-License-Identifier: Apache-2.0
// Timers of a process: alarm, interval timers, POSIX timers and timerfd, multiplexed onto the host's one timer.
#pragma once

#include "base/list.hpp"
#include "gate/types.hpp"
#include "libos/errno.hpp"
#include "libos/shared/lock.hpp"

namespace postern::libos {

struct Process;
struct Thread;
struct Timers;

Res<Timers*> create_timers();
void destroy_timers(Timers* timers);
/// Called for every interrupt with kExternalTimer / kExternalCpuTimer / kExternalProfileTimer: fires what is due and
/// sets the host's timer anew.
void run_due_timers(Process& process, u32 external);
/// exec deletes POSIX timers, keeps interval timers; fork starts with none (create_timers).
void timers_exec(Process& process);
/// Makes the calling thread look at the CPU timers of its process (another thread's interrupt cannot read its clock).
void cpu_clock_attention(Process& process);
/// In a forked child: RLIMIT_CPU is inherited, the host's timer is not.
void timers_forked(Process& process);

u64 monotonic_now();  ///< nanoseconds
u64 realtime_now();

struct TimeSpec {
    i64 seconds, nanoseconds;
};
struct TimeVal {
    i64 seconds, microseconds;
};
/// Errno::inval for negative or >= 1e9 nanoseconds; saturates far futures below kForever.
Res<u64> to_nanoseconds(const TimeSpec& time);
Res<u64> to_nanoseconds(const TimeVal& time);
TimeSpec to_timespec(u64 nanoseconds);
TimeVal to_timeval(u64 nanoseconds);

/// When a wait of so many nanoseconds from now ends: kPoll for none, kForever for those beyond all clocks.
gate::Deadline deadline_after(u64 nanoseconds);
/// The same for a call's optional `struct timespec`: null waits for ever. Errno::fault, Errno::inval.
Res<gate::Deadline> read_timeout(u64 user);

/// The gate's clock for a Linux clock number that can be waited on or armed, Errno::inval otherwise.
Res<gate::Clock> wall_clock(i32 clock);
/// A deadline on Clock::monotonic for `time` on `clock`: absolute, or that far from now.
Res<u64> deadline_from(gate::Clock clock, u64 time, bool absolute);

/// One armed deadline of the process that armed it (timerfd and POSIX timers). In the arena.
struct ProcessTimer {
    ListLink link;
    u64 deadline = 0;                                ///< Clock::monotonic, 0: off
    void (*expired)(ProcessTimer& timer) = nullptr;  ///< runs below a system call or interrupt; may re-arm
    u64 cookie = 0;
};
void arm_timer(Process& process, ProcessTimer& timer, u64 deadline);  ///< 0 disarms
/// Disarms, and waits until `expired` is not running on another thread: before a timer's memory is given back. The
/// caller holds no lock that `expired` takes.
void cancel_timer(Process& process, ProcessTimer& timer);

}  // namespace postern::libos
