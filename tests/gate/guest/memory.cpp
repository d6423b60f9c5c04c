// SPDX-License-Identifier: Apache-2.0
// Memory calls.
#include "tests/gate/guest/guest.hpp"

namespace guest {
namespace {

constexpr u32 kReadWrite = kProtRead | kProtWrite;

bool all(const u8* memory, u64 size, u8 value) {
    for (u64 i = 0; i < size; ++i)
        if (memory[i] != value) return false;
    return true;
}

}  // namespace

GATE_CASE(alloc_commit_reads_zero_and_keeps_writes) {
    u64 address = fresh_range(16 * kPageSize);
    REQUIRE_OK(gate().virtual_memory_alloc(address, 16 * kPageSize, kAllocCommit, kReadWrite));
    auto* memory = reinterpret_cast<u8*>(address);
    CHECK(all(memory, 16 * kPageSize, 0));
    memset(memory, 0x5a, 16 * kPageSize);
    CHECK(all(memory, 16 * kPageSize, 0x5a));
    CHECK_OK(gate().virtual_memory_free(address, 16 * kPageSize, FreeKind::release));
    CHECK(!probe_read(address));
}

GATE_CASE(alloc_reserve_faults_until_committed) {
    u64 address = fresh_range(4 * kPageSize);
    REQUIRE_OK(gate().virtual_memory_alloc(address, 4 * kPageSize, kAllocReserve, kProtNone));
    CHECK(!probe_read(address));
    CHECK(g_fault.kind == ExceptionKind::access_violation);
    CHECK_EQ(g_fault.address, address);
    CHECK_ERR(gate().virtual_memory_alloc(address, kPageSize, kAllocCommit, kReadWrite), exists);
    REQUIRE_OK(gate().virtual_memory_alloc(address + kPageSize, kPageSize, kAllocCommit | kAllocReplace, kReadWrite));
    CHECK(probe_write(address + kPageSize, 7));
    CHECK(!probe_write(address, 7));
    CHECK(!probe_write(address + 2 * kPageSize, 7));
    CHECK_OK(gate().virtual_memory_free(address, 4 * kPageSize, FreeKind::release));
}

GATE_CASE(alloc_refuses_a_used_range_and_leaves_it) {
    u8* memory = fresh_memory(2 * kPageSize);
    u64 address = reinterpret_cast<u64>(memory);
    memory[kPageSize] = 9;
    CHECK_ERR(gate().virtual_memory_alloc(address, 4 * kPageSize, kAllocCommit, kReadWrite), exists);
    CHECK_ERR(gate().virtual_memory_alloc(address + kPageSize, kPageSize, kAllocReserve, kProtNone), exists);
    CHECK_EQ(memory[kPageSize], 9);
    CHECK(!probe_read(address + 2 * kPageSize));
    REQUIRE_OK(gate().virtual_memory_alloc(address, 2 * kPageSize, kAllocCommit | kAllocReplace, kReadWrite));
    CHECK_EQ(memory[kPageSize], 0);
}

GATE_CASE(alloc_populate) {
    u64 address = fresh_range(64 * kPageSize);
    REQUIRE_OK(gate().virtual_memory_alloc(address, 64 * kPageSize, kAllocCommit | kAllocPopulate, kReadWrite));
    CHECK(probe_write(address + 63 * kPageSize, 1));
    CHECK_OK(gate().virtual_memory_free(address, 64 * kPageSize, FreeKind::release));
}

GATE_CASE(alloc_checks_its_values) {
    u64 address = fresh_range(4 * kPageSize);
    CHECK_ERR(gate().virtual_memory_alloc(address + 1, kPageSize, kAllocCommit, kReadWrite), bad_argument);
    CHECK_ERR(gate().virtual_memory_alloc(address, 1, kAllocCommit, kReadWrite), bad_argument);
    CHECK_ERR(gate().virtual_memory_alloc(address, 0, kAllocCommit, kReadWrite), bad_argument);
    CHECK_ERR(gate().virtual_memory_alloc(address, kPageSize, kAllocCommit | 0x8000, kReadWrite), bad_argument);
    CHECK_ERR(gate().virtual_memory_alloc(address, kPageSize, kAllocCommit, 0x80), bad_argument);
    CHECK_ERR(gate().virtual_memory_alloc(address, kPageSize, 0, kReadWrite), bad_argument);
    CHECK_ERR(gate().virtual_memory_alloc(address, kPageSize, kAllocCommit | kAllocReserve, kReadWrite), bad_argument);
    CHECK_ERR(gate().virtual_memory_alloc(address, ~0ull << 12, kAllocCommit, kReadWrite), bad_argument);
    CHECK_ERR(gate().virtual_memory_alloc(1ull << 47, kPageSize, kAllocCommit, kReadWrite), bad_argument);
    CHECK(!probe_read(address));
}

GATE_CASE(protect_is_enforced) {
    u8* memory = fresh_memory(2 * kPageSize);
    u64 address = reinterpret_cast<u64>(memory);
    memory[0] = 0xc3;  // ret
    REQUIRE_OK(gate().virtual_memory_protect(address, kPageSize, kProtRead));
    CHECK(probe_read(address));
    CHECK(!probe_write(address, 1));
    CHECK(g_fault.kind == ExceptionKind::access_violation);
    CHECK_EQ(g_fault.address, address);
    CHECK_EQ(g_fault.flags & 1, 1);
    CHECK(probe_write(address + kPageSize, 1));
    CHECK(!probe_execute(address));
    CHECK_EQ(g_fault.flags & 2, 2);
    REQUIRE_OK(gate().virtual_memory_protect(address, kPageSize, kProtRead | kProtExecute));
    CHECK_OK(gate().instruction_cache_flush(address, kPageSize));
    CHECK(probe_execute(address));
    CHECK(!probe_write(address, 1));
    REQUIRE_OK(gate().virtual_memory_protect(address, kPageSize, kProtNone));
    CHECK(!probe_read(address));
    CHECK_EQ(g_fault.flags & 1, 0);
    REQUIRE_OK(gate().virtual_memory_protect(address, kPageSize, kReadWrite));
    CHECK_EQ(memory[0], 0xc3);
    CHECK_ERR(gate().virtual_memory_protect(fresh_range(kPageSize), kPageSize, kProtRead), no_memory);
    CHECK_ERR(gate().virtual_memory_protect(address + 8, kPageSize, kProtRead), bad_argument);
    CHECK_ERR(gate().virtual_memory_protect(address, kPageSize, 8), bad_argument);
}

GATE_CASE(free_kinds) {
    u8* memory = fresh_memory(4 * kPageSize);
    u64 address = reinterpret_cast<u64>(memory);
    memset(memory, 1, 4 * kPageSize);
    REQUIRE_OK(gate().virtual_memory_free(address + kPageSize, kPageSize, FreeKind::decommit));
    CHECK(all(memory, kPageSize, 1));
    CHECK(all(memory + kPageSize, kPageSize, 0));
    CHECK(all(memory + 2 * kPageSize, 2 * kPageSize, 1));
    CHECK_OK(gate().virtual_memory_free(address, kPageSize, FreeKind::will_need));
    CHECK(all(memory, kPageSize, 1));
    CHECK_OK(gate().virtual_memory_free(address, kPageSize, FreeKind::lazy));
    memset(memory, 3, kPageSize);  // written again: kept
    CHECK(all(memory, kPageSize, 3));
    REQUIRE_OK(gate().virtual_memory_free(address + 2 * kPageSize, kPageSize, FreeKind::release));
    CHECK(!probe_read(address + 2 * kPageSize));
    CHECK(probe_read(address + 3 * kPageSize));
    // Holes are no error.
    CHECK_OK(gate().virtual_memory_free(address, 4 * kPageSize, FreeKind::release));
    CHECK_OK(gate().virtual_memory_free(address, 4 * kPageSize, FreeKind::release));
    CHECK_ERR(gate().virtual_memory_free(address, 4 * kPageSize, static_cast<FreeKind>(77)), bad_argument);
    CHECK_ERR(gate().virtual_memory_free(address, 0, FreeKind::release), bad_argument);
}

GATE_CASE(shared_memory_survives_fork_and_private_memory_is_copied) {
    u64 shared = fresh_range(kPageSize);
    REQUIRE_OK(gate().virtual_memory_alloc(shared, kPageSize, kAllocCommit | kAllocShared, kReadWrite));
    struct Both {
        u8* shared;
        u8* own;
    } both{reinterpret_cast<u8*>(shared), fresh_memory(kPageSize)};
    both.own[0] = 1;
    u32 code = in_child(
        [](void* argument) -> u32 {
            auto* both = static_cast<Both*>(argument);
            if (both->own[0] != 1) return 1;
            both->own[0] = 2;
            both->shared[0] = 3;
            return 40;
        },
        &both);
    CHECK_EQ(code, 40u);
    CHECK_EQ(both.own[0], 1);
    CHECK_EQ(both.shared[0], 3);
    CHECK_OK(gate().virtual_memory_free(shared, kPageSize, FreeKind::release));
}

GATE_CASE(remove_gives_shared_storage_back) {
    u64 address = fresh_range(2 * kPageSize);
    REQUIRE_OK(gate().virtual_memory_alloc(address, 2 * kPageSize, kAllocCommit | kAllocShared, kReadWrite));
    auto* memory = reinterpret_cast<u8*>(address);
    memset(memory, 6, 2 * kPageSize);
    CHECK_OK(gate().virtual_memory_free(address, kPageSize, FreeKind::remove));
    CHECK(all(memory, kPageSize, 0));
    CHECK(all(memory + kPageSize, kPageSize, 6));
}

GATE_CASE(move_relocates_and_resizes) {
    u8* memory = fresh_memory(4 * kPageSize);
    u64 address = reinterpret_cast<u64>(memory);
    for (u64 i = 0; i < 4; ++i) memory[i * kPageSize] = static_cast<u8>(i + 1);
    u64 target = fresh_range(8 * kPageSize);
    REQUIRE_OK(gate().virtual_memory_move(address, 4 * kPageSize, target, 6 * kPageSize));
    auto* moved = reinterpret_cast<u8*>(target);
    for (u64 i = 0; i < 4; ++i) CHECK_EQ(moved[i * kPageSize], i + 1);
    CHECK_EQ(moved[5 * kPageSize], 0);
    CHECK(!probe_read(address));
    CHECK(!probe_read(target + 6 * kPageSize));
    // In place: smaller, then larger again.
    REQUIRE_OK(gate().virtual_memory_move(target, 6 * kPageSize, target, 2 * kPageSize));
    CHECK(!probe_read(target + 2 * kPageSize));
    REQUIRE_OK(gate().virtual_memory_move(target, 2 * kPageSize, target, 3 * kPageSize));
    CHECK_EQ(moved[0], 1);
    CHECK_EQ(moved[2 * kPageSize], 0);
    u8* wall = fresh_memory(kPageSize);  // right behind a range of one page and the free page between
    u8* grows = reinterpret_cast<u8*>(reinterpret_cast<u64>(wall) + 2 * kPageSize);
    REQUIRE_OK(gate().virtual_memory_alloc(reinterpret_cast<u64>(grows), kPageSize, kAllocCommit, kReadWrite));
    CHECK_ERR(
        gate().virtual_memory_move(reinterpret_cast<u64>(wall), kPageSize, reinterpret_cast<u64>(wall), 4 * kPageSize),
        exists);
    CHECK_ERR(gate().virtual_memory_move(fresh_range(kPageSize), kPageSize, fresh_range(kPageSize), kPageSize),
              bad_address);
    CHECK_ERR(gate().virtual_memory_move(target + 1, kPageSize, target, kPageSize), bad_argument);
    CHECK_OK(gate().virtual_memory_free(reinterpret_cast<u64>(grows), kPageSize, FreeKind::release));
}

GATE_CASE(the_host_part_cannot_be_touched) {
    u64 calls = page_floor(reinterpret_cast<u64>(g_calls));
    u64 code = page_floor(reinterpret_cast<u64>(reinterpret_cast<void*>(g_calls->DkVirtualMemoryFree)));
    for (u64 address : {calls, code}) {
        CHECK(err_of(gate().virtual_memory_free(address, kPageSize, FreeKind::release)) != Err::ok);
        CHECK(err_of(gate().virtual_memory_protect(address, kPageSize, kReadWrite)) != Err::ok);
        CHECK(err_of(gate().virtual_memory_alloc(address, kPageSize, kAllocCommit | kAllocReplace, kReadWrite)) !=
              Err::ok);
        CHECK(err_of(gate().stream_unmap(address, kPageSize)) != Err::ok);
        CHECK(probe_read(address));
    }
}

GATE_CASE(null_is_never_mapped) { CHECK(!probe_read(8)); }

}  // namespace guest
