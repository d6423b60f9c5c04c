// SPDX-License-Identifier: Apache-2.0
// One system-call micro-benchmark per row; the same binary runs natively and in a picoprocess.
//
//   micro --list          names of the rows
//   micro ROW [DIR]       median nanoseconds per operation on standard output; DIR holds `data` and `true-static`
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <string>

namespace {

using u64 = unsigned long;
std::string directory = ".";
char buffer[1 << 16];

[[noreturn]] void fail(const char* what) {
    fprintf(stderr, "micro: %s: %s\n", what, strerror(errno));
    exit(1);
}
long must(long result, const char* what) {
    if (result < 0) fail(what);
    return result;
}
u64 now() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<u64>(time.tv_sec) * 1000000000 + static_cast<u64>(time.tv_nsec);
}
int data_file() {
    static int descriptor = static_cast<int>(must(open((directory + "/data").c_str(), O_RDONLY), "data"));
    return descriptor;
}

// Rows: each does its operation `n` times. -------------------------------------------------------------------------

void do_getpid(u64 n) {
    while (n-- > 0) getpid();
}
void do_getppid(u64 n) {
    while (n-- > 0) getppid();
}
void do_getuid(u64 n) {
    while (n-- > 0) getuid();
}
void do_sigprocmask(u64 n) {
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    while (n-- > 0) sigprocmask(n & 1 ? SIG_BLOCK : SIG_UNBLOCK, &set, &old);
}
void do_lseek(u64 n) {
    while (n-- > 0) lseek(data_file(), static_cast<off_t>(n & 4095), SEEK_SET);
}
void do_futex_wake(u64 n) {
    static int word;
    while (n-- > 0) syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}
void do_dup_close(u64 n) {
    while (n-- > 0) close(static_cast<int>(must(dup(0), "dup")));
}
void do_brk(u64 n) {
    char* start = static_cast<char*>(sbrk(0));
    for (u64 i = 0; i < n; ++i) syscall(SYS_brk, start + (i & 1 ? 0 : 8192));
    syscall(SYS_brk, start);
}
void do_pipe_byte(u64 n) {
    int ends[2];
    must(pipe(ends), "pipe");
    char byte = 0;
    while (n-- > 0) {
        must(write(ends[1], &byte, 1), "write");
        must(read(ends[0], &byte, 1), "read");
    }
    close(ends[0]), close(ends[1]);
}
void do_clock_libc(u64 n) {
    timespec time;
    while (n-- > 0) clock_gettime(CLOCK_MONOTONIC, &time);
}
void do_clock_raw(u64 n) {
    timespec time;
    while (n-- > 0) syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &time);
}
void do_read_zero(u64 n) {
    int zero = static_cast<int>(must(open("/dev/zero", O_RDONLY), "/dev/zero"));
    while (n-- > 0) must(read(zero, buffer, 1), "read");
    close(zero);
}
void do_read_byte(u64 n) {
    lseek(data_file(), 0, SEEK_SET);
    while (n-- > 0)
        if (must(read(data_file(), buffer, 1), "read") == 0) lseek(data_file(), 0, SEEK_SET);
}
void do_write_null(u64 n) {
    int null = static_cast<int>(must(open("/dev/null", O_WRONLY), "/dev/null"));
    while (n-- > 0) must(write(null, buffer, 1), "write");
    close(null);
}
void do_pread_4k(u64 n) {
    while (n-- > 0) must(pread(data_file(), buffer, 4096, static_cast<off_t>((n & 63) * 4096)), "pread");
}
void do_pread_64k(u64 n) {
    while (n-- > 0) must(pread(data_file(), buffer, 65536, static_cast<off_t>((n & 3) * 65536)), "pread");
}
void do_pwrite_4k(u64 n) {
    char name[] = "/tmp/micro-XXXXXX";
    int file = static_cast<int>(must(mkstemp(name), "mkstemp"));
    unlink(name);
    while (n-- > 0) must(pwrite(file, buffer, 4096, static_cast<off_t>((n & 63) * 4096)), "pwrite");
    close(file);
}
constexpr const char* kSystemFile = "/usr/share/common-licenses/GPL-3";
void open_close(u64 n, const std::string& name) {
    while (n-- > 0) close(static_cast<int>(must(open(name.c_str(), O_RDONLY), "open")));
}
void do_open_close(u64 n) { open_close(n, kSystemFile); }
void do_open_close_volume(u64 n) { open_close(n, directory + "/data"); }
void stat_of(u64 n, const std::string& name) {
    struct stat status;
    while (n-- > 0) must(stat(name.c_str(), &status), "stat");
}
void do_stat(u64 n) { stat_of(n, kSystemFile); }
void do_stat_volume(u64 n) { stat_of(n, directory + "/data"); }
void do_stat_missing(u64 n) {
    struct stat status;
    while (n-- > 0) stat("/usr/lib/no-such-file", &status);
}
void do_create_unlink(u64 n) {
    std::string name = "/tmp/micro-create-" + std::to_string(getpid());
    while (n-- > 0) {
        close(static_cast<int>(must(open(name.c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0600), "create")));
        unlink(name.c_str());
    }
}
void do_readdir(u64 n) {
    while (n-- > 0) {
        DIR* stream = opendir("/usr/share/common-licenses");
        if (stream == nullptr) fail("opendir");
        while (readdir(stream) != nullptr) {
        }
        closedir(stream);
    }
}
void do_fork_wait(u64 n) {
    while (n-- > 0) {
        pid_t child = static_cast<pid_t>(must(fork(), "fork"));
        if (child == 0) _exit(0);
        waitpid(child, nullptr, 0);
    }
}
void fork_exec(u64 n, const char* program) {
    while (n-- > 0) {
        pid_t child = static_cast<pid_t>(must(fork(), "fork"));
        if (child == 0) {
            execl(program, program, nullptr);
            _exit(127);
        }
        int status;
        waitpid(child, &status, 0);
        if (status != 0) fail(program);
    }
}
void do_spawn(u64 n) {
    char name[] = "true";
    char* arguments[] = {name, nullptr};
    while (n-- > 0) {
        pid_t child;
        if (posix_spawn(&child, "/bin/true", nullptr, nullptr, arguments, environ) != 0) fail("posix_spawn");
        waitpid(child, nullptr, 0);
    }
}
void do_fork_exec(u64 n) { fork_exec(n, "/bin/true"); }
void do_fork_exec_static(u64 n) { fork_exec(n, (directory + "/true-static").c_str()); }
void do_pipe_pingpong(u64 n) {
    int there[2], back[2];
    must(pipe(there), "pipe"), must(pipe(back), "pipe");
    pid_t child = static_cast<pid_t>(must(fork(), "fork"));
    char byte = 0;
    if (child == 0) {
        close(there[1]);
        while (read(there[0], &byte, 1) == 1)
            if (write(back[1], &byte, 1) != 1) break;
        _exit(0);
    }
    close(there[0]);
    while (n-- > 0) {
        must(write(there[1], &byte, 1), "write");
        must(read(back[0], &byte, 1), "read");
    }
    close(there[1]), close(back[0]), close(back[1]);
    waitpid(child, nullptr, 0);
}
void do_unix_pingpong(u64 n) {
    int ends[2];
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), "socketpair");
    pid_t child = static_cast<pid_t>(must(fork(), "fork"));
    char byte = 0;
    if (child == 0) {
        close(ends[0]);
        while (read(ends[1], &byte, 1) == 1)
            if (write(ends[1], &byte, 1) != 1) break;
        _exit(0);
    }
    close(ends[1]);
    while (n-- > 0) {
        must(write(ends[0], &byte, 1), "write");
        must(read(ends[0], &byte, 1), "read");
    }
    close(ends[0]);
    waitpid(child, nullptr, 0);
}
std::atomic<int> turn;
void wait_turn(int mine) {
    for (int value; (value = turn.load()) != mine && value >= 0;)
        syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}
