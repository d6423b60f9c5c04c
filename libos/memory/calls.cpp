// SPDX-License-Identifier: Apache-2.0
// System calls on memory: argument checks; the work is Space's.
#include "libos/fs/fd_table.hpp"
#include "libos/gate.hpp"
#include "libos/memory/space.hpp"
#include "libos/process/process.hpp"
#include "libos/syscall/table.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u32 kOpenPathOnly = 010000000;  // O_PATH

i64 value_of(u64 address) { return static_cast<i64>(address); }

}  // namespace

Res<i64> sys_mmap(Thread& thread, Arguments arguments) {
    const u64 address = arguments[0], size = arguments[1], offset = arguments[5];
    const u32 prot = static_cast<u32>(arguments[2]);
    u32 flags = static_cast<u32>(arguments[3]);
    if (!page_aligned(offset)) return Failure{Errno::inval};
    Space& space = *thread.process->space;
    if ((flags & kMapFlagAnonymous) != 0) {
        u64 mapped = TRY(space.map(address, size, prot, flags, nullptr, 0, MappingKind::anonymous));
        return value_of(mapped);
    }
    FileRef file = TRY(thread.process->files->get(static_cast<u32>(arguments[4])));
    if ((file->status_flags & kOpenPathOnly) != 0) return Failure{Errno::badf};
    constexpr u32 kKnown = kMapFlagTypes | kMapFlagFixed | kMapFlag32Bit | kMapFlagGrowsDown | 0x800 | 0x1000 |
                           kMapFlagLocked | kMapFlagNoReserve | kMapFlagPopulate | 0x10000 | kMapFlagStack |
                           kMapFlagHugeTlb | kMapFlagFixedNoReplace;
    if ((flags & kMapFlagTypes) == kMapFlagSharedValidate && (flags & ~kKnown) != 0) return Failure{Errno::opnotsupp};
    u64 mapped = TRY(space.map(address, size, prot, flags, file.get(), offset, MappingKind::file));
    return value_of(mapped);
}

Res<i64> sys_mseal(Thread& thread, Arguments arguments) {
    if (arguments[2] != 0) return Failure{Errno::inval};
    TRY(thread.process->space->seal(arguments[0], arguments[1]));
    return 0;
}

Res<i64> sys_mprotect(Thread& thread, Arguments arguments) {
    TRY(thread.process->space->protect(arguments[0], arguments[1], static_cast<u32>(arguments[2])));
    return 0;
}

Res<i64> sys_munmap(Thread& thread, Arguments arguments) {
    TRY(thread.process->space->unmap(arguments[0], arguments[1]));
    return 0;
}

Res<i64> sys_brk(Thread& thread, Arguments arguments) {
    u64 end = TRY(thread.process->space->set_break(arguments[0]));
    return value_of(end);
}

Res<i64> sys_mremap(Thread& thread, Arguments arguments) {
    u64 address = TRY(thread.process->space->remap(arguments[0], arguments[1], arguments[2],
                                                   static_cast<u32>(arguments[3]), arguments[4]));
    return value_of(address);
}

Res<i64> sys_madvise(Thread& thread, Arguments arguments) {
    TRY(thread.process->space->advise(arguments[0], arguments[1], static_cast<u32>(arguments[2])));
    return 0;
}

Res<i64> sys_msync(Thread& thread, Arguments arguments) {
    enum : u32 { kAsync = 1, kInvalidate = 2, kSync = 4 };
    u64 address = arguments[0], size = arguments[1];
    u32 flags = static_cast<u32>(arguments[2]);
    if ((flags & ~7u) != 0 || !page_aligned(address) || (flags & (kAsync | kSync)) == (kAsync | kSync))
        return Failure{Errno::inval};
    size = page_ceil(size);
    u64 end = address + size;
    if (end < address) return Failure{Errno::nomem};
    Space& space = *thread.process->space;
    bool hole = false;
    if ((flags & kInvalidate) != 0 && space.any_locked(address, size)) return Failure{Errno::busy};
    while (address < end) {
        FileRef file;
        {
            Guard guard{space.lock()};
            const Mapping* mapping = space.at_or_above(address);
            if (mapping == nullptr || mapping->start >= end) return Failure{Errno::nomem};
            u64 visible = space.visible_end(*mapping);
            if (mapping->start > address || (visible < mapping->end && visible < end)) hole = true;
            address = mapping->end;
            if (mapping->shared != 0 && mapping->file != nullptr && mapping->kind == MappingKind::file) {
                mapping->file->reference();
                file = FileRef{mapping->file};
            }
        }
        if (file.get() != nullptr && (flags & kSync) != 0) TRY(file->sync(thread, false));
    }
    if (hole) return Failure{Errno::nomem};
    return 0;
}

Res<i64> sys_mincore(Thread& thread, Arguments arguments) {
    u64 address = arguments[0], vector = arguments[2];
    if (!page_aligned(address)) return Failure{Errno::inval};
    const u64 high = g_parameters->user_high;
    if (address > high || arguments[1] > high - address) return Failure{Errno::nomem};
    u64 pages = page_ceil(arguments[1]) / kPageSize;
    if (!thread.process->space->covered(address, pages * kPageSize)) return Failure{Errno::nomem};
    u8 resident[256];
    for (u8& byte : resident) byte = 1;
    while (pages > 0) {
        u64 chunk = pages < sizeof resident ? pages : sizeof resident;
        TRY(copy_out(vector, resident, chunk));
        vector += chunk;
        pages -= chunk;
    }
    return 0;
}

Res<i64> sys_mlock(Thread& thread, Arguments arguments) {
    TRY(thread.process->space->lock_pages(arguments[0], arguments[1], true));
    return 0;
}

Res<i64> sys_munlock(Thread& thread, Arguments arguments) {
    TRY(thread.process->space->lock_pages(arguments[0], arguments[1], false));
    return 0;
}

Res<i64> sys_mlock2(Thread& thread, Arguments arguments) {
    if ((arguments[2] & ~1ull) != 0) return Failure{Errno::inval};
    return sys_mlock(thread, arguments);
}

Res<i64> sys_mlockall(Thread& thread, Arguments arguments) {
    u32 flags = static_cast<u32>(arguments[0]);
    if (flags == 0 || (flags & ~7u) != 0 || flags == 4) return Failure{Errno::inval};
    TRY(thread.process->space->lock_all(flags & 3));
    return 0;
}

Res<i64> sys_munlockall(Thread& thread, Arguments) {
    TRY(thread.process->space->lock_all(0));
    return 0;
}

Res<i64> sys_remap_file_pages(Thread& thread, Arguments arguments) {
    if (arguments[2] != 0) return Failure{Errno::inval};  // prot must be 0
    TRY(thread.process->space->remap_file_pages(arguments[0], arguments[1], arguments[3]));
    return 0;
}

Res<i64> sys_pkey_mprotect(Thread& thread, Arguments arguments) {
    if (static_cast<i32>(arguments[3]) != -1) return Failure{Errno::inval};
    return sys_mprotect(thread, arguments);
}

Res<i64> sys_pkey_alloc(Thread&, Arguments arguments) {
    if (arguments[0] != 0 || (arguments[1] & ~3ull) != 0) return Failure{Errno::inval};
    return Failure{Errno::nospc};
}

Res<i64> sys_pkey_free(Thread&, Arguments) { return Failure{Errno::inval}; }

}  // namespace postern::libos
