// SPDX-License-Identifier: Apache-2.0
// Leases (fcntl(2), F_SETLEASE) inside the family: a holder is told before somebody else opens its file.
#pragma once

#include "libos/fs/locks.hpp"
#include "libos/fs/walk.hpp"
#include "libos/shared/roots.hpp"

namespace postern::libos {

/// Does anybody hold a lease? Tells nothing more.
inline bool leases_active() {
    const u64* count = arena::root_if_made<const u64>(kRootLeases);
    return count != nullptr && __atomic_load_n(count, __ATOMIC_RELAXED) != 0;
}

/// F_SETLEASE. Errno::again: the file is open in the way; Errno::acces, Errno::inval.
Res<void> lease_set(Thread& thread, File& file, u32 fd, u32 type);
/// F_GETLEASE: what the lease is, or is becoming.
LockType lease_get(File& file);
/// Somebody is about to open (`writes`: for writing) or truncate the place: holders are told, and waited for until they
/// give way or lease-break-time is over. Errno::again instead of waiting with `wait` false; Errno::restart_sys.
Res<void> lease_break(Thread& thread, const Place& place, bool writes, bool wait);
/// The description is gone (File::has_lease).
void lease_drop(File& file);

}  // namespace postern::libos
