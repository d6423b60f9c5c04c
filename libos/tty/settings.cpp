// SPDX-License-Identifier: Apache-2.0
#include "libos/tty/settings.hpp"

#include <asm/termios.h>

#include "base/memory.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u32 kTermiosSize = 36;
static_assert(sizeof(termios) == kTermiosSize && sizeof(termios2) == sizeof(TerminalSettings));
constexpr u32 kInputShift = 16;

constexpr u32 kSpeeds[] = {0,       50,      75,      110,     134,     150,     200,    300,
                           600,     1200,    1800,    2400,    4800,    9600,    19200,  38400,
                           57600,   115200,  230400,  460800,  500000,  576000,  921600, 1000000,
                           1152000, 1500000, 2000000, 2500000, 3000000, 3500000, 4000000};
constexpr u32 kSpeedCount = sizeof kSpeeds / sizeof *kSpeeds;

/// `code`: a Bxxx, the second bank with CBAUDEX.
u32 speed_of(u32 code, u32 given) {
    if (code == BOTHER) return given;
    u32 index = (code & CBAUDEX) != 0 ? (code & ~u32{CBAUDEX}) + 15 : code;
    return index < kSpeedCount ? kSpeeds[index] : 0;
}

}  // namespace

Res<void> write_settings(u64 address, const TerminalSettings& settings, SettingsForm form) {
    if (form == SettingsForm::termios2) return copy_out(address, &settings, sizeof settings);
    if (form == SettingsForm::termios) return copy_out(address, &settings, kTermiosSize);
    termio old{};
    old.c_iflag = static_cast<u16>(settings.input);
    old.c_oflag = static_cast<u16>(settings.output);
    old.c_cflag = static_cast<u16>(settings.control);
    old.c_lflag = static_cast<u16>(settings.local);
    old.c_line = settings.line;
    memcpy(old.c_cc, settings.characters, NCC);
    return copy_out(address, &old, sizeof old);
}

Res<void> read_settings(u64 address, TerminalSettings& settings, SettingsForm form) {
    if (form == SettingsForm::termio) {
        termio old = TRY(read_user<termio>(address));
        settings.input = (settings.input & 0xffff0000) | old.c_iflag;
        settings.output = (settings.output & 0xffff0000) | old.c_oflag;
        settings.control = (settings.control & 0xffff0000) | old.c_cflag;
        settings.local = (settings.local & 0xffff0000) | old.c_lflag;
        settings.line = old.c_line;
        memcpy(settings.characters, old.c_cc, NCC);
    } else {
        TRY(copy_in(&settings, address, form == SettingsForm::termios ? kTermiosSize : sizeof settings));
    }
    settings.line = 0;
    settings.output_speed = speed_of(settings.control & CBAUD, settings.output_speed);
    u32 input = settings.control >> kInputShift & CBAUD;
    settings.input_speed = input == B0 ? settings.output_speed : speed_of(input, settings.input_speed);
    return {};
}

}  // namespace postern::libos
