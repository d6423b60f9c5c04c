// SPDX-License-Identifier: Apache-2.0
// Sending and receiving, for all families: see socket.hpp.
#include <linux/fcntl.h>

#include "libos/net/names.hpp"
#include "libos/net/numbers.hpp"
#include "libos/net/socket.hpp"
#include "libos/process/process.hpp"
#include "libos/signal/delivery.hpp"
#include "libos/time/timers.hpp"

namespace postern::libos {

namespace {

constexpr u64 kChunk = 32768 - 128;  // of a stream: what fits one object of the arena
constexpr u64 kMostUdp4 = 65507, kMostUdp6 = 65527;
constexpr u32 kWriteEvents = kPollOut | kPollWrNorm | kPollWrBand;

void broken_pipe(Thread& thread, u32 flags) {
    if ((flags & kMessageNoSignal) == 0) send_signal_to_thread(thread, user_signal(kSigPipe));
}

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

gate::Deadline deadline_of(u64 timeout) { return timeout == 0 ? gate::kForever : monotonic_now() + timeout; }

Errno wait_error(Errno error, u64 timeout) {
    if (error == Errno::timedout) return Errno::again;
    if (error == Errno::restart_sys && timeout != 0) return Errno::intr;
    return error;
}

bool SocketFile::waits(u32 flags) const { return (status_flags & O_NONBLOCK) == 0 && (flags & kMessageDontWait) == 0; }

Res<i64> SocketFile::send(Thread& thread, Bytes& bytes, const SendRequest& request) {
    if ((request.flags & kMessageOutOfBand) != 0) {
        if (!endpoint_.is_tcp()) return Failure{Errno::opnotsupp};
        return send_urgent(thread, bytes, request);
    }
    if (endpoint_.family == Family::netlink) return netlink_request(thread, endpoint_, bytes);
    if (endpoint_.has_connections()) return send_connected(thread, bytes, request);
    return endpoint_.is_local() ? send_local_datagram(thread, bytes, request) : send_udp(thread, bytes, request);
}

Res<Message*> SocketFile::fill(Thread& thread, Bytes& bytes, u64 size, const SendRequest& request, bool with_files,
                               const SocketAddress* from) {
    Message* message = nullptr;
    const bool files = with_files && request.files != nullptr && request.files->count != 0;
    if (endpoint_.is_stream() && size <= kSmallMessage && from == nullptr && !files) {
        // What the receiver has read is the next message: no allocation while the two keep pace.
        message = __atomic_exchange_n(&endpoint_.peer->spare, nullptr, __ATOMIC_ACQ_REL);
        if (message != nullptr)
            message_renew(*message, size);
        else
            message = TRY(message_create_small(size));
    } else {
        message = TRY(message_create(size, from));
    }
    if (bytes.take(message->data(), size) != size) {
        message_destroy(message);
        return Failure{Errno::fault};
    }
    if (request.credentials != nullptr) {
        message->credentials = *request.credentials;
    } else {
        const Credentials& own = thread.process->credentials;
        message->credentials = {thread.process->pid, own.uid, own.gid};
    }
    if (files) {
        auto attached = message_attach(*message, *request.files);
        if (!attached.ok()) {
            message_destroy(message);
            return Failure{attached.error()};
        }
    }
    return message;
}

Res<i64> SocketFile::send_urgent(Thread& thread, Bytes& bytes, const SendRequest& request) {
    SendRequest plain = request;
    plain.flags &= ~u32{kMessageOutOfBand};
    const u64 size = bytes.size();
    if (size == 0) return send_connected(thread, bytes, plain);
    i64 done = 0;
    if (size > 1) {
        // All but the last byte are ordinary ones.
        Bytes front = bytes.front(size - 1);
        done = TRY(send_connected(thread, front, plain));
        if (static_cast<u64>(done) < size - 1) return done;
        bytes.skip(front);
    }
    Endpoint& mine = endpoint_;
    u8 byte;
    if (bytes.take(&byte, 1) != 1) return Failure{Errno::fault};
    Endpoint* other = mine.peer;
    if (other == nullptr || (mine.shut_bits & kShutSend) != 0) {
        Bytes one{&byte, 1};
        return send_connected(thread, one, plain);
    }
    const bool in_line = other->options.is_on(kOutOfBandInline);
    Message* message = TRY(message_create(in_line ? 1 : 0, nullptr));
    message->mark = true;
    if (in_line) *message->data() = byte;
    {
        Guard guard{other->lock};
        if (other->closed == 0) {
            set_undoable(other->lock, other->urgent_byte, u64{byte});
            set_undoable(other->lock, other->urgent, u64{1});
            other->append(*message);
            message = nullptr;
        }
    }
    if (message != nullptr) {
        message_destroy(message);
        mine.reset(Errno::pipe);
    } else {
        other->queue.wake(kPollPri | (in_line ? kPollIn | kPollRdNorm : 0));
    }
    return done + 1;
}

Res<u8> SocketFile::take_urgent(u32 flags) {
    Endpoint& mine = endpoint_;
    if (!mine.is_tcp()) return Failure{Errno::opnotsupp};
    if (mine.options.is_on(kOutOfBandInline)) return Failure{Errno::inval};
    Guard guard{mine.lock};
    if (mine.urgent != 1) return Failure{Errno::inval};
    if ((flags & kMessagePeek) == 0) set_undoable(mine.lock, mine.urgent, u64{2});
    return static_cast<u8>(mine.urgent_byte);
}

Res<i64> SocketFile::send_connected(Thread& thread, Bytes& bytes, const SendRequest& request) {
    Endpoint& mine = endpoint_;
    const bool tcp = mine.is_tcp(), stream = mine.is_stream();
    if (mine.is_local() && stream && request.to != nullptr)
        return Failure{mine.state == SocketState::connected ? Errno::isconn : Errno::opnotsupp};
    const u64 timeout = mine.options.send_timeout;
    const gate::Deadline until = waits(request.flags) ? deadline_of(timeout) : gate::kPoll;
    if (mine.state == SocketState::connecting) {
        if (until == gate::kPoll) return Failure{Errno::again};
        auto waited = wait_until(thread, mine.queue, ~0u, until, [&] { return mine.state != SocketState::connecting; });
        if (!waited.ok()) return Failure{wait_error(waited.error(), timeout)};
    }
    Endpoint* other = mine.peer;
    if (other == nullptr && !tcp) return Failure{Errno::notconn};
    const u64 size = bytes.size();
    if (!stream && size + 32 > mine.options.send_buffer) return Failure{Errno::msgsize};
    const SocketAddress* from = mine.is_local() && mine.local_unix.size > 2 ? &mine.local_unix : nullptr;
    u64 limit = mine.send_limit() / 2, most = limit < kChunk ? limit : kChunk;
    u64 done = 0;
    Message* message = nullptr;
    Errno failed = Errno::ok;
    for (;;) {
        if (mine.error != 0 && tcp) {
            failed = mine.take_error();
            break;
        }
        if (other == nullptr || (__atomic_load_n(&mine.shut_bits, __ATOMIC_ACQUIRE) & kShutSend) != 0) {
            failed = Errno::pipe;
            break;
        }
        const u64 part = stream && size - done > most ? most : size - done;
        if (stream && part == 0) break;  // nothing to say on a stream is not said
        if (message == nullptr) {
            auto filled = fill(thread, bytes, part, request, done == 0, from);
            if (!filled.ok()) {
                failed = filled.error();
                break;
            }
            message = filled.value();
        }
        bool gone = false, full = false;
        {
            Guard guard{other->lock};
            if (other->closed != 0) {
                gone = true;
            } else if (!mine.has_room()) {
                full = true;
            } else {
                other->append(*message);
                message = nullptr;
            }
        }
        if (gone) {
            if (!tcp) {
                failed = Errno::pipe;
                break;
            }
            // The bytes leave; what comes back is a reset.
            message_destroy(message);
            message = nullptr;
            mine.reset(Errno::pipe);
            done += part;
            break;
        }
        if (!full) {
            other->queue.wake(kPollIn | kPollRdNorm);
            done += part;
            if (done >= size) break;
            continue;
        }
        if (until == gate::kPoll) {
            failed = Errno::again;
            break;
        }
        auto waited = wait_until(thread, mine.queue, kWriteEvents, until, [&] {
            return mine.has_room() || (mine.shut_bits & kShutSend) != 0 || mine.error != 0 || other->closed != 0;
        });
        if (!waited.ok()) {
            failed = wait_error(waited.error(), timeout);
            break;
        }
    }
    if (message != nullptr) message_destroy(message);
    if (done != 0 || failed == Errno::ok) return static_cast<i64>(done);
    if (failed == Errno::pipe && stream) broken_pipe(thread, request.flags);
    return Failure{failed};
}

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

// Receiving ------------------------------------------------------------------------------------------------------

Res<Received> SocketFile::receive(Thread& thread, Bytes& bytes, const ReceiveRequest& request) {
    Endpoint& mine = endpoint_;
    const u32 flags = request.flags;
    if ((flags & kMessageOutOfBand) != 0) {
        u8 byte = TRY(take_urgent(flags));
        Received urgent;
        urgent.urgent = true;
        if (bytes.size() == 0) return urgent;
        if (bytes.put(&byte, 1) != 1) return Failure{Errno::fault};
        urgent.bytes = 1;
        return urgent;
    }
    if ((flags & kMessageErrorQueue) != 0) return Failure{Errno::again};
    const bool stream = mine.is_stream(), peek = (flags & kMessagePeek) != 0;
    const u64 timeout = mine.options.receive_timeout;
    const gate::Deadline until = waits(flags) ? deadline_of(timeout) : gate::kPoll;
    if (mine.has_connections() && (mine.state == SocketState::fresh || mine.state == SocketState::listening)) {
        if (mine.is_tcp() && mine.error != 0) return Failure{mine.take_error()};
        return Failure{mine.is_local() && stream ? Errno::inval : Errno::notconn};
    }
    if (!mine.has_connections() && mine.error != 0) return Failure{mine.take_error()};
    const u64 size = bytes.size();
    Received result;
    if (size == 0 && stream && mine.first == nullptr) return result;
    const bool by_sender = stream && mine.options.is_on(kPassCredentials);
    for (;;) {
        Message* finished = nullptr;  // a list; freed without the lock
        bool faulted = false, stop = false, taken = false;
        {
            Guard guard{mine.lock};
            for (Message* message = mine.first; message != nullptr && !stop;) {
                Message* next = message->next;
                // Another sender, where it matters, and descriptors received are boundaries of a stream.
                if (result.has_message && by_sender &&
                    (message->credentials.pid != result.credentials.pid ||
                     message->credentials.uid != result.credentials.uid)) {
                    stop = true;
                    break;
                }
                if (message->mark) [[unlikely]] {
                    // A receive ends before the mark; the next begins behind it.
                    if (result.has_message) {
                        stop = true;
                        break;
                    }
                    if (!peek) {
                        if (mine.urgent == 1 && message->size != 0) set_undoable(mine.lock, mine.urgent, u64{2});
                        message->mark = false;
                    }
                    if (message->size == 0) {
                        if (!peek) {
                            mine.remove_first();
                            message->next = finished;
                            finished = message;
                            undo_commit(mine.lock);
                        }
                        message = next;
                        continue;
                    }
                }
                const u64 available = message->size - message->taken;
                const u64 part = size - result.bytes < available ? size - result.bytes : available;
                const bool discard = stream && mine.is_tcp() && (flags & kMessageCut) != 0;
                const u64 copied = part == 0 || discard ? part : bytes.put(message->data() + message->taken, part);
                faulted = copied < part;
                if (faulted && (copied == 0 || !stream) && !result.has_message && stream) break;
                result.bytes += copied;
                if (!result.has_message) {
                    result.credentials = message->credentials;
                    result.hop_limit = message->hop_limit;
                    result.traffic_class = message->traffic_class;
                    result.from.size = message->address_size;
                    memcpy(result.from.bytes, message->address(), message->address_size);
                }
                result.has_message = true;
                if (request.files != nullptr && message->file_count != 0) {
                    for (u64 index = 0; index < message->file_count; ++index) {
                        message->files[index]->reference();
                        request.files->files[index] = message->files[index];
                    }
                    request.files->count = static_cast<u32>(message->file_count);
                    stop = true;
                }
                if (!stream) {
                    result.message_size = message->size;
                    result.cut = part < available;
                    stop = true;
                }
                if (faulted || (stream && result.bytes == size)) stop = true;
                if (peek) {
                    message = next;
                    continue;
                }
                if (!stream || copied == available) {
                    mine.remove_first();
                    message->next = finished;
                    finished = message;
                } else {
                    set_undoable(mine.lock, message->taken, message->taken + copied);
                    set_undoable(mine.lock, mine.bytes, mine.bytes - copied);
                    // Received once, they do not come again with the rest of the bytes. The receiver's own references
                    // keep them from ending here, under the lock.
                    if (request.files != nullptr && message->file_count != 0) {
                        u64 given = message->file_count;
                        set_undoable(mine.lock, message->file_count, u64{0});
                        for (u64 index = 0; index < given; ++index) message->files[index]->release();
                    }
                }
                taken = true;
                undo_commit(mine.lock);
                message = next;
            }
        }
        if (finished != nullptr) {
            if (mine.has_connections()) {
                Endpoint* other = mine.peer;
                if (other != nullptr && other->writable()) other->queue.wake(kWriteEvents);
            } else {
                mine.room.wake(kWriteEvents);
            }
            while (finished != nullptr) {
                Message* next = finished->next;
                if (message_is_small(*finished))
                    finished = __atomic_exchange_n(&mine.spare, finished, __ATOMIC_ACQ_REL);
                if (finished != nullptr) message_destroy(finished);
                finished = next;
            }
        }
        if (faulted && (result.bytes == 0 || !stream)) return Failure{Errno::fault};
        if (stop) return result;
        const u64 least = (flags & kMessageWaitAll) != 0 && !peek ? size : 1;
        if (result.has_message && (result.bytes >= least || !stream || peek)) return result;
        if (!taken || until == gate::kPoll) {
            if (result.bytes != 0) {
                if (mine.error != 0 || (mine.shut_bits & kShutReceive) != 0 || until == gate::kPoll) return result;
            } else {
                if (mine.error != 0) return Failure{mine.take_error()};
                if ((mine.shut_bits & kShutReceive) != 0 && !mine.readable()) return result;
                if (until == gate::kPoll) {
                    if (mine.readable()) continue;
                    return Failure{Errno::again};
                }
            }
        }
        auto waited = wait_until(thread, mine.queue, kPollIn | kPollRdNorm | kPollRdHup, until, [&] {
            return mine.readable() || (mine.shut_bits & kShutReceive) != 0 || mine.error != 0 ||
                   (mine.has_connections() && mine.state == SocketState::fresh);
        });
        if (!waited.ok()) {
            if (result.bytes != 0) return result;
            return Failure{wait_error(waited.error(), timeout)};
        }
        if (mine.has_connections() && mine.state == SocketState::fresh && mine.error == 0)
            return Failure{Errno::notconn};
    }
}

}  // namespace postern::libos
