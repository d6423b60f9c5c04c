// SPDX-License-Identifier: Apache-2.0
// Size classes, used by the arena and by the private heap alike. Each change commits with one store: whoever dies in
// the middle has at worst lost one object.
#include "libos/shared/layout.hpp"

namespace postern::libos::arena {

void* class_take(SizeClass& size_class, u32 size, bool& fresh) {
    if (size_class.head != 0) {
        u64 object = size_class.head;
        size_class.head = *reinterpret_cast<u64*>(object);
        fresh = false;
        return reinterpret_cast<void*>(object);
    }
    if (size_class.bump == 0 || size_class.end - size_class.bump < size) return nullptr;
    u64 object = size_class.bump;
    size_class.bump = object + size;
    fresh = true;
    return reinterpret_cast<void*>(object);
}

void class_give(SizeClass& size_class, void* memory) {
    *static_cast<u64*>(memory) = size_class.head;
    asm volatile("" ::: "memory");
    size_class.head = reinterpret_cast<u64>(memory);
}

void class_refill(SizeClass& size_class, void* region, u64 bytes) {
    size_class.bump = 0;
    asm volatile("" ::: "memory");
    size_class.end = reinterpret_cast<u64>(region) + bytes;
    asm volatile("" ::: "memory");
    size_class.bump = reinterpret_cast<u64>(region);
}

}  // namespace postern::libos::arena
