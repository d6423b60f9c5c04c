// SPDX-License-Identifier: Apache-2.0
// epoll(7): see epoll.hpp.
#include "libos/ipc/epoll.hpp"

#include <linux/eventpoll.h>

#include "libos/process/process.hpp"
#include "libos/shared/roots.hpp"

namespace postern::libos {

class EpollFile;

struct EpollItem {
    ListLink in_set;
    ListLink in_ready;
    ListLink in_polled;
    WaitEntry entry;  ///< in the file's queue; cookie: this item
    EpollFile* set = nullptr;
    File* file = nullptr;             ///< not referenced: epoll_forget comes before it ends
    EpollItem* next_watch = nullptr;  ///< of the same file
    u32 fd = 0;
    u32 events = 0;  ///< 0 in the low bits: disabled by EPOLLONESHOT
    u64 data = 0;
    u32 queued = 0;    ///< on the ready list
    u32 polled = 0;    ///< looked at with every wait
    u32 reported = 0;  ///< edge-triggered and polled: bits already told
    u64 edge = 0;      ///< File::edge_count at that time
};

namespace {

constexpr u32 kPrivateBits = EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE;
constexpr u32 kDeepest = 5;  // nesting, as Linux

/// Serialises every change of any set's members.
SharedLock& tree_lock() {
    auto made = arena::root<SharedLock>(kRootEpoll);
    if (!made.ok()) panic("no memory for the lock of epoll sets");
    return *made.value();
}

bool is_polled(File& file) {
    return file.host_handle() != gate::kNoHandle || file.kind() == FileKind::timer || file.kind() == FileKind::signal ||
           file.kind() == FileKind::epoll;
}

}  // namespace

class EpollFile final : public File {
public:
    explicit EpollFile(u32 flags) { status_flags = flags; }
    ~EpollFile() override;

    FileKind kind() const override { return FileKind::epoll; }
    u32 poll(Thread& thread) override;
    WaitQueue* wait_queue() override { return &queue_; }
    u64 ready_at() override;
    u64 edge_count() override { return __atomic_load_n(&announcements_, __ATOMIC_RELAXED); }
    Res<void> stat(Thread& thread, Stat& stat) override {
        fill_anonymous_stat(thread, stat, 0600, 1);
        return {};
    }

    /// All three with the tree lock held.
    Res<void> add(Thread& thread, File& file, u32 fd, const EpollEvent& event);
    Res<void> modify(Thread& thread, EpollItem& item, const EpollEvent& event);
    void remove(EpollItem& item);

    u32 members() const { return members_; }
    u32 scan(Thread& thread, EpollEvent* events, u32 capacity);
    Res<u32> wait(Thread& thread, EpollEvent* events, u32 capacity, gate::Deadline deadline);
    void collect(HostItems& items, u32 depth);
    bool has_signals();
    bool reaches(EpollFile& other, u32 depth);
    u32 height();
    void visit(void (*visit)(u32, u32, u64, void*), void* cookie);

private:
    static bool announce(WaitEntry& entry, u32 events);
    void make_ready(EpollItem& item);
    u32 due(Thread& thread, EpollItem& item, bool consume);

