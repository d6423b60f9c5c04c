// SPDX-License-Identifier: Apache-2.0
// A Linux program that traces children of its own: calls, memory, signals, steps, breakpoints, events, attaching, ends,
// threads. Arguments name the parts; none means all.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/ptrace.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static int failures;
static void check(int good, const char* what, int line) {
    if (!good) {
        ++failures;
        printf("FAILED line %d: %s (errno %d)\n", line, what, errno);
    }
}
#define CHECK(condition) check((condition) != 0, #condition, __LINE__)

static long trace(long request, pid_t pid, void* address, void* data) {
    return syscall(SYS_ptrace, request, pid, address, data);
}
#define NUMBER(value) ((void*)(long)(value))

static volatile long word = 42;
static volatile int handled;
static void handler(int signal) { handled = signal; }

static int wait_status(pid_t pid) {
    int status = -1;
    pid_t got = waitpid(pid, &status, __WALL);
    return got == pid ? status : -1;
}
static int stopped_by(pid_t pid, int signal) {
    int status = wait_status(pid);
    if (status >> 8 == signal && WIFSTOPPED(status)) return 1;
    printf("  status %x, wanted %x\n", status, signal << 8 | 0x7f);
    return 0;
}
/// A child that waits for its tracer, then does `body`.
static pid_t traced(void (*body)(void)) {
    pid_t pid = fork();
    if (pid == 0) {
        trace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        body();
        _exit(0);
    }
    CHECK(stopped_by(pid, SIGSTOP));
    return pid;
}
static void go(long how, pid_t pid, int signal) { CHECK(trace(how, pid, 0, NUMBER(signal)) == 0); }
static void kill_and_reap(pid_t pid) {
    kill(pid, SIGKILL);
    int status = wait_status(pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

// Calls ------------------------------------------------------------------------------------------------------------

static void make_calls(void) {
    long parent = syscall(SYS_getppid);
    _exit(parent == 77 ? syscall(SYS_getuid) == -38 ? 1 : 5 : 9);
}

static void calls(void) {
    pid_t pid = traced(make_calls);
    CHECK(trace(PTRACE_SETOPTIONS, pid, 0, NUMBER(PTRACE_O_TRACESYSGOOD)) == 0);
    CHECK(trace(PTRACE_SETOPTIONS, pid, 0, NUMBER(0x40000000)) == -1 && errno == EINVAL);
    int entries = 0, seen_parent = 0;
    for (int inside = 0;; inside = !inside) {
        go(PTRACE_SYSCALL, pid, 0);
        int status = wait_status(pid);
        if (WIFEXITED(status)) {
            CHECK(WEXITSTATUS(status) == 5);
            break;
        }
        CHECK(status >> 8 == (SIGTRAP | 0x80));
        struct user_regs_struct registers;
        CHECK(trace(PTRACE_GETREGS, pid, 0, &registers) == 0);
        struct ptrace_syscall_info info;
        memset(&info, 0, sizeof info);
        long size = trace(PTRACE_GET_SYSCALL_INFO, pid, NUMBER(sizeof info), &info);
        if (!inside) {
            ++entries;
            CHECK((long)registers.rax == -ENOSYS);
            CHECK(size == 80 && info.op == 1 && info.entry.nr == registers.orig_rax && info.arch == 0xc000003e);
            if (registers.orig_rax == SYS_getppid) seen_parent = 1;
        } else {
            CHECK(size == 33 && info.op == 2 && info.exit.rval == (long)registers.rax);
            if (registers.orig_rax == SYS_getppid) {
                CHECK((pid_t)registers.rax == getpid());
                registers.rax = 77;  // the tracer decides what the call has answered
                CHECK(trace(PTRACE_SETREGS, pid, 0, &registers) == 0);
                long value = 0;
                CHECK(trace(PTRACE_PEEKUSR, pid, NUMBER(offsetof(struct user, regs.rax)), &value) == 0 && value == 77);
            }
        }
    }
    CHECK(seen_parent && entries >= 3);
    // Skipping a call.
    pid = traced(make_calls);
    for (;;) {
        go(PTRACE_SYSCALL, pid, 0);
        if (!stopped_by(pid, SIGTRAP)) break;
        long number = 0;
        trace(PTRACE_PEEKUSR, pid, NUMBER(offsetof(struct user, regs.orig_rax)), &number);
        if (number != SYS_getppid) continue;
        CHECK(trace(PTRACE_POKEUSR, pid, NUMBER(offsetof(struct user, regs.orig_rax)), NUMBER(-1)) == 0);
        go(PTRACE_SYSCALL, pid, 0);
        CHECK(stopped_by(pid, SIGTRAP));
        CHECK(trace(PTRACE_POKEUSR, pid, NUMBER(offsetof(struct user, regs.rax)), NUMBER(77)) == 0);
        go(PTRACE_CONT, pid, 0);
        int status = wait_status(pid);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 5);
        break;
    }
}

// Memory -----------------------------------------------------------------------------------------------------------

static void return_word(void) { _exit((int)word); }

static void memory(void) {
    pid_t pid = traced(return_word);
    long value = 0;
    CHECK(trace(PTRACE_PEEKDATA, pid, (void*)&word, &value) == 0 && value == 42);
    CHECK(trace(PTRACE_PEEKDATA, pid, NUMBER(8), &value) == -1 && errno == EIO);
    CHECK(trace(PTRACE_POKEDATA, pid, NUMBER(8), NUMBER(1)) == -1 && errno == EIO);
    CHECK(trace(PTRACE_POKEDATA, pid, (void*)&word, NUMBER(43)) == 0);
    static char big[9000], copy[9000];
    struct iovec local = {copy, sizeof copy}, remote = {big, sizeof big};
    memset(copy, 1, sizeof copy);
    CHECK(syscall(SYS_process_vm_readv, pid, &local, 1, &remote, 1, 0) == sizeof copy && copy[8999] == 0);
    value = 44;
    local = (struct iovec){&value, sizeof value}, remote = (struct iovec){(void*)&word, sizeof word};
    CHECK(syscall(SYS_process_vm_writev, pid, &local, 1, &remote, 1, 0) == sizeof value);
    CHECK(word == 42);
    char name[64];
    snprintf(name, sizeof name, "/proc/%d/mem", pid);
    int fd = open(name, O_RDWR);
    CHECK(fd >= 0);
    CHECK(pread(fd, &value, sizeof value, (off_t)(long)&word) == sizeof value && value == 44);
    value = 45;
    CHECK(pwrite(fd, &value, sizeof value, (off_t)(long)&word) == sizeof value);
    CHECK(pread(fd, &value, sizeof value, 16) == -1 && errno == EIO);
    close(fd);
    snprintf(name, sizeof name, "/proc/%d/auxv", pid);
    fd = open(name, O_RDONLY);
    static long mine[80], theirs[80];
    int own = open("/proc/self/auxv", O_RDONLY);
    long size = read(own, mine, sizeof mine);
    CHECK(size > 100 && read(fd, theirs, sizeof theirs) == size && memcmp(mine, theirs, size) == 0);
    close(fd), close(own);
    struct user_fpregs_struct vectors;
    CHECK(trace(PTRACE_GETFPREGS, pid, 0, &vectors) == 0 && (vectors.mxcsr & 0x1f80) == 0x1f80);
    CHECK(trace(PTRACE_SETFPREGS, pid, 0, &vectors) == 0);
    struct user_regs_struct registers;
    struct iovec set = {&registers, sizeof registers};
    CHECK(trace(PTRACE_GETREGSET, pid, NUMBER(1), &set) == 0 && set.iov_len == sizeof registers &&
          registers.cs == 0x33);
    go(PTRACE_CONT, pid, 0);
    int status = wait_status(pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 45);
}

/// Without a stop: the other side computes, or sleeps in a call.
static void visiting(void) {
    for (int sleeps = 0; sleeps < 2; ++sleeps) {
        int pipes[2];
        CHECK(pipe(pipes) == 0);
        pid_t pid = fork();
        if (pid == 0) {
            char byte;
            word = 50 + sleeps;
            write(pipes[1], "", 1);
            close(pipes[1]);
            while (!sleeps && word != 99) {
            }
            read(pipes[0], &byte, 1);
            read(pipes[0], &byte, 1);
            _exit((int)word);
        }
        char byte;
        long value = 0;
        if (!sleeps) CHECK(read(pipes[0], &byte, 1) == 1);
        if (sleeps) usleep(100000);
        struct iovec local = {&value, sizeof value}, remote = {(void*)&word, sizeof word};
        CHECK(syscall(SYS_process_vm_readv, pid, &local, 1, &remote, 1, 0) == sizeof value && value == 50 + sleeps);
        value = 99;
        CHECK(syscall(SYS_process_vm_writev, pid, &local, 1, &remote, 1, 0) == sizeof value);
        remote.iov_base = NUMBER(8);
        CHECK(syscall(SYS_process_vm_readv, pid, &local, 1, &remote, 1, 0) == -1 && errno == EFAULT);
        CHECK(syscall(SYS_process_vm_readv, 999999, &local, 1, &remote, 1, 0) == -1 && errno == ESRCH);
        CHECK(syscall(SYS_process_vm_readv, pid, &local, 1, &remote, 1, 1) == -1 && errno == EINVAL);
        close(pipes[1]);
        int status = wait_status(pid);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 99);
        close(pipes[0]);
    }
}

