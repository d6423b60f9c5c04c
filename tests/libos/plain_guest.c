// SPDX-License-Identifier: Apache-2.0
// A program without a loader that maps the code of libraries reads it as it is in the file: valgrind translates it.
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int compare(const char* path) {
    Elf64_Ehdr header;
    Elf64_Phdr segments[32];
    int file = open(path, O_RDONLY);
    if (file < 0 || pread(file, &header, sizeof header, 0) != sizeof header || header.e_phnum > 32) return 1;
    pread(file, segments, header.e_phnum * sizeof segments[0], header.e_phoff);
    for (int i = 0; i < header.e_phnum; ++i) {
        if (segments[i].p_type != PT_LOAD || !(segments[i].p_flags & PF_X)) continue;
        unsigned long start = segments[i].p_offset & -4096, size = segments[i].p_offset + segments[i].p_filesz - start;
        char* code = mmap(0, size, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, start);
        if (code == MAP_FAILED) return 1;
        for (unsigned long at = 0; at < size; at += 4096) {
            char page[4096];
            unsigned long part = size - at < 4096 ? size - at : 4096;
            if (pread(file, page, part, start + at) != part || memcmp(page, code + at, part) != 0) return 1;
        }
        munmap(code, size);
    }
    close(file);
    return 0;
}

int main(int count, char** words) {
    for (int round = 0; round < 2; ++round)
        printf("%s %s\n", compare("/lib64/ld-linux-x86-64.so.2") ? "loader differs" : "loader",
               compare("/lib/x86_64-linux-gnu/libc.so.6") ? "library differs" : "library");
    return 0;
}
