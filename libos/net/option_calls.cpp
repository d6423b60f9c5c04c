// SPDX-License-Identifier: Apache-2.0
// getsockopt(2) and setsockopt(2).
#include <asm/socket.h>

#include "base/memory.hpp"
#include "libos/net/calls.hpp"
#include "libos/process/process.hpp"
#include "libos/time/timers.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u32 kTcpInfo = 11, kTcpCongestion = 13, kTcpUlp = 31, kIpOptions = 4, kIp6AddressForm = 1,
              kLevelNetlink = 270;
constexpr u32 kCapNetAdmin = 12;
constexpr char kCongestion[16] = "cubic";

Res<i64> write_option(Arguments arguments, const void* value, u32 size) {
    i32 room = TRY(read_user<i32>(arguments[4]));
    if (room < 0) return Failure{Errno::inval};
    if (static_cast<u32>(room) < size) size = static_cast<u32>(room);
    TRY(copy_out(arguments[3], value, size));
    TRY(write_user(arguments[4], static_cast<i32>(size)));
    return 0;
}
Res<i64> write_number(Arguments arguments, i32 value) { return write_option(arguments, &value, sizeof value); }

/// What a socket of this family answers to a level that is not its own.
bool knows_level(const Endpoint& endpoint, u32 level) {
    switch (level) {
        case kLevelSocket: return true;
        case kLevelTcp: return endpoint.is_tcp();
        case kLevelUdp: return endpoint.is_udp();
        case kLevelUdpLite: return endpoint.is_udp() && endpoint.protocol == u32{kLevelUdpLite};
        case kLevelIp: return endpoint.is_ip();
        case kLevelIp6: return endpoint.family == Family::inet6;
        case kLevelNetlink: return endpoint.family == Family::netlink;
        default: return false;
    }
}
Errno unknown(const Endpoint& endpoint, u32 level) {
    if (level == kLevelSocket) return Errno::noprotoopt;
    return endpoint.is_local() ? Errno::opnotsupp : Errno::noprotoopt;
}

Res<i64> get_tcp_info(Arguments arguments, Endpoint& endpoint) {
    struct Info {  // the beginning of struct tcp_info
        u8 state, congestion, retransmits, probes, backoff, options, scales, limited;
        u32 timeout, acknowledge_timeout, send_mss, receive_mss;
        u32 rest[52];
    } info = {};
    switch (endpoint.state) {
        case SocketState::fresh:
        case SocketState::closed: info.state = 7; break;
        case SocketState::listening: info.state = 10; break;
        case SocketState::connecting: info.state = 2; break;
        case SocketState::connected: {
            bool ended = (endpoint.shut_bits & kPeerEnded) != 0, ends = (endpoint.shut_bits & kShutSend) != 0;
            info.state = ended ? 8 : ends ? 5 : 1;
        }
    }
    info.send_mss = info.receive_mss = 32768;
    if (endpoint.state == SocketState::listening) {
        info.rest[0] = static_cast<u32>(endpoint.pending_count);  // tcpi_unacked: waiting to be accepted
        info.rest[1] = static_cast<u32>(endpoint.backlog);
    }
    return write_option(arguments, &info, sizeof info);
}

