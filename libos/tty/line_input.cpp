// SPDX-License-Identifier: Apache-2.0
// The line discipline from the keyboard: translation, editing, signals, and what programs read of it.
#include <asm/termbits.h>

#include "base/memory.hpp"
#include "libos/tty/characters.hpp"
#include "libos/tty/line_discipline.hpp"

namespace postern::libos {

namespace {
constexpr u8 kDisabled = 0;  ///< _POSIX_VDISABLE; in the line it stands for VEOF, where it is marked as an end
}

TerminalSettings default_terminal_settings() {
    TerminalSettings settings{};
    settings.input = ICRNL | IXON;
    settings.output = OPOST | ONLCR;
    settings.control = B38400 | CS8 | CREAD;
    settings.local = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN;
    constexpr u8 kCharacters[] = {3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0};
    memcpy(settings.characters, kCharacters, sizeof kCharacters);
    settings.input_speed = settings.output_speed = 38400;
    return settings;
}

bool LineDiscipline::canonical() const { return flag(settings_.local, ICANON) && !flag(settings_.local, EXTPROC); }
bool LineDiscipline::continuation(u8 byte) const { return flag(settings_.input, IUTF8) && (byte & 0xc0) == 0x80; }

u32 LineDiscipline::held() const {
    u32 count = head_ - tail_;
    return count <= kLineSize ? count : kLineSize;
}

void LineDiscipline::rebuild() {
    memset(special_, 0, sizeof special_);
    const u32 input = settings_.input, local = settings_.local;
    auto add = [&](u8 byte) { special_[byte / 64] |= 1ull << byte % 64; };
    auto add_character = [&](u32 index) { add(settings_.characters[index]); };
    if (flag(input, IGNCR | ICRNL)) add('\r');
    if (flag(input, INLCR)) add('\n');
    if (flag(local, ICANON)) {
        for (u32 index : {VERASE, VKILL, VEOF, VEOL}) add_character(index);
        add('\n');
        if (flag(local, IEXTEN)) {
            for (u32 index : {VWERASE, VLNEXT, VEOL2}) add_character(index);
            if (flag(local, ECHO)) add_character(VREPRINT);
        }
    }
    if (flag(input, IXON)) add_character(VSTART), add_character(VSTOP);
    if (flag(local, ISIG)) add_character(VINTR), add_character(VQUIT), add_character(VSUSP);
    special_[0] &= ~(1ull << kDisabled);
    ready_ = 1;
}

void LineDiscipline::change(const TerminalSettings& settings) {
    const TerminalSettings old = settings_;
    settings_ = settings;
    settings_.control = (settings_.control & ~u32{CSIZE | PARENB}) | CS8 | CREAD;
    rebuild();
    if (((old.local ^ settings_.local) & (ICANON | EXTPROC)) != 0) {
        memset(ends_, 0, sizeof ends_);
        if (!flag(settings_.local, ICANON) || held() == 0) {
            canonical_head_ = tail_;
            pushed_ = 0;
        } else {
            // What was typed before is a line, though nothing ended it.
            mark_end(head_ - 1);
            canonical_head_ = head_;
            pushed_ = 1;
        }
        erasing_ = literal_next_ = 0;
    }
    if (flag(old.input, IXON) && !flag(settings_.input, IXON) && stopped_by_program_ == 0) start(false);
    events_ |= kReadable | kWritable;
}

u32 LineDiscipline::offer(const u8* bytes, u32 count) {
    if (ready_ == 0) rebuild();
    work();
    begin_batch();
    u32 done = 0;
    while (done < count && offer_room() != 0) {
        // Output can be stopped and started while nobody reads, though nothing else is looked at then.
        if (queue_head_ != queue_tail_ && flag(settings_.input, IXON) && special(bytes[done]) &&
            flow_control(bytes[done])) {
            ++done;
            continue;
        }
        queue_[queue_head_ % kQueueSize] = bytes[done++];
        __atomic_store_n(&queue_head_, queue_head_ + 1, __ATOMIC_RELEASE);
        look();
    }
    return done;
}

void LineDiscipline::work() {
    if (queue_head_ == queue_tail_) return;
    if (ready_ == 0) rebuild();
    begin_batch();
    look();
}

void LineDiscipline::look() {
    const bool raw = !flag(settings_.input, ISTRIP | IUCLC | IGNCR | ICRNL | INLCR | IXON | PARMRK) &&
                     !flag(settings_.local, ICANON | ISIG | ECHO);
    u32 before = head_;
    for (;;) {
        i32 room = static_cast<i32>(kLineSize - held());
        if (flag(settings_.input, PARMRK)) room = (room + 2) / 3;
        --room;
        if (room <= 0) {
            // A line that has no end yet takes bytes all the same, each in place of the last: its end must get in.
            bool overflow = flag(settings_.local, ICANON) && canonical_head_ == tail_;
            if (!overflow) break;
            if (room < 0) --head_;
        }
        if (queue_head_ == queue_tail_) break;
        u8 byte = queue_[queue_tail_ % kQueueSize];
        __atomic_store_n(&queue_tail_, queue_tail_ + 1, __ATOMIC_RELEASE);
        if (raw)
            keep(byte);
        else
            receive(byte);
        events_ |= kOfferable;
    }
    if (head_ != before && !canonical()) events_ |= kReadable;
}

void LineDiscipline::keep(u8 byte) {
    if (held() >= kLineSize) return;
    line_[head_ % kLineSize] = byte;
    __atomic_store_n(&head_, head_ + 1, __ATOMIC_RELEASE);
}

/// With PARMRK a byte of all ones stands for itself when it is doubled.
void LineDiscipline::keep_marked(u8 byte) {
    if (byte == 0xff && flag(settings_.input, PARMRK)) keep(byte);
    keep(byte);
}

void LineDiscipline::receive(u8 byte) {
    const bool literal = literal_next_ != 0;
    literal_next_ = 0;
    if (flag(settings_.input, ISTRIP)) byte &= 0x7f;
    if (flag(settings_.input, IUCLC) && flag(settings_.local, IEXTEN)) byte = to_lower(byte);
    if (literal) return receive_plain(byte);
    if (flag(settings_.local, EXTPROC)) return keep(byte);
    if (special(byte))
        receive_special(byte);
    else
        receive_plain(byte);
}

void LineDiscipline::restart_by_any() {
    if (stopped_ != 0 && stopped_by_program_ == 0 && flag(settings_.input, IXON) && flag(settings_.input, IXANY)) {
        start(false);
        begin_batch();
    }
}

void LineDiscipline::receive_plain(u8 byte) {
    restart_by_any();
    if (flag(settings_.local, ECHO)) echo_first(byte);
    keep_marked(byte);
}

bool LineDiscipline::flow_control(u8 byte) {
    if (byte == settings_.characters[VSTART]) {
        start(false);
        begin_batch();
        return true;
    }
    if (byte != settings_.characters[VSTOP]) return false;
    stop(false);
    return true;
}

void LineDiscipline::signal_by(u8 byte, u32 event) {
    events_ |= event;
    if (!flag(settings_.local, NOFLSH)) {
        take_back_echoes();
        flush_output();
        begin_batch();
        tail_ = canonical_head_ = head_;
        memset(ends_, 0, sizeof ends_);
        erasing_ = literal_next_ = pushed_ = 0;
        events_ |= kReadFlushed | kOfferable;
    }
    if (flag(settings_.input, IXON)) start(false);
    if (flag(settings_.local, ECHO)) echo(byte);
}

void LineDiscipline::receive_special(u8 byte) {
    if (flag(settings_.input, IXON) && flow_control(byte)) return;
    if (flag(settings_.local, ISIG)) {
        if (byte == settings_.characters[VINTR]) return signal_by(byte, kInterrupt);
        if (byte == settings_.characters[VQUIT]) return signal_by(byte, kQuit);
        if (byte == settings_.characters[VSUSP]) return signal_by(byte, kSuspend);
    }
    restart_by_any();
    if (byte == '\r') {
        if (flag(settings_.input, IGNCR)) return;
        if (flag(settings_.input, ICRNL)) byte = '\n';
    } else if (byte == '\n' && flag(settings_.input, INLCR)) {
        byte = '\r';
    }
    if (flag(settings_.local, ICANON) && receive_canonical(byte)) return;
    if (flag(settings_.local, ECHO)) {
        if (byte == '\n') {
            finish_erasing();
            echo_raw('\n');
        } else {
            echo_first(byte);
        }
    }
    keep_marked(byte);
}

bool LineDiscipline::receive_canonical(u8 byte) {
    const u8* characters = settings_.characters;
    const u32 local = settings_.local;
    const bool extended = flag(local, IEXTEN), echoes = flag(local, ECHO);
    auto is = [&](u32 index) { return byte == characters[index] && byte != kDisabled; };
    if (is(VERASE) || is(VKILL) || (is(VWERASE) && extended)) {
        erase(byte);
        return true;
    }
    if (is(VLNEXT) && extended) {
        literal_next_ = 1;
        if (echoes) {
            finish_erasing();
            if (flag(local, ECHOCTL)) echo_raw('^'), echo_raw('\b');
        }
        return true;
    }
    if (is(VREPRINT) && echoes && extended) {
        finish_erasing();
        echo(byte);
        echo_raw('\n');
        for (u32 at = canonical_head_; at != head_; ++at) echo(line_at(at));
        return true;
    }
    if (byte == '\n') {
        if (flag(local, ECHO | ECHONL)) echo_raw('\n');
        end_line(byte);
        return true;
    }
    if (is(VEOF)) {
        end_line(kDisabled);
        return true;
    }
    if (is(VEOL) || (is(VEOL2) && extended)) {
        if (echoes) {
            if (head_ == canonical_head_) canonical_column_ = column_;
            echo(byte);
        }
        if (byte == 0xff && flag(settings_.input, PARMRK)) keep(byte);
        end_line(byte);
        return true;
    }
    return false;
}

void LineDiscipline::end_line(u8 byte) {
    mark_end(head_);
    keep(byte);
    __atomic_store_n(&canonical_head_, head_, __ATOMIC_RELEASE);
    events_ |= kReadable;
}

void LineDiscipline::finish_erasing() {
    if (erasing_ == 0) return;
    echo_raw('/');
    erasing_ = 0;
}

/// VERASE, VWERASE and VKILL.
void LineDiscipline::erase(u8 byte) {
    if (head_ == canonical_head_) return;
    const u32 local = settings_.local;
    const bool echoes = flag(local, ECHO);
    const bool one = byte == settings_.characters[VERASE], word = !one && byte == settings_.characters[VWERASE];
    if (!one && !word) {
        if (!echoes) {
            head_ = canonical_head_;
            return;
        }
        if (!flag(local, ECHOK) || !flag(local, ECHOKE) || !flag(local, ECHOE)) {
            head_ = canonical_head_;
            finish_erasing();
            echo(byte);
            if (flag(local, ECHOK)) echo_raw('\n');
            return;
        }
    }
    bool seen_word = false;
    while (head_ != canonical_head_) {
        u32 at = head_;
        u8 last;
        do {
            last = line_at(--at);
        } while (continuation(last) && at != canonical_head_);
        if (continuation(last)) break;
        if (word) {
            if (is_word(last))
                seen_word = true;
            else if (seen_word)
                break;
        }
        u32 size = head_ - at;
        head_ = at;
        if (echoes) {
            if (flag(local, ECHOPRT)) {
                if (erasing_ == 0) {
                    echo_raw('\\');
                    erasing_ = 1;
                }
                echo(last);
                for (u32 index = 1; index < size; ++index) {
                    echo_raw(line_at(at + index));
                    if (column_ > 0) --column_;
                }
            } else if (one && !flag(local, ECHOE)) {
                echo(byte);
            } else if (last == '\t') {
                u32 columns = 0;
                bool after_tab = false;
                for (u32 before = head_; before != canonical_head_;) {
                    u8 shown = line_at(--before);
                    if (shown == '\t') {
                        after_tab = true;
                        break;
                    }
                    if (is_control(shown))
                        columns += flag(local, ECHOCTL) ? 2 : 0;
                    else if (!continuation(shown))
                        ++columns;
                }
                erase_tab(columns, after_tab);
            } else {
                u32 columns = is_control(last) ? (flag(local, ECHOCTL) ? 2 : 0) : 1;
                for (; columns > 0; --columns) echo_raw('\b'), echo_raw(' '), echo_raw('\b');
            }
        }
        if (one) break;
    }
    if (head_ == canonical_head_ && echoes) finish_erasing();
}

u32 LineDiscipline::available() const {
    if (!canonical()) return held();
    u32 count = 0;
    for (u32 at = tail_, left = held(); at != canonical_head_ && left > 0; ++at, --left)
        if (!(ends_line(at) && line_at(at) == kDisabled)) ++count;
    return count;
}

bool LineDiscipline::readable(bool poll) const {
    if (canonical()) return canonical_head_ != tail_;
    u32 wanted = 1;
    if (poll && settings_.characters[VTIME] == 0 && settings_.characters[VMIN] != 0)
        wanted = settings_.characters[VMIN];
    return held() >= wanted;
}

u32 LineDiscipline::read(u8* bytes, u32 count, bool& whole) {
    whole = false;
    u32 done = 0;
    if (!canonical()) {
        u32 most = held();
        while (done < count && done < most) bytes[done] = line_at(tail_ + done), ++done;
        __atomic_store_n(&tail_, tail_ + done, __ATOMIC_RELEASE);
    } else {
        for (u32 left = held(); done < count && tail_ != canonical_head_ && left > 0; --left) {
            const u8 byte = line_at(tail_);
            whole = ends_line(tail_);
            if (whole) clear_end(tail_);
            __atomic_store_n(&tail_, tail_ + 1, __ATOMIC_RELEASE);
            if (whole && byte == kDisabled) break;
            bytes[done++] = byte;
            if (!whole) continue;
            pushed_ = 0;
            break;
        }
    }
    work();
    return done;
}

void LineDiscipline::skip_end_of_file() {
    if (!canonical() || tail_ == canonical_head_ || !ends_line(tail_) || line_at(tail_) != kDisabled) return;
    clear_end(tail_);
    __atomic_store_n(&tail_, tail_ + 1, __ATOMIC_RELEASE);
}

void LineDiscipline::flush_input() {
    queue_tail_ = queue_head_;
    tail_ = canonical_head_ = head_;
    memset(ends_, 0, sizeof ends_);
    erasing_ = literal_next_ = pushed_ = 0;
    events_ |= kReadFlushed | kOfferable;
}

}  // namespace postern::libos
