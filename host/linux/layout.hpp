// SPDX-License-Identifier: Apache-2.0
// The fixed addresses of the Linux host inside a picoprocess, and the descriptors it starts with.
//
// The program and its libraries live below kHostLow; nothing here is ever given to the program. Fixed places make the
// filter's comparison of instruction pointers a constant, and snapshots position-stable. What every process touches
// lies in three pieces of 2 MiB side by side: a fork copies (and an exit frees) a page of page tables for each such
// piece that is in use, and three more for each 512 GiB. Neighbours of one kind also merge into one mapping.
#pragma once

#include "base/types.hpp"

namespace postern::host {

inline constexpr u64 kUserLow = 0x0000'0001'0000ull;    ///< lowest address a program may use (mmap_min_addr)
inline constexpr u64 kUserHigh = 0x5fff'0000'0000ull;   ///< end of the addresses given to programs
inline constexpr u64 kEntryBase = 0x6000'0000'0000ull;  ///< entry image (ET_EXEC)
inline constexpr u64 kGatePage = 0x6000'0000'1000ull;   ///< the one page whose `syscall` instructions pass
inline constexpr u64 kGatePageSize = 4096;
inline constexpr u64 kEntryHeap = 0x6000'0014'0000ull;    ///< entry's own private memory (stack, handle table, ...)
inline constexpr u64 kNoticeBase = 0x6000'1100'0000ull;   ///< notices from the monitor, read-only
inline constexpr u64 kRequestBase = 0x6000'1101'0000ull;  ///< request file, shared with the monitor
inline constexpr u64 kLibOsBase = 0x6000'1200'0000ull;    ///< library OS image (ET_EXEC), 1.5 MiB at most
inline constexpr u64 kLibOsHeap = 0x6000'1218'0000ull;    ///< private memory that the library OS manages, 1.9 TiB
inline constexpr u64 kLibOsHeapEnd = 0x6200'0000'0000ull;
inline constexpr u64 kArenaBase = 0x6200'0000'0000ull;  ///< where the library OS maps memory:arena, <= 1 TiB
inline constexpr u64 kArenaEnd = 0x6300'0000'0000ull;
inline constexpr u64 kFileWindow = 0x6300'0000'0000ull;  ///< read-only files mapped for reading by copy
inline constexpr u64 kFileWindowEnd = 0x6700'0000'0000ull;
inline constexpr u64 kThreadHeap = 0x6700'0000'0000ull;    ///< areas of all threads but the first
inline constexpr u64 kTimePageBase = 0x67f0'0000'0000ull;  ///< home of [vvar] and [vdso]

/// Descriptors of a fresh picoprocess. Those above 2 are closed or hidden by entry before any guest code runs.
enum StartDescriptor : int {
    kFdLibOs = 3,      ///< the library OS image, read-only
    kFdArena = 4,      ///< memory file "memory:arena", read-write, sealed against shrinking and growing
    kFdRequest = 5,    ///< memory file with request slots (protocol.hpp), read-write, sealed likewise
    kFdNotice = 6,     ///< memory file written by the monitor only, read-only
    kFdTrace = 7,      ///< where DkDebugStringPrint goes, write-only
    kFdBoot = 8,       ///< SOCK_SEQPACKET to the monitor; carries the notification listener, then is closed
    kFdForeseen = 10,  ///< from here on, in the first picoprocess: what ForeseenAnswer names
};

}  // namespace postern::host
