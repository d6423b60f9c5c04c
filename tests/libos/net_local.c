// SPDX-License-Identifier: Apache-2.0
// Unix sockets: unix(7).
#include "net_guest.h"

#define SA(address) ((struct sockaddr*)(address))

void names(void) {
    struct sockaddr_un address, got;
    socklen_t size = local_name(&address, "door"), length;
    char buffer[64];
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(FAILS(connect(client, SA(&address), size), ENOENT), "no such name");
    check(FAILS(listen(listener, 5), EINVAL), "listen without a name");
    umask(027);
    check(bind(listener, SA(&address), size) == 0, "bind");
    struct stat st;
    check(stat("door", &st) == 0 && S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0750, "a socket inode");
    check(open("door", O_RDONLY) == -1 && errno == ENXIO, "open answers ENXIO");
    check(FAILS(connect(client, SA(&address), size), ECONNREFUSED), "nobody listens yet");
    check(FAILS(bind(listener, SA(&address), size), EADDRINUSE), "bound to its own name");
    struct sockaddr_un second;
    check(FAILS(bind(listener, SA(&second), local_name(&second, "second")), EINVAL), "bound twice");
    check(access("second", F_OK) != 0, "nothing is left of it");
    int other = socket(AF_UNIX, SOCK_STREAM, 0);
    check(FAILS(bind(other, SA(&address), size), EADDRINUSE), "EADDRINUSE");
    check(FAILS(accept(listener, NULL, NULL), EINVAL), "accept before listen");
    check(listen(listener, 5) == 0, "listen");
    check(option(listener, SOL_SOCKET, SO_ACCEPTCONN) == 1, "SO_ACCEPTCONN");
    check(connect(client, SA(&address), size) == 0, "connect before accept");
    check(FAILS(connect(client, SA(&address), size), EISCONN), "EISCONN");
    check(write(client, "early", 5) == 5, "written before accept");
    length = sizeof got;
    int served = accept4(listener, SA(&got), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    check(served >= 0 && length == 2 && got.sun_family == AF_UNIX, "accept4 tells an unnamed peer");
    check((fcntl(served, F_GETFL) & O_NONBLOCK) != 0 && fcntl(served, F_GETFD) == FD_CLOEXEC, "accept4 flags");
    check(read(served, buffer, 9) == 5 && memcmp(buffer, "early", 5) == 0, "the bytes came");
    check(FAILS(read(served, buffer, 9), EAGAIN), "and no more");
    length = sizeof got;
    check(getsockname(served, SA(&got), &length) == 0 && length == size && strcmp(got.sun_path, "door") == 0,
          "the accepted end has the listener's name");
    length = sizeof got;
    check(getpeername(client, SA(&got), &length) == 0 && strcmp(got.sun_path, "door") == 0, "getpeername");
    length = 4;
    memset(&got, 0xff, sizeof got);
    check(getpeername(client, SA(&got), &length) == 0 && length == size && got.sun_path[1] == 'o' &&
              got.sun_path[2] == (char)0xff,
          "cut to the caller's room");
    check(rename("door", "gate") == 0, "rename");
    local_name(&address, "gate");
    check(connect(other, SA(&address), size) == 0, "found under its new name");
    check(symlink("gate", "way") == 0, "symlink");
    local_name(&address, "way");
    int third = socket(AF_UNIX, SOCK_STREAM, 0);
    check(connect(third, SA(&address), size - 1) == 0, "found through a link");
    check(unlink("way") == 0 && unlink("gate") == 0, "unlink");
    int late = socket(AF_UNIX, SOCK_STREAM, 0);
    check(FAILS(connect(late, SA(&address), size), ENOENT), "gone");
    int wrong = socket(AF_UNIX, SOCK_DGRAM, 0);
    local_name(&address, "door");
    check(bind(wrong, SA(&address), size) == 0 && FAILS(connect(late, SA(&address), size), EPROTOTYPE), "EPROTOTYPE");
    close(wrong);
    check(FAILS(connect(late, SA(&address), size), ECONNREFUSED), "a name without socket");
    int fresh = socket(AF_UNIX, SOCK_STREAM, 0);
    check(FAILS(bind(fresh, SA(&address), size), EADDRINUSE), "still taken");
    unlink("door");
    close(open("door", O_CREAT | O_WRONLY, 0600));
    check(FAILS(connect(late, SA(&address), size), ECONNREFUSED), "a plain file");
    unlink("door");
    local_name(&address, "none/door");
    check(FAILS(bind(fresh, SA(&address), sizeof address), ENOENT), "no such directory");
    // Abstract names and those that the system chooses.
    size = local_name(&address, "@libos net test");
    check(bind(fresh, SA(&address), size) == 0 && listen(fresh, 1) == 0, "abstract");
    check(FAILS(bind(wrong = socket(AF_UNIX, SOCK_STREAM, 0), SA(&address), size), EADDRINUSE), "abstract in use");
    check(FAILS(connect(late, SA(&address), size - 1), ECONNREFUSED), "another abstract name");
    check(connect(late, SA(&address), size) == 0, "abstract connect");
    close(fresh);
    check(bind(wrong, SA(&address), size) == 0, "free again");
    int chosen = socket(AF_UNIX, SOCK_DGRAM, 0);
    address.sun_family = AF_UNIX;
    check(bind(chosen, SA(&address), 2) == 0, "autobind");
    length = sizeof got;
    check(getsockname(chosen, SA(&got), &length) == 0 && length == 8 && got.sun_path[0] == 0, "five digits");
    check(FAILS(bind(socket(AF_UNIX, SOCK_STREAM, 0), SA(&address), 1), EINVAL), "too short");
    check(mknod("made", S_IFSOCK | 0600, 0) == 0 && stat("made", &st) == 0 && S_ISSOCK(st.st_mode), "mknod");
    size = local_name(&address, "made");
    check(FAILS(connect(socket(AF_UNIX, SOCK_STREAM, 0), SA(&address), size), ECONNREFUSED),
          "mknod's name is nobody's");
    unlink("made");
}

void datagrams(void) {
    struct sockaddr_un a, b, got;
    socklen_t asize = local_name(&a, "a"), bsize = local_name(&b, "@b of datagrams"), length = sizeof got;
    char buffer[5000] = {0};
    int one = socket(AF_UNIX, SOCK_DGRAM, 0), two = socket(AF_UNIX, SOCK_DGRAM, 0);
    check(FAILS(send(one, "x", 1, 0), ENOTCONN), "not connected");
    check(bind(one, SA(&a), asize) == 0 && bind(two, SA(&b), bsize) == 0, "bind");
    check(sendto(one, "hello", 5, 0, SA(&b), bsize) == 5, "sendto");
    check(recvfrom(two, buffer, 9, 0, SA(&got), &length) == 5 && length == asize && strcmp(got.sun_path, "a") == 0,
          "recvfrom tells the sender");
    check(sendto(two, "back", 4, 0, SA(&got), length) == 4 && recv(one, buffer, 9, 0) == 4, "answered");
    check(sendto(one, "", 0, 0, SA(&b), bsize) == 0 && sendto(one, "abcdef", 6, 0, SA(&b), bsize) == 6, "boundaries");
    int bytes = -1;
    check(ioctl(two, FIONREAD, &bytes) == 0 && bytes == 0, "FIONREAD of an empty one");
    check(recv(two, buffer, 9, 0) == 0 && ioctl(two, FIONREAD, &bytes) == 0 && bytes == 6, "FIONREAD");
    check(recv(two, buffer, 3, MSG_PEEK | MSG_TRUNC) == 6, "MSG_PEEK and MSG_TRUNC");
    struct iovec vector = {buffer, 3};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_name = &got, .msg_namelen = sizeof got};
    check(recvmsg(two, &message, 0) == 3 && message.msg_flags == MSG_TRUNC && message.msg_namelen == asize,
          "MSG_TRUNC");
    check(FAILS(recv(two, buffer, 1, MSG_DONTWAIT), EAGAIN), "empty");
    // A receiver that does not read stops strangers, not for ever.
    int count = 0;
    while (count < 1000 && sendto(one, "x", 1, MSG_DONTWAIT, SA(&b), bsize) == 1) ++count;
    check(errno == EAGAIN && count >= 10 && count < 1000, "a full queue");
    check(connect(one, SA(&b), bsize) == 0, "connect");
    check((events_of(one, POLLOUT) & POLLOUT) == 0, "not writable");
    pid_t child = CHILD({
        nap(50);
        while (recv(two, buffer, 9, MSG_DONTWAIT) == 1) {
        }
    });
    check(send(one, "y", 1, 0) == 1, "waits for room");
    reap(child);
    check(connect(two, SA(&a), asize) == 0, "connect back");
    int third = socket(AF_UNIX, SOCK_DGRAM, 0);
    check(FAILS(sendto(third, "z", 1, 0, SA(&b), bsize), EPERM), "a connected one takes from its partner only");
    check(FAILS(connect(third, SA(&b), bsize), EPERM), "nor can others connect");
    while (recv(two, buffer, 9, MSG_DONTWAIT) >= 0) {
    }
    close(two);
    check(FAILS(send(one, "x", 1, 0), ECONNREFUSED), "the receiver is gone");
    check(FAILS(send(one, "x", 1, 0), ENOTCONN), "and the connection with it");
    check(FAILS(sendto(one, "x", 1, 0, SA(&b), bsize), ECONNREFUSED), "its name too");
    int size = 5000;
    setsockopt(one, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    static char large[300000];
    check(FAILS(sendto(one, large, sizeof large, 0, SA(&a), asize), EMSGSIZE), "EMSGSIZE");
    check(sendto(one, "self", 4, 0, SA(&a), asize) == 4 && recv(one, buffer, 9, 0) == 4, "to itself");
    struct sockaddr none = {AF_UNSPEC};
    check(connect(one, SA(&a), asize) == 0 && send(one, "s", 1, 0) == 1 && recv(one, buffer, 9, 0) == 1,
          "connected to itself");
    check(connect(one, &none, sizeof none) == 0 && FAILS(send(one, "x", 1, 0), ENOTCONN), "AF_UNSPEC");
    unlink("a");
    int pair[2];
    socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
    shutdown(pair[0], SHUT_RD);
    check(FAILS(send(pair[1], "x", 1, MSG_NOSIGNAL), EPIPE), "the receiver has shut down");
}

void packets(void) {
    struct sockaddr_un address;
    socklen_t size = local_name(&address, "@packets of net");
    char buffer[100];
    int listener = socket(AF_UNIX, SOCK_SEQPACKET, 0), client = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    check(FAILS(send(client, "x", 1, MSG_NOSIGNAL), ENOTCONN), "not connected");
    check(bind(listener, SA(&address), size) == 0 && listen(listener, 1) == 0, "listen");
    check(connect(client, SA(&address), size) == 0, "connect");
    int served = accept(listener, NULL, NULL);
    check(served >= 0, "accept");
    write(client, "one", 3), write(client, "three", 5);
    check(read(served, buffer, 9) == 3 && read(served, buffer, 2) == 2, "boundaries");
    check(FAILS(recv(served, buffer, 9, MSG_DONTWAIT), EAGAIN), "the rest is lost");
    close(client);
    check(read(served, buffer, 9) == 0, "the end");
    check(FAILS(send(served, "x", 1, MSG_NOSIGNAL), EPIPE), "EPIPE");
}

static int pass(int socket, const int* fds, int count, const char* text) {
    char control[CMSG_SPACE(sizeof(int) * 260)];
    memset(control, 0, sizeof control);
    struct iovec vector = {(char*)text, strlen(text)};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(sizeof(int) * count)};
    struct cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET, header->cmsg_type = SCM_RIGHTS, header->cmsg_len = CMSG_LEN(sizeof(int) * count);
    memcpy(CMSG_DATA(header), fds, sizeof(int) * count);
    return sendmsg(socket, &message, 0);
}
static int take(int socket, int* fds, int room, int flags, int* told) {
    char control[CMSG_SPACE(sizeof(int) * 260)], buffer[100];
    struct iovec vector = {buffer, sizeof buffer};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_LEN(sizeof(int) * room)};
    int got = recvmsg(socket, &message, flags);
    *told = message.msg_flags;
    struct cmsghdr* header = CMSG_FIRSTHDR(&message);
    if (got < 0 || header == NULL || header->cmsg_type != SCM_RIGHTS) return 0;
    int count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(fds, CMSG_DATA(header), count * sizeof(int));
    return count;
}

