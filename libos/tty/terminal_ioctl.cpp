// SPDX-License-Identifier: Apache-2.0
// Requests to terminals (tty_ioctl(2), pty(7)). On the master's side most speak of the programs' side.
#include <asm/termios.h>
#include <linux/tty.h>

#include "base/format.hpp"
#include "libos/fs/open.hpp"
#include "libos/syscall/table.hpp"
#include "libos/tty/console.hpp"
#include "libos/tty/devices.hpp"
#include "libos/tty/session.hpp"
#include "libos/tty/settings.hpp"
#include "libos/tty/terminal.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u32 kCapSysAdmin = 21;

Res<i64> put_number(u64 address, i64 value) {
    TRY(write_user(address, static_cast<i32>(value)));
    return 0;
}

/// As tty_check_change of Linux: for whoever changes the terminal from the background.
Res<void> check_change(Thread& thread, Terminal& terminal) { return check_background(thread, terminal, kSigTtou); }

Res<i64> set_settings(Thread& thread, Terminal& terminal, u64 argument, SettingsForm form, bool flush) {
    TRY(check_change(thread, terminal));
    TerminalSettings settings = terminal.discipline.settings();
    TRY(read_settings(argument, settings, form));
    TerminalChange change{terminal};
    const TerminalSettings old = change->settings();
    if (flush) change->flush_input();
    change->change(settings);
    if (terminal.packet != 0) {
        auto flows = [](const TerminalSettings& of) {
            return (of.input & IXON) != 0 && of.characters[VSTOP] == 0x13 && of.characters[VSTART] == 0x11;
        };
        if (flows(old) != flows(settings)) {
            terminal.packet_status &= ~u32{TIOCPKT_DOSTOP | TIOCPKT_NOSTOP};
            terminal.packet_status |= flows(settings) ? TIOCPKT_DOSTOP : TIOCPKT_NOSTOP;
        }
        if (((old.local | settings.local) & EXTPROC) != 0) terminal.packet_status |= TIOCPKT_IOCTL;
        if (terminal.packet_status != 0) terminal.keyboard_queue.wake(kPollIn | kPollRdNorm | kPollPri);
    }
    return 0;
}

Res<i64> flow(Thread& thread, Terminal& terminal, bool master, u64 argument) {
    TRY(check_change(thread, terminal));
    TerminalChange change{terminal};
    const u8* characters = change->settings().characters;
    switch (argument) {
        case TCOOFF:
            if (!master) change->stop(true);
            return 0;
        case TCOON:
            if (!master) change->start(true);
            return 0;
        case TCIOFF:
        case TCION: {
            u8 byte = characters[argument == TCIOFF ? VSTOP : VSTART];
            if (byte == 0) return 0;
            if (master)
                change->offer(&byte, 1);
            else
                change->send_raw(byte);
            return 0;
        }
        default: return Failure{Errno::inval};
    }
}

Res<i64> flush(Thread& thread, Terminal& terminal, bool master, u64 argument) {
    TRY(check_change(thread, terminal));
    if (argument > TCIOFLUSH) return Failure{Errno::inval};
    const bool input = argument != TCOFLUSH, output = argument != TCIFLUSH;
    TerminalChange change{terminal};
    if (master ? output : input) change->flush_input();
    if (master && input) change->drop_output(~0u);
    if (!master && output) change->flush_output();
    return 0;
}

Res<i64> set_foreground(Thread& thread, Terminal& terminal, u64 argument) {
    auto checked = check_change(thread, terminal);
    if (!checked.ok()) return Failure{checked.error() == Errno::io ? Errno::notty : checked.error()};
    i32 group = TRY(read_user<i32>(argument));
    if (group < 0) return Failure{Errno::inval};
    Process& process = *thread.process;
    Guard guard{process_table_lock()};
    if (!is_controlling(thread, terminal) || terminal.session != process.sid) return Failure{Errno::notty};
    u32 session = session_of_group(static_cast<u32>(group));
    if (session == 0) return Failure{Errno::srch};
    if (session != process.sid) return Failure{Errno::perm};
    terminal.foreground = static_cast<u32>(group);
    return 0;
}

Res<i64> push_byte(Thread& thread, Terminal& terminal, u64 argument) {
    const bool administrator = has_capability(thread, kCapSysAdmin);
    if (!administrator) return Failure{Errno::io};  // dev.tty.legacy_tiocsti is off
    u8 byte = TRY(read_user<u8>(argument));
    TerminalChange change{terminal};
    change->offer(&byte, 1);
    return 0;
}

/// TIOCGPTPEER: the programs' side, whatever name leads to it by now.
Res<i64> open_peer(Thread& thread, Terminal& terminal, u64 flags) {
    FileRef file = TRY(open_terminal(thread, terminal, static_cast<u32>(flags) & ~u32{kCloseOnExecFlag}));
    if ((flags & kNoTerminalFlag) == 0) acquire_terminal_by_open(thread, terminal, (flags & kAccessMask) != 1);
    file->status_flags = (static_cast<u32>(flags) & ~u32{kCloseOnExecFlag | kNoTerminalFlag}) | kLargeFileFlag;
    InodeRef inode = TRY(make_terminal_inode(terminal));
    file->inode = inode.leak();
    TextBuffer<24> name;
    name.add("/dev/pts/", terminal.number);
    set_path(*file, name.view());
    u32 fd = TRY(thread.process->files->install(static_cast<FileRef&&>(file), (flags & kCloseOnExecFlag) != 0));
    return static_cast<i64>(fd);
}

