// SPDX-License-Identifier: Apache-2.0
// The gate as the library OS sees it: one structure of entry points, handed over by LibOsInitialize.
//
// Every call validates first and then commits; none returns through anything but its result and its out-parameters;
// a null entry never occurs (an absent call answers Err::unsupported). `table.hpp` describes each call in full.
#pragma once

#include "gate/types.hpp"

namespace postern::gate {

inline constexpr u32 kAbiVersion = 1;

struct Calls {
    u32 version;
    u32 size;

    // Memory. Addresses and sizes are page multiples; the guest chooses every address.
    Err (*DkVirtualMemoryAlloc)(u64 address, u64 size, u32 flags, u32 prot);
    Err (*DkVirtualMemoryFree)(u64 address, u64 size, FreeKind kind);
    Err (*DkVirtualMemoryProtect)(u64 address, u64 size, u32 prot);
    Err (*DkVirtualMemoryMove)(u64 address, u64 size, u64 new_address, u64 new_size);

    // Threads. `stack` is the lowest address; LibOsThreadStart(parameter) runs on it.
    Err (*DkThreadCreate)(u64 stack, u64 stack_size, u64 parameter, Handle* thread, ThreadToken* token);
    Err (*DkThreadDelayExecution)(u64* nanoseconds);  // in: how long, out: what is left. Blocks, interruptible.
    Err (*DkThreadYieldExecution)();
    /// Never returns. When `*clear` (may be null) has become 0 the stack is no longer in use, and waiters are woken.
    void (*DkThreadExit)(u32* clear);
    Err (*DkThreadGetParameter)(u64* parameter);
    Err (*DkThreadRaiseException)(Handle thread, u32 code);
    Err (*DkThreadInterrupt)(ThreadToken thread);
    Err (*DkSegmentBaseSet)(u32 segment, u64 base);  // segment 0: FS

    // Synchronisation.
    Err (*DkNotificationEventCreate)(u32 signalled, Handle* event);
    Err (*DkSynchronizationEventCreate)(u32 signalled, Handle* event);
    Err (*DkSemaphoreCreate)(u32 count, u32 maximum, Handle* semaphore);
    Err (*DkSemaphoreRelease)(Handle semaphore, u32 count, u32* previous);
    Err (*DkSemaphorePeek)(Handle semaphore, u32* count);
    Err (*DkEventSet)(Handle event);
    Err (*DkEventClear)(Handle event);
    Err (*DkEventPeek)(Handle event, u32* signalled);
    Err (*DkObjectsWaitAny)(u32 count, const Handle* handles, Deadline deadline, u32* index);
    Err (*DkAbortEventRegister)(Handle event);
    /// Reports all ready items at once. `ready` is their number; 0 with Err::timed_out.
    Err (*DkObjectsWaitReady)(u32 count, WaitItem* items, Deadline deadline, u32* ready);
    /// Sleeps while `*address == expected`. Err::would_block when it differs at once; interruptible.
    Err (*DkAddressWait)(u32* address, u32 expected, Deadline deadline, u32 flags);
    /// Wakes up to `count`; when `requeue_to` is not null moves up to `requeue_count` others to that word,
    /// provided `*address == expected`.
    Err (*DkAddressWake)(u32* address, u32 count, u32 flags, u32* requeue_to, u32 requeue_count, u32 expected,
                         u32* woken);

    // Child processes.
    Err (*DkProcessCreate)(const char* uri, const char* const* arguments, const Handle* streams, u32 stream_count,
                           Handle* process);
    Err (*DkProcessGetExitCode)(Handle process, u32* code);
    void (*DkProcessExit)(u32 code);  // never returns
    Err (*DkProcessFork)(ForkResult* result);

    // Streams. URIs are NUL-terminated. Offsets are explicit; kNoOffset for streams without positions.
    Err (*DkStreamOpen)(const char* uri, u32 access, u32 mode, u32 create, u32 options, Handle* stream,
                        Attributes* attributes /* may be null */);
    Err (*DkStreamRead)(Handle stream, u64 offset, void* buffer, u64 size, u64* actual);
    Err (*DkStreamWrite)(Handle stream, u64 offset, const void* buffer, u64 size, u64* actual);
    Err (*DkStreamMap)(Handle stream, u64 address, u64 size, u64 offset, u32 prot, u32 flags /* MapFlags */);
    Err (*DkStreamUnmap)(u64 address, u64 size);
    Err (*DkStreamMapPeBinary)(Handle stream, u64 address, u64* size);
    Err (*DkStreamSetLength)(Handle stream, u64 offset, u64 length, LengthChange change);
    Err (*DkStreamFlush)(Handle stream, u32 data_only);
    Err (*DkStreamDelete)(const char* uri, u32 directory);
    Err (*DkStreamRename)(const char* uri, const char* new_uri, u32 flags /* RenameFlags */);
    Err (*DkStreamGetEvent)(Handle stream, u32 ready, Handle* event);
    /// Fills `buffer` with DirectoryRecords from `*cookie` (0 first) on; `*actual` 0 at the end.
    Err (*DkStreamEnumerateChildren)(Handle directory, u64* cookie, void* buffer, u64 size, u64* actual);
    Err (*DkStreamAttributesQuery)(const char* uri, u32 options, Attributes* attributes);
    Err (*DkStreamAttributesQueryByHandle)(Handle stream, Attributes* attributes);
    Err (*DkStreamAttributesSet)(const char* uri, u32 options, u32 mask, const Attributes* attributes);
    Err (*DkStreamLink)(const char* target, const char* uri, LinkKind kind);
    Err (*DkStreamLock)(Handle stream, u64 offset, u64 length, u32 mode, u32 wait);
    Err (*DkStreamChangesRegister)(Handle stream, u32 filter, Handle event);

