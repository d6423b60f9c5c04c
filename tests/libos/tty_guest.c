// SPDX-License-Identifier: Apache-2.0
// Terminals from a program's side: pseudo-terminals, sessions, job control. Each part checks itself; the same checks
// hold natively.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <termios.h>
#include <unistd.h>

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

static int failures;
#define CHECK(condition)                                                             \
    do {                                                                             \
        if (!(condition)) {                                                          \
            printf("%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno); \
            ++failures;                                                              \
        }                                                                            \
    } while (0)
#define FAILS(call, code) CHECK((errno = 0, (call) == -1) && errno == (code))

static int master, slave;
static char name[64];

static void fresh(void) {
    master = posix_openpt(O_RDWR | O_NOCTTY);
    grantpt(master);
    unlockpt(master);
    strcpy(name, ptsname(master));
    slave = open(name, O_RDWR | O_NOCTTY);
}
static void raw(int fd, int least, int time) {
    struct termios settings;
    tcgetattr(fd, &settings);
    cfmakeraw(&settings);
    settings.c_cc[VMIN] = least;
    settings.c_cc[VTIME] = time;
    tcsetattr(fd, TCSANOW, &settings);
}
static void nonblocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }
static int events(int fd, int wanted) {
    struct pollfd item = {fd, wanted, 0};
    poll(&item, 1, 200);
    return item.revents;
}
/// Reads until `size` bytes have come.
static int read_all(int fd, char* buffer, int size) {
    int done = 0;
    while (done < size) {
        int got = read(fd, buffer + done, size - done);
        if (got <= 0) break;
        done += got;
    }
    buffer[done] = 0;
    return done;
}
static int ended(pid_t child) {
    int status = -1;
    waitpid(child, &status, 0);
    return status;
}

static void names(void) {
    master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
    int number = -1, locked = 0;
    CHECK(ioctl(master, TIOCGPTN, &number) == 0 && number >= 0);
    CHECK(ioctl(master, TIOCGPTLCK, &locked) == 0 && locked == 1);
    sprintf(name, "/dev/pts/%d", number);
    FAILS(open(name, O_RDWR | O_NOCTTY), EIO);
    FAILS(ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY), EIO);
    unlockpt(master);
    slave = open(name, O_RDWR | O_NOCTTY);
    CHECK(slave >= 0);
    int peer = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    CHECK(peer >= 0 && fcntl(peer, F_GETFD) == FD_CLOEXEC);
    struct stat by_name, by_peer, status;
    CHECK(stat(name, &by_name) == 0 && fstat(peer, &by_peer) == 0);
    CHECK(by_name.st_rdev == by_peer.st_rdev && by_name.st_ino == by_peer.st_ino && S_ISCHR(by_peer.st_mode));
    CHECK(fstat(master, &status) == 0 && status.st_rdev == 0x502);
    char value[16];
    CHECK(lgetxattr(name, "security.selinux", value, sizeof value) == -1);
    CHECK(strcmp(ttyname(slave), name) == 0 && isatty(master) && isatty(peer));
    CHECK(chmod(name, 0600) == 0 && stat(name, &status) == 0 && (status.st_mode & 07777) == 0600);
    FAILS(ioctl(slave, TIOCGPTN, &number), ENOTTY);
    FAILS(lseek(slave, 0, SEEK_SET), ESPIPE);
    CHECK(ioctl(slave, TIOCEXCL) == 0);
    int exclusive = 0;
    CHECK(ioctl(slave, TIOCGEXCL, &exclusive) == 0 && exclusive == 1);
    CHECK(ioctl(slave, TIOCNXCL) == 0);
    close(master);
    FAILS(open(name, O_RDWR | O_NOCTTY), ENOENT);
}

static void lines(void) {
    char buffer[8192];
    fresh();
    CHECK(write(master, "one\ntwo\nthr", 11) == 11);
    CHECK(read(slave, buffer, 100) == 4 && memcmp(buffer, "one\n", 4) == 0);
    int waiting = -1;
    CHECK(ioctl(slave, FIONREAD, &waiting) == 0 && waiting == 4);
    CHECK(read(slave, buffer, 2) == 2 && read(slave, buffer + 2, 100) == 2 && memcmp(buffer, "two\n", 4) == 0);
    nonblocking(slave);
    FAILS(read(slave, buffer, 100), EAGAIN);
    CHECK(write(master, "ee\4", 3) == 3 && events(slave, POLLIN) == POLLIN);
    CHECK(read(slave, buffer, 100) == 5 && memcmp(buffer, "three", 5) == 0);
    CHECK(write(master, "\4", 1) == 1 && events(slave, POLLIN) == POLLIN && read(slave, buffer, 100) == 0);
    CHECK(write(master, "abcd\4", 5) == 5 && events(slave, POLLIN) == POLLIN);
    CHECK(read(slave, buffer, 4) == 4);
    FAILS(read(slave, buffer, 100), EAGAIN);  // VEOF behind a read that took all of it is used up
    CHECK(read_all(master, buffer, 19) == 19 && strcmp(buffer, "one\r\ntwo\r\nthreeabcd") == 0);
    tcflush(slave, TCIOFLUSH);
    CHECK(write(master, "gone", 4) == 4);
    CHECK(tcflush(slave, TCIFLUSH) == 0 && write(master, "\n", 1) == 1);
    CHECK(events(slave, POLLIN) == POLLIN && read(slave, buffer, 100) == 1);
    // A line that is too long loses its middle, not its end.
    struct termios settings;
    tcgetattr(slave, &settings);
    settings.c_lflag &= ~ECHO;
    tcsetattr(slave, TCSAFLUSH, &settings);
    memset(buffer, 'x', 5000);
    buffer[4999] = '\n';
    CHECK(write(master, buffer, 5000) == 5000 && events(slave, POLLIN) == POLLIN);
    CHECK(read(slave, buffer, sizeof buffer) == 4096 && buffer[4094] == 'x' && buffer[4095] == '\n');
}

static void raw_reads(void) {
    char buffer[64];
    fresh();
    raw(slave, 3, 0);
    CHECK(write(master, "ab", 2) == 2);
    CHECK(events(slave, POLLIN) == 0);  // VMIN decides what is ready
    CHECK(write(master, "c", 1) == 1 && events(slave, POLLIN) == POLLIN);
    CHECK(read(slave, buffer, 64) == 3);
    raw(slave, 0, 1);
    CHECK(read(slave, buffer, 64) == 0);  // a tenth of a second
    raw(slave, 5, 1);
    CHECK(write(master, "xy", 2) == 2);
    CHECK(read(slave, buffer, 64) == 2);  // nothing came after these
    raw(slave, 0, 0);
    CHECK(read(slave, buffer, 64) == 0);
    raw(slave, 4, 0);
    nonblocking(slave);
    FAILS(read(slave, buffer, 64), EAGAIN);
    CHECK(write(master, "pq", 2) == 2 && read(slave, buffer, 64) == 2);
    int set = epoll_create1(0);
    struct epoll_event event = {EPOLLIN | EPOLLET, {.u32 = 1}};
    epoll_ctl(set, EPOLL_CTL_ADD, master, &event);
    CHECK(epoll_wait(set, &event, 1, 0) == 0);
    CHECK(write(slave, "out", 3) == 3 && epoll_wait(set, &event, 1, 1000) == 1 && (event.events & EPOLLIN) != 0);
    CHECK(epoll_wait(set, &event, 1, 0) == 0);
}

static void closing(void) {
    char buffer[64];
    fresh();
    CHECK(write(slave, "last", 4) == 4);
    close(slave);
    CHECK(events(master, POLLIN) == (POLLIN | POLLHUP));
    CHECK(read(master, buffer, 64) == 4);
    FAILS(read(master, buffer, 64), EIO);
    slave = open(name, O_RDWR | O_NOCTTY);  // alive again
    CHECK(slave >= 0 && events(master, POLLIN) == 0);
    CHECK(write(master, "more\n", 5) == 5 && read(slave, buffer, 64) == 5);
    close(master);
    CHECK(events(slave, POLLIN | POLLOUT) == (POLLIN | POLLOUT | POLLERR | POLLHUP));
    CHECK(read(slave, buffer, 64) == 0);
    FAILS(write(slave, "x", 1), EIO);
    struct termios settings;
    FAILS(tcgetattr(slave, &settings), EIO);
    FAILS(tcsetpgrp(slave, getpgrp()), ENOTTY);
}

static void packets(void) {
    char buffer[64];
    fresh();
    int on = 1;
    CHECK(ioctl(master, TIOCPKT, &on) == 0);
    CHECK(write(slave, "data", 4) == 4);
    CHECK(read(master, buffer, 64) == 5 && memcmp(buffer, "\0data", 5) == 0);
    CHECK(tcflush(slave, TCIFLUSH) == 0 && (events(master, POLLPRI | POLLIN) & POLLPRI) != 0);
    CHECK(read(master, buffer, 64) == 1 && buffer[0] == TIOCPKT_FLUSHREAD);
    CHECK(tcflow(slave, TCOOFF) == 0 && read(master, buffer, 64) == 1 && buffer[0] == TIOCPKT_STOP);
    CHECK(tcflow(slave, TCOON) == 0 && read(master, buffer, 64) == 1 && buffer[0] == TIOCPKT_START);
    struct termios settings;
    tcgetattr(slave, &settings);
    settings.c_iflag &= ~IXON;
    tcsetattr(slave, TCSANOW, &settings);
    CHECK(read(master, buffer, 64) == 1 && buffer[0] == TIOCPKT_NOSTOP);
    settings.c_iflag |= IXON;
    tcsetattr(slave, TCSANOW, &settings);
    CHECK(read(master, buffer, 64) == 1 && buffer[0] == TIOCPKT_DOSTOP);
    nonblocking(master);
    FAILS(read(master, buffer, 64), EAGAIN);
}

static volatile int caught;
static void count(int signal) { caught = signal; }
static void handle(int signal, int flags) {
    struct sigaction action = {.sa_handler = count, .sa_flags = flags};
    sigaction(signal, &action, 0);
}

static void sessions(void) {
    fresh();
    FAILS(tcgetpgrp(slave), ENOTTY);
    FAILS(tcgetsid(slave), ENOTTY);
    pid_t child = fork();
    if (child == 0) {
        failures = 0;
        FAILS(open("/dev/tty", O_RDWR), ENXIO);
        FAILS(ioctl(slave, TIOCNOTTY), ENOTTY);
        setsid();
        CHECK(ioctl(slave, TIOCSCTTY, 0) == 0 && ioctl(slave, TIOCSCTTY, 0) == 0);
        CHECK(tcgetpgrp(slave) == getpid() && tcgetsid(slave) == getpid());
        pid_t group = 0;
        CHECK(ioctl(master, TIOCGPGRP, &group) == 0 && group == getpid());
        int terminal = open("/dev/tty", O_RDWR);
        struct stat status;
        CHECK(terminal >= 0 && fstat(terminal, &status) == 0 && status.st_rdev == 0x500);
        CHECK(strcmp(ttyname(terminal), "/dev/tty") == 0);
        char line[512];
        int parent, pgid, sid, number, front;
        FILE* file = fopen("/proc/self/stat", "r");
        fgets(line, sizeof line, file);
        CHECK(sscanf(strrchr(line, ')') + 4, "%d %d %d %d %d", &parent, &pgid, &sid, &number, &front) == 5);
        CHECK(number >> 8 == 136 && front == getpid());
        FAILS(tcsetpgrp(slave, 1 << 21), ESRCH);
        FAILS(tcsetpgrp(slave, getppid() == 1 ? getpgid(0) + 77777 : getpgid(getppid())), EPERM);
        pid_t other = fork();
        if (other == 0) {  // of the same session, but it may neither take nor have another one
            int mine = open(name, O_RDWR);
            FAILS(ioctl(mine, TIOCSCTTY, 0), EPERM);
            CHECK(ioctl(mine, TIOCNOTTY) == 0);
            FAILS(open("/dev/tty", O_RDWR), ENXIO);
            _exit(failures);
        }
        CHECK(ended(other) == 0);
        handle(SIGHUP, 0);
        handle(SIGCONT, 0);
        CHECK(ioctl(slave, TIOCNOTTY) == 0 && caught != 0);
        FAILS(open("/dev/tty", O_RDWR), ENXIO);
        int again = open(name, O_RDWR);  // a leader without terminal gets it by opening
        CHECK(again >= 0 && tcgetsid(again) == getpid());
        _exit(failures);
    }
    CHECK(ended(child) == 0);
    FAILS(tcgetsid(master), ENOTTY);  // with its session the terminal is free
}

static void keys(void) {
    char buffer[64];
    fresh();
    static const struct {
        char key;
        int signal;
    } kKeys[] = {{3, SIGINT}, {28, SIGQUIT}};
    for (unsigned i = 0; i < 2; ++i) {
        pid_t child = fork();
        if (child == 0) {
            prctl(PR_SET_DUMPABLE, 0);
            close(master);
            setsid();
            ioctl(slave, TIOCSCTTY, 0);
            write(slave, "go", 2);
            for (;;) pause();
        }
        CHECK(read_all(master, buffer, 2) == 2);
        CHECK(write(master, &kKeys[i].key, 1) == 1);
        int status = ended(child);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == kKeys[i].signal);
        CHECK(read_all(master, buffer, 2) == 2 && buffer[0] == '^');
    }
    // A window that changes tells the foreground; one that does not change tells nobody.
    pid_t child = fork();
    if (child == 0) {
        close(master);
        handle(SIGWINCH, 0);
        setsid();
        ioctl(slave, TIOCSCTTY, 0);
        write(slave, "go", 2);
        while (caught == 0) usleep(1000);
        struct winsize size;
        ioctl(slave, TIOCGWINSZ, &size);
        _exit(size.ws_row == 33 && size.ws_col == 99 ? 0 : 1);
    }
    CHECK(read_all(master, buffer, 2) == 2);
    struct winsize size = {33, 99, 0, 0};
    CHECK(ioctl(master, TIOCSWINSZ, &size) == 0);
    CHECK(ended(child) == 0);
    // The end of the keyboard ends the session's leader.
    child = fork();
    if (child == 0) {
        close(master);
        setsid();
        ioctl(slave, TIOCSCTTY, 0);
        write(slave, "go", 2);
        for (;;) pause();
    }
    CHECK(read_all(master, buffer, 2) == 2);
    close(master);
    int status = ended(child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGHUP);
}

