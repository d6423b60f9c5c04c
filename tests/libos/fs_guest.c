// SPDX-License-Identifier: Apache-2.0
// A Linux program that checks files as programs see them: errors, data, names, times, directories, descriptors, locks,
// memory files and read-only system files. Natively and in a picoprocess every line must say "ok". Works in a fresh
// directory below /tmp and needs no privileges.
//
// It also runs natively, perhaps as root: outside its own directory it may only look. No call here may name a system
// file in a way that would change it if the call succeeded, however surely it is expected to fail.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static void put(const char* name, const char* text) {
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (write(fd, text, strlen(text)) != (ssize_t)strlen(text)) ++failures;
    close(fd);
}
static int holds(const char* name, const char* text) {
    char buffer[256] = {0};
    int fd = open(name, O_RDONLY);
    if (fd < 0) return 0;
    ssize_t size = read(fd, buffer, sizeof buffer - 1);
    close(fd);
    return size == (ssize_t)strlen(text) && strcmp(buffer, text) == 0;
}
static struct stat status_of(const char* name) {
    struct stat status;
    memset(&status, 0, sizeof status);
    lstat(name, &status);
    return status;
}

static void errors(void) {
    char longest[300], path[5000];
    memset(longest, 'x', 256);
    longest[256] = 0;
    memset(path, 'y', 4500);
    path[4500] = 0;
    FAILS(open("", O_RDONLY), ENOENT);
    FAILS(open(longest, O_RDONLY), ENAMETOOLONG);
    FAILS(open(path, O_RDONLY), ENAMETOOLONG);
    FAILS(open((char*)8, O_RDONLY), EFAULT);
    FAILS(stat(".", (struct stat*)8), EFAULT);
    symlink("loop", "loop");
    FAILS(open("loop", O_RDONLY), ELOOP);
    FAILS(open("loop", O_RDONLY | O_NOFOLLOW), ELOOP);
    put("f", "text");
    mkdir("d", 0755);
    mkdir("d/e", 0755);
    FAILS(open("f", O_CREAT | O_EXCL | O_WRONLY, 0600), EEXIST);
    FAILS(open("f/", O_RDONLY), ENOTDIR);
    FAILS(open("f/x", O_RDONLY), ENOTDIR);
    FAILS(open("f", O_DIRECTORY), ENOTDIR);
    FAILS(open("d", O_WRONLY), EISDIR);
    FAILS(open("new/", O_CREAT | O_WRONLY, 0600), EISDIR);
    FAILS(mkdir("f", 0700), EEXIST);
    FAILS(mkdir("none/x", 0700), ENOENT);
    FAILS(rmdir("f"), ENOTDIR);
    FAILS(rmdir("d"), ENOTEMPTY);
    FAILS(rmdir("d/."), EINVAL);
    FAILS(rmdir("d/.."), ENOTEMPTY);
    FAILS(unlink("d"), EISDIR);
    FAILS(unlink("none"), ENOENT);
    FAILS(rename("d", "d/e/z"), EINVAL);
    FAILS(rename("f", "d"), EISDIR);
    FAILS(rename("d", "f"), ENOTDIR);
    FAILS(rename("f", "none/x"), ENOENT);
    FAILS(link("d", "dd"), EPERM);
    FAILS(link("f", "d"), EEXIST);
    FAILS(readlink("f", path, 10), EINVAL);
    FAILS(chdir("f"), ENOTDIR);
    FAILS(truncate("d", 0), EISDIR);
    FAILS(truncate("f", -1), EINVAL);
    int fd = open("f", O_RDONLY), out = open("f", O_WRONLY), dir = open("d", O_RDONLY);
    FAILS(write(fd, "x", 1), EBADF);
    FAILS(read(out, path, 1), EBADF);
    FAILS(read(dir, path, 1), EISDIR);
    FAILS(read(fd, (void*)8, 4), EFAULT);
    FAILS(lseek(fd, -1, SEEK_SET), EINVAL);
    FAILS(lseek(fd, 0, 99), EINVAL);
    FAILS(ftruncate(fd, 0), EINVAL);
    FAILS(read(999, path, 1), EBADF);
    FAILS(openat(fd, "x", O_RDONLY), ENOTDIR);
    FAILS(openat(999, "x", O_RDONLY), EBADF);
    FAILS(pread(fd, path, 1, -1), EINVAL);
    FAILS(ioctl(fd, 0x5401, path), ENOTTY);
    FAILS(mknod("f", S_IFREG | 0600, 0), EEXIST);
    CHECK(openat(999, "/dev/null", O_RDONLY) >= 0);
}

