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

Res<i64> set_policy(Thread& thread, u32 policy, i32 priority) {
    if (!known(policy)) return Failure{Errno::inval};
    if (real_time(policy)) {
        if (policy != kDeadline && (priority < 1 || priority > 99)) return Failure{Errno::inval};
        return Failure{Errno::perm};
    }
    if (priority != 0) return Failure{Errno::inval};
    thread.scheduler = policy;
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
        if (mask == 0) return Failure{Errno::inval};
        thread.affinity = mask;
        return 0;
    });
}

Res<i64> sys_sched_getscheduler(Thread& caller, Arguments arguments) {
    return with_thread(caller, arguments[0],
                       [](Thread& thread) -> Res<i64> { return static_cast<i64>(thread.scheduler); });
}

Res<i64> sys_sched_setscheduler(Thread& caller, Arguments arguments) {
    i32 policy = static_cast<i32>(arguments[1]);
    if (arguments[2] == 0 || policy < 0) return Failure{Errno::inval};
    i32 priority = TRY(read_user<i32>(arguments[2]));
    u32 wanted = static_cast<u32>(policy) & ~0x4000'0000u;  // SCHED_RESET_ON_FORK: nothing to reset
    return with_thread(caller, arguments[0], [&](Thread& thread) { return set_policy(thread, wanted, priority); });
}

Res<i64> sys_sched_getparam(Thread& caller, Arguments arguments) {
    if (arguments[1] == 0) return Failure{Errno::inval};
    TRY(with_thread(caller, arguments[0], [](Thread&) -> Res<i64> { return 0; }));
    TRY(write_user(arguments[1], i32{0}));
    return 0;
}

Res<i64> sys_sched_setparam(Thread& caller, Arguments arguments) {
    if (arguments[1] == 0) return Failure{Errno::inval};
    i32 priority = TRY(read_user<i32>(arguments[1]));
    return with_thread(caller, arguments[0],
                       [&](Thread& thread) { return set_policy(thread, thread.scheduler, priority); });
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
    TRY(with_thread(caller, arguments[0], [](Thread&) -> Res<i64> { return 0; }));
    TRY(write_user(arguments[1], TimeSpec{0, 4'000'000}));
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
    if (static_cast<i32>(wanted.policy) < 0) return Failure{Errno::inval};
    return with_thread(caller, arguments[0], [&](Thread& thread) -> Res<i64> {
        TRY(set_policy(thread, wanted.policy, static_cast<i32>(wanted.priority)));
        i32 nice = wanted.nice < -20 ? -20 : wanted.nice > 19 ? 19 : wanted.nice;
        if (nice < thread.nice && thread.process->credentials.euid != 0) return Failure{Errno::perm};
        thread.nice = nice;
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
        attributes.nice = thread.nice;
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
    i64 result = 0;       ///< highest 20 - nice found
    bool found = false;
    bool refused = false;
};

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
        if (request.set) {
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
    request.privileged = (process.credentials.capabilities_effective >> 23 & 1) != 0;  // CAP_SYS_NICE
    for_each_process(visit_priority, &request);
    if (!request.found) return Failure{Errno::srch};
    if (request.refused) return Failure{Errno::acces};
    return request.result;
}

}  // namespace

Res<i64> sys_getpriority(Thread& thread, Arguments arguments) { return priority(thread, arguments, false); }
Res<i64> sys_setpriority(Thread& thread, Arguments arguments) { return priority(thread, arguments, true); }

Res<i64> sys_getcpu(Thread&, Arguments arguments) {
    // The processor's and node's number as the vDSO reads them: the limit of a segment that the host sets up per
    // processor; where there is no such segment, processor 0.
    u32 value = 0;
    asm volatile("lsl %1, %0" : "+r"(value) : "r"(0x7bu) : "cc");
    if (arguments[0] != 0) TRY(write_user(arguments[0], value & 0xfff));
    if (arguments[1] != 0) TRY(write_user(arguments[1], value >> 12));
    return 0;
}

}  // namespace postern::libos
