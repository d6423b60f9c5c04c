// SPDX-License-Identifier: Apache-2.0
// POSIX timers: timer_create(2) and its siblings.
#include "libos/gate.hpp"
#include "libos/process/process.hpp"
#include "libos/shared/arena.hpp"
#include "libos/signal/queue.hpp"
#include "libos/syscall/table.hpp"
#include "libos/time/timers_state.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

enum : u32 { kSigevSignal = 0, kSigevNone = 1, kSigevThread = 2, kSigevThreadId = 4 };
constexpr i32 kSiTimer = -2;
constexpr i32 kClockProcessCpu = 2, kClockThreadCpu = 3;

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

/// How many whole periods went by since `due`.
u64 missed(u64 now, u64 due, u64 interval) { return interval == 0 || now <= due ? 0 : (now - due) / interval; }
u32 capped(u64 count) { return count > 0x7fffffff ? 0x7fffffff : static_cast<u32>(count); }

bool own_clock(const PosixTimer& timer) {
    return timer.cpu != kThreadCpuClock || timer.cpu_thread == current_thread().tid;
}

/// The timer's clock; of another thread's CPU clock what that thread saw last.
u64 timer_now(PosixTimer& timer) {
    if (timer.cpu == kNoCpuClock) return monotonic_now();
    if (timer.cpu == kProcessCpuClock) return clock_now(gate::Clock::process_cpu);
    if (own_clock(timer)) timer.cpu_seen = clock_now(gate::Clock::thread_cpu);
    return timer.cpu_seen;
}

/// Queues the timer's signal. False: it went nowhere (no signal wanted, ignored, its thread is gone).
bool notify(PosixTimer& timer) {
    if (timer.notify == kSigevNone) return false;
    SignalInfo info;
    info.signal = static_cast<i32>(timer.signal);
    info.code = kSiTimer;
    info.timer.timer = timer.id;
    info.timer.value = timer.value;
    info.timer.serial = timer.serial;
    Thread* target = nullptr;
    if (timer.notify == kSigevThreadId) {
        Guard guard{timer.process->lock};
        for (Thread* thread = timer.process->threads.front(); thread != nullptr;
             thread = timer.process->threads.next(*thread))
            if (thread->tid == timer.tid) target = thread;
        if (target == nullptr) return false;
    }
    if (signal_ignored(*timer.process, target, timer.signal)) return false;
    return queue_signal(*timer.process, target, info).ok();
}

void arm(PosixTimer& timer) {
    if (timer.cpu != kNoCpuClock) return program_cpu_timers(*timer.process);
    arm_timer(*timer.process, timer.timer, timer.due);
}

/// A periodic timer leaves the program this long between two signals: what comes due meanwhile is overrun.
constexpr u64 kBreath = 50'000;

/// The timer's due time has come. Periodic ones are armed again when their signal is taken, as Linux does: a period too
/// short to handle costs overruns and not the processor.
void expire(PosixTimer& timer, u64 now) {
    const u64 due = timer.due;
    timer.signal_queued = timer.interval != 0;
    if (timer.interval == 0) timer.due = 0;
    if (notify(timer) || timer.interval == 0) return;
    constexpr u64 kShortest = 4'000'000;  // nobody listens: no oftener than a tick
    timer.signal_queued = 0;
    u64 step = timer.interval;
    if (step < kShortest) step *= kShortest / step;
    timer.due = due + (missed(now, due, step) + 1) * step;
    if (timer.cpu == kNoCpuClock) arm_timer(*timer.process, timer.timer, timer.due);
}

void posix_expired(ProcessTimer& base) {
    auto& timer = *reinterpret_cast<PosixTimer*>(base.cookie);
    expire(timer, monotonic_now());
}

constexpr u64 kSecond = 1'000'000'000;
constexpr u64 kUnlimited = ~0ull;

/// CPU time until something is due; 0: nothing is armed.
u64 cpu_time_left(Process& process, u64 now) {
    constexpr u64 kUnseen = 10'000'000;  // a clock that this thread cannot read is looked at that often
    Timers& timers = *process.timers;
    u64 left = 0;
    auto consider = [&left](u64 due, u64 at, u64 least) {
        u64 rest = due > at ? due - at : 1;
        if (rest < least) rest = least;
        if (left == 0 || rest < left) left = rest;
    };
    Guard guard{timers.lock};
    if (timers.profile_timer.deadline != 0) consider(timers.profile_timer.deadline, now, 1);
    for (PosixTimer* timer : timers.posix) {
        if (timer == nullptr || timer->cpu == kNoCpuClock || timer->due == 0 || timer->signal_queued != 0) continue;
        if (timer->cpu == kProcessCpuClock)
            consider(timer->due, now, kBreath);
        else
            consider(timer->due, timer_now(*timer), own_clock(*timer) ? kBreath : kUnseen);
    }
    for (u32 hard = 0; hard < 2; ++hard)
        if (u64 limit = process.limits[0][hard]; limit < kUnlimited / kSecond) consider(limit * kSecond, now, 1);
    return left;
}

