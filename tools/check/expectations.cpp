// SPDX-License-Identifier: Apache-2.0
#include "tools/check/expectations.hpp"

#include <asm/unistd.h>
#include <linux/audit.h>
#include <linux/futex.h>
#include <linux/mman.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <set>

#include "host/linux/filter/program.hpp"
#include "host/linux/layout.hpp"
#include "host/linux/protocol.hpp"

namespace postern::check {
namespace {

constexpr u64 kInside = host::kGatePage + 0x80;
constexpr u64 kHigh = u64{1} << 32;
constexpr u32 kLastNumber = 1023;
constexpr u32 kTrap = SECCOMP_RET_TRAP, kKill = SECCOMP_RET_KILL_PROCESS, kAllow = SECCOMP_RET_ALLOW,
              kNotify = SECCOMP_RET_USER_NOTIF;
enum class Kernel : u8 { any, scope, no_scope };

struct Expectation {
    u32 number;
    u32 answer;
    u64 arguments[6];
    Kernel kernel = Kernel::any;
};

constexpr u64 kThread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                        CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
constexpr u64 kFork = CLONE_PARENT | CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID;

// For each call: one answer at least that lets it through, and every way of leaving its limits.
const Expectation kExpectations[] = {
    {__NR_pread64, kAllow, {5, 0x1000, 64, 0}},
    {__NR_read, kAllow, {5, 0x1000, 64}},
    {__NR_write, kAllow, {5, 0x1000, 64}},
    {__NR_pwrite64, kAllow, {5, 0x1000, 64, 0}},
    {__NR_munmap, kAllow, {0x1000, 4096}},
    {__NR_close, kAllow, {5}},
    {__NR_fstat, kAllow, {5, 0x1000}},
    {__NR_rt_sigreturn, kAllow, {}},
    {__NR_sched_yield, kAllow, {}},
    {__NR_exit, kAllow, {}},
    {__NR_exit_group, kAllow, {3}},
    {__NR_fsync, kAllow, {5}},
    {__NR_fdatasync, kAllow, {5}},
    {__NR_ftruncate, kAllow, {5, 100}},
    {__NR_sigaltstack, kAllow, {0x1000, 0}},
    {__NR_getdents64, kAllow, {5, 0x1000, 64}},
    {__NR_restart_syscall, kAllow, {}},

    // futex(2): no priority inheritance (it lends priority to other processes and walks their owners), no waitv.
    {__NR_futex, kAllow, {0x1000, FUTEX_WAIT_BITSET}},
    {__NR_futex, kAllow, {0x1000, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG}},
    {__NR_futex, kAllow, {0x1000, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME}},
    {__NR_futex, kAllow, {0x1000, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME | FUTEX_PRIVATE_FLAG}},
    {__NR_futex, kAllow, {0x1000, FUTEX_WAKE}},
    {__NR_futex, kAllow, {0x1000, FUTEX_WAKE | FUTEX_PRIVATE_FLAG}},
    {__NR_futex, kAllow, {0x1000, FUTEX_CMP_REQUEUE}},
    {__NR_futex, kAllow, {0x1000, FUTEX_CMP_REQUEUE | FUTEX_PRIVATE_FLAG}},
    {__NR_futex, kKill, {0x1000, FUTEX_LOCK_PI}},
    {__NR_futex, kKill, {0x1000, FUTEX_LOCK_PI | FUTEX_PRIVATE_FLAG}},
    {__NR_futex, kKill, {0x1000, FUTEX_LOCK_PI2}},
    {__NR_futex, kKill, {0x1000, FUTEX_TRYLOCK_PI}},
    {__NR_futex, kKill, {0x1000, FUTEX_UNLOCK_PI}},
    {__NR_futex, kKill, {0x1000, FUTEX_WAIT_REQUEUE_PI}},
    {__NR_futex, kKill, {0x1000, FUTEX_CMP_REQUEUE_PI}},
    {__NR_futex, kKill, {0x1000, FUTEX_FD}},
    {__NR_futex, kKill, {0x1000, FUTEX_WAKE_OP}},

    // mmap(2): no huge pages (a pool that others need), no locked or growing memory, no unknown protection.
    {__NR_mmap, kAllow, {0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS}},
    {__NR_mmap, kAllow, {0, 4096, PROT_NONE, MAP_SHARED | MAP_FIXED}},
    {__NR_mmap, kKill, {0, 4096, PROT_READ | PROT_GROWSDOWN, MAP_PRIVATE}},
    {__NR_mmap, kKill, {0, 4096, 8, MAP_PRIVATE}},
    {__NR_mmap, kKill, {0, 4096, PROT_READ + kHigh, MAP_PRIVATE}},
    {__NR_mmap, kKill, {0, 4096, PROT_READ, MAP_PRIVATE | MAP_HUGETLB}},
    {__NR_mmap, kKill, {0, 4096, PROT_READ, MAP_PRIVATE | MAP_LOCKED}},
    {__NR_mmap, kKill, {0, 4096, PROT_READ, MAP_PRIVATE | MAP_GROWSDOWN}},
    {__NR_mmap, kKill, {0, 4096, PROT_READ, MAP_SHARED_VALIDATE | MAP_SYNC}},
    {__NR_mmap, kKill, {0, 4096, PROT_READ, MAP_PRIVATE + kHigh}},
    {__NR_mprotect, kAllow, {0x1000, 4096, PROT_READ | PROT_WRITE | PROT_EXEC}},
    {__NR_mprotect, kKill, {0x1000, 4096, PROT_READ | PROT_GROWSUP}},
    {__NR_mprotect, kKill, {0x1000, 4096, 8}},
    {__NR_mprotect, kKill, {0x1000, 4096, PROT_READ + kHigh}},
    {__NR_mremap, kAllow, {0x1000, 4096, 8192, MREMAP_MAYMOVE | MREMAP_FIXED}},
    {__NR_mremap, kKill, {0x1000, 4096, 8192, MREMAP_MAYMOVE | 4}},
    {__NR_mremap, kKill, {0x1000, 4096, 8192, kHigh}},
    {__NR_madvise, kAllow, {0x1000, 4096, MADV_DONTNEED}},
    {__NR_madvise, kAllow, {0x1000, 4096, MADV_FREE}},
    {__NR_madvise, kAllow, {0x1000, 4096, MADV_REMOVE}},
    {__NR_madvise, kAllow, {0x1000, 4096, MADV_WILLNEED}},
    {__NR_madvise, kKill, {0x1000, 4096, MADV_NORMAL}},
    {__NR_madvise, kAllow, {0x1000, 4096, MADV_DONTFORK}},
    {__NR_madvise, kAllow, {0x1000, 4096, MADV_DOFORK}},
    {__NR_madvise, kKill, {0x1000, 4096, MADV_WIPEONFORK}},
    {__NR_madvise, kKill, {0x1000, 4096, MADV_HWPOISON}},
    {__NR_madvise, kKill, {0x1000, 4096, MADV_MERGEABLE}},
    {__NR_madvise, kKill, {0x1000, 4096, MADV_HUGEPAGE}},
    {__NR_madvise, kKill, {0x1000, 4096, MADV_DODUMP}},

    // ppoll(2) with a mask could block SIGSYS: the next system call of the program would kill it.
    {__NR_ppoll, kAllow, {0x1000, 1, 0, 0, 8}},
    {__NR_ppoll, kKill, {0x1000, 1, 0, 0x2000, 8}},
    {__NR_ppoll, kKill, {0x1000, 1, 0, kHigh, 8}},
    // lseek(2): only what starts a listing again; the descriptor's position is the caller's own otherwise.
    {__NR_lseek, kAllow, {5, 0, SEEK_SET}},
    {__NR_lseek, kKill, {5, 0, SEEK_CUR}},
    {__NR_lseek, kKill, {5, 0, SEEK_END}},
    {__NR_setitimer, kAllow, {0, 0x1000, 0}},
    {__NR_setitimer, kAllow, {1, 0x1000, 0}},
    {__NR_setitimer, kAllow, {2, 0x1000, 0}},
    {__NR_setitimer, kKill, {3, 0x1000, 0}},
    {__NR_setitimer, kKill, {0xffff'ffff, 0x1000, 0}},

    // clone(2): never allowed, only asked for, and only as a thread of the process or a plain fork whose parent is the
    // monitor's side. Each bit that may not be there, and each that may not be missing.
    {__NR_clone, kNotify, {kThread}},
    {__NR_clone, kNotify, {kFork}},
    {__NR_clone, kKill, {0}},
    {__NR_clone, kKill, {17}},
    {__NR_clone, kKill, {kFork | 17}},
    {__NR_clone, kKill, {kFork & ~u64{CLONE_PARENT}}},
    {__NR_clone, kKill, {kFork | CLONE_UNTRACED}},
    {__NR_clone, kKill, {kFork | CLONE_VFORK}},
    {__NR_clone, kKill, {kFork | CLONE_VM}},
    {__NR_clone, kKill, {kFork | CLONE_PTRACE}},
    {__NR_clone, kKill, {kFork | CLONE_PIDFD}},
    {__NR_clone, kKill, {kFork | CLONE_IO}},
    {__NR_clone, kKill, {kFork | CLONE_NEWUSER}},
    {__NR_clone, kKill, {kFork | CLONE_NEWNS}},
    {__NR_clone, kKill, {kFork | CLONE_NEWPID}},
    {__NR_clone, kKill, {kFork | CLONE_NEWNET}},
    {__NR_clone, kKill, {kFork | CLONE_NEWIPC}},
    {__NR_clone, kKill, {kFork | CLONE_NEWUTS}},
    {__NR_clone, kKill, {kFork | CLONE_NEWCGROUP}},
    {__NR_clone, kKill, {kThread | CLONE_UNTRACED}},
    {__NR_clone, kKill, {kThread & ~u64{CLONE_THREAD}}},
    {__NR_clone, kKill, {kThread | CLONE_DETACHED}},

    {host::kDoorbellCall, kNotify, {0}},
    {host::kDoorbellCall, kNotify, {host::kSlotCount - 1}},
    {host::kDoorbellCall, kKill, {host::kSlotCount}},
    {host::kDoorbellCall, kKill, {~u64{0}}},
    {host::kDoorbellCall, kKill, {kHigh}},

    // clock_gettime(2): negative clocks are those of other processes and of descriptors.
    {__NR_clock_gettime, kAllow, {0, 0x1000}},
    {__NR_clock_gettime, kAllow, {1, 0x1000}},
    {__NR_clock_gettime, kAllow, {11, 0x1000}},
    {__NR_clock_gettime, kKill, {12, 0x1000}},
    {__NR_clock_gettime, kKill, {0xffff'fff6, 0x1000}},
    {__NR_clock_gettime, kKill, {~u64{0}, 0x1000}},
    {__NR_getrandom, kAllow, {0x1000, 16, 0}},
    {__NR_getrandom, kKill, {0x1000, 16, 1}},
    {__NR_getrandom, kKill, {0x1000, 16, 2}},
    {__NR_fallocate, kAllow, {5, 0, 0, 4096}},
    {__NR_fallocate, kAllow, {5, 3, 0, 4096}},
    {__NR_fallocate, kAllow, {5, 0x11, 0, 4096}},
    {__NR_fallocate, kKill, {5, 0x40, 0, 4096}},  // UNSHARE_RANGE
    {__NR_fallocate, kKill, {5, 4, 0, 4096}},     // NO_HIDE_STALE: another's data
    {__NR_fallocate, kKill, {5, 0x8000'0000, 0, 4096}},
    {__NR_membarrier, kAllow, {32, 0}},
    {__NR_membarrier, kAllow, {64, 0}},
    {__NR_membarrier, kKill, {1, 0}},  // GLOBAL: stalls every process of the machine
    {__NR_membarrier, kKill, {2, 0}},
    {__NR_membarrier, kKill, {0, 0}},
    {__NR_membarrier, kKill, {32, 1}},  // CMD_FLAG_CPU

    // tgkill(2): one signal; to whom is Landlock's scope or the monitor's business.
    {__NR_tgkill, kAllow, {100, 100, 64}, Kernel::scope},
    {__NR_tgkill, kNotify, {100, 100, 64}, Kernel::no_scope},
    {__NR_tgkill, kKill, {100, 100, 9}},
    {__NR_tgkill, kKill, {100, 100, 0}},
    {__NR_tgkill, kKill, {100, 100, 19}},
    {__NR_tgkill, kKill, {100, 100, 63}},
};

u32 evaluate(std::span<const sock_filter> program, u32 arch, u64 pointer, u32 number, const u64* arguments) {
    seccomp_data data{};
    data.nr = static_cast<int>(number);
    data.arch = arch;
    data.instruction_pointer = pointer;
    std::copy_n(arguments, 6, data.args);
    return host::evaluate_filter(program.data(), program.size(), data);
}

const char* answer_name(u32 answer) {
    switch (answer) {
        case SECCOMP_RET_ALLOW: return "allow";
        case SECCOMP_RET_USER_NOTIF: return "notify";
        case SECCOMP_RET_TRAP: return "trap";
        case SECCOMP_RET_KILL_PROCESS: return "kill";
    }
    return "something else";
}

class Collector {
public:
    explicit Collector(usize limit) : limit_{limit} {}
    bool full() const { return found_.size() >= limit_; }
    void expect(u32 wanted, u32 got, u32 number, const u64* arguments, const char* where) {
        if (wanted == got || full()) return;
        char text[200];
        snprintf(text, sizeof text, "call %u (%#lx, %#lx, %#lx, %#lx) %s: expected %s, the filter says %s", number,
                 arguments[0], arguments[1], arguments[2], arguments[3], where, answer_name(wanted), answer_name(got));
        found_.emplace_back(text);
    }
    std::vector<std::string> take() { return std::move(found_); }

private:
    usize limit_;
    std::vector<std::string> found_;
};

}  // namespace

bool takes_path_program_or_destination(u32 number) {
    static const std::set<u32> kNumbers = {
        // paths
        __NR_open,
        __NR_creat,
        __NR_openat,
        __NR_openat2,
        __NR_stat,
        __NR_lstat,
        __NR_newfstatat,
        __NR_statx,
        __NR_access,
        __NR_faccessat,
        __NR_faccessat2,
        __NR_chdir,
        __NR_fchdir,
        __NR_chroot,
        __NR_pivot_root,
        __NR_rename,
        __NR_renameat,
        __NR_renameat2,
        __NR_mkdir,
        __NR_mkdirat,
        __NR_rmdir,
        __NR_link,
        __NR_linkat,
        __NR_unlink,
        __NR_unlinkat,
        __NR_symlink,
        __NR_symlinkat,
        __NR_readlink,
        __NR_readlinkat,
        __NR_chmod,
        __NR_fchmodat,
        452,
        __NR_chown,
        __NR_lchown,
        __NR_fchownat,
        __NR_utime,
        __NR_utimes,
        __NR_futimesat,
        __NR_utimensat,
        __NR_truncate,
        __NR_mknod,
        __NR_mknodat,
        __NR_statfs,
        __NR_mount,
        __NR_umount2,
        __NR_swapon,
        __NR_swapoff,
        __NR_quotactl,
        __NR_acct,
        __NR_uselib,
        __NR_setxattr,
        __NR_lsetxattr,
        __NR_getxattr,
        __NR_lgetxattr,
        __NR_listxattr,
        __NR_llistxattr,
        __NR_removexattr,
        __NR_lremovexattr,
        __NR_inotify_add_watch,
        __NR_fanotify_mark,
        __NR_name_to_handle_at,
        __NR_open_by_handle_at,
        __NR_open_tree,
        __NR_move_mount,
        __NR_fsopen,
        __NR_fsconfig,
        __NR_fspick,
        __NR_mount_setattr,
        __NR_mq_open,
        __NR_mq_unlink,
        __NR_bpf,
        __NR_memfd_create,
        __NR_io_uring_setup,
        __NR_io_uring_enter,
        __NR_io_uring_register,
        __NR_io_submit,
        // programs
        __NR_execve,
        __NR_execveat,
        __NR_init_module,
        __NR_finit_module,
        __NR_kexec_load,
        __NR_kexec_file_load,
        // destinations: addresses to connect, bind or send to, and descriptors from elsewhere
        __NR_socket,
        __NR_socketpair,
        __NR_connect,
        __NR_bind,
        __NR_sendto,
        __NR_sendmsg,
        __NR_sendmmsg,
        __NR_recvmsg,
        __NR_recvmmsg,
        __NR_pidfd_open,
        __NR_pidfd_getfd,
        __NR_pidfd_send_signal,
        // other processes
        __NR_ptrace,
        __NR_kill,
        __NR_tkill,
        __NR_rt_sigqueueinfo,
        __NR_rt_tgsigqueueinfo,
        __NR_process_vm_readv,
        __NR_process_vm_writev,
        __NR_process_madvise,
        __NR_process_mrelease,
        __NR_kcmp,
        __NR_prlimit64,
        __NR_setpgid,
        __NR_setsid,
        __NR_setpriority,
        __NR_ioprio_set,
        __NR_sched_setaffinity,
        __NR_sched_setscheduler,
        __NR_sched_setparam,
        __NR_sched_setattr,
        __NR_get_robust_list,
        __NR_migrate_pages,
        __NR_move_pages,
        __NR_clone3,
        __NR_vfork,
        __NR_fork,
        __NR_unshare,
        __NR_setns,
        __NR_perf_event_open,
        __NR_userfaultfd,
        __NR_seccomp,
        __NR_prctl,
        __NR_arch_prctl,
        __NR_ioctl,
        __NR_fcntl,
        __NR_personality,
        // System V and POSIX objects with names of their own
        __NR_shmget,
        __NR_shmat,
        __NR_shmctl,
        __NR_semget,
        __NR_semctl,
        __NR_msgget,
        __NR_msgctl,
        __NR_msgsnd,
        __NR_add_key,
        __NR_request_key,
        __NR_keyctl,
    };
    return kNumbers.contains(number);
}

std::vector<std::string> violations(std::span<const sock_filter> program, bool signal_scope, usize limit) {
    Collector found{limit};
    static const u64 kZero[6] = {};
    std::set<u32> known;
    for (const Expectation& entry : kExpectations) known.insert(entry.number);

    for (u32 number = 0; number <= kLastNumber && !found.full(); ++number) {
        // Whatever the program asks traps, from every place that is not the gate page.
        for (u64 pointer :
             {u64{0x40'1000}, host::kUserHigh - 2, host::kGatePage - 1, host::kGatePage + host::kGatePageSize,
              host::kGatePage + kHigh, kInside & 0xffff'ffff, host::kEntryBase + 0x800, host::kGatePage + 0x2000,
              host::kLibOsBase + 0x80, u64{0xffff'ffff'ff60'0000}})
            found.expect(kTrap, evaluate(program, AUDIT_ARCH_X86_64, pointer, number, kZero), number, kZero,
                         "from outside the gate page");
        // Other system-call tables kill.
        for (u32 arch : {u32{AUDIT_ARCH_I386}, u32{AUDIT_ARCH_AARCH64}, u32{0}})
            for (u64 pointer : {kInside, u64{0x40'1000}})
                found.expect(kKill, evaluate(program, arch, pointer, number, kZero), number, kZero,
                             "of another architecture");
        for (u32 bits : {0x4000'0000u, 0x8000'0000u, 0xc000'0000u})
            found.expect(kKill, evaluate(program, AUDIT_ARCH_X86_64, kInside, number | bits, kZero), number | bits,
                         kZero, "with high bits");
        if (known.contains(number)) continue;
        // With arguments that another call may have, too: none may pass under a neighbour's rule.
        for (const Expectation& entry : kExpectations)
            if (entry.answer != kKill)
                found.expect(kKill, evaluate(program, AUDIT_ARCH_X86_64, kInside, number, entry.arguments), number,
                             entry.arguments, "not on the list");
    }
    for (u32 number : {0x7fff'ffffu, 0x3fff'ffffu, 0xffff'ffffu, 0x4000'0000u})
        found.expect(kKill, evaluate(program, AUDIT_ARCH_X86_64, kInside, number, kZero), number, kZero,
                     "out of range");

    for (const Expectation& entry : kExpectations) {
        if (found.full()) break;
        if (entry.kernel == Kernel::scope && !signal_scope) continue;
        if (entry.kernel == Kernel::no_scope && signal_scope) continue;
        for (u64 pointer : {host::kGatePage, kInside, host::kGatePage + host::kGatePageSize - 1})
            found.expect(entry.answer, evaluate(program, AUDIT_ARCH_X86_64, pointer, entry.number, entry.arguments),
                         entry.number, entry.arguments, "from the gate page");
    }
    return found.take();
}

bool lets_through(std::span<const sock_filter> program, u32 number) {
    auto passes = [&](const u64* arguments) {
        return evaluate(program, AUDIT_ARCH_X86_64, kInside, number, arguments) != kKill;
    };
    static const u64 kProbes[][6] = {{}, {1, 1, 1, 1, 1, 1}, {~u64{0}, ~u64{0}, ~u64{0}, ~u64{0}, ~u64{0}, ~u64{0}}};
    for (const auto& arguments : kProbes)
        if (passes(arguments)) return true;
    for (const Expectation& entry : kExpectations)
        if (entry.number == number && passes(entry.arguments)) return true;
    return false;
}

}  // namespace postern::check
