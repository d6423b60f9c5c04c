// SPDX-License-Identifier: Apache-2.0
// The arena, the private heap and the locks that survive their holders.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include "libos/shared/layout.hpp"
#include "libos/shared/self.hpp"
#include "libos/shared/stacks.hpp"
#include "shared_host.hpp"

namespace postern::libos {
namespace {

constexpr u64 kSize = 64 << 20;

class Shared : public testing::Test {
protected:
    void SetUp() override { test::start(kSize); }
};

u64 resident_pages() {
    std::vector<unsigned char> map(kSize / kPageSize);
    EXPECT_EQ(mincore(reinterpret_cast<void*>(kArenaAddress), kSize, map.data()), 0);
    u64 count = 0;
    for (unsigned char page : map) count += page & 1;
    return count;
}

TEST_F(Shared, AllocationsAreZeroedAlignedAndDistinct) {
    std::mt19937 random{1};
    std::map<u8*, usize> live;
    for (int round = 0; round < 20000; ++round) {
        if (live.size() > 200 || (!live.empty() && random() % 2 == 0)) {
            auto victim = std::next(live.begin(), static_cast<long>(random() % live.size()));
            for (usize at = 0; at < victim->second; ++at)
                ASSERT_EQ(victim->first[at], static_cast<u8>(victim->second)) << "somebody else wrote here";
            arena::release(victim->first, victim->second);
            live.erase(victim);
            continue;
        }
        usize size = 1 + random() % (random() % 10 == 0 ? 100000 : 3000);
        auto made = arena::allocate(size);
        ASSERT_TRUE(made.ok());
        auto bytes = static_cast<u8*>(made.value());
        ASSERT_EQ(reinterpret_cast<u64>(bytes) % 16, 0u);
        for (usize at = 0; at < size; ++at) ASSERT_EQ(bytes[at], 0);
        memset(bytes, static_cast<u8>(size), size);
        live[bytes] = size;
    }
}

TEST_F(Shared, PagesAreGivenBack) {
    u64 before = arena::used_bytes();
    void* run = MUST(arena::allocate_pages(1000));
    memset(run, 1, 1000 * kPageSize);
    u64 full = resident_pages();
    arena::release_pages(run, 1000);
    EXPECT_EQ(arena::used_bytes(), before);
    EXPECT_LE(resident_pages() + 1000, full);
    void* again = MUST(arena::allocate_pages(1000));
    EXPECT_EQ(again, run) << "the lowest free pages come first";
    EXPECT_EQ(*static_cast<u8*>(again), 0);
}

TEST_F(Shared, IdleArenaTouchesFewPages) {
    for (int object = 0; object < 10; ++object) (void)MUST(arena::allocate(64));
    EXPECT_LE(resident_pages(), 8u);
}

TEST_F(Shared, ExhaustionIsAnErrorAndRunsShrink) {
    EXPECT_FALSE(arena::allocate_pages(kSize / kPageSize).ok());
    u64 got = 0;
    void* run = MUST(arena::allocate_run(kSize / kPageSize, &got));
    EXPECT_GT(got, 10000u);
    EXPECT_FALSE(arena::allocate_pages(64).ok() && arena::allocate_pages(64).ok() && arena::allocate_pages(64).ok());
    arena::release_pages(run, got);
    EXPECT_TRUE(arena::allocate_pages(64).ok());
}

TEST_F(Shared, FragmentedRunsFindHoles) {
    std::vector<void*> pages;
    for (;;) {
        auto page = arena::allocate_pages(4);
        if (!page.ok()) break;
        pages.push_back(page.value());
    }
    for (usize at = 0; at < pages.size(); at += 2) arena::release_pages(pages[at], 4);
    EXPECT_FALSE(arena::allocate_pages(5).ok());
    EXPECT_TRUE(arena::allocate_pages(4).ok());
    u64 got = 0;
    EXPECT_TRUE(arena::allocate_run(64, &got).ok());
    EXPECT_EQ(got, 4u);
}

TEST_F(Shared, HeapServesSmallAndLarge) {
    std::vector<void*> blocks;
    for (usize size : {8u, 100u, 5000u, 40000u, 1u << 20}) {
        void* block = MUST(heap::allocate(size));
        for (usize at = 0; at < size; ++at) ASSERT_EQ(static_cast<u8*>(block)[at], 0);
        memset(block, 0xff, size);
        heap::release(block, size);
        void* again = MUST(heap::allocate(size));
        for (usize at = 0; at < size; ++at) ASSERT_EQ(static_cast<u8*>(again)[at], 0) << size;
        blocks.push_back(again);
    }
    LibOsStack* stack = MUST(stack_acquire());
    memset(reinterpret_cast<void*>(stack->low), 1, kLibOsStackSize);
    stack->in_use = 0;
    EXPECT_EQ(MUST(stack_acquire()), stack);
}

TEST_F(Shared, LocksExclude) {
    SharedLock& lock = *MUST(arena::create<SharedLock>());
    u64 counter = 0;
    std::vector<std::thread> threads;
    for (int index = 0; index < 4; ++index)
        threads.emplace_back([&] {
            locks_join(static_cast<u32>(getpid()));
            for (int round = 0; round < 20000; ++round) {
                Guard guard{lock};
                counter = counter + 1;
            }
            locks_leave();
        });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(counter, 80000u);
    EXPECT_FALSE(lock.held());
}

TEST_F(Shared, DeadHoldersAreUndone) {
    struct Pair {
        SharedLock lock;
        u64 left = 5, right = 5;
    };
    Pair& pair = *MUST(arena::create<Pair>());
    pid_t child = fork();
    if (child == 0) {
        test::become(static_cast<u32>(getpid()), static_cast<u32>(getpid()));
        pair.lock.lock();
        set_undoable(pair.lock, pair.left, u64{4});
        _exit(0);  // with the lock held and only half of the change made
    }
    waitpid(child, nullptr, 0);
    ASSERT_TRUE(pair.lock.held());
    EXPECT_EQ(pair.left, 4u);
    test::report_death(static_cast<u32>(child));
    pair.lock.lock();
    EXPECT_EQ(pair.left, 5u);
    EXPECT_EQ(pair.right, 5u);
    pair.lock.unlock();
    EXPECT_FALSE(pair.lock.held());
}

TEST_F(Shared, BuryingOpensWhatWasChanged) {
    struct Node {
        ListLink link;
    };
    struct Owner {
        SharedLock lock;
        List<Node, &Node::link> list;
        Node first, second;
    };
    Owner& owner = *MUST(arena::create<Owner>());
    owner.list.push_back(owner.first);
    pid_t child = fork();
    if (child == 0) {
        test::become(static_cast<u32>(getpid()), static_cast<u32>(getpid()));
        owner.lock.lock();
        undoable_push_back(owner.lock, owner.list, owner.second);
        undoable_unlink(owner.lock, owner.first.link);
        _exit(0);
    }
    waitpid(child, nullptr, 0);
    test::report_death(static_cast<u32>(child));
    locks_bury(static_cast<u32>(child));
    EXPECT_FALSE(owner.lock.held());
    EXPECT_EQ(owner.list.front(), &owner.first);
    EXPECT_EQ(owner.list.back(), &owner.first);
    EXPECT_FALSE(owner.second.link.linked());
}

TEST_F(Shared, KilledAllocatorsLeaveAWholeArena) {
    std::mt19937 random{7};
    for (int round = 0; round < 40; ++round) {
        pid_t child = fork();
        if (child == 0) {
            test::become(static_cast<u32>(getpid()), static_cast<u32>(getpid()));
            for (;;) {
                usize size = 1 + static_cast<u32>(rand()) % 40000;
                auto block = arena::allocate(size);
                if (block.ok()) arena::release(block.value(), size);
                auto pages = arena::allocate_pages(3);
                if (pages.ok()) arena::release_pages(pages.value(), 3);
            }
        }
        usleep(random() % 3000);
        kill(child, SIGKILL);
        waitpid(child, nullptr, 0);
        test::report_death(static_cast<u32>(child));
        locks_bury(static_cast<u32>(child));
        void* pages = MUST(arena::allocate_pages(3));
        void* block = MUST(arena::allocate(100));
        memset(pages, 0xee, 3 * kPageSize);
        arena::release_pages(pages, 3);
        arena::release(block, 100);
    }
}

TEST_F(Shared, UndoCommitKeepsFinishedSteps) {
    SharedLock& lock = *MUST(arena::create<SharedLock>());
    u64& word = *static_cast<u64*>(MUST(arena::allocate(8)));
    pid_t child = fork();
    if (child == 0) {
        test::become(static_cast<u32>(getpid()), static_cast<u32>(getpid()));
        lock.lock();
        set_undoable(lock, word, u64{1});
        undo_commit(lock);
        set_undoable(lock, word, u64{2});
        _exit(0);
    }
    waitpid(child, nullptr, 0);
    test::report_death(static_cast<u32>(child));
    lock.lock();
    EXPECT_EQ(word, 1u);
    lock.unlock();
}

}  // namespace
}  // namespace postern::libos