Res<i64> get_socket_option(Arguments arguments, Endpoint& endpoint, u32 name) {
    const SocketOptions& options = endpoint.options;
    switch (name) {
        case SO_TYPE: return write_number(arguments, static_cast<i32>(endpoint.type));
        case SO_DOMAIN: return write_number(arguments, static_cast<i32>(endpoint.family));
        case SO_PROTOCOL: return write_number(arguments, static_cast<i32>(endpoint.protocol));
        case SO_ERROR: return write_number(arguments, static_cast<i32>(endpoint.take_error()));
        case SO_ACCEPTCONN: return write_number(arguments, endpoint.state == SocketState::listening ? 1 : 0);
        case SO_SNDBUF: return write_number(arguments, static_cast<i32>(options.send_buffer));
        case SO_RCVBUF: return write_number(arguments, static_cast<i32>(options.receive_buffer));
        case SO_SNDLOWAT: return write_number(arguments, 1);
        case SO_INCOMING_CPU: return write_number(arguments, 0);
        case SO_BINDTODEVICE: return write_option(arguments, "lo", options.device != 0 ? 3 : 0);
        case SO_BINDTOIFINDEX: return write_number(arguments, options.device);
        case SO_COOKIE: return write_option(arguments, &endpoint.identity, sizeof endpoint.identity);
        case SO_LINGER: {
            const u32 linger[2] = {options.linger_on, options.linger_seconds};
            return write_option(arguments, linger, sizeof linger);
        }
        case SO_PEERCRED: {
            SocketCredentials peer = endpoint.peer_credentials;
            if (peer.pid == 0) peer.uid = peer.gid = ~0u;
            return write_option(arguments, &peer, sizeof peer);
        }
        case SO_RCVTIMEO_OLD:
        case SO_SNDTIMEO_OLD:
        case SO_RCVTIMEO_NEW:
        case SO_SNDTIMEO_NEW: {
            bool receives = name == SO_RCVTIMEO_OLD || name == SO_RCVTIMEO_NEW;
            TimeVal time = to_timeval(receives ? options.receive_timeout : options.send_timeout);
            return write_option(arguments, &time, sizeof time);
        }
        case SO_PEERNAME: return Failure{Errno::noprotoopt};
        default: return Failure{Errno::noprotoopt};
    }
}

Res<i64> set_timeout(Arguments arguments, SocketOptions& options, bool receives) {
    if (static_cast<u32>(arguments[4]) < sizeof(TimeVal)) return Failure{Errno::inval};
    TimeVal time = TRY(read_user<TimeVal>(arguments[3]));
    if (time.microseconds < 0 || time.microseconds >= 1'000'000) return Failure{Errno::dom};
    if (time.seconds < 0) time = {0, 1};  // at once, as Linux takes it
    u64 nanoseconds = TRY(to_nanoseconds(time));
    (receives ? options.receive_timeout : options.send_timeout) = nanoseconds;
    return 0;
}