Res<i64> master_ioctl(Thread& thread, Terminal& terminal, u32 request, u64 argument) {
    switch (request) {
        case TIOCSPTLCK: {
            i32 on = TRY(read_user<i32>(argument));
            terminal.locked = on != 0;
            return 0;
        }
        case TIOCGPTLCK: return put_number(argument, terminal.locked);
        case TIOCGPTN: return put_number(argument, terminal.number);
        case TIOCGPTPEER: return open_peer(thread, terminal, argument);
        case TIOCPKT: {
            i32 on = TRY(read_user<i32>(argument));
            Guard guard{terminal.lock};
            if (on != 0 && terminal.packet == 0) terminal.packet_status = 0;
            terminal.packet = on != 0;
            return 0;
        }
        case TIOCGPKT: return put_number(argument, terminal.packet);
        case TIOCSIG:
            if (argument < 1 || argument > kSignalCount) return Failure{Errno::inval};
            signal_terminal_group(terminal, static_cast<u32>(argument));
            return 0;
        default: return Failure{Errno::notty};
    }
}

/// Settings in their three forms.
bool settings_request(u32 request, SettingsForm& form, bool& set, bool& flushes) {
    set = flushes = false;
    switch (request) {
        case TCGETS: form = SettingsForm::termios; return true;
        case TCGETS2: form = SettingsForm::termios2; return true;
        case TCGETA: form = SettingsForm::termio; return true;
        default: break;
    }
    set = true;
    flushes = request == TCSETSF || request == TCSETSF2 || request == TCSETAF;
    switch (request) {
        case TCSETS:
        case TCSETSW:
        case TCSETSF: form = SettingsForm::termios; return true;
        case TCSETS2:
        case TCSETSW2:
        case TCSETSF2: form = SettingsForm::termios2; return true;
        case TCSETA:
        case TCSETAW:
        case TCSETAF: form = SettingsForm::termio; return true;
        default: return false;
    }
}

}  // namespace

Res<i64> terminal_ioctl(Thread& thread, Terminal& terminal, bool master, u32 request, u64 argument) {
    SettingsForm form;
    bool set, flushes;
    if (settings_request(request, form, set, flushes)) {
        if (set) return set_settings(thread, terminal, argument, form, flushes);
        TRY(write_settings(argument, terminal.discipline.settings(), form));
        return 0;
    }
    switch (request) {
        case TIOCGWINSZ: TRY(write_user(argument, terminal.window)); return 0;
        case TIOCSWINSZ: {
            WindowSize window = TRY(read_user<WindowSize>(argument));
            set_window(terminal, window);
            return 0;
        }
        case TIOCINQ: {
            if (terminal.console != 0) console_input();
            return put_number(argument, master ? terminal.discipline.shown() : terminal.discipline.available());
        }
        case TIOCOUTQ: return put_number(argument, 0);
        case TCXONC: return flow(thread, terminal, master, argument);
        case TCFLSH: return flush(thread, terminal, master, argument);
        case TCSBRK:
        case TCSBRKP: TRY(check_change(thread, terminal)); return 0;
        case TIOCSBRK:
        case TIOCCBRK: TRY(check_change(thread, terminal)); return 0;
        case TIOCSTI: return push_byte(thread, terminal, argument);
        case TIOCEXCL: terminal.exclusive = 1; return 0;
        case TIOCNXCL: terminal.exclusive = 0; return 0;
        case TIOCGEXCL: return put_number(argument, terminal.exclusive);
        case TIOCGETD: return put_number(argument, N_TTY);
        case TIOCSETD: {
            i32 wanted = TRY(read_user<i32>(argument));
            TRY(check_change(thread, terminal));
            if (wanted != N_TTY) return Failure{Errno::inval};
            return 0;
        }
        case TIOCGDEV: return put_number(argument, master ? kMultiplexerDevice : terminal_device(terminal.number));
        case TIOCGSOFTCAR: return put_number(argument, (terminal.discipline.settings().control & CLOCAL) != 0);
        case TIOCSSOFTCAR: {
            i32 on = TRY(read_user<i32>(argument));
            TerminalChange change{terminal};
            TerminalSettings settings = change->settings();
            settings.control = on != 0 ? settings.control | CLOCAL : settings.control & ~u32{CLOCAL};
            change->change(settings);
            return 0;
        }
        case TIOCSCTTY: {
            // Of the master's side no process can be controlled, but the request goes through to the other one.
            TRY(acquire_terminal(thread, terminal, true, argument == 1));
            return 0;
        }
        case TIOCNOTTY:
            if (master || !is_controlling(thread, terminal)) return Failure{Errno::notty};
            abandon_terminal(thread);
            return 0;
        case TIOCGPGRP:
            if (!master && !is_controlling(thread, terminal)) return Failure{Errno::notty};
            return put_number(argument, terminal.foreground);
        case TIOCSPGRP: return set_foreground(thread, terminal, argument);
        case TIOCGSID:
            if (!master && !is_controlling(thread, terminal)) return Failure{Errno::notty};
            if (terminal.session == 0) return Failure{Errno::notty};
            return put_number(argument, terminal.session);
        case TIOCVHANGUP:
            if (!has_capability(thread, kCapSysAdmin)) return Failure{Errno::perm};
            if (!master) terminal_hang_up(terminal);
            return 0;
        default: break;
    }
    return master ? master_ioctl(thread, terminal, request, argument) : Res<i64>{Failure{Errno::notty}};
}

Res<i64> sys_vhangup(Thread& thread, Arguments) {
    constexpr u32 kCapTerminals = 26;
    if (!has_capability(thread, kCapTerminals)) return Failure{Errno::perm};
    auto terminal = controlling_terminal(thread);
    if (!terminal.ok()) return 0;
    terminal_hang_up(*terminal.value());
    terminal_release(*terminal.value());
    return 0;
}

}  // namespace postern::libos
