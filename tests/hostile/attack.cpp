// SPDX-License-Identifier: Apache-2.0
// The hostile guest: `hostile ATTACK [ARGS]` runs one attack, `hostile list` names them.
#include "tests/hostile/attack.hpp"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace hostile {

const Attack kAttacks[] = {
    {"numbers-here", numbers_here, "every call number 0-600, with and without bit 30, from the program's own text"},
    {"numbers-gate", numbers_gate, "the same numbers through the gate page's own syscall instruction"},
    {"forbidden-gate", forbidden_gate,
     "calls that take a path, a program, a pid or a destination, through the gate page"},
    {"other-entries", other_entries, "int 0x80, sysenter, the vsyscall page"},
    {"arguments-gate", arguments_gate, "allowed calls with hostile arguments"},
    {"allowed-gate", allowed_gate,
     "every allowed call with senseless and forbidden arguments; arguments: a stranger, numbers"},
    {"remap-gate", remap_gate, "the gate page unmapped, moved and replaced"},
    {"signals", signals, "signals and ptrace at the process numbers given as arguments"},
    {"descriptors", descriptors, "descriptors that were never given"},
    {"overmap", overmap, "own code over the gate page"},
    {"slots", slots,
     "forged requests, changed while they are read; arguments: a name that must stay closed, rounds, a read-only one"},
    {"uninvited", uninvited, "picoprocesses made by bare requests, without the library OS's knowledge"},
    {"fork-bomb", fork_bomb, "processes without end"},
    {"cpu-bomb", cpu_bomb, "processes that compute, and keep the monitor busy, without the library OS's knowledge"},
    {"memory-bomb", memory_bomb, "memory without end, private and shared"},
    {"session-storm", session_storm, "setsid and clone in a loop, until killed"},
    {"answered", answered, "a sibling floods the monitor while this one asks for files"},
};
const int kAttackCount = sizeof kAttacks / sizeof *kAttacks;

Outcome in_child(long (*body)(void* cookie), void* cookie, int milliseconds) {
    static long* shared =
        static_cast<long*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    shared[0] = 0;
    shared[1] = 0;
    pid_t child = fork();
    if (child < 0) {
        std::printf("harness-error fork\n");
        return {Ending::hung, 0, 0};
    }
    if (child == 0) {
        long value = body(cookie);
        shared[1] = value;
        shared[0] = 1;
        _exit(0);
    }
    for (int waited = 0;; ++waited) {
        int status = 0;
        pid_t done = waitpid(child, &status, WNOHANG);
        if (done == child) {
            if (WIFSIGNALED(status)) {
                int number = WTERMSIG(status);
                bool killed = number == SIGKILL || number == SIGSYS;
                return {killed ? Ending::killed : Ending::other_signal, number, shared[1]};
            }
            return {shared[0] ? Ending::returned : Ending::other_signal, 0, shared[1]};
        }
        if (waited >= milliseconds) {
            kill(child, SIGKILL);
            waitpid(child, &status, 0);
            return {Ending::hung, 0, 0};
        }
        timespec pause{0, waited < 3 ? 100'000 : 1'000'000};
        nanosleep(&pause, nullptr);
    }
}

}  // namespace hostile

int main(int argc, char** argv) {
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    if (argc < 2 || std::strcmp(argv[1], "list") == 0) {
        for (int i = 0; i < hostile::kAttackCount; ++i)
            std::printf("%s\t%s\n", hostile::kAttacks[i].name, hostile::kAttacks[i].what);
        return argc < 2 ? 2 : 0;
    }
    for (int i = 0; i < hostile::kAttackCount; ++i)
        if (std::strcmp(argv[1], hostile::kAttacks[i].name) == 0) return hostile::kAttacks[i].run(argc - 2, argv + 2);
    std::fprintf(stderr, "hostile: no attack named '%s'\n", argv[1]);
    return 2;
}
