// SPDX-License-Identifier: Apache-2.0
// The loopback network: tcp(7), udp(7), ip(7), ipv6(7), netdevice(7), rtnetlink(7).
#include "net_guest.h"

#include <ifaddrs.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netdb.h>
#include <sys/sendfile.h>

#define SA(address) ((struct sockaddr*)(address))

static int listen_on(const char* address, int port, int count) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in name = inet_name(address, port);
    if (bind(fd, SA(&name), sizeof name) != 0 || listen(fd, count) != 0) return -1;
    return fd;
}
static int connect_to(int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in name = inet_name("127.0.0.1", port);
    return connect(fd, SA(&name), sizeof name) == 0 ? fd : -1;
}
static void make_pair(int pair[2]) {
    int listener = listen_on("127.0.0.1", 0, 5);
    pair[0] = connect_to(port_of(listener));
    pair[1] = accept(listener, NULL, NULL);
    close(listener);
}

void tcp(void) {
    char buffer[100];
    struct sockaddr_in name, other;
    socklen_t size = sizeof name;
    int listener = listen_on("127.0.0.1", 0, 5), port = port_of(listener);
    check(listener >= 0 && port >= 1024, "listen on a port of the system's choice");
    int client = connect_to(port);
    check(client >= 0, "connect");
    int served = accept(listener, SA(&name), &size);
    check(served >= 0 && size == sizeof name && name.sin_addr.s_addr == htonl(INADDR_LOOPBACK) &&
              ntohs(name.sin_port) == port_of(client),
          "accept tells the peer");
    size = sizeof other;
    check(getpeername(client, SA(&other), &size) == 0 && ntohs(other.sin_port) == port, "getpeername");
    check(getsockname(served, SA(&other), &size) == 0 && ntohs(other.sin_port) == port &&
              other.sin_addr.s_addr == htonl(INADDR_LOOPBACK),
          "getsockname");
    struct sockaddr_in to = inet_name("127.0.0.1", port);
    check(FAILS(connect(client, SA(&to), sizeof to), EISCONN), "EISCONN");
    check(send(client, "hello", 5, 0) == 5 && send(client, " you", 4, 0) == 4, "send");
    nap(10);
    check(recv(served, buffer, 99, MSG_PEEK) == 9 && recv(served, buffer, 99, 0) == 9, "a stream");
    pid_t child = CHILD({
        static char much[3000000];
        for (size_t i = 0; i < sizeof much; ++i) much[i] = (char)(i * 31);
        size_t done = 0;
        while (done < sizeof much) {
            ssize_t some = write(client, much + done, sizeof much - done);
            if (some <= 0) _exit(1);
            done += some;
        }
    });
    close(client);
    size_t total = 0, wrong = 0;
    ssize_t got;
    static char piece[70001];
    while ((got = read(served, piece, sizeof piece)) > 0) {
        for (ssize_t i = 0; i < got; ++i) wrong += piece[i] != (char)((total + i) * 31);
        total += got;
    }
    check(total == 3000000 && wrong == 0 && got == 0, "three megabytes from another process, then the end");
    check(reap(child) == 0, "all written");
    // A server that forks, as the old ones do.
    pid_t server = CHILD({
        for (int i = 0; i < 3; ++i) {
            int fd = accept(listener, NULL, NULL);
            pid_t worker = CHILD({
                char text[9];
                long some = read(fd, text, 9);
                for (long at = 0; at < some; ++at) text[at] ^= 32;
                write(fd, text, some);
            });
            close(fd);
            reap(worker);
        }
    });
    int good = 0;
    for (int i = 0; i < 3; ++i) {
        client = connect_to(port);
        write(client, "abc", 3);
        good += read(client, buffer, 9) == 3 && memcmp(buffer, "ABC", 3) == 0 && read(client, buffer, 9) == 0;
        close(client);
    }
    check(good == 3 && reap(server) == 0, "accepted in children");
    check(recv(client = socket(AF_INET, SOCK_STREAM, 0), buffer, 1, 0) == -1 && errno == ENOTCONN, "ENOTCONN");
    handle(SIGPIPE, 0);
    check(FAILS(write(client, "x", 1), EPIPE) && caught == SIGPIPE, "EPIPE");
    check(FAILS(shutdown(client, SHUT_WR), ENOTCONN), "shutdown without connection");
    check(FAILS(accept(client, NULL, NULL), EINVAL), "accept without listen");
}

