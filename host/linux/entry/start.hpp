// SPDX-License-Identifier: Apache-2.0
// The steps of a start, in order; each fails with a report to the monitor.
#pragma once

#include "host/linux/entry/state.hpp"

namespace postern::host {

/// Steps as BootMessage::step numbers them.
enum class BootStep : u32 {
    ready = 0,
    config,
    shared_files,
    time_page,
    threads,
    library,
    barrier,
    privileges,
    landlock,
    helper,
    filter,
};

/// Tells the monitor which step failed and ends the picoprocess with a line on descriptor 2.
[[noreturn]] void boot_failed(BootStep step, long error, std::string_view what);

/// Moves [vvar] and [vdso] to kTimePageBase and finds its clock. Without /proc they stay, unused.
void adopt_time_page(u64 image);
/// Maps the library OS from kFdLibOs and finds its upcalls.
void load_library();
/// no_new_privs, not dumpable, no core files, Landlock, then the filter, whose listener goes to the monitor.
void seal();

}  // namespace postern::host
