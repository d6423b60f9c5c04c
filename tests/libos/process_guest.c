// SPDX-License-Identifier: Apache-2.0
// A Linux program that checks what processes, threads, signals and futexes must do. It expects what Linux does:
// natively and in a picoprocess every line must say "ok". With arguments it plays the parts of its own children.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "check.h"

extern char** environ;
static const char* self_path;

static void nap(long milliseconds) {
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    while (nanosleep(&time, &time) != 0 && errno == EINTR) {
    }
}

static void waits(void) {
    int status;
    pid_t pid = fork();
    if (pid == 0) _exit(7);
    check(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7, "exit status");
    pid = fork();
    if (pid == 0) {
        raise(SIGKILL);
        _exit(1);
    }
    check(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "killed status");
    check(waitpid(-1, &status, 0) == -1 && errno == ECHILD, "no child");
    check(waitpid(-1, &status, 0x100) == -1 && errno == EINVAL, "bad wait options");

    pid = fork();
    if (pid == 0) {
        nap(50);
        _exit(3);
    }
    check(waitpid(pid, &status, WNOHANG) == 0, "nothing yet");
    siginfo_t info;
    memset(&info, 0, sizeof info);
    check(waitid(P_PID, pid, &info, WEXITED | WNOWAIT) == 0 && info.si_pid == pid && info.si_code == CLD_EXITED &&
              info.si_status == 3,
          "waitid leaves the zombie");
    check(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 3, "and it is reaped after");

    pid = fork();
    if (pid == 0)
        for (;;) pause();
    kill(pid, SIGSTOP);
    check(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP, "stopped");
    kill(pid, SIGCONT);
    check(waitpid(pid, &status, WCONTINUED) == pid && WIFCONTINUED(status), "continued");
    kill(pid, SIGSTOP);
    waitpid(pid, &status, WUNTRACED);
    kill(pid, SIGKILL);
    check(waitpid(pid, &status, 0) == pid && WTERMSIG(status) == SIGKILL, "a stopped process can be killed");

    signal(SIGCHLD, SIG_IGN);
    pid = fork();
    if (pid == 0) _exit(0);
    check(waitpid(pid, &status, 0) == -1 && errno == ECHILD, "ignored children reap themselves");
    signal(SIGCHLD, SIG_DFL);

    int many = 0;
    for (int i = 0; i < 20; ++i)
        if (fork() == 0) _exit(i);
    int sum = 0;
    while (waitpid(-1, &status, 0) > 0) {
        ++many;
        sum += WEXITSTATUS(status);
    }
    check(many == 20 && sum == 190, "many children");
}

