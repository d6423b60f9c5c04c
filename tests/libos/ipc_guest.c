// SPDX-License-Identifier: Apache-2.0
// A Linux program that checks pipes, readiness, events, timers, sockets inside a family, and what /proc and /dev say.
// It expects what Linux does: natively and in a picoprocess every line must say "ok". Parts that ask about the family's
// own /proc run in a picoprocess only and are left out natively where Linux would tell of strangers.
#define _GNU_SOURCE
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static void nap(long milliseconds) {
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    while (nanosleep(&time, &time) != 0 && errno == EINTR) {
    }
}
static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}
static volatile int caught;
static void on_signal(int number) { caught = number; }
static void handle(int number, int flags) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
    sigaction(number, &action, NULL);
    caught = 0;
}

static void pipes(void) {
    int fd[2];
    char buffer[70000] = {0}, other[70000];
    check(pipe(fd) == 0, "pipe");
    check(write(fd[1], "abc", 3) == 3 && read(fd[0], buffer, 10) == 3 && memcmp(buffer, "abc", 3) == 0, "pipe bytes");
    struct stat st;
    check(fstat(fd[0], &st) == 0 && S_ISFIFO(st.st_mode), "pipe is a fifo");
    check(lseek(fd[0], 0, SEEK_CUR) == -1 && errno == ESPIPE, "pipe cannot seek");
    check(fcntl(fd[0], F_SETFL, O_NONBLOCK) == 0 && read(fd[0], buffer, 1) == -1 && errno == EAGAIN, "empty EAGAIN");
    check(fcntl(fd[1], F_SETFL, O_NONBLOCK) == 0, "nonblocking writer");
    for (int i = 0; i < (int)sizeof buffer; ++i) buffer[i] = (char)(i * 7);
    check(write(fd[1], buffer, sizeof buffer) == 65536, "a full pipe takes 64 KiB");
    check(write(fd[1], buffer, 1) == -1 && errno == EAGAIN, "full EAGAIN");
    int available = 0;
    check(ioctl(fd[0], FIONREAD, &available) == 0 && available == 65536, "FIONREAD");
    check(read(fd[0], other, 1000) == 1000, "part of it");
    check(write(fd[1], buffer, 4096) == -1 && errno == EAGAIN, "no room for PIPE_BUF: nothing");
    check(read(fd[0], other + 1000, sizeof other) == 64536 && memcmp(buffer, other, 65536) == 0, "bytes in order");
    check(fcntl(fd[0], F_GETPIPE_SZ) == 65536, "F_GETPIPE_SZ");
    check(fcntl(fd[0], F_SETPIPE_SZ, 5000) == 8192 && fcntl(fd[1], F_GETPIPE_SZ) == 8192, "F_SETPIPE_SZ");
    check(write(fd[1], buffer, 8000) == 8000 && fcntl(fd[0], F_SETPIPE_SZ, 4096) == -1 && errno == EBUSY, "EBUSY");
    check(fcntl(fd[0], F_SETPIPE_SZ, 1 << 17) == 1 << 17, "grow");
    check(read(fd[0], other, 9000) == 8000 && memcmp(other, buffer, 8000) == 0, "bytes outlive the new size");
    check(write(fd[0], "x", 1) == -1 && errno == EBADF && read(fd[1], other, 1) == -1 && errno == EBADF, "wrong ends");
    check(write(fd[1], (void*)8, 1) == -1 && errno == EFAULT, "EFAULT");

    struct pollfd item = {fd[0], POLLIN, 0};
    check(poll(&item, 1, 0) == 0, "nothing to read");
    close(fd[1]);
    check(poll(&item, 1, 0) == 1 && item.revents == POLLHUP, "POLLHUP without writer");
    check(read(fd[0], other, 1) == 0, "end of file");
    close(fd[0]);

    pipe(fd);
    close(fd[0]);
    handle(SIGPIPE, 0);
    check(write(fd[1], "x", 1) == -1 && errno == EPIPE && caught == SIGPIPE, "EPIPE and SIGPIPE");
    item = (struct pollfd){fd[1], POLLOUT, 0};
    check(poll(&item, 1, 0) == 1 && item.revents == (POLLOUT | POLLERR), "POLLERR without reader");
    close(fd[1]);
    check(pipe2(fd, 1) == -1 && errno == EINVAL, "pipe2 flags");
    check(pipe2(fd, O_CLOEXEC | O_NONBLOCK) == 0 && fcntl(fd[0], F_GETFD) == FD_CLOEXEC &&
              (fcntl(fd[1], F_GETFL) & O_NONBLOCK) != 0,
          "pipe2 O_CLOEXEC and O_NONBLOCK");
    close(fd[0]), close(fd[1]);

    // A megabyte from child to parent, in odd pieces.
    pipe(fd);
    pid_t child = CHILD({
        close(fd[0]);
        for (int i = 0; i < 1000; ++i)
            if (write(fd[1], buffer, 1049) != 1049) _exit(1);
    });
    close(fd[1]);
    long total = 0, wrong = 0, got;
    while ((got = read(fd[0], other, 777)) > 0) {
        for (long i = 0; i < got; ++i) wrong += other[i] != buffer[(total + i) % 1049];
        total += got;
    }
    int status;
    waitpid(child, &status, 0);
    check(total == 1049000 && wrong == 0 && status == 0, "a megabyte through a pipe");
    close(fd[0]);

    // Writers of PIPE_BUF do not mix.
    pipe(fd);
    pid_t writers[4];
    for (int w = 0; w < 4; ++w)
        writers[w] = CHILD({
            char block[512];
            memset(block, 'a' + w, sizeof block);
            for (int i = 0; i < 500; ++i) write(fd[1], block, sizeof block);
        });
    close(fd[1]);
    int mixed = 0, blocks = 0;
    for (;;) {
        char block[512];
        size_t have = 0;
        while (have < sizeof block && (got = read(fd[0], block + have, sizeof block - have)) > 0) have += got;
        if (have != sizeof block) break;
        ++blocks;
        for (size_t i = 1; i < sizeof block; ++i) mixed += block[i] != block[0];
    }
    for (int w = 0; w < 4; ++w) reap(writers[w]);
    check(blocks == 2000 && mixed == 0, "small writes stay whole");
    close(fd[0]);

    // A handler without SA_RESTART ends a read, one with it does not.
    pipe(fd);
    handle(SIGUSR1, 0);
    pid_t self = getpid();
    child = CHILD(nap(50); kill(self, SIGUSR1));
    check(read(fd[0], other, 1) == -1 && errno == EINTR && caught == SIGUSR1, "EINTR");
    reap(child);
    handle(SIGUSR1, SA_RESTART);
    child = CHILD(nap(50); kill(self, SIGUSR1); nap(50); write(fd[1], "z", 1));
    check(read(fd[0], other, 1) == 1 && other[0] == 'z' && caught == SIGUSR1, "SA_RESTART");
    reap(child);
    struct iovec vectors[2] = {{"ab", 2}, {"cd", 2}};
    check(writev(fd[1], vectors, 2) == 4 && read(fd[0], other, 9) == 4 && memcmp(other, "abcd", 4) == 0, "writev");
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd[1]);
    int again = open(name, O_WRONLY);
    check(again >= 0 && write(again, "q", 1) == 1 && read(fd[0], other, 1) == 1, "open /proc/self/fd of a pipe");
    ssize_t length = readlink(name, other, sizeof other);
    check(length > 6 && memcmp(other, "pipe:[", 6) == 0, "readlink of a pipe");
    close(again), close(fd[0]), close(fd[1]);
}

