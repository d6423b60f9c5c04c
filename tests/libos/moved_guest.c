// SPDX-License-Identifier: Apache-2.0
// The code of a library still runs where mremap(2) puts it, and goes without taking its neighbours along.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char path[4096];
static unsigned long low, high, offset;

static int find_library(void) {
    unsigned long wanted = (unsigned long)getppid;
    char line[4500];
    FILE* maps = fopen("/proc/self/maps", "r");
    int found = 0;
    while (!found && fgets(line, sizeof line, maps))
        found = sscanf(line, "%lx-%lx %*s %lx %*s %*s %4095s", &low, &high, &offset, path) == 4 && wanted >= low &&
                wanted < high;
    fclose(maps);
    return found;
}

static const char* runs(char* code) {
    int (*function)(void) = (int (*)(void))(code + ((unsigned long)getppid - low));
    return function() == getppid() ? "runs" : "is wrong";
}

int main(void) {
    if (!find_library()) return 1;
    unsigned long size = high - low, room = size + (64 << 20);
    int file = open(path, O_RDONLY);
    char* code = mmap(0, size, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, offset);
    printf("mapped again: %s\n", runs(code));
    // Where it goes all that lies below is somebody else's.
    char* place = mmap(0, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(place, 7, room - size);
    char* moved = mremap(code, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, place + room - size);
    printf("moved to its place: %d, %s\n", moved == place + room - size, runs(moved));
    munmap(moved, size);
    unsigned long wrong = 0;
    for (unsigned long at = 0; at < room - size; ++at) wrong += place[at] != 7;
    printf("neighbours changed: %lu\n", wrong);
    code = mmap(0, size, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, offset);
    char* part = mremap(code, size, size - 4096, 0);
    printf("cut: %d, %s\n", part == code, runs(code));
    return 0;
}
