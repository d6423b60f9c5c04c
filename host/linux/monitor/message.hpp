// SPDX-License-Identifier: Apache-2.0
// Messages between Postern's own processes that carry descriptors (unix(7), SCM_RIGHTS).
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <span>

#include "base/types.hpp"

namespace postern::host {

inline constexpr usize kMessageDescriptors = 250;  ///< most that one message carries

/// Bytes sent, or -1 with errno. Never raises SIGPIPE.
ssize_t send_message(int socket, std::span<iovec> parts, std::span<const int> descriptors);
/// Bytes received, 0 at the end, or -1 with errno. `count` says how many of `descriptors` were filled in, all closed on
/// exec; what is sent beyond them the kernel drops. `flags` as for recvmsg(2).
ssize_t receive_message(int socket, std::span<iovec> parts, std::span<int> descriptors, usize& count, int flags);

}  // namespace postern::host
