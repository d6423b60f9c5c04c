// SPDX-License-Identifier: Apache-2.0
#include "host/linux/entry/handles.hpp"

#include <linux/mman.h>

#include "base/memory.hpp"
#include "host/linux/entry/calls.hpp"
#include "host/linux/entry/changes.hpp"
#include "host/linux/entry/host_call.hpp"

namespace postern::host {
namespace {

using gate::Err;
using gate::Handle;
using gate::ObjectKind;

constexpr u32 kSmallClasses = 8;  // 64 << class
struct FreeBlock {
    FreeBlock* next;
};
FreeBlock* small_free[kSmallClasses] = {};
u64 small_next = kSmallMemory;

u32 small_class(usize size) {
    u32 result = 0;
    while ((usize{64} << result) < size) ++result;
    return result;
}

}  // namespace

bool handle_room() { return handle_table_head().free_head != 0 || handle_table_head().next_fresh < kMaxHandles; }

Err lookup_any(Handle handle, HandleEntry*& entry) {
    entry = &entry_of(handle);
    return handle != 0 && entry->handle == handle ? Err::ok : Err::bad_handle;
}

Err lookup_stream_or_directory(Handle handle, gate::Right right, HandleEntry*& entry) {
    if (Err error = lookup_any(handle, entry); error != Err::ok) return error;
    if (entry->kind != ObjectKind::stream && entry->kind != ObjectKind::directory) return Err::wrong_kind;
    return gate::has(static_cast<gate::Right>(entry->rights), right) ? Err::ok : Err::denied;
}

gate::Res<Handle> create_handle(ObjectKind kind, gate::Right rights, i32 descriptor) {
    EntryGuard guard{entry_lock()};
    return create_handle_locked(kind, rights, descriptor);
}

gate::Res<Handle> create_handle_locked(ObjectKind kind, gate::Right rights, i32 descriptor) {
    HandleTableHead& head = handle_table_head();
    u32 index = head.free_head;
    if (index != 0) {
        head.free_head = entry_of(index).next_free;
    } else {
        index = head.next_fresh == 0 ? 1 : head.next_fresh;
        if (index >= kMaxHandles) return Failure{Err::no_quota};
        head.next_fresh = index + 1;
    }
    HandleEntry& entry = entry_of(index);
    u32 generation = (entry.generation + 1) & 0x7fff;
    if (generation == 0) generation = 1;
    memset(static_cast<void*>(&entry), 0, sizeof entry);
    entry.generation = generation;
    entry.kind = kind;
    entry.rights = static_cast<u16>(rights);
    entry.descriptor = descriptor;
    entry.second_descriptor = entry.prepared_descriptor = -1;
    entry.references = 1;
    Handle handle = index | generation << 16;
    __atomic_store_n(&entry.handle, handle, __ATOMIC_RELEASE);
    return handle;
}

Err close_handle(Handle handle) {
    HandleEntry* entry;
    if (Err error = lookup_any(handle, entry); error != Err::ok) return error;
    if (__atomic_sub_fetch(&entry->references, 1, __ATOMIC_SEQ_CST) != 0) return Err::ok;
    forget_watch(*entry);
    if (entry->flags & kHandleLocked) release_locks(*entry, handle);
    __atomic_store_n(&entry->handle, 0, __ATOMIC_SEQ_CST);
    Handle followed = (entry->flags & kHandleStreamEvent) ? entry->maximum : 0;
    i32 first = entry->descriptor, second = entry->second_descriptor, prepared = entry->prepared_descriptor;
    bool keep = (entry->flags & (kHandleKeepDescriptor | kHandleStreamEvent)) != 0;
    void* text = reinterpret_cast<void*>(entry->text);
    u32 text_size = entry->text_size;
    bool standard = (entry->flags & kHandleStandard) != 0;
    {
        EntryGuard guard{entry_lock()};
        if (standard && --handle_table_head().standard_uses[first] != 0) keep = true;
        entry->next_free = handle_table_head().free_head;
        handle_table_head().free_head = handle & (kMaxHandles - 1);
    }
    if (text != nullptr) release_small(text, text_size + 1);
    if (first >= 0 && !keep) call(__NR_close, first);
    if (second >= 0) call(__NR_close, second);
    if (prepared >= 0) call(__NR_close, prepared);
    if (followed != 0) close_handle(followed);
    return Err::ok;
}

void reference_standard(i32 descriptor) {
    EntryGuard guard{entry_lock()};
    ++handle_table_head().standard_uses[descriptor];
}

void* allocate_small(usize size) {
    u32 index = small_class(size);
    if (index >= kSmallClasses) return nullptr;
    EntryGuard guard{entry_lock()};
    if (FreeBlock* block = small_free[index]) {
        small_free[index] = block->next;
        return block;
    }
    u64 bytes = 64ull << index;
    if (small_next + bytes > kSmallMemory + kSmallMemorySize) return nullptr;
    void* block = reinterpret_cast<void*>(small_next);
    small_next += bytes;
    return block;
}

void release_small(void* block, usize size) {
    EntryGuard guard{entry_lock()};
    auto* free = static_cast<FreeBlock*>(block);
    u32 index = small_class(size);
    free->next = small_free[index];
    small_free[index] = free;
}

void* allocate_pages(u64 bytes) {
    // Below the kernel's own choice nothing of ours can be hit: it only gives free addresses.
    long result =
        call(__NR_mmap, nullptr, page_ceil(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return result < 0 ? nullptr : reinterpret_cast<void*>(result);
}

void release_pages(void* pages, u64 bytes) { call(__NR_munmap, pages, page_ceil(bytes)); }

Err DkObjectReference(Handle object) {
    HandleEntry* entry;
    if (Err error = lookup_any(object, entry); error != Err::ok) return error;
    __atomic_add_fetch(&entry->references, 1, __ATOMIC_SEQ_CST);
    return Err::ok;
}

Err DkObjectClose(Handle object) { return close_handle(object); }

}  // namespace postern::host
