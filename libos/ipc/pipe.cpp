// SPDX-License-Identifier: Apache-2.0
// Pipes and FIFOs: see pipe.hpp and pipe_ring.hpp.
#include "libos/ipc/pipe.hpp"

#include <asm/ioctls.h>
#include <linux/fcntl.h>

#include "base/memory.hpp"
#include "libos/ipc/anonymous.hpp"
#include "libos/ipc/async.hpp"
#include "libos/ipc/pipe_ring.hpp"
#include "libos/proc/settings.hpp"
#include "libos/process/process.hpp"
#include "libos/user.hpp"

namespace postern::libos {

Pipe::~Pipe() {
    for (u64 index = 0; index < page_count_; ++index)
        if (pages_[index] != nullptr) arena::release_pages(pages_[index], 1);
    if (pages_ != embedded_) arena::release(pages_, page_count_ * sizeof(u8*));
}

u64 Pipe::peek(u8* buffer, u64 size) const {
    const u64 state = load(), count = state >> 32, first = state & 0xffff'ffff;
    if (size > count) size = count;
    for (u64 done = 0; done < size;) {
        u64 at = (first + done) & (capacity() - 1), chunk = kPageSize - at % kPageSize;
        if (chunk > size - done) chunk = size - done;
        memcpy(buffer + done, pages_[at / kPageSize] + at % kPageSize, chunk);
        done += chunk;
    }
    return size;
}

Res<void> Pipe::resize(u64 capacity) {
    const u64 wanted = capacity / kPageSize;
    if (wanted == page_count_) return {};
    const u64 count = bytes(), first = load() & 0xffff'ffff;
    if (count > capacity) return Failure{Errno::busy};
    // The bytes move to pages of a new table; only the last step, below, is seen by others.
    u8** table = static_cast<u8**>(TRY(arena::allocate(wanted * sizeof(u8*))));
    u64 done = 0;
    while (done < count) {
        u8*& page = table[done / kPageSize];
        if (page == nullptr) {
            auto fresh = arena::allocate_pages(1);
            if (!fresh.ok()) {
                for (u64 index = 0; index < wanted; ++index)
                    if (table[index] != nullptr) arena::release_pages(table[index], 1);
                arena::release(table, wanted * sizeof(u8*));
                return Failure{fresh.error()};
            }
            page = static_cast<u8*>(fresh.value());
        }
        u64 at = (first + done) & (this->capacity() - 1);
        u64 chunk = kPageSize - at % kPageSize;
        if (chunk > kPageSize - done % kPageSize) chunk = kPageSize - done % kPageSize;
        if (chunk > count - done) chunk = count - done;
        memcpy(page + done % kPageSize, pages_[at / kPageSize] + at % kPageSize, chunk);
        done += chunk;
    }
    u8** old = pages_;
    u64 old_count = page_count_;
    u8* kept[kEmbedded];
    if (old == embedded_) {
        memcpy(kept, embedded_, sizeof kept);
        old = kept;
    }
    undo_record(lock, reinterpret_cast<u64*>(&pages_));
    undo_record(lock, &state_);
    undo_record(lock, &page_count_);
    pages_ = table;
    page_count_ = wanted;
    commit(0, count);
    undo_commit(lock);
    for (u64 index = 0; index < old_count; ++index)
        if (old[index] != nullptr) arena::release_pages(old[index], 1);
    if (old != kept) arena::release(old, old_count * sizeof(u8*));
    memset(embedded_, 0, sizeof embedded_);
    return {};
}

namespace {

constexpr u32 kEnds = kPollIn | kPollOut | kPollRdNorm | kPollWrNorm | kPollErr | kPollHup;

void add(volatile u32& count, u32 value) { count = count + value; }

class PipeFile final : public File {
public:
    PipeFile(Pipe& pipe, u32 flags) : pipe_{pipe} {
        status_flags = flags;
        pipe_reference(pipe_);
        reads_ = (flags & O_ACCMODE) != O_WRONLY;
        writes_ = (flags & O_ACCMODE) != O_RDONLY;
        Guard guard{pipe_.lock};
        met_partner_ = (reads_ ? pipe_.writers : pipe_.readers) != 0;
        partner_opens_ = reads_ ? pipe_.writer_opens : pipe_.reader_opens;
        if (reads_) add(pipe_.readers, 1), add(pipe_.reader_opens, 1);
        if (writes_) add(pipe_.writers, 1), add(pipe_.writer_opens, 1);
    }
    ~PipeFile() override {
        bool one_sided;
        {
            Guard guard{pipe_.lock};
            if (reads_) add(pipe_.readers, ~0u);
            if (writes_) add(pipe_.writers, ~0u);
            one_sided = (pipe_.readers == 0) != (pipe_.writers == 0);
        }
        if (one_sided) pipe_.queue.wake(kEnds);
        pipe_release(pipe_);
    }

