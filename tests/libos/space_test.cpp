// SPDX-License-Identifier: Apache-2.0
// mmap and its family on real host mappings, checked against Linux's documented behaviour.
#include "libos/memory/space.hpp"

// Before <sys/stat.h>, whose macros share names with the members of Stat.
#include "libos/fs/file.hpp"
#include "libos/shared/arena.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <vector>

#include "libos/user.hpp"
#include "memory_host.hpp"

namespace postern::libos {
namespace {

constexpr u64 kPage = kPageSize;
constexpr u32 kRw = 3, kAnonymous = kMapFlagPrivate | kMapFlagAnonymous;
constexpr MappingKind kKind = MappingKind::anonymous;

/// A host file of four pages, each filled with its number plus one.
class TestFile final : public File {
public:
    TestFile() {
        ++testing::g_live_files;
        fd_ = memfd_create("file", 0);
        for (u8 i = 0; i < 4; ++i) {
            std::vector<u8> page(kPage, static_cast<u8>(i + 1));
            if (::write(fd_, page.data(), kPage) != static_cast<ssize_t>(kPage)) std::abort();
        }
    }
    ~TestFile() override { close(fd_); }
    Res<void> map(u64 address, u64 size, u64 offset, u32 prot, bool shared) override {
        void* at = mmap(reinterpret_cast<void*>(address), size, static_cast<int>(prot),
                        MAP_FIXED | (shared ? MAP_SHARED : MAP_PRIVATE), fd_, static_cast<off_t>(offset));
        if (at == MAP_FAILED) return Failure{Errno::nomem};
        return {};
    }

private:
    int fd_;
};

class SpaceTest : public ::testing::Test {
protected:
    void SetUp() override {
        process_ = &testing::set_up();
        testing::g_refuse_move = false;
        space_ = Space::create().value();
        process_->space = space_;
    }
    void TearDown() override {
        space_->clear();
        heap::destroy(space_);
    }
    u64 map(u64 size, u32 prot = kRw, u64 address = 0, u32 more = 0) {
        auto mapped = space_->map(address, size, prot, kAnonymous | more, nullptr, 0, kKind);
        return mapped.ok() ? mapped.value() : 0;
    }
    Errno map_error(u64 address, u64 size, u32 flags, u64 offset = 0) {
        auto mapped = space_->map(address, size, kRw, flags, nullptr, offset, kKind);
        return mapped.ok() ? Errno::ok : mapped.error();
    }
    static u8& byte(u64 address) { return *reinterpret_cast<u8*>(address); }
    static bool readable(u64 address) { return load_user_u32(address).ok(); }

