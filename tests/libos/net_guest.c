// SPDX-License-Identifier: Apache-2.0
// A program that checks sockets. It expects what Linux does: natively and in a picoprocess every line must say "ok".
#include "net_guest.h"

int failures;
volatile int caught;

void check(int condition, const char* name) {
    if (!condition)
        printf("FAIL %s (errno %d)\n", name, errno), ++failures;
    else
        printf("ok %s\n", name);
    fflush(stdout);
}
static void on_signal(int number) { caught = number; }
void handle(int number, int flags) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
    sigaction(number, &action, NULL);
    caught = 0;
}
void nap(long milliseconds) {
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    while (nanosleep(&time, &time) != 0 && errno == EINTR) {
    }
}
int events_of(int fd, int wanted) {
    struct pollfd item = {fd, wanted, 0};
    poll(&item, 1, 0);
    return item.revents;
}
socklen_t local_name(struct sockaddr_un* address, const char* path) {
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (path[0] == '@') {
        memcpy(address->sun_path + 1, path + 1, strlen(path) - 1);
        return offsetof(struct sockaddr_un, sun_path) + strlen(path);
    }
    strcpy(address->sun_path, path);
    return offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1;
}
struct sockaddr_in inet_name(const char* address, int port) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, address, &name.sin_addr);
    return name;
}
struct sockaddr_in6 inet6_name(const char* address, int port) {
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    inet_pton(AF_INET6, address, &name.sin6_addr);
    return name;
}
int port_of(int fd) {
    struct sockaddr_in6 name;
    socklen_t size = sizeof name;
    getsockname(fd, (struct sockaddr*)&name, &size);
    return ntohs(name.sin6_port);
}
int option(int fd, int level, int name) {
    int value = -12345;
    socklen_t size = sizeof value;
    if (getsockopt(fd, level, name, &value, &size) != 0) return -12345;
    return value;
}

int main(int argc, char** argv) {
    static const struct {
        const char* name;
        void (*run)(void);
    } parts[] = {
        {"names", names},
        {"datagrams", datagrams},
        {"packets", packets},
        {"passing", passing},
        {"credentials", credentials},
        {"backlog", backlog},
        {"ends", ends},
        {"tcp", tcp},
        {"refused", refused},
        {"urgent", urgent},
        {"states", states},
        {"udp", udp},
        {"dual", dual},
        {"options", options},
        {"readiness", readiness},
        {"sharing", sharing},
        {"interfaces", interfaces},
        {"transfers", transfers},
        {"beyond", beyond},
        {"beside", beside},
    };
    char directory[200];
    snprintf(directory, sizeof directory, "%s/netXXXXXX", argc > 2 ? argv[2] : "/tmp");
    if (mkdtemp(directory) == NULL || chdir(directory) != 0) return 2;
    alarm(45);
    for (unsigned i = 0; i < sizeof parts / sizeof *parts; ++i)
        if (argc < 2 || strcmp(argv[1], parts[i].name) == 0) parts[i].run();
    chdir("/");
    rmdir(directory);
    return failures != 0;
}
