// SPDX-License-Identifier: Apache-2.0
#include "host/linux/monitor/census.hpp"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

namespace postern::host {

namespace {

ssize_t read_text(const char* path, char* buffer, usize size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    usize used = 0;
    for (;;) {
        ssize_t got = read(fd, buffer + used, size - 1 - used);
        if (got <= 0) break;
        used += static_cast<usize>(got);
    }
    close(fd);
    buffer[used] = 0;
    return static_cast<ssize_t>(used);
}

/// Field of /proc/PID/stat, counted from 1 as in proc(5). The name in field 2 may contain anything.
u64 stat_field(int process, int field) {
    char path[40], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", process);
    if (read_text(path, text, sizeof text) <= 0) return 0;
    const char* place = strrchr(text, ')');
    if (place == nullptr) return 0;
    for (int at = 2; at < field && place != nullptr; ++at) place = strchr(place + 1, ' ');
    return place == nullptr ? 0 : strtoull(place + 1, nullptr, 10);
}

}  // namespace

std::vector<int> children_of_self() {
    std::vector<int> children;
    char path[60];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
    static char text[64 << 10];
    ssize_t size = read_text(path, text, sizeof text);
    if (size >= 0) {
        for (char* place = text; *place != 0;) {
            char* end;
            long id = strtol(place, &end, 10);
            if (end == place) break;
            children.push_back(static_cast<int>(id));
            place = end;
            while (*place == ' ') ++place;
        }
        return children;
    }
    // Kernels without that file: look at everybody.
    DIR* directory = opendir("/proc");
    if (directory == nullptr) return children;
    int self = getpid();
    while (const dirent* entry = readdir(directory)) {
        if (!isdigit(static_cast<unsigned char>(entry->d_name[0]))) continue;
        int id = atoi(entry->d_name);
        if (stat_field(id, 4) == static_cast<u64>(self)) children.push_back(id);
    }
    closedir(directory);
    return children;
}

u32 thread_count(int process) { return static_cast<u32>(stat_field(process, 20)); }

u64 processor_time(int process) {
    // What clock_getcpuclockid(3) answers. Needs no rights: the time of a process is no secret.
    clockid_t clock = static_cast<clockid_t>((~static_cast<u32>(process) << 3) | 2);
    timespec time;
    if (clock_gettime(clock, &time) != 0) return 0;
    return static_cast<u64>(time.tv_sec) * 1'000'000'000 + static_cast<u64>(time.tv_nsec);
}

bool add_living_usage(int process, gate::MembersUsage& usage) {
    char path[40], text[4096];
    snprintf(path, sizeof path, "/proc/%d/status", process);
    if (read_text(path, text, sizeof text) <= 0) return true;  // hidden from us: nothing is known
    auto number = [&](const char* key) -> u64 {
        const char* place = strstr(text, key);
        return place == nullptr ? 0 : strtoull(place + strlen(key), nullptr, 10);
    };
    if (strstr(text, "\nVmHWM:") == nullptr) return false;
    usage.most_memory = std::max(usage.most_memory, number("\nVmHWM:") * 1024);
    usage.memory += number("\nVmRSS:") * 1024;
    usage.waits += number("\nvoluntary_ctxt_switches:");
    usage.preemptions += number("\nnonvoluntary_ctxt_switches:");
    usage.minor_faults += stat_field(process, 10);
    usage.major_faults += stat_field(process, 12);
    // Both in ticks, which are coarse; the sum is known to the nanosecond.
    double user = static_cast<double>(stat_field(process, 14)), system = static_cast<double>(stat_field(process, 15));
    if (system > 0)
        usage.system_ns += static_cast<u64>(static_cast<double>(processor_time(process)) * system / (user + system));
    return true;
}

u64 private_memory(int process) {
    char path[40], text[200];
    snprintf(path, sizeof path, "/proc/%d/statm", process);
    if (read_text(path, text, sizeof text) <= 0) return 0;
    unsigned long total = 0, resident = 0, shared = 0;
    if (sscanf(text, "%lu %lu %lu", &total, &resident, &shared) != 3 || resident < shared) return 0;
    return (resident - shared) * kPageSize;
}

u64 file_memory(int descriptor) {
    struct stat status;
    return fstat(descriptor, &status) == 0 ? static_cast<u64>(status.st_blocks) * 512 : 0;
}

}  // namespace postern::host
