// SPDX-License-Identifier: Apache-2.0
// Resource limits and usage (getrlimit(2), getrusage(2), times(2)).
#include "base/memory.hpp"
#include "libos/process/calls.hpp"
#include "libos/process/process.hpp"
#include "libos/process/usage.hpp"
#include "libos/time/timers_state.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u32 kLimitCount = 16, kLimitCpu = 0, kLimitNoFile = 7;
constexpr u64 kNoFileCeiling = 1 << 20;

struct Limit {
    u64 soft, hard;
};

Res<void> set_limit(Process& caller, Process& process, u32 resource, const Limit& limit) {
    if (limit.soft > limit.hard) return Failure{Errno::inval};
    if (resource == kLimitNoFile && limit.hard > kNoFileCeiling) return Failure{Errno::perm};
    bool privileged = (caller.credentials.capabilities_effective >> 24 & 1) != 0;  // CAP_SYS_RESOURCE
    if (limit.hard > process.limits[resource][1] && !privileged) return Failure{Errno::perm};
    process.limits[resource][0] = limit.soft;
    process.limits[resource][1] = limit.hard;
    if (resource == kLimitCpu) {
        if (&process == &caller)
            program_cpu_timers(process);
        else if (Thread* thread = process.threads.front(); thread != nullptr)
            notify_thread(*thread, kAttentionCpuClock);
    }
    return {};
}

u64 cpu_time(gate::Clock clock) {
    u64 value = 0;
    g_gate->DkSystemTimeQuery(clock, &value);
    return value;
}

}  // namespace

Res<i64> sys_prlimit64(Thread& thread, Arguments arguments) {
    u32 pid = static_cast<u32>(arguments[0]);
    u32 resource = static_cast<u32>(arguments[1]);
    if (resource >= kLimitCount) return Failure{Errno::inval};
    Limit fresh = {};
    if (arguments[2] != 0) fresh = TRY(read_user<Limit>(arguments[2]));
    Process& self = *thread.process;
    Limit old;
    auto exchange = [&](Process& process) -> Res<void> {
        old = {process.limits[resource][0], process.limits[resource][1]};
        if (arguments[2] != 0) TRY(set_limit(self, process, resource, fresh));
        return {};
    };
    if (pid == 0 || pid == self.pid) {
        TRY(exchange(self));
    } else {
        Guard guard{process_table_lock()};
        Process* other = find_process(pid);
        if (other == nullptr) return Failure{Errno::srch};
        const Credentials &mine = self.credentials, &theirs = other->credentials;
        bool same = mine.uid == theirs.euid && mine.uid == theirs.suid && mine.uid == theirs.uid &&
                    mine.gid == theirs.egid && mine.gid == theirs.sgid && mine.gid == theirs.gid;
        if (!same && (mine.capabilities_effective >> 24 & 1) == 0) return Failure{Errno::perm};
        TRY(exchange(*other));
    }
    if (arguments[3] != 0) TRY(write_user(arguments[3], old));
    return 0;
}

Res<i64> sys_getrlimit(Thread& thread, Arguments arguments) {
    u32 resource = static_cast<u32>(arguments[0]);
    if (resource >= kLimitCount) return Failure{Errno::inval};
    TRY(write_user(arguments[1], Limit{thread.process->limits[resource][0], thread.process->limits[resource][1]}));
    return 0;
}

Res<i64> sys_setrlimit(Thread& thread, Arguments arguments) {
    u32 resource = static_cast<u32>(arguments[0]);
    if (resource >= kLimitCount) return Failure{Errno::inval};
    Limit limit = TRY(read_user<Limit>(arguments[1]));
    TRY(set_limit(*thread.process, *thread.process, resource, limit));
    return 0;
}

Res<i64> sys_getrusage(Thread& thread, Arguments arguments) {
    Process& process = *thread.process;
    RUsage usage;
    switch (static_cast<i32>(arguments[0])) {
        case 0: usage = to_rusage(own_usage(process), cpu_time(gate::Clock::process_cpu)); break;
        case 1: {
            gate::MembersUsage own = own_usage(process);
            // Of the thread alone only the time is known; its memory is the process's.
            if (process.thread_count > 1) own = {own.most_memory, 0, 0, 0, 0, 0, 0};
            usage = to_rusage(own, cpu_time(gate::Clock::thread_cpu));
            break;
        }
        case -1: usage = to_rusage(children_usage(process), process.cpu_user_children); break;
        default: return Failure{Errno::inval};
    }
    TRY(write_user(arguments[1], usage));
    return 0;
}

Res<i64> sys_times(Thread& thread, Arguments arguments) {
    constexpr u64 kTick = 10'000'000;  // nanoseconds: CLK_TCK is 100
    if (arguments[0] != 0) {
        i64 times[4] = {static_cast<i64>(cpu_time(gate::Clock::process_cpu) / kTick), 0,
                        static_cast<i64>(thread.process->cpu_user_children / kTick), 0};
        TRY(write_user(arguments[0], times));
    }
    return static_cast<i64>(monotonic_now() / kTick);
}

}  // namespace postern::libos
