// SPDX-License-Identifier: Apache-2.0
// Attacks with call numbers alone: all of them, from outside and from inside the gate's page, and by other entries.
#include <sys/syscall.h>
#include <unistd.h>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>

#include "tests/hostile/attack.hpp"
#include "tests/hostile/raw.hpp"

namespace hostile {

namespace {

constexpr Word kX32 = 0x4000'0000;

struct Call {
    Word number;
    Word arguments[6];
};

long run_here(void* cookie) {
    auto& call = *static_cast<Call*>(cookie);
    auto& a = call.arguments;
    long result = call_here(call.number, a[0], a[1], a[2], a[3], a[4], a[5]);
    // A child that these made is not this function's to return from: after vfork it stands on its parent's stack.
    if (result == 0 && (call.number == SYS_fork || call.number == SYS_vfork || call.number == SYS_clone))
        for (;;) call_here(SYS_exit_group, 0);
    return result;
}
long run_gate(void* cookie) {
    auto& call = *static_cast<Call*>(cookie);
    auto& a = call.arguments;
    return call_gate(call.number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

const char* ending_name(const Outcome& outcome) {
    switch (outcome.ending) {
        case Ending::returned: return "returned";
        case Ending::killed: return "killed";
        case Ending::other_signal: return "ended";
        case Ending::hung: return "hung";
    }
    return "?";
}

void sweep(const char* key, long (*run)(void*), int milliseconds) {
    for (Word bit : {Word{0}, kX32})
        for (Word number = 0; number <= 600; ++number) {
            Call call{number | bit, {~0ull, 0, 0, 0, 0, 0}};
            Outcome outcome = in_child(run, &call, milliseconds);
            std::printf("%s %s%llu %s %ld\n", key, bit ? "x32+" : "", static_cast<unsigned long long>(number),
                        ending_name(outcome), outcome.value);
        }
}

}  // namespace

int numbers_here(int, char**) {
    sweep("here", run_here, 60);
    return 0;
}

int numbers_gate(int, char**) {
    sweep("gate", run_gate, 200);
    return 0;
}

int forbidden_gate(int, char**) {
    static const struct {
        const char* name;
        Call call;
    } kCalls[] = {
        {"open", {SYS_open, {reinterpret_cast<Word>("/etc/shadow"), 0, 0, 0, 0, 0}}},
        {"openat", {SYS_openat, {static_cast<Word>(-100), reinterpret_cast<Word>("/etc/shadow"), 0, 0, 0, 0}}},
        {"openat2", {SYS_openat2, {}}},
        {"creat", {SYS_creat, {reinterpret_cast<Word>("/tmp/escaped"), 0600, 0, 0, 0, 0}}},
        {"execve", {SYS_execve, {reinterpret_cast<Word>("/bin/true"), 0, 0, 0, 0, 0}}},
        {"execveat", {SYS_execveat, {}}},
        {"socket", {SYS_socket, {1, 1, 0, 0, 0, 0}}},
        {"socketpair", {SYS_socketpair, {1, 1, 0, 0, 0, 0}}},
        {"connect", {SYS_connect, {}}},
        {"sendto", {SYS_sendto, {1, reinterpret_cast<Word>("x"), 1, 0, reinterpret_cast<Word>("abc"), 3}}},
        {"sendmsg", {SYS_sendmsg, {}}},
        {"sendmmsg", {SYS_sendmmsg, {}}},
        {"recvmsg", {SYS_recvmsg, {}}},
        {"bind", {SYS_bind, {}}},
        {"ptrace", {SYS_ptrace, {}}},
        {"process_vm_readv", {SYS_process_vm_readv, {}}},
        {"process_vm_writev", {SYS_process_vm_writev, {}}},
        {"pidfd_open", {SYS_pidfd_open, {1, 0, 0, 0, 0, 0}}},
        {"pidfd_getfd", {SYS_pidfd_getfd, {}}},
        {"pidfd_send_signal", {SYS_pidfd_send_signal, {}}},
        {"kill", {SYS_kill, {1, 0, 0, 0, 0, 0}}},
        {"kill-all", {SYS_kill, {static_cast<Word>(-1), 0, 0, 0, 0, 0}}},
        {"tkill", {SYS_tkill, {1, 0, 0, 0, 0, 0}}},
        {"rt_sigqueueinfo", {SYS_rt_sigqueueinfo, {}}},
        {"rt_tgsigqueueinfo", {SYS_rt_tgsigqueueinfo, {}}},
        {"setsid", {SYS_setsid, {}}},
        {"setpgid", {SYS_setpgid, {0, 0, 0, 0, 0, 0}}},
        {"fork", {SYS_fork, {}}},
        {"vfork", {SYS_vfork, {}}},
        {"clone3", {SYS_clone3, {}}},
        {"unshare", {SYS_unshare, {0x10000000, 0, 0, 0, 0, 0}}},
        {"setns", {SYS_setns, {}}},
        {"mount", {SYS_mount, {}}},
        {"umount2", {SYS_umount2, {}}},
        {"chroot", {SYS_chroot, {}}},
        {"prctl", {SYS_prctl, {4, 1, 0, 0, 0, 0}}},
        {"seccomp", {SYS_seccomp, {}}},
        {"ioctl-TIOCSTI", {SYS_ioctl, {0, 0x5412, reinterpret_cast<Word>("x"), 0, 0, 0}}},
        {"bpf", {SYS_bpf, {}}},
        {"perf_event_open", {SYS_perf_event_open, {}}},
        {"userfaultfd", {SYS_userfaultfd, {}}},
        {"io_uring_setup", {SYS_io_uring_setup, {}}},
        {"keyctl", {SYS_keyctl, {}}},
        {"add_key", {SYS_add_key, {}}},
        {"memfd_create", {SYS_memfd_create, {}}},
        {"fchmod", {SYS_fchmod, {0, 0777, 0, 0, 0, 0}}},
        {"fchown", {SYS_fchown, {}}},
        {"utimensat", {SYS_utimensat, {}}},
        {"fsetxattr", {SYS_fsetxattr, {}}},
        {"flock", {SYS_flock, {0, 2, 0, 0, 0, 0}}},
        {"fchdir", {SYS_fchdir, {}}},
        {"setuid", {SYS_setuid, {0, 0, 0, 0, 0, 0}}},
        {"setrlimit", {SYS_setrlimit, {}}},
        {"prlimit64", {SYS_prlimit64, {}}},
        {"shmget", {SYS_shmget, {}}},
        {"arch_prctl", {SYS_arch_prctl, {}}},
        {"iopl", {SYS_iopl, {3, 0, 0, 0, 0, 0}}},
        {"modify_ldt", {SYS_modify_ldt, {}}},
        {"timer_create", {SYS_timer_create, {}}},
        {"mq_notify", {SYS_mq_notify, {}}},
        {"vmsplice", {SYS_vmsplice, {}}},
        {"kexec_load", {SYS_kexec_load, {}}},
        {"reboot", {SYS_reboot, {}}},
    };
    for (auto& entry : kCalls) {
        Call call = entry.call;
        Outcome outcome = in_child(run_gate, &call, 500);
        std::printf("forbidden %s %s %ld\n", entry.name, ending_name(outcome), outcome.value);
    }
    return 0;
}

int other_entries(int, char**) {
    auto report = [](const char* name, const Outcome& outcome) {
        std::printf("entry %s %s signal=%d value=%ld\n", name, ending_name(outcome), outcome.signal, outcome.value);
    };
    report("int80-getpid", in_child(
                               [](void*) -> long {
                                   long result = 20;
                                   asm volatile("int $0x80" : "+a"(result)::"memory", "r8", "r9", "r10", "r11");
                                   return result;
                               },
                               nullptr));
    report(
        "int80-open",
        in_child(
            [](void*) -> long {
                long result = 5;
                asm volatile("int $0x80" : "+a"(result) : "b"(0), "c"(0), "d"(0) : "memory", "r8", "r9", "r10", "r11");
                return result;
            },
            nullptr));
    report("sysenter",
           in_child(
               [](void*) -> long {
                   long result = 20;
                   asm volatile("sysenter" : "+a"(result)::"memory", "rcx", "rdx", "r8", "r9", "r10", "r11");
                   return result;
               },
               nullptr));
    report("vsyscall-time", in_child(
                                [](void*) -> long {
                                    auto time = reinterpret_cast<long (*)(long*)>(0xffff'ffff'ff60'0400ull);
                                    return time(nullptr);
                                },
                                nullptr));
    return 0;
}

}  // namespace hostile