/// A session leader on the terminal, and `part` in a child that is a background group of its own.
static int in_background(void (*part)(void), int* status) {
    fresh();
    pid_t leader = fork();
    if (leader == 0) {
        failures = 0;
        setsid();
        ioctl(slave, TIOCSCTTY, 0);
        pid_t child = fork();
        if (child == 0) {
            setpgid(0, 0);
            part();
            _exit(failures);
        }
        setpgid(child, child);
        int news = 0;
        waitpid(child, &news, WUNTRACED);
        int first = news;
        if (WIFSTOPPED(news)) {
            tcsetpgrp(slave, child);
            kill(-child, SIGCONT);
            waitpid(child, &news, WUNTRACED);
        }
        _exit(WIFSTOPPED(first) ? WSTOPSIG(first) : news == 0 ? 0 : 99);
    }
    *status = ended(leader);
    return WEXITSTATUS(*status);
}

static void read_in_background(void) {
    char buffer[8];
    write(master, "x\n", 2);
    CHECK(read(slave, buffer, 8) == 2);
}
static void write_in_background(void) {
    struct termios settings;
    CHECK(write(slave, "x", 1) == 1);  // allowed, unless TOSTOP
    signal(SIGTTOU, SIG_IGN);
    tcgetattr(slave, &settings);
    settings.c_lflag |= TOSTOP;
    CHECK(tcsetattr(slave, TCSANOW, &settings) == 0);
    signal(SIGTTOU, SIG_DFL);
    CHECK(write(slave, "y", 1) == 1);
}
static void set_in_background(void) { CHECK(tcsetpgrp(slave, getpid()) == 0); }
static void read_ignoring(void) {
    char buffer[8];
    signal(SIGTTIN, SIG_IGN);
    FAILS(read(slave, buffer, 8), EIO);
}
static void flush_blocking(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTTOU);
    sigprocmask(SIG_BLOCK, &set, 0);
    CHECK(tcflush(slave, TCIOFLUSH) == 0);
}

