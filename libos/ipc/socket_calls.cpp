// SPDX-License-Identifier: Apache-2.0
// Socket calls. Networks and named Unix sockets are not there: socket(2) says so before anything else can go wrong.
#include <asm/socket.h>
#include <linux/fcntl.h>

#include "base/memory.hpp"
#include "libos/ipc/anonymous.hpp"
#include "libos/ipc/calls.hpp"
#include "libos/ipc/socket.hpp"
#include "libos/ipc/socket_flags.hpp"
#include "libos/process/process.hpp"
#include "libos/time/timers.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u32 kMostVectors = 1024;  // UIO_MAXIOV
constexpr u64 kMostControl = 16384;
constexpr u64 kMostBytes = 0x7fff'f000;

u32 open_flags(u32 type) {
    return ((type & kSocketNonBlocking) != 0 ? O_NONBLOCK : 0) | ((type & kSocketCloseOnExec) != 0 ? O_CLOEXEC : 0);
}

/// EBADF, then ENOTSOCK: what every call on a socket checks first.
Res<SocketOptions*> hold_socket(Thread& thread, HeldFile& file, u64 fd) {
    TRY(file.hold(thread, static_cast<u32>(fd)));
    return socket_options(*file.get());
}

Res<void> write_unnamed_address(u64 address, u64 length_address) {
    if (address == 0) return {};
    i32 room = TRY(read_user<i32>(length_address));
    if (room < 0) return Failure{Errno::inval};
    const u16 family = kFamilyUnix;
    TRY(copy_out(address, &family, room < 2 ? static_cast<usize>(room) : 2));
    return write_user(length_address, i32{2});
}

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

Res<void> read_control(Thread& thread, const UserMessage& message, PassedFiles& files) {
    if (message.control == 0 || message.control_length == 0) return {};
    if (message.control_length > kMostControl) return Failure{Errno::nobufs};
    for (u64 at = 0; at + sizeof(ControlHeader) <= message.control_length;) {
        auto header = TRY(read_user<ControlHeader>(message.control + at));
        if (header.length < sizeof header || header.length > message.control_length - at) return Failure{Errno::inval};
        if (header.level == kLevelSocket && header.type == kControlRights) {
            u64 count = (header.length - sizeof header) / sizeof(i32);
            if (count > kMostPassedFiles - files.count) return Failure{Errno::inval};
            for (u64 index = 0; index < count; ++index) {
                i32 fd = TRY(read_user<i32>(message.control + at + sizeof header + index * sizeof(i32)));
                FileRef file = TRY(thread.process->files->get(static_cast<u32>(fd)));
                files.files[files.count++] = file.leak();
            }
        } else if (header.level == kLevelSocket && header.type == kControlCredentials) {
            auto claimed = TRY(read_user<SocketCredentials>(message.control + at + sizeof header));
            const Credentials& own = thread.process->credentials;
            if (own.euid != 0 && (claimed.pid != thread.process->pid ||
                                  (claimed.uid != own.uid && claimed.uid != own.euid && claimed.uid != own.suid)))
                return Failure{Errno::perm};
        } else if (header.level == kLevelSocket) {
            return Failure{Errno::inval};
        }
        at += align_up(header.length, 8);
    }
    return {};
}

/// Installs received descriptors and writes the control messages; what does not fit is cut off and dropped.
Res<void> write_control(Thread& thread, UserMessage& message, const SocketOptions& options, const Received& received,
                        PassedFiles& files, u32 flags) {
    u64 at = 0;
    const u64 room = message.control == 0 ? 0 : message.control_length;
    if (options.pass_credentials != 0 && received.has_credentials) {
        const u64 size = sizeof(ControlHeader) + sizeof(SocketCredentials);
        if (room < size) {
            message.flags |= kMessageControlCut;
        } else {
            TRY(write_user(message.control, ControlHeader{size, kLevelSocket, kControlCredentials}));
            TRY(write_user(message.control + sizeof(ControlHeader), received.credentials));
            at = align_up(size, 8);
        }
    }
    if (files.count != 0) {
        u32 fits = 0;
        if (room > at + sizeof(ControlHeader)) fits = static_cast<u32>((room - at - sizeof(ControlHeader)) / 4);
        if (fits < files.count) message.flags |= kMessageControlCut;
        if (fits > files.count) fits = files.count;
        u32 done = 0;
        for (; done < fits; ++done) {
            files.files[done]->reference();
            auto fd = thread.process->files->install(FileRef{files.files[done]}, (flags & kMessageCloseOnExec) != 0);
            if (!fd.ok()) {
                message.flags |= kMessageControlCut;
                break;
            }
            TRY(write_user(message.control + at + sizeof(ControlHeader) + done * 4, static_cast<i32>(fd.value())));
        }
        if (done != 0) {
            const u64 size = sizeof(ControlHeader) + u64{done} * 4;
            TRY(write_user(message.control + at, ControlHeader{size, kLevelSocket, kControlRights}));
            at = align_up(size, 8) < room - at ? at + align_up(size, 8) : room;
        }
    }
    message.control_length = at < room ? at : room;
    return {};
}

