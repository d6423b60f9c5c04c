// SPDX-License-Identifier: Apache-2.0
// eventfd(2): one counter, changed by compare-and-exchange alone.
#include <linux/fcntl.h>

#include "libos/ipc/anonymous.hpp"
#include "libos/ipc/anonymous_file.hpp"
#include "libos/process/process.hpp"
#include "libos/shared/arena.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u64 kMost = ~0ull - 1;

class EventFile final : public File {
public:
    EventFile(u64 initial, bool semaphore, u32 flags) : count_{initial}, semaphore_{semaphore} { status_flags = flags; }

    FileKind kind() const override { return FileKind::event; }

    Res<i64> read(Thread& thread, u64 user, u64 size, u64) override {
        if (size < sizeof(u64)) return Failure{Errno::inval};
        u64 value = TRY(take(thread));
        TRY(write_user(user, value));
        return sizeof(u64);
    }
    Res<i64> read_kernel(Thread& thread, void* buffer, u64 size, u64) override {
        if (size < sizeof(u64)) return Failure{Errno::inval};
        *static_cast<u64*>(buffer) = TRY(take(thread));
        return sizeof(u64);
    }
    Res<i64> write(Thread& thread, u64 user, u64 size, u64) override {
        if (size < sizeof(u64)) return Failure{Errno::inval};
        u64 value = TRY(read_user<u64>(user));
        return put(thread, value);
    }
    Res<i64> write_kernel(Thread& thread, const void* buffer, u64 size, u64) override {
        if (size < sizeof(u64)) return Failure{Errno::inval};
        return put(thread, *static_cast<const u64*>(buffer));
    }
    Res<void> stat(Thread& thread, Stat& stat) override {
        fill_anonymous_stat(thread, stat, 0600, 1);
        return {};
    }
    u32 poll(Thread&) override {
        u64 count = load();
        u32 bits = 0;
        if (count != 0) bits |= kPollIn | kPollRdNorm;
        if (count == ~0ull) bits |= kPollErr;  // more was signalled than it can count
        if (count < kMost) bits |= kPollOut | kPollWrNorm;
        return bits;
    }
    WaitQueue* wait_queue() override { return &queue_; }

    /// As the kernel itself counts: never blocks, never wraps.
    void signal() {
        u64 seen = load();
        while (seen != ~0ull && !exchange(seen, seen + 1)) {
        }
        queue_.wake(seen >= kMost ? kPollIn | kPollRdNorm | kPollErr : kPollIn | kPollRdNorm);
    }

private:
    u64 load() const { return __atomic_load_n(&count_, __ATOMIC_SEQ_CST); }
    bool exchange(u64& seen, u64 value) {
        return __atomic_compare_exchange_n(&count_, &seen, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    Res<u64> take(Thread& thread) {
        for (;;) {
            u64 seen = load();
            while (seen != 0) {
                u64 value = semaphore_ ? 1 : seen;
                if (!exchange(seen, seen - value)) continue;
                queue_.wake(kPollOut | kPollWrNorm);
                return value;
            }
            if ((status_flags & O_NONBLOCK) != 0) return Failure{Errno::again};
            TRY(wait_until(thread, queue_, kPollIn, gate::kForever, [this] { return load() != 0; }));
        }
    }
    Res<i64> put(Thread& thread, u64 value) {
        if (value == ~0ull) return Failure{Errno::inval};
        for (;;) {
            u64 seen = load();
            while (seen <= kMost && value <= kMost - seen) {
                if (!exchange(seen, seen + value)) continue;
                queue_.wake(kPollIn | kPollRdNorm);
                return sizeof(u64);
            }
            if ((status_flags & O_NONBLOCK) != 0) return Failure{Errno::again};
            TRY(wait_until(thread, queue_, kPollOut, gate::kForever, [&] {
                u64 now = load();
                return now <= kMost && value <= kMost - now;
            }));
        }
    }

    u64 count_;
    bool semaphore_;
    WaitQueue queue_;
};

}  // namespace

bool event_signal(File& file) {
    if (file.kind() != FileKind::event) return false;
    static_cast<EventFile&>(file).signal();
    return true;
}

Res<FileRef> make_event_file(u64 initial, bool semaphore, u32 open_flags) {
    auto* file = TRY(make_file<EventFile>(initial, semaphore, open_flags));
    set_path(*file, "anon_inode:[eventfd]");
    return FileRef{file};
}

}  // namespace postern::libos