static void background(void) {
    int status;
    CHECK(in_background(read_in_background, &status) == SIGTTIN);
    CHECK(in_background(write_in_background, &status) == SIGTTOU);
    CHECK(in_background(set_in_background, &status) == SIGTTOU);
    CHECK(in_background(read_ignoring, &status) == 0);
    CHECK(in_background(flush_blocking, &status) == 0);
}

/// Stopped members of a group that nobody can continue any more are hung up; reading there fails at once.
static void orphans(void) {
    int report[2];
    pipe(report);
    fresh();
    pid_t leader = fork();
    if (leader == 0) {
        setsid();
        ioctl(slave, TIOCSCTTY, 0);
        pid_t parent = fork();
        if (parent == 0) {
            pid_t child = fork();
            if (child == 0) {
                setpgid(0, 0);
                handle(SIGHUP, 0);
                kill(getpid(), SIGSTOP);
                char buffer[8];
                int hung_up = caught == SIGHUP, got = read(slave, buffer, 8), error = errno;
                char answer = hung_up && got == -1 && error == EIO ? 'y' : 'n';
                write(report[1], &answer, 1);
                _exit(0);
            }
            int news;
            waitpid(child, &news, WUNTRACED);
            _exit(0);
        }
        ended(parent);
        char answer = 0;
        read(report[0], &answer, 1);
        _exit(answer == 'y' ? 0 : 1);
    }
    CHECK(ended(leader) == 0);
}

