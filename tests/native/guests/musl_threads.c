// SPDX-License-Identifier: Apache-2.0
// A static program of another C library: threads, a mutex, a condition, thread-local storage, a child by system().
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { kThreads = 8, kRounds = 2000 };
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int total, arrived;
static __thread int mine;

static void* work(void* number) {
    for (int i = 0; i < kRounds; ++i) {
        pthread_mutex_lock(&mutex);
        ++total;
        pthread_mutex_unlock(&mutex);
        ++mine;
    }
    pthread_mutex_lock(&mutex);
    ++arrived;
    pthread_cond_broadcast(&changed);
    while (arrived < kThreads) pthread_cond_wait(&changed, &mutex);
    pthread_mutex_unlock(&mutex);
    return (void*)((long)number * mine);
}

int main(void) {
    pthread_t threads[kThreads];
    long sum = 0;
    for (long i = 0; i < kThreads; ++i) pthread_create(&threads[i], NULL, work, (void*)i);
    for (int i = 0; i < kThreads; ++i) {
        void* result;
        pthread_join(threads[i], &result);
        sum += (long)result;
    }
    printf("%d %ld %d\n", total, sum, mine);
    fflush(stdout);
    return system("echo child; exit 3") >> 8;
}
