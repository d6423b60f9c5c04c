// SPDX-License-Identifier: Apache-2.0
// Calls that are new or were partial: prints what the kernel answers. Compared with the native output.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
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

/* /proc, clocks and registers of another process */
static void processes(void) {
    char name[64], line[512];
    int ends[2];
    pipe(ends);
    pid_t child = fork();
    if (child == 0) {
        for (volatile long i = 0; i < 200000000; ++i) {
        }
        write(ends[1], "x", 1);
        pause();
    }
    read(ends[0], line, 1);
    snprintf(name, sizeof name, "/proc/%d/maps", child);
    FILE* file = fopen(name, "r");
    int executable = 0, stack = 0;
    while (file && fgets(line, sizeof line, file)) {
        executable += strstr(line, "r-xp") && strstr(line, "libos-linux-guest");
        stack += strstr(line, "[stack]") != 0;
    }
    printf("maps: %d %d\n", executable, stack);
    snprintf(name, sizeof name, "/proc/%d/smaps", child);
    file = fopen(name, "r");
    int sizes = 0;
    while (file && fgets(line, sizeof line, file)) sizes += strncmp(line, "Size:", 5) == 0;
    printf("smaps: %d\n", sizes > 5);
    snprintf(name, sizeof name, "/proc/%d/statm", child);
    file = fopen(name, "r");
    long pages = 0, resident = 0;
    fscanf(file, "%ld %ld", &pages, &resident);
    printf("statm: %d %d\n", pages > 100, resident > 50);
    snprintf(name, sizeof name, "/proc/%d/stat", child);
    file = fopen(name, "r");
    long user = 0, system = 0;
    fgets(line, sizeof line, file);
    sscanf(strrchr(line, ')'), ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &user, &system);
    printf("used: %d\n", user + system > 2);
    clockid_t clock;
    struct timespec time = {0, 0};
    printf("clock: %d", clock_getcpuclockid(child, &clock));
    printf(" %d", clock_gettime(clock, &time));
    printf(" %d\n", time.tv_sec != 0 || time.tv_nsec > 20000000);
    told("resolution", clock_getres(clock, &time));
    told("attach", syscall(SYS_ptrace, 16, child, 0, 0));
    waitpid(child, 0, 0);
    static char area[16384] __attribute__((aligned(64)));
    struct {
        void* base;
        size_t size;
    } vector = {area, sizeof area};
    told("vectors", syscall(SYS_ptrace, 0x4204, child, 0x202, &vector));
    printf("%d %d\n", vector.size > 576, *(uint64_t*)(area + 464) != 0);
    told("set vectors", syscall(SYS_ptrace, 0x4205, child, 0x202, &vector));
    vector.size -= 8;
    told("too short", syscall(SYS_ptrace, 0x4205, child, 0x202, &vector));
    vector.size += 8;
    area[512 + 8] = 1;
    told("compacted", syscall(SYS_ptrace, 0x4205, child, 0x202, &vector));
    kill(child, SIGKILL);
    waitpid(child, 0, 0);
    told("gone", clock_gettime(clock, &time));
}

static void splices(void) {
    static char data[200000] __attribute__((aligned(4096)));
    int ends[2];
    pipe(ends);
    struct iovec {
        void* base;
        size_t size;
    } vector = {data, sizeof data};
    told("vmsplice", syscall(SYS_vmsplice, ends[1], &vector, 1, 0));
    told("full", syscall(SYS_vmsplice, ends[1], &vector, 1, 2));
    told("flags", syscall(SYS_vmsplice, ends[1], &vector, 1, 64));
    int file = open("linux.tmp", O_CREAT | O_RDWR, 0600);
    loff_t at = 0;
    told("out", syscall(SYS_splice, ends[0], 0, file, &at, 65536, 0));
    told("at", at);
    told("empty", syscall(SYS_splice, ends[0], 0, file, &at, 65536, 2));
    told("same pipe", syscall(SYS_splice, ends[0], 0, ends[1], 0, 10, 0));
    at = 0;
    ftruncate(file, 200000);
    told("in", syscall(SYS_splice, file, &at, ends[1], 0, 200000, 0));
    int event = syscall(SYS_eventfd2, 0, 0);
    told("to an event", syscall(SYS_splice, ends[0], 0, event, 0, 8, 0));
    unlink("linux.tmp");
}