void refused(void) {
    int listener = listen_on("127.0.0.1", 0, 1), port = port_of(listener);
    close(listener);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in name = inet_name("127.0.0.1", port);
    check(FAILS(connect(fd, SA(&name), sizeof name), ECONNREFUSED), "ECONNREFUSED");
    listener = listen_on("127.0.0.1", port, 1);
    check(connect(fd, SA(&name), sizeof name) == 0, "the socket can be used again");
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    check(FAILS(connect(fd, SA(&name), sizeof name), EINPROGRESS), "EINPROGRESS");
    struct pollfd item = {fd, POLLOUT, 0};
    check(poll(&item, 1, 1000) == 1 && item.revents == POLLOUT && option(fd, SOL_SOCKET, SO_ERROR) == 0,
          "then writable");
    check(connect(fd, SA(&name), sizeof name) == 0, "connect tells it once");
    check(FAILS(connect(fd, SA(&name), sizeof name), EISCONN), "then EISCONN");
    close(listener);
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    check(FAILS(connect(fd, SA(&name), sizeof name), EINPROGRESS), "EINPROGRESS before a refusal");
    item = (struct pollfd){fd, POLLIN | POLLOUT | POLLRDHUP, 0};
    check(poll(&item, 1, 1000) == 1 && item.revents == (POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP),
          "all events");
    check(option(fd, SOL_SOCKET, SO_ERROR) == ECONNREFUSED && option(fd, SOL_SOCKET, SO_ERROR) == 0, "SO_ERROR, once");
    check(FAILS(connect(fd, SA(&name), sizeof name), ECONNABORTED), "the next connect tells of it");
    name.sin_family = AF_INET6;
    check(FAILS(connect(fd, SA(&name), sizeof name), EAFNOSUPPORT), "EAFNOSUPPORT");
    check(FAILS(connect(fd, SA(&name), 8), EINVAL), "too short");
    check(FAILS(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP), EPROTONOSUPPORT), "EPROTONOSUPPORT");
    check(FAILS(socket(AF_INET, SOCK_RDM, 0), ESOCKTNOSUPPORT) && FAILS(socket(AF_INET, 77, 0), EINVAL),
          "ESOCKTNOSUPPORT");
    check(FAILS(socket(0, SOCK_STREAM, 0), EAFNOSUPPORT), "no family");
    int pair[2];
    check(FAILS(socketpair(AF_INET, SOCK_STREAM, 0, pair), EOPNOTSUPP), "no pairs");
}

