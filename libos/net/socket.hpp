// SPDX-License-Identifier: Apache-2.0
// Open sockets: descriptions with an endpoint, and what the calls do with them.
#pragma once

#include "libos/ipc/anonymous.hpp"
#include "libos/ipc/async.hpp"
#include "libos/net/endpoint.hpp"

namespace postern::libos {

struct SendRequest {
    u32 flags = 0;  ///< MSG_*
    PassedFiles* files = nullptr;
    const SocketCredentials* credentials = nullptr;  ///< SCM_CREDENTIALS; null: the sender's own
    const SocketAddress* to = nullptr;
    i32 hop_limit = -1, traffic_class = -1;  ///< IP_TTL, IP_TOS and their relatives; -1: the socket's own
};
struct ReceiveRequest {
    u32 flags = 0;
    PassedFiles* files = nullptr;  ///< filled; null: descriptors are dropped
    bool wants_address = false;
};
struct Received {
    u64 bytes = 0;         ///< copied
    u64 message_size = 0;  ///< of datagram and packet sockets: with what was cut off
    bool cut = false;
    bool has_message = false;  ///< false: the end
    bool urgent = false;       ///< by MSG_OOB
    SocketCredentials credentials;
    SocketAddress from;
    u8 hop_limit = 0, traffic_class = 0;  ///< of UDP
};

class SocketFile final : public File {
public:
    /// Takes over a reference to the endpoint.
    SocketFile(Endpoint& endpoint, u32 flags) : endpoint_{endpoint} {
        status_flags = flags;
        endpoint_.file = this;
    }
    ~SocketFile() override {
        {
            Guard guard{endpoint_.lock};
            endpoint_.file = nullptr;
        }
        if (lent_ == 0) endpoint_.close();
    }

    FileKind kind() const override { return FileKind::socket; }
    Endpoint& endpoint() { return endpoint_; }

    Res<i64> read(Thread& thread, u64 user, u64 size, u64) override;
    Res<i64> write(Thread& thread, u64 user, u64 size, u64) override;
    Res<i64> write_kernel(Thread& thread, const void* buffer, u64 size, u64) override;
    Res<i64> read_kernel(Thread& thread, void* buffer, u64 size, u64) override;
    Res<void> stat(Thread& thread, Stat& stat) override;
    Res<i64> ioctl(Thread&, u32 request, u64 argument) override;
    u32 poll(Thread&) override {
        const u32 bits = endpoint_.poll();
        if ((bits & kPollOut) == 0) async_room_wanted(*this);
        return bits;
    }
    WaitQueue* wait_queue() override { return &endpoint_.queue; }
    bool signals_readiness() const override { return true; }
    u32 async_reasons(u32 events) const override { return endpoint_.async_reasons(events); }

    /// Blocking as the description and MSG_DONTWAIT say; Errno::pipe comes with SIGPIPE where Linux sends it.
    Res<i64> send(Thread& thread, Bytes& bytes, const SendRequest& request);
    Res<Received> receive(Thread& thread, Bytes& bytes, const ReceiveRequest& request);

    Res<void> bind(Thread& thread, const SocketAddress& address);
    Res<void> listen(Thread& thread, u32 backlog);
    Res<void> connect(Thread& thread, const SocketAddress& address);
    /// The description of the next connection, with `open_flags` (O_NONBLOCK).
    Res<FileRef> accept(Thread& thread, u32 open_flags, SocketAddress& peer);
    /// An accepted endpoint for which there was no descriptor waits again, the first of its queue.
    void take_back(Endpoint& accepted);
    /// While set the end of the file leaves its endpoint alone.
    void lend(bool on) { lent_ = on ? 1 : 0; }
    Res<void> shutdown(u32 how);
    SocketAddress name() const;
    Res<SocketAddress> peer_name();

private:
    bool waits(u32 flags) const;
    Res<i64> send_urgent(Thread& thread, Bytes& bytes, const SendRequest& request);
    Res<u8> take_urgent(u32 flags);
    Res<i64> send_connected(Thread& thread, Bytes& bytes, const SendRequest& request);
    Res<i64> send_local_datagram(Thread& thread, Bytes& bytes, const SendRequest& request);
    Res<i64> send_udp(Thread& thread, Bytes& bytes, const SendRequest& request);
    Res<Message*> fill(Thread& thread, Bytes& bytes, u64 size, const SendRequest& request, bool with_files,
                       const SocketAddress* from);
    Res<void> connect_local(Thread& thread, const SocketAddress& address);
    Res<void> connect_tcp(Thread& thread, const SocketAddress& address);
    Res<void> connect_udp(Thread& thread, const SocketAddress& address);
    Res<void> finish_connect(Thread& thread);

    Endpoint& endpoint_;
    u32 lent_ = 0;
};

/// Any of the supported families. Errors as socket(2).
Res<FileRef> make_socket(Thread& thread, u32 family, u32 type, u32 protocol, u32 open_flags);
Res<void> make_socket_pair(Thread& thread, SocketType type, u32 open_flags, FileRef& first, FileRef& second);

/// The description as a socket. Errno::notsock.
inline Res<SocketFile*> as_socket(File& file) {
    if (file.kind() != FileKind::socket) return Failure{Errno::notsock};
    return static_cast<SocketFile*>(&file);
}

/// Errno of a wait that ended early: a timeout is EAGAIN, and a call with a timeout is not restarted (signal(7)).
Errno wait_error(Errno error, u64 timeout);
gate::Deadline deadline_of(u64 timeout);
/// SIGPIPE, unless `flags` has MSG_NOSIGNAL.
void broken_pipe(Thread& thread, u32 flags);

/// The endpoint that a Unix address leads to, of this type. Errno::connrefused, Errno::prototype, errors of path walks.
Res<EndpointRef> find_local(Thread& thread, const SocketAddress& address, SocketType type);
/// As SO_PEERCRED tells of the calling process.
SocketCredentials own_credentials(Thread& thread);
/// Checks a Unix address: Errno::inval.
Res<void> check_local(const SocketAddress& address);

/// rtnetlink(7): answers a request into the endpoint's own queue.
/// What the kernel itself sends to a netlink socket. Errno::inval: `file` is none.
Res<void> netlink_send(File& file, const void* data, usize size);
Res<i64> netlink_request(Thread& thread, Endpoint& endpoint, Bytes& bytes);
/// netdevice(7) for lo. Errno::notty for requests that are none.
Res<i64> interface_ioctl(Thread& thread, u32 request, u64 argument);

}  // namespace postern::libos
