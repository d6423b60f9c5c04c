// SPDX-License-Identifier: Apache-2.0
// The mount table as programs see it.
#pragma once

#include "libos/proc/node.hpp"

namespace postern::libos {

Res<void> write_mounts(const Subject& subject, ProcText& text);      ///< as /proc/mounts
Res<void> write_mount_info(const Subject& subject, ProcText& text);  ///< as /proc/PID/mountinfo

/// The number of the mount that holds this canonical name, as in /proc/PID/mountinfo.
u32 number_of_mount(std::string_view path);

}  // namespace postern::libos
