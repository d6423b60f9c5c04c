// SPDX-License-Identifier: Apache-2.0
// What was asked on the command line, and who does it. One table of options (options.cpp) serves parsing, --help and
// the check that the manual page is complete.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "host/linux/monitor/launch.hpp"

namespace postern::cli {

inline constexpr int kUsageError = 125;  ///< as docker: the command itself could not be understood or carried out

enum class CrashReport { by_default, none, brief, full };
enum class Stats { none, text, json };

struct Request {
    host::LaunchOptions launch;  ///< run; its `view` also serves routes
    Stats stats = Stats::none;
    CrashReport crash_report = CrashReport::by_default;
    bool trace_is_array = false;         ///< run: the trace is a JSON array, to be closed after the last process
    std::vector<std::string> variables;  ///< run: each -e
    bool clear_environment = false;
    bool json = false;             ///< routes, gate, syscalls, wall
    bool no_signal_scope = false;  ///< wall: the rules for kernels without Landlock's signal scope
};

/// A subcommand: how it is called in help, and what runs it. `arguments` are those after its name.
struct Subcommand {
    std::string_view name;
    std::string_view summary;
    int (*main)(Request& request);
};
std::span<const Subcommand> subcommands();
const Subcommand* find_subcommand(std::string_view name);

enum class Parsed { go_on, done, failed };
/// Fills in `request`. Prints help or the error itself; `done` and `failed` say to end with 0 and kUsageError.
Parsed parse(const Subcommand& command, std::span<char* const> arguments, Request& request);
/// `postern --help`.
std::string general_help();

int run(Request& request);
int routes(Request& request);
int gate(Request& request);
int syscalls(Request& request);
int wall(Request& request);

}  // namespace postern::cli