    FileKind kind() const override { return FileKind::pipe; }
    Pipe& pipe() { return pipe_; }
    bool reads() const { return reads_; }
    bool writes() const { return writes_; }
    /// Was the other side open when this one was counted? It may have said all and gone since.
    bool met_partner() const { return met_partner_; }
    /// How often the other side had been opened then.
    u32 partner_opens() const { return partner_opens_; }
    /// Opened without waiting for a writer: no hang-up is seen before the first one came.
    void expect_writer() { waiting_for_writer_ = true; }

    Res<i64> read(Thread& thread, u64 user, u64 size, u64) override {
        return receive(thread, size,
                       [user](u8* ring, u64 done, u64 bytes) { return copy_out_some(user + done, ring, bytes); });
    }
    Res<i64> read_kernel(Thread& thread, void* buffer, u64 size, u64) override {
        return receive(thread, size, [buffer](u8* ring, u64 done, u64 bytes) {
            memcpy(static_cast<u8*>(buffer) + done, ring, bytes);
            return bytes;
        });
    }
    Res<i64> write(Thread& thread, u64 user, u64 size, u64) override {
        return send(thread, size,
                    [user](u8* ring, u64 done, u64 bytes) { return copy_in_some(ring, user + done, bytes); });
    }
    Res<i64> write_kernel(Thread& thread, const void* buffer, u64 size, u64) override {
        return send(thread, size, [buffer](u8* ring, u64 done, u64 bytes) {
            memcpy(ring, static_cast<const u8*>(buffer) + done, bytes);
            return bytes;
        });
    }

    Res<void> stat(Thread& thread, Stat& stat) override {
        if (inode != nullptr) return inode->stat(thread, stat);  // a FIFO
        fill_anonymous_stat(thread, stat, kTypeFifo | 0600, arena::offset_of(&pipe_) / 16);
        return {};
    }
    Res<i64> ioctl(Thread&, u32 request, u64 argument) override {
        if (request != FIONREAD) return Failure{Errno::notty};
        TRY(write_user(argument, static_cast<i32>(pipe_.bytes())));
        return 0;
    }
    u32 poll(Thread&) override {
        u32 bits = 0;
        if (reads_) {
            if (pipe_.bytes() != 0) bits |= kPollIn | kPollRdNorm;
            if (pipe_.writers == 0 && !(waiting_for_writer_ && partner_opens_ == pipe_.writer_opens)) bits |= kPollHup;
        }
        if (writes_) {
            if (pipe_.writable()) bits |= kPollOut | kPollWrNorm;
            if (pipe_.readers == 0) bits |= kPollErr;
        }
        return bits;
    }
    WaitQueue* wait_queue() override { return &pipe_.queue; }
    bool signals_readiness() const override { return true; }
    void async_changed(bool on) override {
        if (on && writes_) pipe_.signalled = 1;
    }
    u32 async_reasons(u32 events) const override {
        u32 reasons = 0;
        if (reads_ && (events & kPollIn) != 0) reasons |= 1u << kAsyncIn;
        if (writes_ && (events & kPollOut) != 0) reasons |= 1u << kAsyncOut;
        return reasons;
    }
    /// /proc/self/fd/N leads to the pipe, whichever end the descriptor is. Unlike a FIFO with a name (which is opened
    /// anew) it does not wait for a partner: that one may have said all and gone.
    Res<FileRef> reopen(Thread& thread, u32 open_flags) override {
        if (inode != nullptr) return pipe_open_fifo(thread, pipe_, open_flags);
        auto* file = TRY(make_file<PipeFile>(pipe_, open_flags));
        return FileRef{file};
    }

private:
    template <class Copy>
    Res<i64> receive(Thread& thread, u64 size, Copy copy) {
        if (size == 0) return 0;
        for (;;) {
            u64 got = 0, room = 0;
            bool faulted = false, ended;
            {
                Guard guard{pipe_.lock};
                room = pipe_.room();
                ended = pipe_.writers == 0;
                got = pipe_.take(size, copy, faulted);
            }
            if (got != 0) {
                // As Linux: writers hear of it when a whole page has become free.
                if ((room < kPipeBuf && room + got >= kPipeBuf) || pipe_.signalled != 0)
                    pipe_.queue.wake(kPollOut | kPollWrNorm);
                return static_cast<i64>(got);
            }
            if (faulted) return Failure{Errno::fault};
            if (ended) return 0;
            if ((status_flags & O_NONBLOCK) != 0) return Failure{Errno::again};
            TRY(wait_until(thread, pipe_.queue, kPollIn, gate::kForever,
                           [this] { return pipe_.bytes() != 0 || pipe_.writers == 0; }));
        }
    }

