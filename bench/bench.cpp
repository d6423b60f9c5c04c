// SPDX-License-Identifier: Apache-2.0
// `./x bench`: the same work natively, in a picoprocess and under other sandboxes, alternately; medians and ratios.
//
// Each round runs every contestant once, so that a change in the machine's load meets all of them. A row with a target
// says whether it is met; nothing here is a test.
#include <fcntl.h>
#include <regex.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

extern char** environ;

namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;
using Clock = std::chrono::steady_clock;

struct Options {
    std::string postern, guests, json, rows = ".";
    int rounds = 0;  // 0: each row's own
    bool pin = false, peers = true;
};

struct Contestant {
    std::string name;
    Words prefix;
};

/// Most that a ratio to native may be.
const std::map<std::string, double> kTargets = {
    {"getpid", 0.15},
    {"getppid", 0.15},
    {"getuid", 0.15},
    {"sigprocmask", 0.15},
    {"lseek", 0.15},
    {"futex-wake", 0.15},
    {"dup-close", 0.4},
    {"brk", 0.4},
    {"pipe-byte", 0.4},
    {"clock-libc", 1.1},
    {"read-zero-1", 1.8},
    {"read-file-1", 1.8},
    {"pread-4k", 0.8},
    {"fork-wait", 1.7},
    {"page-fault", 1.1},
    {"true", 2.5},
    {"python-pass", 1.15},
    {"open-close", 0.5},
    {"stat", 0.5},
    {"stat-missing", 0.3},
    {"fork-exec-wait", 1.3},
    {"posix-spawn-wait", 1.3},
    {"pipe-pingpong", 1.0},
    {"futex-pingpong", 1.1},
    {"gcc-c", 1.15},
    {"sh-loop-40-true", 1.3},
    {"find-usr-share", 2},
    {"python-imports", 1.1},
    {"unix-pingpong", 1.0},
    {"make-j2", 1.25},
    {"sqlite-1-transaction", 1.1},
    {"sqlite-500-transactions", 2},
};
/// Least that two threads do of one's work.
constexpr double kScalingTarget = 1.8;
constexpr double kIdleTargetKib = 3 * 1024;

/// GUESTS/work is the only place that is the host's for all of them and that all may write to.
struct Program {
    const char* name;
    int rounds;
    Words command;
};
const std::vector<Program> kPrograms = {
    {"true-static", 41, {"GUESTS/true-static"}},
    {"true", 41, {"/bin/true"}},
    {"python-pass", 21, {"/usr/bin/python3", "-c", "pass"}},
    {"python-imports",
     11,
     {"/usr/bin/python3", "-c",
      "import "
      "json,re,ssl,threading,subprocess,asyncio,http.client,email,logging,unittest,decimal,sqlite3,csv,xml.dom"}},
    {"python-cpu", 5, {"/usr/bin/python3", "-c", "sum(i*i for i in range(1000000))"}},
    {"gcc-c",
     9,
     {"/bin/sh", "-c",
      "echo '#include <stdio.h>\nint main(){puts(\"x\");}' >/tmp/p.c && gcc -O1 -c /tmp/p.c -o /tmp/p.o"}},
    {"sh-loop-40-true", 9, {"/bin/sh", "-c", "i=0; while [ $i -lt 40 ]; do /bin/true; i=$((i+1)); done"}},
    {"find-usr-share", 5, {"/usr/bin/find", "/usr/share", "-name", "x*"}},
    {"make-j2",
     5,
     {"/bin/sh", "-c",
      "rm -rf /tmp/postern-bench && cp -r GUESTS/project /tmp/postern-bench && make -s -j2 -C /tmp/postern-bench && rm "
      "-r /tmp/postern-bench"}},
    {"sqlite-1-transaction",
     9,
     {"/bin/sh", "-c", "rm -f GUESTS/work/one* && sqlite3 GUESTS/work/one <GUESTS/transactions-1.sql"}},
    {"sqlite-500-transactions",
     5,
     {"/bin/sh", "-c", "rm -f GUESTS/work/many* && sqlite3 GUESTS/work/many <GUESTS/transactions-500.sql"}},
    {"tar-usr-include", 5, {"/bin/sh", "-c", "tar cf - /usr/include 2>/dev/null | wc -c"}},
};

struct Outcome {
    bool ok = false;
    double nanoseconds = 0;
    std::string output;
};

