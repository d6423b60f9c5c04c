// SPDX-License-Identifier: Apache-2.0
// The one network interface, lo, as netdevice(7) and rtnetlink(7) show it. Nothing of it can be changed.
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>

#include "base/memory.hpp"
#include "libos/net/socket.hpp"
#include "libos/process/process.hpp"
#include "libos/shared/arena.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u32 kCapNetAdmin = 12;
constexpr u32 kIndex = 1, kMtu = 65536, kQueueLength = 1000;
constexpr u16 kLoopbackHardware = 772;              // ARPHRD_LOOPBACK
constexpr u32 kUpFlags = 0x49, kLowerUp = 1 << 16;  // IFF_UP, IFF_LOOPBACK, IFF_RUNNING; IFF_LOWER_UP
constexpr u8 kAddress4[4] = {127, 0, 0, 1};
constexpr u8 kAddress6[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};

struct InterfaceRequest {  // struct ifreq
    char name[16];
    u8 data[24];
};

bool is_lo(const InterfaceRequest& request) {
    return request.name[0] == 'l' && request.name[1] == 'o' && request.name[2] == 0;
}

void put_address(InterfaceRequest& request, const u8 (&address)[4]) {
    memset(request.data, 0, 16);
    request.data[0] = static_cast<u8>(Family::inet);
    memcpy(request.data + 4, address, 4);
}

Res<i64> list_interfaces(u64 argument) {
    struct {  // struct ifconf
        i32 size, padding;
        u64 buffer;
    } list;
    TRY(copy_in(&list, argument, sizeof list));
    InterfaceRequest lo = {};
    memcpy(lo.name, "lo", 2);
    put_address(lo, kAddress4);
    const i32 bytes = sizeof lo;
    if (list.buffer == 0) {
        list.size = bytes;
    } else if (list.size >= bytes) {
        TRY(copy_out(list.buffer, &lo, sizeof lo));
        list.size = bytes;
    } else {
        list.size = 0;
    }
    TRY(copy_out(argument, &list, sizeof list));
    return 0;
}

/// Netlink messages one behind the other, in a buffer that becomes one datagram.
class Reply {
public:
    Reply(u8* buffer, u32 sequence, u32 port) : buffer_{buffer}, sequence_{sequence}, port_{port} {}
    void begin(u16 type, u16 flags) {
        start_ = size_;
        nlmsghdr header = {0, type, flags, sequence_, port_};
        append(&header, sizeof header);
    }
    void append(const void* data, usize size) {
        memcpy(buffer_ + size_, data, size);
        size_ = align_up(size_ + size, 4);
    }
    void attribute(u16 type, const void* data, usize size) {
        rtattr header = {static_cast<u16>(sizeof(rtattr) + size), type};
        memcpy(buffer_ + size_, &header, sizeof header);
        size_ += sizeof header;
        append(data, size);
    }
    void number(u16 type, u32 value) { attribute(type, &value, sizeof value); }
    void end() {
        u32 length = static_cast<u32>(size_ - start_);
        memcpy(buffer_ + start_, &length, sizeof length);
    }
    usize size() const { return size_; }

private:
    u8* buffer_;
    u32 sequence_, port_;
    usize size_ = 0, start_ = 0;
};

void put_link(Reply& reply, u16 flags) {
    reply.begin(RTM_NEWLINK, flags);
    ifinfomsg link = {};
    link.ifi_type = kLoopbackHardware;
    link.ifi_index = kIndex;
    link.ifi_flags = kUpFlags | kLowerUp;
    reply.append(&link, sizeof link);
    reply.attribute(IFLA_IFNAME, "lo", 3);
    reply.number(IFLA_TXQLEN, kQueueLength);
    const u8 up = 0, mode = 0, hardware[6] = {};
    reply.attribute(IFLA_OPERSTATE, &up, 1);
    reply.attribute(IFLA_LINKMODE, &mode, 1);
    reply.number(IFLA_MTU, kMtu);
    reply.number(IFLA_GROUP, 0);
    reply.number(IFLA_PROMISCUITY, 0);
    reply.number(IFLA_NUM_TX_QUEUES, 1);
    reply.number(IFLA_NUM_RX_QUEUES, 1);
    reply.attribute(IFLA_ADDRESS, hardware, sizeof hardware);
    reply.attribute(IFLA_BROADCAST, hardware, sizeof hardware);
    reply.attribute(IFLA_QDISC, "noqueue", 8);
    rtnl_link_stats64 wide = {};
    rtnl_link_stats narrow = {};
    reply.attribute(IFLA_STATS64, &wide, sizeof wide);
    reply.attribute(IFLA_STATS, &narrow, sizeof narrow);
    reply.end();
}

