// SPDX-License-Identifier: Apache-2.0
// Directories of immutable routes as they were read once, for the whole family.
//
// A directory whose listing is known is opened and read without the gate. Listings stay for ever, as the names do
// (name_cache.hpp), and stop being added when they take kMostListings bytes.
#pragma once

#include "libos/fs/file.hpp"
#include "libos/gate.hpp"

namespace postern::libos {

struct KnownName;

inline constexpr u64 kMostListings = 16 << 20;
inline constexpr u64 kLargestListing = 1 << 20;

struct Listing {
    u64 bytes;
    u8 records[];  ///< gate::DirectoryRecord, each `size` long; its cookie: offset of the next one, plus 1
};

/// Of a directory that was read before; null when it was not.
const Listing* listing_of(const KnownName* name);
/// Reads the directory through its handle and keeps what it finds. Null: too large, no memory, or an error of the
/// host's; the directory is to be read directly then.
const Listing* listing_read(const KnownName* name, gate::Handle handle);
/// Visits from `position`: 0 or a position that an earlier visit gave.
void listing_visit(const Listing& listing, u64 position, DirectoryVisitor& visitor);

}  // namespace postern::libos
