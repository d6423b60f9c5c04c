// SPDX-License-Identifier: Apache-2.0
// Signal-driven input and output: which signals come for what, and to whom. Compared with the native output.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static int names[64];
static sigset_t all;

/* Takes all pending signals, as they come from the queue, and prints them. */
static void drain(const char* what) {
    printf("%s:", what);
    siginfo_t info;
    struct timespec soon = {0, 0};
    char last[128] = "";
    while (sigtimedwait(&all, &info, &soon) > 0) {
        const int real_time = info.si_signo >= SIGRTMIN;
        // What the kernel repeats while it handles one event is told once.
        char line[128];
        int at = snprintf(line, sizeof line, " [%s%d code %d", real_time ? "rt" : "",
                          real_time ? info.si_signo - SIGRTMIN : info.si_signo, info.si_code);
        if (info.si_code > 0 && info.si_code < 7 && info.si_signo != SIGCHLD)
            snprintf(line + at, sizeof line - at, " fd %d band %lx", names[info.si_fd & 63], info.si_band);
        if (strcmp(line, last) != 0) printf("%s]", line);
        strcpy(last, line);
    }
    printf("\n");
}

static void watch(int fd, int name, int signal) {
    names[fd] = name;
    int a = fcntl(fd, F_SETOWN, getpid()), b = fcntl(fd, F_SETSIG, signal),
        c = fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_ASYNC);
    printf("watch %d: %d %d %d, own %d\n", name, a, b, c, fcntl(fd, F_GETOWN) == getpid());
}

static void pipes(void) {
    int p[2];
    char buffer[4096] = {0};
    pipe(p);
    watch(p[0], 1, SIGRTMIN);
    drain("set");
    write(p[1], "x", 1);
    drain("write to empty");
    write(p[1], "x", 1);
    drain("write to nonempty");
    watch(p[1], 2, SIGRTMIN + 1);
    read(p[0], buffer, 1);
    drain("read some");
    read(p[0], buffer, 1);
    drain("read last");
    fcntl(p[1], F_SETFL, O_NONBLOCK | O_ASYNC);
    while (write(p[1], buffer, sizeof buffer) > 0) {
    }
    siginfo_t info;
    struct timespec soon = {0, 0};
    while (sigtimedwait(&all, &info, &soon) > 0) {
    }
    read(p[0], buffer, sizeof buffer);
    drain("read page");
    int copy = dup(p[1]);
    close(copy);
    drain("close dup");
    close(p[1]);
    drain("close writer");
    close(p[0]);
    pipe(p);
    watch(p[1], 3, 0);
    close(p[0]);
    drain("close reader, plain SIGIO");
    write(p[1], "x", 1);
    drain("write broken");
    close(p[1]);
    pipe(p);
    watch(p[0], 4, SIGRTMIN);
    fcntl(p[0], F_SETFL, 0);
    write(p[1], "x", 1);
    drain("switched off");
    int on = 1;
    printf("FIOASYNC %d\n", ioctl(p[0], FIOASYNC, &on));
    printf("flags %x\n", fcntl(p[0], F_GETFL));
    write(p[1], "x", 1);
    drain("by FIOASYNC");
    on = 0;
    printf("FIOASYNC %d\n", ioctl(p[0], FIOASYNC, &on));
    write(p[1], "x", 1);
    drain("off again");
    fcntl(p[0], F_SETSIG, SIGIO);
    fcntl(p[0], F_SETFL, O_ASYNC);
    write(p[1], "x", 1);
    drain("SIGIO with information");
    fcntl(p[0], F_SETSIG, SIGCHLD);
    write(p[1], "x", 1);
    drain("SIGCHLD");
    fcntl(p[0], F_SETSIG, SIGUSR1);
    write(p[1], "x", 1);
    write(p[1], "x", 1);
    drain("SIGUSR1 twice");
    if (fork() == 0) {
        write(p[1], "x", 1);
        _exit(0);
    }
    wait(0);
    drain("by a child");
    close(p[0]), close(p[1]);
    mkfifo("async.fifo", 0600);
    int f = open("async.fifo", O_RDWR | O_NONBLOCK);
    watch(f, 5, SIGRTMIN);
    write(f, "x", 1);
    drain("fifo write");
    read(f, buffer, 1);
    drain("fifo read");
    int g = open("async.fifo", O_RDONLY | O_NONBLOCK);
    drain("fifo open");
    close(g);
    drain("fifo close");
    close(f);
    unlink("async.fifo");
}

