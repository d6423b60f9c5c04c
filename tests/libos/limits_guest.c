// SPDX-License-Identifier: Apache-2.0
// What getrlimit(2) promises of each limit, and getrusage(2). Without an argument all parts are run, each in a process
// of its own: limits cannot be taken back.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static int failures;
static volatile sig_atomic_t got;

#define CHECK(condition)                                                                              \
    do {                                                                                              \
        if (!(condition)) {                                                                           \
            printf("FAIL line %d: %s (errno %d %s)\n", __LINE__, #condition, errno, strerror(errno)); \
            ++failures;                                                                               \
        }                                                                                             \
    } while (0)
/// The call fails with this errno; SIGXFSZ came with it, or not.
#define REFUSED(call, error, signal)                 \
    do {                                             \
        got = 0;                                     \
        errno = 0;                                   \
        CHECK((long)(call) == -1 && errno == error); \
        CHECK((got == SIGXFSZ) == signal);           \
    } while (0)

static void limit(int resource, rlim_t soft, rlim_t hard) {
    struct rlimit wanted = {soft, hard};
    CHECK(setrlimit(resource, &wanted) == 0);
}
static void note(int signal) { got = signal; }
static void catch (int signal) {
    struct sigaction action = {.sa_handler = note};
    sigaction(signal, &action, NULL);
}
static void* pages(size_t size, int prot, int flags) { return mmap(NULL, size, prot, flags | MAP_ANONYMOUS, -1, 0); }

static void address_space(void) {
    limit(RLIMIT_AS, 64 << 20, 64 << 20);
    CHECK(pages(128 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE) == MAP_FAILED && errno == ENOMEM);
    CHECK(pages(128 << 20, PROT_NONE, MAP_PRIVATE | MAP_NORESERVE) == MAP_FAILED && errno == ENOMEM);
    CHECK(pages(128 << 20, PROT_READ | PROT_WRITE, MAP_SHARED) == MAP_FAILED && errno == ENOMEM);
    void* small = pages(1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    CHECK(small != MAP_FAILED);
    CHECK(mremap(small, 1 << 20, 100 << 20, MREMAP_MAYMOVE) == MAP_FAILED && errno == ENOMEM);
    CHECK(sbrk(100 << 20) == (void*)-1 && errno == ENOMEM);
    CHECK(malloc(100 << 20) == NULL);
}

static void data(void) {
    limit(RLIMIT_DATA, 32 << 20, 32 << 20);
    CHECK(pages(64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE) == MAP_FAILED && errno == ENOMEM);
    void* read_only = pages(64 << 20, PROT_READ, MAP_PRIVATE);
    CHECK(read_only != MAP_FAILED);
    CHECK(mprotect(read_only, 64 << 20, PROT_READ | PROT_WRITE) == -1 && errno == ENOMEM);
    CHECK(mprotect(read_only, 1 << 20, PROT_READ | PROT_WRITE) == 0);
    CHECK(pages(64 << 20, PROT_READ | PROT_WRITE, MAP_SHARED) != MAP_FAILED);
    CHECK(pages(64 << 20, PROT_NONE, MAP_PRIVATE) != MAP_FAILED);
    void* small = pages(1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    CHECK(small != MAP_FAILED);
    CHECK(mremap(small, 1 << 20, 64 << 20, MREMAP_MAYMOVE) == MAP_FAILED && errno == ENOMEM);
    CHECK(sbrk(64 << 20) == (void*)-1 && errno == ENOMEM);
}

static void file_size(void) {
    static char bytes[8192];
    catch (SIGXFSZ);
    char name[] = "/tmp/limitsXXXXXX";
    int file = mkstemp(name);
    CHECK(ftruncate(file, 15000) == 0);
    limit(RLIMIT_FSIZE, 10000, 20000);
    CHECK(ftruncate(file, 12000) == 0);  // smaller than it was, though above the limit
    CHECK(truncate(name, 11000) == 0);
    CHECK(ftruncate(file, 0) == 0);
    CHECK(write(file, bytes, 8192) == 8192);
    CHECK(write(file, bytes, 8192) == 1808);
    REFUSED(write(file, bytes, 8192), EFBIG, 1);
    REFUSED(pwrite(file, bytes, 10, 20000), EFBIG, 1);
    REFUSED(ftruncate(file, 10001), EFBIG, 1);
    REFUSED(truncate(name, 10001), EFBIG, 1);
    REFUSED(fallocate(file, 0, 0, 20000), EFBIG, 1);
    CHECK(fallocate(file, FALLOC_FL_KEEP_SIZE, 0, 20000) == 0);
    CHECK(write(file, bytes, 0) == 0);

    int pipes[2];
    CHECK(pipe(pipes) == 0 && write(pipes[1], bytes, 8192) == 8192);
    got = 0;
    lseek(file, 5000, SEEK_SET);
    CHECK(splice(pipes[0], NULL, file, NULL, 8192, 0) == 5000 && got == SIGXFSZ);
    lseek(file, 10000, SEEK_SET);
    REFUSED(splice(pipes[0], NULL, file, NULL, 4096, 0), EFBIG, 1);
    int source = open("/proc/self/exe", O_RDONLY);
    got = 0;
    lseek(file, 5000, SEEK_SET);
    CHECK(sendfile(file, source, NULL, 8192) == 5000 && got == SIGXFSZ);
    REFUSED(sendfile(file, source, NULL, 8192), EFBIG, 1);
    int other = open("/tmp", O_TMPFILE | O_RDWR, 0600);
    CHECK(write(other, bytes, 8192) == 8192);
    lseek(other, 0, SEEK_SET);
    lseek(file, 6000, SEEK_SET);
    got = 0;
    CHECK(copy_file_range(other, NULL, file, NULL, 8192, 0) == 4000 && got == 0);
    lseek(other, 0, SEEK_SET);
    REFUSED(copy_file_range(other, NULL, file, NULL, 8192, 0), EFBIG, 1);
    int memory = memfd_create("limits", 0);
    CHECK(pwrite(memory, bytes, 8192, 8000) == 2000);
    int appended = open(name, O_WRONLY | O_APPEND);
    REFUSED(write(appended, bytes, 1), EFBIG, 1);
    got = 0;
    CHECK(write(pipes[1], bytes, 8192) == 8192 && got == 0);  // no regular file
    unlink(name);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGXFSZ, SIG_DFL);
        pwrite(file, bytes, 1, 30000);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ);
}

static void cpu(void) {
    catch (SIGXCPU);
    int status;
    struct rusage usage;
    pid_t child = fork();
    if (child == 0) {
        limit(RLIMIT_CPU, 1, 2);
        while (got != SIGXCPU) {
        }
        got = 0;
        for (;;) {
        }
    }
    CHECK(wait4(child, &status, 0, &usage) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    long used = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
                (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
    CHECK(used >= 1500 && used < 4000);
    child = fork();
    if (child == 0) {
        signal(SIGXCPU, SIG_DFL);
        limit(RLIMIT_CPU, 1, RLIM_INFINITY);
        for (;;) {
        }
    }
    CHECK(wait4(child, &status, 0, &usage) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU);
}

static void descriptors(void) {
    limit(RLIMIT_NOFILE, 10, 10);
    int pipes[2];
    while (open("/dev/null", O_RDONLY) >= 0) {
    }
    CHECK(errno == EMFILE);
    CHECK(pipe(pipes) == -1 && errno == EMFILE);
    CHECK(dup(0) == -1 && errno == EMFILE);
    CHECK(dup2(0, 10) == -1 && errno == EBADF);
    CHECK(fcntl(0, F_DUPFD, 10) == -1 && errno == EINVAL);
    CHECK(fcntl(0, F_DUPFD, 9) == -1 && errno == EMFILE);
    CHECK(socket(AF_UNIX, SOCK_STREAM, 0) == -1 && errno == EMFILE);
    CHECK(memfd_create("limits", 0) == -1 && errno == EMFILE);
    close(9);
    CHECK(pipe(pipes) == -1 && errno == EMFILE);
    CHECK(dup(0) == 9);
}

static void* sleeper(void* unused) { return pause(), NULL; }

static void processes(void) {
    // The limit is the user's, and binds no user 0: natively a number that nobody else has.
    if (geteuid() == 0 && (setgid(64321) != 0 || setuid(64321) != 0)) return;
    limit(RLIMIT_NPROC, 1, 1);
    pid_t child = fork();
    if (child == 0) _exit(0);
    if (child > 0) waitpid(child, NULL, 0);
    CHECK(child == -1 && errno == EAGAIN);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, sleeper, NULL) == EAGAIN);
}

static int deep(int levels) {
    volatile char frame[4096];
    frame[0] = (char)levels;
    return levels == 0 ? 0 : deep(levels - 1) + 1 + frame[0] * 0;
}
static char other_stack[65536];
static volatile sig_atomic_t expected;
static void overflow(int signal) { _exit(expected ? failures != 0 : 7); }

static void stack(void) {
    stack_t alternate = {.ss_sp = other_stack, .ss_size = sizeof other_stack};
    sigaltstack(&alternate, NULL);
    struct sigaction action = {.sa_handler = overflow, .sa_flags = SA_ONSTACK};
    sigaction(SIGSEGV, &action, NULL);
    CHECK(deep(1000) == 1000);
    limit(RLIMIT_STACK, 16 << 20, 64 << 20);  // holds at once, not only after exec
    CHECK(deep(3500) == 3500);
    expected = 1;
    deep(5000);
    printf("FAIL: no overflow\n");
    ++failures;
}

static void touch(size_t size) {
    char* memory = malloc(size);
    memset(memory, 1, size);
    asm volatile("" ::"r"(memory) : "memory");
    free(memory);
}

static void usage(void) {
    struct rusage before, after, child;
    enum { kSlack = 20 << 10 };  // KiB
    CHECK(getrusage(RUSAGE_SELF, &before) == 0 && before.ru_maxrss > 0);
    touch(60 << 20);
    CHECK(getrusage(RUSAGE_SELF, &after) == 0);
    CHECK(labs(after.ru_maxrss - before.ru_maxrss - (60 << 10)) < kSlack);
    CHECK(after.ru_minflt > before.ru_minflt);
    CHECK(getrusage(RUSAGE_THREAD, &after) == 0 && after.ru_maxrss > 60 << 10);
    CHECK(getrusage(RUSAGE_CHILDREN, &child) == 0 && child.ru_maxrss == 0);
    CHECK(getrusage(7, &after) == -1 && errno == EINVAL);

    // A grandchild counts when both have been waited for; a child only when it was.
    pid_t process = fork();
    if (process == 0) {
        if (fork() == 0) {
            touch(150 << 20);
            _exit(0);
        }
        wait(NULL);
        _exit(0);
    }
    int status;
    siginfo_t info;
    CHECK(waitid(P_PID, process, &info, WEXITED | WNOWAIT) == 0);
    CHECK(getrusage(RUSAGE_CHILDREN, &child) == 0 && child.ru_maxrss == 0);
    CHECK(wait4(process, &status, 0, &after) == process && status == 0);
    CHECK(labs(after.ru_maxrss - (150 << 10)) < kSlack);
    CHECK(getrusage(RUSAGE_CHILDREN, &child) == 0 && labs(child.ru_maxrss - (150 << 10)) < kSlack);
    CHECK(getrusage(RUSAGE_SELF, &after) == 0 && after.ru_maxrss < 120 << 10);

    // More than are kept in mind, and the largest is none of the last.
    for (int i = 0; i < 60; ++i) {
        process = fork();
        if (process == 0) {
            if (i == 20) touch(200 << 20);
            _exit(0);
        }
        waitpid(process, NULL, 0);
    }
    CHECK(getrusage(RUSAGE_CHILDREN, &child) == 0 && labs(child.ru_maxrss - (200 << 10)) < kSlack);

    // Those that nobody waits for count nothing.
    signal(SIGCHLD, SIG_IGN);
    process = fork();
    if (process == 0) {
        touch(300 << 20);
        _exit(0);
    }
    while (waitpid(process, NULL, 0) == process) {
    }
    CHECK(getrusage(RUSAGE_CHILDREN, &child) == 0 && child.ru_maxrss < 250 << 10);

    struct timeval start, now;
    gettimeofday(&start, NULL);
    CHECK(getrusage(RUSAGE_SELF, &before) == 0);
    usleep(2000);
    CHECK(getrusage(RUSAGE_SELF, &after) == 0 && after.ru_nvcsw > before.ru_nvcsw);
}

struct {
    const char* name;
    void (*run)(void);
} parts[] = {{"address_space", address_space}, {"data", data},           {"file_size", file_size}, {"cpu", cpu},
             {"descriptors", descriptors},     {"processes", processes}, {"stack", stack},         {"usage", usage}};

int main(int count, char** arguments) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    int bad = 0;
    for (unsigned i = 0; i < sizeof parts / sizeof *parts; ++i) {
        if (count > 1 && strcmp(arguments[1], parts[i].name) != 0) continue;
        pid_t child = fork();
        if (child == 0) {
            parts[i].run();
            exit(failures != 0);
        }
        int status;
        waitpid(child, &status, 0);
        if (status != 0) printf("%s: status %x\n", parts[i].name, status), bad = 1;
    }
    return bad;
}
