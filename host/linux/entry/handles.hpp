// SPDX-License-Identifier: Apache-2.0
// The handle table: a picoprocess's capabilities. In private memory: a forked child has its own copy, and the kernel
// copies the descriptors behind it in the same step.
#pragma once

#include "host/linux/entry/state.hpp"

namespace postern::host {

enum HandleFlags : u32 {
    kHandleKeepDescriptor = 1,  ///< the descriptor is not closed with the handle
    kHandleManualReset = 2,     ///< notification event
    kHandleNonBlocking = 4,
    kHandleStreamEvent = 8,   ///< event of a stream: `word` has ReadyBits
    kHandleChangeEvent = 16,  ///< event of DkStreamChangesRegister
    kHandleStandard = 32,     ///< descriptors 0-2: shared by all handles on them
    kHandleDead = 64,         ///< process: known to have ended
    kHandleSeekable = 128,    ///< regular file or memory: offsets are meaningful
    kHandleAppend = 256,
    kHandleLocked = 512,   ///< has taken a lock: the last close releases it
    kHandleOverlay = 512,  ///< directory: names of other routes appear in it; `text` is its path in the view
};

struct HandleEntry {
    u32 handle;  ///< the whole number while open, 0 otherwise
    gate::ObjectKind kind;
    u8 stream_type;  ///< gate::StreamType
    u16 rights;      ///< gate::Right bits
    i32 descriptor;  ///< -1: none
    u32 flags;       ///< HandleFlags
    u32 references;
    u32 word;               ///< event: signalled; semaphore: count; process: host number; thread: area index
    u32 maximum;            ///< semaphore: maximum; thread: generation of the area
    i32 second_descriptor;  ///< anonymous pipe: the write end; -1: none
    u64 text;               ///< in small memory: a symbolic link's target, an overlaid directory's path, a watch; or 0
    u32 text_size;          ///< without the final NUL
    u32 stable;             ///< Attributes::stable at open
    i32 prepared_descriptor;  ///< file: its prepared text (gate::PreparedText); -1: none
    u32 reserved;
    u32 next_free;
    u32 generation;
};
inline constexpr u32 kMaxHandles = 65536;
static_assert(sizeof(HandleEntry) == 64 && kMaxHandles * sizeof(HandleEntry) == kHandleTableSize);

inline HandleEntry& entry_of(gate::Handle handle) {
    return reinterpret_cast<HandleEntry*>(kHandleTable)[handle & (kMaxHandles - 1)];
}

/// One step: bad handle before wrong kind before denied.
inline gate::Err lookup(gate::Handle handle, gate::ObjectKind kind, gate::Right right, HandleEntry*& entry) {
    entry = &entry_of(handle);
    if (handle == 0 || entry->handle != handle) [[unlikely]]
        return gate::Err::bad_handle;
    if (entry->kind != kind) [[unlikely]]
        return gate::Err::wrong_kind;
    if (!gate::has(static_cast<gate::Right>(entry->rights), right)) [[unlikely]]
        return gate::Err::denied;
    return gate::Err::ok;
}
/// For calls that take streams and directories alike, or anything (`kind` none).
gate::Err lookup_any(gate::Handle handle, HandleEntry*& entry);
gate::Err lookup_stream_or_directory(gate::Handle handle, gate::Right right, HandleEntry*& entry);

gate::Res<gate::Handle> create_handle(gate::ObjectKind kind, gate::Right rights, i32 descriptor);
/// For who holds entry_lock(), or is alone.
gate::Res<gate::Handle> create_handle_locked(gate::ObjectKind kind, gate::Right rights, i32 descriptor);
/// Would create_handle find room? Holds until another thread makes a handle.
bool handle_room();
/// Drops one reference; the last one closes what is behind it.
gate::Err close_handle(gate::Handle handle);

/// Gives up all locks of a stream that is about to be closed.
void release_locks(const HandleEntry& entry, gate::Handle stream);

/// Descriptors 0-2 are shared by all handles that name them and closed with the last one.
void reference_standard(i32 descriptor);

/// Small blocks (names, link targets) in entry's heap: 64 bytes to 8 KiB. Null when full.
void* allocate_small(usize size);
void release_small(void* block, usize size);
/// Whole pages, for what is larger. Null when memory is exhausted.
void* allocate_pages(u64 bytes);
void release_pages(void* pages, u64 bytes);

}  // namespace postern::host