static void pidfds(void) {
    struct {
        uint64_t mask, group;
        uint32_t pid, tgid, ppid, ids[8];
        int32_t exit_code;
        uint32_t rest[2];
    } info = {0};
    pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    int fd = syscall(434, child, 0);
    const unsigned long request = 3ul << 30 | 64ul << 16 | 0xff0b;
    told("null", ioctl(fd, request, 0));
    told("short", ioctl(fd, 3ul << 30 | 32ul << 16 | 0xff0b, &info));
    told("live", ioctl(fd, request, &info));
    printf("%d %d %d\n", (int)(info.mask & 3), info.pid == (uint32_t)child && info.tgid == info.pid,
           info.ppid == (uint32_t)getpid());
    kill(child, SIGKILL);
    waitpid(child, 0, 0);
    info.mask = 0;
    told("reaped", ioctl(fd, request, &info));
    info.mask = 8;
    told("exit", ioctl(fd, request, &info));
    printf("%d %x\n", (int)(info.mask & 8), info.exit_code);
}

static void protections(void) {
    int flags = 0, fd = open("linux.tmp", O_CREAT | O_RDWR, 0600);
    told("get", ioctl(fd, 0x80086601, &flags));
    flags &= 0x30;
    told("flags", flags);
    flags = 0x20;
    if (told("append only", ioctl(fd, 0x40086602, &flags)) == 0) {
        told("open", open("linux.tmp", O_WRONLY));
        told("open truncating", open("linux.tmp", O_WRONLY | O_APPEND | O_TRUNC));
        told("open appending", open("linux.tmp", O_WRONLY | O_APPEND) >= 0 ? 0 : -1);
        told("truncate", truncate("linux.tmp", 0));
        told("ftruncate", ftruncate(fd, 0));
        told("unlink", unlink("linux.tmp"));
        told("rename", rename("linux.tmp", "linux.2"));
        told("link", link("linux.tmp", "linux.2"));
        told("chmod", chmod("linux.tmp", 0644));
        struct timespec times[2] = {{1, 0}, {1, 0}};
        told("dated", utimensat(AT_FDCWD, "linux.tmp", times, 0));
        told("touched", utimensat(AT_FDCWD, "linux.tmp", 0, 0));
        flags = 0x10;
        told("immutable", ioctl(fd, 0x40086602, &flags));
        told("open appending", open("linux.tmp", O_WRONLY | O_APPEND));
        told("open reading", open("linux.tmp", O_RDONLY) >= 0 ? 0 : -1);
        told("touched", utimensat(AT_FDCWD, "linux.tmp", 0, 0));
        told("unlink", unlink("linux.tmp"));
        flags = 0;
        told("plain", ioctl(fd, 0x40086602, &flags));
    }
    told("unlink", unlink("linux.tmp"));
}

static void list(const char* directory) {
    DIR* open = opendir(directory);
    struct dirent* entry;
    int count = 0, fifos = 0;
    while ((entry = readdir(open))) ++count, fifos += entry->d_type == DT_FIFO;
    printf("%d names, %d FIFOs\n", count, fifos);
    closedir(open);
}