Res<i64> send_message_call(Thread& thread, File& file, u64 user, u32 flags) {
    auto message = TRY(read_user<UserMessage>(user));
    if ((flags & kMessageOutOfBand) != 0) return Failure{Errno::opnotsupp};
    Vectors vectors;
    TRY(vectors.read(message.vectors, message.vector_count));
    if (message.name != 0 && message.name_length != 0) return Failure{Errno::isconn};
    PassedFiles files;
    TRY(read_control(thread, message, files));
    UserBuffers buffers{vectors.list, vectors.count};
    u64 sent = TRY(socket_send(thread, file, buffers, flags, &files));
    return static_cast<i64>(sent);
}

Res<i64> receive_message_call(Thread& thread, File& file, const SocketOptions& options, u64 user, u32 flags) {
    auto message = TRY(read_user<UserMessage>(user));
    if ((flags & kMessageOutOfBand) != 0) return Failure{Errno::opnotsupp};
    Vectors vectors;
    TRY(vectors.read(message.vectors, message.vector_count));
    PassedFiles files;
    UserBuffers buffers{vectors.list, vectors.count};
    auto received = TRY(socket_receive(thread, file, buffers, flags, &files));
    message.flags = 0;
    if (received.cut) message.flags |= kMessageCut;
    if (options.type == SocketType::packet && received.has_credentials) message.flags |= kMessageEndOfRecord;
    TRY(write_control(thread, message, options, received, files, flags));
    if (message.name != 0) message.name_length = 0;
    TRY(write_user(user + offsetof(UserMessage, name_length), message.name_length));
    TRY(write_user(user + offsetof(UserMessage, control_length), message.control_length));
    TRY(write_user(user + offsetof(UserMessage, flags), message.flags));
    bool whole = (flags & kMessageCut) != 0 && options.type != SocketType::stream;
    return static_cast<i64>(whole ? received.message_size : received.bytes);
}

}  // namespace

Res<i64> sys_socket(Thread&, Arguments) { return Failure{Errno::afnosupport}; }

Res<i64> sys_socketpair(Thread& thread, Arguments arguments) {
    u32 type = static_cast<u32>(arguments[1]);
    if ((type & ~(kSocketTypeMask | kSocketNonBlocking | kSocketCloseOnExec)) != 0) return Failure{Errno::inval};
    if (arguments[0] != kFamilyUnix) {
        // Families that exist but do not know pairs answer EOPNOTSUPP; here none exists.
        return Failure{Errno::afnosupport};
    }
    if (arguments[2] != 0 && arguments[2] != kFamilyUnix) return Failure{Errno::protonosupport};
    SocketType kind;
    switch (type & kSocketTypeMask) {
        case 1: kind = SocketType::stream; break;
        case 2:
        case 3: kind = SocketType::datagram; break;  // SOCK_RAW becomes SOCK_DGRAM, as in Linux
        case 5: kind = SocketType::packet; break;
        default: return Failure{Errno::socktnosupport};
    }
    FileRef first, second;
    u32 flags = open_flags(type);
    TRY(make_socket_pair(thread, kind, flags, first, second));
    FdTable& table = *thread.process->files;
    u32 fds[2];
    fds[0] = TRY(table.install(std::move(first), (flags & O_CLOEXEC) != 0));
    auto other = table.install(std::move(second), (flags & O_CLOEXEC) != 0);
    if (!other.ok()) {
        (void)table.close(fds[0]);
        return Failure{other.error()};
    }
    fds[1] = other.value();
    auto copied = copy_out(arguments[3], fds, sizeof fds);
    if (!copied.ok()) {
        (void)table.close(fds[0]);
        (void)table.close(fds[1]);
        return Failure{copied.error()};
    }
    return 0;
}