void passing(void) {
    int pair[2], inner[2], got[260], told = 0;
    char buffer[100];
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    pipe(inner);
    check(pass(pair[0], inner, 2, "two") == 3, "two descriptors");
    close(inner[0]), close(inner[1]);
    check(take(pair[1], got, 2, MSG_CMSG_CLOEXEC, &told) == 2, "arrive");
    check(fcntl(got[0], F_GETFD) == FD_CLOEXEC, "MSG_CMSG_CLOEXEC");
    check(write(got[1], "x", 1) == 1 && read(got[0], buffer, 9) == 1, "and work");
    check(pass(pair[0], got, 2, "cut") == 3 && take(pair[1], got + 2, 1, 0, &told) == 1 && (told & MSG_CTRUNC) != 0,
          "MSG_CTRUNC");
    close(got[2]);
    check(pass(pair[0], got, 1, "aa") == 2 && write(pair[0], "bb", 2) == 2 && take(pair[1], got + 2, 1, 0, &told) == 1,
          "a boundary behind descriptors");
    close(got[2]);
    check(recv(pair[1], buffer, 9, MSG_DONTWAIT) == 2, "what follows comes next");
    write(pair[0], "cc", 2), pass(pair[0], got, 1, "dd");
    check(take(pair[1], got + 2, 1, 0, &told) == 1, "none before them");
    close(got[2]);
    check(pass(pair[0], got, 1, "pp") == 2 && take(pair[1], got + 2, 1, MSG_PEEK, &told) == 1 &&
              take(pair[1], got + 3, 1, 0, &told) == 1 && got[2] != got[3],
          "peeked and received");
    close(got[2]), close(got[3]);
    check(pass(pair[0], got, 1, "rr") == 2 && read(pair[1], buffer, 9) == 2, "read drops them");
    int bad = 9999;
    check(FAILS(pass(pair[0], &bad, 1, "x"), EBADF), "EBADF");
    int many[254];
    for (int i = 0; i < 254; ++i) many[i] = got[0];
    check(FAILS(pass(pair[0], many, 254, "x"), EINVAL), "more than SCM_MAX_FD");
    check(pass(pair[0], many, 253, "x") == 1 && take(pair[1], got + 2, 253, 0, &told) == 253, "as many as that");
    for (int i = 0; i < 253; ++i) close(got[2 + i]);
    // Across processes that share nothing but the socket; the descriptor outlives its sender.
    pid_t child = CHILD({
        int file = open("passed", O_CREAT | O_RDWR, 0600);
        write(file, "content", 7);
        pass(pair[0], &file, 1, "f");
    });
    reap(child);
    check(take(pair[1], got + 2, 1, 0, &told) == 1 && pread(got[2], buffer, 9, 0) == 7, "a dead sender's file");
    unlink("passed");
    // A file that only its sender had open, of the host's inside a picoprocess.
    char direct[50] = "";
    int passwords = open("/etc/passwd", O_RDONLY);
    lseek(passwords, 5, SEEK_SET);
    read(passwords, direct, 40);
    close(passwords);
    child = CHILD({
        int file = open("/etc/passwd", O_RDONLY);
        lseek(file, 5, SEEK_SET);
        pass(pair[0], &file, 1, "h");
    });
    reap(child);
    memset(buffer, 0, sizeof buffer);
    check(take(pair[1], got + 2, 1, 0, &told) == 1 && read(got[2], buffer, 40) == 40 && memcmp(buffer, direct, 40) == 0,
          "a host's file from a child");
    close(got[2]);
    // What nobody received ends with the socket.
    pipe(inner);
    pass(pair[0], &inner[1], 1, "z");
    close(inner[1]);
    close(pair[0]), close(pair[1]);
    check(read(inner[0], buffer, 1) == 0, "in flight when the socket closed");
}

