// SPDX-License-Identifier: Apache-2.0
// How the arena is laid out: header, registry of lock holders, undo logs, page bitmap (a large one: at the end), pages.
// Everything untouched is zero and costs no memory, so an idle family pays for the few pages that it uses.
#pragma once

#include "libos/shared/arena.hpp"
#include "libos/shared/lock.hpp"

namespace postern::libos {

/// What a member finds first in an arena it has just mapped: one object of each part of the library OS that shares any.
enum ArenaRoot : u32 {
    kRootProcesses,
    kRootSharedFutexes,
    kRootSettings,
    kRootTerminals,
    kRootEpoll,
    kRootLeases,
    kRootNotify,
    kRootSocketNames,  ///< of sockets inside the family
    kRootHostSockets,  ///< of sockets beside the host's files
    kRootHostFifos,    ///< open FIFOs among the host's files
    kRootMessageQueues,
    kRootSysv,
    kRootSemaphoreJournal,
    kRootAioContexts,
    kRootVectorFutexes,
    kRootCount,
};

}  // namespace postern::libos

namespace postern::libos::arena {

inline constexpr u32 kClassCount = 22;
inline constexpr u32 kClassSizes[kClassCount] = {16,   32,   48,   64,   96,   128,  192,  256,   384,   512,   768,
                                                 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 24576, 32768};
constexpr u32 class_of(usize size) {
    u32 index = 0;
    while (kClassSizes[index] < size) ++index;
    return index;
}

/// Of open files. All are multiples of two cache lines: processors fetch pairs, and threads with files of their own
/// must not write to the same pair.
inline constexpr u32 kFileClassCount = 7;
inline constexpr u32 kFileClassSizes[kFileClassCount] = {256, 384, 512, 768, 1024, 2048, 4096};
constexpr u32 file_class_of(usize size) {
    u32 index = 0;
    while (kFileClassSizes[index] < size) ++index;
    return index;
}

/// One size class: objects given back, linked through their first word, and a region not yet cut up.
struct SizeClass {
    SharedLock lock;
    u64 head = 0;
    u64 bump = 0;  ///< 0: no region. Stored last, so that a region is there completely or not at all
    u64 end = 0;
};

/// Takes from the list or the region; null when both are empty. `fresh`: the memory is still zero.
void* class_take(SizeClass& size_class, u32 size, bool& fresh);
void class_give(SizeClass& size_class, void* memory);
void class_refill(SizeClass& size_class, void* region, u64 bytes);
/// Bytes to ask for when a class is empty: few for small objects, so that idle families stay small.
constexpr u64 refill_size(u32 size) { return size <= 1024 ? kPageSize : page_ceil(u64{size} * 2); }

struct UndoRecord {
    SharedLock* lock;
    u64* word;  ///< null: clear `count` page bits from `first`
    u64 value;
    u64 first, count;
};
inline constexpr u32 kUndoRecords = 24;
struct UndoLog {
    volatile u64 used;
    UndoRecord records[kUndoRecords];
};

struct Holder {
    u32 thread;   ///< host number, 0: free
    u32 process;  ///< host number
    u32 deaths;   ///< length of the list of deaths when it joined: older entries mean an earlier bearer of the number
    u32 reserved;
};

inline constexpr u64 kNearBitmap = 512 << 10;
inline constexpr u64 kNeighbourhood = 64 << 10;  ///< what the kernel maps at once around a page that is read
inline constexpr u32 kDirtyPages = 32;

struct Header {
    u64 magic;
    u64 pages;       ///< data pages
    u64 first_page;  ///< address of the first data page
    u64* bitmap;     ///< one bit per data page, 1: in use
    Holder* holders;
    UndoLog* logs;
    u64 holder_count;
    volatile u64 holder_high;  ///< places used so far: how far a search goes
    u32 stream;                ///< gate handle, the same number in every picoprocess of the family
    u32 reserved;
    void* roots[kRootCount];

    SharedLock page_lock;  ///< bitmap, counts, dirty list. A leaf below the class locks
    u64 lowest;            ///< bitmap words below this one are full
    u64 frontier;          ///< pages from here on were never used
    u64 used;
    u64 dirty_count;  ///< single pages kept for reuse: clearing one costs less than returning and faulting it
    u64 dirty[kDirtyPages];

    SizeClass classes[kClassCount];
    SizeClass file_classes[kFileClassCount];
};
static_assert(sizeof(Header) <= kPageSize);

inline Header& header() { return *reinterpret_cast<Header*>(kArenaAddress); }

/// For the page allocator's journal: a takeover of page_lock clears these bits.
void undo_record_pages(SharedLock& lock, u64 first, u64 count);
void set_page_bits(u64 first, u64 count, bool used);

}  // namespace postern::libos::arena
