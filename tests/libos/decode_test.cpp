// SPDX-License-Identifier: Apache-2.0
// Lines of --trace.
#include "libos/syscall/decode.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace postern::libos {
namespace {

usize read(void* destination, u64 address, usize size) {
    if (address < 0x10000) return 0;
    std::memcpy(destination, reinterpret_cast<const void*>(address), size);
    return size;
}

std::string line(const char* name, const char* kinds, const u64 (&arguments)[6], u64 result) {
    static char storage[4096];
    Text text{storage, sizeof storage};
    CallText call{name, 0, kinds};
    u32 shown = decode_enter(text, call, arguments, read);
    decode_leave(text, call, arguments, shown, result, read);
    return std::string{text.view()};
}
u64 at(const void* pointer) { return reinterpret_cast<u64>(pointer); }
u64 failed(int error) { return static_cast<u64>(-error); }

TEST(Decode, LooksLikeStrace) {
    char path[300] = "/etc/passwd";
    EXPECT_EQ(line("openat", "fd path flags:open > fd", {static_cast<u64>(-100), at(path), 02000000}, failed(2)),
              "openat(AT_FDCWD, \"/etc/passwd\", O_RDONLY|O_CLOEXEC) = -1 ENOENT (No such file or directory)");
    char data[64] = "hi\n";
    EXPECT_EQ(line("write", "fd in:2 size", {1, at(data), 3}, 3), "write(1, \"hi\\n\", 3) = 3");
    EXPECT_EQ(line("read", "fd out:2 size", {0, at(data), 100}, 2), "read(0, \"hi\", 100) = 2");
    EXPECT_EQ(line("read", "fd out:2 size", {0, 0x10, 100}, failed(14)),
              "read(0, 0x10, 100) = -1 EFAULT (Bad address)");
    EXPECT_EQ(
        line("mmap", "hex size flags:prot flags:map fd off > ptr", {0, 4096, 3, 0x22, static_cast<u64>(-1), 0}, 0x7000),
        "mmap(0x0, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7000");
    EXPECT_EQ(line("mprotect", "hex size flags:prot", {0x1000, 4096, 0}, 0), "mprotect(0x1000, 4096, PROT_NONE) = 0");
    EXPECT_EQ(line("kill", "pid sig", {2, 15}, 0), "kill(2, SIGTERM) = 0");
    EXPECT_EQ(line("wait4", "pid ptr flags:wait ptr > pid", {static_cast<u64>(-1), 0, 1, 0}, failed(512)),
              "wait4(-1, NULL, WNOHANG, NULL) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)");
}

TEST(Decode, UnknownFlagsStayNumbers) {
    static char storage[256];
    Text text{storage, sizeof storage};
    put_flags(text, "prot", 0x41);
    EXPECT_EQ(text.view(), "PROT_READ|0x40");
    text.clear();
    put_flags(text, "no such set", 0);
    EXPECT_EQ(text.view(), "0");
    text.clear();
    put_flags(text, "open", 04010002);
    EXPECT_EQ(text.view(), "O_RDWR|O_SYNC");
}

}  // namespace
}  // namespace postern::libos
