// SPDX-License-Identifier: Apache-2.0
// Whole launches of a guest without a library OS: ends, limits, streams, and that nothing is ever left behind.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include <algorithm>
#include <random>
#include <set>

#include "base/types.hpp"
#include "tests/monitor/tree.hpp"

namespace postern {
namespace {

u64 now_ms() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<u64>(time.tv_sec) * 1000 + static_cast<u64>(time.tv_nsec) / 1000000;
}

struct Started {
    int process = -1;
    int out = -1, err = -1;
};

struct Conditions {
    bool nobody = false;
    bool listener = false;        ///< a seccomp filter with a listener is there before
    int input = -1, output = -1;  ///< in place of /dev/null and a pipe
};

/// A launcher of a guest. The test process is a subreaper: whatever the launcher leaves behind becomes its child.
Started start(std::vector<std::string> options, std::vector<std::string> guest, const Conditions& setup = {}) {
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    int out[2], err[2];
    EXPECT_EQ(pipe2(out, O_CLOEXEC), 0);
    EXPECT_EQ(pipe2(err, O_CLOEXEC), 0);
    int process = fork();
    if (process == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(setup.input >= 0 ? setup.input : null, 0);
        dup2(setup.output >= 0 ? setup.output : out[1], 1);
        dup2(err[1], 2);
        (void)!chdir("/");
        if (setup.nobody && (setgid(65534) != 0 || setuid(65534) != 0)) _exit(99);
        if (setup.listener) {
            sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
            sock_fprog program{1, &allow};
            prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            int listener = static_cast<int>(
                syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
            if (listener < 0) _exit(98);
            fcntl(listener, F_SETFD, 0);  // somebody listens as long as it is open
        }
        std::string libos = std::string{"libos="} + MONITOR_GUEST;
        std::vector<char*> arguments{const_cast<char*>(LAUNCH_GUEST), libos.data()};
        for (std::string& option : options) arguments.push_back(option.data());
        arguments.push_back(const_cast<char*>("--"));
        arguments.push_back(const_cast<char*>("guest"));
        for (std::string& argument : guest) arguments.push_back(argument.data());
        arguments.push_back(nullptr);
        execv(LAUNCH_GUEST, arguments.data());
        _exit(97);
    }
    close(out[1]), close(err[1]);
    return {process, out[0], err[0]};
}

std::string drain(int fd) {
    std::string text;
    char buffer[4096];
    ssize_t size;
    while ((size = read(fd, buffer, sizeof buffer)) > 0) text.append(buffer, static_cast<usize>(size));
    close(fd);
    return text;
}

int status_of(int process) {
    int status;
    EXPECT_EQ(waitpid(process, &status, 0), process);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

struct Outcome {
    int status;
    std::string out, err;
};

/// No process may be left: not even one that is about to die.
void expect_nobody_left(u64 within_ms = 0) {
    u64 until = now_ms() + within_ms;
    for (;;) {
        int status;
        int ended = waitpid(-1, &status, WNOHANG);
        if (ended < 0) return;  // no child at all
        if (ended == 0) {
            if (now_ms() > until) {
                ADD_FAILURE() << "a process was left behind";
                return;
            }
            usleep(1000);
        }
    }
}

Outcome run(std::vector<std::string> options, std::vector<std::string> guest, const Conditions& setup = {}) {
    Started started = start(std::move(options), std::move(guest), setup);
    Outcome outcome;
    outcome.out = drain(started.out);
    outcome.err = drain(started.err);
    outcome.status = status_of(started.process);
    expect_nobody_left();
    return outcome;
}

bool wait_for_line(int fd) {
    char byte;
    while (read(fd, &byte, 1) == 1) {
        if (byte == '\n') return true;
    }
    return false;
}

int keeper_of(int launcher) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", launcher, launcher);
    std::ifstream children{path};
    for (int child; children >> child;) {
        std::ifstream name{"/proc/" + std::to_string(child) + "/comm"};
        std::string text;
        if (std::getline(name, text) && text == "postern-keeper") return child;
    }
    return -1;
}

TEST(Launch, StatusIsTheProgramsOwn) {
    EXPECT_EQ(run({}, {"exit", "0"}).status, 0);
    EXPECT_EQ(run({}, {"exit", "42"}).status, 42);
}

TEST(Launch, StatusOfPosternsOwnFailures) {
    Outcome none = run({"entry=/no/such/entry"}, {"exit"});
    EXPECT_EQ(none.status, 125);
    EXPECT_NE(none.err.find("/no/such/entry"), std::string::npos) << none.err;
    Outcome bad = run({"entry=/etc/passwd"}, {"exit"});
    EXPECT_EQ(bad.status, 125);
    EXPECT_NE(bad.err.find("executing the entry image"), std::string::npos) << bad.err;
}

TEST(Launch, TimeoutEndsTheFamily) {
    u64 before = now_ms();
    EXPECT_EQ(run({"timeout=0.3"}, {"family", "5"}).status, 124);
    EXPECT_LT(now_ms() - before, 3000u);
}

TEST(Launch, ChildrenLeftBehindEndUnlessWaitedFor) {
    Outcome ended = run({}, {"leave"});
    EXPECT_EQ(ended.status, 3);
    EXPECT_EQ(ended.out, "");
    Outcome waited = run({"wait_all"}, {"leave"});
    EXPECT_EQ(waited.status, 3);
    EXPECT_EQ(waited.out, "left behind\n");
}

TEST(Launch, ProcessesAreLimitedForRootToo) { EXPECT_EQ(run({"pids=40"}, {"bomb"}).out, "made 39 then 7\n"); }

TEST(Launch, MemoryIsLimited) {
    Outcome outcome = run({"memory=67108864"}, {"share"});
    EXPECT_NE(outcome.out.find("refused after 64 MiB"), std::string::npos) << outcome.out << outcome.err;
    Outcome eaten = run({"memory=67108864", "timeout=20"}, {"eat"});
    EXPECT_TRUE(eaten.status == 137 || eaten.out.find("refused") != std::string::npos) << eaten.out << eaten.err;
}

TEST(Launch, NamesOutsideTheViewAreReported) {
    Outcome outcome = run({}, {"read", "file:/etc/hostname"});
    EXPECT_EQ(outcome.out, "error 8\n");
    EXPECT_NE(outcome.err.find("refused: /etc/hostname (no rule) -v /etc/hostname"), std::string::npos) << outcome.err;
    Outcome none = run({}, {"read", "file:/no/such/name"});
    EXPECT_EQ(none.err, "");
    EXPECT_EQ(run({}, {"read", "file:/etc/shadow"}).out, "error 8\n");
}

TEST(Launch, VolumesAreOpened) {
    host::Tree tree;
    tree.file("text", "hello");
    std::string mount = tree.path() + ":/data";
    EXPECT_EQ(run({"volume=" + mount}, {"read", "file:/data/text"}).out, "hello");
    EXPECT_EQ(run({"volume=" + mount}, {"write", "file:/data/text"}).out, "error 16\n");
    EXPECT_EQ(run({"volume=" + mount + ":rw"}, {"write", "file:/data/new"}).out, "opened 1\n");
    EXPECT_TRUE(tree.exists("new"));
}

TEST(Launch, FifosDoNotHoldUpOthers) {
    host::Tree tree;
    ASSERT_EQ(mkfifo(tree.at("fifo").c_str(), 0644), 0);
    Outcome outcome = run({"volume=" + tree.at("fifo") + ":/fifo", "timeout=0.5"}, {"read", "file:/fifo"});
    EXPECT_EQ(outcome.status, 124);
}

class Fallbacks : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Each, Fallbacks,
                         testing::Values("openat2", "landlock", "tgkill", "killable", "memfd_seal", "addfd", "patch",
                                         "openat2,landlock,tgkill,killable,memfd_seal,addfd"));

TEST_P(Fallbacks, Work) {
    for (bool nobody : {false, true}) {
        if (nobody && getuid() != 0) continue;
        Conditions setup;
        setup.nobody = nobody;
        std::vector<std::string> options{std::string{"fallback="} + GetParam(), "no_namespaces"};
        EXPECT_EQ(run(options, {"exit", "9"}, setup).status, 9);
        EXPECT_EQ(run(options, {"read", "file:/etc/debian_version"}, setup).status, 0);
        options.push_back("pids=10");
        EXPECT_EQ(run(options, {"bomb"}, setup).out, "made 9 then 7\n");
    }
}

TEST(Launch, OrdinaryUser) {
    if (getuid() != 0) GTEST_SKIP() << "already one";
    Conditions setup;
    setup.nobody = true;
    EXPECT_EQ(run({}, {"exit", "5"}, setup).status, 5);
    EXPECT_EQ(run({"pids=20"}, {"bomb"}, setup).out, "made 19 then 7\n");
}

TEST(Launch, SecondListenerIsExplained) {
    Conditions setup;
    setup.listener = true;
    Outcome outcome = run({}, {"exit"}, setup);
    EXPECT_EQ(outcome.status, 125);
    EXPECT_NE(outcome.err.find("listener"), std::string::npos) << outcome.err;
}

TEST(Streams, PipesPassThrough) {
    int in[2];
    ASSERT_EQ(pipe2(in, O_CLOEXEC), 0);
    ASSERT_EQ(write(in[1], "through", 7), 7);
    close(in[1]);
    Conditions setup;
    setup.input = in[0];
    EXPECT_EQ(run({}, {"echo"}, setup).out, "through");
    close(in[0]);
}

TEST(Streams, SocketsAreRelayedInFull) {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    Conditions setup;
    setup.output = ends[1];
    Started started = start({}, {"print", "20000"}, setup);
    close(ends[1]);
    std::string text = drain(ends[0]);
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 20000);
    EXPECT_TRUE(text.ends_with("line 1 of a text that is long enough to fill a pipe\n"));
    close(started.out), close(started.err);
    EXPECT_EQ(status_of(started.process), 0);
    expect_nobody_left();
}

