// SPDX-License-Identifier: Apache-2.0
// Scheduling as programs see it: policies, priorities and affinity are remembered; the host schedules.
#include "base/memory.hpp"
#include "libos/process/calls.hpp"
#include "libos/process/process.hpp"
#include "libos/time/timers.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

enum Policy : u32 { kOther = 0, kFifo = 1, kRoundRobin = 2, kBatch = 3, kIdle = 5, kDeadline = 6 };

bool real_time(u32 policy) { return policy == kFifo || policy == kRoundRobin || policy == kDeadline; }
bool known(u32 policy) { return policy <= kBatch || policy == kIdle || policy == kDeadline; }

u64 processors() {
    u32 count = g_parameters->processor_count;
    return count >= 64 ? ~0ull : (1ull << count) - 1;
}

/// Runs `use` on the thread `tid` (0: the caller) with the table locked.
template <class Use>
Res<i64> with_thread(Thread& caller, u64 number, Use use) {
    i32 tid = static_cast<i32>(number);
    if (tid < 0) return Failure{Errno::inval};
    if (tid == 0 || static_cast<u32>(tid) == caller.tid) return use(caller);
    Guard guard{process_table_lock()};
    Thread* thread = find_thread(static_cast<u32>(tid));
    if (thread == nullptr) return Failure{Errno::srch};
    return use(*thread);
}

constexpr u32 kResetOnFork = 0x4000'0000, kCapabilityNice = 23, kLimitRealTime = 14;

bool may_raise(const Thread& caller) {
    return (caller.process->credentials.capabilities_effective >> kCapabilityNice & 1) != 0;
}
/// May the caller change how `thread` is scheduled?
bool may_schedule(const Thread& caller, const Thread& thread) {
    const Credentials &mine = caller.process->credentials, &theirs = thread.process->credentials;
    return mine.euid == theirs.uid || mine.euid == theirs.euid || may_raise(caller);
}

Res<void> check_policy(u32 policy, i32 priority) {
    if (!known(policy)) return Failure{Errno::inval};
    bool ranged = policy == kFifo || policy == kRoundRobin;
    if (ranged ? priority < 1 || priority > 99 : priority != 0) return Failure{Errno::inval};
    return {};
}

/// Remembers a policy. Real-time policies need what they need in Linux, though the host schedules as it did.
Res<i64> set_policy(Thread& caller, Thread& thread, u32 policy, i32 priority, bool reset_on_fork) {
    TRY(check_policy(policy, priority));
    if (!may_schedule(caller, thread)) return Failure{Errno::perm};
    if (real_time(policy) && !may_raise(caller)) {
        u64 limit = thread.process->limits[kLimitRealTime][0];
        bool same = policy == thread.scheduler && static_cast<u32>(priority) <= thread.real_time_priority;
        if (policy == kDeadline || (!same && static_cast<u64>(priority) > limit)) return Failure{Errno::perm};
    }
    if (thread.reset_on_fork != 0 && !reset_on_fork && !may_raise(caller)) return Failure{Errno::perm};
    thread.scheduler = policy;
    thread.real_time_priority = static_cast<u32>(priority);
    thread.reset_on_fork = reset_on_fork ? 1 : 0;
    return 0;
}

}  // namespace

Res<i64> sys_sched_yield(Thread&, Arguments) {
    g_gate->DkThreadYieldExecution();
    return 0;
}

Res<i64> sys_sched_getaffinity(Thread& caller, Arguments arguments) {
    u64 size = arguments[1];
    if (size * 8 < g_parameters->processor_count || (size & 7) != 0) return Failure{Errno::inval};
    if (static_cast<i32>(arguments[0]) < 0) return Failure{Errno::srch};
    u64 mask = 0;
    TRY(with_thread(caller, arguments[0], [&](Thread& thread) -> Res<i64> {
        mask = thread.affinity & processors();
        return 0;
    }));
    TRY(write_user(arguments[2], mask));
    return 8;
}

Res<i64> sys_sched_setaffinity(Thread& caller, Arguments arguments) {
    u64 mask = 0;
    TRY(copy_in(&mask, arguments[2], arguments[1] < 8 ? arguments[1] : 8));
    mask &= processors();
    return with_thread(caller, arguments[0], [&](Thread& thread) -> Res<i64> {
        if (!may_schedule(caller, thread)) return Failure{Errno::perm};
        if (mask == 0) return Failure{Errno::inval};
        thread.affinity = mask;
        return 0;
    });
}

