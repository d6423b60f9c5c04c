// SPDX-License-Identifier: Apache-2.0
// Clocks, sleeps and interval timers.
#include "base/memory.hpp"
#include "libos/gate.hpp"
#include "libos/proc/observe.hpp"
#include "libos/process/process.hpp"
#include "libos/shared/wait.hpp"
#include "libos/syscall/table.hpp"
#include "libos/time/timers_state.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u64 kSecond = 1'000'000'000;
constexpr u64 kTick = 4'000'000;  // resolution of coarse clocks with HZ=250

/// Any Linux clock that can be read. Negative numbers are CPU clocks of processes and threads (clock_getcpuclockid):
/// ~pid in the upper bits, 4 for a thread.
Res<gate::Clock> readable_clock(Thread& thread, i32 clock) {
    using enum gate::Clock;
    switch (clock) {
        case 0:
        case 8: return realtime;
        case 1: return monotonic;
        case 2: return process_cpu;
        case 3: return thread_cpu;
        case 4: return monotonic_raw;
        case 5: return realtime_coarse;
        case 6: return monotonic_coarse;
        case 7:
        case 9: return boottime;
        case 11: return tai;
        default: break;
    }
    if (clock >= 0) return Failure{Errno::inval};
    u32 number = static_cast<u32>(~(clock >> 3));
    if ((clock & 3) == 3) return Failure{Errno::inval};  // a descriptor of a clock device
    if ((clock & 4) != 0) {
        if (number == 0 || number == thread.tid) return thread_cpu;
        return Failure{Errno::inval};
    }
    if (number == 0 || number == thread.process->pid) return process_cpu;
    return Failure{Errno::inval};
}

/// The CPU clock of another process, or of another thread of this one.
Res<u64> foreign_time(Thread& thread, i32 clock) {
    if (clock >= 0 || (clock & 3) == 3) return Failure{Errno::inval};
    return observe_cpu(thread, static_cast<u32>(~(clock >> 3)), (clock & 4) != 0);
}

Res<i64> sleep_until(Thread& thread, u64 deadline) {
    Blocker blocker{thread};
    for (;;) {
        blocker.prepare();
        if (monotonic_now() >= deadline) return 0;
        auto waited = blocker.wait(deadline);
        if (!waited.ok()) {
            if (waited.error() == Errno::timedout) return 0;
            return Failure{waited.error()};
        }
    }
}

Res<i64> sleep_rest(Thread& thread);

/// A relative sleep: what is left goes to `rest` (0: nowhere) when a signal ends it.
Res<i64> sleep_relative(Thread& thread, u64 deadline, u64 rest) {
    auto slept = sleep_until(thread, deadline);
    if (slept.ok()) return 0;
    if (slept.error() != Errno::restart_sys) return Failure{slept.error()};
    u64 now = monotonic_now();
    if (now >= deadline) return 0;
    if (rest != 0) TRY(write_user(rest, to_timespec(deadline - now)));
    thread.restart_data[0] = deadline;
    thread.restart_data[1] = rest;
    thread.restart = sleep_rest;
    return Failure{Errno::restart_block};
}

Res<i64> sleep_rest(Thread& thread) { return sleep_relative(thread, thread.restart_data[0], thread.restart_data[1]); }

struct IntervalSetting {  // struct itimerval
    TimeVal interval, value;
};

IntervalSetting interval_rest(u64 deadline, u64 interval, u64 now) {
    IntervalSetting setting{};
    setting.interval = to_timeval(interval);
    if (deadline != 0) {
        u64 left = deadline > now ? deadline - now : 0;
        setting.value = to_timeval(left < 1000 ? 1000 : left);  // armed: never zero
    }
    return setting;
}

