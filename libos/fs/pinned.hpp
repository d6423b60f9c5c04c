// SPDX-License-Identifier: Apache-2.0
// Directories whose names stay theirs although what is in them may change: the tops of volumes.
//
// A program often asks about its working directory. This picoprocess keeps a handle of such a directory, and the kernel
// tells its attributes as they are: nothing is remembered but which object it is.
#pragma once

#include <string_view>

#include "libos/gate.hpp"

namespace postern::libos {

/// Answers as DkStreamAttributesQuery would. False: not one of these.
bool pinned_answer(std::string_view path, gate::Attributes& answer);
/// The host has answered so.
void note_pinned(std::string_view path, const gate::Attributes& answer);

}  // namespace postern::libos
