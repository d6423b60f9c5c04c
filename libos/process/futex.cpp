// SPDX-License-Identifier: Apache-2.0
// futex(2). Waiting and waking happen at the gate on the program's own words. Before it sleeps a thread counts itself
// in a bucket, so that a wake which finds its bucket at zero is over without a gate call.
#include "libos/process/futex.hpp"
#include "libos/process/calls.hpp"
#include "libos/process/table.hpp"
#include "libos/shared/layout.hpp"
#include "libos/signal/delivery.hpp"
#include "libos/time/timers.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

using futex::bucket;
using futex::kAnyBit;
using futex::requeue;
using futex::wake;

enum Operation : u32 {
    kWait = 0,
    kWake = 1,
    kRequeue = 3,
    kCompareRequeue = 4,
    kWakeOp = 5,
    kWaitBitset = 9,
    kWakeBitset = 10,
};
constexpr u32 kPrivate = 128, kRealtime = 256;

/// Waiters on private words, by address. Copied by fork, so a new picoprocess forgets them.
u32 g_private_waiters[kFutexBuckets];

u32 gate_flags(bool is_private) { return is_private ? gate::kAddressPrivate : gate::kAddressShared; }

bool plausible(u64 address) { return address < g_parameters->user_high && address >= g_parameters->user_low; }

struct Waiting {
    u64 address;
    u32 expected;
    u64 deadline;
    u32 flags;  ///< gate::AddressFlags
    bool is_private;
};

Res<void> sleep(Thread& thread, const Waiting& waiting) {
    u32& count = bucket(waiting.address, waiting.is_private);
    __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
    Res<void> result{};
    for (;;) {
        // After the count: a waker that changed the word before this look sees the count or is seen by it.
        auto value = load_user_u32(waiting.address);
        if (!value.ok()) {
            result = Failure{Errno::fault};
            break;
        }
        if (value.value() != waiting.expected) {
            result = Failure{Errno::again};
            break;
        }
        if (interrupted(thread)) {
            result = Failure{Errno::restart_sys};
            break;
        }
        thread.block_mode = BlockMode::on_word;  // as /proc tells it
        gate::Err error = g_gate->DkAddressWait(reinterpret_cast<u32*>(waiting.address), waiting.expected,
                                                waiting.deadline, waiting.flags);
        thread.block_mode = BlockMode::running;
        if (error == gate::Err::ok) break;
        if (error == gate::Err::interrupted) {
            take_interrupts();
            if (!interrupted(thread)) continue;
            result = Failure{Errno::restart_sys};
            break;
        }
        result = Failure{to_errno(error)};
        break;
    }
    __atomic_sub_fetch(&count, 1, __ATOMIC_SEQ_CST);
    return result;
}

Res<i64> restart_wait(Thread& thread) {
    Waiting waiting{thread.restart_data[0], static_cast<u32>(thread.restart_data[1]), thread.restart_data[2],
                    static_cast<u32>(thread.restart_data[3]), (thread.restart_data[3] & gate::kAddressShared) == 0};
    Res<void> result = sleep(thread, waiting);
    if (!result.ok() && result.error() == Errno::restart_sys) {
        thread.restart = restart_wait;
        return Failure{Errno::restart_block};
    }
    TRY(std::move(result));
    return 0;
}

Res<i64> wait(Thread& thread, u64 address, u32 expected, u64 timeout, bool is_private, bool absolute, bool realtime) {
    Waiting waiting{address, expected, gate::kForever, gate_flags(is_private), is_private};
    if (timeout != 0) {
        TimeSpec time = TRY(read_user<TimeSpec>(timeout));
        u64 nanoseconds = TRY(to_nanoseconds(time));
        if (absolute) {
            waiting.deadline = nanoseconds;
            if (realtime) waiting.flags |= gate::kAddressRealtime;
        } else {
            u64 now = realtime ? realtime_now() : monotonic_now();
            if (realtime) waiting.flags |= gate::kAddressRealtime;
            waiting.deadline = nanoseconds > gate::kForever - 1 - now ? gate::kForever : now + nanoseconds;
        }
    }
    Res<void> result = sleep(thread, waiting);
    if (!result.ok() && result.error() == Errno::restart_sys && timeout != 0) {
        thread.restart = restart_wait;
        thread.restart_data[0] = address;
        thread.restart_data[1] = expected;
        thread.restart_data[2] = waiting.deadline;
        thread.restart_data[3] = waiting.flags;
        return Failure{Errno::restart_block};
    }
    TRY(std::move(result));
    return 0;
}

}  // namespace

/// Words in shared memory have another address in each process, but the same place within their page.
u32& futex::bucket(u64 address, bool is_private) {
    if (is_private) {
        u64 hash = address >> 2;
        return g_private_waiters[(hash ^ hash >> 10 ^ hash >> 20) % kFutexBuckets];
    }
    auto shared = static_cast<u32*>(arena::header().roots[kRootSharedFutexes]);
    return shared[(address & (kPageSize - 1)) >> 2];
}

Res<i64> futex::wait_until(Thread& thread, u64 address, u32 expected, bool is_private, u64 deadline, bool realtime) {
    Waiting waiting{address, expected, deadline, gate_flags(is_private), is_private};
    if (realtime) waiting.flags |= gate::kAddressRealtime;
    TRY(sleep(thread, waiting));
    return 0;
}

