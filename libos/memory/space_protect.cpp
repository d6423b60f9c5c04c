// SPDX-License-Identifier: Apache-2.0
// Protections of mappings, and faults that a mapping explains.
#include "libos/memory/space_inner.hpp"

#include "libos/fs/fd_table.hpp"
#include "libos/gate.hpp"
#include "libos/memory/doomed.hpp"
#include "libos/process/process.hpp"
#include "libos/shared/arena.hpp"

namespace postern::libos {

Res<void> Space::protect(u64 address, u64 size, u32 prot) {
    const u64 high = g_parameters->user_high;
    constexpr u32 kGrowsDown = 0x0100'0000, kGrowsUp = 0x0200'0000;
    if (!page_aligned(address) || (prot & ~(7u | kGrowsDown | kGrowsUp)) != 0 ||
        (prot & (kGrowsDown | kGrowsUp)) == (kGrowsDown | kGrowsUp))
        return Failure{Errno::inval};
    if (size == 0) return {};
    if (address > high || size > high - address) return Failure{Errno::nomem};
    if ((prot & kGrowsUp) != 0) return Failure{Errno::inval};
    Doomed doomed;
    Guard guard{lock_};
    TRY(prepare());
    u64 end = address + page_ceil(size);
    TRY(check_unsealed(address, end));
    MappingNode* node = tree_.at_or_above(address);
    if (node == nullptr || node->mapping.start > address) {
        if ((prot & kGrowsDown) == 0 || node == nullptr || node->mapping.start >= end || node->mapping.grows_down == 0)
            return Failure{Errno::nomem};
        address = node->mapping.start;
    }
    if ((prot & kGrowsDown) != 0) {
        if (node->mapping.grows_down == 0 && node->mapping.kind != MappingKind::stack) return Failure{Errno::inval};
        address = node->mapping.start;
    }
    prot &= 7;
    // As Linux: what precedes the first hole or refusal changes, then the call fails.
    Errno outcome = Errno::ok;
    u64 stop = address, becomes_data = 0;
    bool changes = false, code = false;
    for (; node != nullptr && stop < end; node = tree_.next(*node)) {
        if (node->mapping.start > stop) break;
        if ((prot & ~node->mapping.max_prot) != 0) {
            outcome = Errno::acces;
            break;
        }
        if (node->mapping.prot != prot) changes = true;
        Mapping changed = node->mapping;
        changed.prot = prot;
        if (is_data(changed) && !is_data(node->mapping)) {
            becomes_data +=
                (changed.end < end ? changed.end : end) - (changed.start > address ? changed.start : address);
            if (exceeds_data_limit(becomes_data)) {
                outcome = Errno::nomem;
                break;
            }
        }
        if ((node->mapping.prot & gate::kProtExecute) != 0 &&
            ((prot & gate::kProtExecute) == 0 || (prot & gate::kProtWrite) != 0))
            code = true;
        stop = node->mapping.end;
    }
    if (outcome == Errno::ok && stop < end) outcome = Errno::nomem;
    if (stop > end) stop = end;
    if (stop > address && changes) {
        if (code) announce_code(address, stop);
        gate::Err error = g_gate->DkVirtualMemoryProtect(address, stop - address, prot);
        TRY(check_memory(error, 0));
        node = tree_.at_or_above(address);
        if (node->mapping.start < address) node = split(node, address);
        while (node != nullptr && node->mapping.start < stop) {
            if (node->mapping.end > stop) split(node, stop);
            node->mapping.prot = prot;
            node = tree_.next(*node);
        }
        merge(address, stop, doomed);
    }
    if (outcome != Errno::ok) return Failure{outcome};
    return {};
}

Res<void> Space::detach(u64 address) {
    if (!page_aligned(address)) return Failure{Errno::inval};
    Doomed doomed;
    Guard guard{lock_};
    TRY(prepare());
    TRY(check_unsealed(address, address + 1));
    // As Linux: the first mapping from `address` on that lies where the attachment put it, and all of its kind after
    // it.
    File* file = nullptr;
    u64 end = 0;
    MappingNode* node = tree_.at_or_above(address);
    while (node != nullptr && (file == nullptr || node->mapping.end <= end)) {
        const Mapping mapping = node->mapping;
        node = tree_.next(*node);
        bool candidate = mapping.start >= address && mapping.file != nullptr &&
                         mapping.file->kind() == FileKind::segment && mapping.start - address == mapping.offset;
        if (!candidate || (file != nullptr && mapping.file != file)) continue;
        if (file == nullptr) {
            file = mapping.file;
            end = address + file->mapped_size();
        }
        announce_code(mapping.start, mapping.end);
        (void)release_host(mapping.start, mapping.end);
        carve(mapping.start, mapping.end, doomed);
    }
    if (file == nullptr) return Failure{Errno::inval};
    return {};
}

bool Space::grow_down(u64 address) {
    constexpr u64 kGuardGap = 1 << 20;  // stack_guard_gap
    Guard guard{lock_};
    if (!prepare().ok()) return false;
    MappingNode* node = tree_.at_or_above(address);
    u64 start = page_floor(address);
    if (node == nullptr || node->mapping.start <= start) return false;
    // The first thread's stack has all of its limit from the start; but the limit may have been raised since.
    if (node->mapping.grows_down == 0 && node->mapping.kind != MappingKind::stack) return false;
    u64 limit = current_process().limits[3][0];  // RLIMIT_STACK
    if (node->mapping.end - start > limit) return false;
    MappingNode* before = tree_.below(start + 1);
    if (before != nullptr && before->mapping.end + kGuardGap > start) return false;
    u64 size = node->mapping.start - start;
    if (g_gate->DkVirtualMemoryAlloc(start, size, gate::kAllocCommit, node->mapping.prot) != gate::Err::ok)
        return false;
    if (node->mapping.locked != 0) locked_ += size;
    node->mapping.start = start;
    // The key changed, though not the order: the path to the node must be refreshed from the new key.
    tree_.resized(*node);
    mapped_ += size;
    return true;
}

Res<bool> Space::resolve_fault(u64 address, u32 flags) {
    FileRef file;
    u64 offset;
    u32 prot;
    bool shared;
    {
        Guard guard{lock_};
        MappingNode* node = tree_.at_or_above(address);
        if (node == nullptr) return false;
        const Mapping& mapping = node->mapping;
        u32 needed = (flags & 1) != 0 ? gate::kProtWrite : (flags & 2) != 0 ? gate::kProtExecute : gate::kProtRead;
        if (mapping.start <= address && mapping.file != nullptr) {
            if ((mapping.prot & needed) == 0) return false;
            mapping.file->reference();
            file = FileRef{mapping.file};
            offset = mapping.offset + (page_floor(address) - mapping.start);
            prot = mapping.prot;
            shared = mapping.shared != 0;
        }
    }
    if (file.get() == nullptr) return grow_down(address);
    auto brought = file->fault_in(page_floor(address), offset, prot, shared);
    if (brought.ok()) return true;
    if (brought.error() == Errno::io) return Failure{Errno::io};
    return false;
}

}  // namespace postern::libos
