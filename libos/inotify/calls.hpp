// SPDX-License-Identifier: Apache-2.0
// Declarations of the calls in calls.inc.
#pragma once

#include "libos/syscall/table.hpp"

namespace postern::libos {

#define CALL(number, name, level, function, kinds, note) Res<i64> function(Thread&, Arguments);
#include "libos/inotify/calls.inc"
#undef CALL

}  // namespace postern::libos
