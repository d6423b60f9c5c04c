// SPDX-License-Identifier: Apache-2.0
// Patches made before code runs for the first time: trampolines that carry instructions along.
//
// Only the five bytes of one `mov $n,%eax` change, as in patches of running code, so that whoever jumps to one of the
// instructions behind it finds them as they were. A trampoline of two slots has a hole where slots have the distance to
// their rewind address, and 0 in it: it can be interrupted anywhere and goes on from there.
#include "base/memory.hpp"
#include "host/linux/entry/patch/decoder.hpp"
#include "host/linux/entry/patch/patcher.hpp"

namespace postern::host {

namespace {

constexpr u32 kMov = 5;
constexpr u32 kCall = 2;  // a `syscall` or CPUID
constexpr u32 kHop = 2;

void put32(u8* at, u64 value) {
    u32 word = static_cast<u32>(value);
    memcpy(at, &word, 4);
}

/// An instruction that does the same anywhere and leaves the registers of `kept` (bits by number) alone: moves between
/// registers and memory that is not addressed relative to the instruction, constants, xor of registers.
bool is_plain(const u8* code, u32 length, u32 kept) {
    const u8* end = code + length;
    bool vector = false;
    if (*code == 0x66) vector = true, ++code;
    u8 rex = 0;
    if (code < end && (*code & 0xf0) == 0x40) rex = *code++;
    if (code == end) return false;
    auto free = [&](u32 number) { return number >= 16 || (kept >> number & 1) == 0; };
    const u32 high = (rex & 1) != 0 ? 8 : 0;
    const u8 opcode = *code++;
    if (!vector && (opcode & 0xf8) == 0xb8) return free((opcode & 7u) + high);  // mov $n,%register
    if (code == end) return false;
    auto fields = [&](const u8 byte, u32& mode, u32& reg, u32& rm) {
        mode = byte >> 6, reg = (byte >> 3 & 7u) + ((rex & 4) != 0 ? 8u : 0u), rm = (byte & 7u) + high;
        return mode == 3 || mode != 0 || (byte & 7) != 5;  // not relative to the instruction
    };
    u32 mode, reg, rm;
    if (opcode == 0x0f) {  // movups, movaps, movd, punpcklqdq: of general registers only movd reads one
        const u8 second = *code++;
        const bool known = second == 0x10 || second == 0x11 || second == 0x28 || second == 0x29 ||
                           (vector && (second == 0x6e || second == 0x6c));
        return known && code < end && fields(*code, mode, reg, rm);
    }
    if (vector || !fields(*code, mode, reg, rm)) return false;
    switch (opcode) {
        case 0x31:                                                // xor
        case 0x89: return mode != 3 ? opcode == 0x89 : free(rm);  // mov to register or memory
        case 0x8b: return free(reg);                              // mov to register
        case 0xc7: return (*code >> 3 & 7) == 0 && (mode != 3 || free(rm));
        default: return false;
    }
}

}  // namespace

/// Is there a `mov $n,%eax` at `site`, and may all between it and what ends at `after` move elsewhere?
bool Patcher::can_carry(u64 site, u64 after) const {
    constexpr u32 kMostBetween = kRewindOffset - kMov - kHop;
    if (after < site + kMov + kCall || after - site > kMov + kMostBetween + kCall) return false;
    const u32 distance = static_cast<u32>(after - kCall - site);
    if (!is_mov(Window{host_, after - kCall}, distance)) return false;
    const u8* code = reinterpret_cast<const u8*>(site);
    for (u32 at = kMov; at < distance;) {
        Instruction instruction = decode(code + at, distance - at);
        constexpr u32 kRax = 1;
        if (instruction.length == 0 || !is_plain(code + at, instruction.length, kRax)) return false;
        at += instruction.length;
    }
    return true;
}

/// Address of that many slots in a row near `site`; 0: there is no room.
u64 Patcher::take_slots(u64 site, u32 count) {
    Region* region = find_region(site);
    if (region == nullptr || region->slots - region->used < count) {
        u64 base = host_.place(site, kRegionSize);
        region = base != 0 ? add_region(base, kRegionSize) : nullptr;
        if (region == nullptr) return 0;
    }
    u64 slot = region->base + u64{region->used} * kSlotSize;
    region->used += count;
    return slot;
}

bool Patcher::replace_call(u64 site, u64 after) {
    if (!can_carry(site, after)) return false;
    u64 slot = take_slots(site, 2);
    if (slot == 0) return false;
    u8 code[2 * kSlotSize];
    memset(code, 0xcc, sizeof code);
    u32 length = static_cast<u32>(after - kCall - site);
    memcpy(code, reinterpret_cast<const void*>(site), length);
    code[length] = 0xeb, code[length + 1] = static_cast<u8>(kSlotSize - length - kHop);
    memset(code + kRewindOffset, 0, 8);
    write_exit(code + kSlotSize, slot + kSlotSize, after);
    memset(code + kSlotSize + kRewindOffset, 0, 8);
    memcpy(reinterpret_cast<void*>(slot), code, sizeof code);
    jump_from(site, slot);
    return true;
}

bool Patcher::replace_cpuid(u64 site, u64 after, const Identification& answer) {
    const u32 between = static_cast<u32>(after - site) - kMov - kCall;
    if (between > 2 || !can_carry(site, after)) return false;
    u64 slot = take_slots(site, 2);
    if (slot == 0) return false;
    u8 code[2 * kSlotSize];
    memset(code, 0xcc, sizeof code);
    memcpy(code, reinterpret_cast<const void*>(site + kMov), between);  // for its flags
    u32 length = between;
    auto load = [&](u8 opcode, u32 value) {
        code[length] = opcode;  // mov $value,%register
        put32(code + length + 1, value);
        length += kMov;
    };
    load(0xb8, answer.rax);
    load(0xbb, answer.rbx);
    load(0xb9, answer.rcx);
    code[length] = 0xeb, code[length + 1] = static_cast<u8>(kSlotSize - length - kHop);
    memset(code + kRewindOffset, 0, 8);
    length = kSlotSize;
    load(0xba, answer.rdx);
    code[length] = 0xe9;
    put32(code + length + 1, after - (slot + length + 5));
    memset(code + kSlotSize + kRewindOffset, 0, 8);
    memcpy(reinterpret_cast<void*>(slot), code, sizeof code);
    jump_from(site, slot);
    return true;
}

void Patcher::jump_from(u64 site, u64 slot) {
    u8 jump[kMov] = {0xe9};
    put32(jump + 1, slot - (site + kMov));
    memcpy(reinterpret_cast<void*>(site), jump, sizeof jump);
    ++patched_;
}

}  // namespace postern::host
