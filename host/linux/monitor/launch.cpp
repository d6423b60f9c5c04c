// SPDX-License-Identifier: Apache-2.0
// The way into the monitor and out of it: what of the calling process is changed for the time of a launch.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include "host/linux/monitor/monitor.hpp"

namespace postern::host {

namespace {
constexpr int kForwarded[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT};
}

Result<LaunchResult, LaunchError> launch(const LaunchOptions& options) {
    // Descriptors 0 to 2 are given meaning by number: none of ours may land there.
    for (int fd = open("/dev/null", O_RDWR); fd >= 0; fd = open("/dev/null", O_RDWR)) {
        if (fd <= 2) continue;
        close(fd);
        break;
    }
    sigset_t forwarded, taken, before;
    sigemptyset(&forwarded);
    for (int signal : kForwarded) {
        struct sigaction current;
        // nohup and shells' background jobs ignore signals on purpose: these stay ignored.
        if (sigaction(signal, nullptr, &current) == 0 && current.sa_handler == SIG_IGN) continue;
        sigaddset(&forwarded, signal);
    }
    taken = forwarded;
    sigaddset(&taken, SIGCHLD);
    struct sigaction child_before, standard = {};
    standard.sa_handler = SIG_DFL;
    standard.sa_flags = SA_NOCLDSTOP;  // who is held back by --cpus is stopped and continued often
    sigaction(SIGCHLD, &standard, &child_before);
    sigprocmask(SIG_BLOCK, &taken, &before);
    mode_t mask = umask(0);  // modes come with the program's own mask applied
    auto result = [&]() -> Result<LaunchResult, LaunchError> {
        auto monitor = std::make_unique<Monitor>(options, forwarded);
        return monitor->run();
    }();
    umask(mask);
    sigaction(SIGCHLD, &child_before, nullptr);
    // Those that came for the family and arrived late are not the caller's.
    timespec none = {};
    while (sigtimedwait(&taken, nullptr, &none) > 0) {
    }
    sigprocmask(SIG_SETMASK, &before, nullptr);
    return result;
}

}  // namespace postern::host
