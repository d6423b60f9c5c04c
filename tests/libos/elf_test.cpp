// SPDX-License-Identifier: Apache-2.0
// ELF headers, good and hostile.
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "libos/loader/elf.hpp"

namespace postern::libos {
namespace {

constexpr ElfLimits kLimits{0x10000, 0x10000, 0x5fff'0000'0000};

struct Sample {
    Elf64_Ehdr header{};
    std::vector<Elf64_Phdr> headers;
};

Sample sample() {
    Sample s;
    std::memcpy(s.header.e_ident, ELFMAG, SELFMAG);
    s.header.e_ident[EI_CLASS] = ELFCLASS64;
    s.header.e_ident[EI_DATA] = ELFDATA2LSB;
    s.header.e_machine = EM_X86_64;
    s.header.e_type = ET_DYN;
    s.header.e_phentsize = sizeof(Elf64_Phdr);
    s.header.e_phoff = 64;
    s.header.e_entry = 0x1234;
    Elf64_Phdr text{};
    text.p_type = PT_LOAD, text.p_flags = PF_R | PF_X, text.p_filesz = text.p_memsz = 0x2000, text.p_align = 0x1000;
    Elf64_Phdr data = text;
    data.p_flags = PF_R | PF_W, data.p_vaddr = 0x3e10, data.p_offset = 0x2e10, data.p_filesz = 0x300,
    data.p_memsz = 0x5000;
    s.headers = {text, data};
    s.header.e_phnum = 2;
    return s;
}

TEST(Elf, PlansPositionIndependentProgram) {
    Sample s = sample();
    ASSERT_TRUE(check_elf_header(s.header, kLimits.file_size).ok());
    auto plan = plan_elf(s.header, s.headers.data(), kLimits);
    ASSERT_TRUE(plan.ok());
    EXPECT_TRUE(plan.value().position_independent);
    EXPECT_EQ(plan.value().low, 0u);
    EXPECT_EQ(plan.value().high, 0x9000u);
    EXPECT_EQ(plan.value().headers, 64u);
    EXPECT_EQ(plan.value().interpreter_size, 0u);
}

TEST(Elf, RefusesForeignFiles) {
    auto refused = [](auto change) {
        Sample s = sample();
        change(s.header);
        auto result = check_elf_header(s.header, kLimits.file_size);
        return !result.ok() && result.error() == Errno::noexec;
    };
    EXPECT_TRUE(refused([](Elf64_Ehdr& h) { h.e_ident[0] = 'M'; }));
    EXPECT_TRUE(refused([](Elf64_Ehdr& h) { h.e_ident[EI_CLASS] = ELFCLASS32; }));
    EXPECT_TRUE(refused([](Elf64_Ehdr& h) { h.e_machine = EM_AARCH64; }));
    EXPECT_TRUE(refused([](Elf64_Ehdr& h) { h.e_type = ET_REL; }));
    EXPECT_TRUE(refused([](Elf64_Ehdr& h) { h.e_phnum = 0; }));
    EXPECT_TRUE(refused([](Elf64_Ehdr& h) { h.e_phnum = 0xffff; }));
    EXPECT_TRUE(refused([](Elf64_Ehdr& h) { h.e_phentsize = 32; }));
    EXPECT_TRUE(refused([](Elf64_Ehdr& h) { h.e_phoff = ~0ull - 8; }));
}

TEST(Elf, RefusesHostileSegments) {
    auto refused = [](auto change) {
        Sample s = sample();
        change(s);
        s.header.e_phnum = static_cast<u16>(s.headers.size());
        return !plan_elf(s.header, s.headers.data(), kLimits).ok();
    };
    EXPECT_TRUE(refused([](Sample& s) { s.headers[0].p_filesz = 0x3000; }));
    EXPECT_TRUE(refused([](Sample& s) { s.headers[1].p_memsz = ~0ull; }));
    EXPECT_TRUE(refused([](Sample& s) { s.headers[1].p_vaddr = ~0xfffull; }));
    EXPECT_TRUE(refused([](Sample& s) { s.headers[1].p_offset = ~0ull - 0x1f0; }));
    EXPECT_TRUE(refused([](Sample& s) { s.headers[1].p_offset += 1; }));
    EXPECT_TRUE(refused([](Sample& s) { s.headers[1].p_vaddr = 0x1e10; }));
    EXPECT_FALSE(refused([](Sample& s) { s.headers[1].p_align = 0x1800; }));
    EXPECT_TRUE(refused([](Sample& s) { s.headers[1].p_align = 1ull << 40; }));
    EXPECT_TRUE(refused([](Sample& s) { s.header.e_type = ET_EXEC; }));  // at address 0
    EXPECT_TRUE(refused([](Sample& s) { s.headers.clear(), s.headers.push_back({}); }));
    EXPECT_TRUE(refused([](Sample& s) {
        Elf64_Phdr path{};
        path.p_type = PT_INTERP, path.p_filesz = 5000;
        s.headers.push_back(path);
    }));
}

TEST(Elf, RandomHeadersStayInLimits) {
    std::mt19937_64 random{2};
    int accepted = 0;
    for (int round = 0; round < 200000; ++round) {
        Sample s = sample();
        auto* bytes = reinterpret_cast<u8*>(s.headers.data());
        for (int i = 0; i < 3; ++i) bytes[random() % (2 * sizeof(Elf64_Phdr))] = static_cast<u8>(random());
        if (random() % 2) s.header.e_type = ET_EXEC;
        auto plan = plan_elf(s.header, s.headers.data(), kLimits);
        if (!plan.ok()) continue;
        ++accepted;
        ASSERT_LE(plan.value().high, kLimits.high);
        ASSERT_LT(plan.value().low, plan.value().high);
        for (auto& segment : s.headers) {
            if (segment.p_type != PT_LOAD || segment.p_memsz == 0) continue;
            ASSERT_LE(segment.p_offset + segment.p_filesz, kLimits.file_size);
            ASSERT_GE(segment.p_vaddr, plan.value().low);
            ASSERT_LE(segment.p_vaddr + segment.p_memsz, plan.value().high);
        }
    }
    EXPECT_GT(accepted, 1000);
}

}  // namespace
}  // namespace postern::libos
