// SPDX-License-Identifier: Apache-2.0
// How much more two threads do than one, in calls that need nothing from outside; each thread uses descriptors of its
// own.
//
//   scaling --list        names of the rows
//   scaling ROW [DIR]     operations of two threads a second over those of one, on standard output; DIR holds `data`
//
// One and two threads take turns in short batches, and the quickest batch of each counts: what else the machine does
// can only make them slower. Each thread times itself, from when both are running.
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <string>

namespace {

using u64 = unsigned long;

std::string directory = ".";

u64 now() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<u64>(time.tv_sec) * 1000000000 + static_cast<u64>(time.tv_nsec);
}
long must(long result, const char* what) {
    if (result < 0) {
        perror(what);
        exit(1);
    }
    return result;
}

/// What a thread has for itself, on cache lines of its own.
struct alignas(256) Mine {
    int file = -1, ends[2] = {-1, -1};
    char buffer[4096];
    u64 count = 0, start = 0, end = 0;
    void (*run)(Mine&, u64) = nullptr;
};

void do_getpid(Mine&, u64 n) {
    while (n-- > 0) syscall(SYS_getpid);
}
void do_lseek(Mine& mine, u64 n) {
    while (n-- > 0) must(lseek(mine.file, static_cast<off_t>(n & 4095), SEEK_SET), "lseek");
}
void do_pread(Mine& mine, u64 n) {
    while (n-- > 0) must(pread(mine.file, mine.buffer, 512, static_cast<off_t>(n & 63) * 4096), "pread");
}
void do_dup_close(Mine& mine, u64 n) {
    while (n-- > 0) close(static_cast<int>(must(dup(mine.file), "dup")));
}
void do_pipe(Mine& mine, u64 n) {
    while (n-- > 0) {
        must(write(mine.ends[1], mine.buffer, 1), "write");
        must(read(mine.ends[0], mine.buffer, 1), "read");
    }
}
void do_all(Mine& mine, u64 n) {
    while (n-- > 0) {
        do_getpid(mine, 1);
        do_lseek(mine, 1);
        do_pread(mine, 1);
        do_dup_close(mine, 1);
        do_pipe(mine, 1);
    }
}

constexpr struct {
    const char* name;
    void (*run)(Mine&, u64);
} kRows[] = {
    {"scaling", do_all},         {"scaling-getpid", do_getpid},       {"scaling-lseek", do_lseek},
    {"scaling-pread", do_pread}, {"scaling-dup-close", do_dup_close}, {"scaling-pipe", do_pipe},
};

alignas(256) std::atomic<int> ready;
alignas(256) Mine both[2];

void* work(void* argument) {
    Mine& mine = *static_cast<Mine*>(argument);
    for (--ready; ready > 0;) asm volatile("pause");
    mine.start = now();
    mine.run(mine, mine.count);
    mine.end = now();
    return nullptr;
}

/// Nanoseconds that one of `threads` needs for an operation beside the others. The first thread only waits: a program
/// of one thread has shortcuts that would be measured with it.
double batch(int threads) {
    pthread_t workers[2];
    ready = threads;
    for (int i = 0; i < threads; ++i)
        if (pthread_create(&workers[i], nullptr, work, &both[i]) != 0) must(-1, "pthread_create");
    for (int i = 0; i < threads; ++i) pthread_join(workers[i], nullptr);
    u64 start = both[0].start, end = both[0].end;
    if (threads == 2) start = std::min(start, both[1].start), end = std::max(end, both[1].end);
    return static_cast<double>(end - start) / static_cast<double>(both[0].count);
}

}  // namespace

int main(int count, char** words) {
    if (count == 2 && strcmp(words[1], "--list") == 0) {
        for (const auto& row : kRows) puts(row.name);
        return 0;
    }
    void (*run)(Mine&, u64) = nullptr;
    for (const auto& row : kRows)
        if (count > 1 && strcmp(row.name, words[1]) == 0) run = row.run;
    if (run == nullptr) {
        fprintf(stderr, "usage: scaling ROW [DIR] | scaling --list\n");
        return 2;
    }
    if (count > 2) directory = words[2];
    for (Mine& mine : both) {
        mine.file = static_cast<int>(must(open((directory + "/data").c_str(), O_RDONLY), "data"));
        must(pipe(mine.ends), "pipe");
        mine.run = run;
        mine.count = 1000;
    }
    constexpr double kBatch = 3e5;  // nanoseconds: short enough that some batches have both processors for themselves
    batch(1);
    const u64 fitting = static_cast<u64>(kBatch / batch(1)) + 1;
    for (Mine& mine : both) mine.count = fitting;
    double alone = 1e18, together = 1e18;
    for (int round = 0; round < 500; ++round) {
        alone = std::min(alone, batch(1));
        together = std::min(together, batch(2));
    }
    printf("%.3f\n", 2 * alone / together);
    return 0;
}
