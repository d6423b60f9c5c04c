// SPDX-License-Identifier: Apache-2.0
// Argument and environment strings on their way from the old program to the new one.
#include "base/memory.hpp"
#include "libos/loader/exec.hpp"
#include "libos/shared/arena.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {
constexpr u64 kMaxString = 131072;  // MAX_ARG_STRLEN
constexpr u64 kDefaultLimit = 2ull << 20;
constexpr u32 kMaxCount = 0x7fffffff;
}  // namespace

ExecStrings::~ExecStrings() {
    if (data_ != nullptr) heap::release(data_, capacity_);
}

Res<void> ExecStrings::reserve(u64 more) {
    u64 most = limit != 0 ? limit : kDefaultLimit;
    u64 pointers = (u64{count_} + 2) * 8;
    if (size_ + pointers + more > most + kMaxString || size_ + pointers > most) return Failure{Errno::toobig};
    if (size_ + more <= capacity_) return {};
    u64 capacity = capacity_ == 0 ? 8192 : capacity_ * 2;
    while (capacity < size_ + more) capacity *= 2;
    auto* data = static_cast<char*>(TRY(heap::allocate_uncleared(capacity)));
    memcpy(data, data_, size_);
    if (data_ != nullptr) heap::release(data_, capacity_);
    data_ = data;
    capacity_ = capacity;
    return {};
}

Res<void> ExecStrings::append(std::string_view text) {
    if (text.size() >= kMaxString) return Failure{Errno::toobig};
    TRY(reserve(text.size() + 1));
    memcpy(data_ + size_, text.data(), text.size());
    data_[size_ + text.size()] = 0;
    size_ += text.size() + 1;
    ++count_;
    u64 most = limit != 0 ? limit : kDefaultLimit;
    if (size_ + (u64{count_} + 1) * 8 > most) return Failure{Errno::toobig};
    return {};
}

Res<void> ExecStrings::append_vector(u64 user_vector) {
    if (user_vector == 0) return {};
    u64 most = limit != 0 ? limit : kDefaultLimit;
    u64 pointers[32];
    for (;;) {
        // The vector may end right before an unmapped page: take what can be read.
        usize got = copy_in_some(pointers, user_vector, sizeof pointers) / sizeof pointers[0];
        if (got == 0) return Failure{Errno::fault};
        for (usize i = 0; i < got; ++i) {
            if (pointers[i] == 0) return {};
            if (count_ == kMaxCount) return Failure{Errno::toobig};
            for (;;) {
                TRY(reserve(256));
                u64 room = capacity_ - size_;
                if (room > kMaxString) room = kMaxString;
                auto length = copy_in_string(data_ + size_, pointers[i], room);
                if (length.ok()) {
                    size_ += length.value() + 1;
                    ++count_;
                    break;
                }
                if (length.error() != Errno::nametoolong) return Failure{length.error()};
                if (room == kMaxString) return Failure{Errno::toobig};
                TRY(reserve(room * 2 < kMaxString ? room * 2 : kMaxString));
            }
            if (size_ + (u64{count_} + 1) * 8 > most) return Failure{Errno::toobig};
        }
        user_vector += got * sizeof pointers[0];
    }
}

Res<void> ExecStrings::prepend(u32 drop, const std::string_view* texts, u32 count) {
    u64 dropped = 0;
    for (u32 i = 0; i < drop && i < count_; ++i) dropped += strlen(data_ + dropped) + 1;
    u64 added = 0;
    for (u32 i = 0; i < count; ++i) added += texts[i].size() + 1;
    TRY(reserve(added));
    memmove(data_ + added, data_ + dropped, size_ - dropped);
    size_ = size_ - dropped + added;
    char* at = data_;
    for (u32 i = 0; i < count; ++i) {
        memcpy(at, texts[i].data(), texts[i].size());
        at[texts[i].size()] = 0;
        at += texts[i].size() + 1;
    }
    count_ = count_ - (drop < count_ ? drop : count_) + count;
    return {};
}

}  // namespace postern::libos
