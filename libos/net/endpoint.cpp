// SPDX-License-Identifier: Apache-2.0
// Endpoints' lives, readiness and ends: see endpoint.hpp.
#include "libos/net/endpoint.hpp"

#include "libos/fs/inode.hpp"
#include "libos/ipc/async.hpp"
#include "libos/net/names.hpp"
#include "libos/shared/arena.hpp"

namespace postern::libos {

namespace {

constexpr u32 kDefaultBuffer = 212992;                               // net.core.wmem_default
constexpr u32 kTcpSendBuffer = 2626560, kTcpReceiveBuffer = 131072;  // as Linux shows them on the loopback interface
constexpr u64 kTcpWindow = 512 << 10;                                // what a connection really holds by default

}  // namespace

SocketOptions::SocketOptions() : send_buffer{kDefaultBuffer}, receive_buffer{kDefaultBuffer} {
    for (u32 index = 0; index < kOptionCount; ++index) values[index] = kOptionRows[index].initial;
}

Endpoint::Endpoint(Family family, SocketType type, u32 protocol) : family{family}, type{type}, protocol{protocol} {
    identity = fresh_inode_number();
    local_ip = any_name(family);
    remote_ip = any_name(family);
    if (is_local()) local_unix = unnamed_unix();
    if (is_tcp()) options.send_buffer = kTcpSendBuffer, options.receive_buffer = kTcpReceiveBuffer;
    backlog = 10;  // of datagram sockets: net.unix.max_dgram_qlen
}

Endpoint::~Endpoint() {
    while (first != nullptr) {
        Message* next = first->next;
        message_destroy(first);
        first = next;
    }
    while (groups != nullptr) {
        Group* next = groups->next;
        arena::destroy(groups);
        groups = next;
    }
    if (corked != nullptr) message_destroy(corked);
    if (spare != nullptr) message_destroy(spare);
    if (peer != nullptr) peer->release();
    if (inode != nullptr) inode->release();
}

void Endpoint::release() {
    if (__atomic_sub_fetch(&references_, 1, __ATOMIC_SEQ_CST) == 0) arena::destroy(this);
}

Endpoint* Endpoint::hold_peer() {
    Guard guard{lock};
    if (peer != nullptr) peer->reference();
    return peer;
}

Res<void> join_group(Endpoint& endpoint, const IpName& group) {
    Group* fresh = TRY(arena::create<Group>(nullptr, group));
    {
        Guard guard{endpoint.lock};
        Group* at = endpoint.groups;
        while (at != nullptr && !at->name.same_address(group)) at = at->next;
        if (at == nullptr) {
            fresh->next = endpoint.groups;
            set_undoable(endpoint.lock, endpoint.groups, fresh);
            return {};
        }
    }
    arena::destroy(fresh);
    return Failure{Errno::addrinuse};
}

Res<void> leave_group(Endpoint& endpoint, const IpName& group) {
    Group* gone;
    {
        Guard guard{endpoint.lock};
        Group** at = &endpoint.groups;
        while (*at != nullptr && !(*at)->name.same_address(group)) at = &(*at)->next;
        gone = *at;
        if (gone == nullptr) return Failure{Errno::addrnotavail};
        set_undoable(endpoint.lock, *at, gone->next);
    }
    arena::destroy(gone);
    return {};
}

// Queue ----------------------------------------------------------------------------------------------------------

void Endpoint::append(Message& message) {
    if (last != nullptr)
        set_undoable(lock, last->next, &message);
    else
        set_undoable(lock, first, &message);
    set_undoable(lock, last, &message);
    set_undoable(lock, bytes, bytes + message.size);
    set_undoable(lock, charged, charged + message.charge);
    set_undoable(lock, count, count + 1);
}

void Endpoint::remove_first() {
    Message* message = first;
    set_undoable(lock, first, message->next);
    if (message->next == nullptr) set_undoable(lock, last, static_cast<Message*>(nullptr));
    set_undoable(lock, bytes, bytes - (message->size - message->taken));
    set_undoable(lock, charged, charged - message->charge);
    set_undoable(lock, count, count - 1);
}

u64 Endpoint::send_limit() const {
    if (!is_tcp()) return options.send_buffer;
    const Endpoint* other = peer;
    if (other == nullptr || (options.buffers_chosen | other->options.buffers_chosen) == 0) return kTcpWindow;
    u64 sum = (options.buffers_chosen != 0 ? options.send_buffer : kTcpWindow / 2) +
              (other->options.buffers_chosen != 0 ? other->options.receive_buffer : kTcpWindow / 2);
    return sum;
}

bool Endpoint::has_room() const {
    // As Linux: what begins below the limit may go beyond it.
    const Endpoint* other = peer;
    return other == nullptr || other->charged < send_limit();
}

bool Endpoint::writable() const {
    const Endpoint* other = peer;
    if (has_connections()) return other == nullptr || other->charged * (is_tcp() ? 3 : 4) <= send_limit();
    return outstanding * 4 <= options.send_buffer;
}

void Endpoint::forget_outstanding(u64 charge) {
    u64 left = __atomic_sub_fetch(&outstanding, charge, __ATOMIC_SEQ_CST);
    if (left * 4 <= options.send_buffer) queue.wake(kPollOut | kPollWrNorm | kPollWrBand);
}

// Readiness ------------------------------------------------------------------------------------------------------

u32 Endpoint::poll() {
    const auto now = static_cast<SocketState>(__atomic_load_n(reinterpret_cast<const u64*>(&state), __ATOMIC_ACQUIRE));
    u32 bits = 0;
    if (__atomic_load_n(&error, __ATOMIC_ACQUIRE) != 0) bits |= kPollErr;
    if (now == SocketState::listening) {
        if (pending_first != nullptr || (shut_bits & kShutReceive) != 0) bits |= kPollIn | kPollRdNorm;
        return bits;
    }
    const u64 shut = __atomic_load_n(&shut_bits, __ATOMIC_ACQUIRE);
    if ((shut & kShutBoth) == kShutBoth) bits |= kPollHup;
    if ((shut & kShutReceive) != 0) bits |= kPollRdHup | kPollIn | kPollRdNorm;
    if (readable()) bits |= kPollIn | kPollRdNorm;
    if (urgent == 1) bits |= kPollPri;
    if (has_connections() && (now == SocketState::fresh || now == SocketState::closed)) bits |= kPollHup;
    if (is_tcp() && now == SocketState::fresh && bits != kPollHup) bits |= kPollIn | kPollRdNorm | kPollRdHup;
    if (now == SocketState::connecting) return bits;
    if (is_tcp() && (shut & kShutSend) != 0) return bits | kPollOut | kPollWrNorm;
    bool can = writable();
    if (can && is_local() && type == SocketType::datagram) {
        EndpointRef other{hold_peer()};
        if (other.get() != nullptr && other->peer != this && other->count > other->backlog) can = false;
    }
    if (can) bits |= kPollOut | kPollWrNorm | (is_tcp() ? 0 : u32{kPollWrBand});
    return bits;
}

u32 Endpoint::async_reasons(u32 events) const {
    if (events == kOwnChange) return 0;
    if (events == ~0u) {
        if (__atomic_load_n(&error, __ATOMIC_ACQUIRE) != 0) return 1u << kAsyncError;
        const u64 shut = __atomic_load_n(&shut_bits, __ATOMIC_ACQUIRE);
        if ((shut & kShutBoth) == kShutBoth) return 1u << kAsyncHangup;
        return (shut & kShutReceive) != 0 ? 1u << kAsyncIn : 0;
    }
    u32 reasons = 0;
    if ((events & kPollPri) != 0) reasons |= 1u << kAsyncPriority;
    if ((events & kPollIn) != 0) reasons |= 1u << kAsyncIn;
    if ((events & kPollOut) != 0) reasons |= 1u << kAsyncOut;
    if ((events & kPollErr) != 0) reasons |= 1u << kAsyncError;
    return reasons;
}

// Ends -----------------------------------------------------------------------------------------------------------

void Endpoint::close(bool reset_peer) {
    name_give_up(*this);
    Message* unread;
    Endpoint* waiting;
    Endpoint* other;
    bool abrupt = reset_peer || (is_tcp() && options.linger_on != 0 && options.linger_seconds == 0);
    {
        Guard guard{lock};
        unread = first;
        waiting = pending_first;
        other = peer;
        set_undoable(lock, closed, u64{1});
        set_undoable(lock, shut_bits, u64{kShutBoth});
        set_undoable(lock, first, static_cast<Message*>(nullptr));
        set_undoable(lock, last, static_cast<Message*>(nullptr));
        set_undoable(lock, pending_first, static_cast<Endpoint*>(nullptr));
        set_undoable(lock, pending_last, static_cast<Endpoint*>(nullptr));
        set_undoable(lock, pending_count, u64{0});
        bytes = charged = count = 0;
    }
    if (other != nullptr && has_connections()) {
        abrupt = abrupt || unread != nullptr;
        Guard guard{other->lock};
        u64 bits = other->shut_bits;
        if (is_local()) {
            if (abrupt) other->set_error(Errno::connreset);
            bits |= kShutBoth | kPeerEnded;
        } else if (other->state == SocketState::connecting) {
            other->set_error(Errno::connrefused);
            other->connect_failed = 1;
            set_undoable(other->lock, other->state, SocketState::fresh);
        } else if (abrupt) {
            if (other->state == SocketState::connected)
                other->set_error((bits & kPeerEnded) != 0 ? Errno::pipe : Errno::connreset);
            bits |= kShutBoth | kPeerEnded;
            set_undoable(other->lock, other->state, SocketState::closed);
        } else {
            bits |= kShutReceive | kPeerEnded;
            if ((bits & kShutSend) != 0) set_undoable(other->lock, other->state, SocketState::closed);
        }
        set_undoable(other->lock, other->shut_bits, bits);
    }
    if (other != nullptr) {
        if (has_connections()) other->queue.wake(~0u);
        {
            Guard guard{lock};
            set_undoable(lock, peer, static_cast<Endpoint*>(nullptr));
        }
        other->release();
    }
    room.wake(~0u);
    queue.wake(~0u);
    while (waiting != nullptr) {
        Endpoint* next = waiting->next_pending;
        waiting->close(true);
        waiting = next;
    }
    while (unread != nullptr) {
        Message* next = unread->next;
        message_destroy(unread);
        unread = next;
    }
    release();
}

void Endpoint::reset(Errno reason) {
    {
        Guard guard{lock};
        if (reason != Errno::ok) set_error(reason);
        set_undoable(lock, shut_bits, shut_bits | kShutBoth | kPeerEnded);
        set_undoable(lock, state, SocketState::closed);
    }
    queue.wake(~0u);
}

void Endpoint::shut(u64 bits) {
    Endpoint* other = nullptr;
    {
        Guard guard{lock};
        u64 fresh = shut_bits | bits;
        if (is_tcp() && (fresh & kShutSend) != 0 && (fresh & kPeerEnded) != 0)
            set_undoable(lock, state, SocketState::closed);
        set_undoable(lock, shut_bits, fresh);
        if (has_connections()) other = peer;
        if (other != nullptr) other->reference();
    }
    queue.wake(kOwnChange);
    room.wake(~0u);
    if (other == nullptr) return;
    u64 theirs = 0;
    if ((bits & kShutSend) != 0) theirs |= kShutReceive | kPeerEnded;
    if ((bits & kShutReceive) != 0 && is_local()) theirs |= kShutSend;
    if (theirs != 0) {
        {
            Guard guard{other->lock};
            u64 fresh = other->shut_bits | theirs;
            if (is_tcp() && (fresh & kShutSend) != 0 && (fresh & kPeerEnded) != 0 &&
                other->state == SocketState::connected)
                set_undoable(other->lock, other->state, SocketState::closed);
            set_undoable(other->lock, other->shut_bits, fresh);
        }
        other->queue.wake(~0u);
    }
    other->release();
}

void Endpoint::disconnect(bool forget_name) {
    Endpoint* waiting;
    Endpoint* other;
    {
        Guard guard{lock};
        waiting = pending_first;
        other = peer;
        set_undoable(lock, pending_first, static_cast<Endpoint*>(nullptr));
        set_undoable(lock, pending_last, static_cast<Endpoint*>(nullptr));
        set_undoable(lock, pending_count, u64{0});
        set_undoable(lock, peer, static_cast<Endpoint*>(nullptr));
        set_undoable(lock, state, SocketState::fresh);
        set_undoable(lock, shut_bits, u64{0});
        set_undoable(lock, error, u64{0});
        set_undoable(lock, connect_told, u64{0});
        remote_ip = any_name(family);
    }
    if (forget_name && chosen_port != 0) {
        name_give_up(*this);
        local_ip = any_name(family);
        chosen_port = 0;
    }
    if (other != nullptr) {
        if (is_tcp()) {
            other->reset(Errno::connreset);
            set_error(Errno::connreset);
        }
        other->release();
    }
    queue.wake(kOwnChange);
    room.wake(~0u);
    while (waiting != nullptr) {
        Endpoint* next = waiting->next_pending;
        waiting->close(true);
        waiting = next;
    }
}

}  // namespace postern::libos
