// SPDX-License-Identifier: Apache-2.0
// A Linux program that checks System V IPC. It expects what Linux does: natively and in a picoprocess every line must
// say "ok". Everything it makes is private or has a key of its own number, and is removed.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static void nap(long milliseconds) {
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&time, NULL);
}
static void nothing(int number) { (void)number; }
static long attached(int id) {
    struct shmid_ds status;
    return shmctl(id, IPC_STAT, &status) == 0 ? (long)status.shm_nattch : -1;
}

static void segments(void) {
    key_t key = 0x50000000 | getpid();
    int id = shmget(key, 10000, IPC_CREAT | IPC_EXCL | 0600);
    check(id >= 0, "shmget");
    check(shmget(key, 10000, IPC_CREAT | IPC_EXCL | 0600) == -1 && errno == EEXIST, "EEXIST");
    check(shmget(key, 5000, 0) == id, "found by key, smaller");
    check(shmget(key, 20000, 0) == -1 && errno == EINVAL, "larger: EINVAL");
    check(shmget(key ^ 0x1000000, 1, 0) == -1 && errno == ENOENT, "ENOENT");
    check(shmget(IPC_PRIVATE, 0, 0600) == -1 && errno == EINVAL, "size 0: EINVAL");
    char* a = shmat(id, NULL, 0);
    char* b = shmat(id, NULL, SHM_RDONLY);
    check(a != (void*)-1 && b != (void*)-1 && a != b, "attached twice");
    strcpy(a, "hello");
    check(strcmp(b, "hello") == 0, "the same memory");
    check(attached(id) == 2, "nattch 2");
    check(mprotect(b, 4096, PROT_READ | PROT_WRITE) == -1 && errno == EACCES, "SHM_RDONLY stays read-only");
    check(shmat(id, a + 1, 0) == (void*)-1 && errno == EINVAL, "unaligned: EINVAL");
    check(shmat(id, a, 0) == (void*)-1 && errno == EINVAL, "taken: EINVAL");
    check(shmat(id, a + 1, SHM_RND | SHM_REMAP) == a, "SHM_RND and SHM_REMAP");
    check(attached(id) == 2 && strcmp(a, "hello") == 0, "replaced");
    check(shmat(id, NULL, SHM_REMAP) == (void*)-1 && errno == EINVAL, "SHM_REMAP without address: EINVAL");
    check(shmdt(a + 4096) == -1 && errno == EINVAL, "shmdt inside: EINVAL");
    pid_t child = CHILD({
        if (attached(id) != 4) _exit(1);
        strcpy(a + 100, "child");
        if (shmdt(b) != 0 || attached(id) != 3) _exit(2);
        _exit(0);
    });
    check(reap(child) == 0, "a child inherits attachments");
    check(strcmp(a + 100, "child") == 0 && attached(id) == 2, "and its end releases them");
    child = CHILD({
        execl("/bin/sh", "sh", "-c", "sleep 0.3", NULL);
        _exit(1);
    });
    nap(150);
    check(attached(id) == 2, "exec releases them");
    reap(child);
    child = CHILD(pause());
    nap(50);
    check(attached(id) == 4, "while it lives");
    kill(child, SIGKILL);
    reap(child);
    check(attached(id) == 2, "SIGKILL releases them");
    check(munmap(a, 4096) == 0 && attached(id) == 2 && munmap(a + 4096, 4096) == 0, "munmap of parts");
    check(shmdt(a) == 0 && attached(id) == 1, "shmdt of the rest");
    check(shmdt(a) == -1 && errno == EINVAL, "shmdt again: EINVAL");
    check(shmctl(id, IPC_RMID, NULL) == 0, "IPC_RMID");
    struct shmid_ds status;
    check(shmctl(id, IPC_STAT, &status) == 0 && (status.shm_perm.mode & 01000) != 0 && status.shm_perm.__key == 0,
          "SHM_DEST while attached");
    check(shmget(key, 1, 0) == -1 && errno == ENOENT, "the key is free");
    check(strcmp(b, "hello") == 0, "memory is still there");
    check(shmdt(b) == 0 && shmctl(id, IPC_STAT, &status) == -1 && (errno == EINVAL || errno == EIDRM), "gone");
    check(shmctl(id, 77, NULL) == -1 && errno == EINVAL, "unknown command");
    id = shmget(IPC_PRIVATE, 4096, 0600);
    check(shmctl(id, SHM_LOCK, NULL) == 0 && shmctl(id, IPC_STAT, &status) == 0 && (status.shm_perm.mode & 02000) != 0,
          "SHM_LOCK");
    status.shm_perm.mode = 0640;
    check(shmctl(id, IPC_SET, &status) == 0 && shmctl(id, IPC_STAT, &status) == 0 &&
              (status.shm_perm.mode & 0777) == 0640 && status.shm_segsz == 4096 && status.shm_cpid == getpid(),
          "IPC_SET");
    char wanted[64], line[512];
    snprintf(wanted, sizeof wanted, " %10d ", id);
    FILE* file = fopen("/proc/sysvipc/shm", "r");
    int found = 0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strstr(line, wanted) != NULL) found = 1;
    if (file != NULL) fclose(file);
    check(found, "/proc/sysvipc/shm");
    check(shmctl(id, IPC_RMID, NULL) == 0 && shmctl(id, IPC_RMID, NULL) == -1 && errno == EINVAL, "removed at once");
}

