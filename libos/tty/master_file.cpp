// SPDX-License-Identifier: Apache-2.0
// The keyboard's and screen's side of a pseudo-terminal, what opening /dev/ptmx gives.
#include <asm/ioctls.h>

#include "libos/fs/open.hpp"
#include "libos/tty/terminal.hpp"
#include "libos/tty/transfer.hpp"

namespace postern::libos {

namespace {

class MasterFile final : public File {
public:
    MasterFile(Terminal& terminal, u32 flags) : terminal_{terminal} { status_flags = flags; }
    ~MasterFile() override {
        terminal_close_keyboard(terminal_);
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
        return terminal_ioctl(thread, terminal_, true, request, argument);
    }
    u32 poll(Thread&) override {
        u32 bits = 0;
        if (terminal_.discipline.shown() != 0) bits |= kPollIn | kPollRdNorm;
        if (terminal_.packet != 0 && terminal_.packet_status != 0) bits |= kPollPri | kPollIn | kPollRdNorm;
        if (terminal_.programs_gone != 0) bits |= kPollHup;
        if (terminal_.discipline.offer_room() != 0) bits |= kPollOut | kPollWrNorm;
        return bits;
    }
    WaitQueue* wait_queue() override { return &terminal_.keyboard_queue; }
    bool signals_readiness() const override { return true; }
    u32 async_reasons(u32 events) const override { return terminal_async_reasons(events); }
    void async_changed(bool on) override {
        if (on) terminal_async_owner(terminal_, *this);
    }
    Res<void> truncate(Thread&, u64) override { return Failure{Errno::inval}; }

private:
    bool news() const {
        return terminal_.discipline.shown() != 0 || (terminal_.packet != 0 && terminal_.packet_status != 0);
    }

    Res<i64> receive(Thread& thread, TerminalBytes to, u64 size) {
        if (size == 0) return 0;
        for (;;) {
            u64 done = TRY(take(to, size));
            if (done != 0) return static_cast<i64>(done);
            if (terminal_.programs_gone != 0) return Failure{Errno::io};
            if ((status_flags & kNonBlockFlag) != 0) return Failure{Errno::again};
            TRY(wait_until(thread, terminal_.keyboard_queue, kPollIn | kPollHup, gate::kForever,
                           [this] { return news() || terminal_.programs_gone != 0; }));
        }
    }

    Res<u64> take(TerminalBytes to, u64 size) {
        TerminalChange change{terminal_};
        u64 done = 0;
        if (terminal_.packet != 0) {
            u8 head = static_cast<u8>(terminal_.packet_status);
            if (head == 0 && change->shown() == 0) return u64{0};
            TRY(to.store(&head, 0, 1));
            done = 1;
            if (head != TIOCPKT_DATA) {
                terminal_.packet_status = 0;
                return done;
            }
        }
        u8 piece[kTerminalPiece];
        while (done < size) {
            u64 wanted = size - done < sizeof piece ? size - done : sizeof piece;
            u32 got = change->peek_output(piece, static_cast<u32>(wanted));
            if (got == 0) break;
            TRY(to.store(piece, done, got));
            change->drop_output(got);
            done += got;
        }
        return done;
    }

    Res<i64> send(Thread& thread, TerminalBytes from, u64 size) {
        u64 done = 0;
        u8 piece[kTerminalPiece];
        while (done < size) {
            u64 part = size - done < sizeof piece ? size - done : sizeof piece;
            auto fetched = from.fetch(piece, done, part);
            if (!fetched.ok()) {
                if (done == 0) return Failure{fetched.error()};
                break;
            }
            u32 put;
            {
                TerminalChange change{terminal_};
                put = change->offer(piece, static_cast<u32>(part));
            }
            done += put;
            if (put != 0) continue;
            Errno why = Errno::again;
            if ((status_flags & kNonBlockFlag) == 0) {
                auto waited = wait_until(thread, terminal_.keyboard_queue, kPollOut, gate::kForever,
                                         [this] { return terminal_.discipline.offer_room() != 0; });
                if (waited.ok()) continue;
                why = waited.error();
            }
            if (done == 0) return Failure{why};
            break;
        }
        return static_cast<i64>(done);
    }

    Terminal& terminal_;  ///< the reference that terminal_create gave
};

}  // namespace

Res<FileRef> open_master(Thread& thread, u32 open_flags) {
    Terminal* terminal = TRY(terminal_create(thread));
    auto file = make_file<MasterFile>(*terminal, open_flags);
    if (!file.ok()) {
        terminal_close_keyboard(*terminal);
        terminal_release(*terminal);
        return Failure{file.error()};
    }
    return FileRef{file.value()};
}

}  // namespace postern::libos
