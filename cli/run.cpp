// SPDX-License-Identifier: Apache-2.0
// `postern run`: launches, then reports on standard error what the user should know.
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/command.hpp"
#include "cli/text.hpp"

namespace postern::cli {
namespace {

constexpr usize kShownNames = 8;

std::string stats_json(const host::LaunchResult& result) {
    const host::LaunchStats& s = result.stats;
    std::string reached;
    for (const host::LimitMet& limit : result.limits) {
        std::string name = json_string(limit.name);
        if (reached.find(name) == std::string::npos) reached += (reached.empty() ? "" : ", ") + name;
    }
    char text[1000];
    snprintf(
        text, sizeof text,
        "{\"status\": %d, \"timed_out\": %s, \"out_of_memory\": %s, \"system_calls\": %lu, \"gate_calls\": %lu, "
        "\"host_calls\": %lu, \"traps\": %lu, \"patches\": %lu, \"monitor_requests\": %lu, \"answers_ahead\": %lu, "
        "\"peak_memory_bytes\": %lu, \"wall_ns\": %lu, \"user_ns\": %lu, \"system_ns\": %lu, \"throttled_ns\": %lu, "
        "\"memory_limit_bytes\": %lu, \"disk_limit_bytes\": %lu, \"process_limit\": %u, \"cpus\": %.10g, "
        "\"limits_reached\": [%s]}\n",
        result.status, result.timed_out ? "true" : "false", result.out_of_memory ? "true" : "false", s.system_calls,
        s.gate_calls, s.host_calls, s.traps, s.patches, s.monitor_requests, s.answers_ahead, s.peak_memory, s.wall_ns,
        s.user_ns, s.system_ns, s.held_ns, s.memory_limit, s.disk_limit, s.process_limit, s.processors,
        reached.c_str());
    return text;
}

/// Empty when nobody was held back.
std::string throttle_text(const host::LaunchStats& stats) {
    if (stats.held_ns == 0) return "";
    char text[100];
    snprintf(text, sizeof text, "throttled for %.1f s (--cpus %.10g)", static_cast<double>(stats.held_ns) / 1e9,
             stats.processors);
    return text;
}

std::string stats_text(const host::LaunchResult& result) {
    const host::LaunchStats& s = result.stats;
    char text[600];
    snprintf(text, sizeof text,
             "postern: %lu system calls inside (%lu traps, %lu sites patched), %lu gate calls, %lu host calls, %lu "
             "requests to the monitor (%lu more answered ahead)\npostern: peak memory %s; %s of time, processor %s "
             "user and %s system\n",
             s.system_calls, s.traps, s.patches, s.gate_calls, s.host_calls, s.monitor_requests, s.answers_ahead,
             size_text(s.peak_memory).c_str(), time_text(s.wall_ns).c_str(), time_text(s.user_ns).c_str(),
             time_text(s.system_ns).c_str());
    std::string held = throttle_text(s);
    return held.empty() ? text : text + ("postern: " + held + "\n");
}

/// The paragraph after the program: what it asked for and did not get. Empty when there is nothing to say.
std::string refusals(const host::LaunchResult& result, bool all) {
    std::string out;
    if (!result.refused.empty()) {
        usize count = result.refused.size();
        out += count == 1 ? "1 name exists outside and was refused:"
                          : std::to_string(count) + " names exist outside and were refused:";
        usize shown = all || count <= kShownNames ? count : kShownNames;
        for (usize i = 0; i < shown; ++i) {
            const host::RefusedName& refused = result.refused[i];
            out += "\n  " + refused.name + "  (" + refused.rule + ")";
            if (!refused.suggestion.empty()) out += "  allow with: " + refused.suggestion;
        }
        if (shown < count) out += "\n  and " + std::to_string(count - shown) + " more (--verbose lists all)";
    }
    if (!result.absent_calls.empty()) {
        if (!out.empty()) out += "\n";
        out += "system calls that are not supported yet and were answered with ENOSYS:";
        for (const std::string& name : result.absent_calls) out += " " + name;
    }
    return out;
}

void to_stderr(std::string_view text) {
    // The report is advice: a standard error that cannot be written to is no reason to change the exit status.
    [[maybe_unused]] ssize_t ignored = write(STDERR_FILENO, text.data(), text.size());
}

/// The last process has ended: whoever reads the trace as JSON finds it whole.
void close_trace(const Request& request) {
    if (!request.trace_is_array) return;
    const std::string& path = request.launch.trace_path;
    if (path.empty()) return to_stderr("\n]\n");
    int file = open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (file < 0) return;
    [[maybe_unused]] ssize_t ignored = write(file, "\n]\n", 3);
    close(file);
}

}  // namespace

int run(Request& request) {
    CrashReport crashes = request.crash_report;
    if (crashes == CrashReport::by_default)
        crashes = request.launch.verbose ? CrashReport::full
                  : request.launch.quiet ? CrashReport::none
                                         : CrashReport::brief;
    if (crashes != CrashReport::none)
        request.launch.library_options += crashes == CrashReport::full ? "crash=full\n" : "crash=short\n";
    auto launched = host::launch(request.launch);
    if (!launched.ok()) {
        host::LaunchError error = launched.error();
        complain(error.message);
        return error.status;
    }
    host::LaunchResult result = launched.take();
    close_trace(request);
    for (const std::string& note : result.notes) complain(note);
    // Why the program was ended is said in any case; that it was refused something is advice.
    for (const host::LimitMet& limit : result.limits)
        if (limit.ended || !request.launch.quiet) complain(limit.message);
    std::string held = throttle_text(result.stats);
    if (request.launch.verbose && request.stats == Stats::none && !held.empty()) complain(held);
    if (!request.launch.quiet) {
        std::string report = refusals(result, request.launch.verbose);
        if (!report.empty()) complain(report);
    }
    if (request.stats != Stats::none) to_stderr(request.stats == Stats::json ? stats_json(result) : stats_text(result));
    return result.status;
}

}  // namespace postern::cli
