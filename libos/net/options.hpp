// SPDX-License-Identifier: Apache-2.0
// Socket options that are a number (socket(7), tcp(7), ip(7), ipv6(7)): kept per socket, with the bounds that Linux
// checks. What has a form of its own (timeouts, lingering, credentials, TCP_INFO) is in option_calls.cpp.
#pragma once

#include "libos/errno.hpp"

namespace postern::libos {

enum OptionLevel : u32 {
    kLevelIp = 0,
    kLevelSocket = 1,
    kLevelTcp = 6,
    kLevelUdp = 17,
    kLevelIp6 = 41,
    kLevelUdpLite = 136
};

struct OptionRow {
    u32 level, name;
    i32 initial;
    i32 least, most;  ///< both 0: a switch, any value but 0 is 1
    bool read_only = false;
};

inline constexpr i32 kAnyValue = 0x7fff'ffff;

/// Numbers of include/uapi: asm-generic/socket.h, linux/tcp.h, linux/in.h, linux/in6.h.
inline constexpr OptionRow kOptionRows[] = {
    {kLevelSocket, 1, 0, 0, 0},                    // SO_DEBUG
    {kLevelSocket, 2, 0, 0, 0},                    // SO_REUSEADDR
    {kLevelSocket, 5, 0, 0, 0},                    // SO_DONTROUTE
    {kLevelSocket, 6, 0, 0, 0},                    // SO_BROADCAST
    {kLevelSocket, 9, 0, 0, 0},                    // SO_KEEPALIVE
    {kLevelSocket, 10, 0, 0, 0},                   // SO_OOBINLINE
    {kLevelSocket, 11, 0, 0, 0},                   // SO_NO_CHECK
    {kLevelSocket, 12, 0, 0, kAnyValue},           // SO_PRIORITY
    {kLevelSocket, 14, 0, 0, 0},                   // SO_BSDCOMPAT
    {kLevelSocket, 15, 0, 0, 0},                   // SO_REUSEPORT
    {kLevelSocket, 16, 0, 0, 0},                   // SO_PASSCRED
    {kLevelSocket, 18, 1, 0, kAnyValue},           // SO_RCVLOWAT
    {kLevelSocket, 29, 0, 0, 0},                   // SO_TIMESTAMP
    {kLevelSocket, 34, 0, 0, 0},                   // SO_PASSSEC
    {kLevelSocket, 35, 0, 0, 0},                   // SO_TIMESTAMPNS
    {kLevelSocket, 36, 0, -kAnyValue, kAnyValue},  // SO_MARK
    {kLevelSocket, 40, 0, 0, 0},                   // SO_RXQ_OVFL
    {kLevelSocket, 41, 0, 0, 0},                   // SO_WIFI_STATUS
    {kLevelSocket, 43, 0, 0, 0},                   // SO_NOFCS
    {kLevelSocket, 45, 0, 0, 0},                   // SO_SELECT_ERR_QUEUE
    {kLevelSocket, 46, 0, 0, kAnyValue},           // SO_BUSY_POLL
    {kLevelSocket, 60, 0, 0, 0},                   // SO_ZEROCOPY
    {kLevelTcp, 1, 0, 0, 0},                       // TCP_NODELAY
    {kLevelTcp, 2, 536, 88, 32767},                // TCP_MAXSEG
    {kLevelTcp, 3, 0, 0, 0},                       // TCP_CORK
    {kLevelTcp, 4, 7200, 1, 32767},                // TCP_KEEPIDLE
    {kLevelTcp, 5, 75, 1, 32767},                  // TCP_KEEPINTVL
    {kLevelTcp, 6, 9, 1, 127},                     // TCP_KEEPCNT
    {kLevelTcp, 7, 6, 1, 127},                     // TCP_SYNCNT
    {kLevelTcp, 8, 60, -1, 60},                    // TCP_LINGER2
    {kLevelTcp, 9, 0, 0, kAnyValue},               // TCP_DEFER_ACCEPT
    {kLevelTcp, 10, 65536, 0, kAnyValue},          // TCP_WINDOW_CLAMP
    {kLevelTcp, 12, 1, 0, 0},                      // TCP_QUICKACK
    {kLevelTcp, 16, 0, 0, 0},                      // TCP_THIN_LINEAR_TIMEOUTS
    {kLevelTcp, 18, 0, 0, kAnyValue},              // TCP_USER_TIMEOUT
    {kLevelTcp, 23, 0, 0, kAnyValue},              // TCP_FASTOPEN
    {kLevelTcp, 24, 0, 0, kAnyValue},              // TCP_TIMESTAMP
    {kLevelTcp, 25, -1, -1, kAnyValue},            // TCP_NOTSENT_LOWAT
    {kLevelTcp, 30, 0, 0, 0},                      // TCP_FASTOPEN_CONNECT
    {kLevelTcp, 36, 0, 0, 0},                      // TCP_INQ
    {kLevelUdp, 1, 0, 0, 0},                       // UDP_CORK
    {kLevelUdp, 101, 0, 0, 0},                     // UDP_NO_CHECK6_TX
    {kLevelUdp, 102, 0, 0, 0},                     // UDP_NO_CHECK6_RX
    {kLevelUdpLite, 10, 0, 0, 65535},              // UDPLITE_SEND_CSCOV
    {kLevelUdpLite, 11, 0, 0, 65535},              // UDPLITE_RECV_CSCOV
    {kLevelIp, 1, 0, 0, 255},                      // IP_TOS
    {kLevelIp, 2, 64, -1, 255},                    // IP_TTL
    {kLevelIp, 6, 0, 0, 0},                        // IP_RECVOPTS
    {kLevelIp, 7, 0, 0, 0},                        // IP_RETOPTS
    {kLevelIp, 8, 0, 0, 0},                        // IP_PKTINFO
    {kLevelIp, 10, 1, 0, 5},                       // IP_MTU_DISCOVER
    {kLevelIp, 11, 0, 0, 0},                       // IP_RECVERR
    {kLevelIp, 12, 0, 0, 0},                       // IP_RECVTTL
    {kLevelIp, 13, 0, 0, 0},                       // IP_RECVTOS
    {kLevelIp, 14, 65536, 0, 0, true},             // IP_MTU
    {kLevelIp, 15, 0, 0, 0},                       // IP_FREEBIND
    {kLevelIp, 20, 0, 0, 0},                       // IP_RECVORIGDSTADDR
    {kLevelIp, 21, 0, 0, 255},                     // IP_MINTTL
    {kLevelIp, 24, 0, 0, 0},                       // IP_BIND_ADDRESS_NO_PORT
    {kLevelIp, 32, 0, -kAnyValue, kAnyValue},      // IP_MULTICAST_IF
    {kLevelIp, 33, 1, -1, 255},                    // IP_MULTICAST_TTL
    {kLevelIp, 34, 1, 0, 0},                       // IP_MULTICAST_LOOP
    {kLevelIp, 49, 1, 0, 0},                       // IP_MULTICAST_ALL
    {kLevelIp6, 16, 64, -1, 255},                  // IPV6_UNICAST_HOPS
    {kLevelIp6, 17, 0, 0, kAnyValue},              // IPV6_MULTICAST_IF
    {kLevelIp6, 18, 1, -1, 255},                   // IPV6_MULTICAST_HOPS
    {kLevelIp6, 19, 1, 0, 0},                      // IPV6_MULTICAST_LOOP
    {kLevelIp6, 23, 1, 0, 5},                      // IPV6_MTU_DISCOVER
    {kLevelIp6, 24, 65536, 1280, 65536},           // IPV6_MTU
    {kLevelIp6, 25, 0, 0, 0},                      // IPV6_RECVERR
    {kLevelIp6, 26, 0, 0, 0},                      // IPV6_V6ONLY
    {kLevelIp6, 49, 0, 0, 0},                      // IPV6_RECVPKTINFO
    {kLevelIp6, 51, 0, 0, 0},                      // IPV6_RECVHOPLIMIT
    {kLevelIp6, 62, 0, 0, 0},                      // IPV6_DONTFRAG
    {kLevelIp6, 66, 0, 0, 0},                      // IPV6_RECVTCLASS
    {kLevelIp6, 67, 0, -1, 255},                   // IPV6_TCLASS
    {kLevelIp6, 70, 1, 0, 0},                      // IPV6_AUTOFLOWLABEL
    {kLevelIp6, 78, 0, 0, 0},                      // IPV6_FREEBIND
};
inline constexpr u32 kOptionCount = sizeof kOptionRows / sizeof *kOptionRows;

/// Index of a row, or kOptionCount.
constexpr u32 find_option(u32 level, u32 name) {
    u32 index = 0;
    while (index < kOptionCount && (kOptionRows[index].level != level || kOptionRows[index].name != name)) ++index;
    return index;
}

inline constexpr u32 kReuseAddress = find_option(kLevelSocket, 2), kBroadcast = find_option(kLevelSocket, 6),
                     kReusePort = find_option(kLevelSocket, 15), kPassCredentials = find_option(kLevelSocket, 16),
                     kTimeStamps = find_option(kLevelSocket, 29), kOutOfBandInline = find_option(kLevelSocket, 10),
                     kReceiveAtLeast = find_option(kLevelSocket, 18), kOnlyIp6 = find_option(kLevelIp6, 26),
                     kPacketInfo = find_option(kLevelIp, 8), kReceivePacketInfo6 = find_option(kLevelIp6, 49),
                     kReceiveError = find_option(kLevelIp, 11), kReceiveError6 = find_option(kLevelIp6, 25),
                     kReceiveTtl = find_option(kLevelIp, 12), kReceiveTos = find_option(kLevelIp, 13),
                     kTypeOfService = find_option(kLevelIp, 1), kTimeToLive = find_option(kLevelIp, 2),
                     kUdpCork = find_option(kLevelUdp, 1), kHopLimit = find_option(kLevelIp6, 16),
                     kTrafficClass = find_option(kLevelIp6, 67), kReceiveHopLimit = find_option(kLevelIp6, 51),
                     kReceiveTrafficClass = find_option(kLevelIp6, 66);
static_assert(kTimeToLive < kOptionCount && kOnlyIp6 < kOptionCount);

struct SocketOptions {
    i32 values[kOptionCount];
    u32 send_buffer, receive_buffer;
    u32 linger_on = 0, linger_seconds = 0;
    u32 buffers_chosen = 0;                     ///< SO_SNDBUF or SO_RCVBUF was set
    i32 device = 0;                             ///< SO_BINDTODEVICE: 1 is lo
    u64 receive_timeout = 0, send_timeout = 0;  ///< nanoseconds, 0: none

    SocketOptions();
    bool is_on(u32 index) const { return values[index] != 0; }
};

}  // namespace postern::libos