static void fifos(void) {
    char path[] = "/tmp/fifo-XXXXXX", buffer[16];
    int made = mkstemp(path);
    close(made);
    unlink(path);
    check(mkfifo(path, 0600) == 0, "mkfifo");
    check(open(path, O_WRONLY | O_NONBLOCK) == -1 && errno == ENXIO, "writer without reader ENXIO");
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    check(reader >= 0, "reader need not wait with O_NONBLOCK");
    struct pollfd item = {reader, POLLIN, 0};
    check(poll(&item, 1, 0) == 0, "no POLLHUP before the first writer");
    int writer = open(path, O_WRONLY | O_NONBLOCK);
    check(writer >= 0 && write(writer, "hi", 2) == 2 && read(reader, buffer, 9) == 2, "bytes");
    close(writer);
    check(poll(&item, 1, 0) == 1 && item.revents == POLLHUP, "POLLHUP afterwards");
    close(reader);
    double before = now();
    pid_t child = CHILD(nap(60); int fd = open(path, O_WRONLY); write(fd, "x", 1); nap(20));
    reader = open(path, O_RDONLY);
    check(now() - before > 0.04 && read(reader, buffer, 9) == 1 && read(reader, buffer, 9) == 0, "open waits");
    reap(child);
    close(reader);
    unlink(path);
}

