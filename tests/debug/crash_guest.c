// SPDX-License-Identifier: Apache-2.0
// Dies in the way that its argument names.
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int sink;

__attribute__((noinline)) static int read_null(const void* left, const void* right) {
    (void)left, (void)right;
    return *(volatile int*)0;
}

__attribute__((noinline)) void sort_numbers(void) {
    int numbers[4] = {3, 1, 2, 0};
    qsort(numbers, 4, sizeof numbers[0], read_null);
    sink = numbers[0];
}

__attribute__((noinline)) void jump_away(void) {
    void (*volatile function)(void) = (void (*)(void))0x10;
    function();
    sink = 1;
}

static void handler(int signal) { *(volatile int*)8 = signal; }

__attribute__((noinline)) void raise_usr1(void) {
    signal(SIGUSR1, handler);
    raise(SIGUSR1);
    sink = 1;
}

static void* in_thread(void* argument) {
    sort_numbers();
    return argument;
}

__attribute__((noinline)) void wait_here(void) {
    for (;;) pause();
}

int main(int count, char** words) {
    const char* what = count > 1 ? words[1] : "";
    getppid();
    if (!strcmp(what, "sort")) sort_numbers();
    if (!strcmp(what, "jump")) jump_away();
    if (!strcmp(what, "handler")) raise_usr1();
    if (!strcmp(what, "abort")) abort();
    if (!strcmp(what, "illegal")) __builtin_trap();
    if (!strcmp(what, "thread")) {
        pthread_t thread;
        pthread_create(&thread, NULL, in_thread, NULL);
        pthread_join(thread, NULL);
    }
    if (!strcmp(what, "vfork")) {
        if (vfork() == 0) sort_numbers();
        wait(NULL);
    }
    if (!strcmp(what, "killed")) {  // by another process: no crash of its own
        pid_t child = fork();
        if (child == 0) wait_here();
        kill(child, SIGSEGV);
        waitpid(child, NULL, 0);
    }
    if (!strcmp(what, "many")) {
        for (int i = 0; i < 10; ++i) {
            if (fork() == 0) __builtin_trap();
            wait(NULL);
        }
    }
    if (!strcmp(what, "wait")) {
        write(1, "ready\n", 6);
        wait_here();
    }
    return 0;
}
