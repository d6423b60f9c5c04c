// SPDX-License-Identifier: Apache-2.0
// Calls that send and receive: sendto(2), recvfrom(2), sendmsg(2), recvmsg(2) and their relatives.
#include "base/memory.hpp"
#include "libos/net/calls.hpp"
#include "libos/net/control.hpp"
#include "libos/net/numbers.hpp"
#include "libos/net/socket.hpp"
#include "libos/process/process.hpp"
#include "libos/shared/arena.hpp"
#include "libos/time/timers.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u32 kMostVectors = 1024;  // UIO_MAXIOV
constexpr u64 kMostBytes = 0x7fff'f000;

/// Vectors of a message in private memory of the call.
struct Vectors {
    UserVector small[8];
    UserVector* list = small;
    u32 count = 0;

    ~Vectors() {
        if (list != small) heap::release(list, count * sizeof(UserVector));
    }
    Res<void> read(u64 address, u64 wanted) {
        if (wanted > kMostVectors) return Failure{Errno::msgsize};
        if (wanted > 8) list = static_cast<UserVector*>(TRY(heap::allocate(wanted * sizeof(UserVector))));
        count = static_cast<u32>(wanted);
        TRY(copy_in(list, address, count * sizeof(UserVector)));
        u64 total = 0;
        for (u32 index = 0; index < count; ++index) {
            if (static_cast<i64>(list[index].size) < 0) return Failure{Errno::inval};
            if (list[index].size > kMostBytes - total) list[index].size = kMostBytes - total;
            total += list[index].size;
        }
        return {};
    }
};

Res<i64> send_message(Thread& thread, SocketFile& socket, u64 user, u32 flags) {
    auto message = TRY(read_user<UserMessage>(user));
    SendRequest request;
    request.flags = flags;
    SocketAddress to;
    if (message.name != 0 && message.name_length != 0) {
        if (static_cast<i32>(message.name_length) < 0) return Failure{Errno::inval};
        if (message.name_length > SocketAddress::kCapacity) message.name_length = SocketAddress::kCapacity;
        to = TRY(read_address(message.name, message.name_length));
        request.to = &to;
    }
    Vectors vectors;
    TRY(vectors.read(message.vectors, message.vector_count));
    Control control;
    TRY(read_control(thread, message, socket.endpoint().is_local(), control));
    request.files = &control.files;
    if (control.has_credentials) request.credentials = &control.credentials;
    request.hop_limit = control.hop_limit;
    request.traffic_class = control.traffic_class;
    UserBuffers buffers{vectors.list, vectors.count};
    Bytes bytes{buffers};
    return socket.send(thread, bytes, request);
}

Res<i64> receive_message(Thread& thread, SocketFile& socket, u64 user, u32 flags) {
    auto message = TRY(read_user<UserMessage>(user));
    if (static_cast<i32>(message.name_length) < 0) return Failure{Errno::inval};
    Vectors vectors;
    TRY(vectors.read(message.vectors, message.vector_count));
    PassedFiles files;
    UserBuffers buffers{vectors.list, vectors.count};
    Bytes bytes{buffers};
    ReceiveRequest request;
    request.flags = flags;
    request.files = &files;
    auto received = TRY(socket.receive(thread, bytes, request));
    Endpoint& endpoint = socket.endpoint();
    message.flags = flags & kMessageCloseOnExec;
    if (received.cut) message.flags |= kMessageCut;
    if (received.urgent) message.flags |= kMessageOutOfBand;
    TRY(write_control(thread, message, endpoint, received, files, flags));
    if (message.name != 0) {
        TRY(write_address(received.from, message.name, user + offsetof(UserMessage, name_length)));
    }
    TRY(write_user(user + offsetof(UserMessage, control_length), message.control_length));
    TRY(write_user(user + offsetof(UserMessage, flags), message.flags));
    bool whole = (flags & kMessageCut) != 0 && !endpoint.is_stream();
    return static_cast<i64>(whole ? received.message_size : received.bytes);
}

}  // namespace

Res<SocketFile*> hold_socket(Thread& thread, HeldFile& file, u64 fd) {
    TRY(file.hold(thread, static_cast<u32>(fd)));
    if ((file->status_flags & 010000000) != 0) return Failure{Errno::badf};  // O_PATH
    return as_socket(*file.get());
}