static void flow(void) {
    char buffer[64];
    fresh();
    nonblocking(slave);
    nonblocking(master);
    CHECK(write(master, "\023", 1) == 1);
    usleep(50000);
    FAILS(write(slave, "held", 4), EAGAIN);
    CHECK(events(slave, POLLOUT) == 0);
    CHECK(write(master, "\021", 1) == 1);
    CHECK(events(slave, POLLOUT) == POLLOUT && write(slave, "held", 4) == 4);
    CHECK(events(master, POLLIN) == POLLIN && read(master, buffer, 64) == 4);
    raw(slave, 1, 0);
    long sent = 0, got = 0;
    memset(buffer, 'f', sizeof buffer);
    for (long before = -1; before != sent; usleep(30000)) {  // Linux moves what is written on in its own time
        before = sent;
        for (long n; (n = write(slave, buffer, sizeof buffer)) > 0;) sent += n;
    }
    CHECK(errno == EAGAIN && sent >= 4096 && events(slave, POLLOUT) == 0);
    while (got < sent && events(master, POLLIN) == POLLIN) got += read(master, buffer, sizeof buffer);
    CHECK(got == sent && events(slave, POLLOUT) == POLLOUT);
    sent = 0;
    for (long n; (n = write(master, buffer, sizeof buffer)) > 0;) sent += n;
    CHECK(errno == EAGAIN && sent >= 4096);
    for (got = 0; events(slave, POLLIN) == POLLIN;) got += read(slave, buffer, sizeof buffer);
    CHECK(got == sent && events(master, POLLOUT) == POLLOUT);
    tcflow(slave, TCIOFF);
    CHECK(events(master, POLLIN) == POLLIN && read(master, buffer, 64) == 1 && buffer[0] == 023);
}