/* FIFOs and devices in memory and in the host's directory */
static void nodes(const char* directory) {
    for (int host = 0; host < 2; ++host) {
        if (host) chdir(directory);
        struct stat stat;
        char buffer[8] = "";
        told("mkfifo", mkfifo("linux.fifo", 0640));
        told("again", mkfifo("linux.fifo", 0640));
        told("exclusive", open("linux.fifo", O_CREAT | O_EXCL | O_RDWR, 0600));
        told("nobody reads", open("linux.fifo", O_WRONLY | O_NONBLOCK));
        pid_t child = fork();
        if (child == 0) {
            int fd = open("linux.fifo", O_WRONLY | O_CREAT | O_TRUNC, 0600);
            write(fd, "hello", 5);
            _exit(0);
        }
        int fd = open("linux.fifo", O_RDONLY);
        printf("%ld %s\n", (long)read(fd, buffer, 8), buffer);
        close(fd);
        waitpid(child, 0, 0);
        told("stat", lstat("linux.fifo", &stat));
        printf("%o %ld\n", stat.st_mode, (long)stat.st_size);
        list(".");
        told("mkdir", mkdir("linux.d", 0700));
        told("below", mkfifo("linux.d/f", 0600));
        list("linux.d");
        told("rmdir", rmdir("linux.d"));
        told("unlink", unlink("linux.d/f"));
        told("rmdir", rmdir("linux.d"));
        told("unlink", unlink("linux.fifo"));
        told("unlink", unlink("linux.fifo"));
        told("no directory", mkfifo("linux.none/f", 0600));
        if (!host && told("device", mknod("linux.null", S_IFCHR | 0666, 0x103)) == 0) {
            fd = open("linux.null", O_RDWR);
            printf("%ld %ld\n", (long)write(fd, "x", 1), (long)read(fd, buffer, 1));
            told("stat", lstat("linux.null", &stat));
            printf("%o %lx\n", stat.st_mode, (long)stat.st_rdev);
            unlink("linux.null");
            told("unknown", mknod("linux.other", S_IFCHR | 0666, 0xdb77));
            told("open", open("linux.other", O_RDWR));
            unlink("linux.other");
        }
        told("directory", mknod("linux.x", S_IFDIR | 0666, 0));
    }
}

static void queries(void) {
    int null = open("/dev/null", O_RDONLY), fresh = open("linux.tmp", O_CREAT | O_RDWR, 0600),
        again = open("linux.tmp", O_CREAT | O_RDWR, 0600), copy = dup(again);
    told("not created", fcntl(null, 1028, 0));
    told("created", fcntl(fresh, 1028, 0));
    told("opened", fcntl(again, 1028, 0));
    told("same", fcntl(again, 1027, copy));
    told("another", fcntl(again, 1027, fresh));
    told("none", fcntl(again, 1027, 999));
    unlink("linux.tmp");
    struct {
        uint64_t size, flags, address, start, end, has, page, offset, inode;
        uint32_t major, minor, name_size, id_size;
        uint64_t name, id;
    } query = {104, 0, (uintptr_t)queries};
    char name[4096];
    int maps = open("/proc/self/maps", O_RDONLY);
    query.name = (uintptr_t)name, query.name_size = sizeof name;
    told("map", ioctl(maps, 0xc0686611, &query));
    printf("%d %d %x %d %s\n", query.start <= query.address, query.end > query.address, (int)query.has,
           query.inode != 0, strrchr(name, '/'));
    query.flags = 2;
    told("writable", ioctl(maps, 0xc0686611, &query));
    query.flags = 16, query.address = 0, query.name = query.name_size = 0;
    told("next", ioctl(maps, 0xc0686611, &query));
    query.flags = 0;
    told("nothing", ioctl(maps, 0xc0686611, &query));
    query.flags = 64;
    told("flags", ioctl(maps, 0xc0686611, &query));
    query.size = 16;
    told("size", ioctl(maps, 0xc0686611, &query));
    struct timeval time = {0, 1000};
    syscall(SYS_personality, 0x4000000);
    select(0, 0, 0, 0, &time);
    printf("sticky: %ld\n", (long)time.tv_usec);
    syscall(SYS_personality, 0);
    told("cpuid", syscall(SYS_arch_prctl, 0x1011, 0));
    int random = open("/dev/urandom", O_RDONLY), bits = 0;
    told("entropy", ioctl(random, 0x80045200, &bits));
    printf("%d\n", bits);
}