static void events(void) {
    int fd = eventfd(3, EFD_NONBLOCK);
    uint64_t value = 0;
    check(read(fd, &value, 8) == 8 && value == 3, "eventfd value");
    check(read(fd, &value, 8) == -1 && errno == EAGAIN, "eventfd EAGAIN");
    check(read(fd, &value, 7) == -1 && errno == EINVAL, "eventfd EINVAL");
    value = UINT64_MAX;
    check(write(fd, &value, 8) == -1 && errno == EINVAL, "eventfd largest is refused");
    value = UINT64_MAX - 1;
    check(write(fd, &value, 8) == 8, "eventfd to the brim");
    value = 1;
    check(write(fd, &value, 8) == -1 && errno == EAGAIN, "eventfd full");
    struct pollfd item = {fd, POLLIN | POLLOUT, 0};
    check(poll(&item, 1, 0) == 1 && item.revents == POLLIN, "eventfd full is not writable");
    close(fd);
    fd = eventfd(2, EFD_SEMAPHORE);
    check(read(fd, &value, 8) == 8 && value == 1 && read(fd, &value, 8) == 8 && value == 1, "semaphore");
    pid_t child = CHILD(nap(30); uint64_t one = 1; write(fd, &one, 8));
    check(read(fd, &value, 8) == 8 && value == 1, "eventfd across fork");
    reap(child);
    close(fd);
}

static void timers(void) {
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    uint64_t ticks = 0;
    check(read(fd, &ticks, 8) == -1 && errno == EAGAIN, "disarmed EAGAIN");
    struct itimerspec spec = {{0, 20000000}, {0, 30000000}}, old;
    check(timerfd_settime(fd, 0, &spec, NULL) == 0, "settime");
    check(timerfd_gettime(fd, &old) == 0 && old.it_interval.tv_nsec == 20000000 && old.it_value.tv_nsec > 0 &&
              old.it_value.tv_nsec <= 30000000,
          "gettime");
    struct pollfd item = {fd, POLLIN, 0};
    double before = now();
    check(poll(&item, 1, 2000) == 1 && item.revents == POLLIN && now() - before > 0.025 && now() - before < 1,
          "poll waits for the expiry");
    nap(50);
    check(read(fd, &ticks, 8) == 8 && ticks >= 2 && ticks <= 10, "ticks are counted");
    fcntl(fd, F_SETFL, 0);
    before = now();
    check(read(fd, &ticks, 8) == 8 && ticks == 1 && now() - before < 0.5, "read waits");
    spec = (struct itimerspec){{0, 0}, {0, 0}};
    check(timerfd_settime(fd, 0, &spec, &old) == 0 && old.it_interval.tv_nsec == 20000000, "old setting");
    check(poll(&item, 1, 50) == 0, "disarmed is silent");
    close(fd);
    fd = timerfd_create(CLOCK_REALTIME, 0);
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    wall.tv_nsec += 40000000;
    if (wall.tv_nsec >= 1000000000) wall.tv_nsec -= 1000000000, ++wall.tv_sec;
    spec = (struct itimerspec){{0, 0}, wall};
    before = now();
    check(timerfd_settime(fd, TFD_TIMER_ABSTIME, &spec, NULL) == 0 && read(fd, &ticks, 8) == 8 && ticks == 1 &&
              now() - before > 0.02,
          "absolute wall time");
    int set = epoll_create1(0);
    struct epoll_event event = {EPOLLIN, {.u32 = 9}}, got;
    spec = (struct itimerspec){{0, 0}, {0, 30000000}};
    epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
    timerfd_settime(fd, 0, &spec, NULL);
    before = now();
    check(epoll_wait(set, &got, 1, 2000) == 1 && got.data.u32 == 9 && now() - before > 0.02 && now() - before < 1,
          "epoll sees the expiry");
    close(set), close(fd);
    check(timerfd_create(99, 0) == -1 && errno == EINVAL, "unknown clock");
}

