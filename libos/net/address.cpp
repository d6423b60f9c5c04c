// SPDX-License-Identifier: Apache-2.0
#include "libos/net/address.hpp"

#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u8 kMappedPrefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr u32 kInetSize = 16, kInet6Size = 28, kInet6Least = 24;

bool all_zero(const u8* bytes, usize count) {
    for (usize index = 0; index < count; ++index)
        if (bytes[index] != 0) return false;
    return true;
}

}  // namespace

bool IpName::is_v4() const { return memcmp(address, kMappedPrefix, sizeof kMappedPrefix) == 0; }
bool IpName::is_any() const { return is_v4() ? all_zero(address + 12, 4) : all_zero(address, 16); }
bool IpName::is_multicast() const { return is_v4() ? (address[12] & 0xf0) == 0xe0 : address[0] == 0xff; }
bool IpName::is_loopback() const { return is_v4() ? address[12] == 127 : all_zero(address, 15) && address[15] == 1; }

IpName any_name(Family family) {
    IpName name;
    if (family == Family::inet) memcpy(name.address, kMappedPrefix, sizeof kMappedPrefix);
    return name;
}

IpName loopback_name(bool v4) {
    IpName name;
    if (v4) {
        memcpy(name.address, kMappedPrefix, sizeof kMappedPrefix);
        name.address[12] = 127;
    }
    name.address[15] = 1;
    return name;
}

Res<IpName> parse_ip(const SocketAddress& address, Family family) {
    if (address.size < (family == Family::inet ? kInetSize : kInet6Least)) return Failure{Errno::inval};
    if (address.family() != family) return Failure{Errno::afnosupport};
    IpName name;
    u16 port;
    memcpy(&port, address.bytes + 2, sizeof port);
    name.port = swap16(port);
    if (family == Family::inet) {
        memcpy(name.address, kMappedPrefix, sizeof kMappedPrefix);
        memcpy(name.address + 12, address.bytes + 4, 4);
    } else {
        memcpy(name.address, address.bytes + 8, 16);
    }
    return name;
}

SocketAddress format_ip(const IpName& name, Family family) {
    SocketAddress address;
    address.size = family == Family::inet ? kInetSize : kInet6Size;
    u16 number = static_cast<u16>(family), port = swap16(name.port);
    memcpy(address.bytes, &number, sizeof number);
    memcpy(address.bytes + 2, &port, sizeof port);
    if (family == Family::inet)
        memcpy(address.bytes + 4, name.address + 12, 4);
    else
        memcpy(address.bytes + 8, name.address, 16);
    return address;
}

std::string_view unix_path(const SocketAddress& address) {
    usize length = 0;
    const char* text = reinterpret_cast<const char*>(address.bytes + 2);
    while (length + 2 < address.size && text[length] != 0) ++length;
    return {text, length};
}

SocketAddress unnamed_unix() {
    SocketAddress address;
    address.size = 2;
    address.bytes[0] = static_cast<u8>(Family::local);
    return address;
}

Res<SocketAddress> read_address(u64 user, u64 size) {
    i32 length = static_cast<i32>(size);
    SocketAddress address;
    if (length < 0 || static_cast<u32>(length) > SocketAddress::kCapacity) return Failure{Errno::inval};
    TRY(copy_in(address.bytes, user, static_cast<usize>(length)));
    address.size = static_cast<u32>(length);
    return address;
}

Res<void> write_address(const SocketAddress& address, u64 user, u64 user_size) {
    if (user == 0) return {};
    i32 room = TRY(read_user<i32>(user_size));
    if (room < 0) return Failure{Errno::inval};
    usize count = static_cast<u32>(room) < address.size ? static_cast<u32>(room) : address.size;
    TRY(copy_out(user, address.bytes, count));
    return write_user(user_size, static_cast<i32>(address.size));
}

}  // namespace postern::libos
