// SPDX-License-Identifier: Apache-2.0
#include "host/linux/monitor/relay.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

namespace postern::host {

namespace {

bool write_all(int fd, const char* data, usize size) {
    while (size > 0) {
        ssize_t written = write(fd, data, size);
        if (written < 0) {
            if (errno == EINTR) continue;
            if (errno != EAGAIN) return false;
            pollfd event{fd, POLLOUT, 0};
            poll(&event, 1, -1);
            continue;
        }
        data += written;
        size -= static_cast<usize>(written);
    }
    return true;
}

/// Text whose lines a terminal in raw mode shows one below the other.
usize add_returns(const char* from, usize size, char* to) {
    usize done = 0;
    for (usize i = 0; i < size; ++i) {
        if (from[i] == '\n') to[done++] = '\r';
        to[done++] = from[i];
    }
    return done;
}

[[noreturn]] void copy(int from, int to, bool cooked) {
    prctl(PR_SET_NAME, "postern-relay", 0, 0, 0);
    static char buffer[64 << 10], doubled[128 << 10];
    for (;;) {
        ssize_t size = read(from, buffer, sizeof buffer);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0 && errno == EAGAIN) {
            pollfd event{from, POLLIN, 0};
            poll(&event, 1, -1);
            continue;
        }
        if (size <= 0) _exit(0);
        usize count = static_cast<usize>(size);
        if (cooked) count = add_returns(buffer, count, doubled);
        if (!write_all(to, cooked ? doubled : buffer, count)) _exit(0);
    }
}

char kind_of(const struct stat& status, int descriptor) {
    if (S_ISREG(status.st_mode)) return 'f';
    if (S_ISFIFO(status.st_mode)) return 'p';
    if (S_ISSOCK(status.st_mode)) return 's';
    if (S_ISCHR(status.st_mode)) {
        if (status.st_rdev == makedev(1, 3)) return 'n';
        return isatty(descriptor) ? 't' : 'c';
    }
    return 'c';
}

bool relayed(char kind) { return kind == 't' || kind == 's' || kind == 'c'; }

}  // namespace

Streams::~Streams() {
    for (const Relay& relay : relays_) {
        kill(relay.process, SIGKILL);
        waitpid(relay.process, nullptr, 0);
    }
}

Result<int, LaunchError> Streams::null_device(int flags) {
    Fd fd{open("/dev/null", flags | O_CLOEXEC)};
    if (!fd.valid()) return Failure{launch_error(125, "cannot open /dev/null: %s", strerror(errno))};
    int number = fd.get();
    owned_.push_back(std::move(fd));
    return number;
}

Result<int, LaunchError> Streams::relay(int descriptor, bool input, bool cooked) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return Failure{launch_error(125, "cannot make a pipe: %s", strerror(errno))};
    int mine = input ? ends[1] : ends[0], theirs = input ? ends[0] : ends[1];
    int monitor = getpid();
    int process = fork();
    if (process < 0) {
        close(ends[0]), close(ends[1]);
        return Failure{launch_error(125, "cannot start a process: %s", strerror(errno))};
    }
    if (process == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        if (getppid() != monitor) _exit(1);
        // Ctrl-C is for the program: this process stays until it has copied all. Stop signals keep their meaning.
        sigset_t blocked;
        sigfillset(&blocked);
        for (int signal : {SIGTSTP, SIGTTIN, SIGTTOU}) sigdelset(&blocked, signal);
        sigprocmask(SIG_SETMASK, &blocked, nullptr);
        // No copy of the program's end may stay here, or its end would never be seen.
        int high = fcntl(descriptor, F_DUPFD, 100), own = fcntl(mine, F_DUPFD, 100);
        for (int fd = 0; fd < 512; ++fd) {
            if (fd != high && fd != own) close(fd);
        }
        input ? copy(high, own, false) : copy(own, high, cooked);
    }
    close(mine);
    owned_.emplace_back(theirs);
    relays_.push_back({process, input});
    return theirs;
}

Result<void, LaunchError> Streams::prepare_terminal(const LaunchOptions& options, int keyboard) {
    kinds_ = "ttt";
    sources_[0] = keyboard;
    sources_[1] = sources_[2] = TRY(relay(1, false));
    // The library OS never waits in a write: it has signals to look after.
    fcntl(sources_[1], F_SETFL, fcntl(sources_[1], F_GETFL) | O_NONBLOCK);
    sources_[3] = TRY(relay(2, false, isatty(2) == 1));
    return prepare_trace(options);
}

Result<void, LaunchError> Streams::prepare(const LaunchOptions& options, int keyboard) {
    if (keyboard >= 0) return prepare_terminal(options, keyboard);
    struct stat status[3] = {};
    kinds_.assign(3, 'n');
    for (int i = 0; i < 3; ++i) {
        bool open = fstat(i, &status[i]) == 0;
        kinds_[static_cast<usize>(i)] = open ? kind_of(status[i], i) : 'n';
    }
    auto same = [&](int a, int b) {
        return status[a].st_dev == status[b].st_dev && status[a].st_ino == status[b].st_ino;
    };
    // Two outputs to one place share one pipe: what is written in turns comes out in turns.
    int outputs[3] = {-1, -1, -1};
    for (int i = 0; i < 3; ++i) {
        char& kind = kinds_[static_cast<usize>(i)];
        if (i == 0 && kind == 't' && !options.keep_stdin) kind = 'n';
        if (kind == 'n') {
            sources_[i] = TRY(null_device(i == 0 ? O_RDONLY : O_WRONLY));
        } else if (!relayed(kind)) {
            sources_[i] = i;
        } else if (i == 2 && relayed(kinds_[1]) && same(1, 2)) {
            sources_[i] = outputs[1];
        } else {
            sources_[i] = TRY(relay(i, i == 0));
            outputs[i] = sources_[i];
        }
    }
    sources_[3] = sources_[2];
    return prepare_trace(options);
}

Result<void, LaunchError> Streams::prepare_trace(const LaunchOptions& options) {
    if (!options.trace_path.empty()) {
        Fd fd{open(options.trace_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOCTTY, 0644)};
        if (!fd.valid()) {
            return Failure{launch_error(125, "--trace=%s: %s; name a file that can be written",
                                        options.trace_path.c_str(), strerror(errno))};
        }
        sources_[3] = fd.get();
        owned_.push_back(std::move(fd));
    } else if (options.trace_descriptor >= 0) {
        struct stat target;
        if (fstat(options.trace_descriptor, &target) != 0) {
            return Failure{
                launch_error(125, "descriptor %d for the trace: %s", options.trace_descriptor, strerror(errno))};
        }
        char kind = kind_of(target, options.trace_descriptor);
        sources_[3] = options.trace_descriptor;
        if (relayed(kind)) sources_[3] = TRY(relay(options.trace_descriptor, false));
    }
    return {};
}

void Streams::close_sources() { owned_.clear(); }

void Streams::end_input() {
    for (const Relay& relay : relays_) {
        if (relay.input) kill(relay.process, SIGKILL);
    }
}

void Streams::abandon() {
    for (const Relay& relay : relays_) kill(relay.process, SIGKILL);
}

bool Streams::owns(int process) const {
    for (const Relay& relay : relays_) {
        if (relay.process == process) return true;
    }
    return false;
}

void Streams::ended(int process) {
    std::erase_if(relays_, [&](const Relay& relay) { return relay.process == process; });
}

}  // namespace postern::host
