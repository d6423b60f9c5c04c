// SPDX-License-Identifier: Apache-2.0
// Prepared texts: what is made of real libraries and of damaged ones, and whom the store believes.
#include <elf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "host/linux/monitor/text_builder.hpp"
#include "host/linux/monitor/text_store.hpp"

namespace postern::host {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLoader = "/lib64/ld-linux-x86-64.so.2";
const std::string kLibrary = [] {
    std::string name;
    dl_iterate_phdr(
        [](dl_phdr_info* info, size_t, void* found) {
            if (strstr(info->dlpi_name, "/libc.so.6") != nullptr) *static_cast<std::string*>(found) = info->dlpi_name;
            return 0;
        },
        &name);
    return name;
}();

Fd open_file(const std::string& path) { return Fd{open(path.c_str(), O_RDONLY | O_CLOEXEC)}; }

struct stat status_of(const Fd& file) {
    struct stat status = {};
    EXPECT_EQ(fstat(file.get(), &status), 0);
    return status;
}

/// A directory of its own, with a copy of the loader: files that tests may change.
struct Text : testing::Test {
    Text() {
        char name[] = "/tmp/text-test-XXXXXX";
        root = mkdtemp(name);
        source = root + "/source.so", cache = root + "/cache/text";
        fs::copy_file(kLoader, source);
    }
    ~Text() override { fs::remove_all(root); }

    TextStore::Answer answer(TextStore& store) {
        gate::PreparedText text;
        Fd image;
        TextStore::Answer answer = store.open(status_of(open_file(source)), text, image);
        EXPECT_EQ(answer == TextStore::Answer::prepared, image.valid());
        EXPECT_EQ(answer == TextStore::Answer::prepared, text.size != 0);
        return answer;
    }
    bool known(TextStore& store) { return answer(store) == TextStore::Answer::prepared; }
    /// What a run does that opens the source.
    bool prepare(TextStore& store) {
        Fd file = open_file(source);
        store.want(file.get(), status_of(file));
        store.build();
        return known(store);
    }
    /// The one text in the cache.
    std::string image() {
        for (const auto& member : fs::directory_iterator{cache})
            if (member.path().filename() != "index") return member.path();
        return {};
    }