static void orphans(void) {
    int pipes[2];
    if (pipe(pipes) != 0) return;
    pid_t pid = fork();
    if (pid == 0) {
        if (fork() == 0) {
            nap(30);
            int parent = getppid();
            (void)!write(pipes[1], &parent, sizeof parent);
            _exit(0);
        }
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    int parent = -1;
    (void)!read(pipes[0], &parent, sizeof parent);
    check(parent != pid && parent != getpid(), "orphans get another parent");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    pid = fork();
    if (pid == 0) {
        if (fork() == 0) {
            nap(30);
            parent = getppid();
            (void)!write(pipes[1], &parent, sizeof parent);
            _exit(9);
        }
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    (void)!read(pipes[0], &parent, sizeof parent);
    int status;
    check(parent == getpid() && wait(&status) > 0 && WEXITSTATUS(status) == 9, "subreaper");
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    close(pipes[0]);
    close(pipes[1]);
}

static void groups(void) {
    pid_t pid = fork();
    if (pid == 0) {
        if (setpgid(0, 0) != 0) _exit(1);
        if (getpgrp() != getpid()) _exit(2);
        if (setsid() != -1 || errno != EPERM) _exit(3);
        pid_t inner = fork();
        if (inner == 0) {
            if (setsid() != getpid()) _exit(1);
            if (getsid(0) != getpid() || getpgrp() != getpid()) _exit(2);
            if (setpgid(0, 0) != -1 || errno != EPERM) _exit(3);
            _exit(0);
        }
        int status;
        waitpid(inner, &status, 0);
        _exit(WEXITSTATUS(status) ? 10 + WEXITSTATUS(status) : 0);
    }
    int status;
    waitpid(pid, &status, 0);
    check(status == 0, "groups and sessions");
    check(setpgid(999999, 0) == -1 && errno == ESRCH, "setpgid of a stranger");
    check(getpgid(999999) == -1 && errno == ESRCH, "getpgid of nobody");
    pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        if (fork() == 0)
            for (;;) pause();
        for (;;) pause();
    }
    setpgid(pid, pid);
    nap(20);
    check(kill(-pid, SIGTERM) == 0, "signal to a group");
    waitpid(pid, &status, 0);
    check(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM, "reaches it");
    check(kill(999999, 0) == -1 && errno == ESRCH, "kill of nobody");
    check(kill(getpid(), 0) == 0, "kill 0");
    check(kill(getpid(), 65) == -1 && errno == EINVAL, "bad signal");
}

static volatile int count, last_signal, last_code, last_value, nested;
static volatile void* last_address;
static void on_signal(int signal, siginfo_t* info, void* context) {
    (void)context;
    ++count;
    last_signal = signal;
    last_code = info->si_code;
    last_value = info->si_value.sival_int;
    last_address = info->si_addr;
}
static void catch_signal(int signal, int flags) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | flags;
    sigaction(signal, &action, NULL);
}

static sigjmp_buf jump;
static void on_fault(int signal, siginfo_t* info, void* context) {
    last_signal = signal;
    last_code = info->si_code;
    last_address = info->si_addr;
    last_value = (int)((ucontext_t*)context)->uc_mcontext.gregs[REG_TRAPNO];
    siglongjmp(jump, 1);
}

static int order[16], order_count;
static void on_realtime(int signal, siginfo_t* info, void* context) {
    (void)context;
    if (order_count < 16) order[order_count++] = (signal - SIGRTMIN) * 100 + info->si_value.sival_int;
}

static void on_vector(int signal, siginfo_t* info, void* context) {
    (void)signal, (void)info, (void)context;
    __asm__ volatile("pcmpeqd %%xmm5, %%xmm5\n pcmpeqd %%xmm15, %%xmm15" ::: "xmm5", "xmm15");
    if (__builtin_cpu_supports("avx")) __asm__ volatile("vzeroall" ::: "memory");
    ++count;
}

static void on_change(int signal, siginfo_t* info, void* context) {
    (void)signal, (void)info;
    ucontext_t* user = context;
    user->uc_mcontext.gregs[REG_RBX] = 0x1234;
    if (user->uc_mcontext.fpregs != NULL) {
        uint32_t* words = (uint32_t*)user->uc_mcontext.fpregs;
        words[(160 + 6 * 16) / 4] = 0xabcdef;  // xmm6
    }
}

