// SPDX-License-Identifier: Apache-2.0
// The patcher in a picoprocess: memory through the personality, barriers and protection through the gate page.
#include "host/linux/entry/patch/patching.hpp"

#include <linux/mman.h>

#include "host/linux/entry/host_call.hpp"
#include "host/linux/entry/patch/patcher.hpp"
#include "host/linux/entry/personality.hpp"
#include "host/linux/entry/threads.hpp"

extern "C" postern::u64 guarded_load_byte(postern::u64 address, postern::u8* value);
extern "C" postern::u64 guarded_touch(postern::u64 address);

namespace postern::host {
namespace {

bool has_freeze() {
    return g_personality->size >= offsetof(gate::Personality, code_end) + sizeof(void*) &&
           g_personality->code_begin != nullptr && g_personality->code_end != nullptr;
}

u32 freeze(u64 address, u64 size) {
    if (!has_freeze()) {
        // Code is either compiled by the program itself and writable, or read and execute.
        for (u64 page = address; page < address + size; page += kPageSize)
            if (guarded_touch(page) == 0) return 5;
        return 7;
    }
    u32 prot = g_personality->code_begin(address, size);
    return (prot & gate::kCodeFrozen) ? prot & 7 : 0;
}

void release() {
    if (has_freeze()) g_personality->code_end();
}

bool protect(u64 address, u64 size, u32 prot) { return call(__NR_mprotect, address, size, prot) == 0; }

bool barrier() { return call(__NR_membarrier, 32 /* PRIVATE_EXPEDITED_SYNC_CORE */, 0, 0) == 0; }

u64 place(u64 near, u64 size) {
    if (g_personality->place_code == nullptr) return 0;
    u64 address = g_personality->place_code(near, size);
    if (address == 0 || address >= kUserHigh || !page_aligned(address)) return 0;
    constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;  // stays one mapping when written
    long result = call(__NR_mmap, address, size, PROT_READ | PROT_EXEC, kFlags, -1, 0);
    return result == static_cast<long>(address) ? address : 0;
}

bool load(u64 address, u8* byte) { return guarded_load_byte(address, byte) != 0; }

void yield() { call(__NR_sched_yield); }

constexpr u32 kWarmUp = 10;
Patcher patcher{{freeze, release, protect, barrier, single_threaded, place, load, yield}, kWarmUp};
u64 reported_patches = 0;
u32 code_generation = 0;  ///< of the program's code
u32 hints_seen = 0;

}  // namespace

namespace {

constexpr u64 kSiteBits = 48;

/// Tells the parent, so that its next children find the site patched.
void hint(u32 parent, u64 site, u64 number) {
    if (number > 0xffff) return;
    RequestHeader& header = *g_process.requests;
    RequestHeader::Hint& entry = header.hints[__atomic_fetch_add(&header.hint_count, 1, __ATOMIC_RELAXED) % kHintCount];
    entry.generation = code_generation;
    entry.site = site | number << kSiteBits;
    __atomic_store_n(&entry.parent, parent, __ATOMIC_RELEASE);
}

}  // namespace

void patch_ahead() {
    const RequestHeader& header = *g_process.requests;
    u32 count = __atomic_load_n(&header.hint_count, __ATOMIC_RELAXED);
    if (count == hints_seen) return;
    if (count - hints_seen > kHintCount) hints_seen = count - kHintCount;
    for (; hints_seen != count; ++hints_seen) {
        const RequestHeader::Hint& entry = header.hints[hints_seen % kHintCount];
        if (__atomic_load_n(&entry.parent, __ATOMIC_ACQUIRE) != process_id() || entry.generation != code_generation)
            continue;
        u64 word = __atomic_load_n(&entry.site, __ATOMIC_RELAXED);
        u64 site = word & ((1ull << kSiteBits) - 1);
        if (site < kUserHigh) patcher.advise(site, word >> kSiteBits);
    }
}

void consider_patch(u64 site, u64 number) {
    // A forked child often makes no more than a few calls that its parent never made. They are not worth a note: that
    // would copy pages. (The count is of this thread in this process; see adopt_after_fork.)
    constexpr u32 kFirstTraps = 6;
    if (g_config.patch == 0 || g_personality == nullptr) return;
    ThreadArea& area = current_area();
    if (area.traps > kFirstTraps)
        patcher.consider(site, number);
    else if (area.parent != 0)
        hint(area.parent, site, number);
}

u64 resolve_breakpoint(u64 address) { return patcher.resolve_breakpoint(address); }
u64 leave_trampoline(u64 rip) { return patcher.leave_trampoline(rip); }
void patch_code_changed(u64 address, u64 size) {
    ++code_generation;
    current_area().parent = 0;
    patcher.code_changed(address, size);
}
void patch_code_reset() {
    ++code_generation;
    current_area().parent = 0;
    patcher.code_reset();
}
bool patch_code_prepared(u64 address, u64 size) { return patcher.adopt_region(address, size); }
void patch_lock() { patcher.lock(); }
void patch_unlock() { patcher.unlock(); }

void patch_after_fork() {
    // Nothing is written that is so already: each write copies a page.
    if (g_config.stats != 0) reported_patches = patcher.patched();
}

void count_trap() { ++current_area().traps; }

void flush_patch_counters() {
    if (g_config.stats == 0) return;
    RequestHeader& header = *g_process.requests;
    u64 traps = 0;
    for (u32 i = 0; i < thread_area_count(); ++i) traps += thread_area(i).traps;
    __atomic_add_fetch(&header.traps, traps, __ATOMIC_RELAXED);
    u64 now = patcher.patched();
    __atomic_add_fetch(&header.patches, now - reported_patches, __ATOMIC_RELAXED);
    reported_patches = now;
}

}  // namespace postern::host
