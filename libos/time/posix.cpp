// SPDX-License-Identifier: Apache-2.0
// POSIX timers: timer_create(2) and its siblings.
#include "libos/gate.hpp"
#include "libos/process/process.hpp"
#include "libos/shared/arena.hpp"
#include "libos/syscall/table.hpp"
#include "libos/time/timers_state.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

enum : u32 { kSigevSignal = 0, kSigevNone = 1, kSigevThread = 2, kSigevThreadId = 4 };
constexpr i32 kSiTimer = -2;
constexpr i32 kClockProcessCpu = 2;

struct SignalEvent {  // struct sigevent: 64 bytes
    u64 value;
    i32 signal;
    i32 notify;
    i32 tid;
    u8 padding[44];
};
static_assert(sizeof(SignalEvent) == 64);

struct TimerSetting {  // struct itimerspec
    TimeSpec interval, value;
};

/// How many whole periods went by since `deadline`.
u32 missed(u64 now, u64 deadline, u64 interval) {
    if (interval == 0 || now <= deadline) return 0;
    u64 count = (now - deadline) / interval;
    return count > 0x7fffffff ? 0x7fffffff : static_cast<u32>(count);
}

void notify(PosixTimer& timer) {
    if (timer.notify == kSigevNone) return;
    SignalInfo info;
    info.signal = static_cast<i32>(timer.signal);
    info.code = kSiTimer;
    info.timer.timer = timer.id;
    info.timer.overrun = static_cast<i32>(timer.overrun);
    info.timer.value = timer.value;
    if (timer.notify != kSigevThreadId) return send_signal(*timer.process, info);
    // The thread may have ended since: then the signal has nowhere to go, as on Linux.
    Thread* target = nullptr;
    {
        Guard guard{timer.process->lock};
        for (Thread* thread = timer.process->threads.front(); thread != nullptr;
             thread = timer.process->threads.next(*thread))
            if (thread->tid == timer.tid) target = thread;
    }
    if (target != nullptr) send_signal_to_thread(*target, info);
}

void posix_expired(ProcessTimer& base) {
    auto& timer = *reinterpret_cast<PosixTimer*>(base.cookie);
    u64 now = monotonic_now(), due = base.deadline, interval = timer.interval;
    timer.overrun = missed(now, due, interval);
    notify(timer);
    if (interval != 0) arm_timer(*timer.process, base, due + (u64{timer.overrun} + 1) * interval);
}

/// With the lock held: the earliest deadline on the process's CPU clock.
u64 earliest_cpu(const Timers& timers) {
    u64 earliest = timers.profile_timer.deadline;
    for (const PosixTimer* timer : timers.posix)
        if (timer != nullptr && timer->cpu != 0 && timer->cpu_deadline != 0 &&
            (earliest == 0 || timer->cpu_deadline < earliest))
            earliest = timer->cpu_deadline;
    return earliest;
}

void program_cpu_host(Timers& timers, u64 now) {
    u64 earliest;
    {
        Guard guard{timers.lock};
        earliest = earliest_cpu(timers);
    }
    g_gate->DkTimerSet(gate::TimerKind::process_cpu, earliest == 0 ? 0 : earliest > now ? earliest - now : 1);
}

Res<PosixTimer*> find_timer(Process& process, u64 id) {
    if (process.timers == nullptr || id >= kPosixTimerLimit) return Failure{Errno::inval};
    PosixTimer* timer = process.timers->posix[id];
    if (timer == nullptr) return Failure{Errno::inval};
    return timer;
}

TimerSetting remaining(const PosixTimer& timer) {
    TimerSetting setting{};
    setting.interval = to_timespec(timer.interval);
    u64 deadline = timer.cpu != 0 ? timer.cpu_deadline : timer.timer.deadline;
    if (deadline != 0) {
        u64 now = timer.cpu != 0 ? clock_now(gate::Clock::process_cpu) : monotonic_now();
        setting.value = to_timespec(deadline > now ? deadline - now : 1);
    }
    return setting;
}

void remove_timer(Process& process, PosixTimer& timer) {
    Timers& timers = *process.timers;
    {
        Guard guard{timers.lock};
        timers.posix[timer.id] = nullptr;
    }
    cancel_timer(process, timer.timer);
    arena::destroy(&timer);
}

}  // namespace

void cpu_timers_due(Process& process) {
    Timers& timers = *process.timers;
    u64 now = clock_now(gate::Clock::process_cpu);
    for (PosixTimer* timer : timers.posix) {
        if (timer == nullptr || timer->cpu == 0 || timer->cpu_deadline == 0 || timer->cpu_deadline > now) continue;
        timer->overrun = missed(now, timer->cpu_deadline, timer->interval);
        timer->cpu_deadline =
            timer->interval == 0 ? 0 : timer->cpu_deadline + (u64{timer->overrun} + 1) * timer->interval;
        notify(*timer);
    }
    program_cpu_host(timers, now);
}

