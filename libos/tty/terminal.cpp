// SPDX-License-Identifier: Apache-2.0
// The family's table of terminals, and what happens around a change of one.
#include "libos/tty/terminal.hpp"

#include <asm/ioctls.h>
#include <linux/tty.h>

#include "libos/process/table.hpp"
#include "libos/shared/roots.hpp"
#include "libos/shared/self.hpp"
#include "libos/tty/console.hpp"
#include "libos/tty/session.hpp"

namespace postern::libos {

namespace {

struct TerminalTable {
    SharedLock lock;  ///< below the table of processes
    u64 serial = 0;
    u32 count = 0;
    Terminal* entries[kMostTerminals] = {};
};

/// Null without memory.
TerminalTable* terminal_table() {
    auto table = arena::root<TerminalTable>(kRootTerminals);
    return table.ok() ? table.value() : nullptr;
}

u64 fresh_id(TerminalTable& table, u32 number) { return ++table.serial << 32 | (number + 1); }

}  // namespace

TableGuard::TableGuard() : locked_{process_table_lock().owner() != self::id()} {
    if (locked_) process_table_lock().lock();
}
TableGuard::~TableGuard() {
    if (locked_) process_table_lock().unlock();
}

Res<Terminal*> terminal_create(Thread& thread) {
    TerminalTable* table = terminal_table();
    if (table == nullptr) return Failure{Errno::nomem};
    Terminal* terminal = TRY(arena::create<Terminal>());
    const Credentials& credentials = thread.process->credentials;
    terminal->user = credentials.fsuid;
    Guard guard{table->lock};
    for (u32 number = 0; number < kMostTerminals; ++number) {
        if (table->entries[number] != nullptr) continue;
        terminal->number = number;
        terminal->id = fresh_id(*table, number);
        ++table->count;
        __atomic_store_n(&table->entries[number], terminal, __ATOMIC_RELEASE);
        return terminal;
    }
    arena::destroy(terminal);
    return Failure{Errno::nospc};
}

void terminal_reference(Terminal& terminal) { __atomic_add_fetch(&terminal.references, 1, __ATOMIC_SEQ_CST); }
void terminal_release(Terminal& terminal) {
    if (__atomic_sub_fetch(&terminal.references, 1, __ATOMIC_SEQ_CST) == 0) arena::destroy(&terminal);
}

Res<Terminal*> terminal_find(u32 number) {
    TerminalTable* table = terminal_table();
    if (table == nullptr || number >= kMostTerminals) return Failure{Errno::noent};
    Guard guard{table->lock};
    Terminal* terminal = table->entries[number];
    if (terminal == nullptr) return Failure{Errno::noent};
    terminal_reference(*terminal);
    return terminal;
}

i64 terminal_next(u32 from) {
    auto* table = arena::root_if_made<TerminalTable>(kRootTerminals);
    if (table == nullptr) return -1;
    for (u32 number = from; number < kMostTerminals; ++number)
        if (table->entries[number] != nullptr) return number;
    return -1;
}

u32 terminal_count() {
    auto* table = arena::root_if_made<TerminalTable>(kRootTerminals);
    return table == nullptr ? 0 : table->count;
}

Res<Terminal*> controlling_terminal(Thread& thread) {
    u64 id = thread.process->terminal;
    if (id == 0) return Failure{Errno::nxio};
    auto found = terminal_find(static_cast<u32>(id) - 1);
    if (!found.ok()) return Failure{Errno::nxio};
    Terminal* terminal = found.value();
    if (terminal->id == id) return terminal;
    terminal_release(*terminal);
    return Failure{Errno::nxio};
}

u32 foreground_of(const Process& process, u32& number) {
    u64 id = process.terminal;
    auto* table = arena::root_if_made<TerminalTable>(kRootTerminals);
    if (id == 0 || table == nullptr) return ~0u;
    Guard guard{table->lock};
    Terminal* terminal = table->entries[(static_cast<u32>(id) - 1) % kMostTerminals];
    if (terminal == nullptr || terminal->id != id) return ~0u;
    number = terminal->number;
    return terminal->foreground;
}

TerminalChange::~TerminalChange() {
    u32 events = terminal_finish(terminal_);
    terminal_.lock.unlock();
    if (events != 0) terminal_announce(terminal_, events);
}

using E = LineDiscipline::Event;

u32 terminal_finish(Terminal& terminal) {
    u32 events = terminal.discipline.take_events();
    if (events != 0) ++terminal.changes;
    if (terminal.packet != 0) {
        u32 status = terminal.packet_status;
        if ((events & E::kReadFlushed) != 0) status |= TIOCPKT_FLUSHREAD;
        if ((events & E::kWriteFlushed) != 0) status |= TIOCPKT_FLUSHWRITE;
        if ((events & E::kStopped) != 0) status = (status & ~u32{TIOCPKT_START}) | TIOCPKT_STOP;
        if ((events & E::kStarted) != 0) status = (status & ~u32{TIOCPKT_STOP}) | TIOCPKT_START;
        if (status != terminal.packet_status) events |= E::kShown;
        terminal.packet_status = status;
    }
    return events;
}

void terminal_announce(Terminal& terminal, u32 events) {
    if (terminal.console != 0 && (events & E::kShown) != 0) console_output(terminal);
    if ((events & E::kReadable) != 0) terminal.program_queue.wake(kPollIn | kPollRdNorm);
    if ((events & E::kWritable) != 0) terminal.program_queue.wake(kPollOut | kPollWrNorm);
    if ((events & E::kShown) != 0) terminal.keyboard_queue.wake(kPollIn | kPollRdNorm | kPollPri);
    if ((events & E::kOfferable) != 0) terminal.keyboard_queue.wake(kPollOut | kPollWrNorm);
    if ((events & E::kInterrupt) != 0) signal_terminal_group(terminal, kSigInt);
    if ((events & E::kQuit) != 0) signal_terminal_group(terminal, kSigQuit);
    if ((events & E::kSuspend) != 0) signal_terminal_group(terminal, kSigTstp);
}

namespace {

constexpr u32 kAllEvents = kPollIn | kPollOut | kPollRdNorm | kPollWrNorm | kPollErr | kPollHup;

/// Nobody has it as controlling terminal any more, without being told.
void forget_holders(Terminal& terminal) {
    TerminalTable& table = *terminal_table();
    Guard guard{table.lock};
    terminal.id = fresh_id(table, terminal.number);
}

}  // namespace

void terminal_async_owner(Terminal& terminal, File& file) {
    if (file.signal_owner != 0) return;
    async_own(file, current_process());
    if (terminal.foreground != 0) file.signal_owner = -static_cast<i32>(terminal.foreground);
}

void terminal_hang_up(Terminal& terminal) {
    {
        Guard guard{terminal.lock};
        terminal.hangups = terminal.hangups + 1;
        terminal.discipline.flush_input();
        (void)terminal.discipline.take_events();
    }
    TableGuard guard;
    for (Process* process = process_table().processes.front(); process != nullptr;
         process = process_table().processes.next(*process)) {
        if (terminal.session == 0 || process->pid != terminal.session || process->terminal != terminal.id) continue;
        send_kernel_signal(*process, kSigHup);
        send_kernel_signal(*process, kSigCont);
        process->terminal_old_group = terminal.foreground;
    }
    forget_holders(terminal);
    terminal.session = 0;
    terminal.foreground = 0;
    terminal.program_queue.wake(kAllEvents);
}

void terminal_close_keyboard(Terminal& terminal) {
    TerminalTable& table = *terminal_table();
    {
        Guard guard{terminal.lock};
        terminal.keyboard_gone = 1;
    }
    terminal_hang_up(terminal);
    Guard guard{table.lock};
    if (table.entries[terminal.number] == &terminal) {
        table.entries[terminal.number] = nullptr;
        --table.count;
    }
}

void terminal_closed_by_programs(Terminal& terminal) {
    TableGuard guard;
    if (terminal.programs == 0) forget_holders(terminal);
}

}  // namespace postern::libos
