// SPDX-License-Identifier: Apache-2.0
// Terminals (pty(7), tty_ioctl(2), credentials(7) on sessions): a line discipline in shared memory between the side
// of programs (the slave, /dev/pts/N) and the side of the keyboard and screen (the master, or the monitor's terminal).
#pragma once

#include "libos/fs/inode.hpp"
#include "libos/fs/path.hpp"
#include "libos/ipc/async.hpp"
#include "libos/process/table.hpp"
#include "libos/tty/line_discipline.hpp"

namespace postern::libos {

struct WindowSize {  // struct winsize
    u16 rows, columns, width, height;
};

/// In the arena. Every open file of either side holds a reference.
struct Terminal {
    SharedLock lock;  ///< the discipline and what stands before `session`; a leaf but for wait queues
    LineDiscipline discipline;
    WindowSize window{};
    u32 packet = 0, packet_status = 0;     ///< TIOCPKT, and what the master has not been told yet
    volatile u32 programs = 0;             ///< open files of the programs' side
    volatile u32 programs_gone = 0;        ///< the last of them was closed since
    volatile u32 keyboard_gone = 0;        ///< the master is closed
    volatile u32 hangups = 0;              ///< files opened before the last one are dead
    u32 locked = 1, exclusive = 0;         ///< TIOCSPTLCK, TIOCEXCL
    u64 changes = 0;                       ///< counts what an edge-triggered watch has to hear of
    u32 console = 0;                       ///< the other side is the monitor's terminal
    u32 mode = 0620, user = 0, group = 5;  ///< of /dev/pts/N
    WaitQueue program_queue, keyboard_queue;
    u32 number = 0;
    u32 references = 1;

    // The table of processes is locked for these.
    volatile u64 id = 0;          ///< what Process::terminal refers to; changes when it ceases to be anybody's terminal
    volatile u32 session = 0;     ///< whose controlling terminal it is; 0: nobody's
    volatile u32 foreground = 0;  ///< process group; 0: none
};

inline constexpr u32 kMostTerminals = 4096, kSlaveMajor = 136;

/// A fresh terminal with the lowest free number, referenced once and in the table. Errno::nospc.
Res<Terminal*> terminal_create(Thread& thread);
void terminal_reference(Terminal& terminal);
void terminal_release(Terminal& terminal);
/// Referenced. Errno::noent.
Res<Terminal*> terminal_find(u32 number);
/// Lowest number in use that is >= `from`; -1: none.
i64 terminal_next(u32 from);
u32 terminal_count();
/// The caller's controlling terminal, referenced. Errno::nxio.
Res<Terminal*> controlling_terminal(Thread& thread);
inline bool is_controlling(const Thread& thread, const Terminal& terminal) {
    return thread.process->terminal != 0 && thread.process->terminal == terminal.id;
}

/// Under the lock, after a change: what there is to announce. Then, without locks: wakes who waits, sends signals.
u32 terminal_finish(Terminal& terminal);
void terminal_announce(Terminal& terminal, u32 events);

/// A change of the terminal under its lock. The destructor unlocks, wakes who waits, moves output and sends signals.
class TerminalChange {
public:
    explicit TerminalChange(Terminal& terminal) : terminal_{terminal} { terminal_.lock.lock(); }
    TerminalChange(const TerminalChange&) = delete;
    ~TerminalChange();
    LineDiscipline* operator->() { return &terminal_.discipline; }

private:
    Terminal& terminal_;
};

/// The keyboard's side is gone: sessions lose it, the leader hears of it, opened files of programs are dead.
void terminal_close_keyboard(Terminal& terminal);
/// vhangup(2): as above, but the terminal can be opened again.
void terminal_hang_up(Terminal& terminal);
/// May the caller, perhaps in the background, use it as it wants? `signal`: SIGTTIN or SIGTTOU. Errno::restart_sys
/// when its group was signalled, Errno::io when nobody could continue it.
Res<void> check_background(Thread& thread, Terminal& terminal, u32 signal);
void signal_terminal_group(Terminal& terminal, u32 signal);
void set_window(Terminal& terminal, const WindowSize& window);  ///< SIGWINCH when it differs

/// Makes it the caller's controlling terminal. `steal`: TIOCSCTTY's argument. Errno::perm.
Res<void> acquire_terminal(Thread& thread, Terminal& terminal, bool readable, bool steal);
/// open(2) without O_NOCTTY: as above, if that can be.
void acquire_terminal_by_open(Thread& thread, Terminal& terminal, bool readable);
/// TIOCNOTTY by the caller.
void abandon_terminal(Thread& thread);

/// ioctl(2) of either side. `files_hangups`: as when the file was opened.
Res<i64> terminal_ioctl(Thread& thread, Terminal& terminal, bool master, u32 request, u64 argument);

/// As File::async_reasons, of either side.
inline u32 terminal_async_reasons(u32 events) {
    return (events & kPollIn) != 0 && (events & kPollHup) == 0 ? 1u << kAsyncIn : 0;
}
/// O_ASYNC gives a file without an owner one: the foreground, else the caller.
void terminal_async_owner(Terminal& terminal, File& file);

/// open(2) of the programs' side. Errno::io, Errno::busy.
Res<FileRef> open_terminal(Thread& thread, Terminal& terminal, u32 open_flags);
/// open(2) of /dev/ptmx: a fresh terminal's other side.
Res<FileRef> open_master(Thread& thread, u32 open_flags);
/// The name /dev/pts/N.
Res<InodeRef> make_terminal_inode(Terminal& terminal);

/// Is the caller's own host thread holding the table of processes? Files of killed members are closed under it.
class TableGuard {
public:
    TableGuard();
    TableGuard(const TableGuard&) = delete;
    ~TableGuard();

private:
    bool locked_;
};

}  // namespace postern::libos
