// SPDX-License-Identifier: Apache-2.0
// /proc/net/unix, tcp, tcp6, udp and udp6 (proc_net(5)): the sockets that have a name.
#include "libos/net/proc_files.hpp"

#include "libos/net/names.hpp"

namespace postern::libos {

namespace {

/// The line of one socket. Lines are collected before text is added: that may need memory, and the names are locked.
struct Line {
    u64 identity;
    IpName local, remote;
    u64 sent, received;
    u32 uid, state, flags, type;
    SocketAddress name;
};

struct Collected {
    static constexpr u32 kMost = 256;  ///< beyond that they are left out
    Line* lines;
    u32 count = 0;
    Family family;
    SocketType type;
    bool local;
};

u32 tcp_state(const Endpoint& endpoint) {
    switch (endpoint.state) {
        case SocketState::listening: return 10;
        case SocketState::connecting: return 2;
        case SocketState::connected:
            return (endpoint.shut_bits & kPeerEnded) != 0 ? 8 : (endpoint.shut_bits & kShutSend) != 0 ? 5 : 1;
        default: return 7;
    }
}

void collect(Endpoint& endpoint, void* cookie) {
    auto& all = *static_cast<Collected*>(cookie);
    if (all.count == Collected::kMost) return;
    if (all.local ? !endpoint.is_local() : endpoint.family != all.family || endpoint.type != all.type) return;
    Line& line = all.lines[all.count++];
    line.identity = endpoint.identity;
    line.local = endpoint.local_ip;
    line.remote = endpoint.remote_ip;
    line.sent = 0;
    line.received = endpoint.bytes;
    line.uid = endpoint.owner_uid;
    line.type = static_cast<u32>(endpoint.type);
    line.flags = endpoint.state == SocketState::listening ? 0x10000 : 0;
    if (endpoint.is_local())
        line.state = endpoint.state == SocketState::connected ? 3 : 1;
    else
        line.state = endpoint.is_tcp() ? tcp_state(endpoint) : endpoint.state == SocketState::connected ? 1 : 7;
    if (endpoint.is_local()) line.name = endpoint.local_unix;
}

/// As %0*X.
void hex_upper(Text& text, u64 value, u32 width) {
    for (u32 digit = width; digit-- > 0;) text.put("0123456789ABCDEF"[value >> (4 * digit) & 15]);
}

void add_address(Text& text, const IpName& name, Family family) {
    const u32 from = family == Family::inet ? 12 : 0;
    for (u32 at = from; at < 16; at += 4) {
        u32 word;
        memcpy(&word, name.address + at, sizeof word);
        hex_upper(text, word, 8);
    }
    text.add(':');
    hex_upper(text, name.port, 4);
}

Res<Collected> collect_all(Family family, SocketType type, bool local) {
    Collected all{};
    all.lines = static_cast<Line*>(TRY(heap::allocate(Collected::kMost * sizeof(Line))));
    all.family = family;
    all.type = type;
    all.local = local;
    visit_names(collect, &all);
    return all;
}

Res<void> write_ip(ProcText& text, Family family, SocketType type) {
    Collected all = TRY(collect_all(family, type, false));
    text.add(family == Family::inet
                 ? "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
                 : "  sl  local_address                         remote_address                        st tx_queue "
                   "rx_queue tr tm->when retrnsmt   uid  timeout inode");
    text.add(type == SocketType::datagram ? " ref pointer drops\n" : "\n");
    for (u32 index = 0; index < all.count; ++index) {
        const Line& line = all.lines[index];
        TextBuffer<256> row;
        row.add(Padded{index, 4}, ": ");
        add_address(row, line.local, family);
        row.add(' ');
        add_address(row, line.remote, family);
        row.add(' ');
        hex_upper(row, line.state, 2);
        row.add(' ');
        hex_upper(row, line.sent, 8);
        row.add(':');
        hex_upper(row, line.received, 8);
        row.add(" 00:00000000 00000000 ", Padded{line.uid, 5}, "        0 ", line.identity,
                type == SocketType::datagram ? " 2 0000000000000000 0\n" : " 1 0000000000000000 100 0 0 10 0\n");
        text.append(row.view());
    }
    heap::release(all.lines, Collected::kMost * sizeof(Line));
    return {};
}

}  // namespace

Res<void> write_net_unix(const Subject&, ProcText& text) {
    Collected all = TRY(collect_all(Family::local, SocketType::stream, true));
    text.add("Num       RefCount Protocol Flags    Type St Inode Path\n");
    for (u32 index = 0; index < all.count; ++index) {
        Line& line = all.lines[index];
        TextBuffer<300> row;
        row.add("0000000000000000: 00000002 00000000 ", Hex{line.flags, 8}, ' ', Hex{line.type, 4}, ' ',
                Hex{line.state, 2}, ' ', Padded{static_cast<i64>(line.identity), 5}, ' ');
        usize length = line.name.size > 2 ? line.name.size - 2 : 0;
        char* name = reinterpret_cast<char*>(line.name.bytes + 2);
        if (length != 0 && !is_abstract(line.name)) length = unix_path(line.name).size();
        for (usize at = 0; at < length; ++at)
            if (name[at] == 0) name[at] = '@';
        row.add(std::string_view{name, length}, '\n');
        text.append(row.view());
    }
    heap::release(all.lines, Collected::kMost * sizeof(Line));
    return {};
}
Res<void> write_net_tcp(const Subject&, ProcText& text) { return write_ip(text, Family::inet, SocketType::stream); }
Res<void> write_net_tcp6(const Subject&, ProcText& text) { return write_ip(text, Family::inet6, SocketType::stream); }
Res<void> write_net_udp(const Subject&, ProcText& text) { return write_ip(text, Family::inet, SocketType::datagram); }
Res<void> write_net_udp6(const Subject&, ProcText& text) { return write_ip(text, Family::inet6, SocketType::datagram); }

}  // namespace postern::libos
