// SPDX-License-Identifier: Apache-2.0
// Names of sockets beside the host's files. The host must not get them (there they would be doors out of the family),
// so the library OS keeps them: in a hidden memory directory for each host directory in which a socket was bound. A
// host name that is not found is looked for there. Listings do not show them.
#pragma once

#include "libos/fs/inode.hpp"

namespace postern::libos {

struct Place;

/// Makes a socket name at a place of the host's where the host has none. Errno::exist, Errno::noent (no such
/// directory), Errno::rofs (the directory's route is read-only).
Res<InodeRef> make_socket_name(Thread& thread, const Place& place, u32 mode);

/// After the host did not find the place: true when a socket name is kept for it; the place is inside then.
bool find_socket_name(Place& place);

}  // namespace postern::libos