static void data(void) {
    static char block[8192], back[8192];
    memset(block, 'a', sizeof block);
    int fd = open("f", O_RDWR | O_CREAT | O_EXCL, 0640);
    CHECK(write(fd, block, 5000) == 5000);
    CHECK(lseek(fd, 0, SEEK_CUR) == 5000);
    CHECK(pread(fd, back, 10, 4995) == 5);
    CHECK(pwrite(fd, "Z", 1, 10000) == 1 && lseek(fd, 0, SEEK_END) == 10001);
    CHECK(pread(fd, back, 100, 9000) == 100 && back[0] == 0);
    char* map = mmap(NULL, 12288, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED && map[0] == 'a' && map[10000] == 'Z');
    map[1] = 'Q';
    CHECK(pread(fd, back, 2, 0) == 2 && back[1] == 'Q');
    pwrite(fd, "WW", 2, 4);
    CHECK(map[4] == 'W');
    CHECK(ftruncate(fd, 3) == 0 && ftruncate(fd, 100) == 0);
    CHECK(pread(fd, back, 8, 0) == 8 && memcmp(back, "aQa\0\0\0\0\0", 8) == 0 && map[4] == 0);
    char* copy = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    copy[0] = '!';
    CHECK(pread(fd, back, 1, 0) == 1 && back[0] == 'a');
    munmap(map, 12288);
    struct iovec out[3] = {{"ab", 2}, {"", 0}, {"cde", 3}}, in[2] = {{back, 2}, {back + 100, 100}};
    CHECK(pwritev(fd, out, 3, 0) == 5);
    CHECK(preadv(fd, in, 2, 0) == 100 && memcmp(back, "ab", 2) == 0 && memcmp(back + 100, "cde", 3) == 0);
    // Memory devices take positions and ignore them; pipes and eventfds do not.
    const char* devices[] = {"/dev/zero", "/dev/null", "/dev/full", "/dev/urandom"};
    for (int i = 0; i < 4; ++i) {
        int device = open(devices[i], O_RDWR);
        CHECK(pread(device, back, 10, 5) == (i == 1 ? 0 : 10) && lseek(device, 7, SEEK_SET) == 0);
        CHECK(preadv(device, in, 1, 3) == (i == 1 ? 0 : 2) && posix_fadvise(device, 0, 0, POSIX_FADV_NORMAL) == 0);
        if (i < 2) CHECK(pwrite(device, "x", 1, 1ll << 40) == 1);
        CHECK(close(device) == 0);
    }
    int ends[2], event = eventfd(0, 0);
    pipe(ends);
    FAILS(pread(ends[0], back, 1, 0), ESPIPE);
    FAILS(pwrite(event, back, 8, 0), ESPIPE);
    CHECK(posix_fadvise(ends[0], 0, 0, POSIX_FADV_NORMAL) == ESPIPE);
    close(ends[0]), close(ends[1]), close(event);
    int append = open("app", O_RDWR | O_CREAT | O_APPEND, 0600);
    write(append, "one", 3);
    lseek(append, 0, SEEK_SET);
    CHECK(write(append, "two", 3) == 3 && lseek(append, 0, SEEK_CUR) == 6 && holds("app", "onetwo"));
    struct iovec more[2] = {{"th", 2}, {"ree", 3}};
    CHECK(writev(append, more, 2) == 5 && read(append, back, 1) == 0 && holds("app", "onetwothree"));
    int source = open("app", O_RDONLY), target = open("copy", O_RDWR | O_CREAT, 0600);
    CHECK(sendfile(target, source, NULL, 100) == 11 && holds("copy", "onetwothree"));
    loff_t from = 3, to = 0;
    CHECK(copy_file_range(source, &from, target, &to, 3, 0) == 3 && holds("copy", "twotwothree") && from == 6);
    CHECK(fallocate(target, 0, 0, 50000) == 0 && status_of("copy").st_size == 50000);
    CHECK(fallocate(target, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 3) == 0);
    CHECK(pread(target, back, 4, 0) == 4 && memcmp(back, "\0\0\0t", 4) == 0);
    unlink("copy");
    CHECK(pread(target, back, 1, 3) == 1 && back[0] == 't');
    static char big[3 << 20];
    for (unsigned at = 0; at < sizeof big; ++at) big[at] = (char)(at * 7 >> 3);
    int large = open("large", O_RDWR | O_CREAT, 0600);
    CHECK(write(large, big, sizeof big) == sizeof big);
    char* view = mmap(NULL, sizeof big, PROT_READ, MAP_SHARED, large, 0);
    CHECK(view != MAP_FAILED && memcmp(view, big, sizeof big) == 0);
    pid_t child = fork();
    if (child == 0) {
        pwrite(large, "child", 5, 1 << 20);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    CHECK(memcmp(view + (1 << 20), "child", 5) == 0);
}

static void names(void) {
    put("f", "text");
    mkdir("d", 0755);
    CHECK(link("f", "d/f2") == 0 && status_of("f").st_nlink == 2);
    CHECK(symlink("../f", "d/l") == 0 && holds("d/l", "text") && status_of("d/l").st_size == 4);
    char text[64];
    CHECK(readlink("d/l", text, 3) == 3 && memcmp(text, "../", 3) == 0);
    CHECK(rename("f", "g") == 0 && holds("g", "text") && access("f", F_OK) == -1);
    symlink("made", "dangling");
    put("dangling", "through");
    CHECK(holds("made", "through"));
    put("x1", "1");
    put("x2", "2");
    CHECK(syscall(SYS_renameat2, AT_FDCWD, "x1", AT_FDCWD, "x2", 2) == 0 && holds("x1", "2") && holds("x2", "1"));
    FAILS(syscall(SYS_renameat2, AT_FDCWD, "x1", AT_FDCWD, "x2", 1), EEXIST);
    FAILS(syscall(SYS_renameat2, AT_FDCWD, "x1", AT_FDCWD, "none", 2), ENOENT);
    CHECK(rename("x1", "x2") == 0 && holds("x2", "2"));
    mkdir("from", 0755);
    mkdir("to", 0755);
    mkdir("from/sub", 0755);
    CHECK(status_of("from").st_nlink == 3 && rename("from/sub", "to/sub") == 0);
    CHECK(status_of("from").st_nlink == 2 && status_of("to").st_nlink == 3);
    CHECK(rename("from", "to/sub") == 0);
    int dir = open("d", O_RDONLY | O_DIRECTORY);
    CHECK(faccessat(dir, "f2", R_OK, 0) == 0 && unlinkat(dir, "f2", 0) == 0 && access("d/f2", F_OK) == -1);
    int unnamed = open(".", O_TMPFILE | O_RDWR, 0600);
    if (unnamed >= 0) {
        write(unnamed, "tmp", 3);
        sprintf(text, "/proc/self/fd/%d", unnamed);
        CHECK(linkat(AT_FDCWD, text, AT_FDCWD, "named", AT_SYMLINK_FOLLOW) == 0 && holds("named", "tmp"));
    }
    CHECK(mkfifo("fifo", 0600) == 0);
    FAILS(open("fifo", O_WRONLY | O_NONBLOCK), ENXIO);
    CHECK(mkdir("slash/", 0700) == 0 && rmdir("slash/") == 0);
    umask(077);
    close(open("masked", O_CREAT | O_WRONLY, 0666));
    CHECK((status_of("masked").st_mode & 07777) == 0600);
    umask(022);
}

static void times(void) {
    put("f", "x");
    struct timespec set[2] = {{1000000000, 5}, {1000000000, 7}};
    CHECK(utimensat(AT_FDCWD, "f", set, 0) == 0);
    struct stat status = status_of("f");
    CHECK(status.st_atim.tv_sec == 1000000000 && status.st_atim.tv_nsec == 5 && status.st_mtim.tv_nsec == 7);
    set[0].tv_nsec = UTIME_OMIT;
    set[1].tv_nsec = UTIME_NOW;
    CHECK(utimensat(AT_FDCWD, "f", set, 0) == 0);
    status = status_of("f");
    CHECK(status.st_atim.tv_nsec == 5 && status.st_mtim.tv_sec > 1000000000);
    set[0].tv_nsec = 1000000000;
    FAILS(utimensat(AT_FDCWD, "f", set, 0), EINVAL);
    CHECK(chmod("f", 04751) == 0 && (status_of("f").st_mode & 07777) == 04751);
    symlink("f", "l");
    struct timespec link_times[2] = {{1, 0}, {2, 0}};
    CHECK(utimensat(AT_FDCWD, "l", link_times, AT_SYMLINK_NOFOLLOW) == 0 && status_of("l").st_mtime == 2);
    CHECK(status_of("f").st_mtime > 1000000000);
    CHECK(chown("f", -1, -1) == 0);
    struct statx extended;
    CHECK(statx(AT_FDCWD, "f", 0, STATX_BASIC_STATS, &extended) == 0 && extended.stx_size == 1);
    mkdir("locked", 0);
    if (geteuid() != 0) FAILS(open("locked/x", O_CREAT | O_WRONLY, 0600), EACCES);
    CHECK(access("f", X_OK) == 0);
    struct statfs space;
    CHECK(statfs(".", &space) == 0 && space.f_bsize == 4096);
}

static void directories(void) {
    enum { kMany = 2000 };
    char name[64];
    mkdir("many", 0755);
    for (int index = 0; index < kMany; ++index) {
        sprintf(name, "many/n%05d", index);
        close(open(name, O_CREAT | O_WRONLY, 0644));
    }
    DIR* directory = opendir("many");
    int seen = 0, dots = 0;
    for (struct dirent* entry; (entry = readdir(directory)) != NULL;) {
        if (entry->d_name[0] == '.') {
            ++dots;
            continue;
        }
        ++seen;
        sprintf(name, "many/%s", entry->d_name);
        unlink(name);  // while it is listed
    }
    CHECK(seen == kMany && dots == 2);
    rewinddir(directory);
    seen = 0;
    while (readdir(directory) != NULL) ++seen;
    CHECK(seen == 2);
    closedir(directory);
    CHECK(rmdir("many") == 0);
    mkdir("gone", 0755);
    char before[4096], path[4096];
    getcwd(before, sizeof before);
    CHECK(chdir("gone") == 0 && rmdir("../gone") == 0);
    CHECK(getcwd(path, sizeof path) == NULL && errno == ENOENT);
    FAILS(open("x", O_CREAT | O_WRONLY, 0600), ENOENT);
    CHECK(chdir(before) == 0);
    errno = 0;
    CHECK(syscall(SYS_getcwd, path, 2) == -1 && errno == ERANGE);
    mkdir("a", 0755);
    mkdir("a/b", 0755);
    int up = open("a/b", O_RDONLY);
    CHECK(fchdir(up) == 0 && chdir("..") == 0 && access("b", F_OK) == 0 && chdir("..") == 0);
    char small[16];
    FAILS(syscall(SYS_getdents64, up, small, sizeof small), EINVAL);
}

static void descriptors(void) {
    put("f", "0123456789");
    int fd = open("f", O_RDWR | O_CLOEXEC);
    CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR);
    int second = dup(fd);
    char byte;
    read(fd, &byte, 1);
    CHECK(read(second, &byte, 1) == 1 && byte == '1' && fcntl(second, F_GETFD) == 0);
    CHECK(dup2(fd, 100) == 100 && dup2(100, 100) == 100 && fcntl(fd, F_DUPFD_CLOEXEC, 200) == 200);
    FAILS(dup3(fd, fd, 0), EINVAL);
    FAILS(dup2(999, 5), EBADF);
    close(fd);
    FAILS(read(fd, &byte, 1), EBADF);
    CHECK(dup(second) == fd);
    CHECK(syscall(SYS_close_range, 100, 300, 0) == 0 && fcntl(200, F_GETFD) == -1);
    int only = open("f", O_PATH);
    FAILS(read(only, &byte, 1), EBADF);
    FAILS(fchmod(only, 0600), EBADF);
    struct stat status;
    CHECK(fstat(only, &status) == 0 && status.st_size == 10);
    char name[64];
    sprintf(name, "/proc/self/fd/%d", only);
    int again = open(name, O_RDONLY);
    CHECK(again >= 0 && read(again, &byte, 1) == 1 && byte == '0');
    // Directories to walk from: of the host, of memory.
    for (int index = 0; index < 2; ++index) {
        int directory = open(index == 0 ? "/usr" : "/tmp", O_PATH | O_DIRECTORY);
        CHECK(fstatat(directory, index == 0 ? "lib" : ".", &status, AT_SYMLINK_NOFOLLOW) == 0);
        FAILS(syscall(SYS_getdents64, directory, name, sizeof name), EBADF);
        close(directory);
    }
    pid_t child = fork();
    if (child == 0) _exit(lseek(second, 5, SEEK_SET) == 5 ? 0 : 1);
    waitpid(child, NULL, 0);
    CHECK(lseek(second, 0, SEEK_CUR) == 5);  // the offset is the description's
    int available = 0;
    CHECK(ioctl(second, FIONREAD, &available) == 0 && available == 5);
    for (int index = 0; index < 700; ++index) fcntl(second, F_DUPFD, 0);
    CHECK(fcntl(700, F_GETFD) == 0);
    syscall(SYS_close_range, 100, ~0u, 0);
}

