// SPDX-License-Identifier: Apache-2.0
// A Linux program that checks pidfds, asynchronous I/O, POSIX message queues and inotify. It expects what Linux does:
// natively and in a picoprocess every line must say "ok". It works in a directory of its own, its first argument.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/sched.h>
#include <mqueue.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static void nap(long milliseconds) {
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&time, NULL);
}
static int readable(int fd, int milliseconds) {
    struct pollfd poller = {fd, POLLIN, 0};
    return poll(&poller, 1, milliseconds) == 1 && (poller.revents & POLLIN) != 0;
}

static int pidfd_open_(pid_t pid, unsigned flags) { return syscall(SYS_pidfd_open, pid, flags); }
static int pidfd_signal(int fd, int number, siginfo_t* info) {
    return syscall(SYS_pidfd_send_signal, fd, number, info, 0);
}

static void pidfds(void) {
    int ready[2];
    pipe(ready);
    pid_t child = CHILD(close(ready[1]); char byte; read(ready[0], &byte, 1); _exit(7));
    int fd = pidfd_open_(child, 0);
    check(fd >= 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0, "pidfd_open");
    check(!readable(fd, 0), "not ready while it lives");
    check(pidfd_signal(fd, 0, NULL) == 0, "signal 0");
    siginfo_t info;
    check(waitid(P_PIDFD, fd, &info, WEXITED | WNOHANG) == 0, "waitid WNOHANG");
    close(ready[1]);
    check(readable(fd, 5000), "ready when it ends");
    memset(&info, 0, sizeof info);
    check(waitid(P_PIDFD, fd, &info, WEXITED) == 0 && info.si_pid == child && info.si_status == 7, "waitid P_PIDFD");
    check(pidfd_signal(fd, 0, NULL) == -1 && errno == ESRCH, "ESRCH once reaped");
    check(waitid(P_PIDFD, fd, &info, WEXITED) == -1 && errno == ECHILD, "ECHILD once reaped");
    close(fd);
    check(pidfd_open_(child, 0) == -1 && errno == ESRCH, "no such process");
    check(pidfd_open_(0, 0) == -1 && errno == EINVAL, "pid 0: EINVAL");
    check(pidfd_open_(getpid(), 0x80000) == -1 && errno == EINVAL, "flags: EINVAL");
    child = CHILD(pause());
    fd = pidfd_open_(child, O_NONBLOCK);
    check(waitid(P_PIDFD, fd, &info, WEXITED) == -1 && errno == EAGAIN, "PIDFD_NONBLOCK: EAGAIN");
    check(pidfd_signal(fd, SIGKILL, NULL) == 0 && readable(fd, 5000), "killed");
    check(waitid(P_PIDFD, fd, &info, WEXITED) == 0 && info.si_code == CLD_KILLED, "how it ended");
    close(fd);
    int given = -1;
    pid_t parent = getpid();
    child = syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, NULL, &given, NULL, 0);
    if (child == 0) _exit(getppid() == parent ? 3 : 4);
    check(child > 0 && given >= 0 && readable(given, 5000), "CLONE_PIDFD");
    check(reap(child) == 3 << 8, "and its child");
    close(given);
    int file = memfd_create("shared", 0);
    write(file, "contents", 8);
    fd = pidfd_open_(getpid(), 0);
    int copy = syscall(SYS_pidfd_getfd, fd, file, 0);
    char text[16] = {0};
    check(copy >= 0 && pread(copy, text, 8, 0) == 8 && strcmp(text, "contents") == 0, "pidfd_getfd of one's own");
    check(lseek(copy, 0, SEEK_CUR) == 8, "the same description");
    check(syscall(SYS_pidfd_getfd, fd, 999, 0) == -1 && errno == EBADF, "EBADF");
    check(syscall(SYS_pidfd_getfd, file, 0, 0) == -1 && errno == EBADF, "no pidfd: EBADF");
    close(fd);
}

