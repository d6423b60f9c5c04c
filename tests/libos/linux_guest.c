// SPDX-License-Identifier: Apache-2.0
// Calls that are new or were partial: prints what the kernel answers. Compared with the native output.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long told(const char* what, long result) {
    printf("%s: %ld%s%s\n", what, result, result < 0 ? " " : "", result < 0 ? strerrorname_np(errno) : "");
    return result;
}

/* futex_waitv(2) and its relatives */
struct waiter {
    uint64_t value, address;
    uint32_t flags, reserved;
};
static uint32_t words[3];
static uint32_t* shared;

static void* wake_later(void* word) {
    while (syscall(454, word, ~0u, 1, 2 | (word < (void*)shared || word > (void*)(shared + 1024) ? 128 : 0)) != 1)
        usleep(1000);
    return 0;
}

static void futexes(void) {
    struct waiter list[4];
    struct timespec now, later;
    shared = mmap(0, 4096, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 3; ++i) list[i] = (struct waiter){0, (uintptr_t)&words[i], 2 | 128, 0};
    list[3] = (struct waiter){0, (uintptr_t)&shared[5], 2, 0};
    told("flags", syscall(449, list, 4, 1, 0, 1));
    told("none", syscall(449, list, 0, 0, 0, 1));
    told("too many", syscall(449, list, 129, 0, 0, 1));
    told("null", syscall(449, 0, 1, 0, 0, 1));
    told("bad list", syscall(449, 8, 1, 0, 0, 1));
    list[1].flags = 3 | 128;
    told("64 bits", syscall(449, list, 4, 0, 0, 1));
    list[1].flags = 2 | 128;
    list[1].reserved = 1;
    told("reserved", syscall(449, list, 4, 0, 0, 1));
    list[1].reserved = 0;
    list[1].address += 1;
    told("unaligned", syscall(449, list, 4, 0, 0, 1));
    list[1].address = 16;
    told("bad word", syscall(449, list, 4, 0, 0, 1));
    list[1].address = (uintptr_t)&words[1];
    list[2].value = 1;
    told("other value", syscall(449, list, 4, 0, 0, 1));
    list[2].value = 0;
    later = (struct timespec){0, 0};
    told("timeout", syscall(449, list, 4, 0, &later, CLOCK_MONOTONIC));
    told("clock", syscall(449, list, 4, 0, &later, CLOCK_BOOTTIME));
    later.tv_nsec = 1000000000;
    told("bad time", syscall(449, list, 4, 0, &later, CLOCK_MONOTONIC));
    for (int i = 0; i < 4; ++i) {
        pthread_t thread;
        pthread_create(&thread, 0, wake_later, (void*)(uintptr_t)list[i].address);
        clock_gettime(i & 1 ? CLOCK_REALTIME : CLOCK_MONOTONIC, &later);
        later.tv_sec += 20;
        told("woken", syscall(449, list, 4, 0, &later, i & 1 ? CLOCK_REALTIME : CLOCK_MONOTONIC));
        pthread_join(thread, 0);
    }
    pid_t child = fork();
    if (child == 0) {
        while (syscall(SYS_futex, &shared[5], FUTEX_WAKE, 1, 0, 0, 0) != 1) usleep(1000);
        _exit(0);
    }
    told("woken by a child", syscall(449, list, 4, 0, 0, 1));
    waitpid(child, 0, 0);
    told("wake nobody", syscall(454, words, ~0u, 1, 2 | 128));
    told("wake no mask", syscall(454, words, 0, 1, 2 | 128));
    told("wake wide mask", syscall(454, words, 1l << 40, 1, 2 | 128));
    told("wake size", syscall(454, words, ~0u, 1, 1 | 128));
    told("wake unaligned", syscall(454, (char*)words + 1, ~0u, 1, 2 | 128));
    told("wait other", syscall(455, words, 1, ~0u, 2 | 128, 0, 1));
    later = (struct timespec){0, 1};
    told("wait time", syscall(455, words, 0, ~0u, 2 | 128, &later, 1));
    told("wait no mask", syscall(455, words, 0, 0, 2 | 128, &later, 1));
    told("wait clock", syscall(455, words, 0, ~0u, 2 | 128, &later, 7));
    told("requeue", syscall(456, list, 0, 1, 1));
    told("requeue flags", syscall(456, list, 1, 1, 1));
    told("requeue negative", syscall(456, list, 0, -1, 1));
    list[0].value = 7;
    told("requeue other", syscall(456, list, 0, 1, 1));
    (void)now;
}

int main(int argc, char** argv) {
    setvbuf(stdout, 0, _IOLBF, 0);
    if (argc < 2) return 2;
    if (strcmp(argv[1], "futexes") == 0) futexes();
    return 0;
}
