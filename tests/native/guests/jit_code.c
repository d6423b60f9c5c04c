// SPDX-License-Identifier: Apache-2.0
// System calls from code made at run time, in places where no patch fits, and in code that is rewritten afterwards.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef long (*Function)(void);
static unsigned char* code;
static long expected;

// mov $number, %eax; syscall; ret
static Function make(unsigned char* at, unsigned number) {
    unsigned char bytes[] = {0xb8, 0, 0, 0, 0, 0x0f, 0x05, 0xc3};
    memcpy(bytes + 1, &number, 4);
    memcpy(at, bytes, sizeof bytes);
    return (Function)at;
}
// xor %eax, %eax; mov $number, %al; syscall; ret
static Function make_short(unsigned char* at, unsigned char number) {
    unsigned char bytes[] = {0x31, 0xc0, 0xb0, number, 0x0f, 0x05, 0xc3};
    memcpy(at, bytes, sizeof bytes);
    return (Function)at;
}
static void* race(void* number) {
    long bad = 0;
    for (long i = 0; i < 64; ++i) bad += ((Function)(code + 4096 + i * 61))() != expected;
    (void)number;
    return (void*)bad;
}

int main(void) {
    code = mmap(NULL, 16384, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED) return 1;
    expected = getpid();
    printf("jit %d\n", make(code, SYS_getpid)() == expected);
    printf("again %d\n", ((Function)code)() == expected);
    printf("rewritten %d\n", make(code, SYS_getppid)() == getppid());
    printf("short %d\n", make_short(code + 64, SYS_getpid)() == expected);
    // The last bytes of a page: a longer jump would reach into the next one.
    printf("edge %d\n", make(code + 4096 - 8, SYS_getpid)() == expected);
    for (long i = 0; i < 64; ++i) make(code + 4096 + i * 61, SYS_getpid);
    pthread_t threads[4];
    long bad = 0;
    for (long i = 0; i < 4; ++i) pthread_create(&threads[i], NULL, race, (void*)i);
    for (int i = 0; i < 4; ++i) {
        void* result;
        pthread_join(threads[i], &result);
        bad += (long)result;
    }
    printf("bad %ld\n", bad);
    mprotect(code, 16384, PROT_READ | PROT_EXEC);
    printf("sealed %d\n", ((Function)(code + 4096))() == expected);
    // A number that no kernel knows.
    printf("unknown %ld\n", syscall(9999));
    return 0;
}