void give_turn(int next) {
    turn = next;
    syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}
void do_futex_pingpong(u64 n) {
    turn = 0;
    pthread_t thread;
    auto partner = [](void*) -> void* {
        for (;;) {
            wait_turn(1);
            if (turn < 0) return nullptr;
            give_turn(0);
        }
    };
    pthread_create(&thread, nullptr, partner, nullptr);
    while (n-- > 0) {
        give_turn(1);
        wait_turn(0);
    }
    give_turn(-1);
    pthread_join(thread, nullptr);
}
void do_thread(u64 n) {
    pthread_t thread;
    while (n-- > 0) {
        if (pthread_create(
                &thread, nullptr, [](void*) -> void* { return nullptr; }, nullptr) != 0)
            fail("pthread_create");
        pthread_join(thread, nullptr);
    }
}
constexpr u64 kMegabyte = 1 << 20;
char* map_memory(u64 size) {
    void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) fail("mmap");
    return static_cast<char*>(memory);
}
void do_mmap_touch(u64 n) {
    while (n-- > 0) {
        char* memory = map_memory(kMegabyte);
        for (u64 i = 0; i < kMegabyte; i += 4096) memory[i] = 1;
        munmap(memory, kMegabyte);
    }
}
void do_mmap_munmap(u64 n) {
    while (n-- > 0) munmap(map_memory(kMegabyte), kMegabyte);
}
void do_page_fault(u64 n) {
    char* memory = map_memory(n * 4096);
    madvise(memory, n * 4096, MADV_NOHUGEPAGE);
    for (u64 i = 0; i < n; ++i) memory[i * 4096] = 1;
    munmap(memory, n * 4096);
}
void do_file_faults(u64 n) {
    while (n-- > 0) {
        auto* memory = static_cast<volatile char*>(mmap(nullptr, 65536, PROT_READ, MAP_PRIVATE, data_file(), 0));
        if (memory == MAP_FAILED) fail("mmap");
        for (u64 i = 0; i < 65536; i += 4096) static_cast<void>(memory[i]);
        munmap(const_cast<char*>(memory), 65536);
    }
}
volatile sig_atomic_t caught;
void do_signal(u64 n) {
    signal(SIGUSR1, [](int) { caught = caught + 1; });
    while (n-- > 0) raise(SIGUSR1);
}
char* guarded;
void do_protect_fault(u64 n) {
    guarded = map_memory(4096);
    struct sigaction action = {};
    action.sa_handler = [](int) { mprotect(guarded, 4096, PROT_READ | PROT_WRITE); };
    sigaction(SIGSEGV, &action, nullptr);
    while (n-- > 0) {
        mprotect(guarded, 4096, PROT_READ);
        *static_cast<volatile char*>(guarded) = 1;
    }
    signal(SIGSEGV, SIG_DFL);
    munmap(guarded, 4096);
}
void do_epoll(u64 n) {
    int queue = static_cast<int>(must(epoll_create1(0), "epoll_create1"));
    int event = static_cast<int>(must(eventfd(1, 0), "eventfd"));
    epoll_event interest = {.events = EPOLLIN, .data = {}};
    must(epoll_ctl(queue, EPOLL_CTL_ADD, event, &interest), "epoll_ctl");
    epoll_event ready[4];
    while (n-- > 0)
        if (epoll_wait(queue, ready, 4, 0) != 1) fail("epoll_wait");
    close(queue), close(event);
}
void do_yield(u64 n) {
    while (n-- > 0) sched_yield();
}
void do_nanosleep(u64 n) {
    timespec time = {0, 1000};
    while (n-- > 0) nanosleep(&time, nullptr);
}
void do_cpu(u64 n) {
    u64 value = 3;
    while (n-- > 0)
        for (int i = 0; i < 1000; ++i) asm volatile("imul %0, %0" : "+r"(value));
}

