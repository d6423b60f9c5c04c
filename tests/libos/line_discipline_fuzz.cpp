// SPDX-License-Identifier: Apache-2.0
// Any keys, settings and output, in any order: the line discipline stays within its arrays and its bounds, and what it
// announces holds. The input is a list of actions: a byte that says which, then what it needs.
#include <algorithm>
#include <cstring>
#include <new>

#include "libos/tty/line_discipline.hpp"

using postern::u32;
using postern::u8;
using postern::libos::LineDiscipline;
using postern::libos::TerminalSettings;

namespace {

void require(bool condition) {
    if (!condition) __builtin_trap();
}

class Input {
public:
    Input(const u8* data, std::size_t size) : at_{data}, left_{size} {}
    bool more() const { return left_ != 0; }
    u8 byte() {
        u8 value = 0;
        take(&value, 1);
        return value;
    }
    std::size_t take(void* to, std::size_t size) {
        size = std::min(size, left_);
        std::memcpy(to, at_, size);
        at_ += size, left_ -= size;
        return size;
    }

private:
    const u8* at_;
    std::size_t left_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    alignas(LineDiscipline) static u8 place[sizeof(LineDiscipline)];
    auto* line = new (place) LineDiscipline;
    Input input{data, size};
    static u8 buffer[LineDiscipline::kOutputSize + 1];
    while (input.more()) {
        u8 action = input.byte();
        u32 amount = action >> 4;
        switch (action & 15) {
            case 0: {
                TerminalSettings settings = line->settings();
                input.take(&settings, sizeof settings);
                line->change(settings);
                break;
            }
            case 1: {
                TerminalSettings settings = line->settings();
                u32 words[4] = {};
                input.take(words, sizeof words);
                settings.input ^= words[0], settings.output ^= words[1], settings.local ^= words[2];
                line->change(settings);
                break;
            }
            case 2:
            case 3:
            case 4: {
                u32 room = line->offer_room(), wanted = static_cast<u32>(input.take(buffer, amount * 4));
                require(line->offer(buffer, wanted) >= std::min(room, wanted));
                break;
            }
            case 5: {  // a flood
                std::memset(buffer, input.byte(), amount * 1000);
                line->offer(buffer, amount * 1000);
                break;
            }
            case 6:
            case 7: {
                bool writable = line->writable();
                u32 wanted = static_cast<u32>(input.take(buffer, amount * 4 + 1));
                u32 written = line->write(buffer, wanted);
                require(written <= wanted && (writable || written == 0) && (!writable || wanted == 0 || written != 0));
                break;
            }
            case 8:
            case 9: {
                u32 most = amount == 15 ? 4096 : amount * 16 + 1;
                bool ready = line->readable(), whole = false;
                u32 got = line->read(buffer, most, whole);
                require(got <= most && (ready || (got == 0 && !whole)) && (!ready || got != 0 || whole));
                if (got == most && !whole) line->skip_end_of_file();
                break;
            }
            case 10: {
                u32 shown = line->shown(), got = line->peek_output(buffer, amount * 100);
                require(got <= shown && got <= amount * 100);
                line->drop_output(got);
                require(line->shown() == shown - got);
                break;
            }
            case 11: line->flush_input(); break;
            case 12: line->flush_output(); break;
            case 13: line->stop((amount & 1) != 0); break;
            case 14: line->start((amount & 1) != 0); break;
            case 15: (void)line->take_events(); break;
        }
        require(line->shown() <= LineDiscipline::kOutputSize && line->available() <= LineDiscipline::kLineSize);
        require(line->offer_room() <= LineDiscipline::kQueueSize);
    }
    return 0;
}