Res<i64> sys_sched_getscheduler(Thread& caller, Arguments arguments) {
    return with_thread(caller, arguments[0], [](Thread& thread) -> Res<i64> {
        return static_cast<i64>(thread.scheduler | (thread.reset_on_fork != 0 ? kResetOnFork : 0));
    });
}

Res<i64> sys_sched_setscheduler(Thread& caller, Arguments arguments) {
    i32 policy = static_cast<i32>(arguments[1]);
    if (arguments[2] == 0 || policy < 0) return Failure{Errno::inval};
    i32 priority = TRY(read_user<i32>(arguments[2]));
    u32 wanted = static_cast<u32>(policy) & ~kResetOnFork;
    if (wanted == kDeadline || !known(wanted)) return Failure{Errno::inval};
    return with_thread(caller, arguments[0], [&](Thread& thread) {
        return set_policy(caller, thread, wanted, priority, (static_cast<u32>(policy) & kResetOnFork) != 0);
    });
}

Res<i64> sys_sched_getparam(Thread& caller, Arguments arguments) {
    if (arguments[1] == 0) return Failure{Errno::inval};
    i64 priority = TRY(with_thread(
        caller, arguments[0], [](Thread& thread) -> Res<i64> { return static_cast<i64>(thread.real_time_priority); }));
    TRY(write_user(arguments[1], static_cast<i32>(priority)));
    return 0;
}

Res<i64> sys_sched_setparam(Thread& caller, Arguments arguments) {
    if (arguments[1] == 0) return Failure{Errno::inval};
    i32 priority = TRY(read_user<i32>(arguments[1]));
    return with_thread(caller, arguments[0], [&](Thread& thread) {
        return set_policy(caller, thread, thread.scheduler, priority, thread.reset_on_fork != 0);
    });
}

Res<i64> sys_sched_get_priority_max(Thread&, Arguments arguments) {
    u32 policy = static_cast<u32>(arguments[0]);
    if (!known(policy)) return Failure{Errno::inval};
    return policy == kFifo || policy == kRoundRobin ? 99 : 0;
}

Res<i64> sys_sched_get_priority_min(Thread&, Arguments arguments) {
    u32 policy = static_cast<u32>(arguments[0]);
    if (!known(policy)) return Failure{Errno::inval};
    return policy == kFifo || policy == kRoundRobin ? 1 : 0;
}

Res<i64> sys_sched_rr_get_interval(Thread& caller, Arguments arguments) {
    // What Linux would say: nothing for FIFO, its default slice for RR, a tick for the others.
    i64 slice = TRY(with_thread(caller, arguments[0], [](Thread& thread) -> Res<i64> {
        return thread.scheduler == kFifo || thread.scheduler == kDeadline ? 0
               : thread.scheduler == kRoundRobin                          ? 100'000'000
                                                                          : 4'000'000;
    }));
    TRY(write_user(arguments[1], TimeSpec{0, slice}));
    return 0;
}

namespace {

struct SchedulingAttributes {
    u32 size, policy;
    u64 flags;
    i32 nice;
    u32 priority;
    u64 runtime, deadline, period;
    u32 util_min, util_max;
};
constexpr u32 kFirstAttributesSize = 48;

}  // namespace