Res<i64> sys_connect(Thread& thread, Arguments arguments) {
    HeldFile file;
    TRY(hold_socket(thread, file, arguments[0]));
    return Failure{Errno::isconn};
}
Res<i64> sys_accept(Thread& thread, Arguments arguments) {
    HeldFile file;
    auto* options = TRY(hold_socket(thread, file, arguments[0]));
    return Failure{options->type == SocketType::datagram ? Errno::opnotsupp : Errno::inval};
}
Res<i64> sys_bind(Thread& thread, Arguments arguments) {
    HeldFile file;
    TRY(hold_socket(thread, file, arguments[0]));
    return Failure{Errno::inval};
}
Res<i64> sys_listen(Thread& thread, Arguments arguments) {
    HeldFile file;
    auto* options = TRY(hold_socket(thread, file, arguments[0]));
    return Failure{options->type == SocketType::datagram ? Errno::opnotsupp : Errno::inval};
}
Res<i64> sys_getsockname(Thread& thread, Arguments arguments) {
    HeldFile file;
    TRY(hold_socket(thread, file, arguments[0]));
    TRY(write_unnamed_address(arguments[1], arguments[2]));
    return 0;
}
Res<i64> sys_getpeername(Thread& thread, Arguments arguments) { return sys_getsockname(thread, arguments); }

Res<i64> sys_shutdown(Thread& thread, Arguments arguments) {
    HeldFile file;
    TRY(hold_socket(thread, file, arguments[0]));
    TRY(socket_shutdown(*file.get(), static_cast<u32>(arguments[1])));
    return 0;
}

Res<i64> sys_sendto(Thread& thread, Arguments arguments) {
    HeldFile file;
    TRY(hold_socket(thread, file, arguments[0]));
    u32 flags = static_cast<u32>(arguments[3]);
    if ((flags & kMessageOutOfBand) != 0) return Failure{Errno::opnotsupp};
    if (arguments[4] != 0 && static_cast<u32>(arguments[5]) != 0) return Failure{Errno::isconn};
    UserVector vector{arguments[1], arguments[2] < kMostBytes ? arguments[2] : kMostBytes};
    UserBuffers buffers{&vector, 1};
    u64 sent = TRY(socket_send(thread, *file.get(), buffers, flags, nullptr));
    return static_cast<i64>(sent);
}

Res<i64> sys_recvfrom(Thread& thread, Arguments arguments) {
    HeldFile file;
    auto* options = TRY(hold_socket(thread, file, arguments[0]));
    u32 flags = static_cast<u32>(arguments[3]);
    if ((flags & kMessageOutOfBand) != 0) return Failure{Errno::opnotsupp};
    UserVector vector{arguments[1], arguments[2] < kMostBytes ? arguments[2] : kMostBytes};
    UserBuffers buffers{&vector, 1};
    auto received = TRY(socket_receive(thread, *file.get(), buffers, flags, nullptr));
    if (arguments[4] != 0) TRY(write_user(arguments[5], i32{0}));
    bool whole = (flags & kMessageCut) != 0 && options->type != SocketType::stream;
    return static_cast<i64>(whole ? received.message_size : received.bytes);
}

Res<i64> sys_sendmsg(Thread& thread, Arguments arguments) {
    HeldFile file;
    TRY(hold_socket(thread, file, arguments[0]));
    return send_message_call(thread, *file.get(), arguments[1], static_cast<u32>(arguments[2]));
}

Res<i64> sys_recvmsg(Thread& thread, Arguments arguments) {
    HeldFile file;
    auto* options = TRY(hold_socket(thread, file, arguments[0]));
    return receive_message_call(thread, *file.get(), *options, arguments[1], static_cast<u32>(arguments[2]));
}

namespace {
constexpr u64 kManyHeader = 64;  // struct mmsghdr: the message and a length
constexpr u64 kManyLength = 56;
}  // namespace