// Signals ----------------------------------------------------------------------------------------------------------

static void raise_some(void) {
    signal(SIGUSR1, handler);
    signal(SIGUSR2, SIG_IGN);
    raise(SIGUSR1);  // suppressed
    if (handled != 0) _exit(1);
    raise(SIGUSR2);  // seen by the tracer though ignored; replaced by SIGUSR1
    if (handled != SIGUSR1) _exit(2);
    handled = 0;
    raise(SIGUSR1);
    _exit(handled == SIGUSR1 ? 7 : 3);
}

static void signals(void) {
    pid_t pid = traced(raise_some);
    go(PTRACE_CONT, pid, 0);
    CHECK(stopped_by(pid, SIGUSR1));
    siginfo_t info;
    CHECK(trace(PTRACE_GETSIGINFO, pid, 0, &info) == 0 && info.si_signo == SIGUSR1 && info.si_pid == pid &&
          info.si_code == SI_TKILL);
    go(PTRACE_CONT, pid, 0);
    CHECK(stopped_by(pid, SIGUSR2));
    go(PTRACE_CONT, pid, SIGUSR1);
    CHECK(stopped_by(pid, SIGUSR1));
    go(PTRACE_CONT, pid, SIGUSR1);
    int status = wait_status(pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    CHECK(trace(PTRACE_CONT, pid, 0, 0) == -1 && errno == ESRCH);
    // One that ends it, by the tracer's will.
    pid = traced(return_word);
    go(PTRACE_CONT, pid, SIGTERM);
    status = wait_status(pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    // WNOHANG and waitid.
    pid = traced(raise_some);
    CHECK(waitpid(pid, &status, WNOHANG) == 0);
    go(PTRACE_CONT, pid, 0);
    CHECK(waitid(P_PID, pid, &info, WSTOPPED | WEXITED) == 0 && info.si_code == CLD_TRAPPED &&
          info.si_status == SIGUSR1);
    kill_and_reap(pid);
}

// Steps ------------------------------------------------------------------------------------------------------------

__attribute__((noinline)) static void count_down(void) {
    __asm__ volatile("mov $50, %%ecx\n1: dec %%ecx\njnz 1b" ::: "rcx");
    syscall(SYS_getppid);
    _exit(4);
}

static void steps(void) {
    pid_t pid = traced(count_down);
    int count = 0, moved = 0, status;
    unsigned long last = 0;
    for (;; ++count) {
        go(PTRACE_SINGLESTEP, pid, 0);
        status = wait_status(pid);
        if (!WIFSTOPPED(status) || count > 20000) break;
        CHECK(status >> 8 == SIGTRAP);
        struct user_regs_struct registers;
        trace(PTRACE_GETREGS, pid, 0, &registers);
        CHECK((registers.eflags & 0x100) == 0);
        moved += registers.rip != last;
        last = registers.rip;
        if (failures > 5) break;
    }
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 4);
    CHECK(count > 110 && count < 20000 && moved == count);
}

// Breakpoints ------------------------------------------------------------------------------------------------------

__attribute__((noinline, noclone)) int add(int left, int right) {
    __asm__ volatile("" ::: "memory");
    return left + right;
}
static void call_add(void) { _exit(add(2, 3)); }

static void breakpoints(void) {
    pid_t pid = traced(call_add);
    long code = 0;
    CHECK(trace(PTRACE_PEEKTEXT, pid, (void*)add, &code) == 0);
    CHECK(trace(PTRACE_POKETEXT, pid, (void*)add, NUMBER((code & ~0xffl) | 0xcc)) == 0);
    CHECK(memcmp((void*)add, &code, sizeof code) == 0);  // not in this process
    go(PTRACE_CONT, pid, 0);
    CHECK(stopped_by(pid, SIGTRAP));
    struct user_regs_struct registers;
    CHECK(trace(PTRACE_GETREGS, pid, 0, &registers) == 0 && registers.rip == (unsigned long)add + 1);
    CHECK(registers.rdi == 2 && registers.rsi == 3);
    siginfo_t info;
    CHECK(trace(PTRACE_GETSIGINFO, pid, 0, &info) == 0 && info.si_code == SI_KERNEL);
    CHECK(trace(PTRACE_POKETEXT, pid, (void*)add, NUMBER(code)) == 0);
    registers.rip -= 1;
    registers.rdi = 20;
    CHECK(trace(PTRACE_SETREGS, pid, 0, &registers) == 0);
    go(PTRACE_CONT, pid, 0);
    int status = wait_status(pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 23);
}

// Events -----------------------------------------------------------------------------------------------------------

static void make_processes(void) {
    pid_t child = fork();
    if (child == 0) _exit(3);
    waitpid(child, NULL, 0);
    child = vfork();
    if (child == 0) {
        execl("/bin/true", "true", (char*)0);
        _exit(9);
    }
    int status;
    waitpid(child, &status, 0);
    _exit(status == 0 ? 6 : 7);
}

static void events(void) {
    pid_t pid = traced(make_processes);
    int options = PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT |
                  PTRACE_O_TRACEVFORKDONE | PTRACE_O_TRACESYSGOOD;
    CHECK(trace(PTRACE_SETOPTIONS, pid, 0, NUMBER(options)) == 0);
    go(PTRACE_CONT, pid, 0);
    int seen[8] = {0}, stops = 0, ends = 0, last = 0;
    for (;;) {
        int status;
        pid_t who = waitpid(-1, &status, __WALL);
        if (who < 0) break;
        if (!WIFSTOPPED(status)) {
            ++ends;
            if (who == pid) last = status;
            continue;
        }
        int event = status >> 16, signal = WSTOPSIG(status), deliver = 0;
        if (event != 0) {
            long message = 0;
            CHECK(signal == SIGTRAP && event < 8);
            CHECK(trace(PTRACE_GETEVENTMSG, who, 0, &message) == 0);
            ++seen[event & 7];
            if (event == PTRACE_EVENT_EXIT && who == pid) CHECK(message == 6 << 8);
            if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK) CHECK(message > 0 && message != pid);
        } else if (signal == SIGSTOP && who != pid) {
            ++stops;
        } else {
            deliver = signal;
        }
        go(PTRACE_CONT, who, deliver);
    }
    CHECK(seen[PTRACE_EVENT_FORK] == 1 && seen[PTRACE_EVENT_VFORK] == 1 && seen[PTRACE_EVENT_EXEC] == 1);
    CHECK(seen[PTRACE_EVENT_VFORK_DONE] == 1 && seen[PTRACE_EVENT_EXIT] == 3);
    CHECK(stops == 2 && ends == 3);
    CHECK(WIFEXITED(last) && WEXITSTATUS(last) == 6);
    // Without options execve raises SIGTRAP.
    pid_t child = fork();
    if (child == 0) {
        trace(PTRACE_TRACEME, 0, 0, 0);
        execl("/bin/true", "true", (char*)0);
        _exit(9);
    }
    CHECK(stopped_by(child, SIGTRAP));
    kill_and_reap(child);
}