Res<i64> sys_sched_setattr(Thread& caller, Arguments arguments) {
    if (arguments[1] == 0 || arguments[2] != 0) return Failure{Errno::inval};
    u32 size = TRY(read_user<u32>(arguments[1]));
    if (size == 0) size = kFirstAttributesSize;
    if (size < kFirstAttributesSize || size > kPageSize) {
        TRY(write_user(arguments[1], static_cast<u32>(sizeof(SchedulingAttributes))));
        return Failure{Errno::toobig};
    }
    SchedulingAttributes wanted = {};
    TRY(copy_in(&wanted, arguments[1], size < sizeof wanted ? size : sizeof wanted));
    for (u64 at = sizeof wanted; at < size; ++at) {
        u8 byte = TRY(read_user<u8>(arguments[1] + at));
        if (byte != 0) return Failure{Errno::toobig};
    }
    constexpr u64 kFlagReset = 1, kKnownFlags = 0x7f, kKeepPolicy = 8, kKeepParameters = 16;
    if (static_cast<i32>(wanted.policy) < 0 || (wanted.flags & ~kKnownFlags) != 0) return Failure{Errno::inval};
    return with_thread(caller, arguments[0], [&](Thread& thread) -> Res<i64> {
        u32 policy = (wanted.flags & kKeepPolicy) != 0 ? thread.scheduler : wanted.policy;
        bool keep = (wanted.flags & kKeepParameters) != 0;
        if (policy == kDeadline && !keep) {
            constexpr u64 kLeast = 1024;
            u64 period = wanted.period != 0 ? wanted.period : wanted.deadline;
            if (wanted.deadline == 0 || wanted.runtime < kLeast || wanted.runtime > wanted.deadline ||
                wanted.deadline > period || static_cast<i64>(wanted.deadline | period) < 0)
                return Failure{Errno::inval};
        }
        u32 priority = keep ? thread.real_time_priority : wanted.priority;
        i32 nice = keep ? thread.nice : wanted.nice < -20 ? -20 : wanted.nice > 19 ? 19 : wanted.nice;
        if (real_time(policy)) nice = thread.nice;
        TRY(check_policy(policy, static_cast<i32>(priority)));
        if (nice < thread.nice && !may_raise(caller)) return Failure{Errno::perm};
        TRY(set_policy(caller, thread, policy, static_cast<i32>(priority), (wanted.flags & kFlagReset) != 0));
        thread.nice = nice;
        if (policy == kDeadline && !keep) {
            thread.deadline[0] = wanted.runtime;
            thread.deadline[1] = wanted.deadline;
            thread.deadline[2] = wanted.period;
        }
        return 0;
    });
}

Res<i64> sys_sched_getattr(Thread& caller, Arguments arguments) {
    u32 size = static_cast<u32>(arguments[2]);
    if (arguments[1] == 0 || size < kFirstAttributesSize || size > kPageSize || arguments[3] != 0)
        return Failure{Errno::inval};
    SchedulingAttributes attributes = {};
    attributes.size = size < sizeof attributes ? size : sizeof attributes;
    attributes.util_max = 1024;
    TRY(with_thread(caller, arguments[0], [&](Thread& thread) -> Res<i64> {
        attributes.policy = thread.scheduler;
        attributes.flags = thread.reset_on_fork;
        attributes.priority = thread.real_time_priority;
        if (!real_time(thread.scheduler)) attributes.nice = thread.nice;
        if (thread.scheduler == kDeadline) {
            attributes.runtime = thread.deadline[0];
            attributes.deadline = thread.deadline[1];
            attributes.period = thread.deadline[2];
        }
        return 0;
    }));
    TRY(copy_out(arguments[1], &attributes, attributes.size));
    return 0;
}

namespace {

struct PriorityRequest {
    u32 which;
    u32 who;
    i32 value;
    bool set;
    bool privileged;
    i64 result = 0;  ///< highest 20 - nice found
    bool found = false;
    bool refused = false;  ///< EACCES
    bool foreign = false;  ///< EPERM
    const Credentials* caller = nullptr;
    bool io = false;  ///< I/O priority: `value` as is, the result is the highest
};

/// Lower class numbers and levels are better; class 0 (none) is best effort's middle.
bool better(u32 a, u32 b) {
    auto rank = [](u32 value) { return value >> 13 == 0 ? 2u << 13 | 4 : value; };
    return rank(a) < rank(b);
}

void visit_priority(Process& process, void* cookie) {
    auto& request = *static_cast<PriorityRequest*>(cookie);
    if (process.state == ProcessState::zombie) return;
    Guard guard{process.lock};
    for (Thread* thread = process.threads.front(); thread != nullptr; thread = process.threads.next(*thread)) {
        bool match = request.which == 0   ? thread->tid == request.who
                     : request.which == 1 ? process.pgid == request.who
                                          : process.credentials.uid == request.who;
        if (!match) continue;
        request.found = true;
        const Credentials &mine = *request.caller, &theirs = process.credentials;
        bool own = request.io ? theirs.uid == mine.euid || theirs.uid == mine.uid
                              : theirs.uid == mine.euid || theirs.euid == mine.euid;
        if (request.set && !own && !request.privileged) {
            request.foreign = true;
        } else if (request.io) {
            if (request.set)
                thread->io_priority = static_cast<u32>(request.value);
            else if (request.result < 0 || better(thread->io_priority, static_cast<u32>(request.result)))
                request.result = thread->io_priority;
        } else if (request.set) {
            if (request.value < thread->nice && !request.privileged)
                request.refused = true;
            else
                thread->nice = request.value;
        } else if (20 - thread->nice > request.result) {
            request.result = 20 - thread->nice;
        }
    }
}

Res<i64> priority(Thread& thread, Arguments arguments, bool set) {
    PriorityRequest request{};
    request.which = static_cast<u32>(arguments[0]);
    request.who = static_cast<u32>(arguments[1]);
    if (request.which > 2) return Failure{Errno::inval};
    Process& process = *thread.process;
    if (request.who == 0)
        request.who = request.which == 0 ? thread.tid : request.which == 1 ? process.pgid : process.credentials.uid;
    i32 value = static_cast<i32>(arguments[2]);
    request.value = value < -20 ? -20 : value > 19 ? 19 : value;
    request.set = set;
    request.caller = &process.credentials;
    request.privileged = (process.credentials.capabilities_effective >> 23 & 1) != 0;  // CAP_SYS_NICE
    for_each_process(visit_priority, &request);
    if (!request.found) return Failure{Errno::srch};
    if (request.foreign) return Failure{Errno::perm};
    if (request.refused) return Failure{Errno::acces};
    return request.result;
}

}  // namespace

