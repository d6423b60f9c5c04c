// SPDX-License-Identifier: Apache-2.0
// Attacks on what is shared: the request file, the monitor's time, processes and memory.
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <initializer_list>

#include "host/linux/filter/rules.hpp"
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

constexpr unsigned kNameLength = 120;
char g_allowed_name[kNameLength + 1], g_forbidden_name[kNameLength + 1];

/// "file:" and a path, with slashes in front so that all names are of one length: only the text has to change.
void pad_name(char (&name)[kNameLength + 1], const char* path) {
    std::memset(name, '/', kNameLength);
    std::memcpy(name, "file:", 5);
    std::memcpy(name + kNameLength - std::strlen(path), path, std::strlen(path) + 1);
}

/// Swaps the name in slot 200 between one that is allowed and one that is not, as fast as it can; sometimes its length.
void* flip_names(void*) {
    Slot& victim = slot(200);
    for (unsigned round = 0; !g_stop; ++round) {
        std::memcpy(victim.names, g_allowed_name, kNameLength + 1);
        for (int i = 0; i < 50; ++i) __builtin_ia32_pause();
        std::memcpy(victim.names, g_forbidden_name, kNameLength + 1);
        for (int i = 0; i < 50; ++i) __builtin_ia32_pause();
        if (round % 16 == 0) {
            victim.name_length = 0xffff'ffff;
            victim.name_length = kNameLength;
        }
    }
    return nullptr;
}

const char* const kShapes[] = {
    "file:",
    "file:/..",
    "file:/../../../../..",
    "file:/usr/bin/../..",
    "file:/proc/self/root",
    "file:/proc/1/root",
    "file:/dev/fd/3/..",
    "file:///",
    "file:/tmp/../..",
    "",
    "/",
    "pipe.server:",
    "pipe.client:",
    "memory:",
    "stdin:",
    "http://",
    "tcp:127.0.0.1:1",
    "file:/usr/lib/../../",
};

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
    // Requests below also remove and rename. They may name canaries only: a hole must not cost the machine that tests.
    if (argc < 3) return 2;
    const char* plain = argv[2];
    Word seed = 0x9e3779b97f4a7c15ull;
    pad_name(g_allowed_name, plain);
    pad_name(g_forbidden_name, g_secret);
    slot(200).name_length = kNameLength;
    pthread_t flipper;
    pthread_create(&flipper, nullptr, flip_names, nullptr);
    int leaked = 0, answered = 0;
    for (int i = 0; i < rounds; ++i) {
        Slot& target = slot(200);
        target.ask = Ask::open;
        target.access = 1;
        target.mode = target.create = target.options = target.flags = 0;
        target.second_length = 0;
        target.sequence = static_cast<unsigned>(i) + 1;
        long descriptor = call_gate(postern::host::kDoorbellCall, 200);
        if (descriptor > 2 && target.error == postern::gate::Err::ok) {
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
        // Names that mean something, in whatever request: half the time both of them.
        {
            const char* shape = kShapes[random_word(seed) % (sizeof kShapes / sizeof *kShapes)];
            const char* path = random_word(seed) % 3 == 0 ? plain : g_secret;
            int length = std::snprintf(slot(index).names, 2000, "%s%s", shape, path);
            slot(index).name_length = static_cast<unsigned>(length);
            slot(index).second_length = 0;
            if (random_word(seed) % 2 == 0) {
                std::memcpy(slot(index).names + length + 1, slot(index).names, static_cast<size_t>(length) + 1);
                slot(index).second_length = static_cast<unsigned>(length);
            }
            slot(index).options &= 127;
            slot(index).flags &= 3;
            slot(index).access &= 15;
            slot(index).create = static_cast<unsigned>(random_word(seed) % 3);
            slot(index).mask = random_word(seed) & 15;
            slot(index).attributes = {};
            slot(index).sequence = static_cast<unsigned>(random_word(seed)) | 1;
        }
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
        Outcome outcome = in_child(
            [](void* cookie) { return call_gate(postern::host::kDoorbellCall, *static_cast<Word*>(cookie)); }, &copy);
        std::printf("slots outside %s\n", outcome.ending == Ending::killed ? "killed" : "survived");
    }
    int descriptor = open(plain, O_RDONLY);
    std::printf("slots still-served %s\n", descriptor >= 0 ? "yes" : "no");
    return 0;
}

