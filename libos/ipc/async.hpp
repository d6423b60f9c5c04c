// SPDX-License-Identifier: Apache-2.0
// Signal-driven input and output (fcntl(2): O_ASYNC, F_SETOWN, F_SETSIG): who asked for it is sent a signal when a file
// may have become readable or writable.
//
// Files announce changes with their queues locked and sometimes with the table of processes locked. So the signal is
// noted for the thread that caused it, which sends it on its way out of the call or before it sleeps.
#pragma once

#include "libos/fs/file.hpp"

namespace postern::libos {

/// POLL_* of siginfo_t.
enum AsyncReason : u32 {
    kAsyncIn = 1,
    kAsyncOut = 2,
    kAsyncMessage = 3,
    kAsyncError = 4,
    kAsyncPriority = 5,
    kAsyncHangup = 6,
};

/// Among the events of an announcement: writers are told whether or not one found no room before.
inline constexpr u32 kAsyncAlways = 1u << 31;

/// In the arena: the place of a description with O_ASYNC in its file's queue.
struct AsyncWatch {
    WaitEntry entry;
    File* file = nullptr;
    u32 fd = 0;
    u32 wants_room = 0;  ///< a writer found none: the next room is told
};

struct AsyncOwner {  // struct f_owner_ex
    i32 kind, number;
};
enum AsyncOwnerKind : i32 { kOwnerThread = 0, kOwnerProcess = 1, kOwnerGroup = 2 };
/// F_SETOWN_EX. Errno::srch when there is nobody of that number; 0: no owner.
Res<void> async_set_owner(File& file, const AsyncOwner& owner);
/// F_SETOWN: a process or, negative, a group.
Res<void> async_set_owner(File& file, i32 owner);
AsyncOwner async_owner(const File& file);
/// `process` becomes the owner.
void async_own(File& file, const Process& process);

/// Turns O_ASYNC on or off, for descriptor `fd`. Does nothing for files that never send signals. Errno::nomem.
Res<void> async_set(File& file, u32 fd, bool on);
/// `file` ends.
void async_forget(File& file);
/// A writer finds no room in a file whose queue may have watchers: for File::async_reasons.
inline void async_room_wanted(File& file) {
    if (file.async != nullptr) [[unlikely]]
        __atomic_store_n(&file.async->wants_room, 1, __ATOMIC_RELAXED);
}

/// Notes a signal for the owner of `file`. Callable with any lock held; does not block.
void async_note(const File& file, u32 fd, u32 reason);
/// Notes SIGURG for the owner of `file`, where it has one.
void async_note_urgent(const File& file);
/// Sends what the calling thread has noted. No lock may be held.
void async_send_noted(Thread& thread);

}  // namespace postern::libos
