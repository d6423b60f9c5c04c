// SPDX-License-Identifier: Apache-2.0
// Handles of files that this picoprocess has closed and may open again.
//
// Only regular files on immutable routes, opened for reading, enter: their names, contents and attributes do not change
// while the family lives, so that a handle kept answers as a fresh one would. Private memory: forked picoprocesses have
// copies of the handles and of this table. A file keeps its window (host_file.hpp) with its handle.
#pragma once

#include "libos/gate.hpp"

namespace postern::libos {

struct KnownName;

/// DkStreamAttributesQuery for a program that tends to open the files that it asked about: opens the file at once, if
/// it is one of an immutable route, and keeps the handle. False: ask without opening.
bool open_ahead(const char* uri, u32 options, gate::Attributes& answer, gate::Err& error);

/// What an open file needs to be kept, and to be opened again with what is known of its name.
struct KeptHandle {
    const KnownName* name = nullptr;  ///< null: not to be kept
    gate::Handle handle = gate::kNoHandle;
    u64 serial = 0;  ///< of the file's window
    gate::PreparedText prepared;
    bool ahead = false;  ///< nobody has asked for it yet
};

void handle_cache_initialize();
/// Takes the handle for `kept.name` out of the cache. False: there is none, and `kept` is as it was.
bool handle_cache_take(KeptHandle& kept);
/// The cache owns the handle from now on, and may close it at once.
void handle_cache_give(const KeptHandle& kept);

}  // namespace postern::libos
