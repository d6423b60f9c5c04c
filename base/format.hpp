// SPDX-License-Identifier: Apache-2.0
// Text into a fixed buffer without a C library: logs, traces and the text files of the library OS's /proc.
#pragma once

#include <concepts>
#include <string_view>

#include "base/memory.hpp"
#include "base/types.hpp"

namespace postern {

struct Hex {
    u64 value;
    int width = 0;  ///< zero-padded to this many digits
};
struct Padded {
    i64 value;
    int width;
    char fill = ' ';
};
struct Octal {
    u64 value;
    int width = 0;
};

/// Appends to a caller's buffer; what does not fit is dropped and `truncated()` says so.
class Text {
public:
    Text(char* buffer, usize capacity) : buffer_{buffer}, capacity_{capacity} {}

    template <class... Parts>
    Text& add(const Parts&... parts) {
        (put(parts), ...);
        return *this;
    }
    std::string_view view() const { return {buffer_, length_}; }
    usize size() const { return length_; }
    bool truncated() const { return truncated_; }
    void clear() { length_ = 0, truncated_ = false; }

    void put(std::string_view text) {
        usize room = capacity_ - length_;
        usize count = text.size() < room ? text.size() : room;
        if (count < text.size()) truncated_ = true;
        memcpy(buffer_ + length_, text.data(), count);
        length_ += count;
    }
    void put(const char* text) { put(std::string_view{text}); }
    void put(char character) { put(std::string_view{&character, 1}); }
    void put(bool value) { put(value ? std::string_view{"true"} : std::string_view{"false"}); }
    template <std::integral T>
    void put(T value) {
        if constexpr (std::signed_integral<T>) {
            if (value < 0) {
                put('-');
                number(~static_cast<u64>(value) + 1, 10, 0, '0');
                return;
            }
        }
        number(static_cast<u64>(value), 10, 0, '0');
    }
    void put(Hex hex) { number(hex.value, 16, hex.width, '0'); }
    void put(Octal octal) { number(octal.value, 8, octal.width, '0'); }
    void put(Padded padded) {
        if (padded.value < 0) {
            const u64 size = ~static_cast<u64>(padded.value) + 1;
            int width = padded.width - 1;
            if (padded.fill == ' ') {  // blanks come before the sign
                for (u64 rest = size; rest != 0; rest /= 10) --width;
                for (; width > 0; --width) put(' ');
            }
            put('-');
            number(size, 10, width, padded.fill);
        } else {
            number(static_cast<u64>(padded.value), 10, padded.width, padded.fill);
        }
    }
    void put(const void* pointer) {
        put("0x");
        number(reinterpret_cast<u64>(pointer), 16, 0, '0');
    }

private:
    void number(u64 value, unsigned radix, int width, char fill) {
        char digits[32];
        int count = 0;
        do {
            digits[count++] = "0123456789abcdef"[value % radix];
            value /= radix;
        } while (value != 0);
        for (int i = count; i < width; ++i) put(fill);
        while (count > 0) put(digits[--count]);
    }

    char* buffer_;
    usize capacity_;
    usize length_ = 0;
    bool truncated_ = false;
};

template <usize Capacity>
class TextBuffer : public Text {
public:
    TextBuffer() : Text{storage_, Capacity} {}

private:
    char storage_[Capacity];
};

}  // namespace postern
