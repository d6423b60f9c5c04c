// SPDX-License-Identifier: Apache-2.0
// Controlling terminals, foreground and background (credentials(7), tty_ioctl(2), "job control" in POSIX).
#include "libos/signal/queue.hpp"
#include "libos/tty/session.hpp"
#include "libos/tty/terminal.hpp"

namespace postern::libos {

namespace {

constexpr u32 kCapSysAdmin = 21;

bool administrator(Thread& thread) {
    return (thread.process->credentials.capabilities_effective >> kCapSysAdmin & 1) != 0;
}

/// Lock of the table held.
void take_terminal(Process& process, Terminal& terminal) {
    terminal.foreground = process.pgid;
    terminal.session = process.sid;
    process.terminal = terminal.id;
    process.terminal_old_group = 0;
}

/// Every process of the session loses it.
void clear_session(u32 session, u64 id) {
    ProcessTable& table = process_table();
    for (Process* process = table.processes.front(); process != nullptr; process = table.processes.next(*process))
        if (process->sid == session && process->terminal == id) process->terminal = 0;
}

}  // namespace

void send_kernel_signal(Process& process, u32 signal) {
    SignalInfo info;
    info.signal = static_cast<i32>(signal);
    info.code = 0x80;  // SI_KERNEL
    send_signal(process, info);
}

void send_kernel_signal_to_group(u32 group, u32 signal) {
    if (group == 0) return;
    ProcessTable& table = process_table();
    for (Process* process = table.processes.front(); process != nullptr; process = table.processes.next(*process))
        if (process->pgid == group && process->state != ProcessState::zombie) send_kernel_signal(*process, signal);
}

void signal_terminal_group(Terminal& terminal, u32 signal) {
    TableGuard guard;
    send_kernel_signal_to_group(terminal.foreground, signal);
}

void set_window(Terminal& terminal, const WindowSize& window) {
    {
        Guard guard{terminal.lock};
        WindowSize& old = terminal.window;
        if (old.rows == window.rows && old.columns == window.columns && old.width == window.width &&
            old.height == window.height)
            return;
        old = window;
    }
    signal_terminal_group(terminal, kSigWinch);
}

Res<void> check_background(Thread& thread, Terminal& terminal, u32 signal) {
    Process& process = *thread.process;
    if (!is_controlling(thread, terminal)) return {};
    u32 foreground = terminal.foreground;
    if (foreground == 0 || foreground == process.pgid) return {};
    bool ignored = (thread.signals.mask & signal_bit(signal)) != 0 || process.signals.actions[signal].handler == 1;
    if (ignored) {
        if (signal == kSigTtin) return Failure{Errno::io};
        return {};
    }
    Guard guard{process_table_lock()};
    if (group_is_orphaned(process.pgid, nullptr)) return Failure{Errno::io};
    send_kernel_signal_to_group(process.pgid, signal);
    return Failure{Errno::restart_sys};
}

Res<void> acquire_terminal(Thread& thread, Terminal& terminal, bool readable, bool steal) {
    Process& process = *thread.process;
    Guard guard{process_table_lock()};
    const bool leader = process.sid == process.pid;
    if (leader && terminal.session == process.sid) return {};
    auto current = controlling_terminal(thread);
    if (current.ok()) terminal_release(*current.value());
    if (!leader || current.ok()) return Failure{Errno::perm};
    if (terminal.session != 0) {
        if (!steal || !administrator(thread)) return Failure{Errno::perm};
        clear_session(terminal.session, terminal.id);
    }
    if (!readable && !administrator(thread)) return Failure{Errno::perm};
    take_terminal(process, terminal);
    return {};
}

void acquire_terminal_by_open(Thread& thread, Terminal& terminal, bool readable) {
    Process& process = *thread.process;
    if (process.sid != process.pid || terminal.session != 0 || !readable) return;
    Guard guard{process_table_lock()};
    auto current = controlling_terminal(thread);
    if (current.ok()) terminal_release(*current.value());
    if (!current.ok() && terminal.session == 0) take_terminal(process, terminal);
}

/// A session leader lets go of its terminal, or ends. Lock of the table held.
void leave_session_terminal(Process& process, bool ends) {
    if (process.sid != process.pid) return;
    u64 id = process.terminal;
    Terminal* terminal = nullptr;
    if (id != 0) {
        auto found = terminal_find(static_cast<u32>(id) - 1);
        if (found.ok() && found.value()->id != id)
            terminal_release(*found.value());
        else if (found.ok())
            terminal = found.value();
    }
    if (terminal == nullptr) {
        if (ends && process.terminal_old_group != 0) {
            send_kernel_signal_to_group(process.terminal_old_group, kSigHup);
            send_kernel_signal_to_group(process.terminal_old_group, kSigCont);
            process.terminal_old_group = 0;
        }
        return;
    }
    send_kernel_signal_to_group(terminal->foreground, kSigHup);
    if (!ends) send_kernel_signal_to_group(terminal->foreground, kSigCont);
    terminal->session = 0;
    terminal->foreground = 0;
    clear_session(process.sid, id);
    terminal_release(*terminal);
}

void abandon_terminal(Thread& thread) {
    Guard guard{process_table_lock()};
    leave_session_terminal(*thread.process, false);
    thread.process->terminal = 0;
}

}  // namespace postern::libos
