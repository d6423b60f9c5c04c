// SPDX-License-Identifier: Apache-2.0
// Making connections: bind(2), listen(2), connect(2), accept(2), for all families.
#include <linux/fcntl.h>

#include "libos/fs/path.hpp"
#include "libos/fs/walk.hpp"
#include "libos/net/names.hpp"
#include "libos/net/socket.hpp"
#include "libos/process/process.hpp"
#include "libos/shared/arena.hpp"

namespace postern::libos {

namespace {

constexpr u32 kMostBacklog = 4096;  // net.core.somaxconn
constexpr u32 kMostUnix = 110;      // sizeof(struct sockaddr_un)

SocketCredentials own_credentials(Thread& thread) {
    const Credentials& credentials = thread.process->credentials;
    return {thread.process->pid, credentials.euid, credentials.egid};
}

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

/// A server's end for a connector, ready to be accepted.
Res<Endpoint*> make_accepted(Endpoint& listener, Endpoint& connector) {
    auto* made = TRY(arena::create<Endpoint>(listener.family, listener.type, listener.protocol));
    made->options = listener.options;
    made->owner_uid = listener.owner_uid;
    made->state = SocketState::connected;
    made->chosen_port = 1;
    made->peer = &connector;
    connector.reference();
    return made;
}

/// Lock of the listener held.
void push_pending(Endpoint& listener, Endpoint& made) {
    SharedLock& lock = listener.lock;
    if (listener.pending_last != nullptr)
        set_undoable(lock, listener.pending_last->next_pending, &made);
    else
        set_undoable(lock, listener.pending_first, &made);
    set_undoable(lock, listener.pending_last, &made);
    set_undoable(lock, listener.pending_count, listener.pending_count + 1);
}

Endpoint* pop_pending(Endpoint& listener) {
    SharedLock& lock = listener.lock;
    Endpoint* made = listener.pending_first;
    if (made == nullptr) return nullptr;
    set_undoable(lock, listener.pending_first, made->next_pending);
    if (made->next_pending == nullptr) set_undoable(lock, listener.pending_last, static_cast<Endpoint*>(nullptr));
    set_undoable(lock, listener.pending_count, listener.pending_count - 1);
    return made;
}

/// A connector that the backlog had no room for is connected once the queue has become short enough.
void promote(Endpoint& listener) {
    Endpoint* connector = nullptr;
    {
        Guard guard{listener.lock};
        if (listener.pending_count <= listener.backlog) return;
        Endpoint* made = listener.pending_first;
        for (u64 index = 0; index < listener.backlog && made != nullptr; ++index) made = made->next_pending;
        if (made == nullptr || made->peer == nullptr) return;
        connector = made->peer;
        connector->reference();
    }
    {
        Guard guard{connector->lock};
        if (connector->state == SocketState::connecting)
            set_undoable(connector->lock, connector->state, SocketState::connected);
    }
    connector->queue.wake(kPollOut | kPollWrNorm);
    connector->release();
}

}  // namespace

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

Res<void> SocketFile::connect(Thread& thread, const SocketAddress& address) {
    if (address.size < 2) return Failure{Errno::inval};
    if (endpoint_.family == Family::netlink) return {};
    if (endpoint_.is_local()) return connect_local(thread, address);
    return endpoint_.is_tcp() ? connect_tcp(thread, address) : connect_udp(thread, address);
}

Res<void> SocketFile::connect_local(Thread& thread, const SocketAddress& address) {
    Endpoint& mine = endpoint_;
    if (!mine.has_connections()) {
        EndpointRef target;
        if (address.family() != Family::unspecified) {
            TRY(check_local(address));
            if (address.size == 2) return Failure{Errno::inval};
            if (mine.options.is_on(kPassCredentials) && mine.named == 0) TRY(name_abstract(mine, unnamed_unix()));
            target = TRY(find_local(thread, address, mine.type));
            if (target->peer != nullptr && target->peer != &mine) return Failure{Errno::perm};
        }
        Endpoint* old;
        {
            Guard guard{mine.lock};
            old = mine.peer;
            set_undoable(mine.lock, mine.state, target.get() != nullptr ? SocketState::connected : SocketState::fresh);
            set_undoable(mine.lock, mine.peer, target.leak());
        }
        if (old != nullptr) old->release();
        mine.queue.wake(~0u);
        return {};
    }
    TRY(check_local(address));
    if (address.size == 2) return Failure{Errno::inval};
    if (mine.options.is_on(kPassCredentials) && mine.named == 0) TRY(name_abstract(mine, unnamed_unix()));
    const u64 timeout = mine.options.send_timeout;
    const gate::Deadline until = waits(0) ? deadline_of(timeout) : gate::kPoll;
    for (;;) {
        EndpointRef listener = TRY(find_local(thread, address, mine.type));
        if (listener->state != SocketState::listening) return Failure{Errno::connrefused};
        {
            Guard guard{mine.lock};
            if (mine.state == SocketState::listening) return Failure{Errno::inval};
            if (mine.state != SocketState::fresh) return Failure{Errno::isconn};
            set_undoable(mine.lock, mine.state, SocketState::connecting);
        }
        EndpointRef made;
        Errno failed = Errno::ok;
        bool full = false;
        auto prepared = make_accepted(*listener, mine);
        if (prepared.ok()) {
            made = EndpointRef{prepared.value()};
            made->local_unix = listener->local_unix;
            made->peer_credentials = own_credentials(thread);
            mine.peer_credentials = listener->credentials;
            mine.peer = made.get();
            made->reference();
            Guard guard{listener->lock};
            if (listener->state != SocketState::listening || listener->closed != 0 ||
                (listener->shut_bits & kShutReceive) != 0) {
                failed = Errno::connrefused;
            } else if (listener->pending_count > listener->backlog) {
                full = true;
            } else {
                made->reference();
                push_pending(*listener, *made);
            }
        } else {
            failed = prepared.error();
        }
        {
            Guard guard{mine.lock};
            bool success = failed == Errno::ok && !full;
            if (!success && mine.peer != nullptr) {
                set_undoable(mine.lock, mine.peer, static_cast<Endpoint*>(nullptr));
                made->release();
            }
            set_undoable(mine.lock, mine.state, success ? SocketState::connected : SocketState::fresh);
        }
        if (failed != Errno::ok) return Failure{failed};
        if (!full) {
            listener->queue.wake(kPollIn | kPollRdNorm);
            mine.queue.wake(~0u);
            return {};
        }
        if (until == gate::kPoll) return Failure{Errno::again};
        auto waited = wait_until(thread, listener->room, kPollOut, until, [&] {
            return listener->pending_count <= listener->backlog || listener->state != SocketState::listening ||
                   listener->closed != 0 || listener->shut_bits != 0;
        });
        if (!waited.ok()) return Failure{wait_error(waited.error(), timeout)};
    }
}

namespace {

/// Where to connect to; Errno::netunreach when that is not the loopback network.
Res<IpName> parse_destination(const Endpoint& mine, const SocketAddress& address) {
    IpName to = TRY(parse_ip(address, mine.family));
    if (mine.family == Family::inet6 && to.is_v4() && mine.options.is_on(kOnlyIp6)) return Failure{Errno::netunreach};
    if (to.is_any()) {
        // Nothing means here, in the family of the socket's own name.
        bool v4 = to.is_v4() || (mine.local_ip.is_v4() && mine.named != 0);
        memcpy(to.address, loopback_name(v4).address, sizeof to.address);
    }
    if (!to.is_loopback()) return Failure{Errno::netunreach};
    if (mine.named != 0 && !mine.local_ip.is_any() && mine.local_ip.is_v4() != to.is_v4())
        return Failure{mine.family == Family::inet6 && to.is_v4() ? Errno::netunreach : Errno::inval};
    return to;
}

}  // namespace

Res<void> SocketFile::finish_connect(Thread& thread) {
    Endpoint& mine = endpoint_;
    const u64 timeout = mine.options.send_timeout;
    auto waited = wait_until(thread, mine.queue, ~0u, deadline_of(timeout),
                             [&] { return mine.state != SocketState::connecting; });
    if (!waited.ok())
        return Failure{waited.error() == Errno::timedout ? Errno::inprogress : wait_error(waited.error(), timeout)};
    if (mine.error != 0) return Failure{mine.take_error()};
    mine.connect_told = 1;
    return {};
}

Res<void> SocketFile::connect_tcp(Thread& thread, const SocketAddress& address) {
    Endpoint& mine = endpoint_;
    if (address.family() == Family::unspecified) {
        mine.disconnect(true);
        return {};
    }
    switch (mine.state) {
        case SocketState::listening: return Failure{Errno::isconn};
        case SocketState::connecting:
            if (!waits(0)) return Failure{Errno::already};
            return finish_connect(thread);
        case SocketState::connected:
            if (mine.connect_told != 0) return Failure{Errno::isconn};
            mine.connect_told = 1;
            return {};
        case SocketState::closed: return Failure{mine.error != 0 ? mine.take_error() : Errno::isconn};
        case SocketState::fresh:
            if (mine.connect_failed != 0) {
                mine.connect_failed = 0;
                Errno error = mine.take_error();
                return Failure{error != Errno::ok ? error : Errno::connaborted};
            }
            break;
    }
    IpName to = TRY(parse_destination(mine, address));
    auto named = name_ip_automatically(thread, mine, &to);
    if (!named.ok()) return Failure{Errno::addrnotavail};
    EndpointRef listener = find_listener(to);
    bool refused = listener.get() == nullptr;
    if (!refused) {
        {
            Guard guard{mine.lock};
            if (mine.state != SocketState::fresh) return Failure{Errno::already};
            set_undoable(mine.lock, mine.state, SocketState::connecting);
        }
        auto prepared = make_accepted(*listener, mine);
        if (!prepared.ok()) {
            mine.state = SocketState::fresh;
            return Failure{prepared.error()};
        }
        EndpointRef made{prepared.value()};
        made->remote_ip = mine.local_ip;
        name_accepted(*made, to);
        Endpoint* old = mine.peer;
        mine.peer = made.get();
        made->reference();
        if (old != nullptr) old->release();
        mine.remote_ip = to;
        bool waiting = false;
        {
            Guard guard{listener->lock};
            refused = listener->state != SocketState::listening || listener->closed != 0;
            if (!refused) {
                waiting = listener->pending_count > listener->backlog;
                made->reference();
                push_pending(*listener, *made);
            }
        }
        if (refused) {
            {
                Guard guard{mine.lock};
                set_undoable(mine.lock, mine.peer, static_cast<Endpoint*>(nullptr));
                set_undoable(mine.lock, mine.state, SocketState::fresh);
            }
            name_give_up(*made);
            made->release();
        } else {
            if (!waiting) {
                Guard guard{mine.lock};
                if (mine.state == SocketState::connecting) set_undoable(mine.lock, mine.state, SocketState::connected);
            }
            listener->queue.wake(kPollIn | kPollRdNorm);
            mine.queue.wake(kPollOut | kPollWrNorm);
        }
    }
    if (!waits(0)) {
        // As Linux even on the loopback interface: the answer comes with readiness.
        if (refused) {
            mine.set_error(Errno::connrefused);
            mine.connect_failed = 1;
            mine.queue.wake(~0u);
        }
        return Failure{Errno::inprogress};
    }
    if (refused) return Failure{Errno::connrefused};
    return finish_connect(thread);
}

Res<void> SocketFile::connect_udp(Thread& thread, const SocketAddress& address) {
    Endpoint& mine = endpoint_;
    if (address.family() == Family::unspecified) {
        mine.disconnect(true);
        return {};
    }
    IpName to = TRY(parse_destination(mine, address));
    TRY(name_ip_automatically(thread, mine, &to));
    {
        Guard guard{mine.lock};
        mine.remote_ip = to;
        set_undoable(mine.lock, mine.state, SocketState::connected);
    }
    mine.queue.wake(kPollOut | kPollWrNorm);
    return {};
}

Res<FileRef> SocketFile::accept(Thread& thread, u32 open_flags, SocketAddress& peer) {
    Endpoint& mine = endpoint_;
    if (!mine.has_connections()) return Failure{Errno::opnotsupp};
    if (mine.state != SocketState::listening) return Failure{Errno::inval};
    const u64 timeout = mine.options.receive_timeout;
    const gate::Deadline until = waits(0) ? deadline_of(timeout) : gate::kPoll;
    for (;;) {
        Endpoint* made;
        {
            Guard guard{mine.lock};
            made = pop_pending(mine);
        }
        if (made != nullptr) {
            mine.room.wake(~0u);
            if (mine.is_tcp()) promote(mine);
            auto file = make_file<SocketFile>(*made, O_RDWR | (open_flags & O_NONBLOCK));
            if (!file.ok()) {
                made->close(true);
                return Failure{file.error()};
            }
            if (mine.is_ip()) {
                peer = format_ip(made->remote_ip, mine.family);
            } else {
                EndpointRef other{made->hold_peer()};
                peer = other.get() != nullptr ? other->local_unix : unnamed_unix();
            }
            return FileRef{file.value()};
        }
        if (mine.state != SocketState::listening || (mine.shut_bits & kShutReceive) != 0) return Failure{Errno::inval};
        if (until == gate::kPoll) return Failure{Errno::again};
        auto waited = wait_until(thread, mine.queue, kPollIn | kPollRdNorm, until, [&] {
            return mine.pending_first != nullptr || mine.state != SocketState::listening || mine.shut_bits != 0;
        });
        if (!waited.ok()) return Failure{wait_error(waited.error(), timeout)};
    }
}

Res<void> SocketFile::shutdown(u32 how) {
    Endpoint& mine = endpoint_;
    if (how > 2) return Failure{Errno::inval};
    const u64 bits = how + 1;
    if (mine.family == Family::netlink) return Failure{Errno::opnotsupp};
    if (mine.is_tcp()) {
        if (mine.state == SocketState::listening || mine.state == SocketState::connecting) {
            if ((bits & kShutReceive) != 0) {
                mine.disconnect(false);
                mine.set_error(Errno::ok);
            }
            return {};
        }
        if (mine.state == SocketState::fresh || mine.state == SocketState::closed) return Failure{Errno::notconn};
    }
    mine.shut(bits);
    if (mine.is_udp() && mine.state != SocketState::connected) return Failure{Errno::notconn};
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
