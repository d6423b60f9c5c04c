// SPDX-License-Identifier: Apache-2.0
// Sending, for all families: see socket.hpp.
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
constexpr u32 kWriteEvents = kPollOut | kPollWrNorm | kPollWrBand;

}  // namespace

void broken_pipe(Thread& thread, u32 flags) {
    if ((flags & kMessageNoSignal) == 0) send_signal_to_thread(thread, user_signal(kSigPipe));
}

gate::Deadline deadline_of(u64 timeout) { return timeout == 0 ? gate::kForever : deadline_after(timeout); }

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
            if (other->file != nullptr) async_note_urgent(*other->file);
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
        async_room_wanted(*this);
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

}  // namespace postern::libos
