// SPDX-License-Identifier: Apache-2.0
// Every call that the wall lets through, with arguments that nobody sane would pass. The harness names the numbers:
// what is allowed is the wall's own knowledge.
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>

#include "tests/hostile/attack.hpp"
#include "tests/hostile/raw.hpp"

namespace hostile {

namespace {

Word g_stranger;

Word next(Word& state) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

Word nasty(Word& state) {
    static char text[64] = "/etc/shadow";
    static Word page[512];
    switch (next(state) % 14) {
        case 0: return next(state) % 1024;  // a descriptor, a command, a signal
        case 1: return g_stranger;
        case 2: return ~next(state) % 4096 * -1;
        case 3: return reinterpret_cast<Word>(text);
        case 4: return reinterpret_cast<Word>(page);
        case 5: return postern::host::kGatePage + next(state) % 8192;
        case 6: return 0xffff'ffff'8000'0000ull + next(state) % 0x1000000;  // the kernel's
        case 7: return 1ull << next(state) % 64;
        case 8: return postern::host::kRequestBase;
        case 9: return postern::host::kEntryBase;
        case 10: return next(state) & 0xffff'ffff;
        case 11: return 0;
        case 12: return 4096;
        default: return next(state);
    }
}

struct Round {
    Word number, seed;
};

long fuzz(void* cookie) {
    auto& round = *static_cast<Round*>(cookie);
    Word state = round.seed;
    long done = 0;
    for (int i = 0; i < 40; ++i, ++done) {
        Word a = nasty(state), b = nasty(state), c = nasty(state), d = nasty(state), e = nasty(state), f = nasty(state);
        call_gate(round.number, a, b, c, d, e, f);
    }
    return done;
}

struct Exact {
    const char* name;
    Word number, a, b, c, d, e, f;
};
long run_exact(void* cookie) {
    auto& call = *static_cast<Exact*>(cookie);
    return call_gate(call.number, call.a, call.b, call.c, call.d, call.e, call.f);
}

}  // namespace

int allowed_gate(int argc, char** argv) {
    if (argc < 1) return 2;
    g_stranger = std::strtoull(argv[0], nullptr, 10);
    for (int i = 1; i < argc; ++i) {
        Word number = std::strtoull(argv[i], nullptr, 10);
        int returned = 0, killed = 0, other = 0;
        for (Word seed = 1; seed <= 8; ++seed) {
            Round round{number, seed * 0x9e3779b97f4a7c15ull ^ number << 32};
            Outcome outcome = in_child(fuzz, &round, 150);
            if (outcome.ending == Ending::returned)
                ++returned;
            else if (outcome.ending == Ending::killed)
                ++killed;
            else
                ++other;
        }
        std::printf("fuzzed %llu returned=%d killed=%d other=%d\n", static_cast<unsigned long long>(number), returned,
                    killed, other);
    }
    // Each of these differs from what the host part says itself in one value, and must end the caller.
    static Word mask = ~0ull;
    static Word itimer[4] = {};
    const Word gate = postern::host::kGatePage;
    const Word fd = 0, none = ~0ull;
    const Exact calls[] = {
        {"mmap-hugetlb", SYS_mmap, 0, 2 << 20, 3, 0x40022, none, 0},
        {"mmap-locked", SYS_mmap, 0, 4096, 3, 0x2022, none, 0},
        {"mmap-growsdown", SYS_mmap, 0, 4096, 3, 0x122, none, 0},
        {"mmap-prot", SYS_mmap, 0, 4096, 0x8000003, 0x22, none, 0},
        {"mprotect-growsdown", SYS_mprotect, gate, 4096, 0x1000001, 0, 0, 0},
        {"mremap-dontunmap", SYS_mremap, gate, 4096, 4096, 5, 0, 0},
        {"ppoll-mask", SYS_ppoll, 0, 0, reinterpret_cast<Word>(itimer), reinterpret_cast<Word>(&mask), 8, 0},
        {"lseek-current", SYS_lseek, fd, 0, 1, 0, 0, 0},
        {"lseek-end", SYS_lseek, fd, 0, 2, 0, 0, 0},
        {"setitimer-unknown", SYS_setitimer, 3, reinterpret_cast<Word>(itimer), 0, 0, 0, 0},
        {"getrandom-flags", SYS_getrandom, reinterpret_cast<Word>(&mask), 8, 2, 0, 0, 0},
        {"membarrier-global", SYS_membarrier, 1, 0, 0, 0, 0, 0},
        {"membarrier-registrations", SYS_membarrier, 16, 0, 0, 0, 0, 0},
        {"membarrier-flags", SYS_membarrier, 32, 1, 0, 0, 0, 0},
        {"fallocate-unshare", SYS_fallocate, fd, 0x40, 0, 4096, 0, 0},
        {"tgkill-kill", SYS_tgkill, g_stranger, g_stranger, SIGKILL, 0, 0, 0},
        {"tgkill-stop", SYS_tgkill, g_stranger, g_stranger, SIGSTOP, 0, 0, 0},
        {"tgkill-zero", SYS_tgkill, g_stranger, g_stranger, 0, 0, 0, 0},
        {"clock-of-process", SYS_clock_gettime, ~(g_stranger << 3) | 2, reinterpret_cast<Word>(&mask), 0, 0, 0, 0},
        {"futex-lock-pi", SYS_futex, reinterpret_cast<Word>(&mask), 6, 0, 0, 0, 0},
        {"futex-wake-op", SYS_futex, reinterpret_cast<Word>(&mask), 5, 1, 1, reinterpret_cast<Word>(&mask), 0},
        {"futex-requeue-pi", SYS_futex, reinterpret_cast<Word>(&mask), 12, 1, 1, reinterpret_cast<Word>(&mask), 0},
        {"madvise-hwpoison", SYS_madvise, gate, 4096, 100, 0, 0, 0},
        {"madvise-wipeonfork", SYS_madvise, gate, 4096, 18, 0, 0, 0},
        {"madvise-mergeable", SYS_madvise, gate, 4096, 12, 0, 0, 0},
    };
    for (const Exact& call : calls) {
        Exact copy = call;
        Outcome outcome = in_child(run_exact, &copy, 300);
        std::printf("exact %s %s %ld\n", call.name, outcome.ending == Ending::killed ? "killed" : "survived",
                    outcome.value);
    }
    // The other way round, so that "killed" says something: what the host part does say passes.
    Exact passing{"clock", SYS_clock_gettime, 1, reinterpret_cast<Word>(itimer), 0, 0, 0, 0};
    Outcome outcome = in_child(run_exact, &passing, 300);
    std::printf("control %s %ld\n", outcome.ending == Ending::returned ? "returned" : "lost", outcome.value);
    return 0;
}

int remap_gate(int, char**) {
    // Taking the gate page away, or putting other memory in its place, ends at the filter's list all the same.
    struct Way {
        const char* name;
        Word number, a, b, c, d, e, f;
    };
    static char page[8192] __attribute__((aligned(4096)));
    const Word gate = postern::host::kGatePage, own = reinterpret_cast<Word>(page);
    const Way ways[] = {
        {"munmap", SYS_munmap, gate, 4096, 0, 0, 0, 0},
        {"mremap-away", SYS_mremap, gate, 4096, 4096, 3, own, 0},
        {"mremap-over", SYS_mremap, own, 4096, 4096, 3, gate, 0},
        {"madvise-drop", SYS_madvise, gate, 4096, 4, 0, 0, 0},
    };
    // mov $257,%eax (openat); syscall; ret
    static const unsigned char kCode[] = {0xb8, 0x01, 0x01, 0, 0, 0x0f, 0x05, 0xc3};
    for (const Way& way : ways) {
        Way copy = way;
        Outcome outcome = in_child(
            [](void* cookie) -> long {
                auto& way = *static_cast<Way*>(cookie);
                for (Word at = 0; at + sizeof kCode <= 4096; at += sizeof kCode)
                    __builtin_memcpy(page + at, kCode, sizeof kCode);
                call_gate(SYS_mprotect, reinterpret_cast<Word>(page), 4096, 7);
                call_gate(way.number, way.a, way.b, way.c, way.d, way.e, way.f);
                long result;
                register Word r10 asm("r10") = 0;
                asm volatile("call *%[entry]"
                             : "=a"(result)
                             : [entry] "b"(postern::host::kGatePage), "D"(static_cast<Word>(-100)), "S"("/etc/shadow"),
                               "d"(0), "r"(r10)
                             : "rcx", "r11", "memory");
                return result;
            },
            &copy);
        std::printf("remap %s %s %ld\n", way.name, outcome.ending == Ending::returned ? "returned" : "stopped",
                    outcome.value);
    }
    return 0;
}

}  // namespace hostile
