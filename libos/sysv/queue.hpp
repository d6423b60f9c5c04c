// SPDX-License-Identifier: Apache-2.0
// System V message queues.
#pragma once

#include "libos/sysv/objects.hpp"

namespace postern::libos {

struct SysvMessage {
    ListLink link;
    i64 type = 0;
    u64 size = 0;
    u8 text[8] = {};
    static usize bytes(u64 size) { return sizeof(SysvMessage) - 8 + (size < 8 ? 8 : size); }
};

enum class MessageMatch : u32 { any, equal, not_equal, less_or_equal, number };

/// A sleeping receiver or sender. A receiver may wake up with its message in hand.
struct MessageWaiter : SysvWaiter {
    u32 sends = 0;
    MessageMatch match = MessageMatch::any;
    i64 type = 0;
    u64 room = 0;  ///< of a receiver: its buffer; of a sender: the message's size
    u32 cuts = 0;  ///< MSG_NOERROR
    SysvMessage* message = nullptr;
};

struct MessageQueue : SysvObject {
    u64 bytes = 0, count = 0;  ///< of the messages in it
    u64 most_bytes = 0;        ///< msg_qbytes
    i64 sent = 0, received = 0;
    u32 last_sender = 0, last_receiver = 0;
    List<SysvMessage, &SysvMessage::link> messages;
    List<SysvWaiter, &SysvWaiter::link> receivers, senders;
};

}  // namespace postern::libos
