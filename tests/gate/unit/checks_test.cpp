// SPDX-License-Identifier: Apache-2.0
// The generated argument rules agree with the table, and the order of handle errors holds.
#include "gate/checks.hpp"

#include <gtest/gtest.h>

#include "gate/table.hpp"

namespace {

using namespace postern;
using namespace postern::gate;

// Known by the compiler, so that providers can use them in their own static_asserts.
static_assert(requirement(CallNumber::DkStreamRead, 0).right == Right::read);
static_assert(requirement(CallNumber::DkStreamRead, 1).kinds == 0);
static_assert(requirement(CallNumber::DkAbortEventRegister, 0).optional);
static_assert(argument_count(CallNumber::DkThreadYieldExecution) == 0);
static_assert(check_values<CallNumber::DkVirtualMemoryProtect>(u64{4096}, u64{4096}, u32{kProtRead}) == Err::ok);
static_assert(check_values<CallNumber::DkVirtualMemoryProtect>(u64{4097}, u64{4096}, u32{1}) == Err::bad_argument);
static_assert(check_values<CallNumber::DkVirtualMemoryProtect>(u64{4096}, u64{0}, u32{1}) == Err::bad_argument);
static_assert(check_values<CallNumber::DkVirtualMemoryProtect>(u64{4096}, u64{4096}, u32{8}) == Err::bad_argument);

TEST(Checks, AgreeWithTheTable) {
    ASSERT_EQ(kCallCount, schema::kCallCount);
    for (usize i = 0; i < schema::kCallCount; ++i) {
        const schema::Call& row = schema::kTable[i];
        auto call = static_cast<CallNumber>(row.number);
        EXPECT_EQ(generated::kCallNames[row.number], row.name);
        ASSERT_EQ(argument_count(call), row.param_count) << row.name;
        for (unsigned k = 0; k < row.param_count; ++k) {
            bool handle = schema::is_handle_in(row.params[k]);
            EXPECT_EQ(requirement(call, k).kinds, handle ? row.params[k].kinds : 0) << row.name;
            if (handle) {
                EXPECT_EQ(requirement(call, k).right, row.params[k].right) << row.name;
            }
        }
        for (u32 e = 1; e < kErrCount; ++e)
            EXPECT_EQ(may_return(call, static_cast<Err>(e)), schema::may_return(row, static_cast<Err>(e))) << row.name;
        EXPECT_TRUE(may_return(call, Err::ok));
        EXPECT_EQ(works_on_linux(call), row.linux_status == schema::Status::working) << row.name;
    }
}

TEST(Checks, BadHandleBeforeWrongKindBeforeDenied) {
    Requirement wanted = requirement(CallNumber::DkStreamWrite, 0);
    EXPECT_EQ(check_handle(wanted, ObjectKind::none, Right::none), Err::bad_handle);
    EXPECT_EQ(check_handle(wanted, ObjectKind::none, Right::all), Err::bad_handle);
    EXPECT_EQ(check_handle(wanted, ObjectKind::event, Right::none), Err::wrong_kind);
    EXPECT_EQ(check_handle(wanted, ObjectKind::event, Right::all), Err::wrong_kind);
    EXPECT_EQ(check_handle(wanted, ObjectKind::stream, Right::read), Err::denied);
    EXPECT_EQ(check_handle(wanted, ObjectKind::stream, Right::read | Right::write), Err::ok);
    EXPECT_EQ(check_handle(requirement(CallNumber::DkObjectClose, 0), ObjectKind::channel, Right::none), Err::ok);
    EXPECT_EQ(check_handle(requirement(CallNumber::DkObjectClose, 0), ObjectKind::none, Right::none), Err::bad_handle);
}

TEST(Checks, EveryKindAndRight) {
    for (usize i = 0; i < schema::kCallCount; ++i) {
        const schema::Call& row = schema::kTable[i];
        for (unsigned k = 0; k < row.param_count; ++k) {
            Requirement wanted = requirement(static_cast<CallNumber>(row.number), k);
            if (wanted.kinds == 0) continue;
            for (unsigned kind = 1; kind <= static_cast<unsigned>(ObjectKind::channel); ++kind) {
                bool accepted = (row.params[k].kinds >> kind & 1) != 0;
                EXPECT_EQ(check_handle(wanted, static_cast<ObjectKind>(kind), Right::all),
                          accepted ? Err::ok : Err::wrong_kind)
                    << row.name;
                if (accepted && wanted.right != Right::none) {
                    EXPECT_EQ(check_handle(wanted, static_cast<ObjectKind>(kind), Right::none), Err::denied);
                }
            }
        }
    }
}

TEST(Checks, ValuesOutsideTheirSets) {
    EXPECT_EQ((check_values<CallNumber::DkStreamFlush>(Handle{1}, 1u)), Err::ok);
    EXPECT_EQ((check_values<CallNumber::DkStreamFlush>(Handle{1}, 2u)), Err::bad_argument);
    u64 time;
    EXPECT_EQ((check_values<CallNumber::DkSystemTimeQuery>(Clock::tai, &time)), Err::ok);
    EXPECT_EQ((check_values<CallNumber::DkSystemTimeQuery>(Clock::tai, static_cast<u64*>(nullptr))), Err::bad_address);
    EXPECT_EQ((check_values<CallNumber::DkSystemTimeQuery>(static_cast<Clock>(9), static_cast<u64*>(nullptr))),
              Err::bad_argument);
    EXPECT_EQ((check_values<CallNumber::DkSystemTimeQuery>(static_cast<Clock>(~0u), static_cast<u64*>(nullptr))),
              Err::bad_argument);
    // A stream may be mapped from its start; an empty range may not.
    EXPECT_EQ((check_values<CallNumber::DkStreamMap>(Handle{1}, u64{4096}, u64{4096}, u64{0}, 1u, 1u)), Err::ok);
    EXPECT_EQ((check_values<CallNumber::DkStreamMap>(Handle{1}, u64{4096}, u64{0}, u64{0}, 1u, 1u)), Err::bad_argument);
}

}  // namespace
