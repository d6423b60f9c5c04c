// SPDX-License-Identifier: Apache-2.0
// What a privileged program may set for the whole family: its names (sethostname(2)) and the limits of /proc/sys that
// are obeyed. In the arena.
#pragma once

#include <string_view>

#include "libos/errno.hpp"
#include "libos/shared/lock.hpp"

namespace postern::libos {

struct Settings {
    static constexpr u32 kNameSize = 65;  ///< with its NUL, as in struct utsname
    SharedLock lock;                      ///< a leaf: of the names
    char node[kNameSize] = {}, domain[kNameSize] = {};
    // Single words: read and written without the lock.
    u64 number_limit = 32768;   ///< kernel.pid_max
    u64 mapping_limit = 65530;  ///< vm.max_map_count
    u64 pipe_limit = 1 << 20;   ///< fs.pipe-max-size: of a program without CAP_SYS_RESOURCE
};

/// Once, by the first process.
Res<void> create_settings();
Settings& settings();

/// Copies a name out. `name` is settings().node or settings().domain.
void read_name(const char (&name)[Settings::kNameSize], char (&copy)[Settings::kNameSize]);
/// Errno::inval when it is too long.
Res<void> set_name(char (&name)[Settings::kNameSize], std::string_view fresh);

}  // namespace postern::libos