void timers_exec(Process& process) {
    if (process.timers == nullptr) return;
    for (PosixTimer* timer : process.timers->posix)
        if (timer != nullptr) remove_timer(process, *timer);
}

Res<i64> sys_timer_create(Thread& thread, Arguments arguments) {
    const i32 clock = static_cast<i32>(arguments[0]);
    Process& process = *thread.process;
    SignalEvent event{};
    bool given = arguments[1] != 0;
    if (given) event = TRY(read_user<SignalEvent>(arguments[1]));
    bool cpu = clock == kClockProcessCpu;
    if (!cpu) TRY(wall_clock(clock));
    u32 kind = given ? static_cast<u32>(event.notify) : kSigevSignal;
    u32 signal = given ? static_cast<u32>(event.signal) : static_cast<u32>(kSigAlrm);
    if (kind != kSigevSignal && kind != kSigevNone && kind != kSigevThreadId && kind != kSigevThread)
        return Failure{Errno::inval};
    if (kind != kSigevNone && (signal == 0 || signal > kSignalCount)) return Failure{Errno::inval};
    if (kind == kSigevThreadId) {
        bool found = false;
        Guard guard{process.lock};
        for (Thread* other = process.threads.front(); other != nullptr; other = process.threads.next(*other))
            found = found || other->tid == static_cast<u32>(event.tid);
        if (!found) return Failure{Errno::inval};
    }
    PosixTimer* timer = TRY(arena::create<PosixTimer>());
    timer->clock = clock;
    timer->cpu = cpu;
    timer->notify = kind;
    timer->signal = signal;
    timer->tid = static_cast<u32>(event.tid);
    timer->process = &process;
    timer->timer.expired = posix_expired;
    timer->timer.cookie = reinterpret_cast<u64>(timer);
    Timers& timers = *process.timers;
    i32 id = -1;
    {
        Guard guard{timers.lock};
        for (u32 i = 0; i < kPosixTimerLimit && id < 0; ++i)
            if (timers.posix[i] == nullptr) id = static_cast<i32>(i);
        if (id >= 0) {
            timer->id = id;
            timer->value = given ? event.value : static_cast<u64>(id);
            timers.posix[id] = timer;
        }
    }
    if (id < 0) {
        arena::destroy(timer);
        return Failure{Errno::again};
    }
    auto written = write_user(arguments[2], id);
    if (!written.ok()) {
        remove_timer(process, *timer);
        return Failure{written.error()};
    }
    return 0;
}

Res<i64> sys_timer_settime(Thread& thread, Arguments arguments) {
    Process& process = *thread.process;
    if (arguments[2] == 0) return Failure{Errno::inval};
    auto setting = TRY(read_user<TimerSetting>(arguments[2]));
    u64 value = TRY(to_nanoseconds(setting.value));
    u64 interval = TRY(to_nanoseconds(setting.interval));
    PosixTimer& timer = *TRY(find_timer(process, static_cast<u32>(arguments[0])));
    const bool absolute = (arguments[1] & 1) != 0;
    TimerSetting old = remaining(timer);
    timer.overrun = 0;
    timer.interval = interval;
    if (timer.cpu != 0) {
        u64 now = clock_now(gate::Clock::process_cpu);
        timer.cpu_deadline = value == 0 ? 0 : absolute ? value : now + value;
        program_cpu_host(*process.timers, now);
    } else {
        u64 deadline = 0;
        if (value != 0) deadline = TRY(deadline_from(TRY(wall_clock(timer.clock)), value, absolute));
        arm_timer(process, timer.timer, deadline);
    }
    if (arguments[3] != 0) TRY(write_user(arguments[3], old));
    return 0;
}

Res<i64> sys_timer_gettime(Thread& thread, Arguments arguments) {
    PosixTimer& timer = *TRY(find_timer(*thread.process, static_cast<u32>(arguments[0])));
    TRY(write_user(arguments[1], remaining(timer)));
    return 0;
}

Res<i64> sys_timer_getoverrun(Thread& thread, Arguments arguments) {
    PosixTimer& timer = *TRY(find_timer(*thread.process, static_cast<u32>(arguments[0])));
    return timer.overrun;
}

Res<i64> sys_timer_delete(Thread& thread, Arguments arguments) {
    PosixTimer& timer = *TRY(find_timer(*thread.process, static_cast<u32>(arguments[0])));
    bool cpu = timer.cpu != 0;
    remove_timer(*thread.process, timer);
    if (cpu) program_cpu_host(*thread.process->timers, clock_now(gate::Clock::process_cpu));
    return 0;
}

void program_cpu_timers(Process& process) {
    program_cpu_host(*process.timers, clock_now(gate::Clock::process_cpu));
}

}  // namespace postern::libos
