// SPDX-License-Identifier: Apache-2.0
// What names in system directories answer, asked in many ways and orders: the output natively and in a picoprocess is
// the same, whatever the library OS has listed, remembered or fetched ahead by then. Looks only, changes nothing.
//
//   names-guest tree DIR...     every name below, by readdir, lstat, stat, open, readlink, twice
//   names-guest missing DIR...  names that are not there, before and after those that are
//   names-guest below DIR NAME  a name that is there, although a listing of DIR might not have it
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void status(const char* how, const char* name, int result, const struct stat* s) {
    if (result != 0) {
        printf("%s %s %s\n", how, name, strerrorname_np(errno));
        return;
    }
    printf("%s %s %lu:%lu %o %lu %u:%u %ld %ld %ld.%09ld %ld.%09ld\n", how, name, s->st_dev, s->st_ino, s->st_mode,
           s->st_nlink, s->st_uid, s->st_gid, S_ISDIR(s->st_mode) ? 0 : (long)s->st_size, (long)s->st_blocks,
           s->st_mtim.tv_sec, s->st_mtim.tv_nsec, s->st_ctim.tv_sec, s->st_ctim.tv_nsec);
}

static void look(int directory, const char* path, const char* name) {
    struct stat s;
    char target[4096], whole[8192];
    snprintf(whole, sizeof whole, "%s/%s", path, name);
    status("lstat", whole, fstatat(directory, name, &s, AT_SYMLINK_NOFOLLOW), &s);
    status("stat", whole, stat(whole, &s), &s);
    ssize_t length = readlink(whole, target, sizeof target);
    printf("readlink %s %.*s\n", whole, length < 0 ? 0 : (int)length, target);
    int fd = open(whole, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        printf("open %s %s\n", whole, strerrorname_np(errno));
    } else {
        status("fstat", whole, fstat(fd, &s), &s);
        close(fd);
    }
    snprintf(whole, sizeof whole, "%s/%s/", path, name);
    status("slash", whole, stat(whole, &s), &s);
    snprintf(whole, sizeof whole, "%s/%s/nothing", path, name);
    status("inside", whole, stat(whole, &s), &s);
}

static void tree(int above, const char* path, const char* name, int depth, int order) {
    char whole[4096];
    snprintf(whole, sizeof whole, "%s%s%s", path, *path != 0 ? "/" : "", name);
    int fd = openat(above, *path != 0 ? name : whole, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (fd < 0) {
        printf("directory %s %s\n", whole, strerrorname_np(errno));
        return;
    }
    DIR* directory = fdopendir(fd);
    static char* names[65536];
    static int count;
    int first = count;
    for (struct dirent* entry; (entry = readdir(directory)) != NULL && count < 65536;) {
        printf("name %s/%s %lu %d\n", whole, entry->d_name, entry->d_ino, entry->d_type);
        names[count++] = strdup(entry->d_name);
    }
    int last = count;
    for (int i = first; i < last; ++i) {
        char* entry = names[order ? last - 1 - (i - first) : i];
        if (strcmp(entry, ".") != 0 && strcmp(entry, "..") != 0) {
            struct stat s;
            look(dirfd(directory), whole, entry);
            if (depth < 3 && fstatat(dirfd(directory), entry, &s, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(s.st_mode))
                tree(dirfd(directory), whole, entry, depth + 1, order);
        }
    }
    for (int i = first; i < last; ++i) free(names[i]);
    count = first;
    closedir(directory);
}

static void missing(const char* path) {
    static const char* const kNames[] = {"no-such-name",       "no-such/name/below", "no-such/other",
                                         "no-such/../name",    "./no-such-either",   "no-such//name",
                                         "no-such-directory/", "..no-such"};
    char name[4096], longest[4096];
    struct stat s;
    for (int round = 0; round < 3; ++round) {
        for (unsigned i = 0; i < sizeof kNames / sizeof *kNames; ++i) {
            snprintf(name, sizeof name, "%s/%s", path, kNames[i]);
            status("stat", name, stat(name, &s), &s);
            status("lstat", name, lstat(name, &s), &s);
            printf("open %s %d %s\n", name, open(name, O_RDONLY), strerrorname_np(errno));
            printf("create %s %d %s\n", name, access(name, W_OK), strerrorname_np(errno));
        }
        memset(longest, 'x', 300);
        longest[300] = 0;
        snprintf(name, sizeof name, "%s/%s", path, longest);
        status("long", "", stat(name, &s), &s);
        snprintf(name, sizeof name, "%s/no-such/%s", path, longest);
        status("long below", "", stat(name, &s), &s);
        snprintf(name, sizeof name, "%s/./../%s", path, strrchr(path, '/') + 1);
        status("dots", name, stat(name, &s), &s);
        // Somebody else's questions fill the same memory.
        if (fork() == 0) {
            for (int i = 0; i < 20; ++i) {
                snprintf(name, sizeof name, "%s/no-such-%d", path, i);
                if (access(name, F_OK) == 0) _exit(1);
            }
            _exit(0);
        }
        int ended = -1;
        wait(&ended);
        printf("child %d\n", ended);
    }
}

int main(int count, char** words) {
    if (count < 3) return 2;
    for (int i = 2; i < count; ++i) {
        if (strcmp(words[1], "tree") == 0) {
            missing(words[i]);
            tree(AT_FDCWD, "", words[i], 0, i % 2);
            tree(AT_FDCWD, "", words[i], 0, !(i % 2));
        } else if (strcmp(words[1], "missing") == 0) {
            missing(words[i]);
            tree(AT_FDCWD, "", words[i], 3, 0);
            missing(words[i]);
        } else {
            char name[4096];
            struct stat s;
            DIR* directory = opendir(words[i]);
            int found = 0;
            for (struct dirent* entry; directory != NULL && (entry = readdir(directory)) != NULL;) found = 1;
            for (int k = 0; k < 5; ++k) {
                snprintf(name, sizeof name, "%s/no-such-%d", words[i], k);
                if (stat(name, &s) == 0 || errno != ENOENT) return 1;
            }
            snprintf(name, sizeof name, "%s/%s", words[i], words[i + 1]);
            if (stat(name, &s) != 0) return printf("%s is not there\n", name), 1;
            printf("%s %s\n", found ? "read" : "unread", name);
            return 0;
        }
    }
    return 0;
}
