// SPDX-License-Identifier: Apache-2.0
#include "libos/ipc/waiting.hpp"

#include <new>

#include "base/memory.hpp"
#include "libos/process/process.hpp"
#include "libos/shared/arena.hpp"
#include "libos/user.hpp"

namespace postern::libos {

WatchList::~WatchList() {
    for (u32 index = 0; index < count_; ++index) items_[index].~Watched();
    if (items_ != nullptr && static_cast<void*>(items_) != embedded_) heap::release(items_, count_ * sizeof(Watched));
}

Res<void> WatchList::reserve(u32 count) {
    void* memory = embedded_;
    if (count > kEmbedded) memory = TRY(heap::allocate(count * sizeof(Watched)));
    items_ = static_cast<Watched*>(memory);
    for (u32 index = 0; index < count; ++index) new (&items_[index]) Watched;
    count_ = count;
    return {};
}

HostItems::~HostItems() {
    if (items_ != embedded_) heap::release(items_, capacity_ * sizeof(gate::WaitItem));
}

void HostItems::add(gate::Handle handle, u32 want) {
    if (count_ == capacity_) {
        u32 wanted = capacity_ * 4;
        auto memory =
            capacity_ >= kMost ? Res<void*>{Failure{Errno::nomem}} : heap::allocate(wanted * sizeof(gate::WaitItem));
        if (!memory.ok()) {
            complete_ = false;
            return;
        }
        memcpy(memory.value(), items_, count_ * sizeof(gate::WaitItem));
        if (items_ != embedded_) heap::release(items_, capacity_ * sizeof(gate::WaitItem));
        items_ = static_cast<gate::WaitItem*>(memory.value());
        capacity_ = wanted;
    }
    items_[count_++] = {handle, want, 0, 0};
}

namespace {

u32 look(Thread& thread, WatchList& list) {
    u32 ready = 0;
    for (Watched& watched : list) {
        if (watched.file.get() != nullptr)
            watched.got = watched.file->poll(thread) & (watched.want | kPollErr | kPollHup);
        if (watched.got != 0) ++ready;
    }
    return ready;
}

/// The wait entries of one call: removed whatever way it ends.
class Entries {
public:
    Entries(Thread& thread, WatchList& list) : thread_{thread}, list_{list} {}
    ~Entries() {
        for (Watched& watched : list_) {
            if (watched.entry == nullptr) continue;
            if (watched.entry->queue != nullptr) watched.entry->queue->remove(*watched.entry);
            wait_entry_release(thread_, *watched.entry);
            watched.entry = nullptr;
        }
    }
    Res<void> add() {
        for (Watched& watched : list_) {
            if (watched.file.get() == nullptr) continue;
            WaitQueue* queue = watched.file->wait_queue();
            if (queue == nullptr) continue;
            watched.entry = TRY(wait_entry_acquire(thread_));
            watched.entry->thread = &thread_;
            queue->add(*watched.entry, watched.want | kPollErr | kPollHup);
        }
        return {};
    }

private:
    Thread& thread_;
    WatchList& list_;
};

}  // namespace

Res<u32> wait_for_files(Thread& thread, WatchList& list, gate::Deadline deadline) {
    u32 ready = look(thread, list);
    if (ready != 0 || deadline == gate::kPoll) return ready;
    Blocker blocker{thread};
    Entries entries{thread, list};
    TRY(entries.add());
    HostItems items;
    for (Watched& watched : list)
        if (watched.file.get() != nullptr) collect_host_items(*watched.file.get(), watched.want, items);
    for (;;) {
        blocker.prepare();
        ready = look(thread, list);
        if (ready != 0) return ready;
        gate::Deadline until = deadline;
        for (Watched& watched : list) {
            // What time makes ready is ready for reading. Who does not ask for that must not be woken by it for ever.
            if (watched.file.get() == nullptr || (watched.want & (kPollIn | kPollRdNorm)) == 0) continue;
            u64 at = watched.file->ready_at();
            if (at < until) until = at;
        }
        if (!items.complete()) {
            u64 soon = monotonic_now() + 10'000'000;
            if (soon < until) until = soon;
        }
        auto waited = blocker.wait(until, items.data(), items.count());
        if (waited.ok()) continue;
        ready = look(thread, list);
        if (ready != 0) return ready;
        if (waited.error() != Errno::timedout) return Failure{waited.error()};
        if (until == deadline || monotonic_now() >= deadline) return 0u;
    }
}

Res<void> TemporaryMask::begin(u64 address, u64 size) {
    if (address == 0) return {};
    if (size != sizeof(u64)) return Failure{Errno::inval};
    u64 mask = TRY(read_user<u64>(address));
    begin_temporary_mask(thread_, mask);
    active_ = true;
    return {};
}

}  // namespace postern::libos