    Process* process_;
    Space* space_;
};

TEST_F(SpaceTest, MapsDownwardsAndMerges) {
    u64 a = map(kPage), b = map(3 * kPage);
    ASSERT_NE(a, 0u);
    EXPECT_EQ(b, a - 3 * kPage);
    byte(b) = 7;
    EXPECT_EQ(space_->mapping_count(), 1u);  // one line of /proc/self/maps
    EXPECT_TRUE(space_->unmap(b + kPage, kPage).ok());
    EXPECT_EQ(space_->mapping_count(), 2u);
    EXPECT_TRUE(readable(b));
    EXPECT_FALSE(readable(b + kPage));
    EXPECT_EQ(map(kPage), b + kPage);
    EXPECT_EQ(space_->mapping_count(), 1u);
    EXPECT_EQ(space_->mapped_bytes(), 4 * kPage);
}

TEST_F(SpaceTest, RefusesAsLinux) {
    EXPECT_EQ(map_error(0, 0, kAnonymous), Errno::inval);
    EXPECT_EQ(map_error(0, kPage, kMapFlagAnonymous), Errno::inval);
    EXPECT_EQ(map_error(testing::kLow + 1, kPage, kAnonymous | kMapFlagFixed), Errno::inval);
    EXPECT_EQ(map_error(0, ~0ull - 5, kAnonymous), Errno::nomem);
    EXPECT_EQ(map_error(testing::kHigh, kPage, kAnonymous | kMapFlagFixed), Errno::nomem);
    EXPECT_EQ(map_error(kPage, kPage, kAnonymous | kMapFlagFixed), Errno::perm);
    EXPECT_EQ(map_error(0, 2 << 20, kAnonymous | kMapFlagHugeTlb), Errno::nomem);
    u64 a = map(kPage);
    EXPECT_EQ(map_error(a, kPage, kAnonymous | kMapFlagFixedNoReplace), Errno::exist);
    EXPECT_EQ(space_->unmap(a + 1, kPage).error(), Errno::inval);
    EXPECT_EQ(space_->unmap(a, 0).error(), Errno::inval);
    EXPECT_TRUE(space_->unmap(a - 64 * kPage, kPage).ok());  // nothing there is no error
    process_->limits[9][0] = 4 * kPage;
    EXPECT_EQ(map_error(0, 8 * kPage, kAnonymous), Errno::nomem);
    process_->limits[9][0] = ~0ull;
}

TEST_F(SpaceTest, HintsAreTakenWhenFree) {
    u64 hint = testing::kLow + (1ull << 36);
    EXPECT_EQ(map(kPage, kRw, hint), hint);
    EXPECT_NE(map(kPage, kRw, hint), hint);
    EXPECT_EQ(map(kPage, kRw, hint, kMapFlagFixed), hint);
}

TEST_F(SpaceTest, ProtectSplitsAndStopsAtHoles) {
    u64 a = map(5 * kPage);
    ASSERT_TRUE(space_->protect(a + kPage, kPage, 1).ok());
    EXPECT_EQ(space_->mapping_count(), 3u);
    EXPECT_EQ(space_->protection_at(a + kPage), 1u);
    EXPECT_FALSE(write_user<u32>(a + kPage, 1).ok());
    ASSERT_TRUE(space_->protect(a + kPage, kPage, kRw).ok());
    EXPECT_EQ(space_->mapping_count(), 1u);
    ASSERT_TRUE(space_->unmap(a + 3 * kPage, kPage).ok());
    EXPECT_EQ(space_->protect(a, 5 * kPage, 1).error(), Errno::nomem);
    EXPECT_EQ(space_->protection_at(a), 1u);  // as far as the hole
    EXPECT_EQ(space_->protection_at(a + 4 * kPage), kRw);
    EXPECT_EQ(space_->protect(a + 1, kPage, 1).error(), Errno::inval);
    EXPECT_EQ(space_->protect(a, kPage, 0x40).error(), Errno::inval);
}

TEST_F(SpaceTest, FilesKeepOffsetsAndReferences) {
    auto* file = new TestFile;
    i64 before = testing::g_live_files;
    file->status_flags = 0;
    u64 a = space_->map(0, 4 * kPage, 1, kMapFlagPrivate, file, 0, MappingKind::file).value();
    EXPECT_EQ(space_->map(0, kPage, kRw, kMapFlagShared, file, 0, MappingKind::file).error(), Errno::acces);
    file->release();  // the descriptor is closed; the mapping keeps the file
    EXPECT_EQ(testing::g_live_files, before);
    EXPECT_EQ(byte(a + 2 * kPage), 3);
    ASSERT_TRUE(space_->unmap(a + kPage, kPage).ok());
    {
        const Mapping* upper = space_->at_or_above(a + kPage);
        EXPECT_EQ(upper->start, a + 2 * kPage);
        EXPECT_EQ(upper->offset, 2 * kPage);
    }
    u64 moved = space_->remap(a + 2 * kPage, 2 * kPage, 2 * kPage, kRemapMayMove | kRemapFixed, a - 64 * kPage).value();
    EXPECT_EQ(byte(moved), 3);
    EXPECT_EQ(space_->at_or_above(moved)->offset, 2 * kPage);
    ASSERT_TRUE(space_->unmap(a, kPage).ok());
    EXPECT_EQ(testing::g_live_files, before);
    ASSERT_TRUE(space_->unmap(moved, 2 * kPage).ok());
    EXPECT_EQ(testing::g_live_files, before - 1);
}

TEST_F(SpaceTest, SharedAnonymousMemoryIsShared) {
    u64 a = space_->map(0, 2 * kPage, kRw, kMapFlagShared | kMapFlagAnonymous, nullptr, 0, kKind).value();
    byte(a + kPage) = 9;
    u64 again = space_->remap(a, 0, 2 * kPage, kRemapMayMove, 0).value();
    EXPECT_NE(again, a);
    EXPECT_EQ(byte(again + kPage), 9);
    byte(again) = 5;
    EXPECT_EQ(byte(a), 5);
}

TEST_F(SpaceTest, RemapGrowsShrinksMoves) {
    u64 wall = map(kPage);
    u64 a = map(2 * kPage);
    ASSERT_EQ(a + 2 * kPage, wall);
    byte(a) = 1, byte(a + kPage) = 2;
    EXPECT_EQ(space_->remap(a, 2 * kPage, 4 * kPage, 0, 0).error(), Errno::nomem);
    for (bool refuse : {false, true}) {
        testing::g_refuse_move = refuse;
        u64 size = refuse ? 4 : 2;
        u64 b = space_->remap(a, size * kPage, size * 2 * kPage, kRemapMayMove, 0).value();
        EXPECT_NE(b, a);
        EXPECT_EQ(byte(b), 1);
        EXPECT_EQ(byte(b + kPage), 2);
        EXPECT_EQ(byte(b + (size * 2 - 1) * kPage), 0);
        EXPECT_FALSE(readable(a));
        byte(b + size * kPage) = 3;
        a = b;
        map(kPage, kRw, b + size * 2 * kPage, kMapFlagFixed);  // so that it must move again
    }
    testing::g_refuse_move = false;
    EXPECT_EQ(space_->remap(a, 8 * kPage, kPage, 0, 0).value(), a);
    EXPECT_FALSE(readable(a + kPage));
    EXPECT_EQ(space_->remap(a, kPage, 3 * kPage, 0, 0).value(), a);
    EXPECT_EQ(byte(a + 2 * kPage), 0);
    EXPECT_EQ(space_->remap(a + 64 * kPage * 1024, kPage, kPage * 2, kRemapMayMove, 0).error(), Errno::fault);
    EXPECT_EQ(space_->remap(a, kPage, 0, 0, 0).error(), Errno::inval);
    EXPECT_EQ(space_->remap(a, 2 * kPage, 2 * kPage, kRemapMayMove | kRemapFixed, a + kPage).error(), Errno::inval);
    byte(a) = 8;
    u64 kept = space_->remap(a, kPage, kPage, kRemapMayMove | kRemapDontUnmap, 0).value();
    EXPECT_EQ(byte(kept), 8);
    EXPECT_EQ(byte(a), 0);
}

TEST_F(SpaceTest, BreakMovesWithFewGateCalls) {
    u64 start = testing::kLow + (1ull << 30);
    space_->set_break_start(start);
    EXPECT_EQ(space_->set_break(0).value(), start);
    u64 calls = testing::g_gate_calls;
    for (u64 end = start; end <= start + (1 << 20); end += kPage) ASSERT_EQ(space_->set_break(end).value(), end);
    EXPECT_LE(testing::g_gate_calls - calls, 2u);
    byte(start + 4 * kPage) = 1, byte(start + 5 * kPage) = 2;
    EXPECT_EQ(space_->set_break(start + 4 * kPage + 10).value(), start + 4 * kPage + 10);
    EXPECT_EQ(space_->set_break(start + 8 * kPage).value(), start + 8 * kPage);
    EXPECT_EQ(byte(start + 4 * kPage), 1);  // the page that the break stood in stays
    EXPECT_EQ(byte(start + 5 * kPage), 0);  // later ones come back zeroed
    byte(start + 7 * kPage) = 3;
    EXPECT_EQ(space_->set_break(start + 7 * kPage).value(), start + 7 * kPage);
    EXPECT_EQ(space_->set_break(start + 8 * kPage).value(), start + 8 * kPage);
    EXPECT_EQ(byte(start + 7 * kPage), 0);
    map(kPage, kRw, start + (4 << 20), kMapFlagFixed);
    EXPECT_EQ(space_->set_break(start + (5 << 20)).value(), start + 8 * kPage);
    process_->limits[2][0] = 1 << 20;
    EXPECT_EQ(space_->set_break(start + (2 << 20)).value(), start + 8 * kPage);
    process_->limits[2][0] = ~0ull;
}

TEST_F(SpaceTest, CodeIsAnnouncedBeforeItGoes) {
    u64 a = map(2 * kPage, 5);
    u64 seen = testing::g_code_changes;
    ASSERT_TRUE(space_->protect(a, kPage, 7).ok());
    EXPECT_EQ(testing::g_code_changes, ++seen);
    ASSERT_TRUE(space_->unmap(a, 2 * kPage).ok());
    EXPECT_GT(testing::g_code_changes, seen);
    seen = testing::g_code_changes;
    u64 data = map(kPage);
    ASSERT_TRUE(space_->unmap(data, kPage).ok());
    EXPECT_EQ(testing::g_code_changes, seen);
}

TEST_F(SpaceTest, PlacesCodeWithinReach) {
    for (u64 near : {testing::kLow + 0x1000, map(kPage, 5), testing::kHigh - kPage}) {
        u64 block = space_->place_code(near, 0x10000).value();
        i64 distance = static_cast<i64>(block - near);
        EXPECT_LT(distance < 0 ? -distance : distance, (1ll << 31) - 0x10000);
        EXPECT_EQ(map_error(block, kPage, kAnonymous | kMapFlagFixedNoReplace), Errno::exist);
    }
}

TEST_F(SpaceTest, FreezesPlainCodeOnly) {
    u64 a = map(2 * kPage, 5);
    EXPECT_EQ(space_->freeze_code(a, 2 * kPage).value(), 5u);
    space_->thaw_code();
    EXPECT_FALSE(space_->freeze_code(a, 3 * kPage).ok() && space_->protection_at(a + 2 * kPage) == 0);
    ASSERT_TRUE(space_->protect(a, kPage, 1).ok());
    EXPECT_FALSE(space_->freeze_code(a, 2 * kPage).ok());
    u64 shared = space_->map(0, kPage, 5, kMapFlagShared | kMapFlagAnonymous, nullptr, 0, kKind).value();
    EXPECT_FALSE(space_->freeze_code(shared, 8).ok());
}

TEST_F(SpaceTest, Advice) {
    u64 a = map(2 * kPage);
    byte(a) = 1;
    EXPECT_TRUE(space_->advise(a, 2 * kPage, MADV_DONTNEED).ok());
    EXPECT_EQ(byte(a), 0);
    EXPECT_EQ(space_->advise(a + 1, kPage, MADV_DONTNEED).error(), Errno::inval);
    EXPECT_EQ(space_->advise(a - kPage, 2 * kPage, MADV_DONTNEED).error(), Errno::nomem);
    EXPECT_EQ(space_->advise(a, kPage, 12345).error(), Errno::inval);
    EXPECT_EQ(space_->advise(a, kPage, 18).error(), Errno::inval);  // WIPEONFORK is a promise that is not kept
    EXPECT_TRUE(space_->advise(a, 2 * kPage, 23).ok());             // POPULATE_WRITE
    EXPECT_TRUE(space_->advise(a, 0, MADV_DONTNEED).ok());
}

TEST_F(SpaceTest, RandomOperationsKeepBooksStraight) {
    std::mt19937_64 random{3};
    const u64 base = testing::kLow + (1ull << 32);
    constexpr u64 kPages = 64;
    int model[kPages];  // protection, or -1
    for (int& prot : model) prot = -1;
    for (int step = 0; step < 4000; ++step) {
        u64 at = random() % kPages, count = 1 + random() % (kPages - at);
        if (count > 8) count = 8;
        u32 prot = random() % 2 ? 3 : 1;
        switch (random() % 3) {
            case 0:
                ASSERT_EQ(map(count * kPage, prot, base + at * kPage, kMapFlagFixed), base + at * kPage);
                for (u64 i = at; i < at + count; ++i) model[i] = static_cast<int>(prot);
                break;
            case 1:
                ASSERT_TRUE(space_->unmap(base + at * kPage, count * kPage).ok());
                for (u64 i = at; i < at + count; ++i) model[i] = -1;
                break;
            default: {
                u64 good = 0;
                while (good < count && model[at + good] >= 0) ++good;
                ASSERT_EQ(space_->protect(base + at * kPage, count * kPage, prot).ok(), good == count);
                for (u64 i = at; i < at + good; ++i) model[i] = static_cast<int>(prot);
            }
        }
        u64 total = 0;
        for (u64 i = 0; i < kPages; ++i) {
            u64 address = base + i * kPage;
            ASSERT_EQ(space_->protection_at(address), model[i] < 0 ? 0u : static_cast<u32>(model[i]));
            total += model[i] >= 0;
        }
        ASSERT_EQ(space_->mapped_bytes(), total * kPage);
        u64 i = random() % kPages, address = base + i * kPage;
        ASSERT_EQ(readable(address), model[i] >= 0);
        ASSERT_EQ(write_user<u32>(address, 1).ok(), model[i] == 3);
    }
}

}  // namespace
}  // namespace postern::libos
