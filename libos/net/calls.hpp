// SPDX-License-Identifier: Apache-2.0
// Declarations of the calls in calls.inc, and what their files share.
#pragma once

#include "libos/net/socket.hpp"
#include "libos/syscall/table.hpp"

namespace postern::libos {

/// EBADF, then ENOTSOCK: what every call on a socket checks first.
Res<SocketFile*> hold_socket(Thread& thread, HeldFile& file, u64 fd);

#define CALL(number, name, level, function, kinds, note) Res<i64> function(Thread&, Arguments);
#include "libos/net/calls.inc"
#undef CALL

}  // namespace postern::libos
