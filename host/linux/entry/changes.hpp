// SPDX-License-Identifier: Apache-2.0
// DkStreamChangesRegister: events that are set when a file or directory changes. Waits look at such an object every
// 20 ms: a watch by the kernel would be a descriptor that names paths.
#pragma once

#include "host/linux/entry/handles.hpp"

namespace postern::host {

/// Compares what the event watches with what was seen last, and sets its word when they differ.
void check_changes(HandleEntry& event);
/// Ends the watch of an event, if it has one.
void forget_watch(HandleEntry& event);

}  // namespace postern::host
