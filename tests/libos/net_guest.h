// SPDX-License-Identifier: Apache-2.0
// What the parts of the socket tests share.
#pragma once
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "children.h"

extern int failures;
extern volatile int caught;
void check(int condition, const char* name);
#define FAILS(call, number) ((call) == -1 && errno == (number))
void handle(int number, int flags);
void nap(long milliseconds);
int events_of(int fd, int wanted);
socklen_t local_name(struct sockaddr_un* address, const char* path);
struct sockaddr_in inet_name(const char* address, int port);
struct sockaddr_in6 inet6_name(const char* address, int port);
int port_of(int fd);
int option(int fd, int level, int name);

void names(void), datagrams(void), packets(void), passing(void), credentials(void), backlog(void), ends(void);
void beside(void), urgent(void), tcp(void), refused(void), states(void), udp(void), dual(void), options(void),
    readiness(void), sharing(void);
void interfaces(void), transfers(void), beyond(void);
