// SPDX-License-Identifier: Apache-2.0
// Machine code that a program brings: lengths of instructions, and patches of sites in it. A patch may change only the
// bytes that it owns, and what ran before must still be there to run.
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "host/linux/entry/patch/decoder.hpp"
#include "host/linux/entry/patch/patcher.hpp"

using namespace postern;
using namespace postern::host;

namespace {

constexpr u64 kCode = 0x1000'0000, kCodeSize = 8192, kTrampolines = 0x1100'0000;
u64 g_placed;

const PatchHost kHost = {
    .freeze = [](u64 address, u64 size) -> u32 {
        return address >= kCode && address + size <= kCode + kCodeSize ? 5 : 0;
    },
    .release = [] {},
    .protect = [](u64, u64, u32) { return true; },
    .barrier = [] { return true; },
    .alone = [] { return true; },
    .place = [](u64, u64 size) -> u64 {
        u64 at = kTrampolines + g_placed;
        g_placed += size;
        return g_placed <= (1 << 20) ? at : 0;
    },
    .load =
        [](u64 address, u8* byte) {
            if (address < kCode || address >= kCode + kCodeSize) return false;
            *byte = *reinterpret_cast<const u8*>(address);
            return true;
        },
    .yield = [] {},
};

void map(u64 address, u64 size) {
    if (mmap(reinterpret_cast<void*>(address), size, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED)
        abort();
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    map(kCode, kCodeSize);
    map(kTrampolines, 1 << 20);
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    if (size < 2) return 0;
    bool breakpoints = (data[0] & 1) != 0;
    u64 number = data[1];
    data += 2;
    size -= 2;
    if (size > kCodeSize) size = kCodeSize;
    for (usize at = 0; at < size; ++at) {
        Instruction found = decode(data + at, size - at);
        if (found.length > 15 || found.length > size - at) abort();
        if (found.length == 0) continue;
        // A longer view changes nothing, a shorter one refuses.
        if (decode(data + at, found.length).length != found.length) abort();
        if (decode(data + at, found.length - 1u).length != 0) abort();
    }
    auto* code = reinterpret_cast<u8*>(kCode);
    memset(code, 0xcc, kCodeSize);
    memcpy(code, data, size);
    static u8 before[kCodeSize];
    static Patcher patcher{kHost};
    patcher.code_reset();
    patcher.force_breakpoints(breakpoints);
    g_placed = 0;
    for (usize at = 0; at + 2 <= size; ++at) {
        if (code[at] != 0x0f || code[at + 1] != 0x05) continue;
        memcpy(before, code, kCodeSize);
        PatchResult result = patcher.consider(kCode + at, number);
        usize first = kCodeSize, last = 0;
        for (usize i = 0; i < kCodeSize; ++i)
            if (before[i] != code[i]) first = i < first ? i : first, last = i;
        bool changed = first <= last;
        switch (result) {
            case PatchResult::patched_mov:  // the `mov $number,%eax` in front of it
                if (!changed || first < at - 5 || last >= at || code[at - 5] != 0xe9) abort();
                break;
            case PatchResult::patched_cave: {  // the call, and five bytes of padding that nobody runs
                if (!changed || code[at] != 0xeb) abort();
                usize cave = at + 2 + static_cast<usize>(static_cast<i64>(static_cast<i8>(code[at + 1])));
                if (cave + 5 > kCodeSize || code[cave] != 0xe9) abort();
                for (usize i = first; i <= last; ++i)
                    if (before[i] != code[i] && i != at && i != at + 1 && i - cave >= 5) abort();
                for (usize i = cave; i < cave + 5;) {
                    Instruction old = decode(before + i, kCodeSize - i);
                    if (old.length == 0 ||
                        (old.kind != InstructionKind::nop && old.kind != InstructionKind::breakpoint))
                        abort();
                    i += old.length;
                }
                break;
            }
            case PatchResult::busy:
            case PatchResult::refused:
                if (changed) abort();
                break;
        }
        if (patcher.resolve_breakpoint(kCode + at) != 0 && code[at] == 0xcc) abort();
    }
    return 0;
}