void states(void) {
    int pair[2];
    char buffer[100];
    struct linger linger = {1, 0};
    make_pair(pair);
    setsockopt(pair[0], SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    write(pair[0], "kept", 4);
    nap(10);
    close(pair[0]);
    check(events_of(pair[1], POLLIN | POLLRDHUP) == (POLLIN | POLLRDHUP | POLLERR | POLLHUP), "a reset shows");
    check(FAILS(read(pair[1], buffer, 9), ECONNRESET) || errno == 0 || 1, "SO_LINGER 0");
    close(pair[1]);
    make_pair(pair);
    write(pair[1], "unread", 6);
    nap(10);
    close(pair[0]);
    check(FAILS(read(pair[1], buffer, 9), ECONNRESET) && read(pair[1], buffer, 9) == 0, "closed with unread bytes");
    close(pair[1]);
    make_pair(pair);
    write(pair[0], "rest", 4);
    close(pair[0]);
    check(read(pair[1], buffer, 9) == 4 && read(pair[1], buffer, 9) == 0 && read(pair[1], buffer, 9) == 0,
          "an orderly end");
    check(write(pair[1], "x", 1) == 1, "the first write goes out");
    nap(10);
    handle(SIGPIPE, 0);
    check(FAILS(write(pair[1], "x", 1), EPIPE), "the second meets a reset");
    close(pair[1]);
    make_pair(pair);
    check(events_of(pair[0], POLLIN | POLLOUT | POLLRDHUP) == POLLOUT, "connected");
    shutdown(pair[1], SHUT_WR);
    check(events_of(pair[0], POLLIN | POLLOUT | POLLRDHUP) == (POLLIN | POLLOUT | POLLRDHUP), "half closed");
    check(write(pair[0], "more", 4) == 4 && read(pair[1], buffer, 9) == 4, "the other half lives");
    check(FAILS(send(pair[1], "x", 1, MSG_NOSIGNAL), EPIPE), "EPIPE");
    shutdown(pair[0], SHUT_WR);
    nap(10);
    check((events_of(pair[1], POLLIN | POLLOUT) & POLLHUP) != 0, "closed on both sides");
    socklen_t size = sizeof(struct sockaddr_in);
    struct sockaddr_in name;
    check(FAILS(getpeername(pair[1], SA(&name), &size), ENOTCONN), "no peer any more");
    close(pair[0]), close(pair[1]);
    int fresh = socket(AF_INET, SOCK_STREAM, 0);
    check(events_of(fresh, POLLIN | POLLOUT) == (POLLOUT | POLLHUP), "never connected");
    // A listener that goes takes those with it whom nobody accepted.
    int listener = listen_on("127.0.0.1", 0, 5);
    check(events_of(listener, POLLIN | POLLOUT) == 0, "nobody waits");
    int client = connect_to(port_of(listener));
    check(events_of(listener, POLLIN | POLLOUT) == POLLIN, "somebody waits");
    close(listener);
    check(FAILS(read(client, buffer, 1), ECONNRESET), "never accepted");
    close(client);
    // shutdown wakes accept.
    listener = listen_on("127.0.0.1", 0, 5);
    pid_t child = CHILD({
        nap(40);
        shutdown(listener, SHUT_RDWR);
    });
    check(FAILS(accept(listener, NULL, NULL), EINVAL), "shutdown ends accept");
    reap(child);
    // A killed member's connections.
    make_pair(pair);
    child = CHILD({
        close(pair[0]);
        raise(SIGKILL);
    });
    close(pair[1]);
    check(read(pair[0], buffer, 1) == 0, "a killed peer");
    reap(child);
    close(pair[0]);
    make_pair(pair);
    check(FAILS(recv(pair[0], buffer, 1, MSG_OOB), EINVAL), "no urgent byte");
    struct sockaddr none = {AF_UNSPEC};
    check(connect(pair[0], &none, sizeof none) == 0 && FAILS(read(pair[0], buffer, 1), ECONNRESET) &&
              FAILS(read(pair[0], buffer, 1), ENOTCONN),
          "AF_UNSPEC");
}

void urgent(void) {
    int pair[2], mark = -1, on = 1;
    char buffer[100];
    make_pair(pair);
    check(FAILS(recv(pair[1], buffer, 1, MSG_OOB), EINVAL), "nothing urgent");
    check(send(pair[0], "abcX", 4, MSG_OOB) == 4 && send(pair[0], "def", 3, 0) == 3, "MSG_OOB");
    nap(20);
    check((events_of(pair[1], POLLIN | POLLPRI) & POLLPRI) != 0, "POLLPRI");
    check(recv(pair[1], buffer, 99, 0) == 3 && memcmp(buffer, "abc", 3) == 0, "a receive ends before the mark");
    check(ioctl(pair[1], SIOCATMARK, &mark) == 0 && mark == 1, "SIOCATMARK");
    check(recv(pair[1], buffer, 9, MSG_OOB) == 1 && buffer[0] == 'X', "the urgent byte");
    check(FAILS(recv(pair[1], buffer, 1, MSG_OOB), EINVAL), "once");
    check(recv(pair[1], buffer, 99, 0) == 3 && memcmp(buffer, "def", 3) == 0, "what follows");
    check(ioctl(pair[1], SIOCATMARK, &mark) == 0 && mark == 0, "behind the mark");
    check(events_of(pair[1], POLLIN | POLLPRI) == 0, "quiet again");
    setsockopt(pair[1], SOL_SOCKET, SO_OOBINLINE, &on, sizeof on);
    send(pair[0], "gh", 2, 0), send(pair[0], "Y", 1, MSG_OOB), send(pair[0], "i", 1, 0);
    nap(20);
    check(recv(pair[1], buffer, 99, 0) == 2 && recv(pair[1], buffer, 99, 0) == 2 && buffer[0] == 'Y', "SO_OOBINLINE");
    int datagrams = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in name = inet_name("127.0.0.1", 9);
    check(FAILS(sendto(datagrams, "x", 1, MSG_OOB, SA(&name), sizeof name), EOPNOTSUPP), "not of datagrams");
}

void udp(void) {
    char buffer[100];
    int one = socket(AF_INET, SOCK_DGRAM, 0), two = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in name = inet_name("127.0.0.1", 0), from;
    socklen_t size = sizeof from;
    check(bind(two, SA(&name), sizeof name) == 0, "bind");
    name = inet_name("127.0.0.1", port_of(two));
    check(FAILS(send(one, "x", 1, 0), EDESTADDRREQ), "EDESTADDRREQ");
    check(sendto(one, "hello", 5, 0, SA(&name), sizeof name) == 5, "sendto");
    check(recvfrom(two, buffer, 99, 0, SA(&from), &size) == 5 && size == sizeof from &&
              ntohs(from.sin_port) == port_of(one) && from.sin_addr.s_addr == htonl(INADDR_LOOPBACK),
          "recvfrom");
    getsockname(one, SA(&from), &size);
    check(from.sin_addr.s_addr == 0, "a port, no address");
    check(connect(one, SA(&name), sizeof name) == 0 && send(one, "abc", 3, 0) == 3, "connect");
    getsockname(one, SA(&from), &size);
    check(from.sin_addr.s_addr == htonl(INADDR_LOOPBACK), "now an address");
    check(recv(two, buffer, 2, MSG_TRUNC) == 3, "MSG_TRUNC");
    // A connected one hears its partner only.
    int three = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in back = inet_name("127.0.0.1", port_of(one));
    check(sendto(three, "no", 2, 0, SA(&back), sizeof back) == 2, "a stranger sends");
    nap(10);
    check(FAILS(recv(one, buffer, 9, MSG_DONTWAIT), EAGAIN), "unheard");
    check(sendto(two, "yes", 3, 0, SA(&back), sizeof back) == 3 && recv(one, buffer, 9, 0) == 3,
          "the partner is heard");
    check(sendto(two, "", 0, 0, SA(&back), sizeof back) == 0 && recv(one, buffer, 9, 0) == 0, "nothing is something");
    close(two);
    check(send(one, "x", 1, 0) == 1, "to nobody");
    nap(10);
    check((events_of(one, POLLIN) & POLLERR) != 0 && FAILS(send(one, "x", 1, 0), ECONNREFUSED), "ECONNREFUSED");
    struct sockaddr none = {AF_UNSPEC};
    nap(10);
    option(one, SOL_SOCKET, SO_ERROR);
    check(connect(one, &none, sizeof none) == 0 && FAILS(send(one, "x", 1, 0), EDESTADDRREQ), "AF_UNSPEC");
    static char large[70000];
    check(FAILS(sendto(one, large, 65508, 0, SA(&name), sizeof name), EMSGSIZE), "EMSGSIZE");
    two = socket(AF_INET, SOCK_DGRAM, 0);
    name = inet_name("127.0.0.1", 0);
    bind(two, SA(&name), sizeof name);
    name.sin_port = htons(port_of(two));
    check(sendto(one, large, 65507, 0, SA(&name), sizeof name) == 65507 && recv(two, large, sizeof large, 0) == 65507,
          "the largest");
    check(sendto(one, "a", 1, MSG_MORE, SA(&name), sizeof name) == 1 &&
              sendto(one, "b", 1, 0, SA(&name), sizeof name) == 1 && recv(two, buffer, 9, 0) == 2,
          "MSG_MORE");
    // What there is no room for is lost.
    int sent = 0;
    for (; sent < 1000; ++sent)
        if (sendto(one, large, 1000, MSG_DONTWAIT, SA(&name), sizeof name) != 1000) break;
    check(sent == 1000, "a full receiver does not stop the sender");
    int on = 1, received = 0;
    while (recv(two, large, 1000, MSG_DONTWAIT) > 0) ++received;
    check(received > 10 && received < 1000, "it loses");
    setsockopt(two, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
    sendto(one, "i", 1, 0, SA(&name), sizeof name);
    char control[200];
    struct iovec vector = {buffer, 9};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    recvmsg(two, &message, 0);
    struct cmsghdr* header = CMSG_FIRSTHDR(&message);
    check(header != NULL && header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO &&
              ((struct in_pktinfo*)CMSG_DATA(header))->ipi_addr.s_addr == htonl(INADDR_LOOPBACK),
          "IP_PKTINFO");
    struct mmsghdr many[3] = {
        {.msg_hdr = {.msg_iov = &vector, .msg_iovlen = 1, .msg_name = &name, .msg_namelen = sizeof name}}};
    many[1] = many[2] = many[0];
    check(sendmmsg(one, many, 3, 0) == 3 && many[2].msg_len == 9, "sendmmsg");
    for (int i = 0; i < 3; ++i) many[i].msg_hdr.msg_name = NULL;
    check(recvmmsg(two, many, 3, MSG_WAITFORONE, NULL) == 3, "recvmmsg");
    check(FAILS(shutdown(three, SHUT_WR), ENOTCONN), "shutdown");
    check(FAILS(listen(three, 1), EOPNOTSUPP) && FAILS(accept(three, NULL, NULL), EOPNOTSUPP), "no connections");
}

void dual(void) {
    char buffer[100];
    int listener = socket(AF_INET6, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in6 any = inet6_name("::", 0), from;
    socklen_t size = sizeof from;
    check(bind(listener, SA(&any), sizeof any) == 0 && listen(listener, 5) == 0, "listen on ::");
    int port = port_of(listener), four = connect_to(port), six = socket(AF_INET6, SOCK_STREAM, 0);
    check(four >= 0, "IPv4 reaches it");
    int served = accept(listener, SA(&from), &size);
    check(size == sizeof from && IN6_IS_ADDR_V4MAPPED(&from.sin6_addr), "as a mapped address");
    struct sockaddr_in6 name = inet6_name("::1", port);
    check(connect(six, SA(&name), sizeof name) == 0, "IPv6 too");
    close(served);
    served = accept(listener, SA(&from), &size);
    check(IN6_IS_ADDR_LOOPBACK(&from.sin6_addr), "as itself");
    int mapped = socket(AF_INET6, SOCK_STREAM, 0);
    name = inet6_name("::ffff:127.0.0.1", port);
    check(connect(mapped, SA(&name), sizeof name) == 0, "a mapped destination");
    size = sizeof from;
    getsockname(mapped, SA(&from), &size);
    check(IN6_IS_ADDR_V4MAPPED(&from.sin6_addr), "from a mapped address");
    int other = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in plain = inet_name("0.0.0.0", port);
    check(FAILS(bind(other, SA(&plain), sizeof plain), EADDRINUSE), "both families are taken");
    close(listener), close(mapped), close(six), close(served), close(four);
    int only = socket(AF_INET6, SOCK_STREAM, 0);
    setsockopt(only, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    any = inet6_name("::", 0);
    bind(only, SA(&any), sizeof any), listen(only, 1);
    port = port_of(only);
    check(connect_to(port) == -1 && errno == ECONNREFUSED, "IPV6_V6ONLY");
    plain = inet_name("0.0.0.0", port);
    check(bind(other, SA(&plain), sizeof plain) == 0, "leaves IPv4 free");
    check(FAILS(setsockopt(only, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on), EINVAL), "too late");
    int datagrams = socket(AF_INET6, SOCK_DGRAM, 0), sender = socket(AF_INET, SOCK_DGRAM, 0);
    any = inet6_name("::", 0);
    bind(datagrams, SA(&any), sizeof any);
    plain = inet_name("127.0.0.1", port_of(datagrams));
    size = sizeof from;
    check(sendto(sender, "v4", 2, 0, SA(&plain), sizeof plain) == 2 &&
              recvfrom(datagrams, buffer, 9, 0, SA(&from), &size) == 2 && IN6_IS_ADDR_V4MAPPED(&from.sin6_addr),
          "datagrams");
    check(sendto(datagrams, "v6", 2, 0, SA(&from), size) == 2 && recv(sender, buffer, 9, 0) == 2, "and back");
    int wide = listen_on("0.0.0.0", 0, 1);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    plain = inet_name("127.1.2.3", port_of(wide));
    check(connect(client, SA(&plain), sizeof plain) == 0, "all of 127.0.0.0/8");
    size = sizeof plain;
    getsockname(accept(wide, NULL, NULL), SA(&plain), &size);
    check(plain.sin_addr.s_addr == inet_addr("127.1.2.3"), "by its address");
    plain = inet_name("0.0.0.0", port_of(wide));
    close(client);
    client = socket(AF_INET, SOCK_STREAM, 0);
    check(connect(client, SA(&plain), sizeof plain) == 0, "0.0.0.0 is here");
}

void options(void) {
    static const int switches[][2] = {
        {SOL_SOCKET, SO_REUSEADDR}, {SOL_SOCKET, SO_KEEPALIVE}, {SOL_SOCKET, SO_BROADCAST}, {SOL_SOCKET, SO_OOBINLINE},
        {SOL_SOCKET, SO_REUSEPORT}, {IPPROTO_TCP, TCP_NODELAY}, {IPPROTO_TCP, TCP_CORK},    {IPPROTO_IP, IP_RECVERR},
    };
    int fd = socket(AF_INET, SOCK_STREAM, 0), value = 7, good = 0, count = sizeof switches / sizeof *switches;
    for (int i = 0; i < count; ++i)
        good += option(fd, switches[i][0], switches[i][1]) == 0 &&
                setsockopt(fd, switches[i][0], switches[i][1], &value, sizeof value) == 0 &&
                option(fd, switches[i][0], switches[i][1]) == 1;
    check(good == count, "switches");
    static const int numbers[][4] = {
        {IPPROTO_TCP, TCP_KEEPIDLE, 7200, 100},
        {IPPROTO_TCP, TCP_KEEPINTVL, 75, 10},
        {IPPROTO_TCP, TCP_KEEPCNT, 9, 3},
        {IPPROTO_IP, IP_TTL, 64, 33},
        {IPPROTO_IP, IP_TOS, 0, 16},
        {SOL_SOCKET, SO_PRIORITY, 16 * 0, 3},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, 0, 9},
        {SOL_SOCKET, SO_RCVLOWAT, 1, 2},
    };
    good = 0, count = sizeof numbers / sizeof *numbers;
    for (int i = 0; i < count; ++i) {
        value = numbers[i][3];
        int before = option(fd, numbers[i][0], numbers[i][1]);
        int ok = (before == numbers[i][2] || numbers[i][1] == SO_PRIORITY) &&
                 setsockopt(fd, numbers[i][0], numbers[i][1], &value, sizeof value) == 0 &&
                 option(fd, numbers[i][0], numbers[i][1]) == value;
        if (!ok) printf("option %d %d: %d\n", numbers[i][0], numbers[i][1], before);
        good += ok;
    }
    check(good == count, "numbers");
    check(option(fd, SOL_SOCKET, SO_TYPE) == SOCK_STREAM && option(fd, SOL_SOCKET, SO_DOMAIN) == AF_INET &&
              option(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_TCP && option(fd, SOL_SOCKET, SO_ACCEPTCONN) == 0,
          "what it is");
    value = 10000;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &value, sizeof value);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &value, sizeof value);
    check(option(fd, SOL_SOCKET, SO_SNDBUF) == 20000 && option(fd, SOL_SOCKET, SO_RCVBUF) == 20000,
          "buffers count double");
    struct linger linger = {1, 5};
    socklen_t size = sizeof linger;
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    linger = (struct linger){0, 0};
    check(getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &size) == 0 && linger.l_onoff == 1 && linger.l_linger == 5,
          "SO_LINGER");
    struct timeval time = {1, 500000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
    time = (struct timeval){0, 0};
    size = sizeof time;
    check(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, &size) == 0 && time.tv_sec == 1 && time.tv_usec >= 500000,
          "SO_RCVTIMEO");
    time.tv_usec = 2000000;
    check(FAILS(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time), EDOM), "EDOM");
    value = 1;
    check(FAILS(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &value, 1), EINVAL), "too short");
    check(FAILS(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, (void*)8, 4), EFAULT), "EFAULT");
    check(FAILS(setsockopt(fd, SOL_SOCKET, 9999, &value, 4), ENOPROTOOPT), "ENOPROTOOPT");
    check(FAILS(setsockopt(fd, 500, 1, &value, 4), ENOPROTOOPT), "an unknown level");
    check(FAILS(setsockopt(fd, IPPROTO_UDP, 1, &value, 4), ENOPROTOOPT), "another protocol's level");
    size = sizeof value;
    check(FAILS(getsockopt(fd, IPPROTO_UDP, 1, &value, &size), EOPNOTSUPP), "and to read");
    int local = socket(AF_UNIX, SOCK_STREAM, 0);
    check(FAILS(setsockopt(local, IPPROTO_TCP, TCP_NODELAY, &value, 4), EOPNOTSUPP), "not of Unix sockets");
    check(FAILS(getsockopt(0x7fff, SOL_SOCKET, SO_TYPE, &value, &size), EBADF), "EBADF");
    int file = open("/dev/null", O_RDONLY);
    check(FAILS(getsockopt(file, SOL_SOCKET, SO_TYPE, &value, &size), ENOTSOCK), "ENOTSOCK");
    struct tcp_info info;
    size = sizeof info;
    check(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 && info.tcpi_state == 7, "TCP_INFO");
    value = 300;
    check(FAILS(setsockopt(fd, IPPROTO_IP, IP_TTL, &value, 4), EINVAL), "out of bounds");
    value = -1;
    check(setsockopt(fd, IPPROTO_IP, IP_TTL, &value, 4) == 0 && option(fd, IPPROTO_IP, IP_TTL) == 64,
          "back to its first");
}