/* File handles, pages in memory, barriers */
static void handles(void) {
    struct {
        unsigned bytes;
        int type;
        unsigned char data[128];
    } handle = {0};
    int mount = 0, fd = open("linux.tmp", O_CREAT | O_RDWR, 0600);
    told("too small", syscall(303, AT_FDCWD, "linux.tmp", &handle, &mount, 0));
    printf("%d %d\n", handle.bytes >= 8, handle.type);
    told("handle", syscall(303, AT_FDCWD, "linux.tmp", &handle, &mount, 0));
    int opened = syscall(304, AT_FDCWD, &handle, O_RDONLY);
    if (opened >= 0) {
        struct stat one, other;
        fstat(fd, &one), fstat(opened, &other);
        printf("same %d\n", one.st_ino == other.st_ino);
        unlink("linux.tmp");
        close(opened), close(fd);
        told("gone", syscall(304, AT_FDCWD, &handle, O_RDONLY));
    } else {
        printf("%s\n", strerrorname_np(errno));
        unlink("linux.tmp");
    }
    handle.bytes = 200;
    told("too large", syscall(303, AT_FDCWD, ".", &handle, &mount, 0));
    told("flags", syscall(303, AT_FDCWD, ".", &handle, &mount, 0x8000));
    told("missing", syscall(303, AT_FDCWD, "linux.tmp", &handle, &mount, 0));
    int memory = syscall(SYS_memfd_create, "linux", 0);
    ftruncate(memory, 10 * 4096);
    pwrite(memory, "x", 1, 4096);
    pwrite(memory, "x", 1, 5 * 4096);
    uint64_t range[2] = {0, 0}, counts[5] = {9, 9, 9, 9, 9};
    told("pages", syscall(451, memory, range, counts, 0));
    printf("%d\n", (int)(counts[0] + counts[3]));
    range[0] = 4096, range[1] = 1;
    told("one", syscall(451, memory, range, counts, 0));
    printf("%d\n", (int)(counts[0] + counts[3]));
    told("flags", syscall(451, memory, range, counts, 1));
    told("descriptor", syscall(451, 999, range, counts, 0));
}

static volatile int stop;
static void* compute(void* unused) {
    while (!stop) {
    }
    return unused;
}
static void barriers(void) {
    pthread_t threads[3];
    printf("%lx\n", syscall(324, 0, 0) & 0x1f);
    told("not registered", syscall(324, 8, 0));
    told("register", syscall(324, 16, 0));
    for (int i = 0; i < 3; ++i) pthread_create(&threads[i], 0, compute, 0);
    for (int i = 0; i < 5; ++i) told("barrier", syscall(324, 8, 0));
    stop = 1;
    for (int i = 0; i < 3; ++i) pthread_join(threads[i], 0);
    told("command", syscall(324, 3, 0));
    told("flags", syscall(324, 0, 1));
}