/// Ranges at the ends of what offsets can say.
static void lock_ranges(int fd) {
    const off_t most = 0x7fffffffffffffff;
    static const struct {
        off_t start, length;
        int error;
    } kRanges[] = {{most, 1, 0},    {most, 2, EOVERFLOW}, {most - 1, 2, 0},
                   {0, most, 0},    {1, most, 0},         {2, most, EOVERFLOW},
                   {-1, 1, EINVAL}, {-1, -1, EINVAL},     {0, -1, EINVAL},
                   {5, -5, 0},      {5, -6, EINVAL},      {-most, -most, EINVAL},
                   {most, 0, 0},    {most, -most, 0},     {-most - 1, -most - 1, EINVAL}};
    for (unsigned i = 0; i < sizeof kRanges / sizeof kRanges[0]; ++i) {
        struct flock lock = {
            .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = kRanges[i].start, .l_len = kRanges[i].length};
        errno = 0;
        int result = fcntl(fd, F_SETLK, &lock);
        int same = kRanges[i].error == 0 ? result == 0 : result == -1 && errno == kRanges[i].error;
        if (!same) printf("range %u: %d, errno %d\n", i, result, errno);
        CHECK(same);
        lock.l_type = F_UNLCK;
        fcntl(fd, F_SETLK, &lock);
    }
}