// Attaching --------------------------------------------------------------------------------------------------------

static void attaching(void) {
    int pipes[2];
    CHECK(pipe(pipes) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        char byte;
        read(pipes[0], &byte, 1);
        _exit(11);
    }
    CHECK(trace(PTRACE_ATTACH, getpid(), 0, 0) == -1 && errno == EPERM);
    CHECK(trace(PTRACE_ATTACH, 999999, 0, 0) == -1 && errno == ESRCH);
    CHECK(trace(PTRACE_ATTACH, pid, 0, 0) == 0);
    CHECK(stopped_by(pid, SIGSTOP));
    CHECK(trace(PTRACE_ATTACH, pid, 0, 0) == -1 && errno == EPERM);
    CHECK(trace(PTRACE_INTERRUPT, pid, 0, 0) == -1 && errno == EIO);
    char name[64], text[4000];
    snprintf(name, sizeof name, "/proc/%d/status", pid);
    int fd = open(name, O_RDONLY);
    long size = read(fd, text, sizeof text - 1);
    text[size > 0 ? size : 0] = 0;
    close(fd);
    char* line = strstr(text, "TracerPid:");
    CHECK(line != NULL && atoi(line + 10) == getpid());
    CHECK(trace(PTRACE_DETACH, pid, 0, 0) == 0);
    CHECK(trace(PTRACE_SEIZE, pid, 0, NUMBER(PTRACE_O_TRACESYSGOOD)) == 0);
    CHECK(trace(PTRACE_CONT, pid, 0, 0) == -1 && errno == ESRCH);
    CHECK(trace(PTRACE_INTERRUPT, pid, 0, 0) == 0);
    CHECK(stopped_by(pid, SIGTRAP | PTRACE_EVENT_STOP << 8));
    go(PTRACE_SYSCALL, pid, 0);
    write(pipes[1], "x", 1);
    int calls = 0, status;
    for (;; ++calls) {
        status = wait_status(pid);
        if (!WIFSTOPPED(status) || calls > 20) break;
        CHECK(status >> 8 == (SIGTRAP | 0x80));
        go(PTRACE_SYSCALL, pid, 0);
    }
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 11 && calls >= 2);
}