/// As net/core/sock.c: doubled for overhead, between the least and net.core.wmem_max.
u32 buffer_size(i32 value, bool forced) {
    u32 size = static_cast<u32>(value);
    if (forced && value < 0) size = 0;
    if (!forced && size > 212992) size = 212992;
    if (size > 0x3fff'ffff) size = 0x3fff'ffff;
    return size < 2304 ? 4608 : size * 2;
}

Res<i64> set_device(Arguments arguments, Endpoint& endpoint) {
    char name[16] = {};
    u64 size = arguments[4] < sizeof name - 1 ? arguments[4] : sizeof name - 1;
    TRY(copy_in(name, arguments[3], size));
    bool lo = name[0] == 'l' && name[1] == 'o' && name[2] == 0;
    if (name[0] != 0 && !lo) return Failure{Errno::nodev};
    endpoint.options.device = lo ? 1 : 0;
    return 0;
}

Res<i64> set_socket_option(Thread& thread, Arguments arguments, Endpoint& endpoint, u32 name) {
    SocketOptions& options = endpoint.options;
    if (name == SO_BINDTODEVICE) return set_device(arguments, endpoint);
    if (static_cast<u32>(arguments[4]) < sizeof(i32)) return Failure{Errno::inval};
    i32 value = TRY(read_user<i32>(arguments[3]));
    switch (name) {
        case SO_RCVTIMEO_OLD:
        case SO_RCVTIMEO_NEW: return set_timeout(arguments, options, true);
        case SO_SNDTIMEO_OLD:
        case SO_SNDTIMEO_NEW: return set_timeout(arguments, options, false);
        case SO_SNDBUFFORCE:
        case SO_RCVBUFFORCE:
            if (!has_capability(thread, kCapNetAdmin)) return Failure{Errno::perm};
            [[fallthrough]];
        case SO_SNDBUF:
        case SO_RCVBUF: {
            bool sends = name == SO_SNDBUF || name == SO_SNDBUFFORCE;
            u32 size = buffer_size(value, name == SO_SNDBUFFORCE || name == SO_RCVBUFFORCE);
            if (!sends && size < 2304 * 2) size = 2304;
            (sends ? options.send_buffer : options.receive_buffer) = size;
            options.buffers_chosen = 1;
            endpoint.queue.wake(kOwnChange);
            return 0;
        }
        case SO_LINGER: {
            if (static_cast<u32>(arguments[4]) < 8) return Failure{Errno::inval};
            u64 pair = TRY(read_user<u64>(arguments[3]));
            options.linger_on = static_cast<u32>(pair) != 0 ? 1 : 0;
            if (options.linger_on != 0) options.linger_seconds = static_cast<u32>(pair >> 32);
            return 0;
        }
        case SO_BINDTOIFINDEX:
            if (value < 0 || value > 1) return Failure{value < 0 ? Errno::inval : Errno::nodev};
            options.device = value;
            return 0;
        case SO_TYPE:
        case SO_PROTOCOL:
        case SO_DOMAIN:
        case SO_ERROR: return Failure{Errno::noprotoopt};
        case SO_DETACH_FILTER: return Failure{Errno::noent};
        default: return Failure{Errno::noprotoopt};
    }
}

/// Multicast groups are joined and left as Linux does it, though nothing ever comes from one.
Res<i64> change_group(Arguments arguments, Endpoint& endpoint, u32 level, u32 name, bool& known) {
    constexpr u32 kJoin4 = 35, kLeave4 = 36, kJoin6 = 20, kLeave6 = 21, kJoinAny = 42, kLeaveAny = 45;
    const bool any = name == kJoinAny || name == kLeaveAny;
    const bool v4 = level == kLevelIp && (name == kJoin4 || name == kLeave4);
    known = any || v4 || (level == kLevelIp6 && (name == kJoin6 || name == kLeave6));
    if (!known) return 0;
    const u64 size = static_cast<u32>(arguments[4]);
    IpName group = any_name(level == kLevelIp ? Family::inet : Family::inet6);
    if (any) {  // struct group_req
        if (size < 136) return Failure{Errno::inval};
        SocketAddress address = TRY(read_address(arguments[3] + 8, SocketAddress::kCapacity));
        auto parsed = parse_ip(address, level == kLevelIp ? Family::inet : Family::inet6);
        if (!parsed.ok()) return Failure{level == kLevelIp ? Errno::inval : Errno::addrnotavail};
        group = parsed.value();
    } else if (v4) {  // struct ip_mreq and ip_mreqn
        if (size < 8) return Failure{Errno::inval};
        TRY(copy_in(group.address + 12, arguments[3], 4));
    } else {  // struct ipv6_mreq
        if (size < 20) return Failure{Errno::inval};
        TRY(copy_in(group.address, arguments[3], 16));
    }
    if (!group.is_multicast()) return Failure{Errno::inval};
    if (name == kJoinAny || name == kJoin4 || name == kJoin6)
        TRY(join_group(endpoint, group));
    else
        TRY(leave_group(endpoint, group));
    return 0;
}

/// IPV6_ADDRFORM: a socket whose conversation is IPv4's anyway becomes one of IPv4.
Res<i64> change_family(Arguments arguments, Endpoint& endpoint) {
    i32 family = TRY(read_user<i32>(arguments[3]));
    if (family != static_cast<i32>(Family::inet)) return Failure{Errno::inval};
    if (endpoint.state != SocketState::connected) return Failure{Errno::notconn};
    if (endpoint.options.is_on(kOnlyIp6) || !endpoint.remote_ip.is_v4()) return Failure{Errno::addrnotavail};
    endpoint.family = Family::inet;
    return 0;
}

/// What is neither a number nor of SOL_SOCKET.
Res<i64> set_special(Arguments arguments, Endpoint& endpoint, u32 level, u32 name) {
    // Extension headers of datagrams sent: they would arrive at sockets that did not ask for them.
    constexpr u32 kHopOptions = 54, kRouteOptions = 55, kRoute = 57, kDestinationOptions = 59, kPacketInfo6 = 50;
    if (level == kLevelIp || level == kLevelIp6) {
        bool known = false;
        i64 result = TRY(change_group(arguments, endpoint, level, name, known));
        if (known) return result;
    }
    if (level == kLevelIp6 && name == kIp6AddressForm) return change_family(arguments, endpoint);
    if (level == kLevelIp6 && (name == kHopOptions || name == kRouteOptions || name == kRoute ||
                               name == kDestinationOptions || name == kPacketInfo6))
        return 0;
    if (level == kLevelIp && name == kIpOptions && arguments[4] == 0) return 0;
    if (level == kLevelTcp && name == kTcpUlp) return Failure{Errno::noent};
    if (level == kLevelTcp && name == kTcpCongestion) {
        char wanted[16] = {};
        u64 size = arguments[4] < sizeof wanted - 1 ? arguments[4] : sizeof wanted - 1;
        if (size == 0) return Failure{Errno::inval};
        TRY(copy_in(wanted, arguments[3], size));
        bool known = strlen(wanted) == 5 && memcmp(wanted, kCongestion, 5) == 0;
        bool reno = strlen(wanted) == 4 && memcmp(wanted, "reno", 4) == 0;
        return known || reno ? Res<i64>{i64{0}} : Res<i64>{Failure{Errno::noent}};
    }
    return Failure{unknown(endpoint, level)};
}

}  // namespace