static void locks(void) {
    put("f", "0123456789");
    int fd = open("f", O_RDWR);
    lock_ranges(fd);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
    CHECK(fcntl(fd, F_SETLK, &lock) == 0);
    pid_t child = fork();
    if (child == 0) {
        struct flock other = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = 1};
        int held = fcntl(fd, F_SETLK, &other) == -1 && (errno == EAGAIN || errno == EACCES);
        struct flock test = other;
        fcntl(fd, F_GETLK, &test);
        other.l_start = 10;
        int free_after = fcntl(fd, F_SETLK, &other) == 0;
        other.l_start = 5;
        alarm(20);
        int got = fcntl(fd, F_SETLKW, &other) == 0;
        _exit(held && test.l_pid == getppid() && free_after && got ? 0 : 1);
    }
    usleep(100000);
    lock.l_type = F_UNLCK;
    fcntl(fd, F_SETLK, &lock);
    int status;
    waitpid(child, &status, 0);
    CHECK(status == 0);
    lock.l_type = F_WRLCK;
    CHECK(fcntl(fd, F_SETLK, &lock) == 0);
    close(open("f", O_RDONLY));  // POSIX: any close of the file releases
    child = fork();
    if (child == 0) _exit(fcntl(fd, F_SETLK, &lock) == 0 ? 0 : 1);
    waitpid(child, &status, 0);
    CHECK(status == 0);
    int one = open("f", O_RDWR), two = open("f", O_RDWR);
    CHECK(flock(one, LOCK_SH) == 0 && flock(two, LOCK_SH) == 0);
    FAILS(flock(two, LOCK_EX | LOCK_NB), EWOULDBLOCK);
    close(one);
    CHECK(flock(two, LOCK_EX | LOCK_NB) == 0);
    int three = open("f", O_RDWR);
    struct flock description = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    CHECK(fcntl(two, F_OFD_SETLK, &description) == 0);
    FAILS(fcntl(three, F_OFD_SETLK, &description), EAGAIN);
}

