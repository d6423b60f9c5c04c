// SPDX-License-Identifier: Apache-2.0
// What hostile native code can do without a library: raw system calls, from anywhere and from inside the gate's page.
#pragma once

#include <cstdint>
#include <cstring>

#include "host/linux/layout.hpp"

namespace hostile {

using Word = std::uint64_t;

/// `syscall` in the program's own text.
inline long call_here(Word number, Word a = 0, Word b = 0, Word c = 0, Word d = 0, Word e = 0, Word f = 0) {
    long result;
    register Word r10 asm("r10") = d;
    register Word r8 asm("r8") = e;
    register Word r9 asm("r9") = f;
    asm volatile("syscall"
                 : "=a"(result)
                 : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                 : "rcx", "r11", "memory");
    return result;
}

/// Every `syscall` instruction in the gate's page that a `ret` follows within a few bytes; returns their number.
inline int gate_sites(Word (&sites)[16]) {
    int count = 0;
    auto* page = reinterpret_cast<const unsigned char*>(postern::host::kGatePage);
    for (Word at = 0; at + 2 < postern::host::kGatePageSize && count < 16; ++at)
        if (page[at] == 0x0f && page[at + 1] == 0x05 && page[at + 2] == 0xc3)
            sites[count++] = postern::host::kGatePage + at;
    return count;
}

/// Jumps to a `syscall; ret` in the gate's page with registers of the attacker's choice.
inline long call_gate(Word number, Word a = 0, Word b = 0, Word c = 0, Word d = 0, Word e = 0, Word f = 0) {
    static Word site = [] {
        Word sites[16] = {};
        return gate_sites(sites) > 0 ? sites[0] : 0;
    }();
    if (site == 0) __builtin_trap();
    long result;
    register Word r10 asm("r10") = d;
    register Word r8 asm("r8") = e;
    register Word r9 asm("r9") = f;
    Word target = site;
    asm volatile(
        "lea -256(%%rsp), %%rsp\n\t"  // leave the red zone alone
        "call *%[target]\n\t"
        "lea 256(%%rsp), %%rsp"
        : "=a"(result)
        : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9), [target] "b"(target)
        : "rcx", "r11", "memory");
    return result;
}

}  // namespace hostile
