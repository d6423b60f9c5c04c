// SPDX-License-Identifier: Apache-2.0
// The mount table as programs see it.
#pragma once

#include "libos/proc/node.hpp"

namespace postern::libos {

Res<void> write_mounts(const Subject& subject, ProcText& text);      ///< as /proc/mounts
Res<void> write_mount_info(const Subject& subject, ProcText& text);  ///< as /proc/PID/mountinfo

}  // namespace postern::libos
