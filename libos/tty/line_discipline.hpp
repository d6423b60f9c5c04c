// SPDX-License-Identifier: Apache-2.0
// The terminal line discipline N_TTY (termios(3)) as pure logic: bytes from the keyboard and from the program go in,
// bytes for the program and for the screen come out, and settings say how. No locks, no waiting, no signals sent:
// what must happen besides is reported as events.
//
// Lives in shared memory and changes under the terminal's lock. A member may be killed in the middle of a change: each
// byte commits with one store, and every index is reduced to its array wherever it is used.
#pragma once

#include "base/types.hpp"

namespace postern::libos {

/// struct termios2 of Linux.
struct TerminalSettings {
    u32 input, output, control, local;  ///< c_iflag, c_oflag, c_cflag, c_lflag
    u8 line;
    u8 characters[19];  ///< c_cc
    u32 input_speed, output_speed;
};
static_assert(sizeof(TerminalSettings) == 44);

/// What a fresh pseudo-terminal has.
TerminalSettings default_terminal_settings();

class LineDiscipline {
public:
    enum Event : u32 {
        kInterrupt = 1,    ///< VINTR was typed
        kQuit = 2,         ///< VQUIT
        kSuspend = 4,      ///< VSUSP
        kReadable = 8,     ///< the program may have something to read
        kShown = 0x10,     ///< there is output
        kWritable = 0x20,  ///< the program may write again
        kReadFlushed = 0x40,
        kWriteFlushed = 0x80,
        kStopped = 0x100,  ///< output was stopped (IXON, TCOOFF)
        kStarted = 0x200,
        kOfferable = 0x400,  ///< the keyboard's side may offer more
    };
    static constexpr u32 kLineSize = 4096;     ///< N_TTY_BUF_SIZE
    static constexpr u32 kQueueSize = 8192;    ///< typed, not yet looked at
    static constexpr u32 kWriteLimit = 8192;   ///< the program's output that nobody has taken yet
    static constexpr u32 kOutputSize = 16384;  ///< with echoes

    LineDiscipline() : settings_{default_terminal_settings()} {}

    const TerminalSettings& settings() const { return settings_; }
    void change(const TerminalSettings& settings);
    bool canonical() const;

    // The keyboard's and screen's side.
    /// Takes what there is room for; looks at it unless the program must read first. Returns how many bytes.
    u32 offer(const u8* bytes, u32 count);
    u32 offer_room() const { return kQueueSize - (queue_head_ - queue_tail_); }
    /// Output that may be shown now.
    u32 shown() const;
    u32 peek_output(u8* bytes, u32 count) const;
    void drop_output(u32 count);

    // The program's side.
    /// Processes and accepts what there is room for; 0 when stopped or full.
    u32 write(const u8* bytes, u32 count);
    bool writable() const;
    /// Bytes that a read could have now (FIONREAD).
    u32 available() const;
    /// Would a read have something? `poll`: as poll(2) sees it, with VMIN.
    bool readable(bool poll = false) const;
    /// Takes up to `count` bytes: in canonical mode of one line. `whole` is set when a line ended, with this piece or
    /// (with 0 bytes) by VEOF.
    u32 read(u8* bytes, u32 count, bool& whole);
    /// After a read that filled all of the program's memory: VEOF right behind it does not end the next one.
    void skip_end_of_file();

    void flush_input();   ///< TCIFLUSH
    void flush_output();  ///< TCOFLUSH
    void stop(bool by_program);
    void start(bool by_program);
    bool stopped() const { return stopped_ != 0; }
    /// As if typed by the terminal itself towards the other side: TCIOFF and TCION.
    void send_raw(u8 byte) { put(byte); }
    /// What is typed and waits is looked at as far as there is room.
    void work();

    /// Events since the last call.
    u32 take_events() {
        u32 events = events_;
        events_ = 0;
        return events;
    }

private:
    bool flag(u32 set, u32 bit) const { return (set & bit) != 0; }
    u8 line_at(u32 position) const { return line_[position % kLineSize]; }
    bool ends_line(u32 position) const { return (ends_[position % kLineSize / 64] >> position % 64 & 1) != 0; }
    void mark_end(u32 position) { ends_[position % kLineSize / 64] |= 1ull << position % 64; }
    void clear_end(u32 position) { ends_[position % kLineSize / 64] &= ~(1ull << position % 64); }
    void begin_batch() { batch_output_ = output_head_, batch_column_ = column_; }
    void take_back_echoes();
    u32 held() const;
    bool continuation(u8 byte) const;
    void rebuild();
    bool special(u8 byte) const { return (special_[byte / 64] >> byte % 64 & 1) != 0; }

    // line_input.cpp
    void look();
    void receive(u8 byte);
    void receive_plain(u8 byte);
    void receive_special(u8 byte);
    bool receive_canonical(u8 byte);
    bool flow_control(u8 byte);
    void restart_by_any();
    void signal_by(u8 byte, u32 event);
    void end_line(u8 byte);
    void keep(u8 byte);
    void keep_marked(u8 byte);
    void erase(u8 byte);
    void finish_erasing();

    // line_output.cpp
    void put(u8 byte);
    bool process(u8 byte);
    void echo(u8 byte);
    void echo_raw(u8 byte);
    void echo_first(u8 byte);
    void erase_tab(u32 columns, bool after_tab);

    TerminalSettings settings_;
    u64 special_[4] = {};
    u32 head_ = 0, canonical_head_ = 0, tail_ = 0;  ///< free-running positions in line_
    u32 queue_head_ = 0, queue_tail_ = 0;
    u32 output_head_ = 0, output_tail_ = 0, output_limit_ = 0;  ///< limit: shown up to here while stopped
    u32 column_ = 0, canonical_column_ = 0;
    u32 batch_output_ = 0, batch_column_ = 0;  ///< before the echoes of what is being looked at: Linux shows them after
    u32 events_ = 0;
    u32 stopped_ = 0, stopped_by_program_ = 0;
    u32 literal_next_ = 0, erasing_ = 0, pushed_ = 0;
    u32 ready_ = 0;  ///< special_ is built
    u64 ends_[kLineSize / 64] = {};
    u8 line_[kLineSize];
    u8 queue_[kQueueSize];
    u8 output_[kOutputSize];
};

}  // namespace postern::libos
