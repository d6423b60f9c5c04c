// SPDX-License-Identifier: Apache-2.0
// The queue of armed deadlines and the host's timers behind it.
//
// The host's timer is moved only when the earliest deadline comes nearer: a timer that is re-armed again and again
// (an event loop's) costs no gate call, and the interrupt that comes too early finds nothing due and sets it right.
#include "libos/time/timers.hpp"

#include "libos/gate.hpp"
#include "libos/process/process.hpp"
#include "libos/shared/arena.hpp"
#include "libos/time/timers_state.hpp"

namespace postern::libos {

namespace {

u64 query(gate::Clock clock) { return clock_now(clock); }

/// With the lock held. Only the picoprocess whose timers these are has the host timer to set.
void program_host(Timers& timers, u64 now) {
    u64 earliest = 0;
    for (ProcessTimer* timer = timers.armed.front(); timer != nullptr; timer = timers.armed.next(*timer))
        if (earliest == 0 || timer->deadline < earliest) earliest = timer->deadline;
    if (earliest == 0) return;  // an interrupt without cause later is cheaper than switching off now
    if (timers.host_deadline != 0 && timers.host_deadline <= earliest) return;
    timers.host_deadline = earliest;
    g_gate->DkTimerSet(gate::TimerKind::monotonic, earliest > now ? earliest - now : 1);
}

void send_itimer_signal(Process& process, u32 signal) {
    SignalInfo info;
    info.signal = static_cast<i32>(signal);
    info.code = 0x80;  // SI_KERNEL
    send_signal(process, info);
}

void real_expired(ProcessTimer& timer) {
    auto& process = *reinterpret_cast<Process*>(timer.cookie);
    Timers& timers = *process.timers;
    u64 again = 0;
    {
        Guard guard{timers.lock};
        if (timers.real_interval != 0) {
            u64 now = monotonic_now();
            u64 base = timer.deadline != 0 ? timer.deadline : now;
            again = base + timers.real_interval;
            if (again <= now) again = now + timers.real_interval - (now - base) % timers.real_interval;
        }
    }
    send_itimer_signal(process, kSigAlrm);
    arm_timer(process, timer, again);
}

/// A CPU timer's interrupt: counts on, and asks the host for the next one.
bool advance_cpu(IntervalTimer& timer, u64 now) {
    if (timer.deadline == 0 || timer.deadline > now) return false;
    if (timer.interval == 0) {
        timer.deadline = 0;
    } else {
        timer.deadline += (now - timer.deadline) / timer.interval * timer.interval + timer.interval;
    }
    return true;
}

}  // namespace

u64 clock_now(gate::Clock clock) {
    u64 value = 0;
    g_gate->DkSystemTimeQuery(clock, &value);
    return value;
}
u64 monotonic_now() { return clock_now(gate::Clock::monotonic); }
u64 realtime_now() { return clock_now(gate::Clock::realtime); }

Res<Timers*> create_timers() { return arena::create<Timers>(); }

void destroy_timers(Timers* timers) {
    if (timers == nullptr) return;
    for (PosixTimer*& posix : timers->posix) {
        if (posix == nullptr) continue;
        if (posix->timer.link.linked()) posix->timer.link.unlink();
        arena::destroy(posix);
        posix = nullptr;
    }
    // What is still armed belongs to others (timerfd): unlinked, so that closing it later touches nothing here.
    while (timers->armed.pop_front() != nullptr) {
    }
    arena::destroy(timers);
}

void arm_timer(Process& process, ProcessTimer& timer, u64 deadline) {
    if (process.timers == nullptr) return;
    Timers& timers = *process.timers;
    Guard guard{timers.lock};
    if (timer.link.linked()) timer.link.unlink();
    timer.deadline = deadline;
    if (deadline == 0) return;
    timers.armed.push_back(timer);
    if (timers.host_deadline == 0 || deadline < timers.host_deadline) program_host(timers, monotonic_now());
}

void cancel_timer(Process& process, ProcessTimer& timer) {
    if (process.timers == nullptr) return;
    Timers& timers = *process.timers;
    for (;;) {
        {
            Guard guard{timers.lock};
            if (timers.firing != &timer) {
                if (timer.link.linked()) timer.link.unlink();
                timer.deadline = 0;
                return;
            }
        }
        g_gate->DkThreadYieldExecution();
    }
}

void run_due_timers(Process& process, u32 external) {
    if (process.timers == nullptr) return;
    Timers& timers = *process.timers;
    if ((external & gate::kExternalTimer) != 0) {
        u64 now = monotonic_now();
        {
            Guard guard{timers.lock};
            timers.host_deadline = 0;
        }
        for (;;) {
            ProcessTimer* due = nullptr;
            {
                Guard guard{timers.lock};
                for (ProcessTimer* timer = timers.armed.front(); timer != nullptr; timer = timers.armed.next(*timer))
                    if (timer->deadline <= now && (due == nullptr || timer->deadline < due->deadline)) due = timer;
                if (due == nullptr) {
                    program_host(timers, now);
                    break;
                }
                if (timers.firing != nullptr) break;  // another thread is at it and goes on
                due->link.unlink();
                timers.firing = due;
            }
            // `deadline` still says when it was due; `expired` arms it again or leaves it off.
            if (due->expired != nullptr) due->expired(*due);
            Guard guard{timers.lock};
            if (!due->link.linked()) due->deadline = 0;
            timers.firing = nullptr;
        }
    }
    if ((external & gate::kExternalCpuTimer) != 0) {
        bool fired;
        u64 wait = 0;
        {
            Guard guard{timers.lock};
            // Only the host counts user time apart: it interrupts exactly when the virtual timer is due.
            fired = timers.virtual_timer.deadline != 0;
            wait = timers.virtual_timer.interval;
            timers.virtual_timer.deadline = wait != 0 ? query(gate::Clock::process_cpu) + wait : 0;
        }
        if (fired) send_itimer_signal(process, kSigVtalrm);
        if (wait != 0) g_gate->DkTimerSet(gate::TimerKind::process_cpu_user, wait);
    }
    if ((external & gate::kExternalProfileTimer) != 0) {
        u64 now = query(gate::Clock::process_cpu);
        bool fired;
        {
            Guard guard{timers.lock};
            fired = advance_cpu(timers.profile_timer, now);
        }
        if (fired) send_itimer_signal(process, kSigProf);
        cpu_timers_due(process);
    }
}

void arm_real_timer(Process& process, u64 deadline, u64 interval) {
    Timers& timers = *process.timers;
    {
        Guard guard{timers.lock};
        timers.real.cookie = reinterpret_cast<u64>(&process);
        timers.real.expired = real_expired;
        timers.real_interval = interval;
    }
    arm_timer(process, timers.real, deadline);
}

}  // namespace postern::libos
