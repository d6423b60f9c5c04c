// SPDX-License-Identifier: Apache-2.0
// The keeper and the start of picoprocesses; see spawn.hpp.
//
// Who is whose child: the monitor forks the keeper; the keeper clones picoprocesses with CLONE_PARENT, so that the
// monitor reaps them, while session and process group are the keeper's. No picoprocess can leave the group (setsid and
// setpgid are not host calls), so one kill of the group reaches all, atomically with respect to fork.
//
// The keeper is forked before anything else is prepared, and gives up privileges while the monitor opens files: what a
// picoprocess inherits from it need not be done on the way to the program.
#include "host/linux/monitor/spawn.hpp"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>

#include <algorithm>

#include "host/linux/monitor/message.hpp"
#include "host/linux/protocol.hpp"

namespace postern::host {

const char* step_name(u32 step) {
    switch (static_cast<StartStep>(step)) {
        case StartStep::descriptors: return "setting up descriptors";
        case StartStep::limits: return "setting limits";
        case StartStep::privileges: return "giving up privileges";
        case StartStep::execute: return "executing the entry image";
        case StartStep::parent: return "binding to the monitor";
        default: return "starting the picoprocess";
    }
}

namespace {

constexpr usize kSpawnText = 120 << 10;
constexpr usize kMaxPointers = 4096;
constexpr int kHighDescriptor = 64;  ///< sources of start descriptors are kept above the targets
constexpr int kHighForeseen = 320;   ///< and those of foreseen files above theirs, which take the others' places
static_assert(kFdForeseen + kMessageDescriptors <= kHighForeseen);

struct SpawnRequest {
    u32 argument_count;  ///< strings that follow; 0: only the second argument follows, the rest is known
    u32 environment_count;
    u32 descriptors;  ///< bit i: what becomes descriptor i is sent along, in order; bit kFdBoot + 1: the image
    u32 answer;       ///< 0: nobody waits for the process number
    u32 foreseen;     ///< 1: descriptors follow in a message of their own
};
constexpr usize kSpawnDescriptors = kFdBoot + 2;
static_assert(kSpawnDescriptors <= kMessageDescriptors);

/// What a picoprocess is cloned with. It shares the keeper's memory until execve (vfork) and writes to its own stack
/// only.
struct Child {
    int descriptors[kSpawnDescriptors];
    const char* const* arguments;
    const char* const* environment;
    int monitor_id;
    u32 failed_step, failed_error;  ///< of the keeper's own preparation
    int foreseen[kMessageDescriptors];
    usize foreseen_count;
};

[[noreturn]] void give_up(int boot, u32 step, u32 error) {
    BootMessage message{kProtocolVersion, static_cast<u32>(getpid()), error, step};
    [[maybe_unused]] ssize_t sent = send(boot, &message, sizeof message, MSG_NOSIGNAL);
    _exit(125);
}
[[noreturn]] void give_up(int boot, StartStep step, int error) {
    give_up(boot, static_cast<u32>(step), static_cast<u32>(error));
}

/// No way back to any capability: bounding and ambient sets empty, root without meaning, all of it locked.
int drop_capabilities() {
    for (int capability = 0; capability <= 63; ++capability) {
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) {
            if (errno == EINVAL) break;
            return errno;
        }
    }
    unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED |
                         SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
    if (prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) != 0) return errno;
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    syscall(SYS_setgroups, 0, nullptr);
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2] = {};
    return syscall(SYS_capset, &header, data) != 0 ? errno : 0;
}

/// Sets soft and hard limit to `wanted`, or to the hard limit that is there if that is less.
int lower_limit(__rlimit_resource resource, u64 wanted) {
    rlimit64 now;
    if (prlimit64(0, resource, nullptr, &now) != 0) return errno;
    u64 value = std::min<u64>(wanted, now.rlim_max);
    rlimit64 limit{value, value};
    return prlimit64(0, resource, &limit, nullptr) != 0 ? errno : 0;
}