Res<i64> sys_sendto(Thread& thread, Arguments arguments) {
    HeldFile file;
    SocketFile* socket = TRY(hold_socket(thread, file, arguments[0]));
    SendRequest request;
    request.flags = static_cast<u32>(arguments[3]);
    SocketAddress to;
    if (arguments[4] != 0) {
        to = TRY(read_address(arguments[4], arguments[5]));
        if (to.size != 0) request.to = &to;
    }
    UserVector vector{arguments[1], arguments[2] < kMostBytes ? arguments[2] : kMostBytes};
    UserBuffers buffers{&vector, 1};
    Bytes bytes{buffers};
    return socket->send(thread, bytes, request);
}

Res<i64> sys_recvfrom(Thread& thread, Arguments arguments) {
    HeldFile file;
    SocketFile* socket = TRY(hold_socket(thread, file, arguments[0]));
    UserVector vector{arguments[1], arguments[2] < kMostBytes ? arguments[2] : kMostBytes};
    UserBuffers buffers{&vector, 1};
    Bytes bytes{buffers};
    ReceiveRequest request;
    PassedFiles none;
    request.flags = static_cast<u32>(arguments[3]);
    request.files = socket->endpoint().is_local() ? &none : nullptr;
    auto received = TRY(socket->receive(thread, bytes, request));
    if (arguments[4] != 0) TRY(write_address(received.from, arguments[4], arguments[5]));
    bool whole = (request.flags & kMessageCut) != 0 && !socket->endpoint().is_stream();
    return static_cast<i64>(whole ? received.message_size : received.bytes);
}

Res<i64> sys_sendmsg(Thread& thread, Arguments arguments) {
    HeldFile file;
    SocketFile* socket = TRY(hold_socket(thread, file, arguments[0]));
    return send_message(thread, *socket, arguments[1], static_cast<u32>(arguments[2]));
}

Res<i64> sys_recvmsg(Thread& thread, Arguments arguments) {
    HeldFile file;
    SocketFile* socket = TRY(hold_socket(thread, file, arguments[0]));
    return receive_message(thread, *socket, arguments[1], static_cast<u32>(arguments[2]));
}

namespace {
constexpr u64 kManyHeader = 64;  // struct mmsghdr: the message and a length
constexpr u64 kManyLength = 56;
}  // namespace

Res<i64> sys_sendmmsg(Thread& thread, Arguments arguments) {
    HeldFile file;
    SocketFile* socket = TRY(hold_socket(thread, file, arguments[0]));
    u32 count = static_cast<u32>(arguments[2]);
    if (count > kMostVectors) count = kMostVectors;
    u32 done = 0;
    for (; done < count; ++done) {
        u64 at = arguments[1] + done * kManyHeader;
        auto sent = send_message(thread, *socket, at, static_cast<u32>(arguments[3]));
        Errno failed = sent.ok() ? Errno::ok : sent.error();
        if (sent.ok()) {
            auto written = write_user(at + kManyLength, static_cast<u32>(sent.value()));
            if (!written.ok()) failed = written.error();
        }
        if (failed == Errno::ok) continue;
        if (done != 0) break;
        return Failure{failed};
    }
    return done;
}

Res<i64> sys_recvmmsg(Thread& thread, Arguments arguments) {
    HeldFile file;
    SocketFile* socket = TRY(hold_socket(thread, file, arguments[0]));
    u32 count = static_cast<u32>(arguments[2]), flags = static_cast<u32>(arguments[3]);
    const gate::Deadline until = TRY(read_timeout(arguments[4]));
    u32 done = 0;
    for (; done < count; ++done) {
        u64 at = arguments[1] + done * kManyHeader;
        u32 now = flags & ~kMessageWaitForOne;
        if (done != 0 && (flags & kMessageWaitForOne) != 0) now |= kMessageDontWait;
        auto received = receive_message(thread, *socket, at, now);
        Errno failed = received.ok() ? Errno::ok : received.error();
        if (received.ok()) {
            auto written = write_user(at + kManyLength, static_cast<u32>(received.value()));
            if (!written.ok()) failed = written.error();
        }
        if (failed != Errno::ok) {
            if (done != 0) break;
            return Failure{failed};
        }
        // As recvmmsg(2) warns: the time is looked at only after each message.
        if (until != gate::kForever && monotonic_now() >= until) {
            ++done;
            break;
        }
    }
    return done;
}

}  // namespace postern::libos
