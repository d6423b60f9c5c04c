// SPDX-License-Identifier: Apache-2.0
// Behaviour that programs expect of a whole system: memory locks, timers, scheduling, names, attributes. The same
// checks hold natively for root, and inside.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static int failures;
#define CHECK(condition)                                                             \
    do {                                                                             \
        if (!(condition)) {                                                          \
            printf("%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno); \
            ++failures;                                                              \
        }                                                                            \
    } while (0)
#define FAILS(call, code) CHECK((errno = 0, (call) == -1) && errno == (code))

static long status_kib(const char* key) {
    FILE* file = fopen("/proc/self/status", "r");
    char line[256];
    long value = -1;
    while (fgets(line, sizeof line, file))
        if (strncmp(line, key, strlen(key)) == 0) value = atol(line + strlen(key));
    fclose(file);
    return value;
}

static void locks(void) {
    char* memory = mmap(0, 16 << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    long before = status_kib("VmLck:");
    CHECK(mlock(memory + 4096, 8192) == 0);
    CHECK(status_kib("VmLck:") == before + 8);
    FAILS(madvise(memory, 16 << 12, MADV_DONTNEED), EINVAL);
    FAILS(msync(memory, 16 << 12, MS_INVALIDATE), EBUSY);
    pid_t child = fork();
    if (child == 0) _exit(status_kib("VmLck:") != 0);
    int status;
    waitpid(child, &status, 0);
    CHECK(status == 0);
    CHECK(munlock(memory, 16 << 12) == 0);
    CHECK(status_kib("VmLck:") == before);
    CHECK(munmap(memory + (8 << 12), 4096) == 0);
    FAILS(mlock(memory, 16 << 12), ENOMEM);
    CHECK(munmap(memory, 16 << 12) == 0);
    CHECK(status_kib("VmLck:") == before);
}

/// A file's mapping that grows by moving shows the file and nothing else.
static void low_addresses(void) {
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT | MAP_NORESERVE;
    char* wanted = (char*)0x50000000;
    CHECK(mmap(wanted, 1 << 20, PROT_READ | PROT_WRITE, flags, -1, 0) == wanted);
    char* other = mmap(wanted, 1 << 20, PROT_READ | PROT_WRITE, flags, -1, 0);
    CHECK(other != MAP_FAILED && other != wanted && (unsigned long)other < 0x80000000ul);
    other[0] = wanted[0] = 1;
    munmap(other, 1 << 20);
    munmap(wanted, 1 << 20);
}

static void grow(void) {
    // Nobody walks through thirty-two tebibytes of hole.
    int sparse = memfd_create("sparse", 0);
    CHECK(ftruncate(sparse, 1l << 45) == 0);
    FAILS(lseek(sparse, 0, SEEK_DATA), ENXIO);
    CHECK(lseek(sparse, 5, SEEK_HOLE) == 5);
    CHECK(pwrite(sparse, "x", 1, 1 << 30) == 1 && lseek(sparse, 5, SEEK_DATA) == 1 << 30);
    CHECK(lseek(sparse, 1 << 30, SEEK_HOLE) == (1 << 30) + 4096);
    FAILS(lseek(sparse, (1 << 30) + 4096, SEEK_DATA), ENXIO);
    close(sparse);
    int fd = memfd_create("grow", 0);
    const size_t small = 100 << 12, large = 200 << 12;
    CHECK(ftruncate(fd, large) == 0);
    char* memory = mmap(0, small, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char* wall = mmap(memory + small, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    (void)wall;
    memory = mremap(memory, small, large, MREMAP_MAYMOVE);
    CHECK(memory != MAP_FAILED);
    for (size_t at = 0; at < large; ++at) memory[at] = (char)(at * 7);
    char* again = mmap(0, large, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(memcmp(memory, again, large) == 0);
    char byte;
    CHECK(pread(fd, &byte, 1, large - 1) == 1 && byte == (char)((large - 1) * 7));
    CHECK(syscall(SYS_remap_file_pages, memory, 4096, 0, 150, 0) == 0);
    CHECK(memory[0] == (char)((150ul << 12) * 7));
    munmap(memory, large);
    munmap(again, large);
    close(fd);
}

static void seals(void) {
    int fd = memfd_create("seals", MFD_ALLOW_SEALING);
    CHECK(ftruncate(fd, 8192) == 0);
    char* memory = mmap(0, 8192, PROT_READ, MAP_SHARED, fd, 0);
    FAILS(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EBUSY);
    munmap(memory, 4096);
    FAILS(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EBUSY);
    munmap(memory + 4096, 4096);
    CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == 0);
    FAILS(write(fd, "x", 1), EPERM);
    close(fd);
}

static volatile sig_atomic_t fired;
static volatile int overrun, stop_at_once;
static timer_t timer;
static void on_timer(int signal) {
    (void)signal;
    struct itimerspec off = {0};
    if (stop_at_once && fired == 0) {
        overrun = timer_getoverrun(timer);
        timer_settime(timer, 0, &off, NULL);
    }
    ++fired;
}

/// A period of a nanosecond costs overruns, not the processor; CPU clocks of threads fire.
/// A signal that the host sends on the program's behalf reaches the thread that waits for it with the signal blocked.
static void awaited_alarm(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    struct itimerval soon = {{0, 0}, {0, 50000}};
    setitimer(ITIMER_REAL, &soon, NULL);
    struct timespec patience = {10, 0};
    CHECK(sigtimedwait(&set, NULL, &patience) == SIGALRM);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void timers(void) {
    awaited_alarm();
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec spec = {.it_interval = {0, 1}};
    signal(SIGUSR1, on_timer);
    CHECK(timer_create(CLOCK_REALTIME, &event, &timer) == 0);
    clock_gettime(CLOCK_REALTIME, &spec.it_value);
    spec.it_value.tv_sec -= 5;
    fired = 0;
    stop_at_once = 1;
    CHECK(timer_settime(timer, TIMER_ABSTIME, &spec, NULL) == 0);
    while (fired == 0) continue;
    stop_at_once = 0;
    memset(&spec, 0, sizeof spec);
    CHECK(overrun == INT32_MAX);
    timer_delete(timer);
    CHECK(timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer) == 0);
    spec.it_value.tv_nsec = spec.it_interval.tv_nsec = 5000000;
    fired = 0;
    CHECK(timer_settime(timer, 0, &spec, NULL) == 0);
    while (fired < 3) continue;
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    CHECK(used.tv_sec > 0 || used.tv_nsec >= 15000000);
    timer_delete(timer);
}

static void cpu_limit(void) {
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {1, 2};
        setrlimit(RLIMIT_CPU, &limit);
        signal(SIGXCPU, on_timer);
        for (;;)
            if (fired > 100) _exit(1);
    }
    int status;
    waitpid(child, &status, 0);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void scheduling(void) {
    struct sched_param parameter = {.sched_priority = 10};
    CHECK(sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &parameter) == 0);
    CHECK(sched_getscheduler(0) == (SCHED_RR | SCHED_RESET_ON_FORK));
    CHECK(sched_getparam(0, &parameter) == 0 && parameter.sched_priority == 10);
    pid_t child = fork();
    if (child == 0) _exit(sched_getscheduler(0) != SCHED_OTHER);
    int status;
    waitpid(child, &status, 0);
    CHECK(status == 0);
    FAILS(sched_setscheduler(0, SCHED_OTHER, &parameter), EINVAL);
    parameter.sched_priority = 0;
    CHECK(sched_setscheduler(0, SCHED_OTHER, &parameter) == 0);
    CHECK(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 6) == 0 && syscall(SYS_ioprio_get, 1, 0) == (2 << 13 | 6));
    FAILS(syscall(SYS_ioprio_set, 1, 0, 5 << 13), EINVAL);
}

static void numbers(void) {
    int fd = open("/proc/self/stat", O_RDONLY), other = open("/proc/self/stat", O_RDONLY), same = dup(fd);
    pid_t self = getpid();
    CHECK(syscall(SYS_kcmp, self, self, 0, fd, same) == 0);
    long order = syscall(SYS_kcmp, self, self, 0, fd, other);
    CHECK(order == 1 || order == 2);
    CHECK(syscall(SYS_kcmp, self, self, 0, other, fd) == 3 - order);
    CHECK(access("/proc/1/stat", R_OK) == 0 && kill(1, 0) == 0 && getpgid(1) >= 0);
    CHECK(kill((pid_t)syscall(SYS_gettid), 0) == 0);
}

static void names(void) {
    struct utsname uts;
    CHECK(sethostname("guest.example", 5) == 0 && uname(&uts) == 0 && strcmp(uts.nodename, "guest") == 0);
    FILE* file = fopen("/proc/sys/kernel/domainname", "w");
    CHECK(file != NULL && fputs("example\n", file) >= 0 && fclose(file) == 0);
    CHECK(uname(&uts) == 0 && strcmp(uts.domainname, "example") == 0);
    CHECK(system("zcat /proc/config.gz | grep -q '^CONFIG_EVENTFD=y$'") == 0);
}

static void attributes(void) {
    char buffer[64];
    int fd = open("/tmp/attributes", O_CREAT | O_RDWR, 0600);
    CHECK(setxattr("/tmp/attributes", "user.kind", "blue", 4, XATTR_CREATE) == 0);
    FAILS(fsetxattr(fd, "user.kind", "red", 3, XATTR_CREATE), EEXIST);
    CHECK(fsetxattr(fd, "user.kind", "red", 3, XATTR_REPLACE) == 0);
    CHECK(fgetxattr(fd, "user.kind", NULL, 0) == 3);
    FAILS(fgetxattr(fd, "user.kind", buffer, 2), ERANGE);
    CHECK(fgetxattr(fd, "user.kind", buffer, 64) == 3 && memcmp(buffer, "red", 3) == 0);
    CHECK(flistxattr(fd, buffer, 64) == 10 && strcmp(buffer, "user.kind") == 0);
    FAILS(setxattr("/tmp/attributes", "nowhere.kind", "x", 1, 0), EOPNOTSUPP);
    CHECK(symlink("attributes", "/tmp/attributes.link") == 0);
    FAILS(lsetxattr("/tmp/attributes.link", "user.kind", "x", 1, 0), EPERM);
    CHECK(lsetxattr("/tmp/attributes.link", "trusted.kind", "x", 1, 0) == 0);
    CHECK(removexattr("/tmp/attributes.link", "user.kind") == 0);
    FAILS(fgetxattr(fd, "user.kind", buffer, 64), ENODATA);
    unlink("/tmp/attributes.link");
    unlink("/tmp/attributes");
}

static void copies(void) {
    int from[2], to[2];
    char buffer[16];
    CHECK(pipe(from) == 0 && pipe(to) == 0);
    FAILS(tee(from[0], from[1], 4, 0), EINVAL);
    FAILS(tee(from[0], to[1], 4, SPLICE_F_NONBLOCK), EAGAIN);
    CHECK(write(from[1], "abcdef", 6) == 6);
    CHECK(tee(from[0], to[1], 4, 0) == 4);
    CHECK(read(to[0], buffer, 16) == 4 && memcmp(buffer, "abcd", 4) == 0);
    CHECK(read(from[0], buffer, 16) == 6 && memcmp(buffer, "abcdef", 6) == 0);
    close(from[1]);
    CHECK(tee(from[0], to[1], 4, 0) == 0);
}

static void record_locks(void) {
    int fd = open("/tmp/records", O_CREAT | O_RDWR, 0600);
    struct flock lock = {.l_type = F_WRLCK, .l_start = 20, .l_len = 5};
    CHECK(fcntl(fd, F_SETLK, &lock) == 0);
    lock = (struct flock){.l_type = F_RDLCK, .l_start = 5, .l_len = 5};
    CHECK(fcntl(fd, F_SETLK, &lock) == 0);
    pid_t child = fork();
    if (child == 0) {
        lock = (struct flock){.l_type = F_WRLCK};
        fcntl(fd, F_GETLK, &lock);
        _exit(!(lock.l_type == F_RDLCK && lock.l_start == 5 && lock.l_len == 5 && lock.l_pid == getppid()));
    }
    int status;
    waitpid(child, &status, 0);
    CHECK(status == 0);
    unlink("/tmp/records");
}

int main(int count, char** arguments) {
    static const struct {
        const char* name;
        void (*run)(void);
    } parts[] = {{"locks", locks},
                 {"low_addresses", low_addresses},
                 {"grow", grow},
                 {"seals", seals},
                 {"timers", timers},
                 {"cpu_limit", cpu_limit},
                 {"numbers", numbers},
                 {"names", names},
                 {"attributes", attributes},
                 {"scheduling", scheduling},
                 {"copies", copies},
                 {"record_locks", record_locks}};
    for (size_t part = 0; part < sizeof parts / sizeof *parts; ++part)
        if (count < 2 || strcmp(arguments[1], parts[part].name) == 0) parts[part].run();
    return failures != 0;
}