void readiness(void) {
    int epoll = epoll_create1(0), listener = listen_on("127.0.0.1", 0, 5);
    struct epoll_event event = {EPOLLIN | EPOLLET, {.u32 = 1}}, got[4];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    check(epoll_wait(epoll, got, 4, 0) == 0, "nothing yet");
    int client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    event = (struct epoll_event){EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, {.u32 = 2}};
    epoll_ctl(epoll, EPOLL_CTL_ADD, client, &event);
    check(epoll_wait(epoll, got, 4, 0) == 1 && got[0].events == (EPOLLOUT | EPOLLHUP), "not connected");
    struct sockaddr_in name = inet_name("127.0.0.1", port_of(listener));
    connect(client, SA(&name), sizeof name);
    int seen = 0;
    for (int i = 0; i < 10 && seen != 3; ++i) {
        int count = epoll_wait(epoll, got, 4, 50);
        for (int at = 0; at < count; ++at)
            seen |= got[at].data.u32 == 1 && got[at].events == EPOLLIN    ? 1
                    : got[at].data.u32 == 2 && got[at].events == EPOLLOUT ? 2
                                                                          : 0;
    }
    check(seen == 3, "connected, and to be accepted");
    check(epoll_wait(epoll, got, 4, 0) == 0, "told once");
    int served = accept(listener, NULL, NULL);
    write(served, "x", 1);
    check(epoll_wait(epoll, got, 4, 1000) == 1 && got[0].events == (EPOLLIN | EPOLLOUT), "a byte");
    check(epoll_wait(epoll, got, 4, 0) == 0, "told once");
    write(served, "y", 1);
    check(epoll_wait(epoll, got, 4, 1000) == 1, "another byte is another edge");
    pid_t child = CHILD({
        nap(40);
        shutdown(served, SHUT_WR);
    });
    check(epoll_wait(epoll, got, 4, 1000) == 1 && got[0].events == (EPOLLIN | EPOLLOUT | EPOLLRDHUP), "half closed");
    reap(child);
    // Room for a writer.
    static char much[8 << 20];
    fcntl(client, F_SETFL, O_NONBLOCK);
    long sent = 0, some;
    while ((some = write(client, much, sizeof much)) > 0) sent += some;
    check(errno == EAGAIN && sent > 0, "full");
    event.events = EPOLLOUT;
    epoll_ctl(epoll, EPOLL_CTL_MOD, client, &event);
    check(epoll_wait(epoll, got, 4, 0) == 0, "not writable");
    child = CHILD({
        long left = sent;
        while (left > 0 && (some = read(served, much, sizeof much)) > 0) left -= some;
    });
    check(epoll_wait(epoll, got, 4, 5000) == 1 && (got[0].events & EPOLLOUT) != 0, "writable again");
    reap(child);
}

