// SPDX-License-Identifier: Apache-2.0
// Memory calls: mmap(2) and its like at addresses that the library OS chose.
#include <linux/mman.h>

#include "host/linux/entry/calls.hpp"
#include "host/linux/entry/calls_memory.hpp"
#include "host/linux/entry/host_call.hpp"
#include "host/linux/entry/state.hpp"

namespace postern::host {

static_assert(PROT_READ == gate::kProtRead && PROT_WRITE == gate::kProtWrite && PROT_EXEC == gate::kProtExecute);

Err check_range(u64 address, u64 size) {
    if (!page_aligned(address) || !page_aligned(size) || size == 0 || address + size < address)
        return Err::bad_argument;
    u64 end = address + size;
    if (address >= kUserLow && end <= kUserHigh) return Err::ok;
    if (address >= kLibOsHeap && end <= kFileWindowEnd) return Err::ok;
    if (end > (1ull << 47) || address < kUserLow) return Err::bad_argument;
    return Err::denied;
}

Err DkVirtualMemoryAlloc(u64 address, u64 size, u32 flags, u32 prot) {
    if (Err e = gate::check_values<CallNumber::DkVirtualMemoryAlloc>(address, size, flags, prot); e != Err::ok)
        return e;
    bool reserve = (flags & gate::kAllocReserve) != 0;
    if (reserve == ((flags & gate::kAllocCommit) != 0)) return Err::bad_argument;
    if (Err e = check_range(address, size); e != Err::ok) return e;
    long host_flags = MAP_ANONYMOUS | ((flags & gate::kAllocShared) ? MAP_SHARED : MAP_PRIVATE);
    host_flags |= (flags & gate::kAllocReplace) ? MAP_FIXED : MAP_FIXED_NOREPLACE;
    if (reserve) host_flags |= MAP_NORESERVE;
    if ((flags & gate::kAllocPopulate) && !reserve) host_flags |= MAP_POPULATE;
    return gate_result(call(__NR_mmap, address, size, reserve ? 0 : prot, host_flags, -1, 0));
}

Err DkVirtualMemoryFree(u64 address, u64 size, FreeKind kind) {
    if (Err e = check_range(address, size); e != Err::ok) return e;
    long result = 0;
    switch (kind) {
        case FreeKind::release: result = call(__NR_munmap, address, size); break;
        case FreeKind::decommit: result = call(__NR_madvise, address, size, MADV_DONTNEED); break;
        case FreeKind::lazy: result = call(__NR_madvise, address, size, MADV_FREE); break;
        case FreeKind::remove: result = call(__NR_madvise, address, size, MADV_REMOVE); break;
        case FreeKind::will_need: result = call(__NR_madvise, address, size, MADV_WILLNEED); break;
        default: return Err::bad_argument;
    }
    if (kind != FreeKind::release && (result == -EINVAL || result == -EACCES)) return Err::unsupported;
    return gate_result(result);
}

Err DkVirtualMemoryProtect(u64 address, u64 size, u32 prot) {
    if (Err e = gate::check_values<CallNumber::DkVirtualMemoryProtect>(address, size, prot); e != Err::ok) return e;
    if (Err e = check_range(address, size); e != Err::ok) return e;
    return gate_result(call(__NR_mprotect, address, size, prot));
}

Err DkVirtualMemoryMove(u64 address, u64 size, u64 new_address, u64 new_size) {
    if (Err e = check_range(address, size); e != Err::ok) return e;
    if (Err e = check_range(new_address, new_size); e != Err::ok) return e;
    long result;
    if (address == new_address) {
        result = call(__NR_mremap, address, size, new_size, 0, 0);
        if (result == -ENOMEM) return Err::exists;  // the kernel does not tell a used range from exhaustion
    } else {
        if (new_address < address + size && address < new_address + new_size) return Err::bad_argument;
        result = call(__NR_mremap, address, size, new_size, MREMAP_MAYMOVE | MREMAP_FIXED, new_address);
    }
    return gate_result(result);
}

Err DkStreamUnmap(u64 address, u64 size) {
    if (Err e = check_range(address, size); e != Err::ok) return e;
    return gate_result(call(__NR_munmap, address, size));
}

}  // namespace postern::host