static void signals(void) {
    catch_signal(SIGUSR1, 0);
    count = 0;
    raise(SIGUSR1);
    check(count == 1 && last_signal == SIGUSR1 && last_code == SI_TKILL, "raise");
    kill(getpid(), SIGUSR1);
    check(count == 2 && last_code == SI_USER, "kill oneself");

    sigset_t set, old, pending;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, &old);
    raise(SIGUSR1);
    raise(SIGUSR1);
    sigpending(&pending);
    check(count == 2 && sigismember(&pending, SIGUSR1), "blocked and pending");
    sigprocmask(SIG_SETMASK, &old, NULL);
    check(count == 3, "standard signals merge");

    sigprocmask(SIG_BLOCK, &set, &old);
    raise(SIGUSR1);
    signal(SIGUSR1, SIG_IGN);
    sigpending(&pending);
    check(!sigismember(&pending, SIGUSR1), "ignoring discards");
    sigprocmask(SIG_SETMASK, &old, NULL);

    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_realtime;
    action.sa_flags = SA_SIGINFO;
    sigfillset(&action.sa_mask);
    sigaction(SIGRTMIN, &action, NULL);
    sigaction(SIGRTMIN + 1, &action, NULL);
    sigaddset(&set, SIGRTMIN);
    sigaddset(&set, SIGRTMIN + 1);
    sigprocmask(SIG_BLOCK, &set, &old);
    union sigval value;
    for (int i = 0; i < 3; ++i) {
        value.sival_int = i;
        sigqueue(getpid(), SIGRTMIN + 1, value);
        sigqueue(getpid(), SIGRTMIN, value);
    }
    sigprocmask(SIG_SETMASK, &old, NULL);
    // Handlers stack up: what is delivered last runs first, unless masked. With a full mask each runs alone.
    check(order_count == 6 && order[0] == 0 && order[1] == 1 && order[2] == 2 && order[3] == 100 && order[5] == 102,
          "real-time signals queue in order");

    sigprocmask(SIG_BLOCK, &set, &old);
    value.sival_int = 77;
    sigqueue(getpid(), SIGRTMIN, value);
    siginfo_t info;
    check(sigwaitinfo(&set, &info) == SIGRTMIN && info.si_value.sival_int == 77 && info.si_code == SI_QUEUE,
          "sigwaitinfo");
    struct timespec brief = {0, 20000000};
    check(sigtimedwait(&set, &info, &brief) == -1 && errno == EAGAIN, "sigtimedwait times out");
    pid_t pid = fork();
    if (pid == 0) {
        nap(30);
        kill(getppid(), SIGUSR1);
        _exit(0);
    }
    catch_signal(SIGUSR1, 0);
    check(sigwaitinfo(&set, &info) == SIGUSR1 && info.si_pid == pid, "sigwaitinfo from a child");
    waitpid(pid, NULL, 0);
    sigprocmask(SIG_SETMASK, &old, NULL);

    // sigsuspend
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, &old);
    count = 0;
    pid = fork();
    if (pid == 0) {
        nap(30);
        kill(getppid(), SIGUSR1);
        _exit(0);
    }
    check(sigsuspend(&old) == -1 && errno == EINTR && count == 1, "sigsuspend");
    sigprocmask(SIG_SETMASK, NULL, &pending);
    check(sigismember(&pending, SIGUSR1), "and its mask returns");
    sigprocmask(SIG_SETMASK, &old, NULL);
    waitpid(pid, NULL, 0);

    // faults
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGFPE, &action, NULL);
    sigaction(SIGILL, &action, NULL);
    sigaction(SIGTRAP, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    if (sigsetjmp(jump, 1) == 0) *(volatile int*)16 = 1;
    check(last_signal == SIGSEGV && last_code == SEGV_MAPERR && last_address == (void*)16 && last_value == 14,
          "SIGSEGV, not mapped");
    char* page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (sigsetjmp(jump, 1) == 0) *(volatile char*)page = 1;
    check(last_code == SEGV_ACCERR && last_address == page, "SIGSEGV, protected");
    if (sigsetjmp(jump, 1) == 0) *(volatile int*)0x8000000000000000ull = 1;
    check(last_signal == SIGSEGV && last_code == SI_KERNEL && last_address == NULL, "SIGSEGV, not canonical");
    if (sigsetjmp(jump, 1) == 0) {
        volatile int zero = 0;
        last_value = 100 / zero;
    }
    check(last_signal == SIGFPE && last_code == FPE_INTDIV, "SIGFPE");
    if (sigsetjmp(jump, 1) == 0) __asm__ volatile("ud2");
    check(last_signal == SIGILL && last_code == ILL_ILLOPN, "SIGILL");
    if (sigsetjmp(jump, 1) == 0) __asm__ volatile("int3");
    check(last_signal == SIGTRAP && last_code == SI_KERNEL, "SIGTRAP");
    if (sigsetjmp(jump, 1) == 0) ((void (*)(void))0x10)();
    check(last_signal == SIGSEGV && last_address == (void*)0x10, "jump to nowhere");
    signal(SIGSEGV, SIG_DFL);

    // vector state survives a handler that destroys it, and changes by the handler arrive
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_vector;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGUSR2, &action, NULL);
    count = 0;
    uint64_t in[2] = {0x1122334455667788ull, 0x99aabbccddeeff00ull}, out5[2], out15[2];
    pid_t me = getpid();
    long result;
    __asm__ volatile(
        "movdqu %[in], %%xmm5\n movdqu %[in], %%xmm15\n syscall\n movdqu %%xmm5, %[o5]\n movdqu %%xmm15, %[o15]"
        : "=a"(result), [o5] "=m"(out5), [o15] "=m"(out15)
        : "a"(SYS_kill), "D"((long)me), "S"((long)SIGUSR2), [in] "m"(in)
        : "rcx", "r11", "memory", "xmm5", "xmm15");
    check(result == 0 && count == 1 && memcmp(in, out5, 16) == 0 && memcmp(in, out15, 16) == 0, "vector registers");
    action.sa_sigaction = on_change;
    sigaction(SIGUSR2, &action, NULL);
    uint64_t rbx = 1, out6[2];
    __asm__ volatile("movdqu %[in], %%xmm6\n syscall\n movdqu %%xmm6, %[o6]"
                     : "=a"(result), "+b"(rbx), [o6] "=m"(out6)
                     : "a"(SYS_kill), "D"((long)me), "S"((long)SIGUSR2), [in] "m"(in)
                     : "rcx", "r11", "memory", "xmm6");
    check(rbx == 0x1234 && (uint32_t)out6[0] == 0xabcdef, "handlers change the context");

    // alternate stack
    static char stack[65536];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack}, now;
    check(sigaltstack(&alternate, NULL) == 0, "sigaltstack");
    catch_signal(SIGUSR2, SA_ONSTACK | SA_RESETHAND);
    count = 0;
    raise(SIGUSR2);
    check(count == 1, "handler on it");
    sigaction(SIGUSR2, NULL, &action);
    check(action.sa_handler == SIG_DFL, "SA_RESETHAND");
    sigaltstack(NULL, &now);
    check(now.ss_sp == stack && now.ss_flags == 0, "sigaltstack reads back");
    alternate.ss_size = 100;
    check(sigaltstack(&alternate, NULL) == -1 && errno == ENOMEM, "too small");
    // overflow of the ordinary stack is caught on it
    pid = fork();
    if (pid == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGSEGV, SIG_DFL);
        __asm__ volatile("mov $64, %rsp\n push %rax");
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    check(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "no stack: SIGSEGV");
    pid = fork();
    if (pid == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        catch_signal(SIGUSR1, 0);
        __asm__ volatile("mov $64, %%rsp\n syscall" ::"a"(SYS_kill), "D"((long)getpid()), "S"((long)SIGUSR1));
        _exit(0);
    }
    waitpid(pid, &status, 0);
    check(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "a handler without a stack: SIGSEGV");
}