/// All that picoprocesses inherit from the keeper. Returns 0 or the error, and the step in `step`.
int prepare(const KeeperOptions& options, StartStep& step) {
    // The signals that the monitor takes for itself have their default again; those ignored by whoever started it, too.
    struct sigaction standard = {};
    standard.sa_handler = SIG_DFL;
    for (int signal : {SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGALRM, SIGTERM, SIGUSR1, SIGUSR2, SIGCHLD, SIGTSTP, SIGTTIN,
                       SIGTTOU, SIGWINCH, SIGSYS}) {
        sigaction(signal, &standard, nullptr);
    }
    umask(022);
    step = StartStep::limits;
    int failed = lower_limit(RLIMIT_CORE, 0);
    if (failed == 0) failed = lower_limit(RLIMIT_DATA, options.data_limit);
    if (failed == 0) failed = lower_limit(RLIMIT_NOFILE, 65536);
    // Address-space layout depends on it, and programs have stacks of the library OS's making.
    if (failed == 0) failed = lower_limit(RLIMIT_STACK, 8 << 20);
    if (failed == 0 && options.file_limit != 0) failed = lower_limit(RLIMIT_FSIZE, options.file_limit);
    if (failed == 0 && options.affinity != nullptr && sched_setaffinity(0, sizeof(cpu_set_t), options.affinity) != 0)
        failed = errno;
    if (failed != 0) return failed;
    // Best effort: the wall does not rest on these.
    if (options.second_wall && chdir("/proc/self/fdinfo") == 0 && chroot(".") == 0) syscall(SYS_unshare, CLONE_NEWUTS);
    step = StartStep::privileges;
    if (options.drop_privileges) failed = drop_capabilities();
    if (failed == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) failed = errno;
    return failed;
}

int run_child(void* argument) {
    const Child& child = *static_cast<const Child*>(argument);
    int boot = child.descriptors[kFdBoot];
    if (child.failed_error != 0) give_up(boot, child.failed_step, child.failed_error);
    // With CLONE_PARENT the signal comes when the monitor dies. It may have died before: then the parent is another.
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != child.monitor_id) _exit(125);
    // Sources lie above all targets, so none is overwritten before it is copied.
    for (int i = 0; i <= kFdBoot; ++i) {
        if (dup2(child.descriptors[i], i) < 0) give_up(boot, StartStep::descriptors, errno);
    }
    constexpr int kEntry = kFdBoot + 1;
    if (dup3(child.descriptors[kEntry], kEntry, O_CLOEXEC) < 0) give_up(kFdBoot, StartStep::descriptors, errno);
    static_assert(kEntry + 1 == kFdForeseen);
    int unused = kFdForeseen;
    for (usize i = 0; i < child.foreseen_count; ++i, ++unused) {
        if (dup2(child.foreseen[i], unused) < 0) give_up(kFdBoot, StartStep::descriptors, errno);
    }
    if (syscall(SYS_close_range, unused, ~0u, 0) != 0) {
        for (int fd = unused; fd < 65536; ++fd) close(fd);
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    syscall(SYS_execveat, kEntry, "", child.arguments, child.environment, AT_EMPTY_PATH);
    give_up(kFdBoot, StartStep::execute, errno);
}

/// Clones a picoprocess as a sibling of the caller (the keeper). -errno on failure.
int clone_picoprocess(Child& child) {
    alignas(16) static char stack[32 << 10];
    int id = clone(run_child, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_PARENT | SIGCHLD, &child);
    return id < 0 ? -errno : id;
}

/// Sends a request with its descriptors in one message.
bool send_request(int socket, const SpawnRequest& request, std::string_view text, const int* descriptors, usize count) {
    iovec parts[2] = {{const_cast<SpawnRequest*>(&request), sizeof request},
                      {const_cast<char*>(text.data()), text.size()}};
    return send_message(socket, parts, {descriptors, count}) >= 0;
}

void receive_foreseen(int control, Child& child) {
    char byte;
    iovec part{&byte, 1};
    if (receive_message(control, {&part, 1}, child.foreseen, child.foreseen_count, 0) <= 0) return;
    for (usize i = 0; i < child.foreseen_count; ++i) {
        int low = child.foreseen[i];
        child.foreseen[i] = fcntl(low, F_DUPFD_CLOEXEC, kHighForeseen);
        close(low);
    }
}

}  // namespace

