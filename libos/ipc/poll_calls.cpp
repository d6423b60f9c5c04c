// SPDX-License-Identifier: Apache-2.0
// poll, ppoll, select, pselect6.
#include <linux/poll.h>

#include "base/memory.hpp"
#include "libos/ipc/calls.hpp"
#include "libos/ipc/waiting.hpp"
#include "libos/process/process.hpp"
#include "libos/shared/arena.hpp"
#include "libos/time/timers.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u32 kLimitFiles = 7;  // RLIMIT_NOFILE

u64 left_until(gate::Deadline deadline) {
    if (deadline == gate::kPoll || deadline == gate::kForever) return 0;
    u64 now = monotonic_now();
    return deadline > now ? deadline - now : 0;
}

Res<u32> poll_files(Thread& thread, u64 user, u64 count, gate::Deadline deadline) {
    if (count > thread.process->limits[kLimitFiles][0]) return Failure{Errno::inval};
    WatchList list;
    TRY(list.reserve(static_cast<u32>(count)));
    constexpr u32 kChunk = 64;
    pollfd chunk[kChunk];
    for (u32 at = 0; at < count; at += kChunk) {
        u32 some = count - at < kChunk ? static_cast<u32>(count) - at : kChunk;
        TRY(copy_in(chunk, user + at * sizeof(pollfd), some * sizeof(pollfd)));
        for (u32 index = 0; index < some; ++index) {
            if (chunk[index].fd < 0) continue;
            Watched& watched = list[at + index];
            watched.want = static_cast<u16>(chunk[index].events);
            if (!watched.file.hold(thread, static_cast<u32>(chunk[index].fd)).ok()) watched.got = kPollNval;
        }
    }
    u32 ready = TRY(wait_for_files(thread, list, deadline));
    // One field of each record goes back; the others belong to the program.
    for (u32 index = 0; index < count; ++index)
        TRY(write_user(user + index * sizeof(pollfd) + offsetof(pollfd, revents), static_cast<i16>(list[index].got)));
    return ready;
}

Res<i64> restart_poll(Thread& thread) {
    u64* data = thread.restart_data;
    auto ready = poll_files(thread, data[0], data[1], data[2]);
    if (!ready.ok()) {
        if (ready.error() != Errno::restart_sys) return Failure{ready.error()};
        thread.restart = restart_poll;
        return Failure{Errno::restart_block};
    }
    return ready.value();
}

struct UserTime {
    u64 address;
    bool micro;
    gate::Deadline deadline = gate::kForever;