TEST(Streams, SocketInputIsRelayed) {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    ASSERT_EQ(write(ends[0], "by socket", 9), 9);
    shutdown(ends[0], SHUT_WR);
    Conditions setup;
    setup.input = ends[1];
    EXPECT_EQ(run({}, {"echo"}, setup).out, "by socket");
    // An input that never ends does not keep the launcher.
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    setup.input = ends[1];
    EXPECT_EQ(run({}, {"exit", "1"}, setup).status, 1);
    close(ends[0]), close(ends[1]);
}

TEST(Streams, TerminalsAreNotHandedOver) {
    int master, slave;
    ASSERT_EQ(openpty(&master, &slave, nullptr, nullptr, nullptr), 0);
    fcntl(master, F_SETFD, FD_CLOEXEC);
    Conditions setup;
    setup.input = setup.output = slave;
    Started started = start({}, {"options"}, setup);
    close(slave);
    std::string text = drain(master);
    EXPECT_NE(text.find("out=ntp"), std::string::npos) << text;  // its input is /dev/null: no -i
    close(started.out), close(started.err);
    EXPECT_EQ(status_of(started.process), 0);
    expect_nobody_left();
}

TEST(Streams, ReadersThatGoAwayEndWriters) {
    Started started = start({"timeout=20"}, {"print", "1000000"});
    char byte;
    ASSERT_EQ(read(started.out, &byte, 1), 1);
    close(started.out);
    close(started.err);
    status_of(started.process);
    expect_nobody_left();
}

