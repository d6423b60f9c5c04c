// SPDX-License-Identifier: Apache-2.0
// Socket addresses: what programs pass (sockaddr of ip(7), ipv6(7), unix(7), netlink(7)) and what the library OS
// compares. Addresses of both internet families are kept in one form: IPv4 ones as IPv4-mapped IPv6.
#pragma once

#include <string_view>

#include "base/memory.hpp"
#include "libos/errno.hpp"

namespace postern::libos {

enum class Family : u16 { unspecified = 0, local = 1, inet = 2, inet6 = 10, netlink = 16 };

/// A sockaddr as a program gave it, with its length.
struct SocketAddress {
    static constexpr u32 kCapacity = 128;  ///< sizeof(struct sockaddr_storage)
    u32 size = 0;
    alignas(8) u8 bytes[kCapacity] = {};

    Family family() const {
        u16 number = 0;
        if (size >= sizeof number) memcpy(&number, bytes, sizeof number);
        return static_cast<Family>(number);
    }
};

/// An address and port of the internet families. Fields as they are compared; `port` in the machine's byte order.
struct IpName {
    u8 address[16] = {};
    u16 port = 0;

    bool is_v4() const;         ///< IPv4, in its mapped form
    bool is_any() const;        ///< 0.0.0.0 or ::
    bool is_multicast() const;  ///< 224.0.0.0/4 or ff00::/8
    bool is_loopback() const;   ///< 127.0.0.0/8 or ::1
    bool same_address(const IpName& other) const { return memcmp(address, other.address, sizeof address) == 0; }
};
inline bool operator==(const IpName& a, const IpName& b) { return a.port == b.port && a.same_address(b); }

IpName any_name(Family family);
IpName loopback_name(bool v4);
/// Errno::inval when too short, Errno::afnosupport when of another family than `family` (inet or inet6).
Res<IpName> parse_ip(const SocketAddress& address, Family family);
SocketAddress format_ip(const IpName& name, Family family);

/// The path of a Unix address, without what follows its first NUL; empty for abstract and unnamed ones.
std::string_view unix_path(const SocketAddress& address);
inline bool is_abstract(const SocketAddress& address) { return address.size > 2 && address.bytes[2] == 0; }
SocketAddress unnamed_unix();

/// Copies an address in. Errno::inval when longer than any address, Errno::fault.
Res<SocketAddress> read_address(u64 user, u64 size);
/// As getsockname(2) answers: cut to the caller's room, the full length told. No effect when `user` is 0.
Res<void> write_address(const SocketAddress& address, u64 user, u64 user_size);

constexpr u16 swap16(u16 value) { return static_cast<u16>(value << 8 | value >> 8); }

}  // namespace postern::libos