    std::string root, source, cache;
};

TEST_F(Text, NearlyAllCallsOfTheLibrary) {
    auto built = build_text(open_file(kLibrary).get());
    ASSERT_TRUE(built);
    EXPECT_GT(built->calls, 450u);
    EXPECT_EQ(built->cpuids, 0u);
    EXPECT_EQ(built->image.size(), built->text.code_size + built->text.size);
    EXPECT_EQ(built->text.offset % 4096 | built->text.size % 4096 | built->text.code_size % 4096, 0u);
}

TEST_F(Text, CallsAndIdentificationsOfTheLoader) {
    auto built = build_text(open_file(kLoader).get());
    ASSERT_TRUE(built);
    EXPECT_GT(built->calls, 30u);
    EXPECT_GT(built->cpuids, 15u);
}

/// The text differs from the file's in bytes of `mov $n,%eax` that became `jmp rel32` into the code, and in calls and
/// padding of techniques that the Patcher's own tests know. Every jump must land on a slot.
TEST_F(Text, OnlyJumpsIntoTheCodeDiffer) {
    auto built = build_text(open_file(kLibrary).get());
    ASSERT_TRUE(built);
    std::vector<u8> plain(built->text.size);
    ASSERT_GT(pread(open_file(kLibrary).get(), plain.data(), plain.size(), static_cast<off_t>(built->text.offset)), 0);
    const u8* text = built->image.data() + built->text.code_size;
    u64 jumps = 0;
    for (u64 at = 0; at + 5 <= plain.size(); ++at) {
        if (text[at] == plain[at]) continue;
        if (text[at] == 0xeb) {  // a call's hop to padding
            EXPECT_EQ(plain[at], 0x0f);
            EXPECT_EQ(plain[at + 1], 0x05);
            ++at;
            continue;
        }
        ASSERT_EQ(text[at], 0xe9) << "at offset " << at;
        i32 distance;
        memcpy(&distance, text + at + 1, 4);
        u64 slot = built->text.distance + at + 5 + static_cast<u64>(i64{distance});  // from the start of the code
        ASSERT_LT(slot, built->text.code_size);
        EXPECT_EQ(slot % 32, 0u);
        ++jumps;
        at += 4;
    }
    EXPECT_GE(jumps, built->calls);
}

TEST_F(Text, DamagedFilesAreRefused) {
    std::vector<char> bytes(fs::file_size(source));
    std::ifstream{source}.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    std::string broken = root + "/broken";
    u32 seed = 1;
    for (int round = 0; round < 300; ++round) {
        std::vector<char> copy = bytes;
        for (int i = 0; i < 8; ++i) {  // headers and program headers
            seed = seed * 1664525 + 1013904223;
            copy[seed >> 8 & 0x3ff] = static_cast<char>(seed >> 24);
        }
        if (round % 3 == 0) copy.resize(seed >> 7 & 0x3ffff);
        std::ofstream{broken, std::ios::trunc}.write(copy.data(), static_cast<std::streamsize>(copy.size()));
        auto built = build_text(open_file(broken).get());  // whatever it says, it must return
        if (built && built->text.size != 0) {
            EXPECT_LE(built->text.size, kLargestText + 8192);
        }
    }
    EXPECT_FALSE(build_text(open_file("/etc/passwd").get()));
    EXPECT_FALSE(build_text(open_file("/").get()));
    EXPECT_FALSE(build_text(-1));
}

TEST_F(Text, KeptForLaterRuns) {
    TextStore store{cache};
    EXPECT_FALSE(known(store));
    EXPECT_TRUE(prepare(store));
    TextStore later{cache};
    EXPECT_TRUE(known(later));
    Fd file = open_file(source);
    later.want(file.get(), status_of(file));
    EXPECT_FALSE(later.has_work());
}

TEST_F(Text, WhatHasNoCodeIsNotLookedAtTwice) {
    std::ofstream{source, std::ios::trunc} << "#!/bin/sh\n";
    TextStore store{cache};
    EXPECT_EQ(answer(store), TextStore::Answer::unknown);
    EXPECT_FALSE(prepare(store));
    EXPECT_EQ(answer(store), TextStore::Answer::nothing);
    TextStore later{cache};
    EXPECT_EQ(answer(later), TextStore::Answer::nothing);
}

TEST_F(Text, AChangedFileHasNoText) {
    TextStore store{cache};
    ASSERT_TRUE(prepare(store));
    std::ofstream{source, std::ios::app} << "x";
    TextStore later{cache};
    EXPECT_FALSE(known(later));
    EXPECT_TRUE(prepare(later));  // and gets a new one in place of the old
    EXPECT_EQ(std::distance(fs::directory_iterator{cache}, fs::directory_iterator{}), 2);
}

TEST_F(Text, AChangedTextIsNotBelieved) {
    TextStore store{cache};
    ASSERT_TRUE(prepare(store));
    struct stat before;
    ASSERT_EQ(stat(image().c_str(), &before), 0);
    chmod(image().c_str(), 0700);
    Fd text{open(image().c_str(), O_RDWR)};
    ASSERT_EQ(pwrite(text.get(), "\xcc", 1, 40000), 1);
    timespec times[2] = {before.st_atim, before.st_mtim};  // all that a program can put back
    futimens(text.get(), times);
    chmod(image().c_str(), 0500);
    TextStore later{cache};
    EXPECT_FALSE(known(later));
    EXPECT_TRUE(prepare(later));
    EXPECT_TRUE(known(later));
}

TEST_F(Text, AReplacedOrMissingTextIsNotBelieved) {
    TextStore store{cache};
    ASSERT_TRUE(prepare(store));
    std::string path = image();
    fs::copy_file(path, root + "/other");
    fs::rename(root + "/other", path);
    TextStore later{cache};
    EXPECT_FALSE(known(later));
    ASSERT_TRUE(prepare(later));
    fs::remove(image());
    TextStore last{cache};
    EXPECT_FALSE(known(last));
}

TEST_F(Text, ADamagedIndexIsNotBelieved) {
    TextStore store{cache};
    ASSERT_TRUE(prepare(store));
    const std::string index = cache + "/index";
    // The header, and the one place in the table that is taken.
    std::ifstream in{index};
    const std::string bytes{std::istreambuf_iterator<char>{in}, {}};
    const u64 header = 56, begin = bytes.find_first_not_of('\0', 64), end = bytes.find_last_not_of('\0') + 1;
    ASSERT_LT(end - begin, 200u);
    for (u64 at = 0; at < end; at = at + 1 == header ? begin : at + 1) {
        Fd file{open(index.c_str(), O_RDWR)};
        u8 byte = static_cast<u8>(bytes[at]), wrong = byte ^ 0x41;
        pwrite(file.get(), &wrong, 1, static_cast<off_t>(at));
        TextStore later{cache};
        EXPECT_FALSE(known(later)) << "byte " << at;
        pwrite(file.get(), &byte, 1, static_cast<off_t>(at));
    }
    TextStore whole{cache};
    EXPECT_TRUE(known(whole));
    fs::resize_file(index, end - 1);
    TextStore cut{cache};
    EXPECT_FALSE(known(cut));
    ASSERT_TRUE(prepare(cut));
    fs::resize_file(index, 63);
    TextStore later{cache};
    EXPECT_FALSE(known(later));
}

TEST_F(Text, WhatOthersMayWriteIsNotBelieved) {
    TextStore store{cache};
    ASSERT_TRUE(prepare(store));
    for (const std::string& path : {cache, cache + "/index", image()}) {
        struct stat before;
        ASSERT_EQ(stat(path.c_str(), &before), 0);
        chmod(path.c_str(), before.st_mode | 020);
        TextStore later{cache};
        EXPECT_FALSE(known(later)) << path;
        chmod(path.c_str(), before.st_mode & 07777);
    }
    if (geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
    EXPECT_EQ(chown((cache + "/index").c_str(), 65534, 65534), 0);
    TextStore later{cache};
    EXPECT_FALSE(known(later));
}

TEST_F(Text, LinksLeadNowhere) {
    TextStore store{cache};
    ASSERT_TRUE(prepare(store));
    fs::rename(cache, root + "/elsewhere");
    fs::create_directory_symlink(root + "/elsewhere", cache);
    TextStore later{cache};
    EXPECT_FALSE(known(later));
}

TEST_F(Text, NoPlaceNoHarm) {
    TextStore none{""};
    EXPECT_FALSE(prepare(none));
    std::ofstream{root + "/cache"} << "a file in the way";
    TextStore blocked{cache};
    EXPECT_FALSE(prepare(blocked));
}

}  // namespace
}  // namespace postern::host