    template <class Copy>
    Res<i64> send(Thread& thread, u64 size, Copy copy) {
        if (size == 0) return 0;
        u64 done = 0;
        for (;;) {
            bool broken = false, faulted = false;
            u64 put = 0;
            Errno failed = Errno::ok;
            {
                Guard guard{pipe_.lock};
                broken = pipe_.readers == 0;
                // Small writes go in whole or not at all.
                if (!broken && (size > kPipeBuf || pipe_.room() >= size)) {
                    auto result = pipe_.put(
                        size - done, [&](u8* ring, u64 at, u64 bytes) { return copy(ring, done + at, bytes); },
                        faulted);
                    if (result.ok())
                        put = result.value();
                    else
                        failed = result.error();
                }
            }
            done += put;
            if (put != 0) pipe_.queue.wake(kPollIn | kPollRdNorm);
            if (broken) {
                send_signal_to_thread(thread, user_signal(kSigPipe));
                if (done == 0) return Failure{Errno::pipe};
                break;
            }
            if (failed != Errno::ok || faulted) {
                if (done == 0) return Failure{faulted ? Errno::fault : failed};
                break;
            }
            if (done == size) break;
            if ((status_flags & O_NONBLOCK) != 0) {
                if (done == 0) return Failure{Errno::again};
                break;
            }
            auto waited = wait_until(thread, pipe_.queue, kPollOut, gate::kForever,
                                     [this] { return pipe_.writable() || pipe_.readers == 0; });
            if (!waited.ok()) {
                if (done == 0) return Failure{waited.error()};
                break;
            }
        }
        return static_cast<i64>(done);
    }

