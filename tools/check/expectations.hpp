// SPDX-License-Identifier: Apache-2.0
// What the wall must let through and what it must stop, written from the manual pages and not from its rules.
//
// The expectations are evaluated against a filter program: the one that is built, the one that is installed, or one
// that was weakened on purpose, which must not pass.
#pragma once

#include <linux/filter.h>

#include <span>
#include <string>
#include <vector>

#include "base/types.hpp"

namespace postern::check {

/// Numbers that name a path, a program, an address to connect or send to, or another process beyond what the rules
/// pin: none may ever be let through, whatever its arguments.
bool takes_path_program_or_destination(u32 number);

/// Violations in words, at most `limit`. `signal_scope`: the program is for kernels where Landlock confines signals.
std::vector<std::string> violations(std::span<const sock_filter> program, bool signal_scope, usize limit = 1);

/// Does the program answer `number` from the gate page with anything but a kill, for arguments that a rule names or
/// for those of the expectations?
bool lets_through(std::span<const sock_filter> program, u32 number);

}  // namespace postern::check