static void who(void) {
    int p[2];
    pipe(p);
    int ready[2];
    pipe(ready);
    pid_t child = fork();
    if (child == 0) {
        sigset_t io;
        sigemptyset(&io);
        sigaddset(&io, SIGRTMIN + 2);
        write(ready[1], "r", 1);
        siginfo_t info;
        struct timespec long_time = {10, 0};
        int got = sigtimedwait(&io, &info, &long_time);
        _exit(got == SIGRTMIN + 2 && info.si_fd == p[0] ? 7 : 8);
    }
    char byte;
    read(ready[0], &byte, 1);
    printf("setsig %d\n", fcntl(p[0], F_SETSIG, SIGRTMIN + 2));
    printf("setown %d\n", fcntl(p[0], F_SETOWN, child));
    printf("setfl %d\n", fcntl(p[0], F_SETFL, O_ASYNC));
    write(p[1], "x", 1);
    int status;
    waitpid(child, &status, 0);
    printf("child got it: %d\n", WEXITSTATUS(status));
    drain("not me");
    // A process group.
    child = fork();
    if (child == 0) {
        setpgid(0, 0);
        sigset_t io;
        sigemptyset(&io);
        sigaddset(&io, SIGRTMIN + 2);
        write(ready[1], "r", 1);
        siginfo_t info;
        struct timespec long_time = {10, 0};
        int got = sigtimedwait(&io, &info, &long_time);
        _exit(got == SIGRTMIN + 2 && info.si_fd == p[0] ? 7 : 8);
    }
    read(ready[0], &byte, 1);
    printf("setown %d\n", fcntl(p[0], F_SETOWN, -child));
    write(p[1], "x", 1);
    waitpid(child, &status, 0);
    printf("group got it: %d\n", WEXITSTATUS(status));
    drain("not me");
    // One thread: it is pending for that one only.
    struct f_owner_ex owner = {F_OWNER_TID, gettid()};
    printf("setown_ex %d\n", fcntl(p[0], F_SETOWN_EX, &owner));
    write(p[1], "x", 1);
    FILE* file = fopen("/proc/thread-self/status", "r");
    char line[256];
    while (fgets(line, sizeof line, file))
        if (strncmp(line, "SigPnd", 6) == 0 || strncmp(line, "ShdPnd", 6) == 0) printf("%s", line);
    fclose(file);
    drain("thread");
    owner.type = F_OWNER_PID;
    printf("setown_ex %d\n", fcntl(p[0], F_SETOWN_EX, &owner));
    write(p[1], "x", 1);
    file = fopen("/proc/thread-self/status", "r");
    while (fgets(line, sizeof line, file))
        if (strncmp(line, "SigPnd", 6) == 0 || strncmp(line, "ShdPnd", 6) == 0) printf("%s", line);
    fclose(file);
    drain("process");
    printf("none %d\n", fcntl(p[0], F_SETOWN, 0));
    write(p[1], "x", 1);
    drain("nobody");
}

