// SPDX-License-Identifier: Apache-2.0
// The arena's allocators. Pages come from a bitmap that is read from its lowest free word upwards, so memory in use
// stays dense and the bitmap of an idle family is one page; freed runs are given back to the host at once.
#include "libos/shared/arena.hpp"

#include "base/memory.hpp"
#include "libos/gate.hpp"
#include "libos/shared/layout.hpp"

namespace postern::libos::arena {

namespace {

constexpr u64 kMagic = 0x616e6572'61747370;

u64 page_address(u64 index) { return header().first_page + index * kPageSize; }

bool page_used(u64 index) { return (header().bitmap[index / 64] >> (index % 64)) & 1; }

/// First free page at or above `from`; header.pages if there is none.
u64 next_free(u64 from) {
    Header& head = header();
    while (from < head.pages) {
        u64 word = ~head.bitmap[from / 64] >> (from % 64);
        if (word != 0) {
            u64 index = from + static_cast<u64>(__builtin_ctzll(word));
            return index < head.pages ? index : head.pages;
        }
        from = (from / 64 + 1) * 64;
    }
    return head.pages;
}

/// Free pages from `from` on, at most `want`.
u64 free_run(u64 from, u64 want) {
    Header& head = header();
    u64 limit = head.pages - from < want ? head.pages - from : want;
    u64 length = 0;
    while (length < limit) {
        u64 at = from + length;
        u64 word = head.bitmap[at / 64] >> (at % 64);
        if (word == 0) {
            length += 64 - at % 64;
            if (at >= head.frontier) return limit;  // nothing above was ever used
        } else {
            length += static_cast<u64>(__builtin_ctzll(word));
            break;
        }
    }
    return length < limit ? length : limit;
}

/// Finds `want` pages in a row, or with `best_effort` the longest run seen up to the frontier. Caller holds page_lock.
u64 find(u64 want, bool best_effort, u64& got) {
    Header& head = header();
    u64 best = head.pages, best_length = 0;
    u64 from = head.lowest * 64;
    bool first = true;
    for (u32 looks = 0; from < head.pages; ++looks) {
        u64 start = next_free(from);
        if (first) {
            head.lowest = start / 64;
            first = false;
        }
        // A long file in a fragmented arena must not read the whole bitmap for each of its pieces.
        if (best_effort && looks > 256 && best_length == 0 && start < head.frontier) start = head.frontier;
        if (start >= head.pages) break;
        u64 length = free_run(start, want);
        if (length > best_length) {
            best = start;
            best_length = length;
        }
        if (length == want || (best_effort && best_length * 4 >= want)) break;
        from = start + length;
    }
    if (best_length == 0 || (!best_effort && best_length < want)) {
        got = 0;
        return head.pages;
    }
    got = best_length;
    return best;
}

Res<void*> take_pages(u64 want, bool best_effort, u64* got) {
    Header& head = header();
    Guard guard{head.page_lock};
    u64 length;
    u64 start = find(want, best_effort, length);
    if (length == 0) {
        report_limit(gate::Limit::memory);
        return Failure{Errno::nomem};
    }
    undo_record_pages(head.page_lock, start, length);
    set_page_bits(start, length, true);
    head.used += length;
    if (start + length > head.frontier) head.frontier = start + length;
    *got = length;
    return reinterpret_cast<void*>(page_address(start));
}

}  // namespace

void set_page_bits(u64 first, u64 count, bool used) {
    u64* bitmap = header().bitmap;
    while (count > 0) {
        u64 offset = first % 64;
        u64 here = 64 - offset < count ? 64 - offset : count;
        u64 mask = (here == 64 ? ~0ull : (1ull << here) - 1) << offset;
        if (used)
            bitmap[first / 64] |= mask;
        else
            bitmap[first / 64] &= ~mask;
        first += here;
        count -= here;
    }
}

Res<void> initialize(u64 size) {
    size = page_floor(size);
    if (size < (4u << 20)) return Failure{Errno::inval};
    gate::Handle stream;
    TRY(check(g_gate->DkStreamOpen("memory:arena", gate::kAccessRead | gate::kAccessWrite, 0, gate::kCreateNever, 0,
                                   &stream, nullptr)));
    TRY(check(
        g_gate->DkStreamMap(stream, kArenaAddress, size, 0, gate::kProtRead | gate::kProtWrite, gate::kMapShared)));
    Header& head = header();
    // The family has its library OS: whoever created this picoprocess did it past that one, by a request of its own.
    if (head.magic != 0) return Failure{Errno::exist};
    u64 limit = g_parameters->process_limit + 64;
    head.holder_count = limit < 1024 ? 1024 : limit > 65536 ? 65536 : limit;
    // What every process touches (header, holders, the first objects) lies together at the start: the kernel maps
    // neighbours of a page that is read, so that a forked process faults once for all of it.
    u64 low = kArenaAddress + kPageSize;
    u64 high = kArenaAddress + size;
    auto holders = reinterpret_cast<Holder*>(low);
    low += page_ceil(head.holder_count * sizeof(Holder));
    head.logs = reinterpret_cast<UndoLog*>(low);
    low += page_ceil(head.holder_count * sizeof(UndoLog));
    u64 bitmap_size = page_ceil(size / kPageSize / 8 + 8);
    // Large ones go to the end: the first pages are to share a page of page tables with the header.
    bool near = bitmap_size <= kNearBitmap;
    head.bitmap = reinterpret_cast<u64*>(near ? low : high - bitmap_size);
    (near ? low : high) += near ? bitmap_size : 0 - bitmap_size;
    low = align_up(low, kNeighbourhood);
    if (high < low + (64 << 10)) return Failure{Errno::inval};
    head.first_page = low;
    head.pages = (high - low) / kPageSize;
    head.stream = stream;
    head.holders = holders;
    head.magic = kMagic;
    return {};
}

static Res<void*> take_object(SizeClass& size_class, u32 rounded, bool& fresh) {
    Guard guard{size_class.lock};
    void* memory = class_take(size_class, rounded, fresh);
    if (memory == nullptr) {
        u64 bytes = refill_size(rounded);
        void* region = TRY(allocate_pages(bytes / kPageSize));
        class_refill(size_class, region, bytes);
        memory = class_take(size_class, rounded, fresh);
    }
    return memory;
}

static Res<void*> allocate_object(usize size, bool clear) {
    if (size > kClassSizes[kClassCount - 1]) return allocate_pages(page_ceil(size) / kPageSize);
    u32 index = class_of(size);
    bool fresh = false;
    void* memory = TRY(take_object(header().classes[index], kClassSizes[index], fresh));
    if (!fresh && clear) memset(memory, 0, size);
    return memory;
}

Res<void*> allocate_file(usize size) {
    static_assert(kFileClassSizes[kFileClassCount - 1] == kLargestFile);
    u32 index = file_class_of(size);
    bool fresh = false;
    void* memory = TRY(take_object(header().file_classes[index], kFileClassSizes[index], fresh));
    if (!fresh) memset(memory, 0, size);
    return memory;
}

void release_file(void* memory, usize size) {
    SizeClass& size_class = header().file_classes[file_class_of(size)];
    Guard guard{size_class.lock};
    class_give(size_class, memory);
}

Res<void*> allocate(usize size) { return allocate_object(size, true); }
Res<void*> allocate_uncleared(usize size) { return allocate_object(size, false); }

void release(void* memory, usize size) {
    if (memory == nullptr) return;
    if (size > kClassSizes[kClassCount - 1]) {
        release_pages(memory, page_ceil(size) / kPageSize);
        return;
    }
    SizeClass& size_class = header().classes[class_of(size)];
    Guard guard{size_class.lock};
    class_give(size_class, memory);
}

Res<void*> allocate_pages(u64 count) {
    Header& head = header();
    if (count == 0) return Failure{Errno::inval};
    if (count == 1 && head.dirty_count != 0) {
        void* page = nullptr;
        {
            Guard guard{head.page_lock};
            if (head.dirty_count != 0) {
                page = reinterpret_cast<void*>(head.dirty[head.dirty_count - 1]);
                head.dirty_count = head.dirty_count - 1;
                head.used += 1;
            }
        }
        if (page != nullptr) {
            memset(page, 0, kPageSize);
            return page;
        }
    }
    u64 got;
    return take_pages(count, false, &got);
}

Res<void*> allocate_run(u64 want, u64* got) {
    if (want <= 1) {
        *got = 1;
        return allocate_pages(1);
    }
    return take_pages(want, true, got);
}

void release_pages(void* pages, u64 count) {
    if (pages == nullptr || count == 0) return;
    Header& head = header();
    u64 first = (reinterpret_cast<u64>(pages) - head.first_page) / kPageSize;
    if (count == 1) {
        Guard guard{head.page_lock};
        if (head.dirty_count < kDirtyPages) {
            head.dirty[head.dirty_count] = reinterpret_cast<u64>(pages);
            head.dirty_count = head.dirty_count + 1;
            head.used -= 1;
            return;
        }
    }
    // Still marked as used: nobody takes the pages before the host has dropped their contents.
    if (g_gate->DkVirtualMemoryFree(reinterpret_cast<u64>(pages), count * kPageSize, gate::FreeKind::remove) !=
        gate::Err::ok)
        memset(pages, 0, count * kPageSize);
    Guard guard{head.page_lock};
    if (!page_used(first)) panic("arena pages released twice");
    undo_record_pages(head.page_lock, first, count);
    set_page_bits(first, count, false);
    head.used -= count;
    if (first / 64 < head.lowest) head.lowest = first / 64;
}

u64 used_bytes() { return header().used * kPageSize; }
u64 total_bytes() { return header().pages * kPageSize; }
gate::Handle stream() { return header().stream; }

}  // namespace postern::libos::arena