void check_cpu_limit(Process& process, u64 now) {
    u64 seconds = now / kSecond;
    SignalInfo info;
    info.code = 0x80;  // SI_KERNEL
    if (seconds >= process.limits[0][1]) {
        info.signal = kSigKill;
        send_signal(process, info);
    } else if (seconds >= process.limits[0][0]) {
        process.limits[0][0] = seconds + 1;  // as Linux: a reminder every second
        info.signal = kSigXcpu;
        send_signal(process, info);
    }
}

Res<PosixTimer*> find_timer(Process& process, u64 id) {
    if (process.timers == nullptr || id >= kPosixTimerLimit) return Failure{Errno::inval};
    PosixTimer* timer = process.timers->posix[id];
    if (timer == nullptr) return Failure{Errno::inval};
    return timer;
}

TimerSetting remaining(PosixTimer& timer) {
    TimerSetting setting{};
    setting.interval = to_timespec(timer.interval);
    if (timer.due == 0) return setting;
    u64 now = timer_now(timer);
    u64 left = timer.due > now              ? timer.due - now
               : timer.interval != 0        ? timer.interval - (now - timer.due) % timer.interval
               : timer.notify == kSigevNone ? 0
                                            : 1;
    setting.value = to_timespec(left);
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

/// The CPU clock that a Linux number names, as seen by `thread`. kNoCpuClock: it is none.
Res<CpuClock> cpu_clock(Thread& thread, i32 clock, u32& tid) {
    tid = thread.tid;
    if (clock == kClockProcessCpu) return kProcessCpuClock;
    if (clock == kClockThreadCpu) return kThreadCpuClock;
    if (clock >= 0) return kNoCpuClock;
    const u32 number = static_cast<u32>(~(clock >> 3));
    if ((clock & 3) == 3) return Failure{Errno::inval};
    if ((clock & 4) == 0) {
        if (number != 0 && number != thread.process->pid) return Failure{Errno::inval};
        return kProcessCpuClock;
    }
    if (number == 0 || number == thread.tid) return kThreadCpuClock;
    Guard guard{thread.process->lock};
    for (Thread* other = thread.process->threads.front(); other != nullptr;
         other = thread.process->threads.next(*other))
        if (other->tid == number) {
            tid = number;
            return kThreadCpuClock;
        }
    return Failure{Errno::inval};
}

}  // namespace

void cpu_timers_due(Process& process) {
    Timers& timers = *process.timers;
    u64 now = clock_now(gate::Clock::process_cpu);
    for (PosixTimer* timer : timers.posix) {
        if (timer == nullptr || timer->cpu == kNoCpuClock || timer->due == 0 || timer->signal_queued != 0) continue;
        if (own_clock(*timer)) {
            u64 at = timer_now(*timer);
            if (timer->due <= at) expire(*timer, at);
            continue;
        }
        // Its clock stands still unless it runs.
        Guard guard{process.lock};
        for (Thread* thread = process.threads.front(); thread != nullptr; thread = process.threads.next(*thread))
            if (thread->tid == timer->cpu_thread && thread->block_mode == BlockMode::running)
                notify_thread(*thread, kAttentionCpuClock);
    }
    check_cpu_limit(process, now);
    program_cpu_timers(process);
}

void cpu_clock_attention(Process& process) {
    if (process.timers != nullptr) cpu_timers_due(process);
}

void timers_forked(Process& process) {
    if (process.limits[0][0] != kUnlimited || process.limits[0][1] != kUnlimited) program_cpu_timers(process);
}

void posix_timer_delivered(Process& process, SignalInfo& info) {
    u32 serial = info.timer.serial;
    info.timer.serial = 0;
    auto found = find_timer(process, static_cast<u32>(info.timer.timer));
    if (!found.ok()) return;
    PosixTimer& timer = *found.value();
    if (timer.serial != serial) return;
    timer.overrun = 0;
    if (timer.signal_queued == 0) return;
    u64 periods = missed(timer_now(timer), timer.due, timer.interval);
    timer.overrun = capped(periods);
    info.timer.overrun = static_cast<i32>(timer.overrun);
    timer.due += (periods + 1) * timer.interval;
    timer.signal_queued = 0;
    if (timer.cpu != kNoCpuClock) return program_cpu_timers(process);
    const u64 soonest = monotonic_now() + kBreath;
    arm_timer(process, timer.timer, timer.due > soonest ? timer.due : soonest);
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
    u32 clock_thread;
    CpuClock cpu = TRY(cpu_clock(thread, clock, clock_thread));
    if (cpu == kNoCpuClock) TRY(wall_clock(clock));
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
    timer->cpu_thread = clock_thread;
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
    u64 due = 0;
    if (value != 0 && timer.cpu != kNoCpuClock) {
        due = absolute ? value : timer_now(timer) + value;
    } else if (value != 0) {
        auto clock = TRY(wall_clock(timer.clock));
        due = TRY(deadline_from(clock, value, absolute));
    }
    timer.overrun = 0;
    timer.signal_queued = 0;
    ++timer.serial;
    timer.interval = interval;
    timer.due = due;
    arm(timer);
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
    bool cpu = timer.cpu != kNoCpuClock;
    remove_timer(*thread.process, timer);
    if (cpu) program_cpu_timers(*thread.process);
    return 0;
}

void program_cpu_timers(Process& process) {
    g_gate->DkTimerSet(gate::TimerKind::process_cpu, cpu_time_left(process, clock_now(gate::Clock::process_cpu)));
}

}  // namespace postern::libos
