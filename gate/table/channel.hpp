// SPDX-License-Identifier: Apache-2.0
// Channels between picoprocesses, and handles that travel over them.
#pragma once

#include "gate/table/common.hpp"

namespace postern::gate::schema {

inline constexpr Reason kMessageReasons[] = {
    {Err::bad_handle, "the handle is not open"},
    {Err::wrong_kind, "the handle names no channel"},
    {Err::denied, "the handle lacks the right"},
    {Err::bad_address, "a message buffer is not accessible"},
    {Err::too_big, "a message exceeds what the channel holds or the buffer takes"},
    {Err::closed, "the other side is gone"},
    {Err::interrupted, "DkThreadInterrupt ended the wait"},
    {Err::unsupported, "this host has no channels"},
};

inline constexpr Call kChannelCalls[] = {
    call(48, "DkHandlePass", Group::channel) +
        handle("channel", ObjectKind::channel, Right::write, "where the handle goes, or comes from") +
        maybe(handle("give", kAnyKind, Right::none, "the handle to send; kNoHandle: receive the next one")) +
        maybe(new_handle("received", kAnyKind, "when receiving: a new handle for the object")) + kMessageReasons +
        fails(Err::no_quota, "the family's limit of handles is reached") + blocking + unsupported_on_linux +
        docs("Sends a capability with the rights of its handle over a channel, or receives the next one.") +
        needed("A message is bytes, and bytes must never be a capability: a handle's number means nothing in another "
               "picoprocess. Streams given at DkProcessCreate cannot reach a process that already runs."),

    call(49, "DkChannelCreate", Group::channel) + new_handle("client", ObjectKind::channel, "the calling side") +
        new_handle("server", ObjectKind::channel, "the answering side") + reason::kNewHandle +
        fails(Err::unsupported, "this host has no channels") + unsupported_on_linux +
        docs("Makes a channel and gives both ends to the caller, who passes one on.") +
        needed("Pipes have no message boundaries and no replies; a component needs to know which request a reply "
               "answers and that a caller which died leaves nothing behind."),

    call(50, "DkChannelCall", Group::channel) +
        handle("channel", ObjectKind::channel, Right::read | Right::write, "a client end") +
        bytes_in("request", "size", "the message") + in32("size", "bytes of the message", Domain::any, Unit::bytes) +
        bytes_out("reply", "capacity", "where the reply goes") +
        in32("capacity", "bytes that `reply` takes", Domain::any, Unit::bytes) +
        out(Type::u32_pointer, "actual", "bytes of the reply", Unit::bytes) + kMessageReasons + blocking +
        unsupported_on_linux + docs("Sends a request and waits for its reply.") +
        needed("Send and receive as two calls cost a second switch, and let another thread take the reply."),

    call(51, "DkChannelReplyReceive", Group::channel) +
        handle("channel", ObjectKind::channel, Right::read | Right::write, "a server end") +
        maybe(bytes_in("reply", "size", "answer to the request received last; null: none")) +
        in32("size", "bytes of the reply", Domain::any, Unit::bytes) +
        bytes_out("request", "capacity", "where the next request goes") +
        in32("capacity", "bytes that `request` takes", Domain::any, Unit::bytes) +
        out(Type::u32_pointer, "actual", "bytes of the request", Unit::bytes) + kMessageReasons + blocking +
        unsupported_on_linux + docs("Answers the last request, if any, and waits for the next.") +
        needed("A server's loop is one switch per request only when answering and receiving are one call, as in the "
               "L4 kernels."),

    call(52, "DkChannelSend", Group::channel) + handle("channel", ObjectKind::channel, Right::write, "either end") +
        bytes_in("message", "size", "the message") + in32("size", "bytes of the message", Domain::any, Unit::bytes) +
        kMessageReasons + fails(Err::would_block, "the channel is full") + unsupported_on_linux +
        docs("Sends a message that has no reply. Never waits.") +
        needed("A server must be able to tell a client something without trusting it to answer: DkChannelCall would "
               "let a client hold its server up."),
};

}  // namespace postern::gate::schema
