// SPDX-License-Identifier: Apache-2.0
// Listings of immutable directories, asked of the host and kept for the family.
#pragma once

#include <string_view>

#include "libos/fs/listing.hpp"

namespace postern::libos {

/// What DkStreamAttributesQuery would say of an object that was listed in (or below) a directory like `above`, but for
/// the name.
gate::Attributes attributes_of_listed(const gate::ListedAttributes& from, u64 identity, u8 type,
                                      const gate::Attributes& above);
/// Fetches the listing of `path`, which is `listed` as a directory, or perhaps a link to one. `walked`: a program walks
/// through it. False: there is none to be had.
bool fetch_listing(std::string_view path, u32 options, bool listed, bool walked = false);
/// Fetches the listings of directories in `above`, from the one at `position` on; with attributes where the program
/// asked for those of names in `above`, too.
bool fetch_below(const KnownName& above, const Listing& listing, u64 position);
/// Fetches the attributes of all names of a directory whose listing is known.
void fetch_attributes(std::string_view path, const Listing& listing);

}  // namespace postern::libos
