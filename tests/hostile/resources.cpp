// SPDX-License-Identifier: Apache-2.0
// Attacks on what is shared: the request file, the monitor's time, processes and memory.
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <initializer_list>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/linux/protocol.hpp"
#include "tests/hostile/attack.hpp"
#include "tests/hostile/raw.hpp"

namespace hostile {

namespace {

using postern::host::Ask;
using postern::host::Slot;

Slot& slot(unsigned index) {
    return *reinterpret_cast<Slot*>(postern::host::kRequestBase + postern::host::kSlotOffset +
                                    Word{index} * postern::host::kSlotSize);
}
Word random_word(Word& state) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

const char* g_secret = "";
volatile bool g_stop = false;

/// Swaps the name in slot 200 between one that is allowed and one that is not, as fast as it can.
void* flip_names(void*) {
    Slot& victim = slot(200);
    const char* allowed = "/etc/hostname";
    while (!g_stop) {
        std::memcpy(victim.names, allowed, std::strlen(allowed) + 1);
        victim.name_length = static_cast<unsigned>(std::strlen(allowed));
        std::memcpy(victim.names, g_secret, std::strlen(g_secret) + 1);
        victim.name_length = static_cast<unsigned>(std::strlen(g_secret));
        victim.name_length = 0xffff'ffff;
    }
    return nullptr;
}

bool shows_secret(long descriptor) {
    static char text[256];
    long got = call_gate(SYS_pread64, static_cast<Word>(descriptor), reinterpret_cast<Word>(text), 255, 0);
    return got > 0 && std::memcmp(text, "CANARY-SECRET", 13) == 0;
}

double now() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

}  // namespace

int slots(int argc, char** argv) {
    g_secret = argc > 0 ? argv[0] : "/etc/shadow";
    int rounds = argc > 1 ? std::atoi(argv[1]) : 3000;
    Word seed = 0x9e3779b97f4a7c15ull;
    pthread_t flipper;
    pthread_create(&flipper, nullptr, flip_names, nullptr);
    int leaked = 0, answered = 0;
    for (int i = 0; i < rounds; ++i) {
        Slot& target = slot(200);
        target.ask = Ask::open;
        target.access = 1;
        target.mode = target.create = target.options = target.flags = 0;
        long descriptor = call_gate(postern::host::kDoorbellCall, 200);
        if (descriptor >= 0 && target.error == postern::gate::Err::ok) {
            ++answered;
            leaked += shows_secret(descriptor);
            call_gate(SYS_close, static_cast<Word>(descriptor));
        }
    }
    g_stop = true;
    pthread_join(flipper, nullptr);
    for (int i = 0; i < rounds; ++i) {
        unsigned index = static_cast<unsigned>(random_word(seed) % postern::host::kSlotCount);
        auto* words = reinterpret_cast<Word*>(&slot(index));
        for (unsigned k = 1; k < 64; ++k)
            if (random_word(seed) % 3 == 0) words[k] = random_word(seed) >> (random_word(seed) % 64);
        slot(index).ask = static_cast<Ask>(random_word(seed) % 24);
        long descriptor = call_gate(postern::host::kDoorbellCall, index);
        if (descriptor > 2) {
            leaked += shows_secret(descriptor);
            call_gate(SYS_close, static_cast<Word>(descriptor));
        }
    }
    std::printf("slots answered=%d leaked=%d\n", answered, leaked);
    // Numbers of slots that do not exist: each in a child, because the wall ends the caller.
    for (Word number : {Word{postern::host::kSlotCount}, Word{1} << 32, ~Word{0}}) {
        Word copy = number;
        Outcome outcome = in_child([](void* cookie) { return call_gate(postern::host::kDoorbellCall, *static_cast<Word*>(cookie)); }, &copy);
        std::printf("slots outside %s\n", outcome.ending == Ending::killed ? "killed" : "survived");
    }
    int descriptor = open("/etc/hostname", O_RDONLY);
    std::printf("slots still-served %s\n", descriptor >= 0 || errno == ENOENT ? "yes" : "no");
    return 0;
}

int fork_bomb(int, char**) {
    int made = 0, refused = 0;
    for (int i = 0; i < 5000 && refused < 50; ++i) {
        pid_t child = fork();
        if (child == 0) {
            pause();
            _exit(0);
        }
        if (child > 0)
            ++made;
        else
            ++refused;
    }
    std::printf("fork-bomb made=%d refused=%d errno=%d\n", made, refused, errno);
    return 0;
}

int memory_bomb(int argc, char** argv) {
    bool shared = argc > 0 && std::strcmp(argv[0], "shared") == 0;
    size_t total = 0;
    const size_t step = 64 << 20;
    while (total < (64ull << 30)) {
        void* memory = mmap(nullptr, step, PROT_READ | PROT_WRITE,
                            (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) break;
        std::memset(memory, 1, step);
        total += step;
        std::printf("memory-bomb reached=%zu\n", total >> 20);
    }
    std::printf("memory-bomb stopped=%zu errno=%d\n", total >> 20, errno);
    return 0;
}

int session_storm(int, char**) {
    std::printf("session-storm started\n");
    for (;;) {
        pid_t child = fork();
        if (child == 0) {
            setsid();
            setpgid(0, 0);
            if (fork() > 0) _exit(0);
            setsid();
            timespec pause{0, 50'000'000};
            nanosleep(&pause, nullptr);
            _exit(0);
        }
        while (waitpid(-1, nullptr, WNOHANG) > 0) {
        }
    }
}

int answered(int, char**) {
    pid_t flood = fork();
    if (flood == 0)
        for (;;) {
            Slot& target = slot(201);
            target.ask = Ask::attributes;
            target.name_length = 4;
            std::memcpy(target.names, "/usr", 5);
            call_gate(postern::host::kDoorbellCall, 201);
        }
    double worst = 0;
    int opened = 0;
    for (int i = 0; i < 200; ++i) {
        double start = now();
        int descriptor = open("/usr/bin/env", O_RDONLY);
        double took = now() - start;
        if (took > worst) worst = took;
        if (descriptor >= 0) {
            ++opened;
            close(descriptor);
        }
    }
    kill(flood, SIGKILL);
    waitpid(flood, nullptr, 0);
    std::printf("answered opened=%d worst_ms=%d\n", opened, static_cast<int>(worst * 1000));
    return 0;
}

}  // namespace hostile