Res<i64> futex::wake(u64 address, u32 count, bool is_private, u32 mask) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(&bucket(address, is_private), __ATOMIC_RELAXED) == 0) {
        if (!is_private) (void)TRY(load_user_u32(address));
        return 0;
    }
    // The gate has no bit sets: all are woken, and those that were not meant look at their word again.
    if (mask != kAnyBit) count = 0x7fff'ffff;
    u32 vectors = wake_vectors(address, count, is_private);
    if (vectors == count) return static_cast<i64>(vectors);
    u32 woken = 0;
    TRY(check(g_gate->DkAddressWake(reinterpret_cast<u32*>(address), count - vectors, gate_flags(is_private), nullptr,
                                    0, 0, &woken)));
    return static_cast<i64>(woken + vectors);
}

Res<i64> futex::requeue(u64 from, u64 to, u32 wake_count, u32 move_count, bool is_private, bool compare, u32 expected) {
    u32 value = TRY(load_user_u32(from));
    if (compare && value != expected) return Failure{Errno::again};
    if (__atomic_load_n(&bucket(from, is_private), __ATOMIC_SEQ_CST) == 0) {
        (void)TRY(load_user_u32(to));
        return 0;
    }
    // Moved waiters are counted where they went to sleep. Each of them also counts there until it wakes: the target's
    // bucket is raised for good by what may have moved, or a wake of the target could pass it by.
    __atomic_add_fetch(&bucket(to, is_private), 1, __ATOMIC_SEQ_CST);
    u32 woken = 0;
    gate::Err error = g_gate->DkAddressWake(reinterpret_cast<u32*>(from), wake_count, gate_flags(is_private),
                                            reinterpret_cast<u32*>(to), move_count, compare ? expected : value, &woken);
    if (error == gate::Err::would_block) return Failure{Errno::again};
    TRY(check(error));
    return static_cast<i64>(woken);
}

namespace {

i32 sign_extend12(u32 value) { return static_cast<i32>(value << 20) >> 20; }

/// FUTEX_WAKE_OP's encoded operation on the second word; answers whether the old value passes the comparison.
Res<bool> operate(u64 address, u32 encoded) {
    u32 operation = encoded >> 28 & 7;
    u32 comparison = encoded >> 24 & 15;
    i32 argument = sign_extend12(encoded >> 12 & 0xfff);
    i32 compare_with = sign_extend12(encoded & 0xfff);
    if ((encoded >> 28 & 8) != 0) {
        if (argument < 0 || argument > 31) argument &= 31;
        argument = static_cast<i32>(1u << argument);
    }
    u32 old = TRY(load_user_u32(address));
    for (;;) {
        u32 fresh;
        switch (operation) {
            case 0: fresh = static_cast<u32>(argument); break;
            case 1: fresh = old + static_cast<u32>(argument); break;
            case 2: fresh = old | static_cast<u32>(argument); break;
            case 3: fresh = old & ~static_cast<u32>(argument); break;
            case 4: fresh = old ^ static_cast<u32>(argument); break;
            default: return Failure{Errno::nosys};
        }
        bool done = TRY(compare_exchange_user_u32(address, old, fresh));
        if (done) break;
    }
    i32 value = static_cast<i32>(old);
    switch (comparison) {
        case 0: return value == compare_with;
        case 1: return value != compare_with;
        case 2: return value < compare_with;
        case 3: return value <= compare_with;
        case 4: return value > compare_with;
        case 5: return value >= compare_with;
        default: return Failure{Errno::nosys};
    }
}

}  // namespace

void futex_forget_waiters() {
    for (u32& count : g_private_waiters) count = 0;
}

void wake_user_futex(u64 address, u32 count) {
    if ((address & 3) != 0 || !plausible(address)) return;
    // Waiters for a thread's end may use either kind of wait; the kernel's own wake is a shared one.
    (void)wake(address, count, false, kAnyBit);
}

Res<i64> sys_futex(Thread& thread, Arguments arguments) {
    u64 address = arguments[0];
    u32 operation = static_cast<u32>(arguments[1]);
    u32 value = static_cast<u32>(arguments[2]);
    u64 second = arguments[4];
    bool is_private = (operation & kPrivate) != 0;
    bool realtime = (operation & kRealtime) != 0;
    operation &= ~(kPrivate | kRealtime);
    if (realtime && operation != kWaitBitset && operation != kWait) return Failure{Errno::nosys};
    if ((address & 3) != 0) return Failure{operation <= kWakeBitset && operation != 2 ? Errno::inval : Errno::nosys};
    if (!plausible(address) && address >= g_parameters->user_high) return Failure{Errno::fault};
    switch (operation) {
        case kWait: return wait(thread, address, value, arguments[3], is_private, false, realtime);
        case kWaitBitset:
            if (static_cast<u32>(arguments[5]) == 0) return Failure{Errno::inval};
            return wait(thread, address, value, arguments[3], is_private, true, realtime);
        case kWake: return wake(address, value, is_private, kAnyBit);
        case kWakeBitset:
            if (static_cast<u32>(arguments[5]) == 0) return Failure{Errno::inval};
            return wake(address, value, is_private, static_cast<u32>(arguments[5]));
        case kRequeue:
        case kCompareRequeue:
            if ((second & 3) != 0) return Failure{Errno::inval};
            if (static_cast<i32>(value) < 0 || static_cast<i32>(arguments[3]) < 0) return Failure{Errno::inval};
            return requeue(address, second, value, static_cast<u32>(arguments[3]), is_private,
                           operation == kCompareRequeue, static_cast<u32>(arguments[5]));
        case kWakeOp: {
            if ((second & 3) != 0) return Failure{Errno::inval};
            bool passes = TRY(operate(second, static_cast<u32>(arguments[5])));
            i64 woken = TRY(wake(address, value, is_private, kAnyBit));
            if (passes) woken += TRY(wake(second, static_cast<u32>(arguments[3]), is_private, kAnyBit));
            return woken;
        }
        default: return Failure{Errno::nosys};
    }
}

}  // namespace postern::libos
