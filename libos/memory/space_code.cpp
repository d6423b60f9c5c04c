// SPDX-License-Identifier: Apache-2.0
// Code in the address space: what the host has prepared of it, where it places more, and what it may patch.
#include "libos/memory/space_inner.hpp"

#include "libos/fs/fd_table.hpp"
#include "libos/gate.hpp"
#include "libos/memory/doomed.hpp"
#include "libos/process/process.hpp"
#include "libos/shared/arena.hpp"

namespace postern::libos {

namespace {

class TryGuard {
public:
    explicit TryGuard(SharedLock& lock) : lock_{lock}, held_{lock.try_lock()} {}
    ~TryGuard() {
        if (held_) lock_.unlock();
    }
    TryGuard(const TryGuard&) = delete;
    TryGuard& operator=(const TryGuard&) = delete;
    bool held() const { return held_; }

private:
    SharedLock& lock_;
    bool held_;
};

}  // namespace

/// Patches in code that is about to change or go must be forgotten before its memory is used again.
void Space::announce_code(u64 start, u64 end) {
    for (MappingNode* node = tree_.at_or_above(start); node != nullptr && node->mapping.start < end;
         node = tree_.next(*node)) {
        if ((node->mapping.prot & gate::kProtExecute) == 0) continue;
        u64 from = node->mapping.start > start ? node->mapping.start : start;
        u64 to = node->mapping.end < end ? node->mapping.end : end;
        g_host->code_changed(from, to - from);
    }
}

/// Maps text that the host has prepared in the file's place, with its code below. False: there is none that fits.
bool Space::map_prepared(u64 address, u64 size, u32 prot, File& file, u64 offset, Doomed& doomed) {
    const gate::PreparedText* text = file.prepared_text();
    if (text == nullptr || !prepares_ || prot != (gate::kProtRead | gate::kProtExecute) || offset != text->offset ||
        size != text->size || g_host->code_prepared == nullptr)
        return false;
    const u64 code = address - text->distance, code_end = code + text->code_size;
    if (address < g_parameters->user_low + text->distance || code_end > address || overlaps(code, code_end))
        return false;
    if (!file.map_prepared(address, prot).ok() || !g_host->code_prepared(code, text->code_size)) {
        g_gate->DkStreamUnmap(code, text->code_size);
        return false;
    }
    Mapping mapping;
    mapping.start = code;
    mapping.end = code_end;
    mapping.prot = prot;
    mapping.kind = MappingKind::code;
    insert(mapping, doomed);
    return true;
}

/// The code of prepared texts that go as a whole goes with them. Of a text that goes in parts it stays.
void Space::drop_prepared(u64 start, u64 end, Doomed& doomed) {
    MappingNode* node = tree_.at_or_above(start);
    while (node != nullptr && node->mapping.start < end) {
        const Mapping mapping = node->mapping;
        node = tree_.next(*node);
        if (mapping.prepared == 0) continue;
        const gate::PreparedText& text = *mapping.file->prepared_text();
        if (mapping.start < start || mapping.end > end || mapping.end - mapping.start != text.size) continue;
        if (!prepare().ok()) return;
        const u64 code = mapping.start - text.distance;
        g_host->code_changed(code, text.code_size);
        g_gate->DkStreamUnmap(code, text.code_size);
        carve(code, code + text.code_size, doomed);
        node = tree_.at_or_above(mapping.end);
    }
}

Res<u64> Space::place_code(u64 near, u64 size) {
    constexpr u64 kReach = (1ull << 31) - (1 << 20);
    const u64 low = g_parameters->user_low, high = g_parameters->user_high;
    size = page_ceil(size);
    if (size == 0 || size > kReach || near >= high) return Failure{Errno::inval};
    Doomed doomed;
    // Not a Guard: a thread that unmaps code holds this lock while it waits for the patcher, which asks here.
    TryGuard guard{lock_};
    if (!guard.held()) return Failure{Errno::again};
    TRY(prepare());
    u64 lowest = near > kReach + low ? near - kReach : low;
    u64 highest = near + kReach < high ? near + kReach : high;
    // Below the code first: above a program lies its heap, which must be able to grow.
    u64 found = tree_.find_gap(size, lowest, near);
    if (found == 0) found = tree_.find_gap(size, near, highest);
    if (found == 0) return Failure{Errno::nomem};
    Mapping mapping;
    mapping.start = found;
    mapping.end = found + size;
    mapping.prot = gate::kProtRead | gate::kProtExecute;
    mapping.kind = MappingKind::code;
    insert(mapping, doomed);
    return found;
}

Res<u32> Space::freeze_code(u64 address, u64 size) {
    if (!lock_.try_lock()) return Failure{Errno::again};
    u64 end = address + size;
    u32 prot = 0;
    MappingNode* node = tree_.at_or_above(address);
    bool first = true;
    while (address < end && node != nullptr && node->mapping.start <= address && node->mapping.shared == 0 &&
           (first || node->mapping.prot == prot)) {
        prot = node->mapping.prot;
        first = false;
        address = node->mapping.end;
        node = tree_.next(*node);
    }
    if (address >= end) return prot;
    lock_.unlock();
    return Failure{Errno::inval};
}

}  // namespace postern::libos