    // Channels and handle passing.
    Err (*DkHandlePass)(Handle channel, Handle give, Handle* received);
    Err (*DkChannelCreate)(Handle* client, Handle* server);
    Err (*DkChannelCall)(Handle channel, const void* request, u32 size, void* reply, u32 capacity, u32* actual);
    Err (*DkChannelReplyReceive)(Handle channel, const void* reply, u32 size, void* request, u32 capacity, u32* actual);
    Err (*DkChannelSend)(Handle channel, const void* message, u32 size);

    // Other.
    Err (*DkSystemTimeQuery)(Clock clock, u64* nanoseconds);
    Err (*DkTimerSet)(TimerKind kind, u64 nanoseconds /* until the interrupt, 0: off */);
    Err (*DkRandomBitsRead)(void* buffer, u64 size);
    Err (*DkInstructionCacheFlush)(u64 address, u64 size);
    Err (*DkObjectReference)(Handle object);
    Err (*DkObjectClose)(Handle object);
    Err (*DkInputEventRead)(Handle input, void* buffer, u64 size, u64* actual);
    Err (*DkFrameBufferExport)(u64 address, u32 width, u32 height, u32 stride, Handle* frame_buffer);
    Err (*DkFrameBufferNotifyUpdate)(Handle frame_buffer, u32 x, u32 y, u32 width, u32 height);
    Err (*DkDebugStringPrint)(const char* text, u64 size);

    // Later additions.
    /// Fills `buffer` with ListRecords from `*cookie` (0 first) on; `*cookie` 0: that was all.
    Err (*DkStreamList)(const char* uri, u32 options, u64* cookie, void* buffer, u64 size, u64* actual,
                        Attributes* attributes);
};

inline constexpr u64 kNoOffset = ~0ull;

enum MapFlags : u32 {
    kMapPrivate = 0,  ///< copy on write
    kMapShared = 1,
    kMapReplace = 2,  ///< replace whatever is there
    kMapPopulate = 4,
    kMapPrepared = 8,  ///< with kMapPrivate: the stream's PreparedText instead of its bytes, offset 0 its code
};
enum RenameFlags : u32 { kRenameNoReplace = 1, kRenameExchange = 2 };

/// Parameter block of LibOsInitialize. Everything it points to stays valid and unchanged for the life of the image.
struct LibOsParameters {
    u32 version;
    u32 size;
    const Calls* calls;
    const struct PersonalityHost* personality_host;  ///< see gate/personality.hpp; not a gate call
    int argument_count;
    const char* const* arguments;    ///< NULL-terminated
    const char* const* environment;  ///< NULL-terminated
    const char* working_directory;   ///< absolute path in the picoprocess's view
    const char* options;             ///< "key=value" lines for the library OS; may be empty
    u64 stack_low, stack_high;       ///< the stack this upcall runs on
    ThreadToken thread;              ///< the calling thread
    u32 process_id;                  ///< host number of this picoprocess, as in the deaths list
    u32 processor_count;
    u64 memory_limit;            ///< bytes for the family
    u64 process_limit;           ///< processes and threads for the family
    u64 processor_features[4];   ///< HWCAP, HWCAP2, XSAVE area size, XCR0
    u64 time_page;               ///< address of an ELF image with time functions (vDSO), 0: none
    u64 time_page_size;          ///< including data pages that precede it
    u64 time_page_image;         ///< address of the ELF header inside it
    const char* platform;        ///< AT_PLATFORM text
    u64 user_low, user_high;     ///< addresses that the library OS may give to programs
    u64 arena_size;              ///< size of the stream "memory:arena", shared by the family
    u32 user_id, group_id;       ///< numbers that the program sees as its own at start
    const volatile u32* deaths;  ///< host's list: [0] count, [1..] process numbers, a ring of kDeathsCapacity
};
inline constexpr u32 kDeathsCapacity = 1000;

// Upcalls, exported by the library OS image by these names.
extern "C" {
[[noreturn]] void LibOsInitialize(const LibOsParameters* parameters);
[[noreturn]] void LibOsThreadStart(u64 parameter);
/// A fault inside the library OS itself. The returned address is where to go on (an exception-table fix-up), or 0:
/// there is none, and the picoprocess ends with a report.
u64 LibOsExceptionDispatch(const ExceptionInfo* info, u64 instruction);
}

}  // namespace postern::gate
