// SPDX-License-Identifier: Apache-2.0
// Control messages (cmsg(3)): what sendmsg(2) and recvmsg(2) carry beside the data.
#pragma once

#include "libos/net/numbers.hpp"
#include "libos/net/socket.hpp"

namespace postern::libos {

/// What a sender's control messages say.
struct Control {
    PassedFiles files;
    SocketCredentials credentials;
    bool has_credentials = false;
    i32 hop_limit = -1, traffic_class = -1;
};

/// Reads and checks all of a message's. Errno::inval, Errno::badf, Errno::perm (credentials of somebody else),
/// Errno::nobufs (too long), Errno::fault. Those of no meaning to the family are passed over.
Res<void> read_control(Thread& thread, const UserMessage& message, bool local, Control& control);
/// Installs received descriptors and writes the control messages of a receive; what does not fit is cut off, told by
/// MSG_CTRUNC in `message.flags`, and dropped. Sets `message.control_length`.
Res<void> write_control(Thread& thread, UserMessage& message, Endpoint& endpoint, const Received& received,
                        PassedFiles& files, u32 flags);

}  // namespace postern::libos
