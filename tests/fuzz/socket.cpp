// SPDX-License-Identifier: Apache-2.0
// Socket addresses, messages, control messages and passed descriptors; terminals' and sockets' ioctls.
#include "libos_host.hpp"

extern "C" int LLVMFuzzerTestOneInput(const postern::u8* data, size_t size) {
    // socket connect accept sendto recvfrom sendmsg recvmsg shutdown bind listen getsockname getpeername socketpair
    // setsockopt getsockopt accept4 recvmmsg sendmmsg close read write dup2 poll ioctl fcntl epoll_create1 epoll_ctl
    // epoll_wait eventfd2
    static constexpr postern::u16 kCalls[] = {41,  42,  43,  44, 45, 46, 47, 48, 49, 50, 51,  52,  53,  54, 55,
                                              288, 299, 307, 3,  0,  1,  33, 7,  16, 72, 291, 233, 232, 290};
    postern::fuzz::run_calls({data, size}, kCalls);
    return 0;
}