static void others(void) {
    int e = eventfd(0, EFD_NONBLOCK), t = timerfd_create(CLOCK_MONOTONIC, 0), ep = epoll_create1(0);
    int n = inotify_init1(IN_NONBLOCK), file = open("async.tmp", O_CREAT | O_RDWR, 0600), on = 1;
    int fds[] = {e, t, ep, file, n, open("/dev/null", O_RDWR), open("/dev/zero", O_RDWR)};
    for (int i = 0; i < 7; ++i) {
        int a = fcntl(fds[i], F_SETFL, O_ASYNC);
        int flags = fcntl(fds[i], F_GETFL) & O_ASYNC;
        int b = ioctl(fds[i], FIOASYNC, &on), error = errno;
        on = 0;
        int c = ioctl(fds[i], FIOASYNC, &on), error2 = errno;
        on = 1;
        int d = ioctl(fds[i], FIOASYNC, &on), error3 = errno;
        printf("%d: %d %x %d %s %d %s %d %s\n", i, a, flags, b, b ? strerror(error) : "", c, c ? strerror(error2) : "",
               d, d ? strerror(error3) : "");
    }
    watch(e, 20, SIGRTMIN);
    uint64_t one = 1;
    write(e, &one, 8);
    drain("eventfd");
    watch(n, 21, SIGRTMIN);
    inotify_add_watch(n, ".", IN_CREATE | IN_DELETE);
    close(open("async.tmp2", O_CREAT | O_RDWR, 0600));
    drain("inotify");
    unlink("async.tmp2");
    unlink("async.tmp");
    drain("inotify again");
    int m, s;
    openpty(&m, &s, 0, 0, 0);
    struct termios raw;
    tcgetattr(s, &raw);
    cfmakeraw(&raw);
    tcsetattr(s, TCSANOW, &raw);
    fcntl(s, F_SETFL, O_ASYNC | O_RDWR);
    printf("tty owner %d\n", fcntl(s, F_GETOWN) == getpid());
    watch(s, 22, SIGRTMIN);
    watch(m, 23, SIGRTMIN + 1);
    write(m, "hello", 5);
    usleep(20000);
    drain("tty input");
    write(m, "hello", 5);
    usleep(20000);
    drain("tty more input");
    write(s, "out", 3);
    usleep(20000);
    drain("tty output");
    char buffer[64];
    read(s, buffer, 5);
    read(m, buffer, 3);
    usleep(20000);
    drain("tty read");
    close(m), close(s);
}

static void sockets(void) {
    int p[2];
    char buffer[65536] = {0};
    socketpair(AF_UNIX, SOCK_STREAM, 0, p);
    printf("owner %d\n", fcntl(p[0], F_GETOWN));
    watch(p[0], 1, SIGRTMIN);
    watch(p[1], 2, SIGRTMIN + 1);
    write(p[1], "x", 1);
    drain("write");
    write(p[1], "x", 1);
    drain("more");
    read(p[0], buffer, 2);
    drain("read");
    fcntl(p[1], F_SETFL, O_RDWR | O_NONBLOCK | O_ASYNC);
    siginfo_t info;
    struct timespec soon = {0, 0};
    while (write(p[1], buffer, sizeof buffer) > 0) {
    }
    while (sigtimedwait(&all, &info, &soon) > 0) {
    }
    fcntl(p[0], F_SETFL, O_RDWR | O_NONBLOCK | O_ASYNC);
    int outs = 0;
    while (read(p[0], buffer, sizeof buffer) > 0) {
    }
    while (sigtimedwait(&all, &info, &soon) > 0) outs += info.si_code == POLL_OUT;
    printf("room after full: %d\n", outs > 0);
    shutdown(p[1], SHUT_WR);
    drain("shutdown");
    close(p[1]);
    drain("close");
    close(p[0]);
    socketpair(AF_UNIX, SOCK_DGRAM, 0, p);
    watch(p[0], 3, SIGRTMIN);
    watch(p[1], 4, SIGRTMIN + 1);
    write(p[1], "x", 1);
    drain("datagram");
    read(p[0], buffer, 1);
    drain("datagram read");
    close(p[1]);
    drain("datagram close");
    close(p[0]);
    int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    bind(l, (void*)&a, size);
    listen(l, 5);
    getsockname(l, (void*)&a, &size);
    watch(l, 5, SIGRTMIN);
    watch(c, 6, SIGRTMIN + 1);
    connect(c, (void*)&a, size);
    drain("connect");
    int s = accept(l, 0, 0);
    drain("accept");
    watch(s, 7, SIGRTMIN + 2);
    write(c, "abc", 3);
    drain("tcp data");
    read(s, buffer, 10);
    send(c, "!", 1, MSG_OOB);
    int urgent = 0, priority = 0;
    while (sigtimedwait(&all, &info, &soon) > 0)
        urgent += info.si_signo == SIGURG, priority += info.si_code == POLL_PRI;
    printf("urgent: %d %d\n", urgent > 0, priority > 0);
    recv(s, buffer, 1, MSG_OOB);
    drain("tcp read");
    shutdown(c, SHUT_WR);
    drain("tcp fin");
    close(s);
    drain("tcp fin back");
    close(c), close(l);
    int u = socket(AF_INET, SOCK_DGRAM, 0), v = socket(AF_INET, SOCK_DGRAM, 0);
    a.sin_port = 0;
    bind(u, (void*)&a, size);
    getsockname(u, (void*)&a, &size);
    watch(u, 8, SIGRTMIN);
    watch(v, 9, SIGRTMIN + 1);
    sendto(v, "x", 1, 0, (void*)&a, size);
    drain("udp");
    read(u, buffer, 1);
    drain("udp read");
    close(u);
    connect(v, (void*)&a, size);
    write(v, "x", 1);
    drain("udp refused");
    close(v);
}

