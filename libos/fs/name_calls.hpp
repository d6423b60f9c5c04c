// SPDX-License-Identifier: Apache-2.0
// What the calls that change names share.
#pragma once

#include "libos/fs/open.hpp"

namespace postern::libos {

/// Where something new is to be, by a program's path.
Res<void> new_place(Thread& thread, i32 dirfd, u64 user_path, Place& place);
/// For a place inside: Errno::exist when it is taken.
Res<void> check_new(const Place& place);
/// After a change on the host that answered no name: the canonical one, for who watches.
void find_name(Thread& thread, Place& place, gate::Attributes& attributes);
/// Asks where a host name leads that a call without an answer of its own has refused. False: nowhere inside.
bool leads_inside(Thread& thread, Place& place);

}  // namespace postern::libos