    SharedLock lock_;        ///< members and their events
    SharedLock ready_lock_;  ///< the ready list; taken below a file's queue lock
    List<EpollItem, &EpollItem::in_set> items_;
    u32 members_ = 0;
    List<EpollItem, &EpollItem::in_ready> ready_;
    List<EpollItem, &EpollItem::in_polled> polled_;
    WaitQueue queue_;
    u64 announcements_ = 0;
};

EpollFile::~EpollFile() {
    Guard tree{tree_lock()};
    while (EpollItem* item = items_.front()) remove(*item);
}

/// With the queue of the watched file locked.
bool EpollFile::announce(WaitEntry& entry, u32 events) {
    EpollItem& item = *reinterpret_cast<EpollItem*>(entry.cookie);
    u32 wanted = __atomic_load_n(&item.events, __ATOMIC_RELAXED);
    if ((wanted & ~kPrivateBits) == 0) return false;  // disabled by EPOLLONESHOT
    if ((events & (wanted | kPollErr | kPollHup)) == 0) return false;
    EpollFile& set = *item.set;
    __atomic_add_fetch(&set.announcements_, 1, __ATOMIC_RELAXED);
    if (item.polled == 0) set.make_ready(item);
    const bool waited_for = set.queue_.has_waiters();
    set.queue_.wake(kPollIn | kPollRdNorm);
    return waited_for;
}

void EpollFile::make_ready(EpollItem& item) {
    Guard guard{ready_lock_};
    if (item.queued != 0) return;
    item.queued = 1;
    undoable_push_back(ready_lock_, ready_, item);
}

Res<void> EpollFile::add(Thread& thread, File& file, u32 fd, const EpollEvent& event) {
    EpollItem* item = TRY(arena::create<EpollItem>());
    item->set = this;
    item->file = &file;
    item->fd = fd;
    item->events = event.events & ~EPOLLWAKEUP;
    item->data = event.data;
    item->polled = is_polled(file) ? 1 : 0;
    item->entry.cookie = reinterpret_cast<u64>(item);
    item->entry.notify = &EpollFile::announce;
    item->entry.exclusive = (event.events & EPOLLEXCLUSIVE) != 0 ? 1 : 0;
    {
        Guard guard{lock_};
        undoable_push_back(lock_, items_, *item);
        ++members_;
        if (item->polled != 0) undoable_push_back(lock_, polled_, *item);
    }
    item->next_watch = file.watches;
    __atomic_store_n(&file.watches, item, __ATOMIC_RELEASE);
    // A signal file's queue belongs to whoever waits: wait() adds it.
    WaitQueue* queue = file.kind() == FileKind::signal ? nullptr : file.wait_queue();
    if (queue != nullptr) queue->add(item->entry, ~0u);
    // It may have been ready before the queue knew of it; the next scan finds out.
    if (item->polled == 0 && (file.poll(thread) & (item->events | kPollErr | kPollHup)) != 0) make_ready(*item);
    queue_.wake(kPollIn | kPollRdNorm);
    return {};
}

Res<void> EpollFile::modify(Thread& thread, EpollItem& item, const EpollEvent& event) {
    {
        Guard guard{lock_};
        __atomic_store_n(&item.events, event.events & ~EPOLLWAKEUP, __ATOMIC_SEQ_CST);
        item.data = event.data;
        item.reported = 0;
    }
    if (item.polled == 0 && (item.file->poll(thread) & (item.events | kPollErr | kPollHup)) != 0) make_ready(item);
    queue_.wake(kPollIn | kPollRdNorm);
    return {};
}

void EpollFile::remove(EpollItem& item) {
    if (item.entry.queue != nullptr) item.entry.queue->remove(item.entry);
    for (EpollItem** at = &item.file->watches; *at != nullptr; at = &(*at)->next_watch) {
        if (*at != &item) continue;
        __atomic_store_n(at, item.next_watch, __ATOMIC_RELEASE);
        break;
    }
    {
        Guard guard{lock_};
        undoable_unlink(lock_, item.in_set);
        --members_;
        undoable_unlink(lock_, item.in_polled);
        Guard ready{ready_lock_};
        undoable_unlink(ready_lock_, item.in_ready);
    }
    arena::destroy(&item);
}

/// With lock_ held: what is to be reported of the item now. `consume`: it will be.
u32 EpollFile::due(Thread& thread, EpollItem& item, bool consume) {
    if ((item.events & ~kPrivateBits) == 0) return 0;
    u32 bits = item.file->poll(thread) & (item.events | kPollErr | kPollHup);
    if (item.polled != 0 && (item.events & EPOLLET) != 0) {
        u64 edge = item.file->edge_count();
        u32 fresh = edge != item.edge ? bits : bits & ~item.reported;
        if (consume) item.edge = edge, item.reported = bits;
        if (fresh == 0) return 0;
    }
    if (bits != 0 && consume && (item.events & EPOLLONESHOT) != 0)
        __atomic_store_n(&item.events, item.events & kPrivateBits, __ATOMIC_SEQ_CST);
    return bits;
}

u32 EpollFile::scan(Thread& thread, EpollEvent* events, u32 capacity) {
    Guard guard{lock_};
    u32 count = 0;
    for (EpollItem* item = polled_.front(); item != nullptr && count < capacity; item = polled_.next(*item)) {
        u32 bits = due(thread, *item, true);
        if (bits != 0) events[count++] = {bits, item->data};
    }
    // Each item that is on the list now is looked at once: level-triggered ones go to its end again, so that all get
    // their turn when there are more than fit.
    EpollItem* last = nullptr;
    {
        Guard ready{ready_lock_};
        last = ready_.back();
    }
    bool more = last != nullptr;
    while (more && count < capacity) {
        EpollItem* item;
        {
            Guard ready{ready_lock_};
            item = ready_.front();
            if (item == nullptr) break;
            undoable_unlink(ready_lock_, item->in_ready);
            item->queued = 0;  // from here on a change puts it there anew
        }
        more = item != last;
        u32 bits = due(thread, *item, true);
        if (bits == 0) continue;
        events[count++] = {bits, item->data};
        if ((item->events & (EPOLLET | EPOLLONESHOT)) == 0) make_ready(*item);
    }
    return count;
}

u32 EpollFile::poll(Thread& thread) {
    Guard guard{lock_};
    for (EpollItem* item = polled_.front(); item != nullptr; item = polled_.next(*item))
        if (due(thread, *item, false) != 0) return kPollIn | kPollRdNorm;
    for (u32 step = 0;; ++step) {
        EpollItem* item;
        {
            Guard ready{ready_lock_};
            item = ready_.front();
            if (item == nullptr) return 0;
        }
        if (due(thread, *item, false) != 0) return kPollIn | kPollRdNorm;
        // No longer ready: off the list, unless it has just been announced again.
        Guard ready{ready_lock_};
        undoable_unlink(ready_lock_, item->in_ready);
        item->queued = 0;
        if ((item->file->poll(thread) & (item->events | kPollErr | kPollHup)) != 0 &&
            (item->events & ~kPrivateBits) != 0) {
            item->queued = 1;
            undoable_push_back(ready_lock_, ready_, *item);
            return kPollIn | kPollRdNorm;
        }
    }
}

u64 EpollFile::ready_at() {
    Guard guard{lock_};
    u64 earliest = gate::kForever;
    for (EpollItem* item = polled_.front(); item != nullptr; item = polled_.next(*item)) {
        if ((item->events & (kPollIn | kPollRdNorm)) == 0) continue;  // time makes files ready for reading
        u64 at = item->file->ready_at();
        // An expiry that an edge-triggered watch has told already does not come again.
        if ((item->events & EPOLLET) != 0 && item->reported != 0 && item->edge == item->file->edge_count() &&
            at <= monotonic_now())
            continue;
        if (at < earliest) earliest = at;
    }
    return earliest;
}

void EpollFile::collect(HostItems& items, u32 depth) {
    if (depth > kDeepest) return;
    Guard guard{lock_};
    for (EpollItem* item = polled_.front(); item != nullptr; item = polled_.next(*item)) {
        u32 wanted = item->events & ~kPrivateBits;
        if (wanted == 0) continue;
        if (item->file->kind() == FileKind::epoll) {
            static_cast<EpollFile*>(item->file)->collect(items, depth + 1);
            continue;
        }
        if (item->file->host_handle() == gate::kNoHandle) continue;
        if ((item->events & EPOLLET) != 0 && item->edge == item->file->edge_count()) {
            wanted &= ~item->reported;
            // Error and hang-up end every wait on the stream; once told they would end it at once for ever.
            if (ready_bits(wanted) == 0 || (item->reported & (kPollErr | kPollHup)) != 0) continue;
        }
        items.add(item->file->host_handle(), ready_bits(wanted));
    }
}

bool EpollFile::has_signals() {
    Guard guard{lock_};
    for (EpollItem* item = polled_.front(); item != nullptr; item = polled_.next(*item))
        if (item->file->kind() == FileKind::signal) return true;
    return false;
}

/// With the tree lock held.
bool EpollFile::reaches(EpollFile& other, u32 depth) {
    if (this == &other) return true;
    if (depth > kDeepest) return true;
    for (EpollItem* item = polled_.front(); item != nullptr; item = polled_.next(*item))
        if (item->file->kind() == FileKind::epoll && static_cast<EpollFile*>(item->file)->reaches(other, depth + 1))
            return true;
    return false;
}

/// Levels of sets below this one. With the tree lock held.
u32 EpollFile::height() {
    u32 most = 0;
    for (EpollItem* item = polled_.front(); item != nullptr; item = polled_.next(*item)) {
        if (item->file->kind() != FileKind::epoll) continue;
        u32 below = 1 + static_cast<EpollFile*>(item->file)->height();
        if (below > most) most = below;
    }
    return most;
}

Res<u32> EpollFile::wait(Thread& thread, EpollEvent* events, u32 capacity, gate::Deadline deadline) {
    u32 count = scan(thread, events, capacity);
    if (count != 0 || deadline == gate::kPoll) return count;

    struct Entered {
        Thread& thread;
        WaitEntry* entry = nullptr;
        Res<void> enter(WaitQueue& queue) {
            entry = TRY(wait_entry_acquire(thread));
            entry->thread = &thread;
            queue.add(*entry, kPollIn | kPollRdNorm);
            return {};
        }
        ~Entered() {
            if (entry == nullptr) return;
            if (entry->queue != nullptr) entry->queue->remove(*entry);
            wait_entry_release(thread, *entry);
        }
    };
    Blocker blocker{thread};
    Entered own{thread}, signals{thread};
    TRY(own.enter(queue_));
    HostItems items;
    for (;;) {
        if (signals.entry == nullptr && has_signals()) TRY(signals.enter(thread.process->signal_events));
        blocker.prepare();
        count = scan(thread, events, capacity);
        if (count != 0) return count;
        items.clear();
        collect(items, 0);
        gate::Deadline until = ready_at();
        if (deadline < until) until = deadline;
        if (!items.complete()) {
            u64 soon = monotonic_now() + 10'000'000;
            if (soon < until) until = soon;
        }
        auto waited = blocker.wait(until, items.data(), items.count());
        if (waited.ok()) continue;
        count = scan(thread, events, capacity);
        if (count != 0) return count;
        if (waited.error() != Errno::timedout) return Failure{waited.error()};
        if (until == deadline || monotonic_now() >= deadline) return 0u;
    }
}

void EpollFile::visit(void (*visit)(u32, u32, u64, void*), void* cookie) {
    Guard guard{lock_};
    for (EpollItem* item = items_.front(); item != nullptr; item = items_.next(*item))
        visit(item->fd, item->events, item->data, cookie);
}

Res<FileRef> make_epoll_file(u32 open_flags) {
    auto* file = TRY(make_file<EpollFile>(open_flags));
    set_path(*file, "anon_inode:[eventpoll]");
    return FileRef{file};
}

Res<void> epoll_control(Thread& thread, File& set, u32 operation, File& file, u32 fd, const EpollEvent& event) {
    // Files that are always ready (regular ones, directories, /dev/null) cannot be watched, as in Linux.
    if (file.host_handle() == gate::kNoHandle && file.kind() != FileKind::signal && file.wait_queue() == nullptr)
        return Failure{Errno::perm};
    if (&set == &file || set.kind() != FileKind::epoll) return Failure{Errno::inval};
    constexpr u32 kExclusiveOk = kPollIn | kPollOut | kPollErr | kPollHup | kPrivateBits;
    if (operation != EPOLL_CTL_DEL && (event.events & EPOLLEXCLUSIVE) != 0) {
        if (operation == EPOLL_CTL_MOD || file.kind() == FileKind::epoll ||
            (event.events & ~(kExclusiveOk & ~EPOLLONESHOT)) != 0)
            return Failure{Errno::inval};
    }
    auto& epoll = static_cast<EpollFile&>(set);
    Guard tree{tree_lock()};
    EpollItem* item = file.watches;
    while (item != nullptr && (item->set != &epoll || item->fd != fd)) item = item->next_watch;
    switch (operation) {
        case EPOLL_CTL_ADD:
            if (item != nullptr) return Failure{Errno::exist};
            if (file.kind() == FileKind::epoll) {
                auto& inner = static_cast<EpollFile&>(file);
                if (inner.reaches(epoll, 0) || inner.height() + 1 >= kDeepest) return Failure{Errno::loop};
            }
            return epoll.add(thread, file, fd, event);
        case EPOLL_CTL_MOD:
            if (item == nullptr) return Failure{Errno::noent};
            if ((item->events & EPOLLEXCLUSIVE) != 0) return Failure{Errno::inval};
            return epoll.modify(thread, *item, event);
        case EPOLL_CTL_DEL:
            if (item == nullptr) return Failure{Errno::noent};
            epoll.remove(*item);
            return {};
        default: return Failure{Errno::inval};
    }
}

Res<u32> epoll_wait(Thread& thread, File& set, EpollEvent* events, u32 capacity, gate::Deadline deadline) {
    if (set.kind() != FileKind::epoll) return Failure{Errno::inval};
    return static_cast<EpollFile&>(set).wait(thread, events, capacity, deadline);
}

u32 epoll_members(File& set) { return set.kind() == FileKind::epoll ? static_cast<EpollFile&>(set).members() : 0; }

void epoll_forget(File& file) {
    Guard tree{tree_lock()};
    while (EpollItem* item = file.watches) item->set->remove(*item);
}

void epoll_visit(File& set, void (*visit)(u32, u32, u64, void*), void* cookie) {
    if (set.kind() == FileKind::epoll) static_cast<EpollFile&>(set).visit(visit, cookie);
}

void collect_host_items(File& file, u32 want, HostItems& items) {
    if (file.kind() == FileKind::epoll) {
        static_cast<EpollFile&>(file).collect(items, 0);
    } else if (file.host_handle() != gate::kNoHandle) {
        items.add(file.host_handle(), ready_bits(want));
    }
}

}  // namespace postern::libos
