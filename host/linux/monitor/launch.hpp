// SPDX-License-Identifier: Apache-2.0
// What the command line asks of the monitor: run one program with its family inside picoprocesses, and wait for it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "core/route.hpp"

namespace postern::host {

/// What went wrong on Postern's own side, ready to print: one line that names the thing and says what to do next.
struct LaunchError {
    int status = 125;  ///< exit status to end with, as docker's
    char message[1000] = {};
};

// The view ---------------------------------------------------------------------------------------------------------

/// One "-v SRC[:DST][:ro|rw]".
struct Volume {
    std::string source;       ///< host path; made absolute by parse_volume
    std::string destination;  ///< absolute, normal path in the view
    bool writable = false;
    std::string origin;  ///< the flag as it was written, for reports
};
/// Parses the argument of -v. DST defaults to SRC, the mode to ro.
Result<Volume, LaunchError> parse_volume(std::string_view text);

/// The ingredients that compile into routes.
struct ViewOptions {
    std::vector<Volume> volumes;
    std::string root;  ///< --root DIR: the host directory shown as "/" instead of the system's; "": none
    bool root_writable = false;
    bool defaults = true;                ///< system programs, listed /etc, private /tmp and home, /proc /dev /sys
    bool show_working_directory = true;  ///< the caller's working directory, read-only, by the default rules
    std::string working_directory;  ///< path in the view where the program starts; "": the caller's (with --root: "/")
    std::string home;               ///< "": $HOME of the caller, else from the password file
};

/// A compiled view. Owns the storage of its table.
class View {
public:
    View();
    ~View();
    View(View&&) noexcept;
    View& operator=(View&&) noexcept;
    core::RouteTable& table() { return *table_; }
    const core::RouteTable& table() const { return *table_; }
    const std::string& working_directory() const { return working_directory_; }

private:
    friend Result<View, LaunchError> compile_view(const ViewOptions& options);
    struct Storage;
    std::unique_ptr<Storage> storage_;
    core::RouteTable* table_ = nullptr;
    std::string working_directory_;
};
/// Fails when a volume's source does not exist, or on options that contradict each other.
Result<View, LaunchError> compile_view(const ViewOptions& options);
/// `postern routes`: the rules in order, as text or as a JSON array, with a final newline.
std::string describe_routes(const View& view, bool json);

// The launch -------------------------------------------------------------------------------------------------------

enum class TraceKind { none, calls, gate };

struct LaunchOptions {
    std::vector<std::string> program;      ///< argv; program[0] is looked up in the view along PATH by the library OS
    std::vector<std::string> environment;  ///< "NAME=value"
    ViewOptions view;
    bool keep_stdin = false;     ///< -i: a terminal as standard input is relayed (else /dev/null stands for it)
    bool terminal = false;       ///< -t: the program has a terminal of its own, connected to the caller's
    double timeout_seconds = 0;  ///< 0: none. When it passes the family is ended and the status is 124
    TraceKind trace = TraceKind::none;
    int trace_descriptor = -1;  ///< where the trace goes; -1: standard error. Stays the caller's
    std::string trace_path;     ///< if not empty: created or truncated by the monitor instead
    bool verbose = false;
    bool quiet = false;                 ///< no report of refused names (the result holds them all the same)
    u64 memory_limit = 0;               ///< bytes for the family; 0: the default (see default_memory_limit)
    u64 disk_limit = 0;                 ///< bytes of private files; 0: the default (see default_disk_limit)
    double processors = 0;              ///< processor time for the family, in processors; 0: no limit
    u32 process_limit = 512;            ///< processes and threads of the family together
    bool wait_all = false;              ///< wait for children that the program leaves behind instead of ending them
    u32 user_id = ~0u, group_id = ~0u;  ///< what the program sees as its own; ~0: the caller's
    bool use_cache = true;  ///< keep in the user's cache what makes later starts faster, and use what is there
    bool stats = false;     ///< fill in LaunchResult::stats beyond what is free of cost

    // Tests and odd installations.
    std::string libexec;     ///< directory of `entry` and `libos`; "": ../libexec/postern of this program
    std::string libos_path;  ///< another image in place of the library OS (guests that test the gate)
    std::string entry_path;
    bool no_landlock = false;  ///< leave out the second walls, to test the first one
    bool no_namespaces = false;
    /// Comma-separated: openat2, landlock, tgkill, killable, memfd_seal, addfd, patch, cgroup,
    /// foreseen
    std::string force_fallback;
    std::string library_options;  ///< further "key=value" lines for the library OS
};

struct LaunchStats {
    u64 system_calls = 0, gate_calls = 0, host_calls = 0;
    u64 traps = 0, patches = 0;
    u64 monitor_requests = 0;  ///< doorbells answered
    u64 answers_ahead = 0;     ///< questions that need not be asked, because starts like this one asked them before
    u64 peak_memory = 0;       ///< bytes, of the family
    u64 wall_ns = 0, user_ns = 0, system_ns = 0;
    u64 memory_limit = 0, disk_limit = 0;  ///< what was in force
    u32 process_limit = 0;
    double processors = 0;
    u64 held_ns = 0;  ///< for so long the family was kept from running by LaunchOptions::processors
};

/// A name that exists on the host and was not given to the program.
struct RefusedName {
    std::string name;        ///< path in the view
    std::string rule;        ///< the rule that refused, or "no rule"
    std::string suggestion;  ///< the flag that would allow it, for example "-v /data:ro"
};

/// A limit that the family met.
struct LimitMet {
    std::string name;     ///< that of the option, without dashes
    std::string message;  ///< for the user, one line
    bool ended = false;   ///< the family was ended for it; otherwise somebody in it was refused something
};

struct LaunchResult {
    int status = 125;  ///< as docker: the program's own, 126 not executable, 127 not found, 128+n signal, 124 timeout
    bool timed_out = false, out_of_memory = false;
    std::vector<LimitMet> limits;  ///< in no particular order
    LaunchStats stats;
    std::vector<RefusedName> refused;
    std::vector<std::string> absent_calls;  ///< system calls that the program wanted and the library OS lacks
    std::vector<std::string> notes;         ///< lines for the user: out of memory, fallbacks that were used (verbose)
};

/// Runs the program to its end. Blocks; forwards INT, TERM, HUP, QUIT, USR1, USR2, WINCH and CONT of this process to
/// the program meanwhile. Leaves no process, descriptor or file behind on any path. Call from a single-threaded
/// process.
Result<LaunchResult, LaunchError> launch(const LaunchOptions& options);

/// Half of the machine's memory, at most what the process's own limits allow.
u64 default_memory_limit();
/// What private files may take by default: all but a sixteenth of the memory, which the library OS needs to go on.
u64 default_disk_limit(u64 memory_limit);

}  // namespace postern::host