Res<IntervalSetting> read_interval(Timers& timers, u32 which) {
    u64 deadline, interval, now;
    if (which > kItimerProf) return Failure{Errno::inval};
    now = which == kItimerReal ? monotonic_now() : clock_now(gate::Clock::process_cpu);
    Guard guard{timers.lock};
    if (which == kItimerReal) {
        deadline = timers.real.deadline, interval = timers.real_interval;
    } else {
        const IntervalTimer& timer = which == kItimerVirtual ? timers.virtual_timer : timers.profile_timer;
        deadline = timer.deadline, interval = timer.interval;
    }
    return interval_rest(deadline, interval, now);
}

void set_interval(Process& process, u32 which, u64 value, u64 interval) {
    Timers& timers = *process.timers;
    if (which == kItimerReal) {
        arm_real_timer(process, value == 0 ? 0 : monotonic_now() + value, interval);
        return;
    }
    u64 now = clock_now(gate::Clock::process_cpu);
    {
        Guard guard{timers.lock};
        IntervalTimer& timer = which == kItimerVirtual ? timers.virtual_timer : timers.profile_timer;
        timer.deadline = value == 0 ? 0 : now + value;
        timer.interval = interval;
    }
    if (which == kItimerVirtual)
        g_gate->DkTimerSet(gate::TimerKind::process_cpu_user, value);
    else
        program_cpu_timers(process);
}

}  // namespace

Res<gate::Clock> wall_clock(i32 clock) {
    using enum gate::Clock;
    switch (clock) {
        case 0:
        case 8: return realtime;
        case 1: return monotonic;
        case 7:
        case 9: return boottime;
        case 11: return tai;
        default: return Failure{Errno::inval};
    }
}

Res<u64> deadline_from(gate::Clock clock, u64 time, bool absolute) {
    u64 now = monotonic_now();
    if (!absolute) return now + time;
    if (clock == gate::Clock::monotonic) return time != 0 ? time : 1;
    u64 there = clock_now(clock);
    if (time > there) return now + (time - there);
    return now > there - time ? now - (there - time) : 1;  // how long ago counts for periodic timers
}

Res<i64> sys_clock_gettime(Thread& thread, Arguments arguments) {
    const i32 number = static_cast<i32>(arguments[0]);
    auto clock = readable_clock(thread, number);
    u64 now;
    if (clock.ok())
        now = clock_now(clock.value());
    else
        now = TRY(foreign_time(thread, number));
    TRY(write_user(arguments[1], to_timespec(now)));
    return 0;
}

Res<i64> sys_clock_getres(Thread& thread, Arguments arguments) {
    const i32 number = static_cast<i32>(arguments[0]);
    auto clock = readable_clock(thread, number);
    if (!clock.ok()) (void)TRY(foreign_time(thread, number));
    if (arguments[1] == 0) return 0;
    bool coarse =
        clock.ok() && (clock.value() == gate::Clock::realtime_coarse || clock.value() == gate::Clock::monotonic_coarse);
    TRY(write_user(arguments[1], to_timespec(coarse ? kTick : 1)));
    return 0;
}

Res<i64> sys_settime_denied(Thread&, Arguments) { return Failure{Errno::perm}; }

Res<i64> sys_gettimeofday(Thread&, Arguments arguments) {
    if (arguments[0] != 0) TRY(write_user(arguments[0], to_timeval(realtime_now())));
    if (arguments[1] != 0) TRY(zero_out(arguments[1], 8));  // struct timezone: UTC
    return 0;
}

Res<i64> sys_time(Thread&, Arguments arguments) {
    i64 seconds = static_cast<i64>(realtime_now() / kSecond);
    if (arguments[0] != 0) TRY(write_user(arguments[0], seconds));
    return seconds;
}

Res<i64> sys_nanosleep(Thread& thread, Arguments arguments) {
    auto request = TRY(read_user<TimeSpec>(arguments[0]));
    u64 time = TRY(to_nanoseconds(request));
    return sleep_relative(thread, monotonic_now() + time, arguments[1]);
}