void put_interface_address(Reply& reply, bool v4) {
    reply.begin(RTM_NEWADDR, NLM_F_MULTI);
    ifaddrmsg address = {};
    address.ifa_family = static_cast<u8>(v4 ? Family::inet : Family::inet6);
    address.ifa_prefixlen = v4 ? 8 : 128;
    address.ifa_flags = IFA_F_PERMANENT;
    address.ifa_scope = RT_SCOPE_HOST;
    address.ifa_index = kIndex;
    reply.append(&address, sizeof address);
    if (v4) {
        reply.attribute(IFA_ADDRESS, kAddress4, sizeof kAddress4);
        reply.attribute(IFA_LOCAL, kAddress4, sizeof kAddress4);
        reply.attribute(IFA_LABEL, "lo", 3);
    } else {
        reply.attribute(IFA_ADDRESS, kAddress6, sizeof kAddress6);
    }
    ifa_cacheinfo forever = {0xffff'ffff, 0xffff'ffff, 0, 0};
    reply.attribute(IFA_CACHEINFO, &forever, sizeof forever);
    reply.number(IFA_FLAGS, IFA_F_PERMANENT);
    reply.end();
}

Res<void> deliver(Endpoint& endpoint, const u8* data, usize size) {
    SocketAddress kernel;
    kernel.size = 12;
    kernel.bytes[0] = static_cast<u8>(Family::netlink);
    Message* message = TRY(message_create(size, &kernel));
    memcpy(message->data(), data, size);
    {
        Guard guard{endpoint.lock};
        endpoint.append(*message);
    }
    endpoint.queue.wake(kPollIn | kPollRdNorm);
    return {};
}

Res<void> answer(Endpoint& endpoint, const nlmsghdr& header, const u8* body, u32 body_size, u32 port) {
    const u8 family = body_size != 0 ? body[0] : 0;
    u8 buffer[1024];
    Reply reply{buffer, header.nlmsg_seq, port};
    const bool dump = (header.nlmsg_flags & NLM_F_DUMP) != 0;
    Errno error = Errno::ok;
    switch (header.nlmsg_type) {
        case RTM_GETLINK: put_link(reply, dump ? NLM_F_MULTI : 0); break;
        case RTM_GETADDR:
            if (!dump) {
                error = Errno::opnotsupp;
                break;
            }
            if (family != static_cast<u8>(Family::inet6)) put_interface_address(reply, true);
            if (family != static_cast<u8>(Family::inet)) put_interface_address(reply, false);
            break;
        case RTM_GETROUTE:
        case RTM_GETNEIGH:
        case RTM_GETRULE:
            if (!dump) error = Errno::netunreach;
            break;
        case RTM_NEWLINK: {
            // lo is up, and stays so: bringing it up is no change.
            ifinfomsg link = {};
            if (body_size >= sizeof link) memcpy(&link, body, sizeof link);
            bool up = (link.ifi_flags & 1) != 0 && (link.ifi_change & ~1u) == 0 && link.ifi_index <= 1;
            if (!up) error = Errno::perm;
            break;
        }
        default: error = header.nlmsg_type < RTM_BASE ? Errno::opnotsupp : Errno::perm; break;
    }
    if (reply.size() != 0) TRY(deliver(endpoint, buffer, reply.size()));
    Reply last{buffer, header.nlmsg_seq, port};
    if (error != Errno::ok || !dump) {
        if (error == Errno::ok && (header.nlmsg_flags & NLM_F_ACK) == 0) return {};
        last.begin(NLMSG_ERROR, 0);
        nlmsgerr report = {-static_cast<i32>(error), header};
        last.append(&report, sizeof report);
    } else {
        last.begin(NLMSG_DONE, NLM_F_MULTI);
        const i32 zero = 0;
        last.append(&zero, sizeof zero);
    }
    last.end();
    return deliver(endpoint, buffer, last.size());
}

/// Changes that change nothing, as scripts make them that bring the interface up.
Res<i64> keep_interface(Thread& thread, u32 request, const InterfaceRequest& body) {
    if (!has_capability(thread, kCapNetAdmin)) return Failure{Errno::perm};
    static constexpr u8 kMask[4] = {255, 0, 0, 0};
    u32 number;
    memcpy(&number, body.data, sizeof number);
    bool same = false;
    switch (request) {
        case SIOCSIFFLAGS: same = (number & 1) != 0; break;
        case SIOCSIFADDR: same = memcmp(body.data + 4, kAddress4, 4) == 0; break;
        case SIOCSIFNETMASK: same = memcmp(body.data + 4, kMask, 4) == 0; break;
        case SIOCSIFMTU: same = number == kMtu; break;
        default: break;
    }
    if (!same) return Failure{Errno::perm};
    return 0;
}

}  // namespace

