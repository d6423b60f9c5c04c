// SPDX-License-Identifier: Apache-2.0
// Calls that send and receive: sendto(2), recvfrom(2), sendmsg(2), recvmsg(2) and their relatives.
#include "base/memory.hpp"
#include "libos/net/calls.hpp"
#include "libos/net/numbers.hpp"
#include "libos/net/socket.hpp"
#include "libos/process/process.hpp"
#include "libos/shared/arena.hpp"
#include "libos/time/timers.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u32 kMostVectors = 1024;  // UIO_MAXIOV
constexpr u64 kMostControl = 16384;
constexpr u64 kMostBytes = 0x7fff'f000;
constexpr u32 kCapSetUid = 7, kCapSetGid = 6, kCapSysAdmin = 21;

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

struct Control {
    PassedFiles files;
    SocketCredentials credentials;
    bool has_credentials = false;
    i32 hop_limit = -1, traffic_class = -1;
};

Res<void> check_credentials(Thread& thread, const SocketCredentials& claimed) {
    const Credentials& own = thread.process->credentials;
    bool pid = claimed.pid == thread.process->pid || has_capability(thread, kCapSysAdmin);
    bool uid = claimed.uid == own.uid || claimed.uid == own.euid || claimed.uid == own.suid ||
               has_capability(thread, kCapSetUid);
    bool gid = claimed.gid == own.gid || claimed.gid == own.egid || claimed.gid == own.sgid ||
               has_capability(thread, kCapSetGid);
    if (!pid || !uid || !gid) return Failure{Errno::perm};
    return {};
}

Res<void> read_control(Thread& thread, const UserMessage& message, bool local, Control& control) {
    if (message.control_length > kMostControl) return Failure{Errno::nobufs};
    if (message.control == 0 || message.control_length == 0) return {};
    for (u64 at = 0; at + sizeof(ControlHeader) <= message.control_length;) {
        auto header = TRY(read_user<ControlHeader>(message.control + at));
        if (header.length < sizeof header || header.length > message.control_length - at) return Failure{Errno::inval};
        const u64 data = message.control + at + sizeof header, size = header.length - sizeof header;
        if (header.level == kLevelSocket && header.type == kControlRights && local) {
            const u64 count = size / sizeof(i32);
            if (count > kMostPassedFiles - control.files.count) return Failure{Errno::inval};
            for (u64 index = 0; index < count; ++index) {
                i32 fd = TRY(read_user<i32>(data + index * sizeof(i32)));
                FileRef file = TRY(thread.process->files->get(static_cast<u32>(fd)));
                control.files.files[control.files.count++] = file.leak();
            }
        } else if (header.level == kLevelSocket && header.type == kControlCredentials && local) {
            if (size != sizeof(SocketCredentials)) return Failure{Errno::inval};
            control.credentials = TRY(read_user<SocketCredentials>(data));
            TRY(check_credentials(thread, control.credentials));
            control.has_credentials = true;
        } else if (header.level == kLevelIp || header.level == kLevelIp6) {
            constexpr u32 kTos = 1, kTtl = 2, kHopLimit6 = 52, kClass6 = 67;
            const bool v4 = header.level == kLevelIp;
            const bool hops = header.type == (v4 ? kTtl : kHopLimit6), traffic = header.type == (v4 ? kTos : kClass6);
            if (hops || traffic) {
                i32 value = -1;
                if (size == sizeof value)
                    value = TRY(read_user<i32>(data));
                else if (size == 1 && v4 && traffic)
                    value = TRY(read_user<u8>(data));
                else
                    return Failure{Errno::inval};
                if (value < -1 || value > 255) return Failure{Errno::inval};
                (hops ? control.hop_limit : control.traffic_class) = value;
            }
        } else if (header.level == kLevelSocket && local) {
            return Failure{Errno::inval};
        }
        at += align_up(header.length, 8);
    }
    return {};
}

/// Writes control messages one behind the other; what does not fit is told by MSG_CTRUNC.
class ControlWriter {
public:
    explicit ControlWriter(UserMessage& message)
        : message_{message}, room_{message.control == 0 ? 0 : message.control_length} {}
    u64 room() const { return room_ - at_; }

