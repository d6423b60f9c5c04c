// SPDX-License-Identifier: Apache-2.0
// The programs' side of a terminal: /dev/pts/N and /dev/tty.
#include <asm/termbits.h>

#include "libos/fs/open.hpp"
#include "libos/time/timers.hpp"
#include "libos/tty/console.hpp"
#include "libos/tty/session.hpp"
#include "libos/tty/terminal.hpp"
#include "libos/tty/transfer.hpp"

namespace postern::libos {

namespace {

class TerminalFile final : public File {
public:
    TerminalFile(Terminal& terminal, u32 flags) : terminal_{terminal}, hangups_{terminal.hangups} {
        status_flags = flags;
        terminal_reference(terminal_);
        Guard guard{terminal_.lock};
        terminal_.programs = terminal_.programs + 1;
        terminal_.programs_gone = 0;
    }
    ~TerminalFile() override {
        bool last;
        {
            Guard guard{terminal_.lock};
            terminal_.programs = terminal_.programs - 1;
            last = terminal_.programs == 0;
            if (last) {
                terminal_.programs_gone = 1;
                terminal_.exclusive = 0;
            }
        }
        if (last) {
            terminal_.keyboard_queue.wake(kPollIn | kPollRdNorm | kPollHup);
            terminal_closed_by_programs(terminal_);
        }
        terminal_release(terminal_);
    }

    Res<i64> read(Thread& thread, u64 user, u64 size, u64) override { return receive(thread, {user, true}, size); }
    Res<i64> read_kernel(Thread& thread, void* buffer, u64 size, u64) override {
        return receive(thread, {reinterpret_cast<u64>(buffer), false}, size);
    }
    Res<i64> write(Thread& thread, u64 user, u64 size, u64) override { return send(thread, {user, true}, size); }
    Res<i64> write_kernel(Thread& thread, const void* buffer, u64 size, u64) override {
        return send(thread, {reinterpret_cast<u64>(buffer), false}, size);
    }
    Res<i64> ioctl(Thread& thread, u32 request, u64 argument) override {
        if (dead()) return Failure{request == 0x5410 /* TIOCSPGRP */ ? Errno::notty : Errno::io};
        return terminal_ioctl(thread, terminal_, false, request, argument);
    }
    u32 poll(Thread&) override {
        if (terminal_.console != 0 && terminal_.discipline.shown() != 0) console_flush(terminal_);
        if (dead()) return kPollIn | kPollOut | kPollErr | kPollHup | kPollRdNorm | kPollWrNorm;
        u32 bits = 0;  // without the lock: announcements come after changes
        if (terminal_.discipline.readable(true)) bits |= kPollIn | kPollRdNorm;
        if (terminal_.discipline.writable()) bits |= kPollOut | kPollWrNorm;
        return bits;
    }
    WaitQueue* wait_queue() override { return &terminal_.program_queue; }
    bool signals_readiness() const override { return true; }
    u32 async_reasons(u32 events) const override { return terminal_async_reasons(events); }
    void async_changed(bool on) override {
        if (on) terminal_async_owner(terminal_, *this);
    }
    /// The screen: who waits for room is woken by the host. Keys are announced by the queue alone.
    gate::Handle host_handle() const override {
        return terminal_.console != 0 ? console_output_handle() : gate::kNoHandle;
    }
    u64 edge_count() override { return terminal_.changes; }
    Res<void> truncate(Thread&, u64) override { return Failure{Errno::inval}; }

private:
    bool dead() const { return hangups_ != terminal_.hangups || terminal_.keyboard_gone != 0; }
    bool patient() const { return (status_flags & kNonBlockFlag) == 0; }

