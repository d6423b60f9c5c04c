// SPDX-License-Identifier: Apache-2.0
// What the host answered about names on immutable routes, kept for the whole family.
//
// Only answers that the gate calls cacheable enter, refusals among them, so nothing ever needs to be taken out: the
// table is read without a lock, and grows until its limit.
#pragma once

#include "libos/errno.hpp"
#include "libos/gate.hpp"

namespace postern::libos {

struct KnownName;
struct Listing;

/// Once, before the first fork.
Res<void> name_cache_initialize();

/// DkStreamAttributesQuery, answered from memory where that is allowed. `answer.name` may lend a buffer as there.
gate::Err query_name(const char* uri, u32 options, gate::Attributes& answer);
/// A refusal that is known without asking, for opening what exists: Err::ok when nothing is known.
gate::Err known_refusal(const char* uri, u32 options, gate::Attributes& answer);
/// The entry of a name that leads to something on the host; null when nothing is known. It stays for ever.
const KnownName* known_name(const char* uri, u32 options);
/// The names of the entry's answer, as DkStreamOpen gives them. False: `answer` lends too small a buffer.
bool known_name_answer(const KnownName& known, gate::Attributes& answer);
/// Where the listing of a directory is kept (listing.hpp); read and set atomically.
const Listing*& known_listing(const KnownName& known);
/// How many bytes all listings that are kept take; changed atomically.
u64& known_listing_bytes();
/// Remembers what opening an existing name answered.
void note_name(const char* uri, u32 options, gate::Err error, const gate::Attributes& answer);

}  // namespace postern::libos