void Keeper::run(const KeeperOptions& options, int monitor, int control, int monitor_id) {
    if (setsid() < 0) _exit(125);
    // Nothing of the caller's descriptors stays here: ends of its pipes would hide that others have closed theirs.
    monitor = fcntl(monitor, F_DUPFD_CLOEXEC, 10), control = fcntl(control, F_DUPFD_CLOEXEC, monitor + 1);
    int terminal = options.terminal >= 0 ? fcntl(options.terminal, F_DUPFD_CLOEXEC, control + 1) : -1;
    syscall(SYS_close_range, 0, monitor - 1, 0);
    if (control > monitor + 1) syscall(SYS_close_range, monitor + 1, control - 1, 0);
    if (terminal > control + 1) syscall(SYS_close_range, control + 1, terminal - 1, 0);
    syscall(SYS_close_range, std::max(control, terminal) + 1, ~0u, 0);
    StartStep step = StartStep::none;
    Child child = {};
    child.failed_error = static_cast<u32>(prepare(options, step));
    child.failed_step = static_cast<u32>(step);
    child.monitor_id = monitor_id;
    std::fill(std::begin(child.descriptors), std::end(child.descriptors), -1);
    bool first = true;
    pollfd events[2] = {{monitor, POLLIN, 0}, {control, POLLIN, 0}};
    for (;;) {
        if (poll(events, 2, -1) < 0 && errno != EINTR) break;
        if (events[0].revents != 0) break;
        if (events[1].revents == 0) continue;
        static char text[kSpawnText + 1];
        static const char* pointers[kMaxPointers];
        SpawnRequest request = {};
        iovec parts[2] = {{&request, sizeof request}, {text, kSpawnText}};
        int given[kSpawnDescriptors];
        usize count;
        ssize_t size = receive_message(control, parts, given, count, 0);
        if (size < static_cast<ssize_t>(sizeof request)) break;  // the monitor is gone
        text[static_cast<usize>(size) - sizeof request] = 0;
        Child next = child;
        usize used = 0;
        for (usize i = 0; i < kSpawnDescriptors && used < count; ++i) {
            if (request.descriptors & (1u << i))
                next.descriptors[i] = fcntl(given[used++], F_DUPFD_CLOEXEC, kHighDescriptor);
        }
        for (usize i = 0; i < count; ++i) close(given[i]);
        if (request.foreseen != 0) receive_foreseen(control, next);
        if (first) {
            options.arguments[1] = text;
            next.arguments = options.arguments;
            next.environment = options.environment;
        } else {
            const char* place = text;
            u32 at = 0;
            for (u32 i = 0; i < request.argument_count; ++i) pointers[at++] = place, place += strlen(place) + 1;
            pointers[at++] = nullptr;
            next.environment = pointers + at;
            for (u32 i = 0; i < request.environment_count; ++i) pointers[at++] = place, place += strlen(place) + 1;
            pointers[at] = nullptr;
            next.arguments = pointers;
        }
        int result = clone_picoprocess(next);
        if (result < 0 && first) {
            BootMessage failure{kProtocolVersion, 0, static_cast<u32>(-result), 0};
            send(next.descriptors[kFdBoot], &failure, sizeof failure, MSG_NOSIGNAL);
        }
        // The monitor must see when the picoprocess's own end of the boot socket is gone.
        close(next.descriptors[kFdBoot]);
        next.descriptors[kFdBoot] = -1;
        for (usize i = 0; i < next.foreseen_count; ++i) close(next.foreseen[i]);
        if (first) {
            memcpy(child.descriptors, next.descriptors, sizeof child.descriptors);
            first = false;
            prctl(PR_SET_NAME, "postern-keeper", 0, 0, 0);
            forget_code_pages();
        } else {
            for (usize i = 0; i < kSpawnDescriptors; ++i) {
                if (next.descriptors[i] >= 0 && next.descriptors[i] != child.descriptors[i]) close(next.descriptors[i]);
            }
        }
        if (request.answer != 0 && send(control, &result, sizeof result, MSG_NOSIGNAL) < 0) break;
    }
    if (terminal >= 0) tcsetattr(terminal, TCSANOW, options.terminal_settings);
    kill(0, SIGKILL);  // the group, this process included
    _exit(125);
}

