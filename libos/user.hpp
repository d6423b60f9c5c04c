// SPDX-License-Identifier: Apache-2.0
// Program memory as seen from the library OS: addresses that must not be dereferenced, only copied with a guard.
//
// Every access goes through instructions listed in the exception table (section .fixups): a fault there resumes at
// the fix-up and the copy reports EFAULT. The same guard covers mapped files that the host truncates (SIGBUS).
#pragma once

#include <string_view>

#include "libos/errno.hpp"

namespace postern::libos {

using UserAddress = u64;

/// Copies between program memory and the library OS. Errno::fault if any byte is not accessible; bytes before it may
/// have been copied. Addresses of the library OS itself are refused.
Res<void> copy_in(void* destination, UserAddress source, usize size);
Res<void> copy_out(UserAddress destination, const void* source, usize size);
Res<void> zero_out(UserAddress destination, usize size);
/// As copy_in/copy_out, but returns how many bytes were copied before the fault.
usize copy_in_some(void* destination, UserAddress source, usize size);
usize copy_out_some(UserAddress destination, const void* source, usize size);
/// A NUL-terminated string of at most `capacity` - 1 bytes; returns its length. Errno::nametoolong when longer.
Res<usize> copy_in_string(char* destination, UserAddress source, usize capacity);
/// Atomic access to a program's 32-bit word (futex).
Res<u32> load_user_u32(UserAddress address);
Res<bool> compare_exchange_user_u32(UserAddress address, u32& expected, u32 desired);
/// Copies guarded on both sides, for sources that are mapped files: returns bytes copied.
usize guarded_copy(void* destination, const void* source, usize size);
/// Where to go on after a fault of `instruction`; 0: it is in no table.
u64 find_fixup(u64 instruction);

template <class T>
Res<T> read_user(UserAddress address) {
    T value;
    TRY(copy_in(&value, address, sizeof value));
    return value;
}
template <class T>
Res<void> write_user(UserAddress address, const T& value) {
    return copy_out(address, &value, sizeof value);
}

}  // namespace postern::libos
