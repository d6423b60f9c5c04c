// SPDX-License-Identifier: Apache-2.0
// How much the family's private trees may hold: pages of data, and objects, as tmpfs(5) counts them. Counted for all
// trees and memory files together.
#pragma once

#include "libos/errno.hpp"

namespace postern::libos::quota {

/// Before the first tree is made. Without it nothing but the arena's size limits what is stored.
void set_limit(u64 bytes);
/// First picoprocess only; needs the arena.
Res<void> initialize();

/// As many pages as there is room for, `want` at most; Errno::nospc when there is none, and the host is told.
Res<u64> take_pages(u64 want);
/// All of them or none.
Res<void> take_all_pages(u64 count);
void give_pages(u64 count);

/// One file, directory, link or FIFO.
Res<void> take_object();
void give_object();

/// What statfs(2) shows.
struct Room {
    u64 pages, free_pages, objects, free_objects;
};
Room room();

}  // namespace postern::libos::quota
