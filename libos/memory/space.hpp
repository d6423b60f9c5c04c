// SPDX-License-Identifier: Apache-2.0
// The program's address space as the library OS lays it out: every mapping, its protection and what is behind it.
//
// The gate takes explicit addresses only, so this map decides all of them (with randomisation), answers
// /proc/self/maps, and is what exec tears down. It lives in private memory and is copied by fork with everything else.
#pragma once

#include "libos/errno.hpp"
#include "libos/shared/lock.hpp"

namespace postern::libos {

class File;
struct Thread;

enum class MappingKind : u32 { anonymous, file, shared_anonymous, stack, heap, time_page, code };

struct Mapping {
    u64 start, end;
    u32 prot;         ///< gate::Prot bits
    MappingKind kind;
    u32 shared;       ///< MAP_SHARED
    u32 grows_down;
    File* file;       ///< referenced; null for anonymous
    u64 offset;       ///< of `start` in `file`
};

class Space {
public:
    static Res<Space*> create();

    /// mmap(2), with the file already looked up (null: anonymous). `flags` are Linux MAP_*.
    Res<u64> map(u64 address, u64 size, u32 prot, u32 flags, File* file, u64 offset, MappingKind kind);
    Res<void> unmap(u64 address, u64 size);
    Res<void> protect(u64 address, u64 size, u32 prot);
    Res<u64> remap(u64 old_address, u64 old_size, u64 new_size, u32 flags, u64 new_address);
    Res<u64> set_break(u64 address);
    /// Free addresses of `size` bytes, randomised; near `hint` when that is free. Nothing is reserved.
    Res<u64> find(u64 hint, u64 size);
    /// Addresses for generated code within +-2 GiB of `near`; recorded as MappingKind::code.
    Res<u64> place_code(u64 near, u64 size);
    /// exec: unmaps everything that belongs to the program and forgets it; picks new random bases.
    void clear();
    void set_break_start(u64 address);
    /// fork: references for files of all mappings are counted twice from now on.
    void forked();

    /// The mapping that contains `address`, or the next above; null: none. Caller holds `lock()`.
    const Mapping* at_or_above(u64 address) const;
    SharedLock& lock();
    u64 mapped_bytes() const;
    u64 break_start() const;
    u64 break_end() const;
    u64 stack_top() const;
};

}  // namespace postern::libos
