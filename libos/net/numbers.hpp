// SPDX-License-Identifier: Apache-2.0
// Numbers of socket calls that the kernel's headers keep for itself (include/linux/socket.h).
#pragma once

#include "base/types.hpp"

namespace postern::libos {

enum MessageFlags : u32 {
    kMessageOutOfBand = 1,
    kMessagePeek = 2,
    kMessageControlCut = 8,
    kMessageCut = 0x20,
    kMessageDontWait = 0x40,
    kMessageWaitAll = 0x100,
    kMessageErrorQueue = 0x2000,
    kMessageNoSignal = 0x4000,
    kMessageMore = 0x8000,
    kMessageWaitForOne = 0x10000,
    kMessageCloseOnExec = 0x40000000,
};

inline constexpr u32 kSocketNonBlocking = 04000, kSocketCloseOnExec = 02000000, kSocketTypeMask = 0xf;
inline constexpr u32 kControlRights = 1, kControlCredentials = 2;

struct UserMessage {  // struct user_msghdr
    u64 name;
    u32 name_length, padding;
    u64 vectors, vector_count;
    u64 control, control_length;
    u32 flags, padding2;
};
struct ControlHeader {  // struct cmsghdr
    u64 length;
    u32 level, type;
};

}  // namespace postern::libos
