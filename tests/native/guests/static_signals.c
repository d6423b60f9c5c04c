// SPDX-License-Identifier: Apache-2.0
// Signals as programs meet them: a fault that is caught and repaired, an alternate stack, restarts, siglongjmp,
// registers and vector state across handlers.
#include <errno.h>
#include <immintrin.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

static char* page;
static volatile int faults, ticks, on_altstack;
static sigjmp_buf escape;
static char alternate[64 * 1024];

static void repair(int number, siginfo_t* info, void* context) {
    (void)number, (void)context;
    if (info->si_code == SEGV_ACCERR && info->si_addr == page + 5) ++faults;
    mprotect(page, 4096, PROT_READ | PROT_WRITE);
}
static void leave(int number) { siglongjmp(escape, number); }
static void tick(int number) {
    (void)number;
    char here;
    if (&here >= alternate && &here < alternate + sizeof alternate) ++on_altstack;
    // Dirty the vector registers: the interrupted code must not notice.
    __asm__ volatile("pxor %%xmm0, %%xmm0\n pxor %%xmm7, %%xmm7" ::: "xmm0", "xmm7");
    ++ticks;
}
static void handle(int number, void (*handler)(int), int flags) {
    struct sigaction action = {0};
    action.sa_handler = handler;
    action.sa_flags = flags;
    sigaction(number, &action, NULL);
}

int main(void) {
    page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct sigaction action = {0};
    action.sa_sigaction = repair;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, NULL);
    page[5] = 7;
    printf("faults %d value %d\n", faults, page[5]);

    handle(SIGSEGV, leave, SA_NODEFER);
    int escapes = 0;
    for (int i = 0; i < 100; ++i) {
        if (sigsetjmp(escape, 1) == 0)
            *(volatile int*)8 = 1;
        else
            ++escapes;
    }
    printf("escapes %d\n", escapes);

    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
    sigaltstack(&stack, NULL);
    handle(SIGALRM, tick, SA_ONSTACK | SA_RESTART);
    struct itimerval every = {{0, 500}, {0, 500}};
    setitimer(ITIMER_REAL, &every, NULL);
    double sum = 0;
    __m128i pattern = _mm_set1_epi32(0x5a5a5a5a);
    int intact = 1;
    while (ticks < 50) {
        __m128i now = pattern;
        __asm__ volatile("" : "+x"(now));
        for (int i = 0; i < 1000; ++i) sum += i * 0.5;
        intact &= _mm_movemask_epi8(_mm_cmpeq_epi32(now, pattern)) == 0xffff;
        getppid();
    }
    struct itimerval never = {0};
    setitimer(ITIMER_REAL, &never, NULL);
    printf("intact %d altstack %d\n", intact, on_altstack >= 50);

    int ends[2];
    char byte = 0;
    if (pipe(ends) != 0) return 1;
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < 3; ++i) usleep(20000), kill(getppid(), SIGUSR1);
        usleep(20000);
        write(ends[1], "r", 1);
        _exit(0);
    }
    handle(SIGUSR1, tick, SA_RESTART);
    ssize_t count = read(ends[0], &byte, 1);
    printf("restarted read %zd %c\n", count, byte);
    waitpid(child, NULL, 0);

    child = fork();
    if (child == 0) usleep(50000), kill(getppid(), SIGUSR2), _exit(0);
    handle(SIGUSR2, tick, 0);
    count = read(ends[0], &byte, 1);
    printf("interrupted read %zd %s\n", count, strerror(errno));
    int status;
    waitpid(child, &status, 0);

    child = fork();
    if (child == 0) abort();
    waitpid(child, &status, 0);
    printf("abort %d %d\n", WIFSIGNALED(status), WTERMSIG(status));
    return 0;
}
