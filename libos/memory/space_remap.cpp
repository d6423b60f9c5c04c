// SPDX-License-Identifier: Apache-2.0
// mremap(2), brk(2) and madvise(2) on the map of the address space.
#include "libos/fs/fd_table.hpp"
#include "libos/gate.hpp"
#include "libos/memory/doomed.hpp"
#include "libos/memory/space.hpp"
#include "libos/process/process.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u64 kBreakStep = 1 << 20;
constexpr u64 kLimitData = 2, kLimitAddressSpace = 9;

}  // namespace

Res<void> Space::allocate_at(u64 address, u64 size, u32 prot, u32 extra) const {
    return check_memory(g_gate->DkVirtualMemoryAlloc(address, size, gate::kAllocCommit | extra, prot), size);
}

Res<u64> Space::remap(u64 old_address, u64 old_size, u64 new_size, u32 flags, u64 new_address) {
    Doomed doomed;
    Guard guard{lock_};
    TRY(prepare());
    return remap_locked(old_address, old_size, new_size, flags, new_address, doomed);
}

Res<u64> Space::remap_locked(u64 old_address, u64 old_size, u64 new_size, u32 flags, u64 new_address, Doomed& doomed) {
    const u64 low = g_parameters->user_low, high = g_parameters->user_high;
    if ((flags & ~7u) != 0 || !page_aligned(old_address)) return Failure{Errno::inval};
    const bool fixed = (flags & kRemapFixed) != 0, keep = (flags & kRemapDontUnmap) != 0;
    const bool may_move = (flags & kRemapMayMove) != 0;
    if ((fixed || keep) && !may_move) return Failure{Errno::inval};
    if (old_size > high || new_size > high) return Failure{Errno::inval};
    old_size = page_ceil(old_size);
    new_size = page_ceil(new_size);
    if (new_size == 0 || (keep && old_size != new_size)) return Failure{Errno::inval};
    if (old_address >= high || old_size > high - old_address) return Failure{Errno::fault};
    if (fixed) {
        if (!page_aligned(new_address) || new_address > high - new_size || new_address < low)
            return Failure{Errno::inval};
        if (old_address + old_size > new_address && new_address + new_size > old_address) return Failure{Errno::inval};
    }

    TRY(check_unsealed(old_address, old_address + (old_size != 0 ? old_size : 1)));
    if (fixed) TRY(check_unsealed(new_address, new_address + new_size));
    MappingNode* node = tree_.at_or_above(old_address);
    if (node == nullptr || node->mapping.start > old_address) return Failure{Errno::fault};
    if (old_size == 0) {
        // Historic: a second mapping of the same shared pages.
        if (node->mapping.shared == 0 || !may_move) return Failure{Errno::inval};
        Mapping source = node->mapping;
        u32 how = kMapFlagShared | (fixed ? kMapFlagFixed : 0u);
        return map_locked(fixed ? new_address : 0, new_size, source.prot, how, source.file,
                          source.offset + (old_address - source.start), source.kind, doomed);
    }

    if (old_size > new_size && !fixed) {
        u64 from = old_address + new_size, to = old_address + old_size;
        announce_code(from, to);
        release_host(from, to);
        carve(from, to, doomed);
        return old_address;
    }
    if (old_size > node->mapping.end - old_address) {
        if (old_size == new_size && !fixed && !keep) return old_address;
        return Failure{Errno::fault};
    }
    if (old_size == new_size && !fixed && !keep) return old_address;

    Mapping part = node->mapping;  // what moves or grows
    part.offset += part.file != nullptr ? old_address - part.start : 0;
    part.start = old_address;
    part.end = old_address + old_size;
    if (keep && (part.file != nullptr || part.shared != 0)) return Failure{Errno::inval};
    if (new_size > old_size) {
        u64 more = new_size - old_size;
        bool data = part.shared == 0 && (part.prot & gate::kProtWrite) != 0 && part.grows_down == 0;
        if (exceeds_limits(more, data)) return Failure{Errno::nomem};
        if (part.locked != 0 && !may_lock(more)) return Failure{Errno::again};
    }

    u64 old_end = old_address + old_size;
    if (!fixed && !keep && node->mapping.end == old_end && new_size <= high - old_address &&
        !overlaps(old_end, old_address + new_size)) {
        u64 more = new_size - old_size;
        Res<void> grown = part.file != nullptr
                              ? part.file->map(old_end, more, part.offset + old_size, part.prot, part.shared != 0)
                              : allocate_at(old_end, more, part.prot);
        if (grown.ok()) {
            node->mapping.end += more;
            tree_.resized(*node);
            mapped_ += more;
            if (node->mapping.locked != 0) locked_ += more;
            merge(node->mapping.start, node->mapping.end, doomed);
            return old_address;
        }
        // A shared anonymous object has only its own pages; elsewhere there is no more of them either.
        if (!may_move || part.kind == MappingKind::shared_anonymous) return Failure{Errno::nomem};
    }
    if (!may_move) return Failure{Errno::nomem};

    u64 target = new_address;
    if (!fixed) target = TRY(find_locked(0, new_size, low, high));
    if (part.kind == MappingKind::shared_anonymous && new_size > old_size) return Failure{Errno::nomem};
    if ((part.prot & gate::kProtExecute) != 0) announce_code(part.start, part.end);
    if (fixed) announce_code(target, target + new_size);
    u64 moving = old_size < new_size ? old_size : new_size;
    if (fixed && old_size > new_size) {
        release_host(old_address + new_size, old_end);
        part.end = old_address + new_size;
    }
    TRY(move_contents(part, old_address, moving, target, new_size));
    drop_prepared(old_address, old_end, doomed);
    if (fixed) drop_prepared(target, target + new_size, doomed);
    part.prepared = 0;
    // The reference that the new mapping takes must exist before the old one's goes.
    hold_file(part);
    if (keep && !allocate_at(old_address, old_size, part.prot, gate::kAllocReplace).ok())
        carve(old_address, old_end, doomed);
    if (fixed) carve(target, target + new_size, doomed);
    if (!keep) carve(old_address, old_end, doomed);
    part.start = target;
    part.end = target + new_size;
    insert(part, doomed);
    return target;
}

