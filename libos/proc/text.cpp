// SPDX-License-Identifier: Apache-2.0
#include "libos/proc/text.hpp"

#include "libos/shared/arena.hpp"

namespace postern::libos {

namespace {

constexpr usize kLargestObject = 32768;

void give_back(char* data, usize capacity) {
    if (data == nullptr) return;
    if (capacity <= kLargestObject)
        arena::release(data, capacity);
    else
        arena::release_pages(data, capacity / kPageSize);
}

}  // namespace

ProcText::~ProcText() { give_back(data_, capacity_); }

void ProcText::append(std::string_view text) {
    if (size_ + text.size() > capacity_) {
        usize wanted = capacity_ == 0 ? 512 : capacity_;
        while (wanted < size_ + text.size()) wanted *= 2;
        auto memory = wanted <= kLargestObject ? arena::allocate(wanted) : arena::allocate_pages(wanted / kPageSize);
        if (!memory.ok()) {
            failed_ = true;
            return;
        }
        memcpy(memory.value(), data_, size_);
        give_back(data_, capacity_);
        data_ = static_cast<char*>(memory.value());
        capacity_ = wanted;
    }
    memcpy(data_ + size_, text.data(), text.size());
    size_ += text.size();
}

}  // namespace postern::libos
