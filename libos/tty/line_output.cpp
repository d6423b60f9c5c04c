// SPDX-License-Identifier: Apache-2.0
// The line discipline towards the screen: output processing (OPOST and its like), echoes, flow control.
#include <asm/termbits.h>

#include "base/memory.hpp"
#include "libos/tty/characters.hpp"
#include "libos/tty/line_discipline.hpp"

namespace postern::libos {

namespace {
/// As much of a pty's output is past recall in Linux when it is flushed: the other side's own buffer has it.
constexpr u32 kBeyondFlush = LineDiscipline::kLineSize - 1;
constexpr u32 kEchoBatch = 256;  ///< echoes of more than so many bytes are shown at once
constexpr bool recent(u32 bytes) { return bytes < kEchoBatch; }
constexpr u32 kWidest = 8;  ///< bytes that one byte of the program becomes at most
}  // namespace

void LineDiscipline::put(u8 byte) {
    if (output_head_ - output_tail_ >= kOutputSize) return;
    output_[output_head_ % kOutputSize] = byte;
    __atomic_store_n(&output_head_, output_head_ + 1, __ATOMIC_RELEASE);
    if (stopped_ == 0) events_ |= kShown;
}

u32 LineDiscipline::shown() const {
    u32 count = (stopped_ != 0 ? output_limit_ : output_head_) - output_tail_;
    return count <= kOutputSize ? count : 0;
}

u32 LineDiscipline::peek_output(u8* bytes, u32 count) const {
    if (count > shown()) count = shown();
    u32 at = output_tail_ % kOutputSize, first = kOutputSize - at < count ? kOutputSize - at : count;
    memcpy(bytes, output_ + at, first);
    memcpy(bytes + first, output_, count - first);
    return count;
}

void LineDiscipline::drop_output(u32 count) {
    if (count > shown()) count = shown();
    bool was = writable();
    __atomic_store_n(&output_tail_, output_tail_ + count, __ATOMIC_RELEASE);
    if (!was && writable()) events_ |= kWritable;
}

bool LineDiscipline::writable() const { return stopped_ == 0 && output_head_ - output_tail_ < kWriteLimit; }

u32 LineDiscipline::write(const u8* bytes, u32 count) {
    u32 done = 0;
    if (flag(settings_.output, OPOST)) {
        while (done < count && stopped_ == 0 && output_head_ - output_tail_ + kWidest <= kWriteLimit + kWidest - 1)
            process(bytes[done++]);
        return done;
    }
    while (done < count && writable()) put(bytes[done++]);
    return done;
}

/// One byte with output processing. False: it vanished.
bool LineDiscipline::process(u8 byte) {
    const u32 output = settings_.output;
    switch (byte) {
        case '\n':
            if (flag(output, ONLRET)) column_ = 0;
            if (flag(output, ONLCR)) {
                column_ = 0;
                canonical_column_ = 0;
                put('\r');
                put('\n');
                return true;
            }
            canonical_column_ = column_;
            break;
        case '\r':
            if (flag(output, ONOCR) && column_ == 0) return false;
            if (flag(output, OCRNL)) {
                byte = '\n';
                if (flag(output, ONLRET)) column_ = canonical_column_ = 0;
                break;
            }
            column_ = canonical_column_ = 0;
            break;
        case '\t': {
            u32 blanks = 8 - (column_ & 7);
            column_ += blanks;
            if ((output & TABDLY) == XTABS) {
                while (blanks-- > 0) put(' ');
                return true;
            }
            break;
        }
        case '\b':
            if (column_ > 0) --column_;
            break;
        default:
            if (is_control(byte)) break;
            if (flag(output, OLCUC)) byte = to_upper(byte);
            if (!continuation(byte)) ++column_;
            break;
    }
    put(byte);
    return true;
}

void LineDiscipline::echo_raw(u8 byte) {
    if (byte == 0xff) {  // Linux escapes it among its echoes, past output processing
        put(byte);
        ++column_;
        return;
    }
    if (flag(settings_.output, OPOST))
        process(byte);
    else
        put(byte);
}

/// With control characters as ^X when ECHOCTL asks for it.
void LineDiscipline::echo(u8 byte) {
    if (flag(settings_.local, ECHOCTL) && is_control(byte) && byte != '\t') {
        put('^');
        put(byte ^ 0x40);
        column_ += 2;
        return;
    }
    echo_raw(byte);
}

/// As echo; the first byte of a line also notes where the line begins.
void LineDiscipline::echo_first(u8 byte) {
    finish_erasing();
    if (head_ == canonical_head_) canonical_column_ = column_;
    echo(byte);
}

void LineDiscipline::erase_tab(u32 columns, bool after_tab) {
    if (!after_tab) columns += canonical_column_;
    for (u32 backspaces = 8 - (columns & 7); backspaces > 0; --backspaces) {
        put('\b');
        if (column_ > 0) --column_;
    }
}

/// A signal's key discards echoes that Linux would not have shown yet.
void LineDiscipline::take_back_echoes() {
    if (!recent(output_head_ - batch_output_)) return;
    output_head_ = output_head_ - output_tail_ < output_head_ - batch_output_ ? output_tail_ : batch_output_;
    column_ = batch_column_;
    begin_batch();
}

void LineDiscipline::flush_output() {
    if (shown() > kBeyondFlush) output_head_ = output_tail_ + kBeyondFlush;
    if (stopped_ != 0) {
        if (output_head_ - output_tail_ > output_limit_ - output_tail_) output_head_ = output_limit_;
        output_limit_ = output_head_;
    }
    events_ |= kWriteFlushed | kWritable;
}

void LineDiscipline::stop(bool by_program) {
    if (by_program) stopped_by_program_ = 1;
    if (stopped_ != 0) return;
    output_limit_ = by_program || !recent(output_head_ - batch_output_) ? output_head_ : batch_output_;
    if (output_limit_ - output_tail_ > kOutputSize) output_limit_ = output_tail_;
    stopped_ = 1;
    events_ |= kStopped;
}

void LineDiscipline::start(bool by_program) {
    if (by_program) stopped_by_program_ = 0;
    if (stopped_ == 0 || stopped_by_program_ != 0) return;
    stopped_ = 0;
    events_ |= kStarted | kWritable;
    if (shown() != 0) events_ |= kShown;
}

}  // namespace postern::libos
