// SPDX-License-Identifier: Apache-2.0
// The family's table of socket names: see names.hpp.
#include "libos/net/names.hpp"

#include "libos/process/process.hpp"
#include "libos/shared/roots.hpp"

namespace postern::libos {

namespace {

constexpr u32 kBuckets = 512;
constexpr u32 kFirstPort = 32768, kLastPort = 60999;  // net.ipv4.ip_local_port_range
constexpr u32 kCapNetBindService = 10;

struct Names {
    SharedLock lock;  ///< above endpoints' locks
    Endpoint* buckets[kBuckets];
    u64 next_port = kFirstPort;
    u64 next_abstract = 0;
    u64 turn = 0;  ///< of those that share a port
};

Names& names() {
    auto made = arena::root<Names>(kRootSocketNames);
    if (!made.ok()) panic("no memory for the names of sockets");
    return *made.value();
}

u64 port_bucket(const Endpoint& endpoint, u16 port) { return (port + (endpoint.is_tcp() ? 0u : 257u)) % kBuckets; }
u64 text_bucket(std::string_view text) {
    u32 hash = 2166136261u;
    for (char character : text) hash = (hash ^ static_cast<u8>(character)) * 16777619u;
    return hash % kBuckets;
}
u64 inode_bucket(const Inode* inode) { return (reinterpret_cast<u64>(inode) >> 4) % kBuckets; }

/// Lock held.
void insert(Names& table, Endpoint& endpoint, u64 bucket) {
    endpoint.bucket = bucket;
    endpoint.next_in_bucket = table.buckets[bucket];
    set_undoable(table.lock, table.buckets[bucket], &endpoint);
    set_undoable(table.lock, endpoint.named, u64{1});
}

bool takes_v4(const Endpoint& endpoint) {
    if (endpoint.family == Family::inet) return true;
    if (endpoint.local_ip.is_v4()) return true;
    return endpoint.local_ip.is_any() && !endpoint.options.is_on(kOnlyIp6);
}
bool takes_v6(const Endpoint& endpoint) { return endpoint.family == Family::inet6 && !endpoint.local_ip.is_v4(); }

bool overlap(const Endpoint& a, const Endpoint& b) {
    bool some = (takes_v4(a) && takes_v4(b)) || (takes_v6(a) && takes_v6(b));
    return some && (a.local_ip.is_any() || b.local_ip.is_any() || a.local_ip.same_address(b.local_ip));
}

bool same_kind(const Endpoint& a, const Endpoint& b) { return a.is_ip() && b.is_ip() && a.protocol == b.protocol; }

bool conflict(const Endpoint& fresh, const Endpoint& old) {
    if (!same_kind(fresh, old) || fresh.local_ip.port != old.local_ip.port || !overlap(fresh, old)) return false;
    if (fresh.options.is_on(kReusePort) && old.options.is_on(kReusePort) && fresh.owner_uid == old.owner_uid)
        return false;
    bool listens = fresh.is_tcp() && (fresh.state == SocketState::listening || old.state == SocketState::listening);
    return listens || !fresh.options.is_on(kReuseAddress) || !old.options.is_on(kReuseAddress);
}

Res<void> insert_ip(Endpoint& endpoint) {
    Names& table = names();
    Guard guard{table.lock};
    if (endpoint.local_ip.port != 0) {
        u64 bucket = port_bucket(endpoint, endpoint.local_ip.port);
        for (Endpoint* other = table.buckets[bucket]; other != nullptr; other = other->next_in_bucket)
            if (other != &endpoint && conflict(endpoint, *other)) return Failure{Errno::addrinuse};
        insert(table, endpoint, bucket);
        return {};
    }
    for (u32 tried = 0; tried <= kLastPort - kFirstPort; ++tried) {
        u16 port = static_cast<u16>(table.next_port);
        table.next_port = port == kLastPort ? kFirstPort : port + 1;
        u64 bucket = port_bucket(endpoint, port);
        bool taken = false;
        for (Endpoint* other = table.buckets[bucket]; other != nullptr; other = other->next_in_bucket)
            if (same_kind(endpoint, *other) && other->local_ip.port == port) taken = true;
        if (taken) continue;
        endpoint.local_ip.port = port;
        endpoint.chosen_port = 1;
        insert(table, endpoint, bucket);
        return {};
    }
    return Failure{Errno::addrinuse};
}

}  // namespace

Res<void> name_ip(Thread& thread, Endpoint& endpoint, const IpName& name) {
    if (!name.is_any() && !name.is_loopback()) return Failure{Errno::addrnotavail};
    if (endpoint.options.is_on(kOnlyIp6) && endpoint.family == Family::inet6 && name.is_v4())
        return Failure{Errno::inval};
    if (name.port != 0 && name.port < 1024 && !has_capability(thread, kCapNetBindService)) return Failure{Errno::acces};
    if (endpoint.named != 0 || endpoint.state != SocketState::fresh) return Failure{Errno::inval};
    endpoint.local_ip = name;
    endpoint.owner_uid = thread.process->credentials.euid;
    auto inserted = insert_ip(endpoint);
    if (!inserted.ok()) {
        endpoint.local_ip = any_name(endpoint.family);
        return Failure{inserted.error()};
    }
    endpoint.chosen_port = 0;
    return {};
}

Res<void> name_ip_automatically(Thread& thread, Endpoint& endpoint, const IpName* remote) {
    if (endpoint.named == 0) {
        endpoint.owner_uid = thread.process->credentials.euid;
        auto inserted = insert_ip(endpoint);
        if (!inserted.ok()) return Failure{Errno::again};
    }
    if (remote != nullptr && endpoint.local_ip.is_any()) {
        u16 port = endpoint.local_ip.port;
        endpoint.local_ip = loopback_name(remote->is_v4());
        endpoint.local_ip.port = port;
    }
    return {};
}

void name_accepted(Endpoint& endpoint, const IpName& local) {
    Names& table = names();
    Guard guard{table.lock};
    endpoint.local_ip = local;
    insert(table, endpoint, port_bucket(endpoint, local.port));
}

Res<void> name_listens(Endpoint& endpoint) {
    Names& table = names();
    Guard guard{table.lock};
    for (Endpoint* other = table.buckets[endpoint.bucket]; other != nullptr; other = other->next_in_bucket) {
        if (other == &endpoint || !same_kind(endpoint, *other) || other->state != SocketState::listening) continue;
        if (other->local_ip.port != endpoint.local_ip.port || !overlap(endpoint, *other)) continue;
        bool shared = endpoint.options.is_on(kReusePort) && other->options.is_on(kReusePort);
        if (!shared) return Failure{Errno::addrinuse};
    }
    return {};
}

Res<void> name_abstract(Endpoint& endpoint, const SocketAddress& address) {
    Names& table = names();
    Guard guard{table.lock};
    if (endpoint.named != 0) return Failure{Errno::inval};
    auto taken = [&](const SocketAddress& wanted, u64 bucket) {
        for (Endpoint* other = table.buckets[bucket]; other != nullptr; other = other->next_in_bucket)
            if (other->is_local() && other->local_unix.size == wanted.size &&
                memcmp(other->local_unix.bytes, wanted.bytes, wanted.size) == 0)
                return true;
        return false;
    };
    SocketAddress wanted = address;
    if (address.size > 2) {
        u64 bucket = text_bucket({reinterpret_cast<const char*>(wanted.bytes), wanted.size});
        if (taken(wanted, bucket)) return Failure{Errno::addrinuse};
        endpoint.local_unix = wanted;
        insert(table, endpoint, bucket);
        return {};
    }
    for (u32 tried = 0; tried < 1 << 20; ++tried) {
        u64 number = table.next_abstract++ & 0xfffff;
        wanted.size = 8;
        wanted.bytes[2] = 0;
        for (u32 digit = 0; digit < 5; ++digit)
            wanted.bytes[3 + digit] = static_cast<u8>("0123456789abcdef"[(number >> (16 - 4 * digit)) & 15]);
        u64 bucket = text_bucket({reinterpret_cast<const char*>(wanted.bytes), wanted.size});
        if (taken(wanted, bucket)) continue;
        endpoint.local_unix = wanted;
        insert(table, endpoint, bucket);
        return {};
    }
    return Failure{Errno::nospc};
}

Res<void> name_inode(Endpoint& endpoint, InodeRef inode, const SocketAddress& address) {
    Names& table = names();
    Guard guard{table.lock};
    if (endpoint.named != 0) return Failure{Errno::inval};
    endpoint.local_unix = address;
    endpoint.inode = inode.leak();
    insert(table, endpoint, inode_bucket(endpoint.inode));
    return {};
}

void name_give_up(Endpoint& endpoint) {
    if (endpoint.named == 0) return;
    Names& table = names();
    Guard guard{table.lock};
    for (Endpoint** at = &table.buckets[endpoint.bucket]; *at != nullptr; at = &(*at)->next_in_bucket) {
        if (*at != &endpoint) continue;
        set_undoable(table.lock, *at, endpoint.next_in_bucket);
        break;
    }
    set_undoable(table.lock, endpoint.named, u64{0});
}

EndpointRef find_abstract(std::string_view name) {
    Names& table = names();
    Guard guard{table.lock};
    for (Endpoint* at = table.buckets[text_bucket(name)]; at != nullptr; at = at->next_in_bucket) {
        if (!at->is_local() || at->local_unix.size != name.size() ||
            memcmp(at->local_unix.bytes, name.data(), name.size()) != 0)
            continue;
        at->reference();
        return EndpointRef{at};
    }
    return {};
}

EndpointRef find_by_inode(const Inode& inode) {
    Names& table = names();
    Guard guard{table.lock};
    for (Endpoint* at = table.buckets[inode_bucket(&inode)]; at != nullptr; at = at->next_in_bucket) {
        if (at->inode != &inode) continue;
        at->reference();
        return EndpointRef{at};
    }
    return {};
}

namespace {

/// How well the endpoint's name fits the destination; 0: not at all.
u32 fit(const Endpoint& endpoint, const IpName& to) {
    if (endpoint.local_ip.port != to.port) return 0;
    if (to.is_v4() ? !takes_v4(endpoint) : !takes_v6(endpoint)) return 0;
    u32 family = (endpoint.family == Family::inet) == to.is_v4() ? 1 : 0;
    if (endpoint.local_ip.is_any()) return 1 + family;
    return endpoint.local_ip.same_address(to) ? 3 + family : 0;
}

template <class Score>
EndpointRef best(Names& table, u64 bucket, Score score) {
    Endpoint* found = nullptr;
    u32 high = 0, equals = 0;
    for (Endpoint* at = table.buckets[bucket]; at != nullptr; at = at->next_in_bucket) {
        u32 value = score(*at);
        if (value == 0 || value < high) continue;
        if (value == high) {
            // Those that share a port by SO_REUSEPORT take turns; else the name given last counts.
            if (!at->options.is_on(kReusePort)) continue;
            if (++equals > table.turn % 16) continue;
            found = at;
            continue;
        }
        high = value, equals = 0, found = at;
    }
    table.turn = table.turn + 1;
    if (found != nullptr) found->reference();
    return EndpointRef{found};
}

}  // namespace

EndpointRef find_listener(const IpName& to) {
    Names& table = names();
    Guard guard{table.lock};
    return best(table, to.port % kBuckets, [&](const Endpoint& at) {
        return at.is_tcp() && at.state == SocketState::listening ? fit(at, to) : 0u;
    });
}

EndpointRef find_datagram(u32 protocol, const IpName& to, const IpName& from) {
    Names& table = names();
    Guard guard{table.lock};
    return best(table, (to.port + 257u) % kBuckets, [&](const Endpoint& at) {
        if (!at.is_udp() || at.protocol != protocol) return 0u;
        u32 value = fit(at, to);
        if (value == 0 || at.state != SocketState::connected) return value;
        return at.remote_ip == from ? value + 8 : 0u;
    });
}

void visit_names(void (*visit)(Endpoint& endpoint, void* cookie), void* cookie) {
    Names& table = names();
    Guard guard{table.lock};
    for (Endpoint* first : table.buckets)
        for (Endpoint* at = first; at != nullptr; at = at->next_in_bucket) visit(*at, cookie);
}

}  // namespace postern::libos
