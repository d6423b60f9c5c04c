// SPDX-License-Identifier: Apache-2.0
// Limits of a family: what is checked at the start and while it runs, and what its user is told at the end.
#include <sys/stat.h>

#include <algorithm>

#include "gate/personality.hpp"
#include "host/linux/monitor/census.hpp"
#include "host/linux/monitor/monitor.hpp"

namespace postern::host {

namespace {

constexpr u64 kMillisecond = 1'000'000;
constexpr u64 kLeastMemory = 8ull << 20;

/// As people write it: "256 MiB", "1.5 GiB".
std::string size_text(u64 bytes) {
    static constexpr const char* kUnits[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double value = static_cast<double>(bytes);
    int unit = 0;
    while (value >= 1024 && unit < 4) value /= 1024, ++unit;
    char text[40];
    snprintf(text, sizeof text, "%.4g %s", value, kUnits[unit]);
    return text;
}

}  // namespace

u64 default_disk_limit(u64 memory_limit) { return page_floor(memory_limit - memory_limit / 16); }

Result<void, LaunchError> Monitor::check_limits() {
    memory_limit_ = page_floor(options_.memory_limit != 0 ? options_.memory_limit : default_memory_limit());
    if (memory_limit_ < kLeastMemory)
        return Failure{launch_error(125, "a memory limit below 8 MiB runs nothing; raise --memory")};
    if (options_.disk_limit > memory_limit_) {
        return Failure{launch_error(125,
                                    "--disk %s is more than the memory limit of %s, and private files are kept in "
                                    "memory; raise --memory",
                                    size_text(options_.disk_limit).c_str(), size_text(memory_limit_).c_str())};
    }
    disk_limit_ = options_.disk_limit != 0 ? page_ceil(options_.disk_limit) : default_disk_limit(memory_limit_);
    return {};
}

/// Private pages of every member and the shared memory once. Not exact: it lags by the period of polling, and pages
/// that forked processes still share are counted with the kernel's file-backed ones, that is not at all.
void Monitor::poll_memory() {
    u64 total = file_memory(arena_.get());
    for (int process : members()) total += private_memory(process);
    result_.stats.peak_memory = std::max(result_.stats.peak_memory, total);
    if (total > memory_limit_) {
        result_.out_of_memory = true;
        return stop(137);
    }
    // As far ahead as a program needs that touches fresh pages as fast as two processors can, about 4 GiB a second.
    u64 period = std::clamp<u64>((memory_limit_ - total) / (4 << 20), 10, 250);
    // While nobody asks for anything nothing but this runs, each time in the same few pages.
    if (now_ns() - started_ > 300 * kMillisecond && result_.stats.monitor_requests == requests_seen_)
        forget_code_pages();
    requests_seen_ = result_.stats.monitor_requests;
    memory_poll_ = now_ns() + period * kMillisecond;
}

/// Size of the largest regular file among what the caller hands on: it may grow, too, from where it is.
u64 Monitor::largest_stream() const {
    u64 largest = 0;
    for (int descriptor : {0, 1, 2, options_.trace_descriptor}) {
        struct stat status;
        if (descriptor >= 0 && fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode))
            largest = std::max(largest, static_cast<u64>(status.st_size));
    }
    return largest;
}

void Monitor::look_at_processors() {
    throttle_.look([this] { return members(); });
}

/// What picoprocesses say of themselves chooses among sentences that are written here, and nothing else.
void Monitor::report_limits() {
    result_.stats.memory_limit = memory_limit_;
    result_.stats.disk_limit = disk_limit_;
    result_.stats.process_limit = options_.process_limit;
    result_.stats.processors = options_.processors;
    // A group adds up what it kept waiting on each processor.
    result_.stats.held_ns = std::min(throttle_.held_ns(), now_ns() - started_);
    u32 said = request_memory_ == nullptr ? 0 : reinterpret_cast<const RequestHeader*>(request_memory_)->limits_met;
    auto met = [said](gate::Limit limit) { return (said & static_cast<u32>(limit)) != 0; };
    auto tell = [this](const char* name, std::string limit, bool ended) {
        std::string message = "the " + limit + " was reached (--" + name + " raises it)";
        if (ended) message += "; the program was ended";
        result_.limits.push_back({name, std::move(message), ended});
    };
    if (result_.timed_out) {
        char seconds[40];
        snprintf(seconds, sizeof seconds, "%.10g s", options_.timeout_seconds);
        tell("timeout", std::string{"time limit of "} + seconds, true);
    }
    if (result_.out_of_memory || met(gate::Limit::memory))
        tell("memory", "memory limit of " + size_text(memory_limit_), result_.out_of_memory);
    if (refused_process_)
        tell("pids", "limit of " + std::to_string(options_.process_limit) + " processes and threads", false);
    if (met(gate::Limit::disk)) tell("disk", "disk limit of " + size_text(disk_limit_), false);
    if (met(gate::Limit::file_size) && options_.disk_limit != 0)
        tell("disk", "limit of " + size_text(disk_limit_) + " for a file on a volume", false);
}

}  // namespace postern::host
