// SPDX-License-Identifier: Apache-2.0
// Launches a program with options that the command line does not offer: another library-OS image, forced fallbacks.
//   launch_guest [KEY=VALUE ...] -- PROGRAM ARGS
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/linux/monitor/launch.hpp"

extern char** environ;

int main(int count, char** arguments) {
    using namespace postern;
    host::LaunchOptions options;
    int i = 1;
    for (; i < count && strcmp(arguments[i], "--") != 0; ++i) {
        std::string text = arguments[i];
        auto value = [&](const char* key) -> const char* {
            usize length = strlen(key);
            return text.compare(0, length, key) == 0 ? text.c_str() + length : nullptr;
        };
        if (auto v = value("libos="))
            options.libos_path = v;
        else if (auto v = value("libexec="))
            options.libexec = v;
        else if (auto v = value("entry="))
            options.entry_path = v;
        else if (auto v = value("fallback="))
            options.force_fallback = v;
        else if (auto v = value("timeout="))
            options.timeout_seconds = atof(v);
        else if (auto v = value("memory="))
            options.memory_limit = strtoull(v, nullptr, 10);
        else if (auto v = value("pids="))
            options.process_limit = static_cast<u32>(atoi(v));
        else if (auto v = value("opt="))
            options.library_options = v;
        else if (auto v = value("root="))
            options.view.root = v;
        else if (text == "no_landlock")
            options.no_landlock = true;
        else if (text == "no_namespaces")
            options.no_namespaces = true;
        else if (text == "wait_all")
            options.wait_all = true;
        else if (text == "verbose")
            options.verbose = true;
        else if (text == "stdin")
            options.keep_stdin = true;
        else if (auto v = value("volume=")) {
            auto volume = host::parse_volume(v);
            if (!volume.ok()) return fprintf(stderr, "%s\n", volume.error().message), 125;
            options.view.volumes.push_back(volume.take());
        } else {
            fprintf(stderr, "unknown option %s\n", text.c_str());
            return 125;
        }
    }
    for (++i; i < count; ++i) options.program.emplace_back(arguments[i]);
    for (char** variable = environ; *variable != nullptr; ++variable) options.environment.emplace_back(*variable);
    auto result = host::launch(options);
    if (!result.ok()) {
        fprintf(stderr, "launch_guest: %s\n", result.error().message);
        return result.error().status;
    }
    host::LaunchResult& value = result.value();
    for (const std::string& note : value.notes) fprintf(stderr, "note: %s\n", note.c_str());
    for (const auto& name : value.refused) {
        fprintf(stderr, "refused: %s (%s) %s\n", name.name.c_str(), name.rule.c_str(), name.suggestion.c_str());
    }
    for (const std::string& name : value.absent_calls) fprintf(stderr, "absent: %s\n", name.c_str());
    if (options.verbose) {
        fprintf(stderr, "requests %lu wall %lu us peak %lu KiB\n", value.stats.monitor_requests,
                value.stats.wall_ns / 1000, value.stats.peak_memory / 1024);
    }
    return value.status;
}
