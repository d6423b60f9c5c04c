// SPDX-License-Identifier: Apache-2.0
// Receiving, for all families: see socket.hpp.
#include <linux/fcntl.h>

#include "libos/net/numbers.hpp"
#include "libos/net/socket.hpp"

namespace postern::libos {

namespace {

constexpr u32 kWriteEvents = kPollOut | kPollWrNorm | kPollWrBand;

}  // namespace

Res<u8> SocketFile::take_urgent(u32 flags) {
    Endpoint& mine = endpoint_;
    if (!mine.is_tcp()) return Failure{Errno::opnotsupp};
    if (mine.options.is_on(kOutOfBandInline)) return Failure{Errno::inval};
    Guard guard{mine.lock};
    if (mine.urgent != 1) return Failure{Errno::inval};
    if ((flags & kMessagePeek) == 0) set_undoable(mine.lock, mine.urgent, u64{2});
    return static_cast<u8>(mine.urgent_byte);
}

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