static void aio(void) {
    aio_context_t context = 0;
    check(syscall(SYS_io_setup, 4, &context) == 0 && context != 0, "io_setup");
    check(syscall(SYS_io_setup, 4, &context) == -1 && errno == EINVAL, "not empty: EINVAL");
    int file = open("aio", O_RDWR | O_CREAT | O_TRUNC, 0600), event = eventfd(0, 0);
    char out[] = "written", in[8] = {0};
    struct iocb write_it = {.aio_fildes = file,
                            .aio_lio_opcode = IOCB_CMD_PWRITE,
                            .aio_buf = (uintptr_t)out,
                            .aio_nbytes = 7,
                            .aio_offset = 100,
                            .aio_data = 1,
                            .aio_flags = IOCB_FLAG_RESFD,
                            .aio_resfd = event};
    struct iocb read_it = {.aio_fildes = file,
                           .aio_lio_opcode = IOCB_CMD_PREAD,
                           .aio_buf = (uintptr_t)in,
                           .aio_nbytes = 7,
                           .aio_offset = 100,
                           .aio_data = 2};
    struct iocb* one[] = {&write_it};
    struct io_event events[4];
    struct timespec soon = {5, 0};
    check(syscall(SYS_io_submit, context, 1, one) == 1, "io_submit");
    uint64_t count = 0;
    check(read(event, &count, 8) == 8 && count == 1, "eventfd");
    check(syscall(SYS_io_getevents, context, 1, 4, events, &soon) == 1 && events[0].data == 1 && events[0].res == 7 &&
              events[0].obj == (uintptr_t)&write_it,
          "written");
    one[0] = &read_it;
    check(syscall(SYS_io_submit, context, 1, one) == 1 &&
              syscall(SYS_io_getevents, context, 1, 4, events, &soon) == 1 && events[0].res == 7 &&
              strcmp(in, "written") == 0,
          "read");
    struct timespec now = {0, 0};
    check(syscall(SYS_io_getevents, context, 1, 4, events, &now) == 0, "nothing more");
    check(syscall(SYS_io_getevents, context, 2, 1, events, &now) == -1 && errno == EINVAL, "min above max: EINVAL");
    read_it.aio_fildes = 999;
    check(syscall(SYS_io_submit, context, 1, one) == -1 && errno == EBADF, "EBADF");
    check(syscall(SYS_io_cancel, context, &read_it, events) == -1 && errno == EINVAL, "io_cancel: EINVAL");
    check(reap(CHILD(_exit(syscall(SYS_io_destroy, context) == -1 && errno == EINVAL ? 0 : 1))) == 0,
          "contexts are not inherited");
    check(syscall(SYS_io_destroy, context) == 0, "io_destroy");
    check(syscall(SYS_io_submit, context, 1, one) == -1 && errno == EINVAL, "gone: EINVAL");
    close(file), close(event), unlink("aio");
}

static volatile sig_atomic_t notified;
static int notified_value;
static void on_message(int number, siginfo_t* info, void* context) {
    (void)number, (void)context;
    notified = info->si_code == SI_MESGQ;
    notified_value = info->si_value.sival_int;
}
static void mqueues(void) {
    char name[40];
    snprintf(name, sizeof name, "/postern_test_%d", (int)getpid());
    struct mq_attr wanted = {.mq_maxmsg = 3, .mq_msgsize = 16}, got;
    mqd_t queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &wanted);
    check(queue >= 0, "mq_open");
    check(mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &wanted) == -1 && errno == EEXIST, "EEXIST");
    check(mq_open("/postern_no_such", O_RDWR) == -1 && errno == ENOENT, "ENOENT");
    check(mq_open("/a/b", O_RDWR | O_CREAT, 0600, NULL) == -1 && errno == EACCES, "slash: EACCES");
    check(mq_getattr(queue, &got) == 0 && got.mq_maxmsg == 3 && got.mq_msgsize == 16 && got.mq_curmsgs == 0,
          "mq_getattr");
    check(!readable(queue, 0), "not readable");
    check(mq_send(queue, "low", 3, 1) == 0 && mq_send(queue, "high", 4, 9) == 0 && mq_send(queue, "mid", 3, 5) == 0,
          "mq_send");
    check(readable(queue, 0), "readable");
    struct timespec past = {0, 0};
    check(mq_timedsend(queue, "x", 1, 0, &past) == -1 && errno == ETIMEDOUT, "full: ETIMEDOUT");
    check(mq_send(queue, "12345678901234567", 17, 0) == -1 && errno == EMSGSIZE, "EMSGSIZE");
    check(mq_send(queue, "x", 1, 32768) == -1 && errno == EINVAL, "priority: EINVAL");
    char text[16];
    unsigned priority;
    check(mq_receive(queue, text, 15, NULL) == -1 && errno == EMSGSIZE, "small buffer: EMSGSIZE");
    check(mq_receive(queue, text, 16, &priority) == 4 && priority == 9 && memcmp(text, "high", 4) == 0,
          "highest first");
    check(mq_receive(queue, text, 16, &priority) == 3 && priority == 5, "then the next");
    check(mq_receive(queue, text, 16, &priority) == 3 && priority == 1, "then the last");
    struct mq_attr flags = {.mq_flags = O_NONBLOCK};
    check(mq_setattr(queue, &flags, NULL) == 0 && mq_receive(queue, text, 16, NULL) == -1 && errno == EAGAIN,
          "O_NONBLOCK: EAGAIN");
    flags.mq_flags = 0;
    mq_setattr(queue, &flags, NULL);
    pid_t child = CHILD({
        mqd_t other = mq_open(name, O_RDONLY);
        _exit(other >= 0 && mq_receive(other, text, 16, NULL) == 5 && memcmp(text, "hello", 5) == 0 ? 0 : 1);
    });
    nap(50);
    mq_send(queue, "hello", 5, 0);
    check(reap(child) == 0, "another process receives");
    struct sigaction action = {.sa_sigaction = on_message, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR1, &action, NULL);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 42};
    check(mq_notify(queue, &event) == 0, "mq_notify");
    check(mq_notify(queue, &event) == -1 && errno == EBUSY, "EBUSY");
    mq_send(queue, "x", 1, 0);
    for (int i = 0; i < 200 && !notified; ++i) nap(5);
    check(notified && notified_value == 42, "SI_MESGQ");
    check(mq_notify(queue, &event) == 0 && mq_notify(queue, NULL) == 0, "once only, and taken back");
    check(mq_unlink(name) == 0 && mq_unlink(name) == -1 && errno == ENOENT, "mq_unlink");
    check(mq_receive(queue, text, 16, NULL) == 1, "open queues live on");
    mq_close(queue);
}