static void wait_for_ever(void) {
    for (;;) pause();
}

// Ends -------------------------------------------------------------------------------------------------------------

static void ends(void) {
    // A tracer that ends lets its tracees go.
    int pipes[2];
    CHECK(pipe(pipes) == 0);
    pid_t target = fork();
    if (target == 0) {
        char byte;
        close(pipes[1]);
        read(pipes[0], &byte, 1);
        _exit(12);
    }
    pid_t tracer = fork();
    if (tracer == 0) {
        close(pipes[1]);
        if (trace(PTRACE_ATTACH, target, 0, 0) != 0) _exit(1);
        if (!stopped_by(target, SIGSTOP)) _exit(2);
        _exit(0);
    }
    CHECK(wait_status(tracer) == 0);
    close(pipes[1]);
    int status = wait_status(target);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 12);
    // A stopped tracee can be killed, and with EXITKILL it goes with its tracer.
    pid_t pid = traced(return_word);
    kill_and_reap(pid);
    tracer = fork();
    if (tracer == 0) {
        pid = traced(wait_for_ever);
        trace(PTRACE_SETOPTIONS, pid, 0, NUMBER(PTRACE_O_EXITKILL));
        write(pipes[0], "", 0);
        _exit(0);
    }
    CHECK(wait_status(tracer) == 0);
    close(pipes[0]);
}