/// Makes [to, to + new_size) hold what [from, from + old_size) holds, and unmaps the old addresses.
Res<void> Space::move_contents(const Mapping& part, u64 from, u64 old_size, u64 to, u64 new_size) {
    // What lies behind a file's pages at the host may be other files' (memory files share one): only the pages that
    // are there move, and the file maps what comes after.
    const u64 more = part.file != nullptr && new_size > old_size ? new_size - old_size : 0;
    if (more != 0) TRY(part.file->map(to + old_size, more, part.offset + old_size, part.prot, part.shared != 0));
    if (part.prepared != 0) {
        // Its jumps lead to what lies at a fixed distance. Elsewhere the file's own bytes do.
        TRY(part.file->map(to, new_size - more, part.offset, part.prot, false));
        release_host(from, from + old_size);
        return {};
    }
    if (g_gate->DkVirtualMemoryMove(from, old_size, to, new_size - more) == gate::Err::ok) return {};
    // The host may hold the range in pieces that it cannot move as one: rebuild it.
    if (part.shared != 0) {
        TRY(part.file->map(to, new_size, part.offset, part.prot, true));
    } else {
        TRY(allocate_at(to, new_size - more, gate::kProtRead | gate::kProtWrite, gate::kAllocReplace));
        if ((part.prot & gate::kProtRead) == 0)
            TRY(check(g_gate->DkVirtualMemoryProtect(from, old_size, part.prot | gate::kProtRead)));
        // Pages beyond the end of a file fault here as they would have faulted for the program: they stay zero.
        for (u64 done = 0; done < old_size; done += kPageSize)
            guarded_copy(reinterpret_cast<void*>(to + done), reinterpret_cast<const void*>(from + done), kPageSize);
        TRY(check(g_gate->DkVirtualMemoryProtect(to, new_size - more, part.prot)));
    }
    release_host(from, from + old_size);
    return {};
}

void Space::set_break_start(u64 address) {
    Guard guard{lock_};
    break_start_ = break_end_ = address;
    break_committed_ = break_dirty_ = page_ceil(address);
}

Res<u64> Space::set_break(u64 address) {
    if (address < break_start_ || break_start_ == 0) return break_end_;
    Doomed doomed;
    Guard guard{lock_};
    auto result = set_break_locked(address, doomed);
    if (!result.ok()) return break_end_;  // brk(2) reports failure by not moving
    return result;
}

Res<u64> Space::set_break_locked(u64 address, Doomed& doomed) {
    u64 limit = current_process().limits[kLimitData][0];
    if (address > break_end_ && address - break_start_ > limit) return Failure{Errno::nomem};
    u64 old_page = page_ceil(break_end_), new_page = page_ceil(address);
    if (new_page > break_committed_) {
        u64 want = new_page - break_committed_;
        if (address > g_parameters->user_high) return Failure{Errno::nomem};
        if (exceeds_limits(want, true)) return Failure{Errno::nomem};
        TRY(prepare());
        u64 step = want < kBreakStep ? kBreakStep : want;
        MappingNode* above = tree_.at_or_above(break_committed_);
        if (above != nullptr && above->mapping.start < break_committed_ + step + kPageSize) {
            // Near the next mapping take what is asked, with one page kept free as Linux does.
            step = want;
            if (above->mapping.start < break_committed_ + step + kPageSize) return Failure{Errno::nomem};
        }
        if (!allocate_at(break_committed_, step, gate::kProtRead | gate::kProtWrite).ok()) {
            step = want;
            TRY(allocate_at(break_committed_, step, gate::kProtRead | gate::kProtWrite));
        }
        Mapping mapping;
        mapping.start = break_committed_;
        mapping.end = break_committed_ + step;
        mapping.prot = gate::kProtRead | gate::kProtWrite;
        mapping.kind = MappingKind::heap;
        mapping.locked = lock_future_;
        insert(mapping, doomed);
        break_committed_ += step;
    }
    if (new_page > old_page) {
        u64 dirty = break_dirty_ < new_page ? break_dirty_ : new_page;
        // Pages given back by an earlier, small shrink come again as zeroes.
        if (dirty > old_page && !zero_out(old_page, dirty - old_page).ok()) {
            TRY(allocate_at(old_page, dirty - old_page, gate::kProtRead | gate::kProtWrite, gate::kAllocReplace));
        }
    } else if (new_page < old_page) {
        if (break_dirty_ < old_page) break_dirty_ = old_page;
        if (break_dirty_ - new_page >= kBreakStep / 8) {
            TRY(prepare());
            announce_code(new_page, break_committed_);
            release_host(new_page, break_committed_);
            carve(new_page, break_committed_, doomed);
            break_committed_ = break_dirty_ = new_page;
        }
    }
    if (new_page > break_dirty_) break_dirty_ = new_page;
    break_end_ = address;
    return address;
}