int uninvited(int, char**) {
    constexpr char kProgram[] = "file:/hostile", kArguments[] = "/hostile\0list";
    int made = 0, ended = 0;
    for (int i = 0; i < 8; ++i) {
        Slot& request = slot(210);
        request.sequence = 0;
        request.name_length = sizeof kProgram - 1;
        request.second_length = sizeof kArguments;
        std::memcpy(request.names, kProgram, sizeof kProgram);
        std::memcpy(request.names + sizeof kProgram, kArguments, sizeof kArguments);
        request.mask = 0;
        request.ask = Ask::process_create;
        call_gate(postern::host::kDoorbellCall, 210);
        if (request.error != postern::gate::Err::ok) continue;
        ++made;
        Word process = request.value;
        for (int k = 0; k < 2000; ++k) {
            request.ask = Ask::process_wait;
            request.name_length = request.second_length = 0;
            request.value = process;
            call_gate(postern::host::kDoorbellCall, 210);
            if (request.error != postern::gate::Err::would_block) break;
            timespec pause{0, 1'000'000};
            nanosleep(&pause, nullptr);
        }
        ended += request.error == postern::gate::Err::ok;
    }
    std::printf("uninvited made=%d ended=%d\n", made, ended);
    // The family still has its processes, and learns of those that the wall ends.
    std::printf("uninvited self %s\n", kill(getpid(), 0) == 0 ? "found" : "lost");
    Outcome outcome = in_child([](void*) { return call_gate(postern::host::kDoorbellCall, ~Word{0}); }, nullptr);
    std::printf("uninvited child %s\n", outcome.ending == Ending::killed ? "killed" : "not noticed");
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

int cpu_bomb(int, char**) {
    // Past the library OS: it knows of none of these, and none of them ever calls it. Every other one keeps the monitor
    // busy, which works for the family.
    int made = 0, refused = 0;
    for (int i = 0; i < 400 && refused < 50; ++i) {
        long child = call_gate(SYS_clone, postern::host::kForkFlags, 0, 0, 0, 0);
        if (child > 0) ++made;
        if (child < 0) ++refused;
        if (child != 0) continue;
        Slot& target = slot(220 + static_cast<unsigned>(i) % 16);
        for (;;) {
            if (i % 2 == 0) continue;
            target.ask = Ask::attributes;
            target.name_length = 9;
            std::memcpy(target.names, "file:/usr", 10);
            call_gate(postern::host::kDoorbellCall, 220 + static_cast<Word>(i) % 16);
            call_gate(SYS_clone, postern::host::kForkFlags, 0, 0, 0, 0);
        }
    }
    std::printf("cpu-bomb made=%d refused=%d\n", made, refused);
    std::fflush(stdout);
    double end = now() + 3;
    while (now() < end) {
    }
    return 0;
}

int memory_bomb(int argc, char** argv) {
    bool shared = argc > 0 && std::strcmp(argv[0], "shared") == 0;
    size_t total = 0;
    const size_t step = 64 << 20;
    while (total < (64ull << 30)) {
        void* memory =
            mmap(nullptr, step, PROT_READ | PROT_WRITE, (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS, -1, 0);
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
    // It never comes back to the library OS, whose SIGKILL it therefore does not notice: members of a family trust each
    // other. The monitor ends it with the program.
    std::printf("answered opened=%d worst_ms=%d\n", opened, static_cast<int>(worst * 1000));
    return 0;
}

}  // namespace hostile