// Threads ----------------------------------------------------------------------------------------------------------

static void* run_thread(void* argument) {
    syscall(SYS_getppid);
    return argument;
}
static void make_threads(void) {
    for (int i = 0; i < 3; ++i) {
        pthread_t thread;
        pthread_create(&thread, NULL, run_thread, NULL);
        pthread_join(thread, NULL);
    }
    _exit(8);
}

static void threads(void) {
    pid_t pid = traced(make_threads);
    CHECK(trace(PTRACE_SETOPTIONS, pid, 0, NUMBER(PTRACE_O_TRACECLONE | PTRACE_O_TRACESYSGOOD)) == 0);
    go(PTRACE_SYSCALL, pid, 0);
    int clones = 0, stops = 0, thread_ends = 0, last = -1;
    for (;;) {
        int status;
        pid_t who = waitpid(-1, &status, __WALL);
        if (who < 0) break;
        if (!WIFSTOPPED(status)) {
            if (who == pid)
                last = status;
            else
                ++thread_ends;
            continue;
        }
        if (status >> 16 == PTRACE_EVENT_CLONE) ++clones;
        if (status >> 8 == SIGSTOP && who != pid) ++stops;
        go(PTRACE_SYSCALL, who, 0);
    }
    CHECK(clones == 3 && stops == 3 && thread_ends == 3);
    CHECK(WIFEXITED(last) && WEXITSTATUS(last) == 8);
}

