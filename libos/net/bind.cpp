// SPDX-License-Identifier: Apache-2.0
// Names of sockets as calls see them: bind(2), listen(2), getsockname(2), and finding who has a Unix name.
#include "libos/fs/path.hpp"
#include "libos/fs/walk.hpp"
#include "libos/net/names.hpp"
#include "libos/net/socket.hpp"
#include "libos/process/process.hpp"

namespace postern::libos {

namespace {

constexpr u32 kMostBacklog = 4096;  // net.core.somaxconn
constexpr u32 kMostUnix = 110;      // sizeof(struct sockaddr_un)

std::string_view whole(const SocketAddress& address) {
    return {reinterpret_cast<const char*>(address.bytes), address.size};
}

/// The socket's name in the file system, made for bind(2).
Res<InodeRef> make_name(Thread& thread, const SocketAddress& address) {
    char path[kMostUnix];
    copy_string(path, sizeof path, unix_path(address));
    Place place;
    TRY(walk(thread, kAtWorkingDirectory, path, kMayBeMissing, place));
    const u32 mode = kTypeSocket | (0777 & ~thread.process->fs->umask);
    gate::Attributes attributes;
    auto asked = ask_host(thread, place, attributes, [](Place& at, gate::Attributes& answer) {
        return query_name(at.uri, gate::kOpenNoFollow, answer);
    });
    if (!asked.ok()) {
        // The host gets no such name: it would be a door out of the family.
        if (asked.error() != Errno::noent) return Failure{asked.error()};
        return make_socket_name(thread, place, mode);
    }
    if (!asked.value()) return Failure{Errno::exist};
    if (place.inode.get() != nullptr || place.magic.get() != nullptr) return Failure{Errno::exist};
    if (place.directory.get() == nullptr || place.must_be_directory) return Failure{Errno::noent};
    return place.directory->create(thread, place.name(), mode);
}

}  // namespace

SocketCredentials own_credentials(Thread& thread) {
    const Credentials& credentials = thread.process->credentials;
    return {thread.process->pid, credentials.euid, credentials.egid};
}

Res<void> check_local(const SocketAddress& address) {
    if (address.size < 2 || address.size > kMostUnix || address.family() != Family::local) return Failure{Errno::inval};
    return {};
}

Res<EndpointRef> find_local(Thread& thread, const SocketAddress& address, SocketType type) {
    EndpointRef found;
    if (is_abstract(address)) {
        found = find_abstract(whole(address));
    } else {
        char path[kMostUnix];
        copy_string(path, sizeof path, unix_path(address));
        Place place;
        TRY(walk(thread, kAtWorkingDirectory, path, kFollow, place));
        gate::Attributes attributes;
        bool inside = TRY(ask_host(thread, place, attributes,
                                   [](Place& at, gate::Attributes& answer) { return query_name(at.uri, 0, answer); }));
        if (inside) {
            if (place.inode.get() == nullptr) return Failure{Errno::connrefused};
            TRY(check_permission(thread, *place.inode, 2));
            found = find_by_inode(*place.inode);
        }
    }
    if (found.get() == nullptr) return Failure{Errno::connrefused};
    if (found->type != type) return Failure{Errno::prototype};
    return found;
}

Res<void> SocketFile::bind(Thread& thread, const SocketAddress& address) {
    Endpoint& mine = endpoint_;
    if (mine.family == Family::netlink) {
        if (address.size < 12 || address.family() != Family::netlink) return Failure{Errno::inval};
        mine.local_unix = address;
        u32 port;
        memcpy(&port, address.bytes + 4, sizeof port);
        if (port == 0) memcpy(mine.local_unix.bytes + 4, &thread.process->pid, sizeof port);
        mine.local_unix.size = 12;
        return {};
    }
    if (mine.is_ip()) {
        SocketAddress given = address;
        if (mine.family == Family::inet && address.size >= 16 && address.family() == Family::unspecified) {
            given.bytes[0] = static_cast<u8>(Family::inet);
            IpName name = TRY(parse_ip(given, Family::inet));
            if (!name.is_any()) return Failure{Errno::afnosupport};
        }
        IpName name = TRY(parse_ip(given, mine.family));
        return name_ip(thread, mine, name);
    }
    TRY(check_local(address));
    if (address.size == 2 || is_abstract(address)) return name_abstract(mine, address);
    if (mine.named != 0) {
        // Linux makes the name before it looks at the socket.
        char path[kMostUnix];
        copy_string(path, sizeof path, unix_path(address));
        Stat stat;
        return Failure{stat_path(thread, kAtWorkingDirectory, path, false, stat).ok() ? Errno::addrinuse
                                                                                      : Errno::inval};
    }
    auto made = make_name(thread, address);
    if (!made.ok()) return Failure{made.error() == Errno::exist ? Errno::addrinuse : made.error()};
    SocketAddress name = address;
    usize length = unix_path(address).size();
    name.size = static_cast<u32>(2 + length + 1);
    if (2 + length < SocketAddress::kCapacity) name.bytes[2 + length] = 0;
    return name_inode(mine, made.take(), name);
}

Res<void> SocketFile::listen(Thread& thread, u32 backlog) {
    Endpoint& mine = endpoint_;
    if (!mine.has_connections()) return Failure{Errno::opnotsupp};
    if (mine.state != SocketState::fresh && mine.state != SocketState::listening) return Failure{Errno::inval};
    if (mine.is_local() && mine.named == 0) return Failure{Errno::inval};
    if (mine.is_tcp()) {
        TRY(name_ip_automatically(thread, mine, nullptr));
        if (mine.state == SocketState::fresh) TRY(name_listens(mine));
    }
    mine.credentials = own_credentials(thread);
    {
        Guard guard{mine.lock};
        set_undoable(mine.lock, mine.backlog, u64{backlog > kMostBacklog ? kMostBacklog : backlog});
        set_undoable(mine.lock, mine.state, SocketState::listening);
    }
    mine.room.wake(~0u);
    return {};
}

SocketAddress SocketFile::name() const {
    if (endpoint_.is_ip()) return format_ip(endpoint_.local_ip, endpoint_.family);
    return endpoint_.local_unix;
}

Res<SocketAddress> SocketFile::peer_name() {
    Endpoint& mine = endpoint_;
    if (mine.is_ip()) {
        if (mine.state != SocketState::connected) return Failure{Errno::notconn};
        return format_ip(mine.remote_ip, mine.family);
    }
    if (mine.family == Family::netlink) {
        SocketAddress kernel;
        kernel.size = 12;
        kernel.bytes[0] = static_cast<u8>(Family::netlink);
        return kernel;
    }
    EndpointRef other{mine.hold_peer()};
    if (other.get() == nullptr) return Failure{Errno::notconn};
    return other->local_unix;
}

}  // namespace postern::libos
