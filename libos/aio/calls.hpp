// SPDX-License-Identifier: Apache-2.0
// Declarations of the calls in calls.inc.
#pragma once

#include "libos/syscall/table.hpp"

namespace postern::libos {

struct Process;

#define CALL(number, name, level, function, kinds, note) Res<i64> function(Thread&, Arguments);
#include "libos/aio/calls.inc"
#undef CALL

/// exec and the end of a process, by itself or by who buries it: its contexts go.
void aio_process_ended(Process& process);
/// /proc/sys/fs/aio-nr: events that contexts have been made for.
u64 aio_total();

}  // namespace postern::libos