Outcome run(const Words& words, bool capture) {
    std::vector<char*> argv;
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    int ends[2] = {-1, -1};
    if (capture && pipe2(ends, O_CLOEXEC) != 0) return {};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (capture)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    else
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    Outcome outcome;
    pid_t child;
    auto start = Clock::now();
    int error = posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (capture) close(ends[1]);
    if (error == 0) {
        if (capture) {
            char text[4096];
            for (ssize_t count; (count = read(ends[0], text, sizeof text)) > 0;) outcome.output.append(text, count);
        }
        int status = 0;
        waitpid(child, &status, 0);
        outcome.nanoseconds = std::chrono::duration<double, std::nano>(Clock::now() - start).count();
        outcome.ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    if (capture) close(ends[0]);
    return outcome;
}

Words join(const Words& prefix, const Words& command) {
    Words words = prefix;
    words.insert(words.end(), command.begin(), command.end());
    return words;
}

double median(std::vector<double> values) {
    if (values.empty()) return 0;
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

std::string human(double nanoseconds) {
    char text[32];
    if (nanoseconds < 10'000)
        snprintf(text, sizeof text, "%.*f ns", nanoseconds < 100 ? 1 : 0, nanoseconds);
    else if (nanoseconds < 1e6)
        snprintf(text, sizeof text, "%.1f us", nanoseconds / 1e3);
    else
        snprintf(text, sizeof text, "%.2f ms", nanoseconds / 1e6);
    return text;
}

/// PSS in KiB of a process and all below it; empty when one of them cannot be read (then root is needed).
std::optional<double> tree_pss(pid_t root) {
    std::map<pid_t, pid_t> parents;
    for (const auto& entry : fs::directory_iterator("/proc")) {
        pid_t pid = atoi(entry.path().filename().c_str());
        if (pid <= 0) continue;
        std::ifstream file(entry.path() / "stat");
        std::string text;
        std::getline(file, text);
        auto end = text.rfind(')');
        if (end == std::string::npos) continue;
        int parent = 0;
        char state;
        if (sscanf(text.c_str() + end + 1, " %c %d", &state, &parent) == 2) parents[pid] = parent;
    }
    double sum = 0;
    for (auto [pid, parent] : parents) {
        bool below = pid == root;
        for (pid_t up = parent; !below && up > 1; up = parents.count(up) ? parents[up] : 0) below = up == root;
        if (!below) continue;
        std::ifstream file("/proc/" + std::to_string(pid) + "/smaps_rollup");
        std::string line;
        bool found = false;
        while (std::getline(file, line)) {
            double value;
            if (sscanf(line.c_str(), "Pss: %lf kB", &value) == 1) sum += value, found = true;
        }
        if (!found) return {};
    }
    return sum;
}

std::optional<double> idle_pss(const Words& prefix) {
    Words words = join(prefix, {"/bin/sleep", "60"});
    std::vector<char*> argv;
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    pid_t child;
    if (posix_spawnp(&child, argv[0], nullptr, nullptr, argv.data(), environ) != 0) return {};
    usleep(1'000'000);  // long enough for what happens once after the start
    std::optional<double> sum = tree_pss(child);
    kill(child, SIGTERM);
    waitpid(child, nullptr, 0);
    return sum;
}

std::vector<Contestant> contestants(const Options& options) {
    std::vector<Contestant> all = {
        {"native", {}},
        {"postern",
         {options.postern, "run", "--quiet", "-v", options.guests + "/work:" + options.guests + "/work:rw", "--"}},
    };
    if (!options.peers) return all;
    const Contestant peers[] = {
        {"bwrap",
         {"bwrap", "--bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-all", "--die-with-parent", "--"}},
        {"runsc", {"timeout", "60", "runsc", "--network=none", "--ignore-cgroups", "--platform=ptrace", "do"}},
    };
    for (const Contestant& peer : peers) {
        if (run(join({"timeout", "10"}, join(peer.prefix, {"/bin/true"})), false).ok)
            all.push_back(peer);
        else
            fprintf(stderr, "bench: %s is left out: not installed, or it cannot run here\n", peer.name.c_str());
    }
    return all;
}

struct Line {
    std::string row;
    std::vector<double> medians;  // by contestant, 0: failed
};

void print_line(const Line& line, nlohmann::json& rows) {
    printf("%-24s", line.row.c_str());
    nlohmann::json entry = {{"row", line.row}};
    double native = line.medians[0];
    for (const double& value : line.medians) {
        std::string cell = value == 0 ? "failed" : human(value);
        if (&value != &line.medians[0] && value != 0 && native != 0) {
            char ratio[32];
            snprintf(ratio, sizeof ratio, " %6.2fx", value / native);
            cell += ratio;
        }
        printf("  %18s", cell.c_str());
    }
    auto target = kTargets.find(line.row);
    double ratio = native != 0 ? line.medians[1] / native : 0;
    if (target != kTargets.end()) {
        bool met = ratio != 0 && ratio <= target->second;
        printf("  <= %.2f %s", target->second, met ? "met" : "MISSED");
        entry["target"] = target->second;
        entry["met"] = met;
    }
    printf("\n");
    fflush(stdout);
    entry["ratio"] = ratio;
    entry["nanoseconds"] = line.medians;
    rows.push_back(entry);
}

void print_scaling(const std::string& row, const std::vector<std::vector<double>>& values, nlohmann::json& rows) {
    printf("%-24s", row.c_str());
    nlohmann::json entry = {{"row", row}, {"threads_two_over_one", nlohmann::json::array()}};
    for (const auto& one : values) {
        char cell[32];
        snprintf(cell, sizeof cell, one.empty() ? "failed" : "x %.2f", median(one));
        printf("  %18s", cell);
        entry["threads_two_over_one"].push_back(median(one));
    }
    bool met = median(values[1]) >= kScalingTarget;
    printf("  >= %.2f %s\n", kScalingTarget, met ? "met" : "MISSED");
    fflush(stdout);
    entry["target"] = kScalingTarget;
    entry["met"] = met;
    rows.push_back(entry);
}

Words rows_of(const std::string& program) {
    Words names;
    std::string list = run({program, "--list"}, true).output;
    while (!list.empty()) {
        auto end = list.find('\n');
        names.push_back(list.substr(0, end));
        list.erase(0, end + 1);
    }
    return names;
}

bool chosen(const Options& options, const std::string& row) {
    regex_t pattern;
    if (regcomp(&pattern, options.rows.c_str(), REG_EXTENDED | REG_NOSUB) != 0) {
        fprintf(stderr, "bench: --rows '%s' is no regular expression\n", options.rows.c_str());
        exit(125);
    }
    bool match = regexec(&pattern, row.c_str(), 0, nullptr, 0) == 0;
    regfree(&pattern);
    return match;
}

Options parse(int count, char** words) {
    Options options;
    for (int i = 1; i < count; ++i) {
        std::string word = words[i];
        auto value = [&]() -> std::string {
            if (i + 1 >= count) {
                fprintf(stderr, "bench: %s needs a value\n", word.c_str());
                exit(125);
            }
            return words[++i];
        };
        if (word == "--postern")
            options.postern = value();
        else if (word == "--guests")
            options.guests = value();
        else if (word == "--json")
            options.json = fs::absolute(value());  // the directory changes later
        else if (word == "--rows")
            options.rows = value();
        else if (word == "--rounds")
            options.rounds = atoi(value().c_str());
        else if (word == "--pin")
            options.pin = true;
        else if (word == "--no-peers")
            options.peers = false;
        else {
            fprintf(
                stderr,
                "%s: ./x bench [--json FILE] [--pin] [--rows REGEX] [--rounds N] [--no-peers]\n"
                "  --pin       everything on one processor (what crosses processors varies with their idle states)\n",
                word == "--help" ? "usage" : ("unknown option " + word).c_str());
            exit(word == "--help" ? 0 : 125);
        }
    }
    return options;
}

}  // namespace

int main(int count, char** words) {
    Options options = parse(count, words);
    cpu_set_t machine_set;
    sched_getaffinity(0, sizeof machine_set, &machine_set);
    if (options.pin) {
        cpu_set_t set = machine_set;
        int last = -1;
        for (int i = 0; i < CPU_SETSIZE; ++i)
            if (CPU_ISSET(i, &set)) last = i;
        CPU_ZERO(&set);
        CPU_SET(last, &set);
        sched_setaffinity(0, sizeof set, &set);
    }
    if (chdir(options.guests.c_str()) != 0) {
        fprintf(stderr, "bench: %s: %s\n", options.guests.c_str(), strerror(errno));
        return 125;
    }
    utsname machine;
    uname(&machine);
    std::vector<Contestant> all = contestants(options);
    nlohmann::json report = {
        {"kernel", machine.release}, {"pinned", options.pin}, {"contestants", nlohmann::json::array()}};
    for (const Contestant& contestant : all) report["contestants"].push_back(contestant.name);
    nlohmann::json rows = nlohmann::json::array();
    printf("Linux %s, %s. Medians; ratios to native.\n\n%-24s", machine.release,
           options.pin ? "pinned to one core" : "not pinned", "row");
    for (const Contestant& contestant : all) printf("  %18s", contestant.name.c_str());
    printf("  target\n");

    for (const std::string& name : rows_of(options.guests + "/micro")) {
        if (!chosen(options, name)) continue;
        std::vector<std::vector<double>> values(all.size());
        int rounds = options.rounds > 0 ? options.rounds : 5;
        for (int round = 0; round < rounds; ++round)
            for (std::size_t i = 0; i < all.size(); ++i) {
                // A slow peer is measured less often: it would make the whole table wait.
                if (all[i].name == "runsc" && round >= 2) continue;
                Outcome outcome = run(join(all[i].prefix, {options.guests + "/micro", name, options.guests}), true);
                if (outcome.ok) values[i].push_back(atof(outcome.output.c_str()));
            }
        Line line{name, {}};
        for (auto& list_of_values : values) line.medians.push_back(median(list_of_values));
        print_line(line, rows);
    }
    printf("\n");
    for (const Program& program : kPrograms) {
        if (!chosen(options, program.name)) continue;
        Words command = program.command;
        for (std::string& word : command)
            for (std::size_t at; (at = word.find("GUESTS/")) != std::string::npos;) word.replace(at, 6, options.guests);
        std::vector<std::vector<double>> values(all.size());
        int rounds = options.rounds > 0 ? options.rounds : program.rounds;
        for (int round = 0; round <= rounds; ++round)
            for (std::size_t i = 0; i < all.size(); ++i) {
                if (all[i].name == "runsc" && round > 3) continue;
                Outcome outcome = run(join(all[i].prefix, command), false);
                if (outcome.ok && round > 0) values[i].push_back(outcome.nanoseconds);  // round 0 warms caches
            }
        Line line{program.name, {}};
        for (auto& list_of_values : values) line.medians.push_back(median(list_of_values));
        print_line(line, rows);
    }
    // Two threads over one: more is better, and never pinned to one processor.
    sched_setaffinity(0, sizeof machine_set, &machine_set);
    for (const std::string& name : rows_of(options.guests + "/scaling")) {
        if (!chosen(options, name)) continue;
        std::vector<std::vector<double>> values(all.size());
        for (int round = 0; round < 3; ++round)
            for (std::size_t i = 0; i < all.size(); ++i) {
                if (all[i].name == "runsc") continue;
                Outcome outcome = run(join(all[i].prefix, {options.guests + "/scaling", name, options.guests}), true);
                if (outcome.ok) values[i].push_back(atof(outcome.output.c_str()));
            }
        print_scaling(name, values, rows);
    }
    if (chosen(options, "idle-sleep-pss")) {
        printf("\n%-24s", "idle-sleep-pss");
        nlohmann::json entry = {{"row", "idle-sleep-pss"}, {"kib", nlohmann::json::array()}};
        std::optional<double> native;
        for (const Contestant& contestant : all) {
            std::optional<double> pss = idle_pss(contestant.prefix);
            if (&contestant == &all[0]) native = pss;
            char cell[64];
            if (!pss)
                snprintf(cell, sizeof cell, "unreadable");
            else if (&contestant == &all[0])
                snprintf(cell, sizeof cell, "%.0f KiB", *pss);
            else
                snprintf(cell, sizeof cell, "%+.0f KiB", *pss - native.value_or(0));
            printf("  %18s", cell);
            if (contestant.name == "postern" && pss && native) {
                entry["above_native_kib"] = *pss - *native;
                entry["target_kib"] = kIdleTargetKib;
                entry["met"] = *pss - *native <= kIdleTargetKib;
            }
            if (pss) entry["kib"].push_back(*pss);
        }
        if (entry.contains("met"))
            printf("  <= %.0f KiB %s", kIdleTargetKib, entry["met"].get<bool>() ? "met" : "MISSED");
        else
            printf("  (needs root: picoprocesses are not dumpable)");
        printf("\n");
        rows.push_back(entry);
    }
    report["rows"] = rows;
    if (!options.json.empty()) {
        std::ofstream file(options.json);
        file << report.dump(2) << "\n";
        if (!file) {
            fprintf(stderr, "bench: cannot write %s\n", options.json.c_str());
            return 1;
        }
    }
    return 0;
}