/// Events since the last look, as text.
static const char* events_of(int fd) {
    static char text[4096];
    char buffer[8192] __attribute__((aligned(8)));
    static const char* const kNames[] = {"ACCESS", "MODIFY",  "ATTRIB",   "CLOSE_WRITE", "CLOSE_NOWRITE", "OPEN",
                                         "FROM",   "TO",      "CREATE",   "DELETE",      "DELETE_SELF",   "MOVE_SELF",
                                         "?",      "UNMOUNT", "OVERFLOW", "IGNORED"};
    text[0] = 0;
    ssize_t size = read(fd, buffer, sizeof buffer);
    for (ssize_t at = 0; at < size;) {
        struct inotify_event* event = (void*)(buffer + at);
        for (int bit = 0; bit < 16; ++bit)
            if ((event->mask >> bit & 1) != 0) strcat(text, kNames[bit]);
        if ((event->mask & IN_ISDIR) != 0) strcat(text, "/");
        if (event->len != 0) sprintf(text + strlen(text), "(%s)", event->name);
        strcat(text, " ");
        at += sizeof *event + event->len;
    }
    return text;
}
#define EXPECT(fd, wanted)                                                 \
    do {                                                                   \
        const char* got_ = events_of(fd);                                  \
        check(strcmp(got_, wanted) == 0, wanted);                          \
        if (strcmp(got_, wanted) != 0) printf("     but got: %s\n", got_); \
    } while (0)

