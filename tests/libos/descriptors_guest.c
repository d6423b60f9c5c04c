// SPDX-License-Identifier: Apache-2.0
// Threads that open, duplicate, replace and close descriptors of one table at the same time, while others read through
// theirs and one forks. What each does with its own descriptors must come out as if it were alone.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static atomic_int failures, uses, done;
#define CHECK(condition)                                                     \
    do {                                                                     \
        if (!(condition)) {                                                  \
            printf("line %d: %s (errno %d)\n", __LINE__, #condition, errno); \
            atomic_fetch_add(&failures, 1);                                  \
        }                                                                    \
    } while (0)

enum { kRounds = 3000 };
static int shared_fd;  // replaced by dup2 all the time, and never closed

static void* duplicate(void* name) {
    for (int i = 0; i < kRounds; ++i) {
        int first = open(name, O_RDONLY), second = dup(first), third = fcntl(second, F_DUPFD_CLOEXEC, 70 + i % 300);
        char byte;
        CHECK(first >= 0 && second >= 0 && third >= 70 + i % 300);
        CHECK(first != second && close(first) == 0);
        CHECK(pread(second, &byte, 1, 0) == 1 && byte == 'x');
        CHECK(close(second) == 0 && pread(third, &byte, 1, 1) == 1 && byte == 'y');
        CHECK((fcntl(third, F_GETFD) & FD_CLOEXEC) != 0 && fcntl(third, F_SETFD, 0) == 0);
        CHECK(close(third) == 0);
    }
    return NULL;
}

static void* pipes(void* unused) {
    (void)unused;
    for (int i = 0; i < kRounds; ++i) {
        int ends[2];
        char byte = 0;
        CHECK(pipe(ends) == 0);
        int copy = dup(ends[1]);
        CHECK(close(ends[1]) == 0 && write(copy, "p", 1) == 1 && close(copy) == 0);
        CHECK(read(ends[0], &byte, 1) == 1 && byte == 'p');
        CHECK(read(ends[0], &byte, 1) == 0);  // the last writer is gone, so its end is too
        CHECK(close(ends[0]) == 0);
    }
    return NULL;
}

static void* replace(void* name) {
    int one = open(name, O_RDONLY), other = open("/dev/zero", O_RDONLY);
    for (int i = 0; i < kRounds || atomic_load(&uses) < kRounds; ++i)
        CHECK(dup2(i & 1 ? one : other, shared_fd) == shared_fd);
    CHECK(close(one) == 0 && close(other) == 0);
    atomic_store(&done, 1);
    return NULL;
}

static void* use(void* unused) {
    (void)unused;
    while (!atomic_load(&done)) {
        char byte = 'n';
        atomic_fetch_add(&uses, 1);
        CHECK(pread(shared_fd, &byte, 1, 0) == 1 && (byte == 'x' || byte == 0));
    }
    return NULL;
}

static void* move_down(void* name) {
    // The file lies in one of two places at any moment, and a child must see it.
    for (int i = 0; i < 40; ++i) {
        int low = open(name, O_RDONLY), high = fcntl(low, F_DUPFD, 500);
        char byte;
        pid_t child = fork();
        if (child == 0) _exit(pread(low, &byte, 1, 0) == 1 && pread(high, &byte, 1, 1) == 1 ? 0 : 1);
        int status = -1;
        CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
        CHECK(close(low) == 0 && pread(high, &byte, 1, 1) == 1 && byte == 'y' && close(high) == 0);
    }
    return NULL;
}

int main(void) {
    for (int fd = 3; fd < 1000; ++fd) close(fd);  // inherited
    char name[] = "/tmp/descriptors-XXXXXX";
    int file = mkstemp(name);
    CHECK(write(file, "xy", 2) == 2);
    // A file of the host's, where there is one that begins so, has handles that must end with the last descriptor.
    const char* names[2] = {name, getenv("HOST_FILE") != NULL ? getenv("HOST_FILE") : name};
    shared_fd = dup(file);
    pthread_t threads[7];
    void* (*const works[7])(void*) = {duplicate, duplicate, pipes, pipes, replace, use, move_down};
    for (int i = 0; i < 7; ++i) pthread_create(&threads[i], NULL, works[i], (void*)names[i & 1]);
    for (int i = 0; i < 7; ++i) pthread_join(threads[i], NULL);
    close(shared_fd), close(file);
    // All is closed again: the next are the lowest.
    for (int expected = 3; expected < 30; ++expected) CHECK(open(names[expected & 1], O_RDONLY) == expected);
    CHECK(close(7) == 0 && close(4) == 0 && dup(0) == 4 && dup(0) == 7 && dup(0) == 30);
    CHECK(fcntl(0, F_DUPFD, 1000) == 1000 && dup2(0, 5000) < 0 == (sysconf(_SC_OPEN_MAX) <= 5000));
    unlink(name);
    puts(atomic_load(&failures) == 0 ? "all as if alone" : "failed");
    return atomic_load(&failures) != 0;
}