/// Is the first letter of the process's state in /proc?
static int in_state(pid_t pid, char state) {
    char name[64], text[512] = "";
    snprintf(name, sizeof name, "/proc/%d/stat", pid);
    for (int tries = 0; tries < 200; ++tries) {
        int fd = open(name, O_RDONLY);
        if (fd >= 0 && read(fd, text, sizeof text - 1) > 0 && strrchr(text, ')')[2] == state) {
            close(fd);
            return 1;
        }
        close(fd);
        usleep(5000);
    }
    printf("  state %c, wanted %c\n", strrchr(text, ')') ? strrchr(text, ')')[2] : '?', state);
    return 0;
}

/// Job control of tracees: the stop of the whole process is told once more, and PTRACE_LISTEN leaves it in force.
static void group_stops(void) {
    const int event = PTRACE_EVENT_STOP << 8;
    int status;
    pid_t pid = fork();
    if (pid == 0)
        for (;;) pause();
    CHECK(trace(PTRACE_SEIZE, pid, 0, 0) == 0);
    CHECK(trace(PTRACE_LISTEN, pid, 0, 0) == -1 && errno == ESRCH);
    kill(pid, SIGSTOP);
    CHECK(stopped_by(pid, SIGSTOP));
    siginfo_t info;
    CHECK(trace(PTRACE_GETSIGINFO, pid, 0, &info) == 0);
    CHECK(trace(PTRACE_LISTEN, pid, 0, 0) == -1 && errno == EIO);
    CHECK(trace(PTRACE_CONT, pid, 0, NUMBER(SIGSTOP)) == 0);
    CHECK(stopped_by(pid, SIGSTOP | event));
    CHECK(in_state(pid, 't'));
    CHECK(trace(PTRACE_LISTEN, pid, 0, 0) == 0);
    CHECK(trace(PTRACE_CONT, pid, 0, 0) == -1 && errno == ESRCH);
    CHECK(in_state(pid, 't') || in_state(pid, 'T'));
    CHECK(waitpid(pid, &status, __WALL | WNOHANG) == 0);
    kill(pid, SIGCONT);
    CHECK(stopped_by(pid, SIGTRAP | event));
    CHECK(trace(PTRACE_CONT, pid, 0, 0) == 0);
    CHECK(stopped_by(pid, SIGCONT));
    CHECK(trace(PTRACE_CONT, pid, 0, NUMBER(SIGCONT)) == 0);
    CHECK(in_state(pid, 'S'));
    // PTRACE_CONT lets it run in spite of the stop.
    kill(pid, SIGTSTP);
    CHECK(stopped_by(pid, SIGTSTP));
    CHECK(trace(PTRACE_CONT, pid, 0, NUMBER(SIGSTOP)) == 0);
    CHECK(stopped_by(pid, SIGSTOP | event));
    CHECK(trace(PTRACE_CONT, pid, 0, 0) == 0);
    CHECK(in_state(pid, 'S'));
    CHECK(trace(PTRACE_INTERRUPT, pid, 0, 0) == 0);
    CHECK(waitpid(pid, &status, __WALL) == pid && status >> 16 == PTRACE_EVENT_STOP);
    CHECK(trace(PTRACE_DETACH, pid, 0, 0) == 0);
    kill(pid, SIGKILL);
    CHECK(waitpid(pid, &status, __WALL) == pid && WIFSIGNALED(status));
    // Of a stopped process a thread is there at once.
    pid = fork();
    if (pid == 0) {
        raise(SIGSTOP);
        for (;;) pause();
    }
    CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
    CHECK(trace(PTRACE_ATTACH, pid, 0, 0) == 0);
    errno = 0;
    trace(PTRACE_PEEKUSR, pid, NUMBER(8 * 16), &info);
    CHECK(errno == 0);
    CHECK(stopped_by(pid, SIGSTOP));
    CHECK(trace(PTRACE_DETACH, pid, 0, 0) == 0);
    CHECK(in_state(pid, 'T'));
    kill(pid, SIGKILL);
    CHECK(waitpid(pid, &status, __WALL) == pid && WIFSIGNALED(status));
    // Told what a stop is not: without PTRACE_SEIZE it has no information.
    pid = fork();
    if (pid == 0) {
        trace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGTTIN);
        _exit(3);
    }
    CHECK(stopped_by(pid, SIGTTIN));
    CHECK(trace(PTRACE_GETSIGINFO, pid, 0, &info) == 0);
    CHECK(trace(PTRACE_CONT, pid, 0, NUMBER(SIGSTOP)) == 0);
    CHECK(stopped_by(pid, SIGSTOP));
    CHECK(trace(PTRACE_GETSIGINFO, pid, 0, &info) == -1 && errno == EINVAL);
    CHECK(trace(PTRACE_CONT, pid, 0, 0) == 0);
    CHECK(waitpid(pid, &status, __WALL) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 3);
}

static const struct {
    const char* name;
    void (*run)(void);
} kParts[] = {{"calls", calls}, {"memory", memory},           {"visiting", visiting},      {"signals", signals},
              {"steps", steps}, {"breakpoints", breakpoints}, {"events", events},          {"attaching", attaching},
              {"ends", ends},   {"threads", threads},         {"group_stops", group_stops}};

int main(int count, char** words) {
    setvbuf(stdout, NULL, _IONBF, 0);
    pid_t probe = fork();
    if (probe == 0) _exit(trace(PTRACE_TRACEME, 0, 0, 0) == 0 ? 0 : 1);
    if (wait_status(probe) != 0) {
        printf("SKIP: this machine does not let programs trace each other\n");
        return count > 1 ? 1 : 77;
    }
    for (unsigned i = 0; i < sizeof kParts / sizeof *kParts; ++i) {
        int wanted = count == 1;
        for (int j = 1; j < count; ++j) wanted |= !strcmp(words[j], kParts[i].name);
        if (wanted) kParts[i].run();
    }
    printf("%d failures\n", failures);
    return failures != 0;
}
