// SPDX-License-Identifier: Apache-2.0
// Calls that make sockets, name and connect them.
#include "libos/net/calls.hpp"

#include <linux/fcntl.h>

#include "libos/net/numbers.hpp"
#include "libos/process/process.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u32 kFlags = kSocketNonBlocking | kSocketCloseOnExec;

u32 open_flags(u32 type) {
    return ((type & kSocketNonBlocking) != 0 ? O_NONBLOCK : 0) | ((type & kSocketCloseOnExec) != 0 ? O_CLOEXEC : 0);
}

Res<i64> accept_on(Thread& thread, Arguments arguments, u32 flags) {
    if ((flags & ~kFlags) != 0) return Failure{Errno::inval};
    HeldFile file;
    SocketFile* socket = TRY(hold_socket(thread, file, arguments[0]));
    if (arguments[1] != 0 && socket->endpoint().state == SocketState::listening) {
        i32 room = TRY(read_user<i32>(arguments[2]));
        if (room < 0) return Failure{Errno::inval};
    }
    SocketAddress peer;
    FileRef accepted = TRY(socket->accept(thread, open_flags(flags), peer));
    TRY(write_address(peer, arguments[1], arguments[2]));
    // Without a descriptor for it the connection goes on waiting: it outlives its file then.
    auto& fresh = static_cast<SocketFile&>(*accepted);
    Endpoint& endpoint = fresh.endpoint();
    fresh.lend(true);
    fresh.reference();
    auto fd = thread.process->files->install(std::move(accepted), (flags & kSocketCloseOnExec) != 0);
    if (fd.ok())
        fresh.lend(false);
    else
        socket->take_back(endpoint);
    fresh.release();
    if (!fd.ok()) return Failure{fd.error()};
    return static_cast<i64>(fd.value());
}

}  // namespace

Res<i64> sys_socket(Thread& thread, Arguments arguments) {
    u32 type = static_cast<u32>(arguments[1]);
    if ((type & ~(kSocketTypeMask | kFlags)) != 0) return Failure{Errno::inval};
    FileRef file = TRY(make_socket(thread, static_cast<u32>(arguments[0]), type & kSocketTypeMask,
                                   static_cast<u32>(arguments[2]), open_flags(type)));
    u32 fd = TRY(thread.process->files->install(std::move(file), (type & kSocketCloseOnExec) != 0));
    return static_cast<i64>(fd);
}

Res<i64> sys_socketpair(Thread& thread, Arguments arguments) {
    u32 type = static_cast<u32>(arguments[1]), family = static_cast<u32>(arguments[0]);
    if ((type & ~(kSocketTypeMask | kFlags)) != 0) return Failure{Errno::inval};
    if (family != static_cast<u32>(Family::local)) {
        FileRef tried = TRY(make_socket(thread, family, type & kSocketTypeMask, static_cast<u32>(arguments[2]), 0));
        return Failure{Errno::opnotsupp};  // the family exists but knows no pairs
    }
    if (arguments[2] != 0 && arguments[2] != family) return Failure{Errno::protonosupport};
    SocketType kind;
    switch (type & kSocketTypeMask) {
        case 1: kind = SocketType::stream; break;
        case 2:
        case 3: kind = SocketType::datagram; break;  // SOCK_RAW becomes SOCK_DGRAM, as in Linux
        case 5: kind = SocketType::packet; break;
        default: return Failure{(type & kSocketTypeMask) >= 11 ? Errno::inval : Errno::socktnosupport};
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
    SocketFile* socket = TRY(hold_socket(thread, file, arguments[0]));
    SocketAddress address = TRY(read_address(arguments[1], arguments[2]));
    TRY(socket->connect(thread, address));
    return 0;
}
Res<i64> sys_accept(Thread& thread, Arguments arguments) { return accept_on(thread, arguments, 0); }
Res<i64> sys_accept4(Thread& thread, Arguments arguments) {
    return accept_on(thread, arguments, static_cast<u32>(arguments[3]));
}
Res<i64> sys_bind(Thread& thread, Arguments arguments) {
    HeldFile file;
    SocketFile* socket = TRY(hold_socket(thread, file, arguments[0]));
    SocketAddress address = TRY(read_address(arguments[1], arguments[2]));
    TRY(socket->bind(thread, address));
    return 0;
}
Res<i64> sys_listen(Thread& thread, Arguments arguments) {
    HeldFile file;
    SocketFile* socket = TRY(hold_socket(thread, file, arguments[0]));
    TRY(socket->listen(thread, static_cast<u32>(arguments[1])));
    return 0;
}
Res<i64> sys_getsockname(Thread& thread, Arguments arguments) {
    HeldFile file;
    SocketFile* socket = TRY(hold_socket(thread, file, arguments[0]));
    if (arguments[1] == 0) return Failure{Errno::fault};
    TRY(write_address(socket->name(), arguments[1], arguments[2]));
    return 0;
}
Res<i64> sys_getpeername(Thread& thread, Arguments arguments) {
    HeldFile file;
    SocketFile* socket = TRY(hold_socket(thread, file, arguments[0]));
    SocketAddress address = TRY(socket->peer_name());
    if (arguments[1] == 0) return Failure{Errno::fault};
    TRY(write_address(address, arguments[1], arguments[2]));
    return 0;
}
Res<i64> sys_shutdown(Thread& thread, Arguments arguments) {
    HeldFile file;
    SocketFile* socket = TRY(hold_socket(thread, file, arguments[0]));
    TRY(socket->shutdown(static_cast<u32>(arguments[1])));
    return 0;
}

}  // namespace postern::libos
