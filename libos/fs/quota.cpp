// SPDX-License-Identifier: Apache-2.0
// Counters are taken before what they stand for and given back after it. A process that is killed in between leaves the
// count too high, like the memory itself, never too low.
#include "libos/fs/quota.hpp"

#include "libos/gate.hpp"
#include "libos/shared/arena.hpp"

namespace postern::libos::quota {

namespace {

constexpr u64 kLeastObjects = 16384;

struct Counters {
    u64 pages, objects;
};
Counters* g_counters;  // arena
u64 g_limit = ~0ull;   // pages

u64 page_limit() {
    u64 there = arena::total_bytes() / kPageSize;
    return g_limit < there ? g_limit : there;
}
/// As many as pages, as Linux; but a small tree may well hold many empty files.
u64 object_limit() {
    u64 pages = page_limit();
    return pages < kLeastObjects ? kLeastObjects : pages;
}

u64 take(u64& counter, u64 limit, u64 least, u64 most) {
    u64 used = __atomic_load_n(&counter, __ATOMIC_RELAXED);
    u64 taken;
    do {
        u64 left = used < limit ? limit - used : 0;
        taken = left < most ? left : most;
        if (taken < least) return 0;
    } while (!__atomic_compare_exchange_n(&counter, &used, used + taken, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    return taken;
}

Errno full() {
    report_limit(gate::Limit::disk);
    return Errno::nospc;
}

}  // namespace

void set_limit(u64 bytes) { g_limit = page_ceil(bytes) / kPageSize; }

Res<void> initialize() {
    if (g_counters == nullptr) g_counters = TRY(arena::create<Counters>());
    return {};
}

Res<u64> take_pages(u64 want) {
    u64 taken = take(g_counters->pages, page_limit(), 1, want);
    if (taken == 0) return Failure{full()};
    return taken;
}

Res<void> take_all_pages(u64 count) {
    if (count != 0 && take(g_counters->pages, page_limit(), count, count) == 0) return Failure{full()};
    return {};
}

void give_pages(u64 count) {
    if (count != 0) __atomic_sub_fetch(&g_counters->pages, count, __ATOMIC_SEQ_CST);
}

Res<void> take_object() {
    if (take(g_counters->objects, object_limit(), 1, 1) == 0) return Failure{full()};
    return {};
}

void give_object() { __atomic_sub_fetch(&g_counters->objects, 1, __ATOMIC_SEQ_CST); }

Room room() {
    auto left = [](u64 limit, const u64& counter) {
        u64 used = __atomic_load_n(&counter, __ATOMIC_RELAXED);
        return used < limit ? limit - used : 0;
    };
    Room room;
    room.pages = page_limit();
    room.objects = object_limit();
    room.free_pages = left(room.pages, g_counters->pages);
    room.free_objects = left(room.objects, g_counters->objects);
    u64 memory = (arena::total_bytes() - arena::used_bytes()) / kPageSize;
    if (memory < room.free_pages) room.free_pages = memory;
    return room;
}

}  // namespace postern::libos::quota
