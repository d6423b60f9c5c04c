// SPDX-License-Identifier: Apache-2.0
// Guarded access to program memory, and the lookup of fix-ups when such an access faults.
#include "libos/user.hpp"

#include "base/memory.hpp"
#include "libos/gate.hpp"

namespace postern::libos {

namespace {

struct Fixup {
    u64 instruction;
    u64 resume;
};
extern "C" const Fixup __start_fixups[];
extern "C" const Fixup __stop_fixups[];

extern "C" u64 libos_guarded_copy(void* to, const void* from, u64 size);
extern "C" u64 libos_guarded_zero(void* to, u64 size);
extern "C" i64 libos_guarded_string(char* to, const char* from, u64 capacity);
extern "C" i32 libos_guarded_cmpxchg(u32* address, u32* expected, u32 desired);

/// A program must not have the library OS read or write the library OS: only addresses it can be given pass.
bool outside(UserAddress address, usize size) {
    u64 high = g_parameters->user_high;
    return address >= high || size > high - address;
}

template <class T>
bool load(T& value, UserAddress address) {
    asm goto(
        "1: mov (%1), %0\n"
        ".pushsection fixups, \"a\"\n"
        ".quad 1b, %l[fault]\n"
        ".popsection"
        : "=r"(value)
        : "r"(address)
        : "memory"
        : fault);
    return true;
fault:
    return false;
}

template <class T>
bool store(UserAddress address, T value) {
    asm goto(
        "1: mov %0, (%1)\n"
        ".pushsection fixups, \"a\"\n"
        ".quad 1b, %l[fault]\n"
        ".popsection"
        :
        : "r"(value), "r"(address)
        : "memory"
        : fault);
    return true;
fault:
    return false;
}

template <class T>
bool copy_word_in(void* destination, UserAddress source) {
    T value;
    if (!load(value, source)) return false;
    __builtin_memcpy(destination, &value, sizeof value);
    return true;
}

template <class T>
bool copy_word_out(UserAddress destination, const void* source) {
    T value;
    __builtin_memcpy(&value, source, sizeof value);
    return store(destination, value);
}

}  // namespace

Res<void> copy_in(void* destination, UserAddress source, usize size) {
    if (size == 0) return {};
    if (outside(source, size)) [[unlikely]]
        return Failure{Errno::fault};
    bool done;
    switch (size) {
        case 1: done = copy_word_in<u8>(destination, source); break;
        case 2: done = copy_word_in<u16>(destination, source); break;
        case 4: done = copy_word_in<u32>(destination, source); break;
        case 8: done = copy_word_in<u64>(destination, source); break;
        default: done = libos_guarded_copy(destination, reinterpret_cast<const void*>(source), size) == 0;
    }
    if (!done) [[unlikely]]
        return Failure{Errno::fault};
    return {};
}

Res<void> copy_out(UserAddress destination, const void* source, usize size) {
    if (size == 0) return {};
    if (outside(destination, size)) [[unlikely]]
        return Failure{Errno::fault};
    bool done;
    switch (size) {
        case 1: done = copy_word_out<u8>(destination, source); break;
        case 2: done = copy_word_out<u16>(destination, source); break;
        case 4: done = copy_word_out<u32>(destination, source); break;
        case 8: done = copy_word_out<u64>(destination, source); break;
        default: done = libos_guarded_copy(reinterpret_cast<void*>(destination), source, size) == 0;
    }
    if (!done) [[unlikely]]
        return Failure{Errno::fault};
    return {};
}

Res<void> zero_out(UserAddress destination, usize size) {
    if (size == 0) return {};
    if (outside(destination, size) || libos_guarded_zero(reinterpret_cast<void*>(destination), size) != 0)
        return Failure{Errno::fault};
    return {};
}

usize copy_in_some(void* destination, UserAddress source, usize size) {
    u64 high = g_parameters->user_high;
    if (source >= high) return 0;
    if (size > high - source) size = high - source;
    return size - libos_guarded_copy(destination, reinterpret_cast<const void*>(source), size);
}

usize copy_out_some(UserAddress destination, const void* source, usize size) {
    u64 high = g_parameters->user_high;
    if (destination >= high) return 0;
    if (size > high - destination) size = high - destination;
    return size - libos_guarded_copy(reinterpret_cast<void*>(destination), source, size);
}

Res<usize> copy_in_string(char* destination, UserAddress source, usize capacity) {
    u64 high = g_parameters->user_high;
    if (source >= high) return Failure{Errno::fault};
    usize limit = capacity < high - source ? capacity : high - source;
    i64 length = libos_guarded_string(destination, reinterpret_cast<const char*>(source), limit);
    if (length < 0) return Failure{Errno::fault};
    if (static_cast<usize>(length) == limit) return Failure{limit == capacity ? Errno::nametoolong : Errno::fault};
    return static_cast<usize>(length);
}

Res<u32> load_user_u32(UserAddress address) {
    u32 value;
    if (outside(address, sizeof value) || !load(value, address)) return Failure{Errno::fault};
    return value;
}

Res<bool> compare_exchange_user_u32(UserAddress address, u32& expected, u32 desired) {
    if (outside(address, sizeof desired)) return Failure{Errno::fault};
    i32 result = libos_guarded_cmpxchg(reinterpret_cast<u32*>(address), &expected, desired);
    if (result < 0) return Failure{Errno::fault};
    return result == 1;
}

usize guarded_copy(void* destination, const void* source, usize size) {
    return size - libos_guarded_copy(destination, source, size);
}

u64 find_fixup(u64 instruction) {
    // A few dozen entries in link order: faults here are rare and the kernel's delivery costs a thousand times more.
    for (const Fixup* fixup = __start_fixups; fixup != __stop_fixups; ++fixup)
        if (fixup->instruction == instruction) return fixup->resume;
    return 0;
}

}  // namespace postern::libos

extern "C" postern::u64 LibOsExceptionDispatch(const postern::gate::ExceptionInfo*, postern::u64 instruction) {
    return postern::libos::find_fixup(instruction);
}
