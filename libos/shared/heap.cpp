// SPDX-License-Identifier: Apache-2.0
// Private memory: the same size classes over pages that the host commits in steps, growing upwards only.
#include "base/memory.hpp"
#include "libos/gate.hpp"
#include "libos/shared/layout.hpp"
#include "libos/shared/stacks.hpp"

namespace postern::libos {

namespace {

constexpr u64 kHeapAddress = 0x6000'1218'0000ull;
constexpr u64 kHeapEnd = 0x61c0'0000'0000ull;
constexpr u64 kStackAddress = 0x61c0'0000'0000ull;
constexpr u64 kStackEnd = 0x6200'0000'0000ull;
constexpr u64 kFirstStep = 64 << 10, kLaterStep = 256 << 10;

/// A run of pages given back, described in its first words.
struct FreeRun {
    FreeRun* next;
    u64 pages;
};

struct Heap {
    SharedLock lock;
    u64 next = kHeapAddress;  ///< first page not handed out
    u64 committed = kHeapAddress;
    FreeRun* runs = nullptr;
    u64 next_stack = kStackAddress;
    LibOsStack* stacks = nullptr;
    arena::SizeClass classes[arena::kClassCount];
};
Heap g_heap;

/// Caller holds the lock. `fresh` tells that the pages are still zero.
Res<void*> take_pages(u64 count, bool& fresh) {
    for (FreeRun** at = &g_heap.runs; *at != nullptr; at = &(*at)->next) {
        FreeRun* run = *at;
        if (run->pages < count) continue;
        if (run->pages == count) {
            *at = run->next;
        } else {
            auto rest = reinterpret_cast<FreeRun*>(reinterpret_cast<u64>(run) + count * kPageSize);
            rest->next = run->next;
            rest->pages = run->pages - count;
            *at = rest;
        }
        fresh = false;
        return static_cast<void*>(run);
    }
    u64 size = count * kPageSize;
    if (size > kHeapEnd - g_heap.next) return Failure{Errno::nomem};
    if (g_heap.next + size > g_heap.committed) {
        u64 step = g_heap.committed == kHeapAddress ? kFirstStep : kLaterStep;
        u64 missing = g_heap.next + size - g_heap.committed;
        if (step < missing) step = align_up(missing, kLaterStep);
        TRY(check(g_gate->DkVirtualMemoryAlloc(g_heap.committed, step, gate::kAllocCommit,
                                               gate::kProtRead | gate::kProtWrite)));
        g_heap.committed += step;
    }
    u64 address = g_heap.next;
    g_heap.next += size;
    fresh = true;
    return reinterpret_cast<void*>(address);
}

}  // namespace

namespace heap {

static Res<void*> take(usize size, bool& fresh) {
    void* memory;
    {
        Guard guard{g_heap.lock};
        if (size > arena::kClassSizes[arena::kClassCount - 1]) {
            memory = TRY(take_pages(page_ceil(size) / kPageSize, fresh));
        } else {
            u32 index = arena::class_of(size);
            u32 rounded = arena::kClassSizes[index];
            memory = arena::class_take(g_heap.classes[index], rounded, fresh);
            if (memory == nullptr) {
                u64 bytes = arena::refill_size(rounded);
                void* region = TRY(take_pages(bytes / kPageSize, fresh));
                if (!fresh) memset(region, 0, bytes);
                arena::class_refill(g_heap.classes[index], region, bytes);
                memory = arena::class_take(g_heap.classes[index], rounded, fresh);
            }
        }
    }
    return memory;
}

Res<void*> allocate(usize size) {
    bool fresh = false;
    void* memory = TRY(take(size, fresh));
    if (!fresh) memset(memory, 0, size);
    return memory;
}

Res<void*> allocate_uncleared(usize size) {
    bool fresh = false;
    return take(size, fresh);
}

void release(void* memory, usize size) {
    if (memory == nullptr) return;
    Guard guard{g_heap.lock};
    if (size > arena::kClassSizes[arena::kClassCount - 1]) {
        auto run = static_cast<FreeRun*>(memory);
        run->pages = page_ceil(size) / kPageSize;
        if (run->pages >= 16) {  // big ones cost memory, small ones would cost a call
            u64 address = reinterpret_cast<u64>(memory) + kPageSize;
            g_gate->DkVirtualMemoryFree(address, (run->pages - 1) * kPageSize, gate::FreeKind::decommit);
        }
        run->next = g_heap.runs;
        g_heap.runs = run;
        return;
    }
    arena::class_give(g_heap.classes[arena::class_of(size)], memory);
}

}  // namespace heap

Res<LibOsStack*> stack_acquire() {
    Guard guard{g_heap.lock};
    for (LibOsStack* stack = g_heap.stacks; stack != nullptr; stack = stack->next) {
        if (__atomic_load_n(&stack->in_use, __ATOMIC_ACQUIRE) != 0) continue;
        stack->in_use = 1;
        return stack;
    }
    if (g_heap.next_stack + kLibOsStackSize + kPageSize > kStackEnd) return Failure{Errno::nomem};
    // The record sits below the stack's guard page only in spirit: it lives in the heap, which the stack cannot reach.
    bool fresh = false;
    u32 index = arena::class_of(sizeof(LibOsStack));
    void* memory = arena::class_take(g_heap.classes[index], arena::kClassSizes[index], fresh);
    if (memory == nullptr) {
        void* region = TRY(take_pages(1, fresh));
        arena::class_refill(g_heap.classes[index], region, kPageSize);
        memory = arena::class_take(g_heap.classes[index], arena::kClassSizes[index], fresh);
    }
    auto stack = static_cast<LibOsStack*>(memory);
    u64 low = g_heap.next_stack + kPageSize;  // the page below stays unmapped
    Res<void> mapped = check(
        g_gate->DkVirtualMemoryAlloc(low, kLibOsStackSize, gate::kAllocCommit, gate::kProtRead | gate::kProtWrite));
    if (!mapped.ok()) {
        arena::class_give(g_heap.classes[index], memory);
        return Failure{mapped.error()};
    }
    stack->low = low;
    stack->in_use = 1;
    g_heap.next_stack = low + kLibOsStackSize;
    stack->next = g_heap.stacks;
    g_heap.stacks = stack;
    return stack;
}

void stacks_after_fork(LibOsStack* own) {
    // Writes only where it must: each page written here is a page copied.
    for (LibOsStack* stack = g_heap.stacks; stack != nullptr; stack = stack->next)
        if (stack != own && stack->in_use != 0) stack->in_use = 0;
}

void heap_initialize() { protect_over_fork(g_heap.lock); }

}  // namespace postern::libos