static void settings(void) {
    struct termios a, b;
    fresh();
    CHECK(tcgetattr(slave, &a) == 0 && tcgetattr(master, &b) == 0);
    CHECK(a.c_lflag == b.c_lflag && a.c_iflag == b.c_iflag && a.c_oflag == b.c_oflag && a.c_cflag == b.c_cflag);
    CHECK(cfgetospeed(&a) == B38400 && a.c_cc[VERASE] == 0177 && a.c_cc[VMIN] == 1);
    cfsetspeed(&a, B115200);
    a.c_cflag &= ~(CSIZE | CREAD);
    CHECK(tcsetattr(slave, TCSADRAIN, &a) == 0 && tcgetattr(slave, &b) == 0);
    CHECK(cfgetospeed(&b) == B115200 && (b.c_cflag & (CSIZE | CREAD)) == (CS8 | CREAD));
    int value = -1;
    CHECK(ioctl(slave, TIOCGETD, &value) == 0 && value == 0);
    CHECK(ioctl(slave, TIOCOUTQ, &value) == 0 && value == 0);
    CHECK(tcdrain(slave) == 0 && tcsendbreak(slave, 0) == 0);
    FAILS(tcflush(slave, 9), EINVAL);
    FAILS(tcflow(slave, 9), EINVAL);
    FAILS(ioctl(slave, TIOCMGET, &value), ENOTTY);
    struct winsize size;
    CHECK(ioctl(slave, TIOCGWINSZ, &size) == 0 && size.ws_row == 0 && size.ws_col == 0);
    FAILS(ioctl(slave, TIOCGWINSZ, (void*)8), EFAULT);
    FAILS(ioctl(slave, TCSETS, (void*)8), EFAULT);
}

int main(int count_of_arguments, char** arguments) {
    static const struct {
        const char* name;
        void (*run)(void);
    } kParts[] = {{"names", names},     {"lines", lines},       {"raw", raw_reads},    {"closing", closing},
                  {"packets", packets}, {"sessions", sessions}, {"keys", keys},        {"background", background},
                  {"orphans", orphans}, {"flow", flow},         {"settings", settings}};
    setvbuf(stdout, 0, _IONBF, 0);
    if (count_of_arguments < 2) return 2;
    alarm(40);
    for (unsigned i = 0; i < sizeof kParts / sizeof *kParts; ++i)
        if (strcmp(arguments[1], kParts[i].name) == 0) {
            kParts[i].run();
            return failures != 0;
        }
    return 2;
}