static void dnotify(void) {
    mkdir("async.dir", 0700);
    int d = open("async.dir", O_RDONLY | O_DIRECTORY);
    names[d] = 30;
    int file = open("async.tmp", O_CREAT | O_RDWR, 0600);
    int answer = fcntl(file, F_NOTIFY, DN_CREATE);
    printf("on a file: %d %s\n", answer, strerror(errno));
    printf("nothing on a file: %d\n", fcntl(file, F_NOTIFY, 0));
    close(file);
    unlink("async.tmp");
    fcntl(d, F_SETSIG, SIGRTMIN);
    answer = fcntl(d, F_NOTIFY, DN_CREATE);
    printf("set %d owner %d\n", answer, fcntl(d, F_GETOWN) == getpid());
    close(open("async.dir/a", O_CREAT | O_RDWR, 0600));
    drain("create");
    close(open("async.dir/b", O_CREAT | O_RDWR, 0600));
    drain("create again: one shot");
    fcntl(d, F_NOTIFY, DN_MULTISHOT | DN_CREATE | DN_DELETE | DN_RENAME | DN_MODIFY | DN_ACCESS | DN_ATTRIB);
    close(open("async.dir/c", O_CREAT | O_RDWR, 0600));
    drain("create");
    file = open("async.dir/c", O_RDWR);
    drain("open");
    write(file, "hello", 5);
    drain("write");
    lseek(file, 0, 0);
    char buffer[8];
    read(file, buffer, 5);
    drain("read");
    fchmod(file, 0644);
    drain("chmod");
    close(file);
    drain("close");
    rename("async.dir/c", "async.dir/d");
    drain("rename");
    rename("async.dir/d", "async.out");
    drain("rename out");
    rename("async.out", "async.dir/d");
    drain("rename in");
    mkdir("async.dir/sub", 0700);
    drain("mkdir");
    chmod("async.dir/sub", 0755);
    drain("chmod directory");
    rmdir("async.dir/sub");
    drain("rmdir");
    unlink("async.dir/d");
    drain("unlink");
    fcntl(d, F_NOTIFY, 0);
    unlink("async.dir/a");
    drain("removed");
    fcntl(d, F_NOTIFY, DN_DELETE | DN_MULTISHOT);
    int copy = dup(d);
    close(copy);
    unlink("async.dir/b");
    drain("after a close of a duplicate");
    fcntl(d, F_SETSIG, 0);
    fcntl(d, F_NOTIFY, DN_CREATE);
    fcntl(d, F_NOTIFY, DN_DELETE);
    close(open("async.dir/a", O_CREAT | O_RDWR, 0600));
    drain("plain");
    unlink("async.dir/a");
    drain("plain");
    close(d);
    rmdir("async.dir");
}

int main(int argc, char** argv) {
    setvbuf(stdout, 0, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    char dir[] = "/tmp/asyncXXXXXX";
    mkdtemp(dir);
    chdir(dir);
    sigemptyset(&all);
    for (int s = SIGRTMIN; s <= SIGRTMAX; ++s) sigaddset(&all, s);
    sigaddset(&all, SIGIO), sigaddset(&all, SIGUSR1), sigaddset(&all, SIGCHLD), sigaddset(&all, SIGURG);
    sigprocmask(SIG_BLOCK, &all, 0);
    if (argc < 2) return 2;
    if (strcmp(argv[1], "pipes") == 0) pipes();
    if (strcmp(argv[1], "who") == 0) who();
    if (strcmp(argv[1], "others") == 0) others();
    if (strcmp(argv[1], "sockets") == 0) sockets();
    if (strcmp(argv[1], "dnotify") == 0) dnotify();
    rmdir(dir);
    return 0;
}
