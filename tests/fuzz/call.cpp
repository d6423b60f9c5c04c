// SPDX-License-Identifier: Apache-2.0
// Everything else that takes structures of the program: signals, timers, memory, limits, futexes, polls, identities.
#include "libos_host.hpp"

extern "C" int LLVMFuzzerTestOneInput(const postern::u8* data, size_t size) {
    // poll rt_sigaction rt_sigprocmask ioctl readv writev mremap msync mincore madvise mmap munmap mprotect getitimer
    // setitimer getrlimit getrusage sysinfo times rt_sigpending rt_sigtimedwait rt_sigqueueinfo sigaltstack
    // sched_setaffinity timer_create timer_settime timer_gettime timer_delete clock_gettime prlimit64 eventfd2
    // timerfd_create timerfd_settime signalfd4 epoll_create1 epoll_ctl pipe2 preadv2 pwritev2 memfd_create fcntl
    // copy_file_range splice tee sched_setattr capget capset prctl futex getgroups setgroups close_range mlock
    static constexpr postern::u16 kCalls[] = {7,   13,  14,  16,  19,  20,  25,  26,  27,  28,  9,   11,  10,  36,
                                              38,  97,  98,  99,  100, 127, 128, 129, 131, 203, 222, 223, 224, 226,
                                              228, 302, 290, 283, 286, 289, 291, 233, 293, 327, 328, 319, 72,  326,
                                              275, 276, 314, 125, 126, 157, 202, 115, 116, 436, 149, 3};
    postern::fuzz::run_calls({data, size}, kCalls);
    return 0;
}
