// SPDX-License-Identifier: Apache-2.0
// The family's shared segment: one memory file, mapped at the same address in every picoprocess of the family.
//
// Pointers into it are plain pointers, and objects in it may have virtual functions: every picoprocess of a family runs
// the same library-OS image at the same address. The monitor neither reads nor trusts the segment.
#pragma once

#include <new>
#include <utility>

#include "libos/errno.hpp"

namespace postern::libos {

inline constexpr u64 kArenaAddress = 0x6200'0000'0000ull;

namespace arena {

/// First picoprocess only: lays out an empty arena. Forked ones inherit the mapping.
Res<void> initialize(u64 size);

/// Zeroed memory, 16-byte aligned, from size classes up to 32 KiB; larger goes to pages. Errno::nomem.
Res<void*> allocate(usize size);
/// As allocate(), for those who fill all of it themselves: with what the last owner left there.
Res<void*> allocate_uncleared(usize size);
void release(void* memory, usize size);

/// For open files (fs/make_file.hpp), at most kLargestFile. What is released serves open files only, for ever: who
/// looks at a file that is gone by now finds another's words, or its own as they were at its end.
inline constexpr usize kLargestFile = 4096;
Res<void*> allocate_file(usize size);
void release_file(void* memory, usize size);

/// `count` contiguous zeroed pages / gives them back to the host (their memory is returned).
Res<void*> allocate_pages(u64 count);
void release_pages(void* pages, u64 count);
/// The largest run available that is <= `want` pages (at least 1): for file storage that grows.
Res<void*> allocate_run(u64 want, u64* got);

u64 used_bytes();
u64 total_bytes();

/// The gate stream of the arena, for mapping parts of it into program addresses (shared anonymous memory, tmpfs).
gate::Handle stream();
inline u64 offset_of(const void* pointer) { return reinterpret_cast<u64>(pointer) - kArenaAddress; }
inline bool contains(u64 address) { return address - kArenaAddress < (1ull << 40); }

template <class T, class... Arguments>
Res<T*> create(Arguments&&... arguments) {
    void* memory = TRY(allocate(sizeof(T)));
    return new (memory) T(std::forward<Arguments>(arguments)...);
}
template <class T>
void destroy(T* object) {
    object->~T();
    release(object, sizeof(T));
}

}  // namespace arena

/// Private memory of this picoprocess (copied by fork). Same size classes. For data that no other process needs.
namespace heap {
Res<void*> allocate(usize size);  ///< zeroed
/// As allocate(), with what the last owner left there: pages that nobody writes are not copied after a fork.
Res<void*> allocate_uncleared(usize size);
void release(void* memory, usize size);
template <class T, class... Arguments>
Res<T*> create(Arguments&&... arguments) {
    void* memory = TRY(allocate(sizeof(T)));
    return new (memory) T(std::forward<Arguments>(arguments)...);
}
template <class T>
void destroy(T* object) {
    object->~T();
    release(object, sizeof(T));
}
}  // namespace heap

}  // namespace postern::libos
