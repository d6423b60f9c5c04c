// SPDX-License-Identifier: Apache-2.0
// The handlers of host signals. They rewrite the interrupted context and do nothing else.
#pragma once

#include "base/types.hpp"

namespace postern::host {

/// Installs all handlers and clears the signal mask. Pre-filter, once; inherited by forks and threads.
void install_signal_handlers();
/// Is the address in a part of the host, where no program code can be? (The time page is program and host code.)
bool in_host_image(u64 address);

}  // namespace postern::host