Result<void, LaunchError> Keeper::start(const KeeperOptions& options) {
    Fd monitor{static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0))};
    int control[2];
    if (!monitor.valid() || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) != 0) {
        return Failure{
            launch_error(125, "cannot watch over picoprocesses: %s; Linux 5.15 or later is needed", strerror(errno))};
    }
    int self = getpid();
    control_.reset(control[0]);
    int id = fork();
    if (id == 0) {
        control_.release();
        run(options, monitor.get(), control[1], self);
    }
    close(control[1]);
    if (id < 0) {
        return Failure{
            launch_error(125, "cannot start a process: %s; raise the limit of processes (ulimit -u)", strerror(errno))};
    }
    id_ = id;
    return {};
}

Result<void, LaunchError> Keeper::spawn_first(const std::string& config, const int (&descriptors)[kFdBoot + 2],
                                              bool foreseen) {
    SpawnRequest request{0, 0, (1u << kSpawnDescriptors) - 1, 0, foreseen};
    if (!send_request(control_.get(), request, config, descriptors, kSpawnDescriptors)) {
        return Failure{launch_error(125, "cannot start the picoprocess: %s", strerror(errno))};
    }
    return {};
}

bool Keeper::hand_over(const std::vector<Fd>& foreseen) {
    int numbers[kMessageDescriptors];
    usize count = std::min(foreseen.size(), kMessageDescriptors);
    for (usize i = 0; i < count; ++i) numbers[i] = foreseen[i].get();
    char byte = 0;
    iovec part{&byte, 1};
    if (send_message(control_.get(), {&part, 1}, {numbers, count}) >= 0) return true;
    // The kernel bounds how many descriptors of one user are on their way at a time (unix(7), ETOOMANYREFS).
    send_message(control_.get(), {&part, 1}, {});
    return false;
}

Result<int, gate::Err> Keeper::spawn(const std::vector<std::string>& arguments,
                                     const std::vector<std::string>& environment, int boot, const Fd (&streams)[3]) {
    if (!running()) return Failure{gate::Err::no_quota};
    std::string text;
    for (const auto* list : {&arguments, &environment}) {
        for (const std::string& item : *list) text.append(item.c_str(), item.size() + 1);
    }
    if (text.size() > kSpawnText || arguments.size() + environment.size() + 2 > kMaxPointers) {
        return Failure{gate::Err::too_big};
    }
    SpawnRequest request{static_cast<u32>(arguments.size()), static_cast<u32>(environment.size()), 1u << kFdBoot, 1, 0};
    int given[4];
    usize count = 0;
    for (u32 i = 0; i < 3; ++i) {
        if (!streams[i].valid()) continue;
        request.descriptors |= 1u << i;
        given[count++] = streams[i].get();
    }
    given[count++] = boot;
    if (!send_request(control_.get(), request, text, given, count)) {
        return Failure{errno == EMSGSIZE ? gate::Err::too_big : gate::Err::io};
    }
    // The keeper is Postern's own code and answers within a fork; a deadline all the same, so that nothing can hang.
    pollfd event{control_.get(), POLLIN, 0};
    int result = 0;
    if (poll(&event, 1, 2000) <= 0 || recv(control_.get(), &result, sizeof result, 0) != sizeof result) {
        return Failure{gate::Err::io};
    }
    if (result < 0) return Failure{result == -EAGAIN ? gate::Err::no_quota : gate::Err::no_memory};
    return result;
}

void Keeper::kill_all() {
    if (id_ <= 0 || killed_) return;
    killed_ = true;
    // Three times, because the keeper may be about to make the group or to start a picoprocess in it: after the second
    // it can do neither any more.
    kill(-id_, SIGKILL);
    kill(id_, SIGKILL);
    kill(-id_, SIGKILL);
}

void Keeper::reap() {
    if (id_ > 0) waitpid(id_, nullptr, 0);
    id_ = -1;
}

}  // namespace postern::host