Res<void> Space::advise(u64 address, u64 size, u32 advice) {
    enum : u32 {
        kNormal = 0,
        kRandom = 1,
        kSequential = 2,
        kWillNeed = 3,
        kDontNeed = 4,
        kFree = 8,
        kRemove = 9,
        kHugePage = 14,
        kNoHugePage = 15,
        kDontDump = 16,
        kDoDump = 17,
        kCold = 20,
        kPageOut = 21,
        kPopulateRead = 22,
        kPopulateWrite = 23,
        kDontNeedLocked = 24,
        kHwPoison = 100,
        kSoftOffline = 101
    };
    switch (advice) {
        case kNormal:
        case kRandom:
        case kSequential:
        case kWillNeed:
        case kDontNeed:
        case kFree:
        case kRemove:
        case kHugePage:
        case kNoHugePage:
        case kDontDump:
        case kDoDump:
        case kCold:
        case kPageOut:
        case kPopulateRead:
        case kPopulateWrite:
        case kDontNeedLocked: break;
        case kHwPoison:
        case kSoftOffline: return Failure{Errno::perm};
        default: return Failure{Errno::inval};  // DONTFORK, WIPEONFORK, MERGEABLE, COLLAPSE: not here
    }
    const u64 high = g_parameters->user_high;
    if (!page_aligned(address) || size > high || address > high) return Failure{Errno::inval};
    size = page_ceil(size);
    if (size == 0) return {};
    u64 end = address + size;
    bool hole = false;
    Guard guard{lock_};
    u64 at = address;
    for (MappingNode* node = tree_.at_or_above(address); at < end; node = tree_.next(*node)) {
        if (node == nullptr || node->mapping.start >= end) {
            hole = true;
            break;
        }
        const Mapping& mapping = node->mapping;
        if (mapping.start > at) hole = true, at = mapping.start;
        // Dropping the contents of sealed memory that cannot be written would be a change of it.
        if (mapping.sealed != 0 && mapping.file == nullptr && (mapping.prot & gate::kProtWrite) == 0 &&
            (advice == kDontNeed || advice == kFree || advice == kRemove || advice == kDontNeedLocked))
            return Failure{Errno::perm};
        if (mapping.locked != 0 &&
            (advice == kDontNeed || advice == kFree || advice == kRemove || advice == kCold || advice == kPageOut))
            return Failure{Errno::inval};
        u64 to = mapping.end < end ? mapping.end : end;
        gate::Err error = gate::Err::ok;
        switch (advice) {
            case kDontNeed:
            case kDontNeedLocked:
                // Shared memory keeps its contents: only this mapping's page-table entries would go.
                if (mapping.shared == 0) {
                    error = g_gate->DkVirtualMemoryFree(at, to - at, gate::FreeKind::decommit);
                    if (error == gate::Err::ok && (mapping.prot & gate::kProtExecute) != 0)
                        g_host->code_changed(at, to - at);
                }
                break;
            case kFree:
                if (mapping.file != nullptr || mapping.shared != 0) return Failure{Errno::inval};
                error = g_gate->DkVirtualMemoryFree(at, to - at, gate::FreeKind::lazy);
                break;
            case kRemove:
                if (mapping.shared == 0) return Failure{Errno::inval};
                if ((mapping.max_prot & gate::kProtWrite) == 0) return Failure{Errno::acces};
                error = g_gate->DkVirtualMemoryFree(at, to - at, gate::FreeKind::remove);
                break;
            case kPopulateRead:
            case kPopulateWrite:
                for (; at < to; at += kPageSize) {
                    u32 word = 0;
                    auto read = load_user_u32(at);
                    if (!read.ok()) return Failure{Errno::fault};
                    word = read.value();
                    // Exchanging a word for itself dirties the page without changing what other threads see.
                    if (advice == kPopulateWrite && !compare_exchange_user_u32(at, word, word).ok())
                        return Failure{Errno::fault};
                }
                break;
            default: break;  // hints that change nothing a program can observe
        }
        if (error != gate::Err::ok && error != gate::Err::unsupported) return Failure{to_errno(error)};
        at = to;
    }
    if (hole) return Failure{Errno::nomem};
    return {};
}

}  // namespace postern::libos
