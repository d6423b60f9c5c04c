// SPDX-License-Identifier: Apache-2.0
#include "base/memory.hpp"

#ifdef POSTERN_FREESTANDING  // hosted builds keep the C library's
extern "C" {

// `rep movsb` and `rep stosb` use general registers only: the guest's vector state is live while this code runs.
void* memcpy(void* destination, const void* source, std::size_t size) {
    void* result = destination;
    asm volatile("rep movsb" : "+D"(destination), "+S"(source), "+c"(size)::"memory");
    return result;
}

void* memmove(void* destination, const void* source, std::size_t size) {
    auto* to = static_cast<unsigned char*>(destination);
    auto* from = static_cast<const unsigned char*>(source);
    if (to <= from || to >= from + size) return memcpy(destination, source, size);
    while (size-- > 0) {
        to[size] = from[size];
        asm volatile("" ::: "memory");  // keeps the compiler from turning the loop into a call of this function
    }
    return destination;
}

void* memset(void* destination, int value, std::size_t size) {
    void* result = destination;
    asm volatile("rep stosb" : "+D"(destination), "+c"(size) : "a"(value) : "memory");
    return result;
}

int memcmp(const void* left, const void* right, std::size_t size) {
    auto* a = static_cast<const unsigned char*>(left);
    auto* b = static_cast<const unsigned char*>(right);
    for (std::size_t i = 0; i < size; ++i)
        if (a[i] != b[i]) return a[i] - b[i];
    return 0;
}

std::size_t strlen(const char* text) {
    std::size_t length = 0;
    while (text[length] != 0) {
        ++length;
        asm volatile("" ::: "memory");
    }
    return length;
}
}
#endif

namespace postern {

bool copy_string(char* destination, usize capacity, std::string_view text) {
    if (capacity == 0) return false;
    usize length = text.size() < capacity ? text.size() : capacity - 1;
    memcpy(destination, text.data(), length);
    destination[length] = 0;
    return length == text.size();
}

}  // namespace postern