static void on_quiet(int signal) { (void)signal, ++count; }

static void restarts(void) {
    int pipes[2];
    if (pipe(pipes) != 0) return;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_quiet;
    for (int restart = 0; restart < 2; ++restart) {
        action.sa_flags = restart ? SA_RESTART : 0;
        sigaction(SIGUSR1, &action, NULL);
        count = 0;
        pid_t pid = fork();
        if (pid == 0) {
            nap(40);
            kill(getppid(), SIGUSR1);
            nap(40);
            (void)!write(pipes[1], "x", 1);
            _exit(0);
        }
        char byte;
        ssize_t got = read(pipes[0], &byte, 1);
        int error = errno;
        if (restart)
            check(got == 1 && count == 1, "SA_RESTART");
        else
            check(got == -1 && error == EINTR && count == 1, "EINTR");
        if (got != 1) (void)!read(pipes[0], &byte, 1);
        waitpid(pid, NULL, 0);
    }
    // stopping and continuing restarts without a handler
    pid_t pid = fork();
    if (pid == 0) {
        char byte;
        _exit(read(pipes[0], &byte, 1) == 1 ? 0 : 1);
    }
    nap(20);
    kill(pid, SIGSTOP);
    int status;
    waitpid(pid, &status, WUNTRACED);
    kill(pid, SIGCONT);
    nap(20);
    (void)!write(pipes[1], "x", 1);
    waitpid(pid, &status, 0);
    check(status == 0, "stop and continue restart a read");
    // nanosleep goes on for what is left
    action.sa_flags = SA_RESTART;
    sigaction(SIGUSR1, &action, NULL);
    pid = fork();
    if (pid == 0) {
        nap(20);
        kill(getppid(), SIGUSR1);
        _exit(0);
    }
    struct timespec time = {0, 200000000}, left = {0, 0};
    int result = nanosleep(&time, &left);
    check(result == -1 && errno == EINTR && left.tv_nsec > 50000000 && left.tv_nsec < 200000000, "nanosleep");
    waitpid(pid, NULL, 0);
    close(pipes[0]);
    close(pipes[1]);
    // SIGPIPE and alarm
    signal(SIGPIPE, SIG_IGN);
    if (pipe(pipes) != 0) return;
    close(pipes[0]);
    check(write(pipes[1], "x", 1) == -1 && errno == EPIPE, "EPIPE");
    close(pipes[1]);
    signal(SIGPIPE, SIG_DFL);
    count = 0;
    action.sa_flags = 0;
    sigaction(SIGALRM, &action, NULL);
    struct itimerval timer = {{0, 0}, {0, 20000}};
    setitimer(ITIMER_REAL, &timer, NULL);
    pause();
    check(count == 1, "SIGALRM ends a pause");
    timer.it_interval.tv_usec = 2000;
    setitimer(ITIMER_REAL, &timer, NULL);
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do clock_gettime(CLOCK_MONOTONIC, &end);
    while ((end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000 < 200 && count < 10);
    memset(&timer, 0, sizeof timer);
    setitimer(ITIMER_REAL, &timer, NULL);
    check(count >= 10, "SIGALRM interrupts a busy loop");
}

static void vforks(void) {
    volatile int shared = 1;
    int status;
    pid_t pid = vfork();
    if (pid == 0) {
        shared = 2;
        _exit(5);
    }
    check(pid > 0 && shared == 2 && waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 5, "vfork and exit");
    pid = vfork();
    if (pid == 0) {
        execl(self_path, self_path, "exit", "11", NULL);
        _exit(1);
    }
    check(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 11, "vfork and exec");
    pid = vfork();
    if (pid == 0) {
        execl("/nonexistent/program", "x", NULL);
        shared = errno;
        _exit(127);
    }
    check(shared == ENOENT && waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 127, "vfork and failing exec");
    char* arguments[] = {(char*)self_path, "exit", "12", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 5, "/dev/null", O_RDONLY, 0);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
    int good = 0;
    for (int round = 0; round < 20; ++round)
        if (posix_spawn(&pid, self_path, &actions, &attributes, arguments, environ) == 0 &&
            waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 12)
            ++good;
    check(good == 20, "posix_spawn");
    check(posix_spawn(&pid, "/no/such/program", NULL, NULL, arguments, environ) == ENOENT, "posix_spawn of nothing");
    check(fcntl(5, F_GETFD) == -1, "file actions stay in the child");
    check(system("exit 3") == 3 << 8, "system");
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static int total, turn;
static __thread int own = 5;
static void* add(void* argument) {
    own = 6;
    for (int i = 0; i < 2000; ++i) {
        pthread_mutex_lock(&mutex);
        ++total;
        pthread_mutex_unlock(&mutex);
    }
    return argument;
}
static void* ping(void* argument) {
    int me = (int)(intptr_t)argument;
    for (int i = 0; i < 500; ++i) {
        pthread_mutex_lock(&mutex);
        while (turn != me) pthread_cond_wait(&condition, &mutex);
        turn = 1 - me;
        pthread_cond_broadcast(&condition);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}
static void* forever(void* argument) {
    for (;;) pause();
    return argument;
}
static void* spin(void* argument) {
    for (volatile long i = 0;; ++i) {
    }
    return argument;
}
static void* exec_it(void* argument) {
    execl(self_path, self_path, "exit-if-leader", NULL);
    return argument;
}
static void* take_robust(void* argument) {
    pthread_mutex_lock(argument);
    return NULL;
}
static volatile int signalled_thread;
static void on_thread(int signal) { (void)signal, signalled_thread = (int)syscall(SYS_gettid); }
static void* receive(void* argument) {
    *(int*)argument = (int)syscall(SYS_gettid);
    nap(2000);
    return NULL;
}

static void threads(void) {
    pthread_t thread[8];
    for (long i = 0; i < 8; ++i) pthread_create(&thread[i], NULL, add, (void*)i);
    long sum = 0;
    for (int i = 0; i < 8; ++i) {
        void* result;
        pthread_join(thread[i], &result);
        sum += (long)result;
    }
    check(total == 16000 && sum == 28 && own == 5, "threads, mutexes, thread-local storage");
    pthread_create(&thread[0], NULL, ping, (void*)0);
    pthread_create(&thread[1], NULL, ping, (void*)1);
    pthread_join(thread[0], NULL);
    pthread_join(thread[1], NULL);
    check(1, "condition variables");
    int good = 0;
    for (int i = 0; i < 200; ++i) {
        pthread_create(&thread[0], NULL, add, NULL);
        if (pthread_join(thread[0], NULL) == 0) ++good;
    }
    check(good == 200, "many short threads");

    int tid = 0;
    signal(SIGUSR1, on_thread);
    pthread_create(&thread[0], NULL, receive, &tid);
    nap(30);
    pthread_kill(thread[0], SIGUSR1);
    nap(30);
    check(tid != 0 && signalled_thread == tid, "pthread_kill reaches the thread");
    pthread_cancel(thread[0]);
    void* result;
    pthread_join(thread[0], &result);
    check(result == PTHREAD_CANCELED, "pthread_cancel");

    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_t robust;
    pthread_mutex_init(&robust, &attributes);
    pthread_create(&thread[0], NULL, take_robust, &robust);
    pthread_join(thread[0], NULL);
    check(pthread_mutex_lock(&robust) == EOWNERDEAD, "robust mutex");

    int status;
    pid_t pid = fork();
    if (pid == 0) {
        pthread_create(&thread[0], NULL, forever, NULL);
        pthread_create(&thread[1], NULL, spin, NULL);
        nap(20);
        exit(4);
    }
    check(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 4, "exit_group with threads");
    pid = fork();
    if (pid == 0) {
        pthread_create(&thread[0], NULL, forever, NULL);
        pthread_create(&thread[1], NULL, spin, NULL);
        pthread_create(&thread[2], NULL, exec_it, NULL);
        for (;;) pause();
    }
    check(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0,
          "exec by another thread than the first");
    pid = fork();
    if (pid == 0) {
        pthread_create(&thread[0], NULL, spin, NULL);
        pthread_create(&thread[1], NULL, forever, NULL);
        for (;;) pause();
    }
    nap(30);
    kill(pid, SIGKILL);
    check(waitpid(pid, &status, 0) == pid && WTERMSIG(status) == SIGKILL, "SIGKILL with threads");
    pid = fork();
    if (pid == 0) {
        pthread_create(&thread[0], NULL, forever, NULL);
        nap(10);
        pid_t inner = fork();
        if (inner == 0) {
            pthread_create(&thread[1], NULL, add, NULL);
            pthread_join(thread[1], NULL);
            _exit(6);
        }
        waitpid(inner, &status, 0);
        _exit(WEXITSTATUS(status));
    }
    check(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 6, "fork with threads");
}

static long futex(void* word, int operation, unsigned value, void* timeout, void* second, unsigned third) {
    return syscall(SYS_futex, word, operation, value, timeout, second, third);
}

static void futexes(void) {
    static unsigned word = 1;
    check(futex(&word, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0) == -1 && errno == EAGAIN, "value differs");
    struct timespec time = {0, 10000000};
    check(futex(&word, FUTEX_WAIT_PRIVATE, 1, &time, NULL, 0) == -1 && errno == ETIMEDOUT, "timeout");
    time.tv_nsec = 2000000000;
    check(futex(&word, FUTEX_WAIT_PRIVATE, 1, &time, NULL, 0) == -1 && errno == EINVAL, "bad timeout");
    check(futex((char*)&word + 1, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0) == -1 && errno == EINVAL, "misaligned");
    check(futex((void*)4096, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0) == -1 && errno == EFAULT, "bad address");
    check(futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) == 0, "nobody waits");
    check(futex(&word, 99, 1, NULL, NULL, 0) == -1 && errno == ENOSYS, "unknown operation");
    unsigned* shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pid = fork();
    if (pid == 0) {
        while (__atomic_load_n(shared, __ATOMIC_SEQ_CST) == 0) futex(shared, FUTEX_WAIT, 0, NULL, NULL, 0);
        __atomic_store_n(shared + 1, 42, __ATOMIC_SEQ_CST);
        futex(shared + 1, FUTEX_WAKE, 1, NULL, NULL, 0);
        _exit(0);
    }
    nap(30);
    __atomic_store_n(shared, 1, __ATOMIC_SEQ_CST);
    long woken = futex(shared, FUTEX_WAKE, 1, NULL, NULL, 0);
    while (__atomic_load_n(shared + 1, __ATOMIC_SEQ_CST) == 0) futex(shared + 1, FUTEX_WAIT, 0, NULL, NULL, 0);
    check(woken == 1 && shared[1] == 42, "shared between processes");
    waitpid(pid, NULL, 0);
    unsigned second = 5;
    check(
        futex(&word, FUTEX_WAKE_OP_PRIVATE, 1, (void*)1, &second, FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_EQ, 5)) == 0 &&
            second == 8,
        "FUTEX_WAKE_OP");
    check(futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void*)1, &second, 7) == -1 && errno == EAGAIN,
          "FUTEX_CMP_REQUEUE");
}