Res<i64> sys_sendmmsg(Thread& thread, Arguments arguments) {
    HeldFile file;
    TRY(hold_socket(thread, file, arguments[0]));
    u32 count = static_cast<u32>(arguments[2]);
    if (count > kMostVectors) count = kMostVectors;
    u32 done = 0;
    for (; done < count; ++done) {
        u64 at = arguments[1] + done * kManyHeader;
        auto sent = send_message_call(thread, *file.get(), at, static_cast<u32>(arguments[3]));
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
    auto* options = TRY(hold_socket(thread, file, arguments[0]));
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
        auto received = receive_message_call(thread, *file.get(), *options, at, now);
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

namespace {

Res<void> write_option(u64 value_address, u64 length_address, const void* value, u32 size) {
    i32 room = TRY(read_user<i32>(length_address));
    if (room < 0) return Failure{Errno::inval};
    if (static_cast<u32>(room) < size) size = static_cast<u32>(room);
    TRY(copy_out(value_address, value, size));
    return write_user(length_address, static_cast<i32>(size));
}

}  // namespace

Res<i64> sys_getsockopt(Thread& thread, Arguments arguments) {
    HeldFile file;
    auto* options = TRY(hold_socket(thread, file, arguments[0]));
    if (static_cast<u32>(arguments[1]) != kLevelSocket) return Failure{Errno::opnotsupp};
    i32 value = 0;
    switch (static_cast<u32>(arguments[2])) {
        case SO_TYPE: value = static_cast<i32>(options->type); break;
        case SO_DOMAIN: value = kFamilyUnix; break;
        case SO_ERROR:
        case SO_PROTOCOL:
        case SO_ACCEPTCONN:
        case SO_OOBINLINE:
        case SO_PRIORITY: break;
        case SO_REUSEADDR: value = static_cast<i32>(options->reuse_address); break;
        case SO_KEEPALIVE: value = static_cast<i32>(options->keep_alive); break;
        case SO_BROADCAST: value = static_cast<i32>(options->broadcast); break;
        case SO_PASSCRED: value = static_cast<i32>(options->pass_credentials); break;
        case SO_SNDBUF: value = static_cast<i32>(options->send_buffer); break;
        case SO_RCVBUF: value = static_cast<i32>(options->receive_buffer); break;
        case SO_LINGER: {
            const u32 linger[2] = {};
            TRY(write_option(arguments[3], arguments[4], linger, sizeof linger));
            return 0;
        }
        case SO_PEERCRED: TRY(write_option(arguments[3], arguments[4], &options->peer, sizeof options->peer)); return 0;
        case SO_RCVTIMEO_OLD:
        case SO_SNDTIMEO_OLD: {
            u64 time =
                static_cast<u32>(arguments[2]) == SO_RCVTIMEO_OLD ? options->receive_timeout : options->send_timeout;
            TimeVal timeval = to_timeval(time);
            TRY(write_option(arguments[3], arguments[4], &timeval, sizeof timeval));
            return 0;
        }
        default: return Failure{Errno::noprotoopt};
    }
    TRY(write_option(arguments[3], arguments[4], &value, sizeof value));
    return 0;
}

Res<i64> sys_setsockopt(Thread& thread, Arguments arguments) {
    HeldFile file;
    auto* options = TRY(hold_socket(thread, file, arguments[0]));
    if (static_cast<u32>(arguments[1]) != kLevelSocket) return Failure{Errno::opnotsupp};
    u32 name = static_cast<u32>(arguments[2]), size = static_cast<u32>(arguments[4]);
    if (name == SO_RCVTIMEO_OLD || name == SO_SNDTIMEO_OLD) {
        if (size < sizeof(TimeVal)) return Failure{Errno::inval};
        TimeVal time = TRY(read_user<TimeVal>(arguments[3]));
        if (time.microseconds < 0 || time.microseconds >= 1'000'000) return Failure{Errno::dom};
        if (time.seconds < 0) time = {};
        u64 nanoseconds = TRY(to_nanoseconds(time));
        (name == SO_RCVTIMEO_OLD ? options->receive_timeout : options->send_timeout) = nanoseconds;
        return 0;
    }
    if (size < sizeof(i32)) return Failure{Errno::inval};
    i32 value = TRY(read_user<i32>(arguments[3]));
    u32 on = value != 0 ? 1 : 0;
    // As net/core/sock.c: doubled for overhead, between the least and net.core.wmem_max.
    u32 buffer = value < 0 || value > 212992 ? 425984 : value < 2304 ? 4608 : static_cast<u32>(value) * 2;
    switch (name) {
        case SO_REUSEADDR: options->reuse_address = on; break;
        case SO_KEEPALIVE: options->keep_alive = on; break;
        case SO_BROADCAST: options->broadcast = on; break;
        case SO_PASSCRED: options->pass_credentials = on; break;
        case SO_SNDBUF: options->send_buffer = buffer; break;
        case SO_RCVBUF: options->receive_buffer = buffer; break;
        case SO_LINGER:
        case SO_PRIORITY:
        case SO_OOBINLINE: break;
        default: return Failure{Errno::noprotoopt};
    }
    return 0;
}

}  // namespace postern::libos
