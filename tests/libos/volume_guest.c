// SPDX-License-Identifier: Apache-2.0
// A Linux program that checks the working directory's file system as programs see it: FIFOs, hard links, times, modes,
// appending, a working directory that is gone. Natively and in a volume of the host's every line must say "ok". Works
// in a fresh directory below the first argument and needs no privileges.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static struct stat status_of(const char* name) {
    struct stat status;
    memset(&status, 0, sizeof status);
    lstat(name, &status);
    return status;
}
static int put(const char* name, const char* text) {
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    int whole = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    return whole;
}
static int holds(const char* name, const char* text) {
    char buffer[256] = {0};
    int fd = open(name, O_RDONLY);
    ssize_t size = read(fd, buffer, sizeof buffer - 1);
    close(fd);
    return size == (ssize_t)strlen(text) && strcmp(buffer, text) == 0;
}
static int type_in_listing(const char* name) {
    DIR* directory = opendir(".");
    int type = -1;
    for (struct dirent* entry; (entry = readdir(directory)) != NULL;)
        if (strcmp(entry->d_name, name) == 0) type = entry->d_type;
    closedir(directory);
    return type;
}

static void fifos(void) {
    umask(022);
    CHECK(mkfifo("p", 0666) == 0);
    struct stat status = status_of("p");
    CHECK(S_ISFIFO(status.st_mode) && (status.st_mode & 0777) == 0644 && status.st_nlink == 1 && status.st_size == 0);
    CHECK(type_in_listing("p") == DT_FIFO);
    FAILS(mkfifo("p", 0600), EEXIST);
    FAILS(mkfifo("absent/p", 0600), ENOENT);
    FAILS(mkfifo("q/", 0600), ENOENT);
    FAILS(open("p", O_WRONLY | O_NONBLOCK), ENXIO);
    FAILS(open("p", O_RDONLY | O_DIRECTORY), ENOTDIR);
    FAILS(open("p", O_RDONLY | O_CREAT | O_EXCL, 0600), EEXIST);
    FAILS(open("p/", O_RDONLY), ENOTDIR);
    FAILS(truncate("p", 0), EINVAL);

    // Between processes, each waiting for the other in open(2).
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int fd = open("p", O_WRONLY);
        _exit(write(fd, "through the name", 16) == 16 ? 0 : 1);
    }
    int fd = open("p", O_RDONLY);
    char text[32] = {0};
    CHECK(read(fd, text, sizeof text) == 16 && strcmp(text, "through the name") == 0);
    CHECK(read(fd, text, sizeof text) == 0);
    int result = -1;
    waitpid(child, &result, 0);
    CHECK(result == 0);
    struct stat opened;
    CHECK(fstat(fd, &opened) == 0 && opened.st_ino == status.st_ino && opened.st_dev == status.st_dev &&
          opened.st_mode == status.st_mode);
    CHECK(fchmod(fd, 0620) == 0 && (status_of("p").st_mode & 0777) == 0620);
    close(fd);

    // The same FIFO by another name, and after a rename.
    CHECK(link("p", "second") == 0 && status_of("p").st_nlink == 2);
    int reader = open("p", O_RDONLY | O_NONBLOCK);
    CHECK(rename("p", "moved") == 0);
    int writer = open("second", O_WRONLY | O_NONBLOCK);
    CHECK(write(writer, "x", 1) == 1 && read(reader, text, 9) == 1);
    char link_name[64];
    snprintf(link_name, sizeof link_name, "/proc/self/fd/%d", reader);
    int again = open(link_name, O_WRONLY | O_NONBLOCK);
    CHECK(write(again, "y", 1) == 1 && read(reader, text, 9) == 1 && text[0] == 'y');
    close(again);
    // Another one in its place has nothing to do with it.
    CHECK(unlink("moved") == 0 && unlink("second") == 0);
    CHECK(fstat(reader, &opened) == 0 && opened.st_nlink == 0);
    CHECK(mkfifo("p", 0600) == 0);
    FAILS(open("p", O_WRONLY | O_NONBLOCK), ENXIO);
    CHECK(write(writer, "z", 1) == 1);
    int other = open("p", O_RDONLY | O_NONBLOCK);
    int bytes = -1;
    CHECK(ioctl(other, FIONREAD, &bytes) == 0 && bytes == 0 && read(other, text, 9) == 0);
    close(other);
    close(reader);
    close(writer);
    CHECK(chmod("p", 0) == 0 && (geteuid() == 0 || (open("p", O_RDONLY | O_NONBLOCK) == -1 && errno == EACCES)));
    struct timespec times[2] = {{1000000000, 0}, {1000000001, 0}};
    CHECK(utimensat(AT_FDCWD, "p", times, 0) == 0 && status_of("p").st_mtime == 1000000001);
    CHECK(symlink("p", "to-p") == 0 && chmod("p", 0600) == 0);
    fd = open("to-p", O_RDWR);
    CHECK(fd >= 0 && write(fd, "w", 1) == 1 && read(fd, text, 9) == 1);
    close(fd);
    CHECK(unlink("to-p") == 0 && unlink("p") == 0);
}

