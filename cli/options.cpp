// SPDX-License-Identifier: Apache-2.0
// The options of every subcommand, declared once with CLI11. The only file that includes it.
//
// CLI11 decides what an option is and what its value may be; which words belong to the program is decided here before
// it sees any: the first word that is no option ends them, as with docker, and so does `--`.
#include <sched.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "cli/call_set.hpp"
#include "cli/command.hpp"
#include "cli/environment.hpp"
#include "cli/text.hpp"

extern "C" const char postern_syscalls_json[], postern_syscalls_json_end[];

namespace postern::cli {
namespace {

/// Stands for the value of an option that was given without its optional one.
constexpr const char* kNoValue = "\x01";

/// Options of docker and bwrap that people will try, and what to use instead.
struct Stranger {
    std::string_view name;
    std::string_view advice;
};
constexpr Stranger kStrangers[] = {
    {"-d", "Use your shell's & or a service manager."},
    {"--detach", "Use your shell's & or a service manager."},
    {"--rm", "Nothing is left behind anyway."},
    {"--network", "Programs have no network yet."},
    {"--net", "Programs have no network yet."},
    {"-p", "Programs have no network yet."},
    {"--publish", "Programs have no network yet."},
    {"--mount", "Use -v SRC[:DST][:ro|rw]."},
    {"--bind", "Use -v SRC:DST:rw."},
    {"--ro-bind", "Use -v SRC:DST:ro."},
    {"--tmpfs", "/tmp and the home directory are private and in memory already."},
    {"--chdir", "Use -w DIR."},
    {"--setenv", "Use -e NAME=VALUE."},
    {"--unshare-all", "Nothing is shared but what routes give."},
    {"--die-with-parent", "Programs end with the command anyway."},
    {"--privileged", "There are no privileges to give."},
    {"--user", "Programs see the caller's user."},
    {"-u", "Programs see the caller's user."},
    {"--pids-limit", "Use --pids N."},
    {"--cpu-quota", "Use --cpus N."},
    {"--cpuset-cpus", "Use taskset, or --cpus N."},
    {"--storage-opt", "Use --disk SIZE."},
    {"--rootfs", "Use --root DIR."},
};

[[noreturn]] void refuse(const std::string& option, const std::string& value, const char* wanted) {
    throw CLI::ValidationError(option, "'" + value + "' is not " + wanted);
}

/// Processors that this process may use.
u32 processor_count() {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 1;
    return static_cast<u32>(CPU_COUNT(&allowed));
}

void add_view_options(CLI::App& app, Request& request) {
    host::ViewOptions& view = request.launch.view;
    app.add_option_function<std::vector<std::string>>(
           "-v,--volume",
           [&view](const std::vector<std::string>& values) {
               for (const std::string& value : values) {
                   auto volume = host::parse_volume(value);
                   if (!volume.ok()) throw CLI::ValidationError("-v", volume.error().message);
                   view.volumes.push_back(volume.take());
               }
           },
           "show SRC of this machine as DST (default: under its own name), read-only unless :rw. May be repeated")
        ->type_name("SRC[:DST][:ro|rw]")
        ->expected(1)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    app.add_option("--root", view.root, "show DIR as / instead of this machine's programs and libraries")
        ->type_name("DIR");
    app.add_option("-w,--workdir", view.working_directory, "start in DIR, a directory in the program's view")
        ->type_name("DIR");
}

/// Lines for the library OS: it decides what is traced, so that nothing else is even described.
void add_trace_options(CLI::App& app, Request& request) {
    host::LaunchOptions& launch = request.launch;
    auto implied = [&launch] {
        if (launch.trace == host::TraceKind::none) launch.trace = host::TraceKind::calls;
    };
    app.add_option_function<std::vector<std::string>>(
           "--trace-filter",
           [&launch, implied](const std::vector<std::string>& values) {
               implied();
               CallSet calls;
               for (const std::string& value : values) {
                   std::string error;
                   auto set = parse_call_set(value, {postern_syscalls_json, postern_syscalls_json_end}, error);
                   if (!set) throw CLI::ValidationError("--trace-filter", error);
                   calls |= *set;
               }
               launch.library_options += "trace_calls=" + call_set_digits(calls) + "\n";
           },
           "trace these system calls only, written as for strace -e: names, classes (%file, %desc, %process, %network, "
           "%signal, %ipc, %memory, %creds, %clock, %stat), /REGEX; a leading ! means all others")
        ->type_name("SET")
        ->expected(1)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    app.add_option_function<std::vector<std::string>>(
           "--trace-path",
           [&launch, implied](const std::vector<std::string>& values) {
               implied();
               if (values.size() > 16) throw CLI::ValidationError("--trace-path", "at most 16 paths can be given");
               for (std::string value : values) {
                   while (value.size() > 1 && value.back() == '/') value.pop_back();
                   if (value.empty() || value.find('\n') != std::string::npos) refuse("--trace-path", value, "a path");
                   launch.library_options += "trace_path=" + value + "\n";
               }
           },
           "trace only calls that name PATH or something below it, by name or by descriptor. May be repeated")
        ->type_name("PATH")
        ->expected(1)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    app.add_option_function<std::string>(
           "--trace-format",
           [&request, &launch, implied](const std::string& value) {
               implied();
               if (value != "text" && value != "json" && value != "chrome")
                   refuse("--trace-format", value, "'text', 'json' or 'chrome'");
               request.trace_is_array = value == "chrome";
               launch.library_options += "trace_format=" + value + "\n";
           },
           "text as strace's (the default), json: one object per line, or chrome: a file for Perfetto and "
           "chrome://tracing "
           "with a track per thread")
        ->type_name("text|json|chrome");
    app.add_flag_function(
        "--trace-times",
        [&launch, implied](std::int64_t) {
            implied();
            launch.library_options += "trace_times=1\n";
        },
        "in text: seconds since 1970 before each call, and how long it took after it");
}

void add_run_options(CLI::App& app, Request& request) {
    host::LaunchOptions& launch = request.launch;
    add_view_options(app, request);
    app.add_option_function<std::vector<std::string>>(
           "-e,--env",
           [&request](const std::vector<std::string>& values) {
               for (const std::string& value : values)
                   if (value.empty() || value[0] == '=') refuse("-e", value, "NAME=VALUE or NAME");
               request.variables = values;
           },
           "set a variable, or pass the caller's. By default all are passed but those whose names look like secrets "
           "(*TOKEN*, *PASSWORD*, *_KEY, AWS_*, SSH_AUTH_SOCK, ...)")
        ->type_name("NAME[=VALUE]")
        ->expected(1)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    app.add_flag("--clear-env,--clearenv", request.clear_environment,
                 "pass PATH, HOME, USER, LOGNAME, SHELL, LANG, LANGUAGE, LC_*, TERM, COLORTERM, NO_COLOR and TZ only, "
                 "and what -e names");
    app.add_flag("-i,--interactive", launch.keep_stdin,
                 "hand on standard input even if it is a terminal (files and pipes always are)");
    app.add_flag("-t,--tty", launch.terminal,
                 "give the program a terminal of its own, connected to the one that this command runs in; -it is the "
                 "same");
    app.add_option_function<std::string>(
           "--timeout",
           [&launch](const std::string& value) {
               auto seconds = parse_duration(value);
               if (!seconds) refuse("--timeout", value, "a duration like 10, 1.5m or 200ms");
               launch.timeout_seconds = *seconds;
           },
           "end the program after this time; the exit status is then 124")
        ->type_name("DURATION");
    app.add_option_function<std::string>(
           "--memory",
           [&launch](const std::string& value) {
               auto bytes = parse_size(value);
               if (!bytes) refuse("--memory", value, "a size like 512m or 2g");
               launch.memory_limit = *bytes;
           },
           "memory for the program and its children together (default: half of the machine's)")
        ->type_name("SIZE");
    app.add_option_function<std::string>(
           "--disk",
           [&launch](const std::string& value) {
               auto bytes = parse_size(value);
               if (!bytes) refuse("--disk", value, "a size like 512m or 2g");
               launch.disk_limit = *bytes;
           },
           "room in the private trees (/tmp, /dev/shm, the home directory, memory files), which count as memory, too "
           "(default: 15/16 of --memory). With this option no file on a read-write volume can grow beyond SIZE either")
        ->type_name("SIZE");
    app.add_option_function<std::string>(
           "--cpus",
           [&launch](const std::string& value) {
               auto count = parse_processors(value, processor_count());
               if (!count)
                   refuse("--cpus", value, ("a number from 0.01 to " + std::to_string(processor_count())).c_str());
               launch.processors = *count;
           },
           "processor time for the program and its children together, in processors: 0.5, 1.5 (default: no limit)")
        ->type_name("N");
    app.add_option_function<std::string>(
           "--pids",
           [&launch](const std::string& value) {
               char* end = nullptr;
               unsigned long count = strtoul(value.c_str(), &end, 10);
               if (value.empty() || value[0] == '-' || *end != 0 || count < 1 || count > 1000)
                   refuse("--pids", value, "a number from 1 to 1000");
               launch.process_limit = static_cast<u32>(count);
           },
           "processes and threads at a time (default: 512)")
        ->type_name("N");
    app.add_option_function<std::string>(
           "--trace",
           [&launch](const std::string& value) {
               std::string_view rest = value;
               launch.trace = host::TraceKind::calls;
               if (rest == kNoValue) return;
               if (rest == "gate" || rest.starts_with("gate:")) {
                   launch.trace = host::TraceKind::gate;
                   rest.remove_prefix(rest == "gate" ? 4 : 5);
               }
               launch.trace_path = rest;
           },
           "log system calls to standard error or FILE; --trace=gate[:FILE] logs the calls of the gate")
        ->type_name("[=FILE]")
        ->expected(0, 1);
    add_trace_options(app, request);
    app.add_option_function<std::string>(
           "--crash-report",
           [&request](const std::string& value) {
               if (value == kNoValue || value == "full")
                   request.crash_report = CrashReport::full;
               else if (value == "short")
                   request.crash_report = CrashReport::brief;
               else if (value == "none")
                   request.crash_report = CrashReport::none;
               else
                   refuse("--crash-report", value, "'full', 'short' or 'none'");
           },
           "when a program dies of its own fault, print its registers, last system calls and stack. Without this "
           "option one "
           "line, three times at most; with --quiet nothing, with --verbose all of it")
        ->type_name("[=full|short|none]")
        ->expected(0, 1);
    app.add_option_function<std::string>(
           "--stats",
           [&request](const std::string& value) {
               if (value == kNoValue || value == "text")
                   request.stats = Stats::text;
               else if (value == "json")
                   request.stats = Stats::json;
               else
                   refuse("--stats", value, "'text' or 'json'");
               request.launch.stats = true;
           },
           "at the end say how many calls were made where, memory and time, on standard error")
        ->type_name("[=json]")
        ->expected(0, 1);
    app.add_flag("--wait-all", launch.wait_all,
                 "wait for children that the program leaves behind instead of ending them");
    app.add_flag(
        "--no-cache", [&launch](i64) { launch.use_cache = false; },
        "neither use nor keep in ~/.cache/postern what makes later starts faster");
    app.add_flag("--quiet", launch.quiet, "no report of refused names and missing system calls at the end");
    app.add_flag("--verbose", launch.verbose, "say more: fallbacks in use, all refused names");

    // For the tests of Postern itself.
    app.add_option("--libos", launch.libos_path, "another image in place of the library OS")->group("");
    app.add_option("--libexec", launch.libexec, "directory of the images `entry` and `libos`")->group("");
    app.add_flag("--no-landlock", launch.no_landlock, "leave out the second wall")->group("");
    app.add_flag("--no-namespaces", launch.no_namespaces, "leave out namespaces")->group("");
    app.add_option("--force-fallback", launch.force_fallback, "pretend that the kernel lacks these")->group("");
    app.add_option_function<std::string>(
           "--library-options", [&launch](const std::string& value) { launch.library_options += value + "\n"; },
           "further lines for the library OS")
        ->group("");
}

struct Synopsis {
    std::string_view name, usage, examples, after;
    bool takes_program;
};
constexpr Synopsis kSynopses[] = {
    {"run", "postern run [OPTIONS] [--] PROGRAM [ARGUMENT ...]",
     "  postern run -- bash -c 'for i in 3 1 2; do echo $i; done | sort'\n"
     "  postern run -t -- bash\n"
     "  postern run -v ~/project:/src:rw -w /src -- make\n"
     "  postern run --timeout 10s --memory 512m -- python3 untrusted.py\n"
     "  postern run --root /srv/debian -- /bin/sh\n",
     "The program sees the system's programs and libraries, a part of /etc and the working directory, all read-only,\n"
     "and a private /tmp and home. Its network is its own loopback interface. 'postern routes' prints the rules.\n"
     "Exit status: the program's own; 125 Postern failed, 126 not executable, 127 not found, 124 timeout,\n"
     "128+N ended by signal N.\n",
     true},
    {"routes", "postern routes [OPTIONS] [--json]", "  postern routes\n  postern routes -v /data:ro --json\n", "",
     false},
    {"gate", "postern gate [--json]", "  postern gate\n  postern gate --json\n", "", false},
    {"syscalls", "postern syscalls [--json]", "  postern syscalls\n  postern syscalls --json\n", "", false},
    {"wall", "postern wall [--json]", "  postern wall\n  postern wall --json\n", "", false},
};
const Synopsis& synopsis(std::string_view name) {
    for (const Synopsis& entry : kSynopses)
        if (entry.name == name) return entry;
    __builtin_trap();
}

std::string wrapped(std::string_view text, usize indent, usize width) {
    std::string out;
    usize column = 0;
    while (!text.empty()) {
        usize end = text.find(' ');
        std::string_view word = text.substr(0, end);
        if (column != 0 && column + 1 + word.size() > width) out += "\n" + std::string(indent, ' '), column = 0;
        if (column != 0) out += ' ', ++column;
        out += word;
        column += word.size();
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
    return out;
}

std::string help(const Subcommand& command, const CLI::App& app) {
    const Synopsis& entry = synopsis(command.name);
    std::string out = "Examples:\n" + std::string{entry.examples} + "\nUsage: " + std::string{entry.usage} + "\n\n";
    for (const CLI::Option* option : app.get_options()) {
        if (option->get_group().empty()) continue;
        std::string names;
        for (const std::string& name : option->get_snames()) names += (names.empty() ? "-" : ", -") + name;
        for (const std::string& name : option->get_lnames()) names += (names.empty() ? "    --" : ", --") + name;
        std::string type = option->get_type_name();
        if (option->get_items_expected_max() > 0 && !type.empty()) names += (type[0] == '[' ? "" : " ") + type;
        out += "  " + names;
        constexpr usize kColumn = 36;
        out += names.size() + 4 <= kColumn ? std::string(kColumn - 2 - names.size(), ' ')
                                           : "\n" + std::string(kColumn, ' ');
        out += wrapped(option->get_description(), kColumn, 118 - kColumn) + "\n";
    }
    if (!entry.after.empty()) out += "\n" + std::string{entry.after};
    return out;
}

std::string unknown_option(const CLI::App& app, const std::string& word) {
    std::string name = word.substr(0, word.find('='));
    for (const Stranger& stranger : kStrangers)
        if (stranger.name == name) return "option '" + name + "' is not supported. " + std::string{stranger.advice};
    std::vector<std::string> names;
    for (const CLI::Option* option : app.get_options()) {
        if (option->get_group().empty()) continue;
        for (const std::string& known : option->get_lnames()) names.push_back("--" + known);
    }
    std::vector<std::string_view> views(names.begin(), names.end());
    std::string_view guess = closest(name, views);
    return "unknown option '" + name + "'." + (guess.empty() ? "" : " Did you mean '" + std::string{guess} + "'?");
}

/// Splits the words into options, in the form that CLI11 cannot misread, and the program with its arguments.
bool split(const CLI::App& app, std::span<char* const> words, std::vector<std::string>& options,
           std::vector<std::string>& program, std::string& error) {
    usize i = 0;
    for (; i < words.size(); ++i) {
        std::string word = words[i];
        if (word == "--") {
            ++i;
            break;
        }
        if (word.size() < 2 || word[0] != '-') break;
        if (word == "-it" || word == "-ti") {
            options.insert(options.end(), {"-i", "-t"});
            continue;
        }
        bool is_long = word[1] == '-';
        usize equals = is_long ? word.find('=') : std::string::npos;
        const CLI::Option* option = app.get_option_no_throw(is_long ? word.substr(0, equals) : word.substr(0, 2));
        if (option == nullptr) {
            error = unknown_option(app, word);
            return false;
        }
        bool takes_value = option->get_items_expected_max() > 0;
        bool needs_value = takes_value && option->get_items_expected_min() > 0;
        std::string name = is_long ? word.substr(0, equals) : word.substr(0, 2);
        if (!takes_value) {
            if (is_long ? equals != std::string::npos : word.size() > 2) {
                error = is_long ? "option '" + name + "' takes no value" : unknown_option(app, word);
                return false;
            }
            options.push_back(name);
        } else if (is_long && equals != std::string::npos) {
            options.push_back(word);
        } else if (!is_long && word.size() > 2) {
            options.push_back("--" + option->get_lnames().front() + "=" + word.substr(word[2] == '=' ? 3 : 2));
        } else if (!needs_value) {
            options.push_back(name + "=" + kNoValue);
        } else {
            if (i + 1 >= words.size()) {
                error = "option '" + name + "' needs a value: " + option->get_type_name() + ".";
                return false;
            }
            options.push_back("--" + option->get_lnames().front() + "=" + words[++i]);
        }
    }
    for (; i < words.size(); ++i) program.emplace_back(words[i]);
    return true;
}

}  // namespace

std::string general_help() {
    std::string out =
        "Examples:\n"
        "  postern run -- bash -c 'echo hello from $(uname -s)'\n"
        "  postern run -v ~/project:/src:ro -w /src --timeout 10s -- python3 test.py\n"
        "  postern routes -v /data:ro\n"
        "\nUsage: postern COMMAND [OPTIONS] ...\n\nRuns unmodified Linux programs in picoprocesses.\n\nCommands:\n";
    for (const Subcommand& command : subcommands()) {
        out += "  " + std::string{command.name} + std::string(12 - command.name.size(), ' ');
        out += std::string{command.summary} + "\n";
    }
    return out + "\n  --help, --version\n\n'postern COMMAND --help' says more. The manual page is postern(1).\n";
}

Parsed parse(const Subcommand& command, std::span<char* const> arguments, Request& request) {
    CLI::App app;
    app.set_help_flag();
    app.allow_windows_style_options(false);
    bool wants_help = false;
    app.add_flag("-h,--help", wants_help, "this text");
    const Synopsis& entry = synopsis(command.name);
    if (command.name == "run") {
        add_run_options(app, request);
    } else {
        app.add_flag("--json", request.json, "as JSON");
        if (command.name == "routes") add_view_options(app, request);
        if (command.name == "wall")
            app.add_flag("--no-signal-scope", request.no_signal_scope,
                         "the rules for kernels without Landlock's signal scope (before 6.12)");
    }

    std::vector<std::string> options, program;
    std::string error;
    if (!split(app, arguments, options, program, error)) {
        complain(error + " See 'postern " + std::string{command.name} + " --help'.");
        return Parsed::failed;
    }
    try {
        std::vector<std::string> reversed(options.rbegin(), options.rend());  // CLI11 takes them from the back
        app.parse(reversed);
    } catch (const CLI::Error& problem) {
        complain(std::string{problem.what()} + ". See 'postern " + std::string{command.name} + " --help'.");
        return Parsed::failed;
    }
    if (wants_help) return print(help(command, app)) ? Parsed::done : Parsed::failed;
    if (entry.takes_program && program.empty()) {
        complain("a program is missing. Try: postern " + std::string{command.name} + " -- echo hello");
        return Parsed::failed;
    }
    if (!entry.takes_program && !program.empty()) {
        complain("'" + std::string{command.name} + "' takes no argument '" + program[0] + "'. See 'postern " +
                 std::string{command.name} + " --help'.");
        return Parsed::failed;
    }
    request.launch.program = std::move(program);
    request.launch.environment = make_environment(request.clear_environment, request.variables);
    return Parsed::go_on;
}

}  // namespace postern::cli
