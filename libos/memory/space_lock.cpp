// SPDX-License-Identifier: Apache-2.0
// Locked memory (mlock(2)) and remap_file_pages(2) on the map of the address space.
#include "libos/fs/fd_table.hpp"
#include "libos/fs/inode.hpp"
#include "libos/gate.hpp"
#include "libos/memory/doomed.hpp"
#include "libos/memory/space.hpp"
#include "libos/process/process.hpp"

namespace postern::libos {

namespace {
constexpr u32 kLimitLocked = 8, kCapabilityIpcLock = 14;
constexpr u32 kCurrent = 1, kFuture = 2;
}  // namespace

/// May `more` bytes be locked? With 0: may any be?
bool Space::may_lock(u64 more) const {
    const Process& process = current_process();
    if ((process.credentials.capabilities_effective >> kCapabilityIpcLock & 1) != 0) return true;
    u64 limit = process.limits[kLimitLocked][0];
    return more == 0 ? limit != 0 : locked_ <= limit && more <= limit - locked_;
}

void Space::set_locked(u64 start, u64 end, bool lock, Doomed& doomed) {
    MappingNode* node = tree_.at_or_above(start);
    if (node != nullptr && node->mapping.start < start) node = split(node, start);
    for (; node != nullptr && node->mapping.start < end; node = tree_.next(*node)) {
        if (node->mapping.end > end) split(node, end);
        u64 size = node->mapping.end - node->mapping.start;
        if (lock && node->mapping.locked == 0) locked_ += size;
        if (!lock && node->mapping.locked != 0) locked_ -= size;
        node->mapping.locked = lock ? 1 : 0;
    }
    merge(start, end, doomed);
}

Res<void> Space::check_unsealed(u64 start, u64 end) const {
    if (!has_seals_) return {};
    for (MappingNode* node = tree_.at_or_above(start); node != nullptr && node->mapping.start < end;
         node = tree_.next(*node))
        if (node->mapping.sealed != 0) return Failure{Errno::perm};
    return {};
}

Res<void> Space::seal(u64 address, u64 size) {
    const u64 start = address, end = start + page_ceil(size);
    if (!page_aligned(start) || page_ceil(size) < size || end < start) return Failure{Errno::inval};
    if (end == start) return {};
    if (end > g_parameters->user_high) return Failure{Errno::nomem};
    Doomed doomed;
    Guard guard{lock_};
    TRY(prepare());
    u64 at = start;
    MappingNode* node = tree_.at_or_above(start);
    for (; at < end; node = tree_.next(*node)) {
        if (node == nullptr || node->mapping.start > at) return Failure{Errno::nomem};
        at = node->mapping.end;
    }
    node = tree_.at_or_above(start);
    if (node->mapping.start < start) node = split(node, start);
    for (; node != nullptr && node->mapping.start < end; node = tree_.next(*node)) {
        if (node->mapping.end > end) split(node, end);
        node->mapping.sealed = 1;
    }
    has_seals_ = true;
    merge(start, end, doomed);
    return {};
}

Res<void> Space::lock_pages(u64 address, u64 size, bool lock) {
    const u64 start = page_floor(address), end = start + page_ceil(size + (address - start));
    if (end < start) return Failure{Errno::inval};
    Doomed doomed;
    Guard guard{lock_};
    if (lock && !may_lock(0)) return Failure{Errno::perm};
    if (end > g_parameters->user_high) return Failure{Errno::nomem};
    u64 fresh = 0, at = start;
    for (MappingNode* node = tree_.at_or_above(start); at < end; node = tree_.next(*node)) {
        if (node == nullptr || node->mapping.start > at) break;
        u64 to = node->mapping.end < end ? node->mapping.end : end;
        if (node->mapping.locked == 0) fresh += to - at;
        at = to;
    }
    if (lock && !may_lock(fresh)) return Failure{Errno::nomem};
    TRY(prepare());
    // As Linux: what precedes the first hole changes, then the call fails.
    if (at > start) set_locked(start, at, lock, doomed);
    if (at < end) return Failure{Errno::nomem};
    return {};
}

Res<void> Space::lock_all(u32 flags) {
    Doomed doomed;
    Guard guard{lock_};
    if (flags != 0 && !may_lock(0)) return Failure{Errno::perm};
    if ((flags & kCurrent) != 0 && !may_lock(mapped_ - locked_)) return Failure{Errno::nomem};
    lock_future_ = (flags & kFuture) != 0 ? 1 : 0;
    if ((flags & kCurrent) == 0 && flags != 0) return {};
    TRY(prepare());
    set_locked(g_parameters->user_low, g_parameters->user_high, flags != 0, doomed);
    return {};
}

void Space::forget_locks() {
    if (locked_ == 0 && lock_future_ == 0) return;
    locked_ = 0;
    lock_future_ = 0;
    for (MappingNode* node = tree_.first(); node != nullptr; node = tree_.next(*node)) node->mapping.locked = 0;
}

bool Space::any_locked(u64 address, u64 size) {
    Guard guard{lock_};
    u64 end = address + size;
    for (MappingNode* node = tree_.at_or_above(address); node != nullptr && node->mapping.start < end;
         node = tree_.next(*node))
        if (node->mapping.locked != 0) return true;
    return false;
}

Res<void> Space::remap_file_pages(u64 address, u64 size, u64 page) {
    const u64 high = g_parameters->user_high;
    address = page_floor(address);
    size = page_floor(size);
    if (size == 0 || address > high || size > high - address) return Failure{Errno::inval};
    if (page > ~0ull / kPageSize || page * kPageSize + size < size) return Failure{Errno::inval};
    Doomed doomed;
    Guard guard{lock_};
    TRY(prepare());
    MappingNode* node = tree_.at_or_above(address);
    if (node == nullptr || node->mapping.start > address || node->mapping.shared == 0 || node->mapping.file == nullptr)
        return Failure{Errno::inval};
    const Mapping first = node->mapping;
    // The range may lie in pieces of one file's mapping, left by earlier calls.
    for (u64 at = node->mapping.end; at < address + size; at = node->mapping.end) {
        node = tree_.next(*node);
        if (node == nullptr || node->mapping.start != at || node->mapping.shared == 0 ||
            node->mapping.file != first.file || node->mapping.prot != first.prot)
            return Failure{Errno::inval};
    }
    FileRef file{first.file};
    file->reference();
    u32 flags = kMapFlagShared | kMapFlagFixed | (first.locked != 0 ? kMapFlagLocked : 0u);
    TRY(map_locked(address, size, first.prot, flags, file.get(), page * kPageSize, first.kind, doomed));
    return {};
}

}  // namespace postern::libos
