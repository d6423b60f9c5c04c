// SPDX-License-Identifier: Apache-2.0
// One end of a conversation: the state and receive queue behind an open socket, in the arena, shared by all families.
//
// Stream and packet endpoints have a peer, to whose queue they append. Each end holds a reference to the other and
// drops it when its own file is gone. A listening endpoint holds a queue of endpoints whose connectors believe to be
// connected; accept(2) puts a file around the first. Datagram endpoints look their receiver up or hold one by
// connect(2).
//
// Locks: the names' lock (names.hpp), then endpoints' locks, of which a thread holds one at a time; waiters are woken,
// descriptors released and messages freed without any. State is changed by undoable stores, so a member that is killed
// leaves each endpoint whole.
#pragma once

#include "libos/net/message.hpp"
#include "libos/net/options.hpp"

namespace postern::libos {

enum class SocketType : u32 { stream = 1, datagram = 2, packet = 5 };

enum class SocketState : u64 { fresh, listening, connecting, connected, closed };

/// Announced by an end that changed itself: everybody looks, but no signal is sent.
inline constexpr u32 kOwnChange = 0xffff;

enum ShutBits : u64 {
    kShutReceive = 1,  ///< nothing more comes
    kShutSend = 2,     ///< nothing more may be sent
    kShutBoth = 3,
    kPeerEnded = 4,  ///< the peer said that nothing more comes (a FIN), or is gone
};

class Endpoint {
public:
    Endpoint(Family family, SocketType type, u32 protocol);
    ~Endpoint();
    Endpoint(const Endpoint&) = delete;

    Family family;  ///< changed by IPV6_ADDRFORM only
    const SocketType type;
    const u32 protocol;

    bool is_ip() const { return family == Family::inet || family == Family::inet6; }
    bool is_tcp() const { return is_ip() && type == SocketType::stream; }
    bool is_udp() const { return is_ip() && type == SocketType::datagram; }
    bool is_local() const { return family == Family::local; }
    bool is_stream() const { return type == SocketType::stream; }
    bool has_connections() const { return type != SocketType::datagram; }

    void reference() { __atomic_add_fetch(&references_, 1, __ATOMIC_SEQ_CST); }
    void release();

    /// The file is gone: tells the peer, refuses what waits to be accepted, gives back name and messages. Drops the
    /// file's reference.
    void close(bool reset = false);
    /// shutdown(2), arguments checked.
    void shut(u64 bits);
    /// As if the peer had refused what this end sends (a TCP reset). `error` is what the next call answers.
    void reset(Errno error);
    /// connect(2) with AF_UNSPEC, and the end of listening by shutdown(2).
    void disconnect(bool forget_name);

    /// PollBits that hold now.
    u32 poll();
    /// As File::async_reasons.
    u32 async_reasons(u32 events) const;
    /// Takes the pending error (SO_ERROR).
    Errno take_error() { return static_cast<Errno>(__atomic_exchange_n(&error, 0, __ATOMIC_SEQ_CST)); }
    void set_error(Errno value) { __atomic_store_n(&error, static_cast<u64>(value), __ATOMIC_SEQ_CST); }

    /// Lock held. How much the peer's queue may hold of what this end sends.
    u64 send_limit() const;
    bool has_room() const;  ///< for a message to the peer
    bool writable() const;
    /// Bytes or messages wait; a mark of urgent data alone does not count.
    bool readable() const { return is_tcp() ? bytes != 0 : first != nullptr; }
    void forget_outstanding(u64 charge);

    /// Lock held: appends to / takes from the receive queue.
    void append(Message& message);
    void remove_first();

    /// The peer or, for a connected Unix datagram socket, the receiver, with a reference; null when there is none.
    Endpoint* hold_peer();

    SharedLock lock;
    WaitQueue queue;       ///< readiness of this end. ~0: the other end changed the state
    File* file = nullptr;  ///< who has it open; `lock`
    WaitQueue room;        ///< those who wait to get something into this end: connectors, senders of datagrams
    SocketState state = SocketState::fresh;
    u64 shut_bits = 0;
    u64 closed = 0;  ///< no file any more
    u64 error = 0;   ///< Errno, told once

    Message* first = nullptr;
    Message* last = nullptr;
    u64 bytes = 0, charged = 0, count = 0;  ///< queued: data, with overhead, messages
    u64 outstanding = 0;                    ///< charge of datagrams sent that nobody has read yet
    Endpoint* peer = nullptr;               ///< referenced
    u64 urgent = 0;                         ///< 1: a byte waits for MSG_OOB, 2: it was read
    u64 urgent_byte = 0;
    Message* spare = nullptr;  ///< a small message for the next sender; taken and put by exchange
    u64 connect_failed = 0;    ///< in the background: the next connect(2) tells of it
    u64 connect_told = 0;      ///< connect(2) has answered 0

    Endpoint* pending_first = nullptr;  ///< of a listening one; referenced
    Endpoint* pending_last = nullptr;
    Endpoint* next_pending = nullptr;
    u64 pending_count = 0, backlog = 0;

    // Names, guarded by the lock of names.hpp.
    u64 named = 0;  ///< has a name
    u64 bucket = 0;
    Endpoint* next_in_bucket = nullptr;
    u64 chosen_port = 0;  ///< by the library OS: given up by AF_UNSPEC
    IpName local_ip, remote_ip;
    SocketAddress local_unix;        ///< of Unix and netlink ends
    struct Group* groups = nullptr;  ///< multicast groups joined; guarded by `lock`
    Message* corked = nullptr;       ///< a UDP datagram that MSG_MORE keeps open; guarded by `lock`
    Inode* inode = nullptr;          ///< the name of a Unix end in the file system; referenced

    u32 owner_uid = 0;                   ///< of SO_REUSEPORT and /proc/net
    u64 identity = 0;                    ///< inode number as fstat and /proc/net tell it
    SocketCredentials credentials;       ///< of connect(2), listen(2) or socketpair(2)
    SocketCredentials peer_credentials;  ///< SO_PEERCRED
    SocketOptions options;

private:
    u32 references_ = 1;
};

/// A multicast group of a socket. Nothing is ever received from one: no network leads there.
struct Group {
    Group* next;
    IpName name;
};
/// Errno::addrinuse when joined already.
Res<void> join_group(Endpoint& endpoint, const IpName& group);
/// Errno::addrnotavail when not joined.
Res<void> leave_group(Endpoint& endpoint, const IpName& group);

/// A reference to an endpoint that ends with its scope.
class EndpointRef {
public:
    EndpointRef() = default;
    explicit EndpointRef(Endpoint* adopted) : endpoint_{adopted} {}
    EndpointRef(EndpointRef&& other) : endpoint_{other.endpoint_} { other.endpoint_ = nullptr; }
    EndpointRef& operator=(EndpointRef&& other) {
        if (this != &other) {
            if (endpoint_ != nullptr) endpoint_->release();
            endpoint_ = other.endpoint_;
            other.endpoint_ = nullptr;
        }
        return *this;
    }
    ~EndpointRef() {
        if (endpoint_ != nullptr) endpoint_->release();
    }
    Endpoint* operator->() const { return endpoint_; }
    Endpoint& operator*() const { return *endpoint_; }
    Endpoint* get() const { return endpoint_; }
    Endpoint* leak() {
        Endpoint* endpoint = endpoint_;
        endpoint_ = nullptr;
        return endpoint;
    }

private:
    Endpoint* endpoint_ = nullptr;
};

}  // namespace postern::libos
