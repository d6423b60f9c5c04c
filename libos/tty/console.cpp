// SPDX-License-Identifier: Apache-2.0
// The console: see console.hpp.
#include "libos/tty/console.hpp"

#include <linux/fcntl.h>

#include "base/memory.hpp"
#include "gate/console.hpp"
#include "libos/gate.hpp"
#include "libos/shared/arena.hpp"
#include "libos/signal/delivery.hpp"
#include "libos/tty/terminal.hpp"

namespace postern::libos {

namespace {

using gate::Err;

struct Console {
    SharedLock input_lock, output_lock;  ///< above the terminal's lock; the host is asked under them and never blocks
    Terminal* terminal = nullptr;
    u32 gone = 0, screen_gone = 0;
};

// Set by the first process before it can fork: handles mean the same in all of the family.
Console* g_console;
gate::Handle g_input, g_output;

/// One packet, under the lock. Events for terminal_announce.
u32 take_packet(Terminal& terminal, const u8* packet, u64 size, WindowSize& window, bool& resized) {
    switch (static_cast<gate::ConsolePacket>(packet[0])) {
        case gate::ConsolePacket::keys: {
            terminal.lock.lock();
            terminal.discipline.offer(packet + 1, static_cast<u32>(size - 1));
            u32 events = terminal_finish(terminal);
            terminal.lock.unlock();
            return events;
        }
        case gate::ConsolePacket::window:
            if (size == 1 + sizeof window) memcpy(&window, packet + 1, sizeof window), resized = true;
            return 0;
        case gate::ConsolePacket::hangup: g_console->gone = 1; return 0;
    }
    return 0;
}

}  // namespace

bool console_wanted() {
    std::string_view options{g_parameters->options != nullptr ? g_parameters->options : ""};
    constexpr std::string_view kWanted = "terminal=1\n";
    for (usize at = 0; at + kWanted.size() <= options.size(); ++at)
        if ((at == 0 || options[at - 1] == '\n') && memcmp(options.data() + at, kWanted.data(), kWanted.size()) == 0)
            return true;
    return false;
}

bool console_present() { return g_console != nullptr; }
gate::Handle console_output_handle() { return g_console->screen_gone != 0 ? gate::kNoHandle : g_output; }
u32 console_foreground() { return g_console != nullptr ? g_console->terminal->foreground : 0; }

void console_input() {
    if (g_console == nullptr) return;
    Terminal& terminal = *g_console->terminal;
    for (;;) {
        u8 packet[gate::kConsolePacketSize];
        u64 size = 0;
        u32 events = 0;
        WindowSize window{};
        bool resized = false, was_gone = g_console->gone != 0;
        Err error = Err::would_block;
        {
            Guard guard{g_console->input_lock};
            // What finds no room stays with the host, as it would in a driver's buffer.
            if (!was_gone && terminal.discipline.offer_room() >= sizeof packet)
                error = g_gate->DkStreamRead(g_input, gate::kNoOffset, packet, sizeof packet, &size);
            if (error == Err::ok && size != 0) events = take_packet(terminal, packet, size, window, resized);
            if (error == Err::ok && size == 0) g_console->gone = 1;
        }
        if (events != 0) terminal_announce(terminal, events);
        if (resized) set_window(terminal, window);
        if (g_console->gone != 0 && !was_gone) terminal_close_keyboard(terminal);
        if (error == Err::interrupted) {
            take_interrupts();
            continue;
        }
        if (error != Err::ok || g_console->gone != 0) return;
    }
}

namespace {

/// One piece. Err::not_found: there was nothing.
Err show_piece(Terminal& terminal) {
    u8 piece[1024];
    u64 written = 0;
    Guard guard{g_console->output_lock};
    u32 size;
    {
        Guard inner{terminal.lock};
        size = terminal.discipline.peek_output(piece, sizeof piece);
    }
    if (size == 0) return Err::not_found;
    Err error = Err::closed;
    if (g_console->screen_gone == 0) error = g_gate->DkStreamWrite(g_output, gate::kNoOffset, piece, size, &written);
    if (error == Err::would_block || error == Err::interrupted) return error;
    if (error != Err::ok) {  // nobody looks at the screen any more
        g_console->screen_gone = 1;
        written = size;
    }
    Guard inner{terminal.lock};
    terminal.discipline.drop_output(static_cast<u32>(written));
    return Err::ok;
}

}  // namespace

void console_flush(Terminal& terminal) {
    while (show_piece(terminal) == Err::ok) {
    }
}

bool console_output(Terminal& terminal) {
    for (;;) {
        Err error = show_piece(terminal);
        if (error == Err::interrupted) take_interrupts();
        if (error == Err::would_block) return false;
        if (error != Err::not_found) continue;
        u32 events;
        {
            Guard guard{terminal.lock};
            events = terminal_finish(terminal) & ~u32{LineDiscipline::kShown};
        }
        if (events != 0) terminal_announce(terminal, events);
        return true;
    }
}

Res<void> install_console(FdTable& table) {
    Thread& thread = current_thread();
    Process& process = *thread.process;
    Console* console = TRY(arena::create<Console>());
    Terminal* terminal = TRY(terminal_create(thread));
    gate::Attributes attributes;
    TRY(check(g_gate->DkStreamOpen("stdin:", gate::kAccessRead, 0, gate::kCreateNever, 0, &g_input, &attributes)));
    TRY(check(g_gate->DkStreamOpen("stdout:", gate::kAccessWrite, 0, gate::kCreateNever, 0, &g_output, &attributes)));
    terminal->console = 1;
    terminal->locked = 0;
    {
        Guard guard{process_table_lock()};
        terminal->session = process.sid;
        terminal->foreground = process.pgid;
        process.terminal = terminal->id;
    }
    console->terminal = terminal;
    g_console = console;
    FileRef file = TRY(open_terminal(thread, *terminal, O_RDWR));
    file->status_flags = O_RDWR | O_LARGEFILE;
    InodeRef inode = TRY(make_terminal_inode(*terminal));
    file->inode = inode.leak();
    set_path(*file, "/dev/pts/0");
    for (u32 fd = 0; fd < 3; ++fd) {
        file->reference();
        TRY(table.install_at(FileRef{file.get()}, fd, false));
    }
    console_input();
    return {};
}

}  // namespace postern::libos
