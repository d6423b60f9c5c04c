// SPDX-License-Identifier: Apache-2.0
// Directories of immutable routes as they were read once, for the whole family.
//
// A directory whose listing is known is opened and read without the gate. Listings stay for ever, as the names do
// (name_cache.hpp), and stop being added when they take kMostListings bytes.
#pragma once

#include <string_view>

#include "libos/fs/file.hpp"
#include "libos/gate.hpp"

namespace postern::libos {

struct KnownName;

inline constexpr u64 kMostListings = 16 << 20;
inline constexpr u64 kLargestListing = 1 << 20;

/// Attributes of a record.
struct ListedEntry {
    gate::ListedAttributes attributes;
    u32 target_length;
    char target[4];
};

struct ListingRecord {
    u64 identity;
    u64 position;        ///< where the host begins with this name
    ListedEntry* entry;  ///< null: not known; atomic
    u16 size;
    u8 type;  ///< gate::StreamType
    u8 name_length;
    char name[4];  ///< and a NUL
};

struct Listing {
    u64 bytes;           ///< of the records
    u32 count;           ///< of the records, `.` and `..` among them
    bool whole;          ///< names that it lacks do not exist
    mutable u32* index;  ///< made when it is needed (atomic): offsets of records plus 1, by name
    // What programs do with the directory, for those who decide what to fetch ahead. Counts may be lost.
    mutable u32 asked;   ///< names in it that were asked about one by one
    mutable u32 opened;  ///< directories in it that were opened
    mutable u8 read;     ///< from its start
    mutable u8 walked;   ///< a program walks through the tree that this is a part of
    mutable u8 looked;   ///< the attributes were fetched
    u8 records[];        ///< ListingRecord, each `size` long
};

/// Of a directory that was read before; null when it was not.
const Listing* listing_of(const KnownName* name);
/// Reads the directory through its handle and keeps what it finds. Null: too large, no memory, or an error of the
/// host's; the directory is to be read directly then.
const Listing* listing_read(const KnownName* name, gate::Handle handle);
/// Keeps what DkStreamList told of the directory: the records from `from` to `end`. Null: no memory.
const Listing* listing_keep(const KnownName& name, const u8* from, const u8* end);
/// Keeps attributes that DkStreamList told.
void listing_add(const Listing& listing, const u8* from, const u8* end);
/// The record of a name; null when there is none.
const ListingRecord* listing_find(const Listing& listing, std::string_view name);
/// What is known of the object that the record names; null: only what the record says.
inline const ListedEntry* listed_entry(const ListingRecord& record) {
    return __atomic_load_n(&record.entry, __ATOMIC_ACQUIRE);
}
/// Visits from `position`: 0 or a position that an earlier visit gave.
void listing_visit(const Listing& listing, u64 position, DirectoryVisitor& visitor);
/// Is there room for more?
bool listings_full();

/// The list record at `at`; null: none that is whole. `name` and `target` lie behind it.
const gate::ListRecord* list_record(const u8* at, const u8* end, const gate::ListedAttributes*& attributes,
                                    std::string_view& name, std::string_view& target);

}  // namespace postern::libos