/* seccomp(2) */
#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ANSWER(number, answer) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), BPF_STMT(BPF_RET | BPF_K, answer)
static long set_filter(struct sock_filter* code, int count, int flags) {
    struct sock_fprog program = {count, code};
    return syscall(SYS_seccomp, 1, flags, &program);
}
static void on_trap(int signal, siginfo_t* info, void* context) {
    printf("SIGSYS code %d call %d arch %x data %d\n", info->si_code, info->si_syscall, info->si_arch, info->si_errno);
    ((ucontext_t*)context)->uc_mcontext.gregs[REG_RAX] = 77;
}
static void show_status(void) {
    char line[256];
    FILE* file = fopen("/proc/thread-self/status", "r");
    while (fgets(line, sizeof line, file))
        if (!strncmp(line, "Seccomp", 7) || !strncmp(line, "NoNewPrivs", 10)) printf("%s", line);
    fclose(file);
}
static void* filtered_thread(void* unused) {
    told("in a thread", syscall(SYS_getppid) == 0 ? 0 : -1);
    return unused;
}
static void* late_thread(void* ends) {
    char byte;
    read(((int*)ends)[0], &byte, 1);
    told("synchronised", syscall(SYS_getpgrp));
    return 0;
}
static int child_of(void (*body)(void)) {
    int status;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        body();
        _exit(5);
    }
    waitpid(child, &status, 0);
    printf("%s %d\n", WIFSIGNALED(status) ? "killed" : "ended",
           WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return status;
}
static void killed(void) {
    struct sock_filter code[] = {LOAD(nr), ANSWER(SYS_getpriority, 0x80000000), BPF_STMT(BPF_RET | BPF_K, 0x7fff0000)};
    told("kill", set_filter(code, 4, 0));
    syscall(SYS_getpriority, 0, 0);
}
static void strict(void) {
    told("strict", prctl(PR_SET_SECCOMP, 1, 0, 0, 0));
    write(1, "still here\n", 11);
    syscall(SYS_getpid);
}
static void strict_end(void) {
    syscall(SYS_seccomp, 0, 0, 0);
    syscall(SYS_exit, 6);
}
static void filters(void) {
    struct sock_filter code[] = {
        LOAD(arch),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0xc000003e, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, 0),
        LOAD(nr),
        ANSWER(SYS_getppid, 0x50000 | 0),
        ANSWER(SYS_getpgrp, 0x50000 | EDOM),
        ANSWER(SYS_getsid, 0x30000 | 9),
        ANSWER(SYS_getuid, 0x7ff00000),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_dup, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 100, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0x50000 | ENOMEM),
        BPF_STMT(BPF_RET | BPF_K, 0x7fff0000),
    };
    const int count = sizeof code / sizeof *code;
    told("mode", prctl(PR_GET_SECCOMP));
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    told("nowhere", syscall(SYS_seccomp, 1, 0, 8));
    told("empty", set_filter(code, 0, 0));
    told("no end", set_filter(code, count - 1, 0));
    told("unknown flag", set_filter(code, count, 1 << 20));
    told("operation", syscall(SYS_seccomp, 77, 0, 0));
    unsigned action = 0x50000, unknown = 0x123450000 >> 4;
    told("action", syscall(SYS_seccomp, 2, 0, &action));
    told("no action", syscall(SYS_seccomp, 2, 0, &unknown));
    struct sigaction catch = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
    sigaction(SIGSYS, &catch, 0);
    int ends[2];
    pipe(ends);
    pthread_t late, thread;
    pthread_create(&late, 0, late_thread, ends);
    told("set", set_filter(code, count, 1));
    write(ends[1], "x", 1);
    pthread_join(late, 0);
    told("mode", prctl(PR_GET_SECCOMP));
    show_status();
    told("answered 0", syscall(SYS_getppid));
    told("refused", syscall(SYS_getpgrp));
    told("trapped", syscall(SYS_getsid, 0));
    told("no tracer", syscall(SYS_getuid));
    told("by argument", syscall(SYS_dup, 200));
    told("not by argument", syscall(SYS_dup, 90));
    told("strict", prctl(PR_SET_SECCOMP, 1, 0, 0, 0));
    pthread_create(&thread, 0, filtered_thread, 0);
    pthread_join(thread, 0);
    child_of(killed);
    struct sock_filter more[] = {LOAD(nr), ANSWER(SYS_getppid, 0x50000 | EBUSY), BPF_STMT(BPF_RET | BPF_K, 0x7fff0000)};
    told("second", set_filter(more, 4, 0));
    told("the last counts", syscall(SYS_getppid));
    show_status();
    fflush(stdout);
    if (fork() == 0) {
        execl("/bin/sh", "sh", "-c", "grep Seccomp /proc/self/status; echo $PPID", NULL);
        _exit(1);
    }
    wait(0);
}
static void strictly(void) {
    child_of(strict);
    child_of(strict_end);
}

int main(int argc, char** argv) {
    setvbuf(stdout, 0, _IOLBF, 0);
    if (argc < 3) return 2;
    char directory[] = "/tmp/linuxXXXXXX";
    mkdtemp(directory);
    chdir(directory);
    if (strcmp(argv[1], "futexes") == 0) futexes();
    if (strcmp(argv[1], "processes") == 0) processes();
    if (strcmp(argv[1], "splices") == 0) splices();
    if (strcmp(argv[1], "pidfds") == 0) pidfds();
    if (strcmp(argv[1], "protections") == 0) protections();
    if (strcmp(argv[1], "nodes") == 0) nodes(argv[2]);
    if (strcmp(argv[1], "queries") == 0) queries();
    if (strcmp(argv[1], "handles") == 0) handles();
    if (strcmp(argv[1], "barriers") == 0) barriers();
    if (strcmp(argv[1], "filters") == 0) filters();
    if (strcmp(argv[1], "strictly") == 0) strictly();
    rmdir(directory);
    return 0;
}