static void watches(void) {
    int fd = inotify_init1(IN_NONBLOCK);
    check(fd >= 0, "inotify_init1");
    check(inotify_add_watch(fd, "nothing", IN_ALL_EVENTS) == -1 && errno == ENOENT, "ENOENT");
    check(inotify_add_watch(fd, ".", 0) == -1 && errno == EINVAL, "no events: EINVAL");
    check(inotify_rm_watch(fd, 5) == -1 && errno == EINVAL, "no such watch: EINVAL");
    mkdir("d", 0700);
    int directory = inotify_add_watch(fd, "d", IN_ALL_EVENTS);
    check(directory == 1 && inotify_add_watch(fd, "d", IN_ALL_EVENTS) == 1, "the same watch");
    check(read(fd, &(int){0}, 4) == -1 && errno == EAGAIN, "EAGAIN");
    int file = open("d/a", O_RDWR | O_CREAT, 0600);
    EXPECT(fd, "CREATE(a) OPEN(a) ");
    write(file, "12", 2), write(file, "34", 2);
    EXPECT(fd, "MODIFY(a) ");
    char byte;
    pread(file, &byte, 1, 0);
    fchmod(file, 0640);
    ftruncate(file, 1);
    EXPECT(fd, "ACCESS(a) ATTRIB(a) MODIFY(a) ");
    int copy = dup(file);
    close(file);
    EXPECT(fd, "");
    close(copy);
    EXPECT(fd, "CLOSE_WRITE(a) ");
    close(open("d/a", O_RDONLY));
    EXPECT(fd, "OPEN(a) CLOSE_NOWRITE(a) ");
    close(open("d/a", O_WRONLY | O_TRUNC));
    const char* events = events_of(fd);  // Linux 6.5 has changed the order
    check(strstr(events, "MODIFY(a)") != NULL && strstr(events, "OPEN(a)") != NULL, "O_TRUNC modifies");
    mkdir("d/sub", 0700);
    symlink("a", "d/link");
    EXPECT(fd, "CREATE/(sub) CREATE(link) ");
    int self = inotify_add_watch(fd, "d/a", IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_MODIFY);
    check(self == 2, "a watch on a file");
    link("d/a", "d/hard");
    EXPECT(fd, "ATTRIB CREATE(hard) ");
    rename("d/a", "d/b");
    EXPECT(fd, "FROM(a) TO(b) MOVE_SELF ");
    truncate("d/b", 0);
    EXPECT(fd, "MODIFY(b) MODIFY ");
    unlink("d/hard");
    EXPECT(fd, "ATTRIB DELETE(hard) ");
    unlink("d/b");
    events = events_of(fd);  // Linux tells directory and file in either order
    check(strstr(events, "DELETE(b)") != NULL && strstr(events, "DELETE_SELF IGNORED") != NULL, "unlink ends a watch");
    rmdir("d/sub");
    unlink("d/link");
    EXPECT(fd, "DELETE/(sub) DELETE(link) ");
    check(inotify_add_watch(fd, "d", IN_CREATE | IN_ONESHOT) == 1, "the mask is replaced");
    check(inotify_add_watch(fd, "d", IN_DELETE | IN_MASK_ADD) == 1, "and added to");
    check(inotify_add_watch(fd, "d", IN_DELETE | IN_MASK_CREATE) == -1 && errno == EEXIST, "IN_MASK_CREATE: EEXIST");
    close(creat("d/x", 0600));
    EXPECT(fd, "CREATE(x) IGNORED ");
    unlink("d/x");
    EXPECT(fd, "");
    int again = inotify_add_watch(fd, "d", IN_DELETE_SELF | IN_MOVE | IN_ONLYDIR);
    check(again == 3, "numbers are not reused");
    rename("d", "e");
    mkdir("other", 0700);
    close(creat("other/y", 0600));
    rename("other/y", "e/y");
    EXPECT(fd, "TO(y) ");
    int waiting = 0;
    rename("e/y", "e/longer_than_sixteen_bytes");
    check(ioctl(fd, FIONREAD, &waiting) == 0 && waiting == 16 + 16 + 16 + 32 && readable(fd, 0), "FIONREAD");
    char small[16];
    check(read(fd, small, sizeof small) == -1 && errno == EINVAL, "too small: EINVAL");
    EXPECT(fd, "FROM(y) TO(longer_than_sixteen_bytes) ");
    check(inotify_rm_watch(fd, again) == 0, "inotify_rm_watch");
    EXPECT(fd, "IGNORED ");
    inotify_add_watch(fd, "other", IN_DELETE_SELF);
    rmdir("other");
    EXPECT(fd, "DELETE_SELF IGNORED ");
    unlink("e/longer_than_sixteen_bytes");
    rmdir("e");
    close(fd);
}