static sig_atomic_t bus;
static void on_bus(int number) {
    bus = number;
    static const char kDone[] = "";
    _exit(number == SIGBUS ? 0 : 1);
}

static void memory(void) {
    int fd = memfd_create("m", MFD_ALLOW_SEALING);
    CHECK(ftruncate(fd, 4096) == 0 && fcntl(fd, F_GET_SEALS) == 0);
    CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0);
    FAILS(ftruncate(fd, 0), EPERM);
    FAILS(ftruncate(fd, 8192), EPERM);
    int plain = memfd_create("p", 0);
    FAILS(fcntl(plain, F_ADD_SEALS, F_SEAL_WRITE), EPERM);
    ftruncate(plain, 100);
    char* map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, plain, 0);
    CHECK(map != MAP_FAILED);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGBUS, on_bus);
        signal(SIGSEGV, on_bus);
        _exit(map[4096] + 2);
    }
    int status;
    waitpid(child, &status, 0);
    CHECK(status == 0);
    CHECK(ftruncate(plain, 8192) == 0);
    map[4096] = 'x';  // the file has grown under the mapping
    char byte = 0;
    CHECK(pread(plain, &byte, 1, 4096) == 1 && byte == 'x');
    put("shared", "s");
    int readonly = open("shared", O_RDONLY);
    CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, readonly, 0) == MAP_FAILED && errno == EACCES);
    char name[64];
    sprintf(name, "/dev/shm/postern-fs-test-%d", (int)getpid());
    int shm = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    CHECK(shm >= 0 && unlink(name) == 0);
}

