// SPDX-License-Identifier: Apache-2.0
// Starting picoprocesses: memory files, the keeper, privileges given up, the entry image executed.
#pragma once

#include <sched.h>
#include <termios.h>

#include <string>
#include <vector>

#include "host/linux/layout.hpp"
#include "host/linux/monitor/sys.hpp"

namespace postern::host {

/// A memory file of `size` bytes that nobody can shrink, grow or seal further. Invalid: errno says why.
Fd make_memory_file(const char* name, u64 size, bool executable_seal = true);

/// The file of notices: written here through the mapping only, read-only for everybody else.
struct NoticeFile {
    Fd read_only;
    void* memory = nullptr;  ///< read-write mapping of this process
};
Result<NoticeFile, LaunchError> make_notice_file();

/// What is known before anything is opened. Everything in it is ready before the fork: the keeper allocates nothing.
struct KeeperOptions {
    const char** arguments = nullptr;  ///< of the first picoprocess; [1] is filled in with the config by the keeper
    const char* const* environment = nullptr;
    u64 data_limit = 0;  ///< RLIMIT_DATA
    u64 file_limit = 0;  ///< RLIMIT_FSIZE; 0: the caller's
    bool drop_privileges = false;
    int terminal = -1;  ///< a descriptor, to be given these settings when the monitor dies
    const struct ::termios* terminal_settings = nullptr;
    const cpu_set_t* affinity = nullptr;  ///< processors of the keeper and all picoprocesses; null: the caller's
    bool second_wall = false;             ///< chroot and namespaces, where they cost little
};

/// Steps of a start that can fail, as BootMessage::step.
enum class StartStep : u32 { none = 0, descriptors = 100, limits, privileges, execute, parent };
const char* step_name(u32 step);

/// The small process that outlives nobody: it starts picoprocesses as children of the monitor but in a session and
/// process group of its own, and ends the whole group when the monitor dies.
class Keeper {
public:
    /// Forks the keeper. Signals that the monitor blocks stay blocked in the keeper and are unblocked in picoprocesses.
    Result<void, LaunchError> start(const KeeperOptions& options);
    /// Starts the first picoprocess with what becomes its descriptors 0 to 8, and the entry image. What goes wrong
    /// arrives at the other end of kFdBoot. Does not wait. `foreseen`: it starts only after hand_over().
    Result<void, LaunchError> spawn_first(const std::string& config, const int (&descriptors)[kFdBoot + 2],
                                          bool foreseen);
    /// What becomes the first picoprocess's descriptors from kFdForeseen on, kMessageDescriptors at most. False: it
    /// starts without them.
    bool hand_over(const std::vector<Fd>& foreseen);
    /// Starts another picoprocess; its process number. The first one's descriptors and limits are used again, but for
    /// `boot` and those of `streams` (descriptors 0 to 2) that are valid.
    Result<int, gate::Err> spawn(const std::vector<std::string>& arguments, const std::vector<std::string>& environment,
                                 int boot, const Fd (&streams)[3]);
    int id() const { return id_; }
    /// Ends the keeper and its whole group. After this no member of the family lives or can be made. The keeper stays a
    /// zombie, so that its number is not used again; reap() ends that.
    void kill_all();
    void reap();
    bool running() const { return id_ > 0 && !killed_; }

private:
    [[noreturn]] static void run(const KeeperOptions& options, int monitor, int control, int monitor_id);

    int id_ = -1;
    bool killed_ = false;
    Fd control_;
};

}  // namespace postern::host
