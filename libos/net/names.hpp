// SPDX-License-Identifier: Apache-2.0
// Who has which name: ports of the loopback network, abstract Unix names, and Unix names in the file system, of the
// whole family. One lock; a name's endpoint is found with a reference.
#pragma once

#include "libos/fs/inode.hpp"
#include "libos/net/endpoint.hpp"

namespace postern::libos {

/// Gives an internet endpoint a name; port 0: one of net.ipv4.ip_local_port_range. Errno::addrinuse,
/// Errno::addrnotavail (no address of the loopback interface), Errno::inval (it has one already), Errno::acces (a
/// privileged port).
Res<void> name_ip(Thread& thread, Endpoint& endpoint, const IpName& name);
/// A port of its own if it has none, on the address that reaches `remote`.
Res<void> name_ip_automatically(Thread& thread, Endpoint& endpoint, const IpName* remote);
/// The end that accept(2) will return shares its listener's port.
void name_accepted(Endpoint& endpoint, const IpName& local);
/// listen(2): no other listener may have the port. Errno::addrinuse.
Res<void> name_listens(Endpoint& endpoint);

/// `address` is abstract, or (size 2) asks for a name of five hexadecimal digits. Errno::addrinuse, Errno::inval.
Res<void> name_abstract(Endpoint& endpoint, const SocketAddress& address);
/// Takes over the reference to a fresh socket inode. Errno::inval when the endpoint has a name.
Res<void> name_inode(Endpoint& endpoint, InodeRef inode, const SocketAddress& address);

void name_give_up(Endpoint& endpoint);

EndpointRef find_abstract(std::string_view name);
EndpointRef find_by_inode(const Inode& inode);
/// Who listens at `to`.
EndpointRef find_listener(const IpName& to);
/// Who takes a datagram of the protocol (UDP or UDP-Lite) from `from` to `to`.
EndpointRef find_datagram(u32 protocol, const IpName& to, const IpName& from);

/// Calls `visit` for each named endpoint, the names locked.
void visit_names(void (*visit)(Endpoint& endpoint, void* cookie), void* cookie);

}  // namespace postern::libos