void kill_and_count(std::vector<std::string> guest, bool keeper, bool nobody) {
    Conditions setup;
    setup.nobody = nobody;
    Started started = start({}, std::move(guest), setup);
    ASSERT_TRUE(wait_for_line(started.out));
    int victim = keeper ? keeper_of(started.process) : started.process;
    ASSERT_GT(victim, 0);
    kill(victim, SIGKILL);
    if (keeper) {
        EXPECT_EQ(status_of(started.process), 137);
    }
    expect_nobody_left(1000);
    close(started.out), close(started.err);
}

TEST(Deaths, OfTheMonitorEndAll) {
    for (bool nobody : {false, true}) {
        if (nobody && getuid() != 0) continue;
        kill_and_count({"family", "10"}, false, nobody);
        kill_and_count({"clones"}, false, nobody);
    }
}

TEST(Deaths, OfTheKeeperEndAll) {
    for (bool nobody : {false, true}) {
        if (nobody && getuid() != 0) continue;
        kill_and_count({"family", "10"}, true, nobody);
        kill_and_count({"clones"}, true, nobody);
    }
}

TEST(Deaths, AtAnyInstantOfTheStart) {
    std::mt19937 random{1};
    for (int i = 0; i < 150; ++i) {
        Started started = start({}, {"clones"});
        timespec pause{0, static_cast<long>(random() % 4'000'000)};
        nanosleep(&pause, nullptr);
        kill(started.process, SIGKILL);
        expect_nobody_left(1000);
        close(started.out), close(started.err);
        if (HasFailure()) break;
    }
}

TEST(Launch, LeavesNoDescriptors) {
    // In one process, many launches after another (the command does one): nothing may pile up.
    auto count = [] {
        int found = 0;
        for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++found;
        return found;
    };
    int before = count();
    for (int i = 0; i < 5; ++i) run({}, {"exit", "0"});
    EXPECT_EQ(count(), before);
}

}  // namespace
}  // namespace postern