static void meetings(void) {
    // A writer that has said all and gone before the reader returns from open(2) has been met all the same.
    mkfifo("p", 0600);
    int whole = 0;
    fflush(stdout);
    for (int round = 0; round < 300; ++round) {
        pid_t child = fork();
        if (child == 0) {
            int fd = open("p", O_WRONLY);
            _exit(write(fd, "x", 1) == 1 ? 0 : 1);
        }
        if (round % 3 == 1) sched_yield();
        if (round % 3 == 2) usleep(200);
        int fd = open("p", O_RDONLY), result;
        char text[4];
        whole += read(fd, text, sizeof text) == 1 && read(fd, text, sizeof text) == 0;
        close(fd);
        waitpid(child, &result, 0);
    }
    CHECK(whole == 300);
}

static void links(void) {
    put("f", "text");
    symlink("f", "s");
    mkdir("d", 0755);
    symlink("d", "sd");
    CHECK(linkat(AT_FDCWD, "s", AT_FDCWD, "to-link", 0) == 0 && S_ISLNK(status_of("to-link").st_mode));
    CHECK(linkat(AT_FDCWD, "s", AT_FDCWD, "to-file", AT_SYMLINK_FOLLOW) == 0);
    CHECK(status_of("to-file").st_ino == status_of("f").st_ino);
    FAILS(linkat(AT_FDCWD, "sd", AT_FDCWD, "to-dir", AT_SYMLINK_FOLLOW), EPERM);
    FAILS(link("d", "to-dir"), EPERM);
    CHECK(linkat(AT_FDCWD, "sd", AT_FDCWD, "to-sd", 0) == 0 && S_ISLNK(status_of("to-sd").st_mode));
    FAILS(linkat(AT_FDCWD, "absent", AT_FDCWD, "x", AT_SYMLINK_FOLLOW), ENOENT);
    FAILS(rmdir("d/."), EINVAL);
    FAILS(rmdir("d/.."), ENOTEMPTY);
    FAILS(rmdir("absent/."), ENOENT);
    FAILS(rename("d/.", "e"), EBUSY);
    FAILS(rename("f", "d/.."), EBUSY);
}

