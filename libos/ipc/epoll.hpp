// SPDX-License-Identifier: Apache-2.0
// epoll(7): sets of watched files with a list of those that became ready.
//
// A file that announces changes puts its item on the list of ready ones (WaitEntry::notify). Files that only the host
// knows, timers, signals and nested sets are looked at with every wait instead. Everything is in the arena: a set is
// shared over fork like any open file description.
//
// Lock order: the tree lock (changes of any set's members; one for the family), a set's lock, its ready lock.
#pragma once

#include "libos/ipc/waiting.hpp"

namespace postern::libos {

struct EpollEvent {  // struct epoll_event of x86-64: packed
    u32 events;
    u64 data;
} __attribute__((packed));

Res<FileRef> make_epoll_file(u32 open_flags);
/// Errno::inval when `set` is no epoll.
Res<void> epoll_control(Thread& thread, File& set, u32 operation, File& file, u32 fd, const EpollEvent& event);
/// Fills up to `capacity` events; 0 at the deadline. Errno::restart_sys by a signal.
Res<u32> epoll_wait(Thread& thread, File& set, EpollEvent* events, u32 capacity, gate::Deadline deadline);

/// How many files a set watches: more events at a time it never has. 0 for other files.
u32 epoll_members(File& set);

/// File::release calls this before a file with watches is destroyed: the sets forget it.
void epoll_forget(File& file);

/// Calls `visit` for each member of a set, for /proc/PID/fdinfo.
void epoll_visit(File& set, void (*visit)(u32 fd, u32 events, u64 data, void* cookie), void* cookie);

}  // namespace postern::libos
