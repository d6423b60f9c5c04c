// SPDX-License-Identifier: Apache-2.0
// /proc/config.gz: what this system is built with, as a kernel would say it. Programs (container checkers, test suites)
// read it to learn what they may expect, so it names what is served and what is known to be absent.
#include "libos/proc/system.hpp"

namespace postern::libos {

namespace {

constexpr char kConfiguration[] =
    "# Linux/x86 6.12.0-postern\n"
    "CONFIG_64BIT=y\nCONFIG_X86_64=y\nCONFIG_X86=y\nCONFIG_MMU=y\nCONFIG_SMP=y\nCONFIG_HZ_250=y\nCONFIG_HZ=250\n"
    "CONFIG_IKCONFIG=y\nCONFIG_IKCONFIG_PROC=y\nCONFIG_MULTIUSER=y\nCONFIG_PROC_FS=y\nCONFIG_PROC_SYSCTL=y\n"
    "CONFIG_SYSFS=y\nCONFIG_TMPFS=y\nCONFIG_TMPFS_XATTR=y\nCONFIG_SHMEM=y\nCONFIG_DEVTMPFS=y\nCONFIG_BINFMT_ELF=y\n"
    "CONFIG_BINFMT_SCRIPT=y\nCONFIG_FUTEX=y\nCONFIG_EPOLL=y\nCONFIG_SIGNALFD=y\nCONFIG_TIMERFD=y\nCONFIG_EVENTFD=y\n"
    "CONFIG_POSIX_TIMERS=y\nCONFIG_MEMFD_CREATE=y\nCONFIG_FILE_LOCKING=y\nCONFIG_ADVISE_SYSCALLS=y\nCONFIG_KCMP=y\n"
    "# CONFIG_MODULES is not "
    "set\nCONFIG_SYSVIPC=y\nCONFIG_SYSVIPC_SYSCTL=y\nCONFIG_POSIX_MQUEUE=y\nCONFIG_POSIX_MQUEUE_SYSCTL=y\n"
    "CONFIG_AIO=y\n# CONFIG_IO_URING is not set\nCONFIG_INOTIFY_USER=y\n"
    "# CONFIG_DNOTIFY is not set\n# CONFIG_FANOTIFY is not set\n# CONFIG_MEMBARRIER is not set\n"
    "# CONFIG_SECCOMP is not set\n# CONFIG_BPF_SYSCALL is not set\n# CONFIG_USERFAULTFD is not set\n"
    "# CONFIG_CROSS_MEMORY_ATTACH is not set\nCONFIG_CHECKPOINT_RESTORE=y\n# CONFIG_NAMESPACES is not set\n"
    "# CONFIG_CGROUPS is not set\n# CONFIG_NUMA is not set\n# CONFIG_SWAP is not set\n# CONFIG_HUGETLBFS is not set\n"
    "# CONFIG_TRANSPARENT_HUGEPAGE is not set\n# CONFIG_KSM is not set\n# CONFIG_BSD_PROCESS_ACCT is not set\n"
    "# CONFIG_MEMORY_FAILURE is not set\n# CONFIG_BLOCK is not set\n# CONFIG_PERF_EVENTS is not set\n";

constexpr u32 kTextSize = sizeof kConfiguration - 1;
static_assert(kTextSize <= 0xffff, "one stored block holds it");

struct Packed {
    char bytes[10 + 5 + kTextSize + 8];
};

/// gzip (RFC 1952) around one stored block (RFC 1951).
constexpr Packed pack() {
    Packed packed{};
    u32 at = 0;
    auto byte = [&](u32 value) { packed.bytes[at++] = static_cast<char>(value); };
    auto word = [&](u32 value) {
        for (u32 shift = 0; shift < 32; shift += 8) byte(value >> shift & 0xff);
    };
    for (u32 value : {0x1fu, 0x8bu, 8u, 0u}) byte(value);
    word(0);  // no time
    byte(0), byte(3);
    byte(1);  // last block, stored
    byte(kTextSize & 0xff), byte(kTextSize >> 8), byte(~kTextSize & 0xff), byte(~kTextSize >> 8 & 0xff);
    u32 sum = ~0u;
    for (u32 index = 0; index < kTextSize; ++index) {
        u32 value = static_cast<u8>(kConfiguration[index]);
        byte(value);
        sum ^= value;
        for (u32 bit = 0; bit < 8; ++bit) sum = sum >> 1 ^ ((sum & 1) != 0 ? 0xedb8'8320u : 0u);
    }
    word(~sum);
    word(kTextSize);
    return packed;
}

constexpr Packed kPacked = pack();

}  // namespace

Res<void> write_configuration(const Subject&, ProcText& text) {
    text.append({kPacked.bytes, sizeof kPacked.bytes});
    return {};
}

}  // namespace postern::libos