    Res<void> read() {
        if (address == 0) return {};
        if (micro) {
            TimeVal time = TRY(read_user<TimeVal>(address));
            // select(2) takes microseconds beyond a second.
            if (time.seconds < 0 || time.microseconds < 0) return Failure{Errno::inval};
            time.seconds += time.microseconds / 1'000'000;
            time.microseconds %= 1'000'000;
            u64 nanoseconds = TRY(to_nanoseconds(time));
            deadline = deadline_after(nanoseconds);
        } else {
            deadline = TRY(read_timeout(address));
        }
        return {};
    }
    /// What is left, as Linux tells it; a read-only place is no error.
    void write_back() const {
        constexpr u32 kSticky = 0x4000000;  // personality(2): STICKY_TIMEOUTS
        if (address == 0 || (current_process().personality & kSticky) != 0) return;
        u64 left = left_until(deadline);
        if (micro)
            (void)write_user(address, TimeVal{static_cast<i64>(left / 1'000'000'000),
                                              static_cast<i64>(left % 1'000'000'000 / 1000)});
        else
            (void)write_user(address, to_timespec(left));
    }
};

struct BitSet {
    u64* words = nullptr;
    bool get(u32 fd) const { return words != nullptr && (words[fd / 64] >> fd % 64 & 1) != 0; }
};

/// The three sets of select(2), in private memory.
class SelectSets {
public:
    SelectSets() = default;
    SelectSets(const SelectSets&) = delete;
    ~SelectSets() {
        if (memory_ != nullptr && memory_ != small_) heap::release(memory_, 3 * bytes_);
    }
    Res<void> read(u32 count, const u64 (&addresses)[3]) {
        words_ = (count + 63) / 64;
        bytes_ = words_ * sizeof(u64);
        memory_ = small_;
        if (words_ > kSmall) memory_ = static_cast<u64*>(TRY(heap::allocate(3 * bytes_)));
        for (u32 set = 0; set < 3; ++set) {
            if (addresses[set] == 0) continue;
            sets[set].words = memory_ + set * words_;
            TRY(copy_in(sets[set].words, addresses[set], bytes_));
        }
        return {};
    }
    void clear() {
        for (BitSet& set : sets)
            if (set.words != nullptr) memset(set.words, 0, bytes_);
    }
    Res<void> write(const u64 (&addresses)[3]) {
        for (u32 set = 0; set < 3; ++set)
            if (addresses[set] != 0) TRY(copy_out(addresses[set], sets[set].words, bytes_));
        return {};
    }
    BitSet sets[3];

private:
    static constexpr u32 kSmall = 16;
    u64 small_[3 * kSmall];
    u64* memory_ = nullptr;
    u64 words_ = 0, bytes_ = 0;
};

Res<u32> select_files(Thread& thread, i64 count, const u64 (&addresses)[3], gate::Deadline deadline) {
    if (count < 0) return Failure{Errno::inval};
    u32 limit = static_cast<u32>(count);
    // Bits behind the largest open descriptor are not looked at, as in Linux.
    i32 highest = -1;
    for (i32 fd = thread.process->files->next_open(0); fd >= 0 && fd < count;
         fd = thread.process->files->next_open(static_cast<u32>(fd) + 1))
        highest = fd;
    u32 looked = static_cast<u32>(highest + 1 + 63) / 64 * 64;
    if (looked < 256) looked = 256;
    if (limit > looked) limit = looked;
    SelectSets sets;
    TRY(sets.read(limit, addresses));

    u32 used = 0;
    for (u32 fd = 0; fd < limit; ++fd)
        if (sets.sets[0].get(fd) || sets.sets[1].get(fd) || sets.sets[2].get(fd)) ++used;
    WatchList list;
    TRY(list.reserve(used));
    u32 at = 0;
    for (u32 fd = 0; fd < limit; ++fd) {
        u32 want = (sets.sets[0].get(fd) ? kPollInSet : 0) | (sets.sets[1].get(fd) ? kPollOutSet : 0) |
                   (sets.sets[2].get(fd) ? u32{kPollPri} : 0);
        if (want == 0) continue;
        TRY(list[at].file.hold(thread, fd));
        list[at++].want = want;
    }
    TRY(wait_for_files(thread, list, deadline));

    u32 result = 0;
    at = 0;
    for (u32 fd = 0; fd < limit; ++fd) {
        constexpr u32 kMeaning[3] = {kPollInSet, kPollOutSet, kPollPri};
        bool any = false;
        for (u32 set = 0; set < 3; ++set) {
            if (!sets.sets[set].get(fd)) continue;
            any = true;
            if ((list[at].got & kMeaning[set]) != 0)
                ++result;
            else
                sets.sets[set].words[fd / 64] &= ~(1ull << fd % 64);
        }
        if (any) ++at;
    }
    TRY(sets.write(addresses));
    return result;
}

}  // namespace

Res<i64> sys_poll(Thread& thread, Arguments arguments) {
    i32 milliseconds = static_cast<i32>(arguments[2]);
    gate::Deadline deadline =
        milliseconds < 0 ? gate::kForever : deadline_after(static_cast<u64>(milliseconds) * 1'000'000);
    auto ready = poll_files(thread, arguments[0], static_cast<u32>(arguments[1]), deadline);
    if (!ready.ok()) {
        if (ready.error() != Errno::restart_sys) return Failure{ready.error()};
        // Goes on after SIGCONT with the time that is left; after a handler it answers EINTR.
        thread.restart_data[0] = arguments[0];
        thread.restart_data[1] = static_cast<u32>(arguments[1]);
        thread.restart_data[2] = deadline;
        thread.restart = restart_poll;
        return Failure{Errno::restart_block};
    }
    return ready.value();
}

Res<i64> sys_ppoll(Thread& thread, Arguments arguments) {
    UserTime time{arguments[2], false};
    TRY(time.read());
    TemporaryMask mask{thread};
    TRY(mask.begin(arguments[3], arguments[4]));
    auto ready = poll_files(thread, arguments[0], static_cast<u32>(arguments[1]), time.deadline);
    if (!ready.ok() && ready.error() == Errno::restart_sys) {
        mask.interrupted();
        time.write_back();
        return Failure{Errno::restart_no_hand};
    }
    time.write_back();
    return TRY(std::move(ready));
}

namespace {

Res<i64> select_call(Thread& thread, Arguments arguments, bool micro, u64 mask_address, u64 mask_size) {
    UserTime time{arguments[4], micro};
    TRY(time.read());
    TemporaryMask mask{thread};
    TRY(mask.begin(mask_address, mask_size));
    const u64 addresses[3] = {arguments[1], arguments[2], arguments[3]};
    auto ready = select_files(thread, static_cast<i32>(arguments[0]), addresses, time.deadline);
    time.write_back();
    if (!ready.ok() && ready.error() == Errno::restart_sys) {
        mask.interrupted();
        return Failure{Errno::restart_no_hand};
    }
    return TRY(std::move(ready));
}

}  // namespace

Res<i64> sys_select(Thread& thread, Arguments arguments) { return select_call(thread, arguments, true, 0, 0); }

Res<i64> sys_pselect6(Thread& thread, Arguments arguments) {
    u64 mask[2] = {};
    if (arguments[5] != 0) TRY(copy_in(mask, arguments[5], sizeof mask));
    return select_call(thread, arguments, false, mask[0], mask[1]);
}

}  // namespace postern::libos
