// SPDX-License-Identifier: Apache-2.0
// Sending datagrams: of Unix sockets, and UDP.
#include "libos/net/names.hpp"
#include "libos/net/numbers.hpp"
#include "libos/net/socket.hpp"

namespace postern::libos {

namespace {

constexpr u64 kMostUdp4 = 65507, kMostUdp6 = 65527;
constexpr u32 kWriteEvents = kPollOut | kPollWrNorm | kPollWrBand;

/// The open datagram with `added` at its end; both are consumed.
Res<Message*> cork(Endpoint& mine, Message* added, const SocketAddress* from) {
    Message* open;
    {
        Guard guard{mine.lock};
        open = mine.corked;
        set_undoable(mine.lock, mine.corked, static_cast<Message*>(nullptr));
    }
    if (open == nullptr) return added;
    const u64 whole = open->size + added->size;
    Res<Message*> joined = whole <= kMostUdp4 ? message_create(whole, from) : Res<Message*>{Failure{Errno::msgsize}};
    if (joined.ok()) {
        memcpy(joined.value()->data(), open->data(), open->size);
        memcpy(joined.value()->data() + open->size, added->data(), added->size);
        joined.value()->credentials = added->credentials;
    }
    message_destroy(open);
    message_destroy(added);
    return joined;
}

}  // namespace

Res<i64> SocketFile::send_local_datagram(Thread& thread, Bytes& bytes, const SendRequest& request) {
    Endpoint& mine = endpoint_;
    if (mine.options.is_on(kPassCredentials) && mine.named == 0) TRY(name_abstract(mine, unnamed_unix()));
    const u64 timeout = mine.options.send_timeout;
    const gate::Deadline until = waits(request.flags) ? deadline_of(timeout) : gate::kPoll;
    EndpointRef target;
    if (request.to != nullptr) {
        TRY(check_local(*request.to));
        if (request.to->size <= 2) return Failure{Errno::inval};
        target = TRY(find_local(thread, *request.to, SocketType::datagram));
    } else {
        target = EndpointRef{mine.hold_peer()};
        if (target.get() == nullptr) return Failure{Errno::notconn};
    }
    const u64 size = bytes.size();
    if (size + 32 > mine.options.send_buffer) return Failure{Errno::msgsize};
    if ((mine.shut_bits & kShutSend) != 0) return Failure{Errno::pipe};
    Message* message =
        TRY(fill(thread, bytes, size, request, true, mine.local_unix.size > 2 ? &mine.local_unix : nullptr));
    message->sender = &mine;
    mine.reference();
    __atomic_add_fetch(&mine.outstanding, message->charge, __ATOMIC_SEQ_CST);
    Endpoint& other = *target;
    Errno failed = Errno::ok;
    for (;;) {
        bool full = false;
        const bool crowded = mine.outstanding > mine.options.send_buffer && mine.outstanding != message->charge;
        if (!crowded) {
            Guard guard{other.lock};
            if (other.closed != 0)
                failed = Errno::connrefused;
            else if (other.peer != nullptr && other.peer != &mine)
                failed = Errno::perm;
            else if ((other.shut_bits & kShutReceive) != 0)
                failed = Errno::pipe;
            else if (other.peer != &mine && &other != &mine && other.count > other.backlog)
                full = true;
            else
                other.append(*message);
        }
        if (!crowded && !full) break;
        async_room_wanted(*this);
        if (until == gate::kPoll) {
            failed = Errno::again;
            break;
        }
        const u64 charge = message->charge;
        auto waited =
            crowded
                ? wait_until(thread, mine.queue, kWriteEvents, until,
                             [&] { return mine.outstanding <= mine.options.send_buffer || mine.outstanding == charge; })
                : wait_until(thread, other.room, kWriteEvents, until,
                             [&] { return other.count <= other.backlog || other.closed != 0 || other.shut_bits != 0; });
        if (!waited.ok()) {
            failed = wait_error(waited.error(), timeout);
            break;
        }
    }
    if (failed == Errno::ok) {
        other.queue.wake(kPollIn | kPollRdNorm);
        return static_cast<i64>(size);
    }
    message_destroy(message);
    if (failed == Errno::connrefused && request.to == nullptr) {
        // The receiver is gone for good: no longer connected.
        Guard guard{mine.lock};
        if (mine.peer == &other) {
            set_undoable(mine.lock, mine.peer, static_cast<Endpoint*>(nullptr));
            set_undoable(mine.lock, mine.state, SocketState::fresh);
            other.release();
        }
    }
    return Failure{failed};
}

Res<i64> SocketFile::send_udp(Thread& thread, Bytes& bytes, const SendRequest& request) {
    Endpoint& mine = endpoint_;
    const u64 size = bytes.size();
    if (size > 0xffff) return Failure{Errno::msgsize};
    if (request.to != nullptr && request.to->size < (mine.family == Family::inet ? 16u : 2u))
        return Failure{Errno::inval};
    IpName to = mine.remote_ip;
    if (request.to != nullptr && request.to->family() != Family::unspecified) {
        // An IPv6 socket takes IPv4 addresses as well.
        Family form = mine.family == Family::inet6 && request.to->family() == Family::inet ? Family::inet : mine.family;
        to = TRY(parse_ip(*request.to, form));
        if (to.port == 0) return Failure{Errno::inval};
    } else if (request.to != nullptr && mine.family == Family::inet && request.to->size >= 16) {
        SocketAddress plain = *request.to;
        plain.bytes[0] = static_cast<u8>(Family::inet);
        to = TRY(parse_ip(plain, Family::inet));
    } else if (mine.state != SocketState::connected) {
        return Failure{Errno::destaddrreq};
    }
    if (to.is_v4() && mine.family == Family::inet6 && mine.options.is_on(kOnlyIp6)) return Failure{Errno::netunreach};
    if (size > (to.is_v4() ? kMostUdp4 : kMostUdp6)) return Failure{Errno::msgsize};
    if (to.is_any()) memcpy(to.address, loopback_name(to.is_v4()).address, sizeof to.address);
    static constexpr u8 kEverybody[4] = {255, 255, 255, 255};
    if (to.is_v4() && memcmp(to.address + 12, kEverybody, 4) == 0 && !mine.options.is_on(kBroadcast))
        return Failure{Errno::acces};
    if (!to.is_loopback()) return Failure{Errno::netunreach};
    if (mine.error != 0) return Failure{mine.take_error()};
    if ((mine.shut_bits & kShutSend) != 0) {
        broken_pipe(thread, request.flags);
        return Failure{Errno::pipe};
    }
    TRY(name_ip_automatically(thread, mine, nullptr));
    IpName from = mine.local_ip;
    if (from.is_any()) memcpy(from.address, loopback_name(to.is_v4()).address, sizeof from.address);
    EndpointRef target = find_datagram(mine.protocol, to, from);
    // How the receiver sees the sender depends on the receiver's family.
    SocketAddress name = format_ip(from, target.get() != nullptr ? target->family : mine.family);
    Message* message = TRY(fill(thread, bytes, size, request, false, &name));
    const auto& values = mine.options.values;
    const bool v4 = to.is_v4();
    i32 hops = request.hop_limit >= 0 ? request.hop_limit : values[v4 ? kTimeToLive : kHopLimit];
    i32 traffic = request.traffic_class >= 0 ? request.traffic_class : values[v4 ? kTypeOfService : kTrafficClass];
    message->hop_limit = static_cast<u8>(hops);
    message->traffic_class = static_cast<u8>(traffic);
    const bool more = (request.flags & kMessageMore) != 0 || mine.options.is_on(kUdpCork);
    if (more || mine.corked != nullptr) {
        message = TRY(cork(mine, message, &name));
        if (more) {
            Guard guard{mine.lock};
            mine.corked = message;
            return static_cast<i64>(size);
        }
    }
    bool delivered = false;
    if (target.get() != nullptr) {
        Guard guard{target->lock};
        if (target->closed == 0) {
            if ((target->shut_bits & kShutReceive) == 0 &&
                (target->charged == 0 || target->charged + message->charge <= target->options.receive_buffer)) {
                target->append(*message);
                message = nullptr;
            }
            delivered = true;  // or lost: there was no room
        }
    }
    if (message != nullptr)
        message_destroy(message);
    else
        target->queue.wake(kPollIn | kPollRdNorm);
    if (!delivered && (mine.state == SocketState::connected || mine.options.is_on(kReceiveError) ||
                       mine.options.is_on(kReceiveError6))) {
        mine.set_error(Errno::connrefused);
        mine.queue.wake(kPollErr);
    }
    return static_cast<i64>(size);
}

}  // namespace postern::libos