struct Row {
    const char* name;
    void (*run)(u64 n);
    u64 limit = ~u64{0};  ///< most operations in one batch
};
constexpr Row kRows[] = {
    {"getpid", do_getpid},
    {"getppid", do_getppid},
    {"getuid", do_getuid},
    {"sigprocmask", do_sigprocmask},
    {"lseek", do_lseek},
    {"futex-wake", do_futex_wake},
    {"dup-close", do_dup_close},
    {"brk", do_brk},
    {"pipe-byte", do_pipe_byte},
    {"clock-libc", do_clock_libc},
    {"clock-raw", do_clock_raw},
    {"read-zero-1", do_read_zero},
    {"read-file-1", do_read_byte},
    {"write-null-1", do_write_null},
    {"pread-4k", do_pread_4k},
    {"pread-64k", do_pread_64k},
    {"pwrite-4k-tmp", do_pwrite_4k},
    {"open-close", do_open_close},
    {"open-close-volume", do_open_close_volume},
    {"stat", do_stat},
    {"stat-volume", do_stat_volume},
    {"stat-missing", do_stat_missing},
    {"create-close-unlink", do_create_unlink},
    {"readdir", do_readdir},
    {"fork-wait", do_fork_wait, 400},
    {"fork-exec-wait", do_fork_exec, 100},
    {"posix-spawn-wait", do_spawn, 100},
    {"fork-exec-wait-static", do_fork_exec_static, 100},
    {"pipe-pingpong", do_pipe_pingpong},
    {"unix-pingpong", do_unix_pingpong},
    {"futex-pingpong", do_futex_pingpong},
    {"thread-create-join", do_thread},
    {"mmap-touch-1m", do_mmap_touch},
    {"mmap-munmap-1m", do_mmap_munmap},
    {"page-fault", do_page_fault, 8192},
    {"mmap-file-16-faults", do_file_faults},
    {"signal-self", do_signal},
    {"mprotect-fault", do_protect_fault},
    {"epoll-wait", do_epoll},
    {"sched-yield", do_yield},
    {"nanosleep-1us", do_nanosleep},
    {"cpu-1000-mul", do_cpu},
};

double measure(const Row& row) {
    constexpr u64 kBatch = 8'000'000;  // nanoseconds: well above the clock's grain, well below a scheduler's patience
    row.run(1);
    u64 count = 1;
    for (;;) {
        u64 start = now();
        row.run(count);
        u64 spent = now() - start;
        if (spent >= kBatch || count >= row.limit) break;
        u64 wanted = spent < 1000 ? count * 100 : count * kBatch / spent + 1;
        count = std::min({wanted, count * 100, row.limit});
    }
    double batches[7];
    for (double& batch : batches) {
        u64 start = now();
        row.run(count);
        batch = static_cast<double>(now() - start) / static_cast<double>(count);
    }
    std::sort(std::begin(batches), std::end(batches));
    return batches[3];
}

}  // namespace

int main(int count, char** words) {
    if (count >= 2 && strcmp(words[1], "--list") == 0) {
        for (const Row& row : kRows) puts(row.name);
        return 0;
    }
    if (count < 2) {
        fprintf(stderr, "usage: micro ROW [DIR] | micro --list\n");
        return 2;
    }
    if (count > 2) directory = words[2];
    for (const Row& row : kRows) {
        if (strcmp(row.name, words[1]) != 0) continue;
        printf("%.2f\n", measure(row));
        return 0;
    }
    fprintf(stderr, "micro: no row '%s'\n", words[1]);
    return 2;
}
