// SPDX-License-Identifier: Apache-2.0
// Sockets as files, and their making.
#include "libos/net/socket.hpp"

#include <asm/ioctls.h>
#include <linux/fcntl.h>
#include <linux/sockios.h>

#include "libos/net/numbers.hpp"
#include "libos/process/process.hpp"
#include "libos/shared/arena.hpp"
#include "libos/user.hpp"

namespace postern::libos {

Res<i64> SocketFile::read(Thread& thread, u64 user, u64 size, u64) {
    UserVector vector{user, size};
    UserBuffers buffers{&vector, 1};
    Bytes bytes{buffers};
    ReceiveRequest request;
    PassedFiles none;
    request.files = endpoint_.is_local() ? &none : nullptr;  // read(2) drops what recvmsg(2) would have got
    auto received = TRY(receive(thread, bytes, request));
    return static_cast<i64>(received.bytes);
}

Res<i64> SocketFile::write(Thread& thread, u64 user, u64 size, u64) {
    UserVector vector{user, size};
    UserBuffers buffers{&vector, 1};
    Bytes bytes{buffers};
    return send(thread, bytes, {});
}

Res<i64> SocketFile::read_kernel(Thread& thread, void* buffer, u64 size, u64) {
    Bytes bytes{buffer, size};
    auto received = TRY(receive(thread, bytes, {}));
    return static_cast<i64>(received.bytes);
}

Res<i64> SocketFile::write_kernel(Thread& thread, const void* buffer, u64 size, u64) {
    Bytes bytes{const_cast<void*>(buffer), size};
    return send(thread, bytes, {});
}

Res<void> SocketFile::stat(Thread& thread, Stat& stat) {
    fill_anonymous_stat(thread, stat, kTypeSocket | 0777, endpoint_.identity);
    stat.st_dev = 9;
    return {};
}

Res<i64> SocketFile::ioctl(Thread& thread, u32 request, u64 argument) {
    Endpoint& mine = endpoint_;
    switch (request) {
        case FIONREAD: {
            if (mine.has_connections() && mine.state == SocketState::listening) return Failure{Errno::inval};
            u64 bytes;
            {
                Guard guard{mine.lock};
                bytes = mine.first == nullptr ? 0 : mine.is_stream() ? mine.bytes : mine.first->size;
            }
            TRY(write_user(argument, static_cast<i32>(bytes)));
            return 0;
        }
        case TIOCOUTQ: {
            u64 bytes = mine.outstanding;
            if (mine.has_connections()) {
                EndpointRef other{mine.hold_peer()};
                bytes = other.get() == nullptr ? 0 : mine.is_tcp() ? 0 : other->charged;
            }
            TRY(write_user(argument, static_cast<i32>(bytes)));
            return 0;
        }
        case SIOCATMARK: {
            if (!mine.is_tcp()) return Failure{mine.is_local() ? Errno::inval : Errno::notty};
            TRY(write_user(argument, i32{mine.first != nullptr && mine.first->mark ? 1 : 0}));
            return 0;
        }
        case FIOSETOWN:
        case SIOCSPGRP: {
            i32 owner = TRY(read_user<i32>(argument));
            TRY(async_set_owner(*this, owner));
            return 0;
        }
        case FIOGETOWN:
        case SIOCGPGRP: TRY(write_user(argument, signal_owner)); return 0;
        default: return interface_ioctl(thread, request, argument);
    }
}

namespace {

constexpr u32 kTypes = 11;  // SOCK_MAX
constexpr u32 kRaw = 3, kIpTcp = 6, kIpUdp = 17, kIpUdpLite = 136;

Res<SocketType> choose_type(u32 family, u32 type, u32& protocol) {
    if (family == static_cast<u32>(Family::local)) {
        if (protocol != 0 && protocol != family) return Failure{Errno::protonosupport};
        protocol = 0;
        switch (type) {
            case 1: return SocketType::stream;
            case 2:
            case kRaw: return SocketType::datagram;  // as in Linux
            case 5: return SocketType::packet;
            default: return Failure{Errno::socktnosupport};
        }
    }
    if (family == static_cast<u32>(Family::netlink)) {
        if (type != kRaw && type != 2) return Failure{Errno::socktnosupport};
        if (protocol != 0) return Failure{Errno::protonosupport};  // NETLINK_ROUTE only
        return SocketType::datagram;
    }
    if (protocol >= 263) return Failure{Errno::inval};
    if (type == 1) {
        if (protocol != 0 && protocol != kIpTcp) return Failure{Errno::protonosupport};
        protocol = kIpTcp;
        return SocketType::stream;
    }
    if (type == 2) {
        if (protocol != 0 && protocol != kIpUdp && protocol != kIpUdpLite) return Failure{Errno::protonosupport};
        if (protocol == 0) protocol = kIpUdp;
        return SocketType::datagram;
    }
    if (type == kRaw) return Failure{protocol == 0 ? Errno::protonosupport : Errno::perm};
    return Failure{Errno::socktnosupport};
}

}  // namespace

Res<FileRef> make_socket(Thread& thread, u32 family, u32 type, u32 protocol, u32 open_flags) {
    if (family > 45) return Failure{Errno::afnosupport};
    if (type >= kTypes) return Failure{Errno::inval};
    if (family != static_cast<u32>(Family::local) && family != static_cast<u32>(Family::inet) &&
        family != static_cast<u32>(Family::inet6) && family != static_cast<u32>(Family::netlink))
        return Failure{Errno::afnosupport};
    SocketType kind = TRY(choose_type(family, type, protocol));
    auto* endpoint = TRY(arena::create<Endpoint>(static_cast<Family>(family), kind, protocol));
    endpoint->owner_uid = thread.process->credentials.euid;
    if (endpoint->family == Family::netlink) {
        endpoint->local_unix.size = 12;
        endpoint->local_unix.bytes[0] = static_cast<u8>(Family::netlink);
    }
    auto file = make_file<SocketFile>(*endpoint, O_RDWR | (open_flags & O_NONBLOCK));
    if (!file.ok()) {
        endpoint->close();
        return Failure{file.error()};
    }
    return FileRef{file.value()};
}

Res<void> make_socket_pair(Thread& thread, SocketType type, u32 open_flags, FileRef& first, FileRef& second) {
    const u32 kind = static_cast<u32>(type), family = static_cast<u32>(Family::local);
    FileRef one = TRY(make_socket(thread, family, kind, 0, open_flags));
    FileRef two = TRY(make_socket(thread, family, kind, 0, open_flags));
    Endpoint &a = static_cast<SocketFile&>(*one).endpoint(), &b = static_cast<SocketFile&>(*two).endpoint();
    const Credentials& credentials = thread.process->credentials;
    a.peer_credentials = b.peer_credentials = {thread.process->pid, credentials.euid, credentials.egid};
    a.reference();
    b.reference();
    a.peer = &b;
    b.peer = &a;
    a.state = b.state = SocketState::connected;
    first = static_cast<FileRef&&>(one);
    second = static_cast<FileRef&&>(two);
    return {};
}

}  // namespace postern::libos