union semun {
    int val;
    struct semid_ds* buf;
    unsigned short* array;
};
static int value_of(int id, int number) { return semctl(id, number, GETVAL); }
static int do_op(int id, int number, int op, int flags) {
    struct sembuf operation = {(unsigned short)number, (short)op, (short)flags};
    return semop(id, &operation, 1);
}

static void semaphores(void) {
    int id = semget(IPC_PRIVATE, 3, 0600);
    check(id >= 0, "semget");
    unsigned short values[3] = {1, 0, 5}, got[3];
    union semun argument = {.array = values};
    check(semctl(id, 0, SETALL, argument) == 0, "SETALL");
    argument.array = got;
    check(semctl(id, 0, GETALL, argument) == 0 && memcmp(values, got, sizeof got) == 0, "GETALL");
    struct sembuf many[2] = {{0, -1, IPC_NOWAIT}, {1, -1, IPC_NOWAIT}};
    check(semop(id, many, 2) == -1 && errno == EAGAIN && value_of(id, 0) == 1, "all or nothing");
    struct sembuf same[3] = {{2, -3, 0}, {2, -2, 0}, {2, 0, 0}};
    check(semop(id, same, 3) == 0 && value_of(id, 2) == 0, "one after the other on one semaphore");
    check(do_op(id, 3, 1, 0) == -1 && errno == EFBIG, "EFBIG");
    check(semop(id, many, 0) == -1 && errno == EINVAL, "no operations: EINVAL");
    static struct sembuf lots[501];
    check(semop(id, lots, 501) == -1 && errno == E2BIG, "E2BIG");
    check(do_op(id, 2, 32767, 0) == 0 && do_op(id, 2, 1, 0) == -1 && errno == ERANGE, "ERANGE");
    argument.val = 32768;
    check(semctl(id, 0, SETVAL, argument) == -1 && errno == ERANGE, "SETVAL: ERANGE");
    struct timespec soon = {0, 30000000};
    struct sembuf down = {1, -1, 0};
    check(semtimedop(id, &down, 1, &soon) == -1 && errno == EAGAIN, "timeout: EAGAIN");
    pid_t child = CHILD(_exit(do_op(id, 1, -1, 0) == 0 ? 0 : 1));
    pid_t other = CHILD({
        struct sembuf zero = {2, 0, 0};
        _exit(semop(id, &zero, 1) == 0 ? 0 : 1);
    });
    for (int i = 0; i < 200 && (semctl(id, 1, GETNCNT) != 1 || semctl(id, 2, GETZCNT) != 1); ++i) nap(5);
    check(semctl(id, 1, GETNCNT) == 1 && semctl(id, 1, GETZCNT) == 0 && semctl(id, 2, GETZCNT) == 1,
          "GETNCNT and GETZCNT");
    check(do_op(id, 1, 1, 0) == 0 && reap(child) == 0 && value_of(id, 1) == 0, "woken by an increment");
    check(semctl(id, 1, GETPID) == child, "GETPID: who took it");
    argument.val = 0;
    check(semctl(id, 2, SETVAL, argument) == 0 && reap(other) == 0, "woken by SETVAL");
    child = CHILD({
        struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_RESTART};
        sigaction(SIGUSR1, &action, NULL);
        _exit(do_op(id, 1, -1, 0) == -1 && errno == EINTR ? 0 : 1);
    });
    for (int i = 0; i < 200 && semctl(id, 1, GETNCNT) != 1; ++i) nap(5);
    nap(20);
    kill(child, SIGUSR1);
    check(reap(child) == 0 && semctl(id, 1, GETNCNT) == 0, "EINTR");
    // SEM_UNDO
    argument.val = 2;
    semctl(id, 0, SETVAL, argument);
    child = CHILD(_exit(do_op(id, 0, -2, SEM_UNDO) == 0 && do_op(id, 1, 3, SEM_UNDO) == 0 ? 0 : 1));
    check(reap(child) == 0 && value_of(id, 0) == 2 && value_of(id, 1) == 0, "SEM_UNDO at exit");
    int ready[2];
    pipe(ready);
    child = CHILD({
        do_op(id, 0, -1, SEM_UNDO);
        write(ready[1], "x", 1);
        pause();
    });
    char byte;
    read(ready[0], &byte, 1);
    check(value_of(id, 0) == 1, "taken");
    kill(child, SIGKILL);
    reap(child);
    check(value_of(id, 0) == 2, "SEM_UNDO after SIGKILL");
    child = CHILD({
        do_op(id, 0, -1, SEM_UNDO);
        execl("/bin/sleep", "sleep", "20", NULL);
    });
    for (int i = 0; i < 200 && value_of(id, 0) != 1; ++i) nap(5);
    check(value_of(id, 0) == 1, "kept over exec");
    kill(child, SIGKILL);
    reap(child);
    check(value_of(id, 0) == 2, "and undone after it");
    child = CHILD({
        do_op(id, 0, -1, SEM_UNDO);
        union semun fresh = {.val = 7};
        semctl(id, 0, SETVAL, fresh);
    });
    reap(child);
    check(value_of(id, 0) == 7, "SETVAL clears adjustments");
    struct semid_ds status;
    argument.buf = &status;
    check(semctl(id, 0, IPC_STAT, argument) == 0 && status.sem_nsems == 3 && status.sem_otime != 0, "IPC_STAT");
    child = CHILD(_exit(do_op(id, 1, -1, 0) == -1 && errno == EIDRM ? 0 : 1));
    for (int i = 0; i < 200 && semctl(id, 1, GETNCNT) != 1; ++i) nap(5);
    check(semctl(id, 0, IPC_RMID) == 0 && reap(child) == 0, "EIDRM");
    check(do_op(id, 0, 1, 0) == -1 && (errno == EINVAL || errno == EIDRM), "gone");
    int again = semget(IPC_PRIVATE, 1, 0600);
    check(again != id, "numbers are not reused at once");
    semctl(again, 0, IPC_RMID);
}

