// SPDX-License-Identifier: Apache-2.0
// Our length decoder against Zydis: every offset of the code of large libraries, and random bytes.
#include <Zydis/Zydis.h>
#include <elf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "host/linux/entry/patch/decoder.hpp"

namespace {

using postern::u64;
using postern::u8;
using postern::host::decode;
using postern::host::Instruction;
using postern::host::InstructionKind;

class Oracle {
public:
    Oracle() { ZydisDecoderInit(&decoder_, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64); }
    /// 0: Zydis refuses.
    unsigned length(const u8* bytes, size_t available, ZydisDecodedInstruction& instruction) const {
        ZydisDecoderContext context;
        if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder_, &context, bytes, available, &instruction))) return 0;
        return instruction.length;
    }

private:
    ZydisDecoder decoder_;
};

std::string hex(const u8* bytes, size_t count) {
    std::string text;
    char digits[4];
    for (size_t i = 0; i < count; ++i) snprintf(digits, sizeof digits, "%02x ", bytes[i]), text += digits;
    return text;
}

void expect_same(const Oracle& oracle, const u8* bytes, size_t available, u64& compared, u64& mismatches) {
    ZydisDecodedInstruction theirs;
    unsigned wanted = oracle.length(bytes, available, theirs);
    if (wanted == 0) return;
    ++compared;
    Instruction ours = decode(bytes, available);
    bool same = ours.length == wanted;
    switch (theirs.mnemonic) {
        case ZYDIS_MNEMONIC_SYSCALL: same = same && ours.kind == InstructionKind::system_call; break;
        case ZYDIS_MNEMONIC_INT3: same = same && ours.kind == InstructionKind::breakpoint; break;
        case ZYDIS_MNEMONIC_JMP:
        case ZYDIS_MNEMONIC_RET:
        case ZYDIS_MNEMONIC_HLT:
        case ZYDIS_MNEMONIC_UD2: same = same && ours.kind == InstructionKind::jump; break;
        default:
            // What we call padding or an end must be one.
            if (ours.kind == InstructionKind::nop) same = same && theirs.mnemonic == ZYDIS_MNEMONIC_NOP;
            if (ours.kind == InstructionKind::jump)
                same = same && (theirs.mnemonic == ZYDIS_MNEMONIC_IRET || theirs.mnemonic == ZYDIS_MNEMONIC_IRETD ||
                                theirs.mnemonic == ZYDIS_MNEMONIC_IRETQ);
    }
    if (!same && ++mismatches <= 20)
        ADD_FAILURE() << hex(bytes, available < 15 ? available : 15) << ": " << ZydisMnemonicGetString(theirs.mnemonic)
                      << " has " << wanted << " bytes, ours " << int{ours.length} << " kind "
                      << static_cast<int>(ours.kind);
}

void compare_file(const char* path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) GTEST_SKIP() << path << " is not installed";
    struct stat status;
    ASSERT_EQ(fstat(fd, &status), 0);
    auto size = static_cast<size_t>(status.st_size);
    auto* file = static_cast<const u8*>(mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0));
    close(fd);
    ASSERT_NE(file, MAP_FAILED);
    auto* header = reinterpret_cast<const Elf64_Ehdr*>(file);
    auto* segments = reinterpret_cast<const Elf64_Phdr*>(file + header->e_phoff);
    Oracle oracle;
    u64 compared = 0, mismatches = 0;
    for (int i = 0; i < header->e_phnum; ++i) {
        if (segments[i].p_type != PT_LOAD || !(segments[i].p_flags & PF_X)) continue;
        const u8* code = file + segments[i].p_offset;
        size_t bytes = segments[i].p_filesz;
        for (size_t at = 0; at < bytes; ++at)
            expect_same(oracle, code + at, bytes - at < 15 ? bytes - at : 15, compared, mismatches);
    }
    munmap(const_cast<u8*>(file), size);
    EXPECT_EQ(mismatches, 0u) << "of " << compared;
    EXPECT_GT(compared, 1000u);
}

TEST(Decoder, AgreesOnLibc) { compare_file("/lib/x86_64-linux-gnu/libc.so.6"); }
TEST(Decoder, AgreesOnLoader) { compare_file("/lib64/ld-linux-x86-64.so.2"); }
TEST(Decoder, AgreesOnLibm) { compare_file("/lib/x86_64-linux-gnu/libm.so.6"); }
TEST(Decoder, AgreesOnLibcrypto) { compare_file("/usr/lib/x86_64-linux-gnu/libcrypto.so.3"); }
TEST(Decoder, AgreesOnPython) { compare_file("/usr/bin/python3.11"); }

TEST(Decoder, AgreesOnRandomBytes) {
    Oracle oracle;
    std::mt19937_64 random{20240607};
    u64 compared = 0, mismatches = 0;
    for (int i = 0; i < 3'000'000; ++i) {
        u64 words[2] = {random(), random()};
        auto* bytes = reinterpret_cast<u8*>(words);
        // Escapes, prefixes and vector prefixes are rare in uniform bytes: make them common.
        static constexpr u8 kFirst[] = {0x0f, 0x66, 0xf2, 0xf3, 0x48, 0x41, 0xc4, 0xc5, 0x62, 0x8f, 0x67, 0x2e, 0xf0};
        if (i % 2) bytes[0] = kFirst[words[1] % sizeof kFirst];
        if (i % 4 == 3) bytes[1] = 0x0f;
        if (i % 16 == 15) bytes[2] = (words[1] & 256) ? 0x38 : 0x3a;
        expect_same(oracle, bytes, 15, compared, mismatches);
        expect_same(oracle, bytes, 1 + (words[1] >> 32) % 15, compared, mismatches);
    }
    EXPECT_EQ(mismatches, 0u) << "of " << compared;
}

TEST(Decoder, RefusesWhatIsCutOff) {
    const u8 mov[] = {0xb8, 1, 0, 0, 0};
    for (size_t available = 0; available < sizeof mov; ++available) EXPECT_EQ(decode(mov, available).length, 0);
    EXPECT_EQ(decode(mov, sizeof mov).length, 5);
    const u8 prefixes[16] = {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
                             0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90};
    EXPECT_EQ(decode(prefixes, 16).length, 0);
}

}  // namespace