Res<i64> sys_getsockopt(Thread& thread, Arguments arguments) {
    HeldFile file;
    SocketFile* socket = TRY(hold_socket(thread, file, arguments[0]));
    Endpoint& endpoint = socket->endpoint();
    const u32 level = static_cast<u32>(arguments[1]), name = static_cast<u32>(arguments[2]);
    // Linux's IPv4 answers an unknown level in its own way.
    if (!knows_level(endpoint, level))
        return Failure{endpoint.family == Family::inet ? Errno::opnotsupp : unknown(endpoint, level)};
    i32 room = TRY(read_user<i32>(arguments[4]));
    if (room < 0) return Failure{Errno::inval};
    const u32 index = find_option(level, name);
    if (index != kOptionCount) {
        i32 value = endpoint.options.values[index];
        if ((level == kLevelIp || level == kLevelIp6) && room > 0 && room < 4 && value >= 0 && value <= 255) {
            u8 byte = static_cast<u8>(value);
            return write_option(arguments, &byte, 1);
        }
        return write_number(arguments, value);
    }
    if (level == kLevelSocket) return get_socket_option(arguments, endpoint, name);
    if (level == kLevelTcp && name == kTcpInfo) return get_tcp_info(arguments, endpoint);
    if (level == kLevelTcp && name == kTcpCongestion) return write_option(arguments, kCongestion, sizeof kCongestion);
    if (level == kLevelIp && name == kIpOptions) return write_option(arguments, "", 0);
    if (level == kLevelIp6 && name == kIp6AddressForm) return write_number(arguments, 10);
    return Failure{unknown(endpoint, level)};
}

Res<i64> sys_setsockopt(Thread& thread, Arguments arguments) {
    HeldFile file;
    SocketFile* socket = TRY(hold_socket(thread, file, arguments[0]));
    Endpoint& endpoint = socket->endpoint();
    const u32 level = static_cast<u32>(arguments[1]), name = static_cast<u32>(arguments[2]);
    const i32 size = static_cast<i32>(arguments[4]);
    if (size < 0) return Failure{Errno::inval};
    if (level == kLevelNetlink && endpoint.family == Family::netlink) return 0;
    if (!knows_level(endpoint, level)) return Failure{unknown(endpoint, level)};
    const u32 index = find_option(level, name);
    if (index == kOptionCount) {
        if (level == kLevelSocket) return set_socket_option(thread, arguments, endpoint, name);
        return set_special(arguments, endpoint, level, name);
    }
    const OptionRow& row = kOptionRows[index];
    if (row.read_only) return Failure{Errno::noprotoopt};
    i32 value;
    if (size >= 4) {
        value = TRY(read_user<i32>(arguments[3]));
    } else if (size >= 1 && level == kLevelIp) {
        value = TRY(read_user<u8>(arguments[3]));
    } else {
        return Failure{Errno::inval};
    }
    if (row.least == 0 && row.most == 0)
        value = value != 0 ? 1 : 0;
    else if (value < row.least || value > row.most)
        return Failure{Errno::inval};
    // Minus one stands for what the system does by itself.
    if (row.least == -1 && value == -1) value = row.initial;
    if (index == kOnlyIp6 && endpoint.named != 0) return Failure{Errno::inval};
    if (index == kPassCredentials && !endpoint.is_local() && endpoint.family != Family::netlink)
        return Failure{Errno::opnotsupp};
    endpoint.options.values[index] = value;
    return 0;
}

}  // namespace postern::libos
