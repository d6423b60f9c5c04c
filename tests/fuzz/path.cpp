// SPDX-License-Identifier: Apache-2.0
// Names: the walk, its links and dots, the name cache, and every call that takes a path, over made-up hosts.
#include "libos_host.hpp"

extern "C" int LLVMFuzzerTestOneInput(const postern::u8* data, size_t size) {
    // open stat lstat access pipe rename mkdir rmdir creat link unlink symlink readlink chmod chown mknod truncate
    // chdir fchdir getcwd getdents64 openat mkdirat mknodat newfstatat unlinkat renameat linkat symlinkat readlinkat
    // fchmodat faccessat renameat2 statx openat2 close read write lseek dup2 fcntl setxattr getxattr listxattr chroot
    // statfs utimensat name_to_handle_at ioctl
    static constexpr postern::u16 kCalls[] = {2,   4,   6,   21,  22,  82,  83,  84,  85,  86,  87,  88,  89,
                                              90,  92,  133, 76,  80,  81,  79,  217, 257, 258, 259, 262, 263,
                                              264, 265, 266, 267, 268, 269, 316, 332, 437, 3,   0,   1,   8,
                                              33,  72,  188, 191, 194, 161, 137, 280, 303, 16};
    postern::fuzz::run_calls({data, size}, kCalls);
    return 0;
}
