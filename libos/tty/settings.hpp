// SPDX-License-Identifier: Apache-2.0
// The forms in which programs hand over terminal settings: struct termios, termios2 and termio (tty_ioctl(2)).
#pragma once

#include "libos/errno.hpp"
#include "libos/tty/line_discipline.hpp"

namespace postern::libos {

enum class SettingsForm { termios, termios2, termio };

Res<void> write_settings(u64 address, const TerminalSettings& settings, SettingsForm form);
/// Changes `settings` to what the program asks; speeds follow from the flags unless given as numbers.
Res<void> read_settings(u64 address, TerminalSettings& settings, SettingsForm form);

}  // namespace postern::libos
