// SPDX-License-Identifier: Apache-2.0
// connect(2), for all families: see socket.hpp.
#include <linux/fcntl.h>

#include "libos/fs/path.hpp"
#include "libos/fs/walk.hpp"
#include "libos/net/names.hpp"
#include "libos/net/socket.hpp"
#include "libos/process/process.hpp"
#include "libos/shared/arena.hpp"

namespace postern::libos {

namespace {

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

}  // namespace

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
        mine.queue.wake(kOwnChange);
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
            mine.queue.wake(kOwnChange);
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
            mine.queue.wake(waiting ? kPollOut | kPollWrNorm : kPollOut | kPollWrNorm | kAsyncAlways);
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

}  // namespace postern::libos