Res<void> netlink_send(File& file, const void* data, usize size) {
    if (file.kind() != FileKind::socket) return Failure{Errno::inval};
    Endpoint& endpoint = static_cast<SocketFile&>(file).endpoint();
    if (endpoint.family != Family::netlink) return Failure{Errno::inval};
    if (size == 0) return {};
    return deliver(endpoint, static_cast<const u8*>(data), size);
}

Res<i64> netlink_request(Thread& thread, Endpoint& endpoint, Bytes& bytes) {
    u8 request[1024];
    const u64 size = bytes.size();
    if (size > sizeof request) return Failure{Errno::msgsize};
    if (bytes.take(request, size) != size) return Failure{Errno::fault};
    u32 port;
    memcpy(&port, endpoint.local_unix.bytes + 4, sizeof port);
    if (port == 0) {
        port = thread.process->pid;
        memcpy(endpoint.local_unix.bytes + 4, &port, sizeof port);
    }
    for (u64 at = 0; at + sizeof(nlmsghdr) <= size;) {
        nlmsghdr header;
        memcpy(&header, request + at, sizeof header);
        if (header.nlmsg_len < sizeof header || header.nlmsg_len > size - at) break;
        TRY(answer(endpoint, header, request + at + sizeof header, header.nlmsg_len - u32{sizeof header}, port));
        at += align_up(header.nlmsg_len, 4);
    }
    return static_cast<i64>(size);
}

Res<i64> interface_ioctl(Thread& thread, u32 request, u64 argument) {
    if (request < 0x8900 || request > 0x89ff) return Failure{Errno::notty};
    if (request == SIOCGIFCONF) return list_interfaces(argument);
    switch (request) {
        case SIOCGIFNAME:
        case SIOCGIFFLAGS:
        case SIOCGIFADDR:
        case SIOCGIFDSTADDR:
        case SIOCGIFBRDADDR:
        case SIOCGIFNETMASK:
        case SIOCGIFMETRIC:
        case SIOCGIFMTU:
        case SIOCGIFHWADDR:
        case SIOCGIFINDEX:
        case SIOCGIFTXQLEN:
        case SIOCGIFMAP:
        case SIOCSIFFLAGS:
        case SIOCSIFADDR:
        case SIOCSIFMTU:
        case SIOCSIFNETMASK:
        case SIOCSIFHWADDR: break;
        default: return Failure{Errno::notty};
    }
    InterfaceRequest body;
    TRY(copy_in(&body, argument, sizeof body));
    i32 number;
    memcpy(&number, body.data, sizeof number);
    if (request == SIOCGIFNAME) {
        if (number != static_cast<i32>(kIndex)) return Failure{Errno::nodev};
        memset(body.name, 0, sizeof body.name);
        memcpy(body.name, "lo", 2);
        TRY(copy_out(argument, &body, sizeof body));
        return 0;
    }
    if (!is_lo(body)) return Failure{Errno::nodev};
    static constexpr u8 kNone[4] = {}, kMask[4] = {255, 0, 0, 0};
    auto put_number = [&](u32 value) { memcpy(body.data, &value, sizeof value); };
    switch (request) {
        case SIOCGIFFLAGS: {
            const u16 flags = kUpFlags;
            memcpy(body.data, &flags, sizeof flags);
            break;
        }
        case SIOCGIFADDR:
        case SIOCGIFDSTADDR: put_address(body, kAddress4); break;
        case SIOCGIFBRDADDR: put_address(body, kNone); break;
        case SIOCGIFNETMASK: put_address(body, kMask); break;
        case SIOCGIFMETRIC: put_number(0); break;
        case SIOCGIFMTU: put_number(kMtu); break;
        case SIOCGIFINDEX: put_number(kIndex); break;
        case SIOCGIFTXQLEN: put_number(kQueueLength); break;
        case SIOCGIFHWADDR:
            memset(body.data, 0, 16);
            memcpy(body.data, &kLoopbackHardware, sizeof kLoopbackHardware);
            break;
        case SIOCGIFMAP: memset(body.data, 0, sizeof body.data); break;
        default: return keep_interface(thread, request, body);
    }
    TRY(copy_out(argument, &body, sizeof body));
    return 0;
}

}  // namespace postern::libos