void credentials(void) {
    int pair[2], on = 1;
    char buffer[10], control[200];
    struct ucred peer;
    socklen_t size = sizeof peer;
    struct sockaddr_un address;
    socklen_t length = local_name(&address, "@credentials of net");
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    bind(listener, SA(&address), length), listen(listener, 1);
    pid_t child = CHILD({
        int client = socket(AF_UNIX, SOCK_STREAM, 0);
        connect(client, SA(&address), length);
        struct ucred server;
        socklen_t room = sizeof server;
        getsockopt(client, SOL_SOCKET, SO_PEERCRED, &server, &room);
        if (server.pid != getppid()) _exit(1);
        write(client, "c", 1);
        read(client, buffer, 1);
    });
    int served = accept(listener, NULL, NULL);
    check(getsockopt(served, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid == child && peer.uid == getuid(),
          "SO_PEERCRED of a connection");
    setsockopt(served, SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    check(option(served, SOL_SOCKET, SO_PASSCRED) == 1, "SO_PASSCRED");
    check(read(served, buffer, 1) == 1, "a byte from the client");
    close(served);
    check(reap(child) == 0, "the client knows the server");
    socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
    setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    child = CHILD(write(pair[0], "x", 1));
    reap(child);
    struct iovec vector = {buffer, sizeof buffer};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    check(recvmsg(pair[1], &message, 0) == 1, "a message");
    struct cmsghdr* header = CMSG_FIRSTHDR(&message);
    check(header != NULL && header->cmsg_type == SCM_CREDENTIALS && header->cmsg_len == CMSG_LEN(sizeof peer),
          "with credentials");
    memcpy(&peer, CMSG_DATA(header), sizeof peer);
    check(peer.pid == child && peer.uid == getuid() && peer.gid == getgid(), "of the sender");
    // Claimed ones.
    memset(control, 0, sizeof control);
    message.msg_controllen = CMSG_SPACE(sizeof peer);
    header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET, header->cmsg_type = SCM_CREDENTIALS, header->cmsg_len = CMSG_LEN(sizeof peer);
    peer.pid = getpid();
    memcpy(CMSG_DATA(header), &peer, sizeof peer);
    check(sendmsg(pair[0], &message, 0) > 0, "true ones may be claimed");
    if (setresuid(65534, 65534, 65534) == 0) {
        peer.pid = 1;
        memcpy(CMSG_DATA(header), &peer, sizeof peer);
        check(FAILS(sendmsg(pair[0], &message, 0), EPERM), "false ones may not");
    }
}

void backlog(void) {
    struct sockaddr_un address;
    socklen_t size = local_name(&address, "@backlog of net");
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    bind(listener, SA(&address), size), listen(listener, 1);
    int fds[5], made = 0;
    for (int i = 0; i < 5; ++i) {
        fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (connect(fds[i], SA(&address), size) == 0) ++made;
    }
    check(made == 2 && errno == EAGAIN, "one more than the backlog, then EAGAIN");
    pid_t child = CHILD({
        int waiting = socket(AF_UNIX, SOCK_STREAM, 0);
        _exit(connect(waiting, SA(&address), size) == 0 ? 0 : 1);
    });
    nap(50);
    check(waitpid(child, NULL, WNOHANG) == 0, "a blocking one waits");
    close(accept(listener, NULL, NULL));
    check(reap(child) == 0, "until there is room");
    struct timeval time = {0, 50000};
    int patient = socket(AF_UNIX, SOCK_STREAM, 0);
    setsockopt(patient, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
    check(FAILS(connect(patient, SA(&address), size), EAGAIN), "or its time is over");
    int slow = socket(AF_UNIX, SOCK_STREAM, 0);
    bind(slow, SA(&address), 2), listen(slow, 1);
    setsockopt(slow, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
    check(FAILS(accept(slow, NULL, NULL), EAGAIN), "accept with SO_RCVTIMEO");
    // The rest is refused when the listener goes.
    close(listener);
    char byte;
    check(FAILS(read(fds[1], &byte, 1), ECONNRESET) && read(fds[1], &byte, 1) == 0, "never accepted");
    // Without a free descriptor nobody is accepted, and nobody lost.
    struct rlimit limit, before;
    getrlimit(RLIMIT_NOFILE, &before);
    int full = socket(AF_UNIX, SOCK_STREAM, 0), knocks = socket(AF_UNIX, SOCK_STREAM, 0);
    size = local_name(&address, "@full of net");
    bind(full, SA(&address), size), listen(full, 3), connect(knocks, SA(&address), size), write(knocks, "k", 1);
    limit = before, limit.rlim_cur = knocks + 1;
    setrlimit(RLIMIT_NOFILE, &limit);
    check(FAILS(accept(full, NULL, NULL), EMFILE), "EMFILE");
    setrlimit(RLIMIT_NOFILE, &before);
    int later = accept(full, NULL, NULL);
    check(later >= 0 && read(later, &byte, 1) == 1, "accepted later");
    // A signal ends a wait.
    handle(SIGALRM, 0);
    child = CHILD({
        nap(60);
        kill(getppid(), SIGALRM);
    });
    time.tv_usec = 0;
    setsockopt(slow, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
    check(FAILS(accept(slow, NULL, NULL), EINTR) && caught == SIGALRM, "EINTR");
    reap(child);
    signal(SIGALRM, SIG_DFL);
    alarm(45);
}

void ends(void) {
    int pair[2];
    char buffer[100];
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    write(pair[1], "unread", 6);
    close(pair[0]);
    check(FAILS(read(pair[1], buffer, 9), ECONNRESET) && read(pair[1], buffer, 9) == 0, "closed with unread bytes");
    check(FAILS(send(pair[1], "x", 1, MSG_NOSIGNAL), EPIPE), "EPIPE");
    close(pair[1]);
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    pid_t child = CHILD({
        close(pair[0]);
        write(pair[1], "last", 4);
        kill(getpid(), SIGKILL);
    });
    close(pair[1]);
    check(read(pair[0], buffer, 9) == 4 && read(pair[0], buffer, 9) == 0, "a killed peer's bytes, then the end");
    reap(child);
    close(pair[0]);
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    check(events_of(pair[0], POLLIN | POLLOUT | POLLRDHUP) == POLLOUT, "writable");
    shutdown(pair[1], SHUT_WR);
    check(events_of(pair[0], POLLIN | POLLOUT | POLLRDHUP) == (POLLIN | POLLOUT | POLLRDHUP), "half closed");
    shutdown(pair[0], SHUT_WR);
    check(events_of(pair[0], POLLIN | POLLOUT | POLLRDHUP) == (POLLIN | POLLOUT | POLLRDHUP | POLLHUP), "closed");
    check(FAILS(shutdown(pair[0], 3), EINVAL), "EINVAL");
    close(pair[0]), close(pair[1]);
    int lone = socket(AF_UNIX, SOCK_STREAM, 0);
    check(events_of(lone, POLLIN | POLLOUT) == (POLLOUT | POLLHUP), "not connected");
    check(FAILS(read(lone, buffer, 1), EINVAL) && FAILS(send(lone, "x", 1, MSG_NOSIGNAL), ENOTCONN), "nor usable");
    struct sockaddr_storage name;
    socklen_t size = sizeof name;
    check(FAILS(getpeername(lone, SA(&name), &size), ENOTCONN), "ENOTCONN");
    // Waiting for all of it, and in time.
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    child = CHILD({
        for (int i = 0; i < 10; ++i) write(pair[1], "0123456789", 10), nap(2);
    });
    check(recv(pair[0], buffer, 100, MSG_WAITALL) == 100, "MSG_WAITALL");
    reap(child);
    struct timeval time = {0, 30000};
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
    check(FAILS(read(pair[0], buffer, 1), EAGAIN), "SO_RCVTIMEO");
    setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
    static char much[1 << 20];
    long sent = write(pair[0], much, sizeof much);
    check(sent > 0 && sent < (long)sizeof much, "SO_SNDTIMEO: part of it");
    check(FAILS(write(pair[0], much, 1000), EAGAIN), "and nothing more");
    int queued = 0;
    check(ioctl(pair[1], FIONREAD, &queued) == 0 && queued == sent, "SIOCINQ");
    check(ioctl(pair[0], TIOCOUTQ, &queued) == 0 && queued >= sent, "SIOCOUTQ");
    check((events_of(pair[0], POLLOUT) & POLLOUT) == 0, "not writable");
    send(pair[1], "abc", 3, 0), send(pair[1], "def", 3, 0);
    check(recv(pair[0], buffer, 9, MSG_PEEK) == 6 && recv(pair[0], buffer, 9, 0) == 6, "MSG_PEEK sees all");
}

void beside(void) {
    // In a directory of the host's.
    struct sockaddr_un address;
    struct stat st;
    socklen_t size = local_name(&address, "beside");
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), second = socket(AF_UNIX, SOCK_STREAM, 0);
    check(bind(listener, SA(&address), size) == 0 && listen(listener, 3) == 0, "bind");
    check(FAILS(bind(second, SA(&address), size), EADDRINUSE), "EADDRINUSE");
    check(stat("beside", &st) == 0 && S_ISSOCK(st.st_mode), "a socket inode");
    check(FAILS(open("beside", O_RDWR), ENXIO), "open answers ENXIO");
    pid_t child = CHILD({
        char path[200];
        getcwd(path, sizeof path);
        strcat(path, "/../");
        strcat(path, strrchr(getcwd(NULL, 0), '/') + 1);
        strcat(path, "/beside");
        struct sockaddr_un other;
        socklen_t length = local_name(&other, path);
        int client = socket(AF_UNIX, SOCK_STREAM, 0);
        _exit(connect(client, SA(&other), length) == 0 && write(client, "x", 1) == 1 ? 0 : 1);
    });
    check(reap(child) == 0, "found by another path in another process");
    check(chmod("beside", 0600) == 0 && stat("beside", &st) == 0 && (st.st_mode & 0777) == 0600, "chmod");
    check(unlink("beside") == 0 && FAILS(stat("beside", &st), ENOENT), "unlink");
    check(FAILS(connect(second, SA(&address), size), ENOENT), "gone");
    check(bind(second, SA(&address), size) == 0 && unlink("beside") == 0, "bound again");
    close(open("file", O_CREAT | O_WRONLY, 0600));
    local_name(&address, "file");
    check(FAILS(connect(socket(AF_UNIX, SOCK_STREAM, 0), SA(&address), 7), ECONNREFUSED), "a plain file");
    check(FAILS(bind(socket(AF_UNIX, SOCK_STREAM, 0), SA(&address), 7), EADDRINUSE), "taken by a file");
    unlink("file");
}