static volatile sig_atomic_t break_fd = -1;
static void on_break(int number, siginfo_t* info, void* context) {
    (void)number, (void)context;
    break_fd = info->si_fd;
}
static void leases(void) {
    close(creat("leased", 0600));
    int fd = open("leased", O_RDONLY), other = open("leased", O_RDONLY);
    check(fcntl(fd, F_GETLEASE) == F_UNLCK, "no lease");
    check(fcntl(fd, F_SETLEASE, F_UNLCK) == -1 && errno == EAGAIN, "none to give up: EAGAIN");
    check(fcntl(fd, F_SETLEASE, F_WRLCK) == -1 && errno == EAGAIN, "open elsewhere: EAGAIN");
    close(other);
    check(fcntl(fd, F_SETLEASE, F_WRLCK) == 0 && fcntl(fd, F_GETLEASE) == F_WRLCK, "F_WRLCK");
    struct sigaction action = {.sa_sigaction = on_break, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR2, &action, NULL);
    fcntl(fd, F_SETSIG, SIGUSR2);
    check(open("leased", O_RDONLY | O_NONBLOCK) == -1 && errno == EWOULDBLOCK, "O_NONBLOCK: EWOULDBLOCK");
    for (int i = 0; i < 200 && break_fd < 0; ++i) nap(5);
    check(break_fd == fd && fcntl(fd, F_GETLEASE) == F_RDLCK, "the holder is told");
    pid_t child = CHILD(_exit(open("leased", O_RDONLY) >= 0 ? 0 : 1));
    nap(50);
    check(fcntl(fd, F_SETLEASE, F_RDLCK) == 0 && reap(child) == 0, "an opener waits for the holder");
    break_fd = -1;
    child = CHILD(_exit(open("leased", O_WRONLY) >= 0 ? 0 : 1));
    for (int i = 0; i < 200 && break_fd < 0; ++i) nap(5);
    check(break_fd == fd && fcntl(fd, F_GETLEASE) == F_UNLCK, "a writer breaks F_RDLCK");
    check(fcntl(fd, F_SETLEASE, F_UNLCK) == 0 && reap(child) == 0, "given up");
    close(fd);
    fd = open("leased", O_RDWR);
    check(fcntl(fd, F_SETLEASE, F_RDLCK) == -1 && errno == EAGAIN, "F_RDLCK of a writer: EAGAIN");
    close(fd);
    unlink("leased");
}

static void seals(void) {
    long page = sysconf(_SC_PAGESIZE);
    char* memory = mmap(NULL, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memory[page] = 1;
    if (syscall(462 /* mseal */, memory + page, page, 0) == -1 && errno == ENOSYS) return;  // before Linux 6.10
    check(syscall(462, memory + 1, page, 0) == -1 && errno == EINVAL, "unaligned: EINVAL");
    check(munmap(memory, 2 * page) == -1 && errno == EPERM && memory[0] == 0, "munmap: EPERM, and nothing goes");
    check(mprotect(memory + page, page, PROT_READ) == -1 && errno == EPERM, "mprotect: EPERM");
    check(mmap(memory + page, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED &&
              errno == EPERM,
          "MAP_FIXED: EPERM");
    check(mremap(memory + page, page, 2 * page, MREMAP_MAYMOVE) == MAP_FAILED && errno == EPERM, "mremap: EPERM");
    check(memory[page] == 1 && munmap(memory, page) == 0 && munmap(memory + 2 * page, 2 * page) == 0, "neighbours go");
}

static volatile sig_atomic_t thread_value;
static void on_thread(union sigval value) { thread_value = value.sival_int; }
static void mq_threads(void) {
    char name[40];
    snprintf(name, sizeof name, "/postern_thread_%d", (int)getpid());
    mqd_t queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, NULL);
    struct sigevent event = {
        .sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_thread, .sigev_value.sival_int = 9};
    check(mq_notify(queue, &event) == 0 && mq_send(queue, "x", 1, 0) == 0, "mq_notify with SIGEV_THREAD");
    for (int i = 0; i < 400 && thread_value == 0; ++i) nap(5);
    check(thread_value == 9, "the thread runs");
    mq_unlink(name);
    mq_close(queue);
}

int main(int argc, char** argv) {
    alarm(50);
    const struct {
        const char* name;
        void (*run)(void);
    } parts[] = {{"pidfds", pidfds},   {"aio", aio},       {"mqueues", mqueues},
                 {"watches", watches}, {"leases", leases}, {"mq_threads", mq_threads},
                 {"seals", seals}};
    char place[4096];
    snprintf(place, sizeof place, "%s/facilities_XXXXXX", argc > 1 ? argv[1] : "/tmp");
    if (mkdtemp(place) == NULL || chdir(place) != 0) return 2;
    for (unsigned i = 0; i < sizeof parts / sizeof *parts; ++i)
        if (argc < 3 || strcmp(argv[2], parts[i].name) == 0) parts[i].run();
    chdir("/");
    rmdir(place);
    return failures != 0;
}
