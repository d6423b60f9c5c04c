// SPDX-License-Identifier: Apache-2.0
// What /proc/net tells of the family's sockets.
#pragma once

#include "libos/proc/node.hpp"

namespace postern::libos {

Res<void> write_net_unix(const Subject&, ProcText& text);
Res<void> write_net_tcp(const Subject&, ProcText& text);
Res<void> write_net_tcp6(const Subject&, ProcText& text);
Res<void> write_net_udp(const Subject&, ProcText& text);
Res<void> write_net_udp6(const Subject&, ProcText& text);

}  // namespace postern::libos