static void rest(void) {
    char name[17] = "";
    prctl(PR_SET_NAME, "a-rather-long-name-it-is");
    prctl(PR_GET_NAME, name);
    check(strcmp(name, "a-rather-long-n") == 0, "PR_SET_NAME");
    struct rlimit limit;
    check(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= 256, "getrlimit");
    limit.rlim_cur = limit.rlim_max;
    check(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
    cpu_set_t cpus;
    check(sched_getaffinity(0, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) >= 1, "sched_getaffinity");
    check(sched_getcpu() >= 0, "getcpu");
    check(sched_getscheduler(0) == SCHED_OTHER, "scheduler");
    errno = 0;
    check(getpriority(PRIO_PROCESS, 0) == 0 && errno == 0, "getpriority");
    struct rusage usage;
    check(getrusage(RUSAGE_SELF, &usage) == 0, "getrusage");
    check(syscall(SYS_arch_prctl, 0x1001, 0) == -1 || 1, "arch_prctl");
    check(syscall(SYS_clone, 0x10000 | SIGCHLD, 0, 0, 0, 0) == -1 && errno == EINVAL, "bad clone flags");
    check(syscall(SYS_exit_group + 100000) == -1 && errno == ENOSYS, "no such call");
}

int main(int argc, char** argv) {
    self_path = argv[0];
    if (argc > 1 && strcmp(argv[1], "exit") == 0) return atoi(argv[2]);
    if (argc > 1 && strcmp(argv[1], "exit-if-leader") == 0) return getpid() == (int)syscall(SYS_gettid) ? 0 : 1;
    const char* part = argc > 1 ? argv[1] : "";
#define PART(function) \
    if (*part == 0 || strcmp(part, #function) == 0) function()
    PART(waits);
    PART(orphans);
    PART(groups);
    PART(signals);
    PART(restarts);
    PART(vforks);
    PART(threads);
    PART(futexes);
    PART(rest);
    printf("%d failures\n", failures);
    return failures != 0;
}
