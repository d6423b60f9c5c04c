// SPDX-License-Identifier: Apache-2.0
// The gate's calls as this host implements them; gate/table.hpp says what each must do.
#pragma once

#include "gate/abi.hpp"
#include "gate/checks.hpp"

namespace postern::host {

using gate::Attributes;
using gate::CallNumber;
using gate::Clock;
using gate::Deadline;
using gate::Err;
using gate::ForkResult;
using gate::FreeKind;
using gate::Handle;
using gate::LengthChange;
using gate::LinkKind;
using gate::ThreadToken;
using gate::TimerKind;
using gate::WaitItem;

Err DkVirtualMemoryAlloc(u64 address, u64 size, u32 flags, u32 prot);
Err DkVirtualMemoryFree(u64 address, u64 size, FreeKind kind);
Err DkVirtualMemoryProtect(u64 address, u64 size, u32 prot);
Err DkVirtualMemoryMove(u64 address, u64 size, u64 new_address, u64 new_size);
Err DkThreadCreate(u64 stack, u64 stack_size, u64 parameter, Handle* thread, ThreadToken* token);
Err DkThreadDelayExecution(u64* nanoseconds);
Err DkThreadYieldExecution();
void DkThreadExit(u32* clear);
Err DkThreadGetParameter(u64* parameter);
Err DkThreadRaiseException(Handle thread, u32 code);
Err DkThreadInterrupt(ThreadToken thread);
Err DkSegmentBaseSet(u32 segment, u64 base);
Err DkNotificationEventCreate(u32 signalled, Handle* event);
Err DkSynchronizationEventCreate(u32 signalled, Handle* event);
Err DkSemaphoreCreate(u32 count, u32 maximum, Handle* semaphore);
Err DkSemaphoreRelease(Handle semaphore, u32 count, u32* previous);
Err DkSemaphorePeek(Handle semaphore, u32* count);
Err DkEventSet(Handle event);
Err DkEventClear(Handle event);
Err DkEventPeek(Handle event, u32* signalled);
Err DkObjectsWaitAny(u32 count, const Handle* handles, Deadline deadline, u32* index);
Err DkAbortEventRegister(Handle event);
Err DkObjectsWaitReady(u32 count, WaitItem* items, Deadline deadline, u32* ready);
Err DkAddressWait(u32* address, u32 expected, Deadline deadline, u32 flags);
Err DkAddressWake(u32* address, u32 count, u32 flags, u32* requeue_to, u32 requeue_count, u32 expected, u32* woken);
Err DkProcessCreate(const char* uri, const char* const* arguments, const Handle* streams, u32 stream_count,
                    Handle* process);
Err DkProcessGetExitCode(Handle process, u32* code);
void DkProcessExit(u32 code);
Err DkProcessFork(ForkResult* result);
Err DkStreamOpen(const char* uri, u32 access, u32 mode, u32 create, u32 options, Handle* stream,
                 Attributes* attributes);
Err DkStreamRead(Handle stream, u64 offset, void* buffer, u64 size, u64* actual);
Err DkStreamWrite(Handle stream, u64 offset, const void* buffer, u64 size, u64* actual);
Err DkStreamMap(Handle stream, u64 address, u64 size, u64 offset, u32 prot, u32 flags);
Err DkStreamUnmap(u64 address, u64 size);
Err DkStreamMapPeBinary(Handle stream, u64 address, u64* size);
Err DkStreamSetLength(Handle stream, u64 offset, u64 length, LengthChange change);
Err DkStreamFlush(Handle stream, u32 data_only);
Err DkStreamDelete(const char* uri, u32 directory);
Err DkStreamRename(const char* uri, const char* new_uri, u32 flags);
Err DkStreamGetEvent(Handle stream, u32 ready, Handle* event);
Err DkStreamEnumerateChildren(Handle directory, u64* cookie, void* buffer, u64 size, u64* actual);
Err DkStreamAttributesQuery(const char* uri, u32 options, Attributes* attributes);
Err DkStreamAttributesQueryByHandle(Handle stream, Attributes* attributes);
Err DkStreamAttributesSet(const char* uri, u32 options, u32 mask, const Attributes* attributes);
Err DkStreamLink(const char* target, const char* uri, LinkKind kind);
Err DkStreamLock(Handle stream, u64 offset, u64 length, u32 mode, u32 wait);
Err DkStreamChangesRegister(Handle stream, u32 filter, Handle event);
Err DkHandlePass(Handle channel, Handle give, Handle* received);
Err DkChannelCreate(Handle* client, Handle* server);
Err DkChannelCall(Handle channel, const void* request, u32 size, void* reply, u32 capacity, u32* actual);
Err DkChannelReplyReceive(Handle channel, const void* reply, u32 size, void* request, u32 capacity, u32* actual);
Err DkChannelSend(Handle channel, const void* message, u32 size);
Err DkSystemTimeQuery(Clock clock, u64* nanoseconds);
Err DkTimerSet(TimerKind kind, u64 nanoseconds);
Err DkRandomBitsRead(void* buffer, u64 size);
Err DkInstructionCacheFlush(u64 address, u64 size);
Err DkObjectReference(Handle object);
Err DkObjectClose(Handle object);
Err DkInputEventRead(Handle input, void* buffer, u64 size, u64* actual);
Err DkFrameBufferExport(u64 address, u32 width, u32 height, u32 stride, Handle* frame_buffer);
Err DkFrameBufferNotifyUpdate(Handle frame_buffer, u32 x, u32 y, u32 width, u32 height);
Err DkDebugStringPrint(const char* text, u64 size);
Err DkStreamList(const char* uri, u32 options, u64* cookie, void* buffer, u64 size, u64* actual,
                 Attributes* attributes);

/// The table that the library OS gets; with `traced` each call and its result is printed to the trace.
const gate::Calls* gate_calls(bool traced);

/// In a host call that sleeps: how long until `deadline` (Clock::monotonic), as a timespec.
struct HostTime {
    i64 seconds, nanoseconds;
};
u64 monotonic_now();
HostTime to_host_time(u64 nanoseconds);

/// An event or semaphore changed: waiters look again.
void objects_changed();
/// Is a process of the family on the monitor's list of deaths?
bool on_deaths_list(u32 process);
/// Called when the monitor ends the family: sets the registered abort event.
void set_abort_event();

}  // namespace postern::host
