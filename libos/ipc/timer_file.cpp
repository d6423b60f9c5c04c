// SPDX-License-Identifier: Apache-2.0
// timerfd_create(2): nothing ticks. How often the timer has expired is computed from the clock whenever someone asks,
// and whoever waits knows when to look again (File::ready_at). So a timer costs no interrupts, and it outlives the
// process that set it.
#include <linux/fcntl.h>
#include <linux/time.h>

#include "libos/gate.hpp"
#include "libos/ipc/anonymous.hpp"
#include "libos/ipc/anonymous_file.hpp"
#include "libos/process/process.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u32 kAbsolute = 1, kCancelOnSet = 2;

class TimerFile final : public File {
public:
    TimerFile(gate::Clock clock, u32 flags) : clock_{clock} { status_flags = flags; }

    FileKind kind() const override { return FileKind::timer; }

    Res<i64> read(Thread& thread, u64 user, u64 size, u64) override {
        if (size < sizeof(u64)) return Failure{Errno::inval};
        u64 ticks = TRY(take(thread));
        TRY(write_user(user, ticks));
        return sizeof(u64);
    }
    Res<i64> read_kernel(Thread& thread, void* buffer, u64 size, u64) override {
        if (size < sizeof(u64)) return Failure{Errno::inval};
        *static_cast<u64*>(buffer) = TRY(take(thread));
        return sizeof(u64);
    }
    Res<void> stat(Thread& thread, Stat& stat) override {
        fill_anonymous_stat(thread, stat, 0600, 1);
        return {};
    }
    u32 poll(Thread&) override {
        Guard guard{lock_};
        return ticks(now()) != 0 ? kPollIn | kPollRdNorm : 0;
    }
    WaitQueue* wait_queue() override { return &queue_; }
    u64 ready_at() override {
        u64 expiry = __atomic_load_n(&expiry_, __ATOMIC_SEQ_CST);
        if (expiry == 0) return gate::kForever;
        if (clock_ == gate::Clock::monotonic) return expiry;
        u64 time = now(), monotonic = monotonic_now();
        return expiry <= time ? monotonic : monotonic + (expiry - time);
    }
    u64 edge_count() override {
        Guard guard{lock_};
        return taken_ + ticks(now());
    }

    Res<void> set(u32 flags, const TimerSpec& wanted, TimerSpec& old) {
        if ((flags & ~(kAbsolute | kCancelOnSet)) != 0) return Failure{Errno::inval};
        u64 value = TRY(to_nanoseconds(wanted.value));
        u64 interval = TRY(to_nanoseconds(wanted.interval));
        {
            Guard guard{lock_};
            u64 time = now();
            describe(time, old);
            u64 expiry = 0;
            if (value != 0) expiry = (flags & kAbsolute) != 0 ? value : time + value < time ? ~0ull - 1 : time + value;
            set_undoable(lock_, interval_, interval);
            set_undoable(lock_, taken_, taken_ + (u64{1} << 32));
            set_undoable(lock_, expiry_, expiry);
        }
        queue_.wake(kPollIn);
        return {};
    }
    void get(TimerSpec& current) {
        Guard guard{lock_};
        describe(now(), current);
    }

private:
    u64 now() const {
        u64 value = 0;
        g_gate->DkSystemTimeQuery(clock_, &value);
        return value;
    }
    u64 ticks(u64 time) const {
        if (expiry_ == 0 || time < expiry_) return 0;
        return interval_ == 0 ? 1 : 1 + (time - expiry_) / interval_;
    }
    void describe(u64 time, TimerSpec& spec) const {
        spec.interval = to_timespec(interval_);
        u64 left = 0;
        if (expiry_ != 0) {
            if (time < expiry_)
                left = expiry_ - time;
            else if (interval_ != 0)
                left = interval_ - (time - expiry_) % interval_;
        }
        spec.value = to_timespec(left);
    }
    Res<u64> take(Thread& thread) {
        for (;;) {
            {
                Guard guard{lock_};
                u64 count = ticks(now());
                if (count != 0) {
                    set_undoable(lock_, taken_, taken_ + count);
                    set_undoable(lock_, expiry_, interval_ == 0 ? 0 : expiry_ + count * interval_);
                    return count;
                }
            }
            if ((status_flags & O_NONBLOCK) != 0) return Failure{Errno::again};
            u64 seen = __atomic_load_n(&expiry_, __ATOMIC_SEQ_CST);
            auto waited = wait_until(thread, queue_, kPollIn, ready_at(),
                                     [&] { return __atomic_load_n(&expiry_, __ATOMIC_SEQ_CST) != seen; });
            if (!waited.ok() && waited.error() != Errno::timedout) return Failure{waited.error()};
        }
    }

    gate::Clock clock_;
    SharedLock lock_;   ///< a leaf
    u64 expiry_ = 0;    ///< next expiry not yet taken, on `clock_`; 0: off
    u64 interval_ = 0;  ///< nanoseconds, 0: once
    u64 taken_ = 0;     ///< for edge_count
    WaitQueue queue_;
};

}  // namespace

Res<FileRef> make_timer_file(i32 clock, u32 open_flags) {
    gate::Clock which;
    switch (clock) {
        case CLOCK_REALTIME: which = gate::Clock::realtime; break;
        case CLOCK_MONOTONIC: which = gate::Clock::monotonic; break;
        case CLOCK_BOOTTIME: which = gate::Clock::boottime; break;
        case CLOCK_REALTIME_ALARM:
        case CLOCK_BOOTTIME_ALARM: return Failure{Errno::perm};
        default: return Failure{Errno::inval};
    }
    auto* file = TRY(make_file<TimerFile>(which, open_flags));
    set_path(*file, "anon_inode:[timerfd]");
    return FileRef{file};
}

Res<void> timer_file_set(File& file, u32 flags, const TimerSpec& wanted, TimerSpec& old) {
    if (file.kind() != FileKind::timer) return Failure{Errno::inval};
    return static_cast<TimerFile&>(file).set(flags, wanted, old);
}

Res<void> timer_file_get(File& file, TimerSpec& current) {
    if (file.kind() != FileKind::timer) return Failure{Errno::inval};
    static_cast<TimerFile&>(file).get(current);
    return {};
}

}  // namespace postern::libos