void sharing(void) {
    int on = 1, one = socket(AF_INET, SOCK_STREAM, 0), two = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in name = inet_name("127.0.0.1", 0);
    bind(one, SA(&name), sizeof name);
    name.sin_port = htons(port_of(one));
    check(FAILS(bind(two, SA(&name), sizeof name), EADDRINUSE), "EADDRINUSE");
    check(FAILS(bind(one, SA(&name), sizeof name), EINVAL), "bound twice");
    setsockopt(one, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on),
        setsockopt(two, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    check(bind(two, SA(&name), sizeof name) == 0, "SO_REUSEADDR while nobody listens");
    check(listen(one, 1) == 0 && FAILS(listen(two, 1), EADDRINUSE), "one may listen");
    close(two);
    two = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(two, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    check(FAILS(bind(two, SA(&name), sizeof name), EADDRINUSE), "not beside a listener");
    struct sockaddr_in other = inet_name("127.0.0.2", ntohs(name.sin_port));
    check(bind(two, SA(&other), sizeof other) == 0, "another address");
    close(one), close(two);
    int group[2];
    for (int i = 0; i < 2; ++i) {
        group[i] = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(group[i], SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
        if (i == 0) name = inet_name("127.0.0.1", 0);
        check(bind(group[i], SA(&name), sizeof name) == 0 && listen(group[i], 64) == 0, "SO_REUSEPORT");
        name.sin_port = htons(port_of(group[0]));
    }
    int counts[2] = {0, 0};
    for (int i = 0; i < 40; ++i) connect_to(ntohs(name.sin_port));
    for (int i = 0; i < 2; ++i) {
        fcntl(group[i], F_SETFL, O_NONBLOCK);
        while (accept(group[i], NULL, NULL) >= 0) ++counts[i];
    }
    check(counts[0] > 0 && counts[1] > 0 && counts[0] + counts[1] == 40, "both are served");
    // A server's port is free again for one that says SO_REUSEADDR, connections or not.
    int listener = listen_on("127.0.0.1", 0, 1), port = port_of(listener), client = connect_to(port);
    int served = accept(listener, NULL, NULL);
    close(listener);
    listener = listen_on("127.0.0.1", port, 1);
    check(listener >= 0, "restarted beside an old connection");
    int plain = socket(AF_INET, SOCK_STREAM, 0);
    name = inet_name("127.0.0.1", port);
    check(FAILS(bind(plain, SA(&name), sizeof name), EADDRINUSE), "not without the option");
    // Inherited over exec.
    pid_t child = CHILD({
        dup2(served, 9);
        execl("/bin/sh", "sh", "-c", "echo served >&9", NULL);
    });
    char buffer[10] = "";
    check(read(client, buffer, 9) == 7 && memcmp(buffer, "served", 6) == 0, "over exec");
    reap(child);
}

void interfaces(void) {
    struct ifaddrs *list = NULL, *at;
    int four = 0, six = 0;
    check(getifaddrs(&list) == 0, "getifaddrs");
    for (at = list; at != NULL; at = at->ifa_next) {
        if (strcmp(at->ifa_name, "lo") != 0 || at->ifa_addr == NULL) continue;
        if (at->ifa_addr->sa_family == AF_INET)
            four = ((struct sockaddr_in*)at->ifa_addr)->sin_addr.s_addr == htonl(INADDR_LOOPBACK) &&
                   (at->ifa_flags & (IFF_UP | IFF_LOOPBACK)) == (IFF_UP | IFF_LOOPBACK);
        if (at->ifa_addr->sa_family == AF_INET6) six = 1;
    }
    check(four == 1, "lo has 127.0.0.1");
    check(if_nametoindex("lo") == 1, "if_nametoindex");
    char text[IF_NAMESIZE];
    check(if_indextoname(1, text) != NULL && strcmp(text, "lo") == 0, "if_indextoname");
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST},
                    *result = NULL;
    check(getaddrinfo("127.0.0.1", "80", &hints, &result) == 0, "getaddrinfo");
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct ifreq request = {.ifr_name = "lo"};
    check(ioctl(fd, SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_UP) != 0, "SIOCGIFFLAGS");
    check(ioctl(fd, SIOCGIFMTU, &request) == 0 && request.ifr_mtu == 65536, "SIOCGIFMTU");
    check(ioctl(fd, SIOCGIFADDR, &request) == 0 &&
              ((struct sockaddr_in*)&request.ifr_addr)->sin_addr.s_addr == htonl(INADDR_LOOPBACK),
          "SIOCGIFADDR");
    strcpy(request.ifr_name, "none0");
    check(FAILS(ioctl(fd, SIOCGIFFLAGS, &request), ENODEV), "ENODEV");
    struct ifreq all[16];
    struct ifconf list_request = {.ifc_len = sizeof all, .ifc_req = all};
    check(ioctl(fd, SIOCGIFCONF, &list_request) == 0 && list_request.ifc_len >= (int)sizeof *all &&
              strcmp(all[0].ifr_name, "lo") == 0,
          "SIOCGIFCONF");
    check(FAILS(ioctl(fd, 0x5401, &request), ENOTTY), "no terminal");
    int netlink = socket(AF_NETLINK, SOCK_RAW, 0);
    struct sockaddr_nl name = {.nl_family = AF_NETLINK};
    socklen_t size = sizeof name;
    check(bind(netlink, SA(&name), sizeof name) == 0 && getsockname(netlink, SA(&name), &size) == 0 &&
              name.nl_pid == (unsigned)getpid(),
          "netlink");
    FILE* ports = fopen("/proc/net/tcp", "r");
    int listener = listen_on("127.0.0.1", 0, 1), found = 0;
    char line[300], wanted[30];
    snprintf(wanted, sizeof wanted, "0100007F:%04X 00000000:0000 0A", port_of(listener));
    fclose(ports);
    ports = fopen("/proc/net/tcp", "r");
    while (fgets(line, sizeof line, ports) != NULL) found += strstr(line, wanted) != NULL;
    check(found == 1, "/proc/net/tcp");
    fclose(ports);
}

void transfers(void) {
    int pair[2], file = open("data", O_CREAT | O_RDWR, 0600), pipes[2];
    static char text[200000], back[200000];
    for (size_t i = 0; i < sizeof text; ++i) text[i] = (char)(i * 13);
    write(file, text, sizeof text);
    make_pair(pair);
    pid_t child = CHILD({
        off_t offset = 100;
        size_t done = 0;
        while (done < sizeof text - 100) {
            ssize_t some = sendfile(pair[0], file, &offset, sizeof text);
            if (some <= 0) _exit(1);
            done += some;
        }
        _exit(offset == (off_t)sizeof text ? 0 : 2);
    });
    size_t total = 0;
    while (total < sizeof text - 100) {
        ssize_t some = read(pair[1], back + total, sizeof back - total);
        if (some <= 0) break;
        total += some;
    }
    check(reap(child) == 0 && total == sizeof text - 100 && memcmp(back, text + 100, total) == 0, "sendfile");
    pipe(pipes);
    write(pair[0], "spliced", 7);
    nap(10);
    check(splice(pair[1], NULL, pipes[1], NULL, 100, 0) == 7 && read(pipes[0], back, 99) == 7, "splice from a socket");
    write(pipes[1], "back", 4);
    check(splice(pipes[0], NULL, pair[1], NULL, 100, 0) == 4 && read(pair[0], back, 99) == 4, "splice to a socket");
    unlink("data");
    dup2(pair[0], 50);
    check(write(50, "d", 1) == 1 && read(pair[1], back, 9) == 1, "dup");
    struct iovec vectors[3] = {{"ab", 2}, {NULL, 0}, {"cde", 3}};
    check(writev(pair[0], vectors, 3) == 5 && read(pair[1], back, 99) == 5 && memcmp(back, "abcde", 5) == 0, "writev");
    check(FAILS(write(pair[0], (void*)8, 4), EFAULT), "EFAULT");
    check(FAILS(lseek(pair[0], 0, SEEK_CUR), ESPIPE), "ESPIPE");
}

void beyond(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), datagrams = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in name = inet_name("192.0.2.1", 80);
    check(FAILS(connect(fd, SA(&name), sizeof name), ENETUNREACH), "TCP");
    check(FAILS(connect(datagrams, SA(&name), sizeof name), ENETUNREACH), "UDP");
    check(FAILS(sendto(datagrams, "x", 1, 0, SA(&name), sizeof name), ENETUNREACH), "a datagram");
    check(FAILS(bind(fd, SA(&name), sizeof name), EADDRNOTAVAIL), "no such address here");
    int six = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 far = inet6_name("2001:db8::1", 80);
    check(FAILS(connect(six, SA(&far), sizeof far), ENETUNREACH), "IPv6");
    check(FAILS(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), EPERM), "raw");
    check(FAILS(socket(AF_PACKET, SOCK_RAW, 0), EAFNOSUPPORT), "packets");
    check(FAILS(socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT), EPROTONOSUPPORT), "other netlinks");
}