static void signalfds(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_NONBLOCK);
    struct signalfd_siginfo info;
    check(fd >= 0 && read(fd, &info, sizeof info) == -1 && errno == EAGAIN, "signalfd EAGAIN");
    kill(getpid(), SIGUSR2);
    struct pollfd item = {fd, POLLIN, 0};
    check(poll(&item, 1, 1000) == 1, "signalfd polls");
    check(read(fd, &info, sizeof info) == sizeof info && info.ssi_signo == SIGUSR2 && (int)info.ssi_pid == getpid(),
          "signalfd reads");
    pid_t child = CHILD(nap(30));
    check(poll(&item, 1, 2000) == 1 && read(fd, &info, sizeof info) == sizeof info && info.ssi_signo == SIGCHLD &&
              (pid_t)info.ssi_pid == child,
          "signalfd hears of the child");
    reap(child);
    int epoll = epoll_create1(0);
    struct epoll_event event = {EPOLLIN, {.u32 = 1}}, got;
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    child = CHILD(nap(30));
    check(epoll_wait(epoll, &got, 1, 2000) == 1, "epoll on a signalfd");
    reap(child);
    close(epoll), close(fd);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void polls(void) {
    int fd[2];
    pipe(fd);
    struct pollfd items[3] = {{fd[0], POLLIN, 0}, {-1, POLLIN, 9}, {1000, POLLIN, 0}};
    check(poll(items, 3, 0) == 1 && items[2].revents == POLLNVAL && items[1].revents == 0, "POLLNVAL, negative");
    double before = now();
    check(poll(items, 1, 60) == 0 && now() - before >= 0.059 && now() - before < 0.5, "timeout");
    pid_t child = CHILD(nap(30); write(fd[1], "x", 1));
    check(poll(items, 1, 3000) == 1 && items[0].revents == POLLIN, "woken by another process");
    reap(child);
    char c;
    read(fd[0], &c, 1);
    handle(SIGALRM, SA_RESTART);
    struct itimerval soon = {{0, 0}, {0, 30000}};
    setitimer(ITIMER_REAL, &soon, NULL);
    check(poll(items, 1, 2000) == -1 && errno == EINTR && caught == SIGALRM, "EINTR in spite of SA_RESTART");

    sigset_t block, none;
    sigemptyset(&none);
    sigemptyset(&block);
    sigaddset(&block, SIGALRM);
    sigprocmask(SIG_BLOCK, &block, NULL);
    caught = 0;
    setitimer(ITIMER_REAL, &soon, NULL);
    nap(60);
    check(caught == 0, "blocked");
    struct timespec time = {2, 0};
    check(ppoll(items, 1, &time, &none) == -1 && errno == EINTR && caught == SIGALRM, "ppoll unblocks");
    sigset_t after;
    sigprocmask(SIG_BLOCK, NULL, &after);
    check(sigismember(&after, SIGALRM), "and the mask is back");
    sigprocmask(SIG_UNBLOCK, &block, NULL);

    fd_set reads, writes;
    FD_ZERO(&reads);
    FD_ZERO(&writes);
    FD_SET(fd[0], &reads), FD_SET(fd[1], &writes);
    struct timeval wait = {0, 0};
    check(select(fd[1] + 1, &reads, &writes, NULL, &wait) == 1 && !FD_ISSET(fd[0], &reads) && FD_ISSET(fd[1], &writes),
          "select");
    FD_ZERO(&reads);
    FD_SET(fd[0], &reads);
    wait = (struct timeval){0, 40000};
    before = now();
    check(select(fd[0] + 1, &reads, NULL, NULL, &wait) == 0 && now() - before >= 0.039 && wait.tv_usec == 0,
          "select timeout");
    FD_ZERO(&reads);
    FD_SET(60, &reads);
    check(select(61, &reads, NULL, NULL, &wait) == -1 && errno == EBADF, "select EBADF");
    check(select(-1, NULL, NULL, NULL, NULL) == -1 && errno == EINVAL, "select EINVAL");
    FD_ZERO(&reads);
    FD_SET(fd[0], &reads);
    child = CHILD(nap(30); write(fd[1], "x", 1));
    check(select(fd[0] + 1, &reads, NULL, NULL, NULL) == 1 && FD_ISSET(fd[0], &reads), "select woken");
    reap(child);
    time = (struct timespec){0, 30000000};
    read(fd[0], &c, 1);
    FD_ZERO(&reads);
    FD_SET(fd[0], &reads);
    check(pselect(fd[0] + 1, &reads, NULL, NULL, &time, NULL) == 0, "pselect timeout");
    close(fd[0]), close(fd[1]);
}

static void* write_later(void* fd) {
    nap(30);
    write(*(int*)fd, "x", 1);
    return NULL;
}

