// SPDX-License-Identifier: Apache-2.0
// ./x check --wall: reads the filter back from a running picoprocess and judges it.
//
//   check-wall --postern FILE [--used FILE] [--option OPTION ...]
//
// The filter comes from the kernel (PTRACE_SECCOMP_GET_FILTER, which needs CAP_SYS_ADMIN), so that what is judged is
// what holds. FILE of --used has the numbers of the host calls that the recorded tests made, one a line.
// Status 77 with a line "SKIP: reason" without the right to read filters.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "host/linux/filter/describe.hpp"
#include "tools/check/expectations.hpp"

extern char** environ;

namespace {

using namespace postern;

int failures = 0;
void fail(const std::string& text) {
    printf("FAIL %s\n", text.c_str());
    ++failures;
}

/// Value of a line of /proc/PID/status, empty when there is none.
std::string status_of(pid_t pid, const std::string& key) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/status");
    for (std::string line; std::getline(file, line);)
        if (line.starts_with(key + ":")) return line.substr(line.find_first_not_of(" \t", key.size() + 1));
    return {};
}

/// A child of `parent` with a filter: the first picoprocess. 0: none within five seconds.
pid_t find_picoprocess(pid_t parent) {
    for (int i = 0; i < 500; ++i) {
        DIR* proc = opendir("/proc");
        pid_t found = 0;
        while (dirent* entry = readdir(proc)) {
            pid_t pid = atoi(entry->d_name);
            // The helper thread of the start is gone once one thread is left; then the filter is in place for good.
            if (pid > 0 && status_of(pid, "PPid") == std::to_string(parent) && status_of(pid, "Seccomp") == "2" &&
                status_of(pid, "Threads") == "1")
                found = pid;
        }
        closedir(proc);
        if (found != 0) return found;
        usleep(10000);
    }
    return 0;
}

std::vector<sock_filter> installed_filter(pid_t pid, int& filters) {
    std::vector<sock_filter> program;
    if (ptrace(PTRACE_SEIZE, pid, 0, 0) != 0 || ptrace(PTRACE_INTERRUPT, pid, 0, 0) != 0) {
        fail("cannot attach to the picoprocess: " + std::string{strerror(errno)});
        return program;
    }
    int status;
    waitpid(pid, &status, __WALL);
    long length = ptrace(static_cast<__ptrace_request>(PTRACE_SECCOMP_GET_FILTER), pid, 0, nullptr);
    if (length < 0) {
        fail("PTRACE_SECCOMP_GET_FILTER: " + std::string{strerror(errno)});
    } else {
        program.resize(static_cast<usize>(length));
        ptrace(static_cast<__ptrace_request>(PTRACE_SECCOMP_GET_FILTER), pid, 0, program.data());
    }
    for (filters = 0; ptrace(static_cast<__ptrace_request>(PTRACE_SECCOMP_GET_FILTER), pid, filters, nullptr) >= 0;)
        ++filters;
    ptrace(PTRACE_DETACH, pid, 0, 0);
    return program;
}

bool same(const std::vector<sock_filter>& left, const std::vector<sock_filter>& right) {
    return left.size() == right.size() && memcmp(left.data(), right.data(), left.size() * sizeof(sock_filter)) == 0;
}

void judge(const std::vector<sock_filter>& program, const std::set<u32>& used, bool know_use) {
    host::FilterOptions options;
    std::vector<sock_filter> built(host::kMaxFilterLength);
    bool matches = false;
    for (bool scope : {true, false}) {
        options.signal_scope = scope;
        built.resize(host::kMaxFilterLength);
        built.resize(host::build_filter(options, built.data(), built.size()));
        if ((matches = same(program, built))) break;
    }
    if (!matches) fail("the installed filter is not the one that the rules describe");

    std::vector<char> storage(64 * 1024);
    Text text{storage.data(), storage.size()};
    host::describe_rules(options, text);
    fwrite(text.view().data(), 1, text.size(), stdout);
    printf("read back from a running picoprocess: %zu instructions, %s\n", program.size(),
           options.signal_scope ? "with Landlock's signal scope" : "without Landlock's signal scope");

    std::set<u32> allowed;
    for (u32 number = 0; number < 1024; ++number)
        if (check::lets_through(program, number)) allowed.insert(number);
    printf("%zu distinct host calls, at most %u\n", allowed.size(), host::kMaxNumbers);
    if (allowed.size() > host::kMaxNumbers) fail("too many host calls");
    for (u32 number : allowed) {
        const host::Rule* rule = nullptr;
        for (u32 i = 0; i < host::kRuleCount; ++i)
            if (host::kRules[i].number == number) rule = &host::kRules[i];
        std::string name = rule != nullptr ? rule->name : "call " + std::to_string(number);
        if (rule == nullptr || rule->reason[0] == 0) fail(name + " passes without a reason");
        if (check::takes_path_program_or_destination(number)) fail(name + " takes a path, a program or a destination");
        if (know_use && !used.contains(number)) fail(name + " is needed by no test");
    }
    for (const std::string& violation : check::violations(program, options.signal_scope, 20)) fail(violation);
}

}  // namespace

int main(int count, char** words) {
    std::string postern, used_file;
    std::vector<std::string> options;
    for (int i = 1; i + 1 < count; i += 2) {
        std::string word = words[i];
        if (word == "--postern")
            postern = words[i + 1];
        else if (word == "--used")
            used_file = words[i + 1];
        else if (word == "--option")
            options.emplace_back(words[i + 1]);
    }
    if (postern.empty()) {
        fprintf(stderr, "usage: check-wall --postern FILE [--used FILE] [--option OPTION ...]\n");
        return 2;
    }
    if (geteuid() != 0) {
        printf("SKIP: reading a filter back (PTRACE_SECCOMP_GET_FILTER) needs root\n");
        return 77;
    }
    std::set<u32> used;
    if (!used_file.empty()) {
        std::ifstream file(used_file);
        for (u32 number; file >> number;) used.insert(number);
        if (used.empty()) fail(used_file + " has no numbers");
    }
    std::vector<std::string> command = {postern, "run", "--quiet"};
    command.insert(command.end(), options.begin(), options.end());
    for (const char* word : {"--", "sleep", "60"}) command.emplace_back(word);
    std::vector<char*> argv;
    for (std::string& word : command) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_t child;
    if (posix_spawn(&child, postern.c_str(), nullptr, nullptr, argv.data(), environ) != 0) {
        printf("FAIL cannot start %s\n", postern.c_str());
        return 1;
    }
    pid_t pico = find_picoprocess(child);
    if (pico == 0) {
        fail("no picoprocess with a filter appeared");
    } else {
        int filters = 0;
        std::vector<sock_filter> program = installed_filter(pico, filters);
        if (filters > 1) printf("%d filters are installed: this machine's own lie below the wall's\n", filters);
        if (!program.empty()) judge(program, used, !used_file.empty());
    }
    kill(child, SIGTERM);
    waitpid(child, nullptr, 0);
    return failures == 0 ? 0 : 1;
}
