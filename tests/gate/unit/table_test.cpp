// SPDX-License-Identifier: Apache-2.0
// What the compiler cannot say about the table: names, documents, the numbers that must not move.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "gate/table.hpp"

namespace {

using namespace postern::gate;
using namespace postern::gate::schema;

TEST(Table, HasDrawbridgesCallsByName) {
    const char* drawbridge[] = {"DkVirtualMemoryAlloc",
                                "DkVirtualMemoryFree",
                                "DkVirtualMemoryProtect",
                                "DkThreadCreate",
                                "DkThreadDelayExecution",
                                "DkThreadYieldExecution",
                                "DkThreadExit",
                                "DkThreadGetParameter",
                                "DkThreadRaiseException",
                                "DkNotificationEventCreate",
                                "DkSynchronizationEventCreate",
                                "DkSemaphoreCreate",
                                "DkSemaphoreRelease",
                                "DkSemaphorePeek",
                                "DkEventSet",
                                "DkEventClear",
                                "DkEventPeek",
                                "DkObjectsWaitAny",
                                "DkAbortEventRegister",
                                "DkProcessCreate",
                                "DkProcessGetExitCode",
                                "DkProcessExit",
                                "DkStreamOpen",
                                "DkStreamRead",
                                "DkStreamWrite",
                                "DkStreamMap",
                                "DkStreamUnmap",
                                "DkStreamMapPeBinary",
                                "DkStreamSetLength",
                                "DkStreamFlush",
                                "DkStreamDelete",
                                "DkStreamRename",
                                "DkStreamGetEvent",
                                "DkStreamEnumerateChildren",
                                "DkStreamAttributesQuery",
                                "DkStreamAttributesQueryByHandle",
                                "DkSystemTimeQuery",
                                "DkRandomBitsRead",
                                "DkInstructionCacheFlush",
                                "DkObjectReference",
                                "DkObjectClose",
                                "DkInputEventRead",
                                "DkFrameBufferExport",
                                "DkFrameBufferNotifyUpdate",
                                "DkDebugStringPrint"};
    EXPECT_EQ(std::size(drawbridge), 45u);
    std::set<std::string_view> names;
    for (const Call& call : kTable)
        if (call.origin == Origin::drawbridge) names.insert(call.name);
    for (const char* name : drawbridge) EXPECT_TRUE(names.contains(name)) << name;
    for (const char* name : {"LibOsInitialize", "LibOsThreadStart", "LibOsExceptionDispatch"})
        EXPECT_TRUE(names.contains(name)) << name;
}

TEST(Table, OnlyTheListedCallsAreUnsupported) {
    std::set<std::string_view> allowed = {"DkInputEventRead",    "DkFrameBufferExport",   "DkFrameBufferNotifyUpdate",
                                          "DkStreamMapPeBinary", "DkHandlePass",          "DkChannelCreate",
                                          "DkChannelCall",       "DkChannelReplyReceive", "DkChannelSend"};
    for (const Call& call : kTable)
        if (call.linux_status == Status::unsupported) {
            EXPECT_TRUE(allowed.contains(call.name)) << call.name;
        }
}

TEST(Table, SentencesAreSentences) {
    for (const Call& call : kTable) {
        for (std::string_view text : {call.doc, call.why}) {
            if (text.empty()) continue;
            EXPECT_EQ(text.back(), '.') << call.name;
            EXPECT_TRUE(text.front() == '`' || std::isupper(static_cast<unsigned char>(text.front()))) << call.name;
            EXPECT_EQ(text.find("  "), text.npos) << call.name;
        }
        if (!call.why.empty()) {
            EXPECT_GT(call.why.size(), 60u) << call.name << ": one paragraph, not a phrase";
        }
    }
}

TEST(Table, ParametersHaveDistinctNames) {
    for (const Call& call : kTable) {
        std::set<std::string_view> names;
        for (const Param& param : call) EXPECT_TRUE(names.insert(param.name).second) << call.name << " " << param.name;
    }
}

}  // namespace