static void paths(void) {
    char before[4096], path[4096];
    getcwd(before, sizeof before);
    put("f", "here");
    symlink("/usr/bin", "out");
    struct stat inside, outside;
    CHECK(stat("out/env", &outside) == 0 && stat("/usr/bin/env", &inside) == 0 && inside.st_ino == outside.st_ino);
    sprintf(path, "/usr/../usr/lib/..%s/f", before);
    FAILS(open("/usr/../usr/none/../bin/env", O_RDONLY), ENOENT);
    sprintf(path, "/usr/..%s/f", before);
    CHECK(holds(path, "here"));
    sprintf(path, "/usr/bin/../..%s/./f", before);
    CHECK(holds(path, "here"));
    sprintf(path, "/proc/self/cwd/f");
    CHECK(holds(path, "here"));
    CHECK(chdir("/usr/bin") == 0 && access("env", X_OK) == 0 && access("../bin/env", F_OK) == 0);
    getcwd(path, sizeof path);
    CHECK(strcmp(path, "/usr/bin") == 0);
    int usr = open("/usr", O_RDONLY | O_DIRECTORY);
    CHECK(faccessat(usr, "bin/env", F_OK, 0) == 0 && fstatat(usr, "", &inside, AT_EMPTY_PATH) == 0);
    sprintf(path, "../../../../..%s/f", before);
    CHECK(holds(path, "here"));
    if (chdir(before) != 0) exit(2);  // names made from here on belong into the test's own directory
    char target[4096];
    sprintf(target, "%s/f", before);
    symlink(target, "abs");
    CHECK(holds("abs", "here"));
    CHECK(realpath("abs", path) != NULL && strcmp(path, target) == 0);
    FAILS(open("/usr/bin/env/x", O_RDONLY), ENOTDIR);
    FAILS(open("/usr/bin/postern-none", O_RDONLY), ENOENT);
    FAILS(open("/usr/bin/postern-none", O_RDONLY), ENOENT);
}

