// SPDX-License-Identifier: Apache-2.0
// Attacks with allowed call numbers and hostile arguments, at descriptors, signals and the gate's own memory.
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include "tests/hostile/attack.hpp"
#include "tests/hostile/raw.hpp"

namespace hostile {

namespace {

struct Try {
    Word number, a, b, c, d, e, f;
};
long attempt(void* cookie) {
    auto& t = *static_cast<Try*>(cookie);
    return call_gate(t.number, t.a, t.b, t.c, t.d, t.e, t.f);
}
void report(const char* what, long detail, const Try& attack) {
    Try copy = attack;
    Outcome outcome = in_child(attempt, &copy, 400);
    const char* ending = outcome.ending == Ending::returned ? "returned"
                         : outcome.ending == Ending::killed ? "killed"
                         : outcome.ending == Ending::hung   ? "hung"
                                                            : "ended";
    std::printf("argument %s %ld %s %ld\n", what, detail, ending, outcome.value);
}

}  // namespace

int arguments_gate(int argc, char** argv) {
    Word stranger = argc > 0 ? std::strtoull(argv[0], nullptr, 10) : 1;
    for (Word command = 0; command <= 20; ++command)
        report("fcntl", static_cast<long>(command), {SYS_fcntl, 0, command, stranger, 0, 0, 0});
    for (Word command = 1024; command <= 1042; ++command)
        report("fcntl", static_cast<long>(command), {SYS_fcntl, 0, command, 0, 0, 0, 0});
    // Bits above the width the kernel reads must not help: fcntl reads a 32-bit command.
    report("fcntl-wide", 8, {SYS_fcntl, 0, (1ull << 32) | 8, stranger, 0, 0, 0});
    static char page[4096] __attribute__((aligned(4096)));
    for (Word advice = 0; advice <= 110; ++advice)
        report("madvise", static_cast<long>(advice),
               {SYS_madvise, reinterpret_cast<Word>(page), 4096, advice, 0, 0, 0});
    static unsigned word = 0;
    for (Word operation = 0; operation <= 15; ++operation)
        report("futex", static_cast<long>(operation),
               {SYS_futex, reinterpret_cast<Word>(&word), operation, 1, 1, reinterpret_cast<Word>(&word), 0});
    for (Word bit = 8; bit < 34; ++bit)
        report("clone", static_cast<long>(bit), {SYS_clone, (1ull << bit) | SIGCHLD, 0, 0, 0, 0, 0});
    report("clone-untraced", 0, {SYS_clone, 0x00800000 | 0x8000 | SIGCHLD, 0, 0, 0, 0, 0});
    report("clone-newuser", 0, {SYS_clone, 0x10000000 | 0x8000 | SIGCHLD, 0, 0, 0, 0, 0});
    report("clone-plain", 0, {SYS_clone, SIGCHLD, 0, 0, 0, 0, 0});
    for (long clock = -64; clock < 16; ++clock) {
        static long time[2];
        report("clock_gettime", clock,
               {SYS_clock_gettime, static_cast<Word>(clock), reinterpret_cast<Word>(time), 0, 0, 0, 0});
    }
    return 0;
}

int signals(int argc, char** argv) {
    for (int i = 0; i < argc; ++i) {
        Word target = std::strtoull(argv[i], nullptr, 10);
        for (Word number : {0, 1, 9, 15, 19, 64}) {
            report("tgkill", static_cast<long>(target), {SYS_tgkill, target, target, number, 0, 0, 0});
            // From the program's text the number means a process of the family, never the host's.
            call_here(SYS_tgkill, target, target, number);
            call_here(SYS_kill, target, number);
            call_here(SYS_kill, static_cast<Word>(-static_cast<long>(target)), number);
        }
        long traced = call_here(SYS_ptrace, 16, target, 0, 0);
        std::printf("ptrace %llu %ld\n", static_cast<unsigned long long>(target), traced);
    }
    return 0;
}

int descriptors(int, char**) {
    // Whatever is open below: reading names it. Sockets and descriptors of directories outside are holes.
    for (Word fd = 0; fd < 1024; ++fd) {
        static struct stat status;
        std::memset(&status, 0, sizeof status);
        long result = call_gate(SYS_fstat, fd, reinterpret_cast<Word>(&status));
        if (result == 0)
            std::printf("descriptor %llu mode=%o size=%lld dev=%llu ino=%llu\n", static_cast<unsigned long long>(fd),
                        status.st_mode, static_cast<long long>(status.st_size),
                        static_cast<unsigned long long>(status.st_dev), static_cast<unsigned long long>(status.st_ino));
    }
    return 0;
}

int overmap(int, char**) {
    // mov $257,%eax (openat) with a real path; syscall; ret: on an address that the filter believes.
    static const unsigned char kCode[] = {0xb8, 0x01, 0x01, 0, 0, 0x0f, 0x05, 0xc3};
    auto run = [](void* how) -> long {
        void* page = reinterpret_cast<void*>(postern::host::kGatePage);
        // Copies of the instructions needed until the page is ours again.
        if (how == nullptr) {
            long mapped = call_gate(SYS_mmap, reinterpret_cast<Word>(page), 4096, 7, 0x32, ~0ull, 0);
            if (mapped < 0) return mapped;
        } else {
            long changed = call_gate(SYS_mprotect, reinterpret_cast<Word>(page), 4096, 7);
            if (changed < 0) return changed;
        }
        std::memcpy(page, kCode, sizeof kCode);
        long result;
        register Word r10 asm("r10") = 0;
        asm volatile("call *%[entry]"
                     : "=a"(result)
                     : [entry] "b"(page), "D"(static_cast<Word>(-100)), "S"("/etc/shadow"), "d"(0), "r"(r10)
                     : "rcx", "r11", "memory");
        return result;
    };
    int marker = 0;
    Outcome mapped = in_child(run, nullptr);
    Outcome written = in_child(run, &marker);
    std::printf("overmap mmap %s %ld\n", mapped.ending == Ending::returned ? "returned" : "stopped", mapped.value);
    std::printf("overmap mprotect %s %ld\n", written.ending == Ending::returned ? "returned" : "stopped",
                written.value);
    return 0;
}

}  // namespace hostile