Res<i64> sys_getpriority(Thread& thread, Arguments arguments) { return priority(thread, arguments, false); }
Res<i64> sys_setpriority(Thread& thread, Arguments arguments) { return priority(thread, arguments, true); }

namespace {

/// ioprio_get(2) and ioprio_set(2): remembered, as the other priorities are.
Res<i64> io_priority(Thread& thread, Arguments arguments, bool set) {
    enum : u32 { kProcess = 1, kGroup = 2, kUser = 3 };
    constexpr u32 kCapabilityAdmin = 21;
    u32 which = static_cast<u32>(arguments[0]), value = static_cast<u32>(arguments[2]);
    Process& process = *thread.process;
    const Credentials& credentials = process.credentials;
    if (set) {
        const u32 level = value & 0x1fff;
        if (value >> 16 != 0 || level > 7) return Failure{Errno::inval};
        switch (value >> 13) {
            case 0:
                if (level != 0) return Failure{Errno::inval};
                break;
            case 1:
                if ((credentials.capabilities_effective >> kCapabilityAdmin & 1) == 0 && !may_raise(thread))
                    return Failure{Errno::perm};
                break;
            case 2:
            case 3: break;
            default: return Failure{Errno::inval};
        }
    }
    if (which < kProcess || which > kUser) return Failure{Errno::inval};
    PriorityRequest request{};
    request.which = which - 1;
    request.who = static_cast<u32>(arguments[1]);
    if (request.who == 0)
        request.who = which == kProcess ? thread.tid : which == kGroup ? process.pgid : credentials.uid;
    request.value = static_cast<i32>(value);
    request.set = set;
    request.io = true;
    request.caller = &credentials;
    request.privileged = may_raise(thread);
    request.result = set ? 0 : -1;
    for_each_process(visit_priority, &request);
    if (!request.found) return Failure{Errno::srch};
    if (request.foreign) return Failure{Errno::perm};
    return request.result;
}

}  // namespace

Res<i64> sys_ioprio_get(Thread& thread, Arguments arguments) { return io_priority(thread, arguments, false); }
Res<i64> sys_ioprio_set(Thread& thread, Arguments arguments) { return io_priority(thread, arguments, true); }

Res<i64> sys_getcpu(Thread& thread, Arguments arguments) {
    // The processor's and node's number as the vDSO reads them: the limit of a segment that the host sets up per
    // processor; where there is no such segment, processor 0.
    u32 value = 0;
    asm volatile("lsl %1, %0" : "+r"(value) : "r"(0x7bu) : "cc");
    // The host does not schedule by affinities; a thread that asked for one processor is told that it is there.
    u32 processor = value & 0xfff;
    if (processor < 64 && (thread.affinity >> processor & 1) == 0 && thread.affinity != 0)
        processor = static_cast<u32>(__builtin_ctzll(thread.affinity));
    if (arguments[0] != 0) TRY(write_user(arguments[0], processor));
    if (arguments[1] != 0) TRY(write_user(arguments[1], value >> 12));
    return 0;
}

}  // namespace postern::libos