    Pipe& pipe_;
    bool reads_, writes_, met_partner_ = false, waiting_for_writer_ = false;
    u32 partner_opens_ = 0;
};

Res<FileRef> make_end(Pipe& pipe, u32 flags) {
    PipeFile* file = TRY(make_file<PipeFile>(pipe, flags));
    return FileRef{file};
}

}  // namespace

Res<Pipe*> pipe_create() { return arena::create<Pipe>(); }
void pipe_reference(Pipe& pipe) { __atomic_add_fetch(&pipe.references, 1, __ATOMIC_SEQ_CST); }
void pipe_release(Pipe& pipe) {
    if (__atomic_sub_fetch(&pipe.references, 1, __ATOMIC_SEQ_CST) == 0) arena::destroy(&pipe);
}

Res<void> pipe_create_pair(u32 flags, FileRef& reader, FileRef& writer) {
    Pipe* pipe = TRY(pipe_create());
    auto first = make_end(*pipe, O_RDONLY | (flags & O_NONBLOCK));
    auto second = make_end(*pipe, O_WRONLY | (flags & O_NONBLOCK));
    pipe_release(*pipe);
    reader = TRY(std::move(first));
    writer = TRY(std::move(second));
    return {};
}

Res<FileRef> pipe_open_fifo(Thread& thread, Pipe& pipe, u32 open_flags) {
    const u32 mode = open_flags & O_ACCMODE;
    const bool waits = (open_flags & O_NONBLOCK) == 0;
    if (mode == O_WRONLY && !waits && pipe.readers == 0) return Failure{Errno::nxio};
    FileRef file = TRY(make_end(pipe, open_flags));
    PipeFile& end = static_cast<PipeFile&>(*file);
    pipe.queue.wake(kPollHup);  // for openers: no signal comes of it
    if (end.met_partner() || mode == O_RDWR) return file;
    if (waits) {
        const volatile u32& opens = mode == O_RDONLY ? pipe.writer_opens : pipe.reader_opens;
        TRY(wait_until(thread, pipe.queue, kEnds, gate::kForever, [&] { return opens != end.partner_opens(); }));
    } else if (mode == O_RDONLY) {
        end.expect_writer();
    }
    return file;
}

Res<i64> pipe_tee(Thread& thread, File& from, File& to, u64 size, bool wait) {
    if (from.kind() != FileKind::pipe || to.kind() != FileKind::pipe) return Failure{Errno::inval};
    Pipe &source = static_cast<PipeFile&>(from).pipe(), &target = static_cast<PipeFile&>(to).pipe();
    if (&source == &target) return Failure{Errno::inval};
    if (size == 0) return 0;
    constexpr u64 kMost = 64 << 10;
    for (;;) {
        while (source.bytes() == 0) {
            if (source.writers == 0) return 0;
            if (!wait) return Failure{Errno::again};
            TRY(wait_until(thread, source.queue, kPollIn, gate::kForever,
                           [&source] { return source.bytes() != 0 || source.writers == 0; }));
        }
        if (target.writable() || target.readers == 0) break;
        if (!wait) return Failure{Errno::again};
        TRY(wait_until(thread, target.queue, kPollOut, gate::kForever,
                       [&target] { return target.writable() || target.readers == 0; }));
    }
    u64 room = target.room();
    if (room < kPipeBuf) room = kPipeBuf;  // without readers: for the write to say so
    if (size > room) size = room;
    if (size > kMost) size = kMost;
    auto buffer = static_cast<u8*>(TRY(heap::allocate(kMost)));
    u64 got;
    {
        Guard guard{source.lock};
        got = source.peek(buffer, size);
    }
    Res<i64> written = got == 0 ? Res<i64>{i64{0}} : to.write_kernel(thread, buffer, got, 0);
    heap::release(buffer, kMost);
    return written;
}

Res<u64> pipe_wait_for_room(Thread& thread, File& file, bool wait) {
    Pipe& pipe = static_cast<PipeFile&>(file).pipe();
    for (;;) {
        if (pipe.readers == 0) {
            send_signal_to_thread(thread, user_signal(kSigPipe));
            return Failure{Errno::pipe};
        }
        if (u64 room = pipe.room(); pipe.writable()) return room;
        if (!wait || (file.status_flags & O_NONBLOCK) != 0) return Failure{Errno::again};
        TRY(wait_until(thread, pipe.queue, kPollOut, gate::kForever,
                       [&pipe] { return pipe.writable() || pipe.readers == 0; }));
    }
}

bool pipe_is_same(File& left, File& right) {
    return &static_cast<PipeFile&>(left).pipe() == &static_cast<PipeFile&>(right).pipe();
}

Res<i64> pipe_get_size(File& file) {
    if (file.kind() != FileKind::pipe) return Failure{Errno::badf};
    return static_cast<i64>(static_cast<PipeFile&>(file).pipe().capacity());
}

Res<i64> pipe_set_size(Thread& thread, File& file, u64 size) {
    if (file.kind() != FileKind::pipe) return Failure{Errno::badf};
    if (size > 1u << 31) return Failure{Errno::inval};
    u64 capacity = kPageSize;
    while (capacity < size) capacity *= 2;
    constexpr u64 kCapSysResource = 1ull << 24;
    Pipe& pipe = static_cast<PipeFile&>(file).pipe();
    if (capacity > pipe.capacity() && capacity > settings().pipe_limit &&
        (thread.process->credentials.capabilities_effective & kCapSysResource) == 0)
        return Failure{Errno::perm};
    {
        Guard guard{pipe.lock};
        TRY(pipe.resize(capacity));
    }
    pipe.queue.wake(kPollOut | kPollWrNorm);
    return static_cast<i64>(capacity);
}

}  // namespace postern::libos
