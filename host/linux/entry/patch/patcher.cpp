// SPDX-License-Identifier: Apache-2.0
#include "host/linux/entry/patch/patcher.hpp"

#include <span>

#include "base/memory.hpp"
#include "host/linux/entry/patch/decoder.hpp"

namespace postern::host {
namespace {

void put32(u8* at, u64 value) {
    u32 word = static_cast<u32>(value);
    memcpy(at, &word, 4);
}
u32 get32(const u8* at) {
    u32 word;
    memcpy(&word, at, 4);
    return word;
}

void store_byte(u64 address, u8 byte) { __atomic_store_n(reinterpret_cast<u8*>(address), byte, __ATOMIC_SEQ_CST); }

}  // namespace

Patcher::Window::Window(const PatchHost& host, u64 site) : address{site} {
    u8* call = bytes + kBefore;
    if (!host.load(site, call) || !host.load(site + 1, call + 1)) return;
    is_call = call[0] == 0x0f && call[1] == 0x05;
    while (before < kBefore && host.load(site - before - 1, call - before - 1)) ++before;
    while (after < kAfter && host.load(site + 2 + after, call + 2 + after)) ++after;
}

bool Patcher::plan_mov(u64 site, u64 number) const {
    Window window{host_, site};
    if (!window.is_call || window.before < 5 || number > 0xffff'ffff) return false;
    return get32(window.site() - 4) == number && is_mov(window, 5);
}

/// Is what lies `distance` bytes before the window's site a `mov $n,%eax`?
bool Patcher::is_mov(const Window& window, u64 distance) {
    if (window.before < distance) return false;
    const u8* mov = window.site() - distance;
    if (mov[0] != 0xb8) return false;
    // Is it an instruction of its own, or the tail of a longer one (41 b8: mov to r8d)? Decode from every earlier byte:
    // such chains fall into step with the real ones within a few instructions.
    u32 for_mov = 0, against = 0;
    for (u32 start = static_cast<u32>(distance) + 1; start <= window.before; ++start) {
        u32 left = start;
        while (left > distance) {
            Instruction instruction = decode(window.site() - left, left);
            if (instruction.length == 0) break;
            left -= instruction.length;
        }
        if (left == distance)
            ++for_mov;
        else if (left == 0)
            ++against;
    }
    // A byte before it that may be its prefix, or the middle of a store to the stack, needs more certainty.
    u8 previous = window.before > distance ? mov[-1] : u8{0};
    bool doubtful = (previous & 0xf0) == 0x40 || previous == 0x66;
    if (for_mov + against == 0) return !doubtful;
    // Functions begin aligned, and the padding before them reads as anything.
    if ((window.address - distance) % 16 == 0 && !doubtful && for_mov != 0) return true;
    return doubtful ? for_mov >= 3 * against && for_mov != 0 : for_mov > against;
}

/// Address of five bytes of padding that nothing reaches, within rel8 of the call; 0: none.
u64 Patcher::plan_cave(u64 site) const {
    Window window{host_, site};
    if (!window.is_call) return 0;
    const u8* code = window.site() + 2;
    bool reachable = true;
    for (u32 at = 0; at < 120;) {
        Instruction instruction = decode(code + at, window.after - at);
        if (instruction.length == 0) return 0;
        bool padding = instruction.kind == InstructionKind::nop || instruction.kind == InstructionKind::breakpoint;
        if (!reachable && padding) {
            u32 end = at;
            while (end < window.after) {
                Instruction more = decode(code + end, window.after - end);
                if (more.length == 0 || (more.kind != InstructionKind::nop && more.kind != InstructionKind::breakpoint))
                    break;
                end += more.length;
            }
            u64 start = site + 2 + at;
            // Padding leads up to an aligned entry. What begins aligned, or lies beyond the next boundary, may be one.
            u64 boundary = align_up(start, 16);
            if (start % 16 != 0 && start + 5 <= boundary && site + 2 + end >= start + 5) return start;
            at = end > at ? end : at + instruction.length;
            reachable = true;
            continue;
        }
        reachable = instruction.kind != InstructionKind::jump;
        at += instruction.length;
    }
    return 0;
}

PatchResult Patcher::consider(u64 site, u64 number) {
    if (remembered(site) == kRefused) return PatchResult::refused;
    if (cold(site)) return PatchResult::busy;
    for (int attempt = 0; attempt < 2; ++attempt) {
        if (!try_lock()) return PatchResult::busy;
        bool mov = plan_mov(site, number);
        u64 cave = 0;
        if (!mov) {
            u32 count = remembered(site);
            // A call whose mov has been patched traps again if it is jumped to, or if this thread was on its way when
            // another one patched. Only the former is worth a second patch.
            u8 before = 0;
            bool waits =
                host_.load(site - 5, &before) && (before == 0xe9 || before == 0xb8) && count < warm_up_ + kPatience;
            if (waits) {
                remember(site, count + 1);
                unlock();
                return PatchResult::busy;
            }
            cave = plan_cave(site);
            if (cave == 0) {
                remember(site, kRefused);
                unlock();
                return PatchResult::refused;
            }
        }
        Region* region = find_region(site);
        if (region != nullptr) {
            PatchResult result = apply(site, number, mov, cave, *region);
            if (result == PatchResult::refused) remember(site, kRefused);
            unlock();
            return result;
        }
        unlock();
        // The personality may have to wait for its own locks, whose holders may wait for ours.
        u64 base = attempt == 0 ? host_.place(site, kRegionSize) : 0;
        if (base == 0 || !try_lock()) return PatchResult::busy;
        bool added = add_region(base, kRegionSize) != nullptr;
        unlock();
        if (!added) return PatchResult::busy;
    }
    return PatchResult::busy;
}

PatchResult Patcher::apply(u64 site, u64 number, bool mov, u64 cave, Region& region) {
    u64 target = mov ? site - 5 : site;
    u64 low = page_floor(target), high = page_ceil(mov ? site + 2 : cave + 5);
    u32 prot = host_.freeze(low, high - low);
    if (prot == 0) return PatchResult::busy;

    PatchResult result = PatchResult::busy;
    // Frozen now: look again, the code may have been replaced since the plan was made.
    bool same = mov ? plan_mov(site, number) : plan_cave(site) == cave;
    u64 slot = region.base + u64{region.used} * kSlotSize;
    u64 slot_page = page_floor(slot);
    bool writable = (prot & 2) != 0;
    if (same && !writable && !host_.protect(low, high - low, 7)) {
        host_.release();
        return PatchResult::refused;
    }
    if (same && host_.protect(slot_page, kPageSize, 7)) {
        u8 code[kSlotSize];
        memset(code, 0xcc, sizeof code);
        u32 length = 0;
        if (mov) {
            code[length] = 0xb8;  // mov $number,%eax
            put32(code + length + 1, number);
            length += 5;
        }
        write_exit(code + length, slot + length, site + 2);
        i64 rewind = static_cast<i64>(target - slot);
        memcpy(code + kRewindOffset, &rewind, 8);
        memcpy(reinterpret_cast<void*>(slot), code, sizeof code);
        ++region.used;

        u8 jump[5] = {0xe9};
        if (mov) {
            put32(jump + 1, slot - (target + 5));
            replace(target, jump, 5, slot);
        } else {
            put32(jump + 1, slot - (cave + 5));
            memcpy(reinterpret_cast<void*>(cave), jump, 5);  // nothing runs there
            if (!host_.alone()) host_.barrier();
            u8 hop[2] = {0xeb, static_cast<u8>(cave - (site + 2))};
            replace(target, hop, 2, slot);
        }
        ++patched_;
        result = mov ? PatchResult::patched_mov : PatchResult::patched_cave;
    }
    host_.protect(slot_page, kPageSize, 5);
    if (!writable) host_.protect(low, high - low, prot);
    host_.release();
    return result;
}

/// The jump to the library OS, to stand at `address`; the call returns to `after`. 15 bytes.
void Patcher::write_exit(u8* code, u64 address, u64 after) {
    code[0] = 0x48, code[1] = 0x8d, code[2] = 0x0d;  // lea after(%rip),%rcx
    put32(code + 3, after - (address + 7));
    static constexpr u8 kJump[8] = {0x65, 0xff, 0x24, 0x25, 24, 0, 0, 0};  // jmp *%gs:24
    memcpy(code + 7, kJump, sizeof kJump);
}

void Patcher::replace(u64 address, const u8* bytes, u32 count, u64 trampoline) {
    if (host_.alone()) {
        memcpy(reinterpret_cast<void*>(address), bytes, count);
        return;
    }
    u64 offset = address % 8;
    if (offset + count > 8 || force_breakpoints_) return breakpoint_replace(address, bytes, count, trampoline);
    // Neighbouring bytes may be written by the program meanwhile (a compiler at work): never store over them.
    auto* word = reinterpret_cast<u64*>(address - offset);
    u64 old = __atomic_load_n(word, __ATOMIC_ACQUIRE), wanted;
    do {
        wanted = old;
        memcpy(reinterpret_cast<u8*>(&wanted) + offset, bytes, count);
    } while (!__atomic_compare_exchange_n(word, &old, wanted, false, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE));
}

void Patcher::breakpoint_replace(u64 address, const u8* bytes, u32 count, u64 trampoline) {
    publish(address, trampoline);
    store_byte(address, 0xcc);
    host_.barrier();
    for (u32 i = 1; i < count; ++i) store_byte(address + i, bytes[i]);
    host_.barrier();
    store_byte(address, bytes[0]);
    host_.barrier();
    publish(0, 0);
    ++breakpoint_patches_;
}

void Patcher::publish(u64 address, u64 trampoline) {
    __atomic_store_n(&version_, version_ + 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&active_address_, address, __ATOMIC_SEQ_CST);
    __atomic_store_n(&active_trampoline_, trampoline, __ATOMIC_SEQ_CST);
    __atomic_store_n(&version_, version_ + 1, __ATOMIC_SEQ_CST);
}

u64 Patcher::resolve_breakpoint(u64 address) const {
    for (;;) {
        u64 version = __atomic_load_n(&version_, __ATOMIC_SEQ_CST);
        u64 active = __atomic_load_n(&active_address_, __ATOMIC_SEQ_CST);
        u64 trampoline = __atomic_load_n(&active_trampoline_, __ATOMIC_SEQ_CST);
        u8 byte = 0;
        bool readable = host_.load(address, &byte);
        // An odd version means a few stores of a running thread; it cannot be this one, which is in a handler for a
        // breakpoint in program code and holds no lock.
        if ((version & 1) != 0 || __atomic_load_n(&version_, __ATOMIC_SEQ_CST) != version) {
            asm volatile("pause");
            continue;
        }
        // In progress: the trampoline does what the new instruction will do.
        if (active == address && address != 0) return trampoline;
        // The patch is complete (or the code has been replaced): the thread only saw an old byte.
        if (!readable || byte != 0xcc) return address;
        return 0;
    }
}

u64 Patcher::leave_trampoline(u64 rip) const {
    u32 count = __atomic_load_n(&region_count_, __ATOMIC_ACQUIRE);
    for (u32 i = 0; i < count; ++i) {
        u64 offset = rip - regions_[i].base;
        if (offset >= u64{regions_[i].slots} * kSlotSize) continue;
        u64 slot = rip - offset % kSlotSize;
        i64 rewind;
        memcpy(&rewind, reinterpret_cast<const void*>(slot + kRewindOffset), 8);
        return rewind == 0 ? rip : slot + static_cast<u64>(rewind);
    }
    return rip;
}

Patcher::Region* Patcher::find_region(u64 site) {
    for (u32 i = 0; i < region_count_; ++i) {
        Region& region = regions_[i];
        u64 distance = region.base > site ? region.base - site : site - region.base;
        if (distance < kReach && region.used < region.slots) return &region;
    }
    return nullptr;
}

Patcher::Region* Patcher::add_region(u64 base, u64 size) {
    u32 place = 0;
    while (place < region_count_ && regions_[place].slots != 0) ++place;
    if (place == kMaxRegions) return nullptr;
    regions_[place].base = base;
    regions_[place].used = 0;
    __atomic_store_n(&regions_[place].slots, static_cast<u32>(size / kSlotSize), __ATOMIC_RELEASE);
    if (place == region_count_) __atomic_store_n(&region_count_, place + 1, __ATOMIC_RELEASE);
    return &regions_[place];
}

bool Patcher::adopt_region(u64 base, u64 size) {
    lock();
    Region* region = add_region(base, size);
    if (region != nullptr) region->used = region->slots;
    unlock();
    return region != nullptr;
}

u32 Patcher::remembered(u64 site) const {
    u64 word = __atomic_load_n(&memory_[site * 0x9e37'79b9'7f4a'7c15 >> 54], __ATOMIC_RELAXED);
    return (word & 0xffff'ffff'ffff) == site ? static_cast<u32>(word >> 48) : 0;
}

void Patcher::remember(u64 site, u32 count) {
    __atomic_store_n(&remembers_, true, __ATOMIC_RELAXED);
    __atomic_store_n(&memory_[site * 0x9e37'79b9'7f4a'7c15 >> 54], site | u64{count} << 48, __ATOMIC_RELAXED);
}

/// Counts a trap; false once the site has trapped often enough. A site whose place in the memory another one has taken
/// does not wait: two that share a place would otherwise forget each other for ever.
bool Patcher::cold(u64 site) {
    if (warm_up_ == 0) return false;
    u64 word = __atomic_load_n(&memory_[site * 0x9e37'79b9'7f4a'7c15 >> 54], __ATOMIC_RELAXED);
    if (word != 0 && (word & 0xffff'ffff'ffff) != site) return false;
    u32 count = static_cast<u32>(word >> 48);
    if (count >= warm_up_) return false;
    remember(site, count + 1);
    return true;
}

void Patcher::code_changed(u64 address, u64 size) {
    lock();
    // A patch refused for its surroundings may fit the new ones. Trampolines of the old code stay: a thread may be in
    // one, and it leads back to an address that the program itself was executing.
    for (u64& word : std::span{memory_, remembers_ ? kMemory : 0u})
        if ((word & 0xffff'ffff'ffff) - address < size) word = 0;
    // Trampolines that go themselves are forgotten. Their place in the table stays: handlers read it without a lock.
    for (u32 i = 0; i < region_count_; ++i) {
        Region& region = regions_[i];
        if (region.base - address < size) __atomic_store_n(&region.slots, 0, __ATOMIC_RELEASE);
    }
    unlock();
}

void Patcher::code_reset() {
    lock();
    __atomic_store_n(&region_count_, 0, __ATOMIC_RELEASE);
    if (remembers_) memset(memory_, 0, sizeof memory_);
    remembers_ = false;
    unlock();
}

bool Patcher::try_lock() {
    return __atomic_load_n(&lock_word_, __ATOMIC_RELAXED) == 0 &&
           __atomic_exchange_n(&lock_word_, 1, __ATOMIC_ACQUIRE) == 0;
}

void Patcher::lock() {
    // Holders run in handlers with all signals blocked and wait for nothing, so this is a matter of microseconds,
    // or of their time slice.
    while (!try_lock()) host_.yield();
}

void Patcher::unlock() { __atomic_store_n(&lock_word_, 0, __ATOMIC_RELEASE); }

}  // namespace postern::host