static void epolls(void) {
    {  // all that are ready, however many
        enum { kMany = 150 };
        int many = epoll_create1(EPOLL_CLOEXEC), ends[kMany][2];
        static struct epoll_event all[kMany + 50];
        for (int index = 0; index < kMany; ++index) {
            struct epoll_event event = {EPOLLIN, {.u32 = (unsigned)index}};
            check(pipe(ends[index]) == 0 && write(ends[index][1], "x", 1) == 1, "a pipe with a byte");
            check(epoll_ctl(many, EPOLL_CTL_ADD, ends[index][0], &event) == 0, "epoll add");
        }
        check(epoll_wait(many, all, kMany + 50, 0) == kMany, "one epoll_wait gives all that are ready");
        check(epoll_wait(many, all, 100, 0) == 100, "and not more than asked for");
        for (int index = 0; index < kMany; ++index) close(ends[index][0]), close(ends[index][1]);
        close(many);
    }
    int fd[2], set = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {EPOLLIN, {.u64 = 77}}, got[4];
    pipe2(fd, O_NONBLOCK);
    check(epoll_ctl(set, EPOLL_CTL_ADD, fd[0], &event) == 0, "add");
    check(epoll_ctl(set, EPOLL_CTL_ADD, fd[0], &event) == -1 && errno == EEXIST, "EEXIST");
    check(epoll_ctl(set, EPOLL_CTL_DEL, fd[1], &event) == -1 && errno == ENOENT, "ENOENT");
    check(epoll_ctl(set, EPOLL_CTL_ADD, set, &event) == -1 && errno == EINVAL, "itself EINVAL");
    check(epoll_ctl(set, EPOLL_CTL_ADD, 999, &event) == -1 && errno == EBADF, "EBADF");
    int plain = open("/proc/self/exe", O_RDONLY);
    check(epoll_ctl(set, EPOLL_CTL_ADD, plain, &event) == -1 && errno == EPERM, "regular file EPERM");
    close(plain);
    check(epoll_wait(set, got, 4, 0) == 0, "nothing yet");
    check(epoll_wait(set, got, 0, 0) == -1 && errno == EINVAL, "no room EINVAL");
    write(fd[1], "ab", 2);
    check(epoll_wait(set, got, 4, 1000) == 1 && got[0].events == EPOLLIN && got[0].data.u64 == 77, "level");
    check(epoll_wait(set, got, 4, 0) == 1, "level again");
    char c[8];
    read(fd[0], c, 8);
    check(epoll_wait(set, got, 4, 0) == 0, "level gone");

    event.events = EPOLLIN | EPOLLET;
    epoll_ctl(set, EPOLL_CTL_MOD, fd[0], &event);
    write(fd[1], "a", 1);
    check(epoll_wait(set, got, 4, 0) == 1 && epoll_wait(set, got, 4, 0) == 0, "edge once");
    write(fd[1], "b", 1);
    check(epoll_wait(set, got, 4, 0) == 1 && epoll_wait(set, got, 4, 0) == 0, "edge with each write");
    read(fd[0], c, 1);
    check(epoll_wait(set, got, 4, 0) == 0, "a read is no edge for the reader");
    read(fd[0], c, 8);

    event.events = EPOLLIN | EPOLLONESHOT;
    epoll_ctl(set, EPOLL_CTL_MOD, fd[0], &event);
    write(fd[1], "a", 1);
    check(epoll_wait(set, got, 4, 0) == 1 && epoll_wait(set, got, 4, 0) == 0, "one shot");
    write(fd[1], "a", 1);
    check(epoll_wait(set, got, 4, 0) == 0, "stays quiet");
    epoll_ctl(set, EPOLL_CTL_MOD, fd[0], &event);
    check(epoll_wait(set, got, 4, 0) == 1, "armed again");
    read(fd[0], c, 8);
    event.events = EPOLLIN;
    epoll_ctl(set, EPOLL_CTL_MOD, fd[0], &event);

    double before = now();
    check(epoll_wait(set, got, 4, 50) == 0 && now() - before >= 0.049 && now() - before < 0.5, "timeout");
    pid_t child = CHILD(nap(30); write(fd[1], "x", 1));
    check(epoll_wait(set, got, 4, 3000) == 1, "woken by another process");
    reap(child);
    read(fd[0], c, 8);
    pthread_t thread;
    pthread_create(&thread, NULL, write_later, &fd[1]);
    check(epoll_wait(set, got, 4, 3000) == 1, "woken by a thread");
    pthread_join(thread, NULL);

    int outer = epoll_create1(0);
    struct epoll_event inner = {EPOLLIN, {.u64 = 5}};
    check(epoll_ctl(outer, EPOLL_CTL_ADD, set, &inner) == 0, "nested");
    check(epoll_wait(outer, got, 4, 0) == 1 && got[0].data.u64 == 5, "nested ready");
    check(epoll_ctl(set, EPOLL_CTL_ADD, outer, &inner) == -1 && errno == ELOOP, "ELOOP");
    struct pollfd item = {outer, POLLIN, 0};
    check(poll(&item, 1, 0) == 1 && item.revents == POLLIN, "poll of a set");
    read(fd[0], c, 8);
    check(epoll_wait(outer, got, 4, 0) == 0, "nested no longer ready");
    child = CHILD(nap(30); write(fd[1], "x", 1));
    check(epoll_wait(outer, got, 4, 3000) == 1, "nested wakes");
    reap(child);

    handle(SIGUSR1, SA_RESTART);
    read(fd[0], c, 8);
    pid_t self = getpid();
    child = CHILD(nap(30); kill(self, SIGUSR1));
    check(epoll_wait(set, got, 4, 3000) == -1 && errno == EINTR, "EINTR in spite of SA_RESTART");
    reap(child);

    int copy = dup(fd[0]);
    close(fd[0]);
    write(fd[1], "x", 1);
    check(epoll_wait(set, got, 4, 0) == 1, "the description lives on in its copy");
    close(copy);
    check(epoll_wait(set, got, 4, 0) == 0, "closed for good: forgotten");
    close(fd[1]), close(set), close(outer);

    pipe(fd);
    set = epoll_create(1);
    event = (struct epoll_event){EPOLLOUT | EPOLLET, {.u64 = 1}};
    epoll_ctl(set, EPOLL_CTL_ADD, fd[1], &event);
    check(epoll_wait(set, got, 4, 0) == 1 && got[0].events == EPOLLOUT, "writable at first");
    check(epoll_wait(set, got, 4, 0) == 0, "once");
    close(fd[0]);
    check(epoll_wait(set, got, 4, 0) == 1 && (got[0].events & EPOLLERR) != 0, "EPOLLERR unasked");
    close(fd[1]), close(set);
}

