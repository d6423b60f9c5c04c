// SPDX-License-Identifier: Apache-2.0
// The ring of bytes behind a pipe, in shared memory.
//
// One 64-bit word says where the bytes are: every transfer commits with one store, so a picoprocess that is killed in
// the middle leaves the ring as it was before. Pages come when the ring first reaches them, and an empty ring starts
// over at its first page: a pipe that carries little costs one page, an unused one none.
#pragma once

#include "libos/ipc/pipe.hpp"
#include "libos/shared/arena.hpp"

namespace postern::libos {

class Pipe {
public:
    ~Pipe();

    u64 capacity() const { return page_count_ * kPageSize; }
    u64 bytes() const { return load() >> 32; }
    u64 room() const { return capacity() - bytes(); }
    /// As Linux decides it: a whole page is free.
    bool writable() const { return room() >= kPipeBuf; }

    /// Lock held. Moves up to `size` bytes with `copy(ring memory, offset in the user's data, bytes)`, which returns
    /// how many it managed. `faulted` tells that it managed fewer; Errno::nomem when no page could be had.
    template <class Copy>
    Res<u64> put(u64 size, Copy copy, bool& faulted);
    template <class Copy>
    u64 take(u64 size, Copy copy, bool& faulted);

    /// Lock held. Copies up to `size` bytes out, which stay.
    u64 peek(u8* buffer, u64 size) const;
    Res<void> resize(u64 capacity);  ///< lock held; Errno::busy when the bytes do not fit

    SharedLock lock;                        ///< below no other lock; pages are allocated and waiters queued below it
    WaitQueue queue;                        ///< kPollIn: readers, kPollOut: writers
    volatile u32 readers = 0, writers = 0;  ///< open descriptions
    volatile u32 reader_opens = 0, writer_opens = 0;  ///< ever opened, modulo 2^32: what open(2) of a FIFO waits for
    u32 references = 1;
    u32 signalled = 0;  ///< a writer had O_ASYNC: every read is announced

private:
    static constexpr u32 kEmbedded = 16;
    u64 load() const { return __atomic_load_n(&state_, __ATOMIC_ACQUIRE); }
    void commit(u64 first, u64 count) {
        __atomic_store_n(&state_, count == 0 ? 0 : first | count << 32, __ATOMIC_RELEASE);
    }

    u64 state_ = 0;  ///< low half: position of the first byte; high half: number of bytes
    u64 page_count_ = kPipeDefaultSize / kPageSize;  ///< a power of two
    u8* embedded_[kEmbedded] = {};
    u8** pages_ = embedded_;
};

template <class Copy>
Res<u64> Pipe::put(u64 size, Copy copy, bool& faulted) {
    faulted = false;
    const u64 state = load(), count = state >> 32, first = state & 0xffff'ffff, limit = capacity();
    if (size > limit - count) size = limit - count;
    u64 done = 0;
    while (done < size) {
        u64 at = (first + count + done) & (limit - 1);
        u8*& page = pages_[at / kPageSize];
        if (page == nullptr) [[unlikely]] {
            auto fresh = arena::allocate_pages(1);
            if (!fresh.ok()) {
                if (done == 0) return Failure{fresh.error()};
                break;
            }
            page = static_cast<u8*>(fresh.value());
        }
        u64 in_page = at % kPageSize;
        u64 chunk = kPageSize - in_page < size - done ? kPageSize - in_page : size - done;
        u64 copied = copy(page + in_page, done, chunk);
        done += copied;
        if (copied < chunk) {
            faulted = true;
            break;
        }
    }
    if (done != 0) commit(first, count + done);
    return done;
}

template <class Copy>
u64 Pipe::take(u64 size, Copy copy, bool& faulted) {
    faulted = false;
    const u64 state = load(), count = state >> 32, first = state & 0xffff'ffff, limit = capacity();
    if (size > count) size = count;
    u64 done = 0;
    while (done < size) {
        u64 at = (first + done) & (limit - 1), in_page = at % kPageSize;
        u64 chunk = kPageSize - in_page < size - done ? kPageSize - in_page : size - done;
        u64 copied = copy(pages_[at / kPageSize] + in_page, done, chunk);
        done += copied;
        if (copied < chunk) {
            faulted = true;
            break;
        }
    }
    if (done != 0) commit((first + done) & (limit - 1), count - done);
    return done;
}

}  // namespace postern::libos