static void times(void) {
    put("f", "text");
    struct timespec given[2] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
    struct timespec past[2] = {{1000000000, 5}, {1000000001, 6}};
    CHECK(utimensat(AT_FDCWD, "f", past, 0) == 0 && status_of("f").st_mtim.tv_nsec == 6);
    CHECK(utimensat(AT_FDCWD, "f", given, 0) == 0);
    CHECK(status_of("f").st_mtime == 1000000001 && status_of("f").st_atime > 1000000001);
    int fd = open("f", O_RDWR);
    CHECK(futimens(fd, past) == 0 && status_of("f").st_atime == 1000000000);
    symlink("f", "s");
    CHECK(utimensat(AT_FDCWD, "s", past, AT_SYMLINK_NOFOLLOW) == 0);
    CHECK(status_of("s").st_atime == 1000000000 && status_of("s").st_mtime == 1000000001);
    CHECK(status_of("s").st_atime == 1000000000 && status_of("s").st_size == 1);  // looking is no access
    struct timespec second[2] = {{7, UTIME_OMIT}, {7, UTIME_NOW}};
    CHECK(futimens(fd, second) == 0);
    CHECK(status_of("f").st_atime == 1000000000 && status_of("f").st_mtime > 1000000001);
    close(fd);
}

static void modes(void) {
    put("f", "text");
    mkdir("d", 0755);
    symlink("f", "s");
    CHECK(chmod("d", 02755) == 0 && (status_of("d").st_mode & 07777) == 02755);
    CHECK(mkdir("d/inner", 0755) == 0 && (status_of("d/inner").st_mode & 07777) == 02755);
    CHECK(chmod("d", 01777) == 0 && (status_of("d").st_mode & 07777) == 01777);
    // As the C library makes chmod of a name that is not to be followed.
    char name[64];
    int fd = open("f", O_PATH | O_NOFOLLOW);
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    CHECK(chmod(name, 0400) == 0 && (status_of("f").st_mode & 07777) == 0400);
    CHECK(fchmodat(AT_FDCWD, "f", 0640, AT_SYMLINK_NOFOLLOW) == 0 && (status_of("f").st_mode & 07777) == 0640);
    FAILS(fchmodat(AT_FDCWD, "s", 0640, AT_SYMLINK_NOFOLLOW), EOPNOTSUPP);
    CHECK(truncate(name, 2) == 0 && status_of("f").st_size == 2);
    close(fd);
}

static void appends(void) {
    put("f", "____");
    int fd = open("f", O_RDWR);
    CHECK(fcntl(fd, F_SETFL, O_APPEND) == 0);
    CHECK(write(fd, "a", 1) == 1 && lseek(fd, 0, SEEK_CUR) == 5);
    CHECK(lseek(fd, 1, SEEK_SET) == 1 && write(fd, "b", 1) == 1 && holds("f", "____ab"));
    CHECK(pwrite(fd, "c", 1, 0) == 1 && holds("f", "____abc"));
    CHECK(fcntl(fd, F_SETFL, 0) == 0 && pwrite(fd, "d", 1, 0) == 1 && holds("f", "d___abc"));
    close(fd);
}

static void gone(void) {
    char path[4096];
    mkdir("d", 0755);
    CHECK(chdir("d") == 0);
    CHECK(getcwd(path, sizeof path) == path);
    CHECK(rmdir("../d") == 0);
    FAILS(syscall(SYS_getcwd, path, sizeof path), ENOENT);
    CHECK(chdir("..") == 0 || errno == ENOENT);
}

static const struct {
    const char* name;
    void (*run)(void);
} kParts[] = {{"fifos", fifos}, {"meetings", meetings}, {"links", links}, {"times", times},
              {"modes", modes}, {"appends", appends},   {"gone", gone}};

int main(int count, char** arguments) {
    if (count < 2) return 2;
    alarm(50);
    for (unsigned index = 0; index < sizeof kParts / sizeof kParts[0]; ++index) {
        if (count > 2 && strcmp(arguments[2], kParts[index].name) != 0) continue;
        char place[4096], command[4200];
        snprintf(place, sizeof place, "%s/volume-XXXXXX", arguments[1]);
        if (mkdtemp(place) == NULL || chdir(place) != 0) {
            perror(arguments[1]);
            return 2;
        }
        kParts[index].run();
        if (chdir("/") != 0) return 2;
        snprintf(command, sizeof command, "chmod -R u+rwx '%s'; rm -rf '%s'", place, place);
        CHECK(system(command) == 0);
    }
    return failures != 0;
}
