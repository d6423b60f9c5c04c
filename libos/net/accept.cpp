// SPDX-License-Identifier: Apache-2.0
// accept(2) and shutdown(2), for all families: see socket.hpp.
#include <linux/fcntl.h>

#include "libos/net/socket.hpp"

namespace postern::libos {

namespace {

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
    connector->queue.wake(kPollOut | kPollWrNorm | kAsyncAlways);
    connector->release();
}

}  // namespace

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

void SocketFile::take_back(Endpoint& accepted) {
    Endpoint& mine = endpoint_;
    bool gone = false;
    {
        Guard guard{mine.lock};
        if (mine.state == SocketState::listening && mine.closed == 0) {
            accepted.next_pending = mine.pending_first;
            set_undoable(mine.lock, mine.pending_first, &accepted);
            if (mine.pending_last == nullptr) set_undoable(mine.lock, mine.pending_last, &accepted);
            set_undoable(mine.lock, mine.pending_count, mine.pending_count + 1);
        } else {
            gone = true;
        }
    }
    if (gone)
        accepted.close(true);
    else
        mine.queue.wake(kPollIn | kPollRdNorm);
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

}  // namespace postern::libos