static void sockets(void) {
    int fd[2];
    char buffer[300000], control[256];
    memset(buffer, 'x', sizeof buffer);
    check(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0, "socketpair");
    check(write(fd[0], "hello", 5) == 5 && read(fd[1], buffer, 3) == 3 && read(fd[1], buffer + 3, 9) == 2 &&
              memcmp(buffer, "hello", 5) == 0,
          "stream bytes");
    check(write(fd[0], "ab", 2) == 2 && write(fd[0], "cd", 2) == 2 && read(fd[1], buffer, 9) == 4, "no boundaries");
    check(recv(fd[1], buffer, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN, "MSG_DONTWAIT");
    send(fd[0], "peek", 4, 0);
    check(recv(fd[1], buffer, 9, MSG_PEEK) == 4 && recv(fd[1], buffer, 9, 0) == 4, "MSG_PEEK");
    struct stat st;
    check(fstat(fd[0], &st) == 0 && S_ISSOCK(st.st_mode), "is a socket");
    int type = 0;
    socklen_t size = sizeof type;
    check(getsockopt(fd[0], SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM, "SO_TYPE");
    struct ucred peer;
    size = sizeof peer;
    check(getsockopt(fd[0], SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid == getpid(), "SO_PEERCRED");
    struct sockaddr_storage address;
    size = sizeof address;
    check(getpeername(fd[0], (struct sockaddr*)&address, &size) == 0 && address.ss_family == AF_UNIX, "getpeername");
    check(getsockname(0x7ff, (struct sockaddr*)&address, &size) == -1 && errno == EBADF, "EBADF");

    pid_t child = CHILD({
        close(fd[1]);
        for (size_t done = 0; done < sizeof buffer;) {
            ssize_t some = write(fd[0], buffer + done, sizeof buffer - done);
            if (some <= 0) _exit(1);
            done += some;
        }
    });
    size_t total = 0;
    while (total < sizeof buffer) {
        ssize_t some = read(fd[1], buffer, sizeof buffer);
        if (some <= 0) break;
        total += some;
    }
    reap(child);
    check(total == sizeof buffer, "more than the buffer holds");

    check(shutdown(fd[0], SHUT_WR) == 0 && read(fd[1], buffer, 1) == 0, "shutdown is an end of file");
    handle(SIGPIPE, 0);
    check(send(fd[0], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE && caught == 0, "EPIPE, MSG_NOSIGNAL");
    check(write(fd[0], "x", 1) == -1 && errno == EPIPE && caught == SIGPIPE, "SIGPIPE");
    check(write(fd[1], "y", 1) == 1 && read(fd[0], buffer, 9) == 1, "the other direction lives");
    close(fd[0]);
    struct pollfd item = {fd[1], POLLIN | POLLRDHUP, 0};
    check(poll(&item, 1, 0) == 1 && item.revents == (POLLIN | POLLRDHUP | POLLHUP), "POLLHUP");
    close(fd[1]);

    socketpair(AF_UNIX, SOCK_DGRAM, 0, fd);
    write(fd[0], "one", 3), write(fd[0], "", 0), write(fd[0], "three", 5);
    check(read(fd[1], buffer, 9) == 3 && read(fd[1], buffer, 9) == 0 && read(fd[1], buffer, 9) == 5, "boundaries");
    write(fd[0], "long message", 12);
    check(recv(fd[1], buffer, 4, MSG_TRUNC) == 12 && recv(fd[1], buffer, 4, MSG_DONTWAIT) == -1, "cut off, MSG_TRUNC");
    close(fd[0]), close(fd[1]);
    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd);
    check(fcntl(fd[0], F_GETFD) == FD_CLOEXEC && (fcntl(fd[1], F_GETFL) & O_NONBLOCK) != 0, "flags");
    check(read(fd[1], buffer, 9) == -1 && errno == EAGAIN, "seqpacket EAGAIN");
    close(fd[0]);
    check(read(fd[1], buffer, 9) == 0, "seqpacket end");
    close(fd[1]);

    // A descriptor goes to a child, which answers through it.
    int inner[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, fd);
    pipe(inner);
    child = CHILD({
        close(fd[0]), close(inner[0]), close(inner[1]);
        char byte;
        struct iovec vector = {&byte, 1};
        struct msghdr message = {
            .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        if (recvmsg(fd[1], &message, MSG_CMSG_CLOEXEC) != 1) _exit(1);
        struct cmsghdr* header = CMSG_FIRSTHDR(&message);
        if (header == NULL || header->cmsg_type != SCM_RIGHTS) _exit(2);
        int got;
        memcpy(&got, CMSG_DATA(header), sizeof got);
        write(got, "through", 7);
    });
    struct iovec vector = {"f", 1};
    memset(control, 0, sizeof control);
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(sizeof(int))};
    struct cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET, header->cmsg_type = SCM_RIGHTS, header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &inner[1], sizeof(int));
    check(sendmsg(fd[0], &message, 0) == 1, "sendmsg with a descriptor");
    close(inner[1]);
    check(read(inner[0], buffer, 9) == 7 && read(inner[0], buffer, 9) == 0, "the child wrote through it");
    int status;
    waitpid(child, &status, 0);
    check(status == 0, "recvmsg in the child");
    close(inner[0]), close(fd[0]), close(fd[1]);
    check(socketpair(AF_UNIX, 99, 0, fd) == -1, "unknown type");
}

static int read_text(const char* path, char* buffer, size_t size) {
    int fd = open(path, O_RDONLY);
    if (fd < 0) return -1;
    size_t done = 0;
    ssize_t got;
    while (done + 1 < size && (got = read(fd, buffer + done, size - 1 - done)) > 0) done += got;
    close(fd);
    buffer[done] = 0;
    return (int)done;
}

static void procfs(void) {
    static char text[200000];
    char path[64];
    check(read_text("/proc/self/stat", text, sizeof text) > 0 && atoi(text) == getpid(), "stat");
    char* after = strrchr(text, ')');
    int fields = 1;
    for (char* at = after + 1; *at; ++at) fields += *at == ' ';
    check(fields == 51, "52 fields");
    check(read_text("/proc/self/status", text, sizeof text) > 0 && strstr(text, "\nUid:\t") &&
              strstr(text, "\nThreads:\t1"),
          "status");
    check(read_text("/proc/self/cmdline", text, sizeof text) > 0 && strstr(text, "guest"), "cmdline");
    check(read_text("/proc/self/maps", text, sizeof text) > 0 && strstr(text, "[stack]") && strstr(text, "[heap]"),
          "maps");
    unsigned long here = (unsigned long)procfs, low, high;
    int found = 0;
    for (char* line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char flags[8];
        if (sscanf(line, "%lx-%lx %7s", &low, &high, flags) == 3 && here >= low && here < high && flags[2] == 'x')
            found = 1;
    }
    check(found, "maps show the text");
    check(readlink("/proc/self/exe", text, sizeof text) > 0, "exe");
    snprintf(path, sizeof path, "%d", getpid());
    ssize_t length = readlink("/proc/self", text, sizeof text);
    check(length == (ssize_t)strlen(path) && memcmp(text, path, length) == 0, "self");
    char cwd[4096];
    getcwd(cwd, sizeof cwd);
    length = readlink("/proc/self/cwd", text, sizeof text);
    check(length == (ssize_t)strlen(cwd) && memcmp(text, cwd, length) == 0, "cwd");
    int fds = 0, self = 0;
    DIR* directory = opendir("/proc/self/fd");
    for (struct dirent* entry; (entry = readdir(directory)) != NULL;)
        if (entry->d_name[0] != '.') ++fds, self += atoi(entry->d_name) == dirfd(directory);
    closedir(directory);
    check(fds >= 3 && self == 1, "fd lists descriptors");
    pid_t child = CHILD(nap(300));
    snprintf(path, sizeof path, "/proc/%d/stat", child);
    check(read_text(path, text, sizeof text) > 0 && atoi(text) == child, "a child's stat");
    found = 0;
    directory = opendir("/proc");
    for (struct dirent* entry; (entry = readdir(directory)) != NULL;) found += atoi(entry->d_name) == child;
    closedir(directory);
    check(found == 1, "/proc lists the child");
    kill(child, SIGKILL);
    nap(30);
    check(read_text(path, text, sizeof text) > 0 && strstr(text, ") Z "), "a zombie says so");
    reap(child);
    check(access(path, F_OK) == -1 && errno == ENOENT, "gone after wait");
    check(read_text("/proc/meminfo", text, sizeof text) > 0 && strstr(text, "MemTotal:"), "meminfo");
    check(read_text("/proc/cpuinfo", text, sizeof text) > 0 && strstr(text, "processor\t: 0"), "cpuinfo");
    check(read_text("/proc/stat", text, sizeof text) > 0 && strncmp(text, "cpu  ", 5) == 0 && strstr(text, "btime "),
          "stat");
    check(read_text("/proc/uptime", text, sizeof text) > 0 && atof(text) > 0, "uptime");
    check(read_text("/proc/sys/kernel/random/uuid", text, sizeof text) == 37 && text[14] == '4', "uuid");
    check(read_text("/proc/sys/kernel/ostype", text, sizeof text) == 6, "ostype");
    check(read_text("/proc/self/mounts", text, sizeof text) > 0 && strstr(text, " /proc proc "), "mounts");
    check(read_text("/proc/filesystems", text, sizeof text) > 0, "filesystems");
    check(read_text("/proc/self/limits", text, sizeof text) > 0 && strstr(text, "Max open files"), "limits");
    check(read_text("/sys/devices/system/cpu/online", text, sizeof text) > 0 && text[0] == '0', "cpus online");
    check(sysconf(_SC_NPROCESSORS_ONLN) >= 1, "sysconf");
    int comm = open("/proc/self/comm", O_WRONLY);
    check(comm >= 0 && write(comm, "renamed", 7) == 7, "comm is written");
    close(comm);
    check(read_text("/proc/self/comm", text, sizeof text) == 8 && strcmp(text, "renamed\n") == 0, "and read");
    check(open("/proc/nothing", O_RDONLY) == -1 && errno == ENOENT, "ENOENT");
    check(open("/proc/new", O_WRONLY | O_CREAT, 0600) == -1, "nothing is created");
    int got = read_text("/proc/self/auxv", text, sizeof text);
    unsigned long* pairs = (unsigned long*)text;
    found = 0;
    for (int i = 0; i + 1 < got / 8; i += 2) found |= pairs[i] == AT_PAGESZ && pairs[i + 1] == 4096;
    check(found, "auxv");
    int fd[2];
    pipe(fd);
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd[0]);
    check(read_text(path, text, sizeof text) > 0 && strstr(text, "flags:\t"), "fdinfo");
    close(fd[0]), close(fd[1]);
}

static void devices(void) {
    char buffer[64];
    int fd = open("/dev/null", O_RDWR);
    check(fd >= 0 && write(fd, "x", 1) == 1 && read(fd, buffer, 1) == 0, "null");
    struct stat st;
    check(fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == 0x103, "null's number");
    close(fd);
    fd = open("/dev/zero", O_RDWR);
    memset(buffer, 1, sizeof buffer);
    check(read(fd, buffer, 8) == 8 && buffer[0] == 0 && buffer[8] == 1, "zero");
    char* mapped = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    check(mapped != MAP_FAILED && mapped[5000] == 0 && (mapped[5000] = 1), "map zero");
    check(read(fd, (void*)8, 8) == -1 && errno == EFAULT, "EFAULT");
    close(fd);
    fd = open("/dev/full", O_WRONLY);
    check(write(fd, "x", 1) == -1 && errno == ENOSPC, "full");
    close(fd);
    unsigned long a = 0, b = 0;
    fd = open("/dev/urandom", O_RDONLY);
    check(read(fd, &a, 8) == 8 && read(fd, &b, 8) == 8 && a != b, "urandom");
    close(fd);
    fd = open("/dev/fd/1", O_WRONLY);
    check(fd >= 0, "/dev/fd");
    close(fd);
    check(isatty(open("/dev/null", O_RDONLY)) == 0, "no terminal");
}

int main(int argc, char** argv) {
    static const struct {
        const char* name;
        void (*run)(void);
    } parts[] = {
        {"pipes", pipes}, {"fifos", fifos},   {"events", events},   {"timers", timers}, {"signalfds", signalfds},
        {"polls", polls}, {"epolls", epolls}, {"sockets", sockets}, {"procfs", procfs}, {"devices", devices},
    };
    for (unsigned i = 0; i < sizeof parts / sizeof *parts; ++i)
        if (argc < 2 || strcmp(argv[1], parts[i].name) == 0) {
            printf("# %s\n", parts[i].name);
            parts[i].run();
        }
    return failures != 0;
}