static void host(void) {
    static char one[4096], other[4096];
    int fd = open("/usr/bin/env", O_RDONLY), again = open("/usr/bin/env", O_RDONLY);
    struct stat status;
    CHECK(fstat(fd, &status) == 0 && S_ISREG(status.st_mode));
    char* map = mmap(NULL, status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK(map != MAP_FAILED);
    int same = 1;
    off_t total = 0;
    for (ssize_t size; (size = read(again, one, 1000)) > 0; total += size)
        same = same && memcmp(one, map + total, size) == 0;
    CHECK(same && total == status.st_size);
    CHECK(pread(again, one, 4096, status.st_size - 10) == 10 && pread(again, one, 10, status.st_size) == 0);
    CHECK(lseek(again, 0, SEEK_END) == status.st_size && lseek(again, -1, SEEK_CUR) == status.st_size - 1);
    pid_t child = fork();
    if (child == 0) {
        int fine = pread(again, one, 100, 0) == 100 && memcmp(one, map, 100) == 0;
        close(again);
        _exit(fine ? 0 : 1);
    }
    int code;
    waitpid(child, &code, 0);
    CHECK(code == 0 && pread(again, one, 100, 0) == 100 && memcmp(one, map, 100) == 0);
    FAILS(pread(again, (void*)8, 4096, 0), EFAULT);
    int found = 0;
    DIR* directory = opendir("/usr/bin");
    for (struct dirent* entry; (entry = readdir(directory)) != NULL;) found += strcmp(entry->d_name, "env") == 0;
    CHECK(found == 1);
    closedir(directory);
    found = 0;
    directory = opendir("/");
    for (struct dirent* entry; (entry = readdir(directory)) != NULL;)
        found += strcmp(entry->d_name, "usr") == 0 || strcmp(entry->d_name, "tmp") == 0 ||
                 strcmp(entry->d_name, "proc") == 0;
    CHECK(found == 3);
    closedir(directory);
    for (int index = 0; index < 300; ++index) {
        int fresh = open("/usr/bin/env", O_RDONLY);
        for (int turn = 0; turn < 6; ++turn)
            same = same && pread(fresh, other, 64, turn) == 64 && other[0] == map[turn];
        close(fresh);
    }
    CHECK(same);
}

static const struct {
    const char* name;
    void (*run)(void);
} kParts[] = {
    {"errors", errors},           {"data", data},   {"names", names},   {"times", times}, {"directories", directories},
    {"descriptors", descriptors}, {"locks", locks}, {"memory", memory}, {"paths", paths}, {"host", host}};

static void clear(const char* place) {
    char command[300];
    sprintf(command, "chmod -R u+rwx '%s'; rm -rf '%s'", place, place);
    if (system(command) != 0) ++failures;
}

/// Natively the program gives up root before it touches anything: a mistake in here must not reach the system.
static int give_up_root(void) {
    struct utsname system;
    uname(&system);
    if (geteuid() != 0 || strstr(system.release, "postern") != NULL) return 0;
    return setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0 || setuid(0) == 0;
}

int main(int count, char** arguments) {
    if (give_up_root()) return 2;
    for (unsigned index = 0; index < sizeof kParts / sizeof kParts[0]; ++index) {
        if (count > 1 && strcmp(arguments[1], kParts[index].name) != 0) continue;
        char place[] = "/tmp/fs-guest-XXXXXX";
        if (mkdtemp(place) == NULL || chdir(place) != 0) {
            perror("/tmp");
            return 2;
        }
        kParts[index].run();
        chdir("/");
        clear(place);
    }
    return failures != 0;
}
