// SPDX-License-Identifier: Apache-2.0
// Names of sockets and devices beside the host's files. The host must not get them (there they would be doors
// out of the family), so the library OS keeps them: in a hidden memory directory for each host directory in which one
// was made. A host name that is not found is looked for there, and listings show them behind the host's own.
#pragma once

#include "libos/fs/inode.hpp"

namespace postern::libos {

struct Place;

/// Makes such a name (`mode` has its type) at a place of the host's where the host has none. Errno::exist, Errno::noent
/// (no such directory), Errno::rofs (the directory's route is read-only).
Res<InodeRef> make_socket_name(Thread& thread, const Place& place, u32 mode);

/// After the host did not find the place: true when a name is kept for it; the place is inside then.
bool find_socket_name(Place& place);
/// The same for calls that would create the name on the host: asks the host first, where any name is kept.
void prefer_socket_name(Place& place);

/// Positions of kept names in listings begin here. The kernel's use all 63 bits (ext4's are hashes of names), and the
/// routes' names 10 and 11 at the top and few of the bits below.
inline constexpr u64 kKeptPositions = 5ull << 61;
constexpr bool is_kept_position(u64 position) { return position >> 61 == kKeptPositions >> 61; }
/// Shows what is kept for the host directory of this canonical name, from `position` on.
Res<void> visit_kept_names(Thread& thread, std::string_view directory, u64 position, DirectoryVisitor& visitor);
/// Is any name kept in what the place, a host directory, names?
bool keeps_names(const Place& place);

}  // namespace postern::libos