Res<i64> sys_clock_nanosleep(Thread& thread, Arguments arguments) {
    const i32 number = static_cast<i32>(arguments[0]);
    if (number < 0 || number == 3 || number == 2 || (number >= 4 && number <= 6)) return Failure{Errno::opnotsupp};
    gate::Clock clock = TRY(wall_clock(number));
    auto request = TRY(read_user<TimeSpec>(arguments[2]));
    u64 time = TRY(to_nanoseconds(request));
    const bool absolute = (arguments[1] & 1) != 0;  // TIMER_ABSTIME
    u64 deadline = TRY(deadline_from(clock, time, absolute));
    if (!absolute) return sleep_relative(thread, deadline, arguments[3]);
    auto slept = sleep_until(thread, deadline);
    if (!slept.ok() && slept.error() == Errno::restart_sys) return Failure{Errno::restart_no_hand};
    return slept;
}

Res<i64> sys_getitimer(Thread& thread, Arguments arguments) {
    auto setting = TRY(read_interval(*thread.process->timers, static_cast<u32>(arguments[0])));
    TRY(write_user(arguments[1], setting));
    return 0;
}

Res<i64> sys_setitimer(Thread& thread, Arguments arguments) {
    const u32 which = static_cast<u32>(arguments[0]);
    u64 value = 0, interval = 0;
    if (which > kItimerProf) return Failure{Errno::inval};
    if (arguments[1] != 0) {
        auto setting = TRY(read_user<IntervalSetting>(arguments[1]));
        value = TRY(to_nanoseconds(setting.value));
        interval = TRY(to_nanoseconds(setting.interval));
    }
    auto old = TRY(read_interval(*thread.process->timers, which));
    set_interval(*thread.process, which, value, interval);
    if (arguments[2] != 0) TRY(write_user(arguments[2], old));
    return 0;
}

Res<i64> sys_alarm(Thread& thread, Arguments arguments) {
    Timers& timers = *thread.process->timers;
    const u64 seconds = static_cast<u32>(arguments[0]);
    u64 now = monotonic_now(), deadline;
    {
        Guard guard{timers.lock};
        deadline = timers.real.deadline;
    }
    u64 left = deadline > now ? deadline - now : 0;
    set_interval(*thread.process, kItimerReal, seconds * kSecond, 0);
    if (deadline == 0) return 0;
    u64 rounded = (left + kSecond / 2) / kSecond;  // alarm(2) never says 0 for an alarm that was pending
    return static_cast<i64>(rounded == 0 ? 1 : rounded);
}

namespace {

struct TimexHead {  // the part of struct timex that reading fills in; 208 bytes in all
    u32 modes, pad0;
    i64 offset, frequency, maximum_error, estimated_error;
    i32 status, pad1;
    i64 constant, precision, tolerance;
    TimeVal time;
    i64 tick;
    u8 rest[208 - 96];
};
static_assert(sizeof(TimexHead) == 208);

Res<i64> read_timex(u64 address) {
    auto timex = TRY(read_user<TimexHead>(address));
    if (timex.modes != 0 && timex.modes != 0xa001) return Failure{Errno::perm};  // ADJ_OFFSET_SS_READ reads
    u32 modes = timex.modes;
    memset(&timex, 0, sizeof timex);
    timex.modes = modes;
    timex.maximum_error = timex.estimated_error = 16'000'000;
    timex.status = 0x40;  // STA_UNSYNC: what the host's clock is worth is not told
    timex.precision = 1;
    timex.tolerance = 32768000;
    timex.time = to_timeval(realtime_now());
    timex.tick = 10000;
    TRY(write_user(address, timex));
    return 5;  // TIME_ERROR, as always with STA_UNSYNC
}

}  // namespace

Res<i64> sys_adjtimex(Thread&, Arguments arguments) { return read_timex(arguments[0]); }

Res<i64> sys_clock_adjtime(Thread&, Arguments arguments) {
    if (static_cast<i32>(arguments[0]) != 0) return Failure{Errno::opnotsupp};
    return read_timex(arguments[1]);
}

}  // namespace postern::libos