    Res<i64> receive(Thread& thread, TerminalBytes to, u64 size) {
        if (dead()) return 0;
        TRY(check_background(thread, terminal_, kSigTtin));
        if (size == 0) return 0;
        constexpr u64 kTenth = 100'000'000;
        const TerminalSettings& settings = terminal_.discipline.settings();
        const bool canonical = terminal_.discipline.canonical();
        u64 minimum = 1, between = 0;
        gate::Deadline deadline = gate::kForever;
        if (!canonical) {
            u64 time = settings.characters[VTIME] * kTenth;
            minimum = settings.characters[VMIN];
            if (minimum != 0)
                between = time;
            else
                deadline = time == 0 ? gate::kPoll : monotonic_now() + time, minimum = 1;
        }
        u64 done = 0;
        for (;;) {
            if (terminal_.console != 0) console_input();
            bool whole = false;
            u64 before = done;
            Res<void> copied = take(to, size, done, whole);
            if (!copied.ok()) return Failure{copied.error()};
            if (whole || done == size || (done != 0 && (canonical || done >= minimum))) break;
            if (dead()) break;
            if (deadline == gate::kPoll) break;
            if (!patient()) {
                if (done == 0) return Failure{Errno::again};
                break;
            }
            if (between != 0 && done != before) deadline = monotonic_now() + between;
            auto waited = wait_until(thread, terminal_.program_queue, kPollIn, deadline,
                                     [this] { return terminal_.discipline.readable() || dead(); });
            if (waited.ok()) continue;
            if (waited.error() == Errno::timedout || done != 0) break;
            return Failure{waited.error()};
        }
        // What came while the buffer was full has been waiting in the host's pipe.
        if (terminal_.console != 0 && done != 0) console_input();
        return static_cast<i64>(done);
    }

    Res<void> take(TerminalBytes to, u64 size, u64& done, bool& whole) {
        TerminalChange change{terminal_};
        u8 piece[kTerminalPiece];
        while (done < size && !whole && change->readable()) {
            u64 wanted = size - done < sizeof piece ? size - done : sizeof piece;
            u32 got = change->read(piece, static_cast<u32>(wanted), whole);
            TRY(to.store(piece, done, got));
            done += got;
            if (got == 0) break;
        }
        if (done == size && !whole) change->skip_end_of_file();
        return {};
    }

    Res<i64> send(Thread& thread, TerminalBytes from, u64 size) {
        if (dead()) return Failure{Errno::io};
        if ((terminal_.discipline.settings().local & TOSTOP) != 0) TRY(check_background(thread, terminal_, kSigTtou));
        u64 done = 0;
        u8 piece[kTerminalPiece];
        u64 filled = 0, used = 0;
        while (done < size) {
            if (used == filled) {
                filled = size - done < sizeof piece ? size - done : sizeof piece;
                used = 0;
                auto fetched = from.fetch(piece, done, filled);
                if (!fetched.ok()) {
                    if (done == 0) return Failure{fetched.error()};
                    break;
                }
            }
            if (dead()) {
                if (done == 0) return Failure{Errno::io};
                break;
            }
            u32 put;
            {
                TerminalChange change{terminal_};
                put = change->write(piece + used, static_cast<u32>(filled - used));
            }
            done += put;
            used += put;
            if (used == filled) continue;
            if (put != 0 && terminal_.discipline.writable()) continue;
            auto waited = wait_for_room(thread);
            if (waited.ok()) continue;
            if (done == 0) return Failure{waited.error()};
            break;
        }
        // A screen that is slow holds the writer up, not what was written: nobody else might bring it there.
        while (terminal_.console != 0 && patient() && !terminal_.discipline.stopped() && !console_output(terminal_))
            if (!wait_for_screen(thread).ok()) break;
        return static_cast<i64>(done);
    }

    Res<void> wait_for_room(Thread& thread) {
        if (!patient()) return Failure{Errno::again};
        if (terminal_.console != 0 && !terminal_.discipline.stopped()) {
            if (console_output(terminal_)) return {};
            return wait_for_screen(thread);
        }
        return wait_until(thread, terminal_.program_queue, kPollOut, gate::kForever,
                          [this] { return terminal_.discipline.writable() || dead(); });
    }

    Res<void> wait_for_screen(Thread& thread) {
        Blocker blocker{thread};
        blocker.prepare();
        gate::WaitItem item{console_output_handle(), gate::kReadyWrite, 0, 0};
        if (item.handle == gate::kNoHandle) return {};
        return blocker.wait(gate::kForever, &item, 1);
    }

    Terminal& terminal_;
    u32 hangups_;
};

}  // namespace

Res<FileRef> open_terminal(Thread& thread, Terminal& terminal, u32 open_flags) {
    if (terminal.locked != 0 || terminal.keyboard_gone != 0) return Failure{Errno::io};
    constexpr u32 kCapSysAdmin = 21;
    if (terminal.exclusive != 0 && !has_capability(thread, kCapSysAdmin)) return Failure{Errno::busy};
    auto* file = TRY(make_file<TerminalFile>(terminal, open_flags));
    return FileRef{file};
}

}  // namespace postern::libos
