// SPDX-License-Identifier: Apache-2.0
// Waiting for many files at once: what poll(2), select(2) and epoll_wait(2) share.
#pragma once

#include "libos/fs/fd_table.hpp"
#include "libos/ipc/anonymous.hpp"
#include "libos/signal/state.hpp"
#include "libos/time/timers.hpp"

namespace postern::libos {

inline constexpr u32 kPollInSet = kPollRdNorm | kPollRdBand | kPollIn | kPollHup | kPollErr;
inline constexpr u32 kPollOutSet = kPollWrBand | kPollWrNorm | kPollOut | kPollErr;

/// What the gate calls the readiness that `events` ask for.
constexpr u32 ready_bits(u32 events) {
    u32 bits = 0;
    if ((events & (kPollIn | kPollRdNorm | kPollRdHup)) != 0) bits |= gate::kReadyRead;
    if ((events & (kPollOut | kPollWrNorm)) != 0) bits |= gate::kReadyWrite;
    if ((events & kPollPri) != 0) bits |= gate::kReadyPriority;
    return bits;
}

struct Watched {
    HeldFile file;  ///< none: skipped, with `got` kept
    u32 want = 0;   ///< PollBits
    u32 got = 0;
    WaitEntry* entry = nullptr;
};

/// A list of Watched in private memory; small ones live inside.
class WatchList {
public:
    WatchList() = default;
    WatchList(const WatchList&) = delete;
    ~WatchList();
    Res<void> reserve(u32 count);
    Watched* begin() { return items_; }
    Watched* end() { return items_ + count_; }
    Watched& operator[](u32 index) { return items_[index]; }
    u32 size() const { return count_; }

private:
    static constexpr u32 kEmbedded = 8;
    alignas(Watched) u8 embedded_[kEmbedded * sizeof(Watched)];
    Watched* items_ = nullptr;
    u32 count_ = 0;
};

/// Waits until some file has what is wanted of it, error or hang-up. Returns how many have; 0 at the deadline.
/// Errno::restart_sys when a signal is to be delivered first.
Res<u32> wait_for_files(Thread& thread, WatchList& list, gate::Deadline deadline);

class HostItems;
/// Adds the host streams that readiness of `file` depends on: its own, or the members of an epoll set.
void collect_host_items(File& file, u32 want, HostItems& items);

/// Host streams to wait for, gathered with room for as many as the gate takes.
class HostItems {
public:
    HostItems() = default;
    HostItems(const HostItems&) = delete;
    ~HostItems();
    void clear() { count_ = 0; }
    /// Without memory, or beyond the gate's limit, the stream is left out; callers then wait in short turns.
    void add(gate::Handle handle, u32 want);
    gate::WaitItem* data() { return items_; }
    u32 count() const { return count_; }
    bool complete() const { return complete_; }

private:
    static constexpr u32 kEmbedded = 16, kMost = 4096;
    gate::WaitItem embedded_[kEmbedded];
    gate::WaitItem* items_ = embedded_;
    u32 count_ = 0, capacity_ = kEmbedded;
    bool complete_ = true;
};

/// The mask that ppoll, pselect6 and epoll_pwait wait under, for the length of the call.
class TemporaryMask {
public:
    explicit TemporaryMask(Thread& thread) : thread_{thread} {}
    TemporaryMask(const TemporaryMask&) = delete;
    ~TemporaryMask() {
        if (active_) end_temporary_mask(thread_, interrupted_);
    }
    /// `address` 0: none. Errno::inval unless `size` is that of a kernel sigset.
    Res<void> begin(u64 address, u64 size);
    void interrupted() { interrupted_ = true; }

private:
    Thread& thread_;
    bool active_ = false, interrupted_ = false;
};

}  // namespace postern::libos