    Res<void> add(u32 level, u32 type, const void* data, u64 size) {
        const u64 length = sizeof(ControlHeader) + size;
        if (room() < sizeof(ControlHeader)) {
            message_.flags |= kMessageControlCut;
            return {};
        }
        u64 fits = length;
        if (room() < length) message_.flags |= kMessageControlCut, fits = room();
        TRY(write_user(message_.control + at_, ControlHeader{fits, level, type}));
        TRY(copy_out(message_.control + at_ + sizeof(ControlHeader), data, fits - sizeof(ControlHeader)));
        advance(fits);
        return {};
    }
    /// Installs descriptors; those that do not fit are dropped.
    Res<void> add_files(Thread& thread, PassedFiles& files, bool close_on_exec) {
        u32 fits = 0, done = 0;
        if (room() > sizeof(ControlHeader)) fits = static_cast<u32>((room() - sizeof(ControlHeader)) / 4);
        if (fits < files.count) message_.flags |= kMessageControlCut;
        if (fits > files.count) fits = files.count;
        for (; done < fits; ++done) {
            files.files[done]->reference();
            auto fd = thread.process->files->install(FileRef{files.files[done]}, close_on_exec);
            if (!fd.ok()) {
                message_.flags |= kMessageControlCut;
                break;
            }
            TRY(write_user(message_.control + at_ + sizeof(ControlHeader) + done * 4, static_cast<i32>(fd.value())));
        }
        if (done == 0) return {};
        const u64 size = sizeof(ControlHeader) + u64{done} * 4;
        TRY(write_user(message_.control + at_, ControlHeader{size, kLevelSocket, kControlRights}));
        advance(size);
        return {};
    }
    void finish() { message_.control_length = at_; }

private:
    void advance(u64 size) { at_ = align_up(size, 8) < room() ? at_ + align_up(size, 8) : room_; }
    UserMessage& message_;
    u64 room_, at_ = 0;
};

Res<void> write_control(Thread& thread, UserMessage& message, Endpoint& endpoint, const Received& received,
                        PassedFiles& files, u32 flags) {
    ControlWriter writer{message};
    const SocketOptions& options = endpoint.options;
    if (received.has_message && endpoint.is_local() && options.is_on(kPassCredentials))
        TRY(writer.add(kLevelSocket, kControlCredentials, &received.credentials, sizeof received.credentials));
    if (files.count != 0) TRY(writer.add_files(thread, files, (flags & kMessageCloseOnExec) != 0));
    if (received.has_message && endpoint.is_udp()) {
        if (options.is_on(kTimeStamps)) {
            TimeVal now = to_timeval(realtime_now());
            TRY(writer.add(kLevelSocket, 29, &now, sizeof now));
        }
        IpName to = endpoint.local_ip;
        if (to.is_any()) to = loopback_name(endpoint.family == Family::inet);
        if (options.is_on(kPacketInfo) && endpoint.family == Family::inet) {
            u8 information[12] = {1};  // struct in_pktinfo: the interface, its address, the destination
            memcpy(information + 4, to.address + 12, 4);
            memcpy(information + 8, to.address + 12, 4);
            TRY(writer.add(kLevelIp, 8, information, sizeof information));
        }
        const i32 hops = received.hop_limit, traffic = received.traffic_class;
        if (endpoint.family == Family::inet) {
            if (options.is_on(kReceiveTtl)) TRY(writer.add(kLevelIp, 2, &hops, sizeof hops));
            if (options.is_on(kReceiveTos)) TRY(writer.add(kLevelIp, 1, &received.traffic_class, 1));
        }
        if (options.is_on(kReceivePacketInfo6) && endpoint.family == Family::inet6) {
            u8 information[20] = {};  // struct in6_pktinfo
            memcpy(information, to.address, 16);
            information[16] = 1;
            TRY(writer.add(kLevelIp6, 50, information, sizeof information));
        }
        if (endpoint.family == Family::inet6) {
            if (options.is_on(kReceiveHopLimit)) TRY(writer.add(kLevelIp6, 52, &hops, sizeof hops));
            if (options.is_on(kReceiveTrafficClass)) TRY(writer.add(kLevelIp6, 67, &traffic, sizeof traffic));
        }
    }
    writer.finish();
    return {};
}

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
    gate::Deadline until = gate::kForever;
    if (arguments[4] != 0) {
        TimeSpec time = TRY(read_user<TimeSpec>(arguments[4]));
        u64 nanoseconds = TRY(to_nanoseconds(time));
        until = monotonic_now() + nanoseconds;
    }
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