struct message {
    long type;
    char text[100];
};
static int send_text(int id, long type, const char* text, int flags) {
    struct message message = {.type = type};
    strcpy(message.text, text);
    return msgsnd(id, &message, strlen(text), flags);
}
static int is_next(int id, long type, int flags, long wanted_type, const char* wanted) {
    struct message message = {0};
    ssize_t size = msgrcv(id, &message, sizeof message.text, type, flags);
    return size == (ssize_t)strlen(wanted) && message.type == wanted_type && memcmp(message.text, wanted, size) == 0;
}

static void queues(void) {
    int id = msgget(IPC_PRIVATE, 0600);
    struct message message;
    check(id >= 0, "msgget");
    check(send_text(id, 0, "x", 0) == -1 && errno == EINVAL, "type 0: EINVAL");
    send_text(id, 3, "three", 0), send_text(id, 1, "one", 0), send_text(id, 2, "two", 0), send_text(id, 3, "again", 0);
    check(is_next(id, 2, 0, 2, "two"), "by type");
    check(is_next(id, 0, 0, 3, "three"), "the first");
    send_text(id, 2, "2", 0);
    check(is_next(id, -2, 0, 1, "one"), "the lowest type");
    check(is_next(id, 3, MSG_EXCEPT, 2, "2"), "MSG_EXCEPT");
    check(msgrcv(id, &message, 100, 9, IPC_NOWAIT) == -1 && errno == ENOMSG, "ENOMSG");
    check(msgrcv(id, &message, 2, 0, 0) == -1 && errno == E2BIG, "E2BIG");
    check(msgrcv(id, &message, 2, 0, MSG_NOERROR) == 2 && memcmp(message.text, "ag", 2) == 0, "MSG_NOERROR");
    check(msgrcv(id, &message, 2, 0, MSG_COPY) == -1 && errno == EINVAL, "MSG_COPY alone: EINVAL");
    static struct {
        long type;
        char text[9000];
    } large = {1};
    check(msgsnd(id, &large, 8193, 0) == -1 && errno == EINVAL, "too large: EINVAL");
    check(msgsnd(id, &large, 8192, 0) == 0 && msgsnd(id, &large, 8192, 0) == 0, "as much as fits");
    check(msgsnd(id, &large, 1, IPC_NOWAIT) == -1 && errno == EAGAIN, "full: EAGAIN");
    pid_t child = CHILD(_exit(send_text(id, 5, "waited", 0) == 0 ? 0 : 1));
    nap(50);
    check(msgrcv(id, &large, 9000, 1, 0) == 8192 && reap(child) == 0, "a sender waits for room");
    check(msgrcv(id, &large, 9000, 1, 0) == 8192 && is_next(id, 0, 0, 5, "waited"), "and what it sent");
    child = CHILD(_exit(is_next(id, 7, 0, 7, "seven") ? 0 : 1));
    nap(50);
    send_text(id, 6, "six", 0), send_text(id, 7, "seven", 0);
    check(reap(child) == 0, "a receiver waits for its type");
    struct msqid_ds status;
    check(msgctl(id, IPC_STAT, &status) == 0 && status.msg_qnum == 1 && status.msg_lspid == getpid() &&
              status.msg_lrpid == child && status.__msg_cbytes == 3,
          "IPC_STAT");
    is_next(id, 0, 0, 6, "six");
    child = CHILD({
        struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_RESTART};
        sigaction(SIGUSR1, &action, NULL);
        _exit(msgrcv(id, &message, 100, 0, 0) == -1 && errno == EINTR ? 0 : 1);
    });
    nap(100);
    kill(child, SIGUSR1);
    check(reap(child) == 0, "EINTR");
    child = CHILD(_exit(msgrcv(id, &message, 100, 0, 0) == -1 && errno == EIDRM ? 0 : 1));
    nap(100);
    check(msgctl(id, IPC_RMID, NULL) == 0 && reap(child) == 0, "EIDRM");
    check(msgctl(id, IPC_STAT, &status) == -1 && (errno == EINVAL || errno == EIDRM), "gone");
}

int main(int argc, char** argv) {
    alarm(50);
    const struct {
        const char* name;
        void (*run)(void);
    } parts[] = {{"segments", segments}, {"semaphores", semaphores}, {"queues", queues}};
    for (unsigned i = 0; i < sizeof parts / sizeof *parts; ++i)
        if (argc < 2 || strcmp(argv[1], parts[i].name) == 0) parts[i].run();
    return failures != 0;
}
