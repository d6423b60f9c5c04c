// SPDX-License-Identifier: Apache-2.0
#include "host/linux/monitor/cpu_group.hpp"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <vector>

namespace postern::host {

namespace {

constexpr u64 kPeriod = 100'000;  ///< microseconds
constexpr std::string_view kPrefix = "postern-";

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> parts;
    while (!text.empty()) {
        usize end = text.find(separator);
        parts.push_back(text.substr(0, end));
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
    return parts;
}

bool lists(std::string_view items, std::string_view wanted) {
    for (std::string_view item : split(items, ','))
        if (item == wanted) return true;
    return false;
}

std::string read_whole(int directory, const char* name) {
    Fd file{openat(directory, name, O_RDONLY | O_CLOEXEC)};
    std::string text;
    char part[4096];
    for (;;) {
        ssize_t got = file.valid() ? read(file.get(), part, sizeof part) : 0;
        if (got <= 0) return text;
        text.append(part, static_cast<usize>(got));
    }
}

bool write_number(int directory, const char* name, std::string_view value) {
    Fd file{openat(directory, name, O_WRONLY | O_CLOEXEC)};
    return file.valid() && write(file.get(), value.data(), value.size()) == static_cast<ssize_t>(value.size());
}

u64 number_after(std::string_view text, std::string_view key) {
    for (std::string_view line : split(text, '\n'))
        if (line.starts_with(key)) return strtoull(line.data() + key.size(), nullptr, 10);
    return 0;
}

/// Groups of runs whose monitor and keeper are both gone. One that is in use cannot be removed.
void remove_leftovers(int parent) {
    Fd copy{openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    DIR* directory = copy.valid() ? fdopendir(copy.release()) : nullptr;
    if (directory == nullptr) return;
    while (const dirent* entry = readdir(directory)) {
        std::string_view name{entry->d_name};
        if (!name.starts_with(kPrefix)) continue;
        int owner = atoi(entry->d_name + kPrefix.size());
        if (owner > 0 && kill(owner, 0) != 0 && errno == ESRCH) unlinkat(parent, entry->d_name, AT_REMOVEDIR);
    }
    closedir(directory);
}

/// Waits at most two seconds for the last process in it. System calls only: also called after a fork.
void remove_group(int parent, const char* name) {
    for (int tries = 0; tries < 200; ++tries) {
        if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno != EBUSY) return;
        timespec pause{0, 10'000'000};
        nanosleep(&pause, nullptr);
    }
}

}  // namespace

GroupPlace find_cpu_group(std::string_view groups, std::string_view mounts) {
    // "4:cpu,cpuacct:/path" of version 1, "0::/path" of version 2.
    std::string_view path;
    GroupPlace place;
    for (std::string_view line : split(groups, '\n')) {
        usize first = line.find(':'), second = line.find(':', first + 1);
        if (first == std::string_view::npos || second == std::string_view::npos) continue;
        std::string_view controllers = line.substr(first + 1, second - first - 1);
        bool unified = controllers.empty() && line.substr(0, first) == "0";
        if (!lists(controllers, "cpu") && !(unified && path.empty())) continue;
        path = line.substr(second + 1);
        place.unified = unified;
    }
    if (path.empty() || path[0] != '/') return {};
    // "36 35 98:0 /root /mount/point options ... - type source super-options"
    for (std::string_view line : split(mounts, '\n')) {
        std::vector<std::string_view> words = split(line, ' ');
        usize dash = 6;
        while (dash < words.size() && words[dash] != "-") ++dash;
        if (dash + 3 >= words.size()) continue;
        std::string_view type = words[dash + 1], root = words[3], point = words[4];
        if (place.unified ? type != "cgroup2" : type != "cgroup" || !lists(words[dash + 3], "cpu")) continue;
        if (point.find('\\') != std::string_view::npos) continue;  // an escaped name: not worth the trouble
        std::string_view rest = path;
        if (root != "/") {
            if (!rest.starts_with(root) || (rest.size() > root.size() && rest[root.size()] != '/')) continue;
            rest.remove_prefix(root.size());
        }
        if (rest.find("/..") != std::string_view::npos) continue;  // outside of what is mounted here
        place.directory = std::string{point} + (rest == "/" ? "" : std::string{rest});
        return place;
    }
    return {};
}

bool CpuGroup::create(double share) {
    GroupPlace place =
        find_cpu_group(read_whole(AT_FDCWD, "/proc/self/cgroup"), read_whole(AT_FDCWD, "/proc/self/mountinfo"));
    if (place.directory.empty()) return false;
    parent_.reset(open(place.directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!parent_.valid()) return false;
    unified_ = place.unified;
    remove_leftovers(parent_.get());
    name_ = std::string{kPrefix} + std::to_string(getpid());
    if (mkdirat(parent_.get(), name_.c_str(), 0755) != 0) {
        name_.clear();
        return false;
    }
    group_.reset(openat(parent_.get(), name_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    std::string quota = std::to_string(static_cast<u64>(share * static_cast<double>(kPeriod)));
    std::string period = std::to_string(kPeriod);
    bool limited = group_.valid() && (unified_ ? write_number(group_.get(), "cpu.max", quota + " " + period)
                                               : write_number(group_.get(), "cpu.cfs_period_us", period) &&
                                                     write_number(group_.get(), "cpu.cfs_quota_us", quota));
    if (limited)
        watch();
    else
        remove();
    return limited;
}

/// The keeper could not do this: it has given up the rights by then.
void CpuGroup::watch() {
    Fd monitor{static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0))};
    watcher_ = monitor.valid() ? fork() : -1;
    if (watcher_ != 0) return;
    setsid();
    prctl(PR_SET_NAME, "postern-group", 0, 0, 0);
    // Nobody's pipe is to stay open because of this process.
    int low = std::min(monitor.get(), parent_.get()), high = std::max(monitor.get(), parent_.get());
    if (low > 0) syscall(SYS_close_range, 0, low - 1, 0);
    if (high > low + 1) syscall(SYS_close_range, low + 1, high - 1, 0);
    syscall(SYS_close_range, high + 1, ~0u, 0);
    forget_code_pages();
    pollfd event{monitor.get(), POLLIN, 0};
    while (poll(&event, 1, -1) < 0 && errno == EINTR) {
    }
    remove_group(parent_.get(), name_.c_str());
    _exit(0);
}

void CpuGroup::end_watch() {
    if (watcher_ <= 0) return;
    kill(watcher_, SIGKILL);
    waitpid(watcher_, nullptr, 0);
    watcher_ = -1;
}

bool CpuGroup::add(int process) const { return write_number(group_.get(), "cgroup.procs", std::to_string(process)); }

u64 CpuGroup::held() const {
    if (!present()) return 0;
    std::string text = read_whole(group_.get(), "cpu.stat");
    return unified_ ? number_after(text, "throttled_usec ") * 1000 : number_after(text, "throttled_time ");
}

void CpuGroup::remove() {
    end_watch();
    if (name_.empty()) return;
    group_.reset();
    remove_group(parent_.get(), name_.c_str());
    name_.clear();
}

}  // namespace postern::host
