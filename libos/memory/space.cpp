// SPDX-License-Identifier: Apache-2.0
// Bookkeeping of the address space, mmap and munmap. The other files of the class: space_protect.cpp (protections and
// faults), space_code.cpp, space_limits.cpp, space_lock.cpp, space_remap.cpp (mremap and the break).
//
// Every operation checks first, then asks the host, then changes the tree, which cannot fail: the nodes it may need
// were allocated before. Files of mappings that went are released after the lock, because closing may take others.
#include "libos/memory/space.hpp"

#include "libos/fs/fd_table.hpp"
#include "libos/gate.hpp"
#include "libos/memory/doomed.hpp"
#include "libos/memory/shared_memory.hpp"
#include "libos/memory/space_inner.hpp"
#include "libos/proc/settings.hpp"
#include "libos/process/process.hpp"
#include "libos/process/table.hpp"
#include "libos/shared/arena.hpp"

namespace postern::libos {

namespace {

constexpr u32 kSpareNodes = 6;  // mremap carves two ranges (two splits each) and inserts one mapping

u64 random_pages(u32 bits) {
    constexpr u32 kNoRandomize = 0x0040000;  // ADDR_NO_RANDOMIZE of personality(2)
    if ((current_process().personality & kNoRandomize) != 0) return 0;
    u64 value = 0;
    g_gate->DkRandomBitsRead(&value, sizeof value);
    return (value & ((1ull << bits) - 1)) * kPageSize;
}

}  // namespace

namespace {
bool writes_shared(const Mapping& mapping) { return mapping.shared != 0 && (mapping.max_prot & gate::kProtWrite) != 0; }
}  // namespace

void hold_file(const Mapping& mapping, Process& process) {
    if (mapping.file == nullptr) return;
    mapping.file->reference();
    if (writes_shared(mapping)) mapping.file->writable_mapping(1);
    if (mapping.file->counts_mappings != 0) mapping.file->mapped(process, 1);
}

void drop_file(const Mapping& mapping, Process& process) {
    if (mapping.file == nullptr) return;
    if (writes_shared(mapping)) mapping.file->writable_mapping(-1);
    if (mapping.file->counts_mappings != 0) mapping.file->mapped(process, -1);
    mapping.file->release();
}

namespace {
/// Whose address space the calling thread works on: a vfork context's is its parent's.
Process& space_owner() {
    Thread* thread = &current_thread();
    while (thread->vfork_return != nullptr) thread = thread->vfork_return->parent;
    return *thread->process;
}
}  // namespace

void hold_file(const Mapping& mapping) {
    if (mapping.file != nullptr) hold_file(mapping, space_owner());
}
void drop_file(const Mapping& mapping) {
    if (mapping.file != nullptr) drop_file(mapping, space_owner());
}

Space::Doomed::~Doomed() {
    while (first != nullptr) {
        MappingNode* node = first;
        first = node->left;
        drop_file(node->mapping);
        heap::destroy(node);
    }
}

void Space::Doomed::add(MappingNode* node) {
    node->left = first;
    first = node;
}

Res<Space*> Space::create() {
    Space* space = TRY(heap::create<Space>());
    space->choose_bases();
    space->note_time_page();
    return space;
}

Space::~Space() {
    while (spares_ != nullptr) heap::destroy(take_spare());
}

void Space::choose_bases() {
    // Linux's layout with the top lowered to user_high: stack, then libraries downwards, and position-independent
    // programs at two thirds. 28 bits of randomness for libraries and programs, 22 for the stack, as x86-64 Linux.
    u64 high = g_parameters->user_high;
    stack_top_ = high - kPageSize - random_pages(22);
    map_top_ = stack_top_ - (256ull << 20) - random_pages(28);
    program_base_ = 0x5555'5555'4000ull + random_pages(28);
    if (program_base_ > map_top_ - (4ull << 40)) program_base_ = page_floor(high / 3 * 2) + random_pages(20);
    break_start_ = break_end_ = break_committed_ = break_dirty_ = 0;
}

void Space::note_time_page() {
    const gate::LibOsParameters& parameters = *g_parameters;
    time_page_bytes_ = 0;
    if (parameters.time_page == 0 || parameters.time_page_size == 0) return;
    u64 end = parameters.time_page + parameters.time_page_size;
    u64 image = parameters.time_page_image > parameters.time_page ? parameters.time_page_image : parameters.time_page;
    // Failure only costs two lines of /proc/self/maps.
    if (!prepare().ok() || spare_count_ < 2) return;
    Doomed none;
    Mapping mapping;
    mapping.kind = MappingKind::time_page;
    mapping.max_prot = gate::kProtRead | gate::kProtExecute;
    if (image > parameters.time_page) {
        mapping.start = parameters.time_page, mapping.end = image, mapping.prot = gate::kProtRead;
        insert(mapping, none);
    }
    mapping.start = image, mapping.end = end, mapping.prot = gate::kProtRead | gate::kProtExecute;
    insert(mapping, none);
    time_page_bytes_ = parameters.time_page_size;
}

Res<void> Space::prepare() {
    while (spare_count_ < kSpareNodes) {
        MappingNode* node = TRY(heap::create<MappingNode>());
        node->left = spares_;
        spares_ = node;
        ++spare_count_;
    }
    return {};
}

MappingNode* Space::take_spare() {
    if (spares_ == nullptr) panic("address space: no spare mapping node");
    MappingNode* node = spares_;
    spares_ = node->left;
    --spare_count_;
    node->left = node->right = nullptr;
    return node;
}

bool Space::overlaps(u64 start, u64 end) const {
    MappingNode* node = tree_.at_or_above(start);
    return node != nullptr && node->mapping.start < end;
}

/// Cuts a mapping in two at `at`; returns the upper part.
MappingNode* Space::split(MappingNode* node, u64 at) {
    MappingNode* upper = take_spare();
    upper->mapping = node->mapping;
    upper->mapping.start = at;
    if (upper->mapping.file != nullptr) {
        upper->mapping.offset += at - node->mapping.start;
        hold_file(upper->mapping);
    }
    upper->mapping.grows_down = 0;
    node->mapping.end = at;
    tree_.resized(*node);
    tree_.insert(*upper);
    return upper;
}

/// Takes [start, end) out of the tree.
void Space::carve(u64 start, u64 end, Doomed& doomed) {
    MappingNode* node = tree_.at_or_above(start);
    if (node != nullptr && node->mapping.start < start && node->mapping.end > start) node = split(node, start);
    while (node != nullptr && node->mapping.start < end) {
        if (node->mapping.end > end) split(node, end);
        MappingNode* next = tree_.next(*node);
        mapped_ -= node->mapping.end - node->mapping.start;
        if (node->mapping.locked != 0) locked_ -= node->mapping.end - node->mapping.start;
        tree_.remove(*node);
        doomed.add(node);
        node = next;
    }
}

void Space::insert(const Mapping& mapping, Doomed& doomed) {
    MappingNode* node = take_spare();
    node->mapping = mapping;
    tree_.insert(*node);
    mapped_ += mapping.end - mapping.start;
    if (mapping.locked != 0) locked_ += mapping.end - mapping.start;
    merge(mapping.start, mapping.end, doomed);
}

/// Joins neighbours that have become alike, from the one before `start` to the one after `end`.
void Space::merge(u64 start, u64 end, Doomed& doomed) {
    MappingNode* node = tree_.below(start);
    if (node == nullptr) node = tree_.at_or_above(start);
    while (node != nullptr && node->mapping.start < end) {
        MappingNode* next = tree_.next(*node);
        if (next == nullptr || !can_merge(node->mapping, next->mapping)) {
            node = next;
            continue;
        }
        tree_.remove(*next);
        node->mapping.end = next->mapping.end;
        tree_.resized(*node);
        doomed.add(next);
    }
}

/// Unmaps at the host what the tree has in the range, one call per run of memory of the same sort. The first error.
gate::Err Space::release_host(u64 start, u64 end) {
    gate::Err outcome = gate::Err::ok;
    u64 run_start = 0, run_end = 0;
    bool run_stream = false;
    auto flush = [&] {
        if (run_end == run_start) return;
        gate::Err error = run_stream
                              ? g_gate->DkStreamUnmap(run_start, run_end - run_start)
                              : g_gate->DkVirtualMemoryFree(run_start, run_end - run_start, gate::FreeKind::release);
        if (outcome == gate::Err::ok) outcome = error;
    };
    for (MappingNode* node = tree_.at_or_above(start); node != nullptr && node->mapping.start < end;
         node = tree_.next(*node)) {
        u64 from = node->mapping.start > start ? node->mapping.start : start;
        u64 to = node->mapping.end < end ? node->mapping.end : end;
        bool stream = node->mapping.file != nullptr;
        if (from == run_end && stream == run_stream) {
            run_end = to;
            continue;
        }
        flush();
        run_start = from, run_end = to, run_stream = stream;
    }
    flush();
    return outcome;
}

Res<u64> Space::find_locked(u64 hint, u64 size, u64 low, u64 high) const {
    hint = page_floor(hint);
    if (hint != 0 && hint >= low && hint < high && size <= high - hint && !overlaps(hint, hint + size)) return hint;
    u64 found = 0;
    if (high > map_top_) found = tree_.find_gap(size, low < program_base_ ? program_base_ : low, map_top_);
    if (found == 0) found = tree_.find_gap(size, low, high);
    if (found == 0) return Failure{Errno::nomem};
    return found;
}

Res<u64> Space::find(u64 hint, u64 size, const File* file) {
    Guard guard{lock_};
    return find_for_file(hint, size, file);
}

Res<u64> Space::find_for_file(u64 hint, u64 size, const File* file) const {
    const u64 low = g_parameters->user_low, high = g_parameters->user_high;
    const gate::PreparedText* text = file != nullptr && prepares_ ? file->prepared_text() : nullptr;
    if (text == nullptr) return find_locked(hint, size, low, high);
    const u64 below = text->code_size;
    u64 found = TRY(find_locked(hint > below ? hint - below : 0, size + below, low, high));
    return found + below;
}

Res<u64> Space::map(u64 address, u64 size, u32 prot, u32 flags, File* file, u64 offset, MappingKind kind) {
    Doomed doomed;
    Guard guard{lock_};
    TRY(prepare());
    return map_locked(address, size, prot, flags, file, offset, kind, doomed);
}

Res<u64> Space::map_locked(u64 address, u64 size, u32 prot, u32 flags, File* file, u64 offset, MappingKind kind,
                           Doomed& doomed) {
    const u64 low = g_parameters->user_low, high = g_parameters->user_high;
    if (size == 0 || !page_aligned(offset)) return Failure{Errno::inval};
    u32 type = flags & kMapFlagTypes;
    bool shared = type == kMapFlagShared || type == kMapFlagSharedValidate;
    if (!shared && type != kMapFlagPrivate) return Failure{Errno::inval};
    if (size > high) return Failure{Errno::nomem};
    size = page_ceil(size);
    if (file != nullptr && offset + size < offset) return Failure{Errno::overflow};
    if ((flags & kMapFlagHugeTlb) != 0) return Failure{file != nullptr ? Errno::inval : Errno::nomem};
    if (tree_.size() >= settings().mapping_limit) return Failure{Errno::nomem};

    Mapping mapping;
    mapping.prot = prot & 7;
    mapping.kind = kind;
    mapping.shared = shared;
    mapping.grows_down = (flags & kMapFlagGrowsDown) != 0 && file == nullptr && !shared;
    if (file != nullptr) {
        u32 access = file->status_flags & 3;  // O_ACCMODE: 0 read, 1 write, 2 both
        if (access == 1) return Failure{Errno::acces};
        if ((shared && !file->allows_shared_write()) || (flags & kMapFlagReadOnlyFile) != 0)
            mapping.max_prot = gate::kProtRead | gate::kProtExecute;
        if ((mapping.prot & ~mapping.max_prot) != 0) return Failure{Errno::acces};
    }

    bool replace = false;
    if ((flags & (kMapFlagFixed | kMapFlagFixedNoReplace)) != 0) {
        if (!page_aligned(address)) return Failure{Errno::inval};
        if (size > high || address > high - size) return Failure{Errno::nomem};
        if (address < low) return Failure{Errno::perm};
        replace = overlaps(address, address + size);
        if (replace && (flags & kMapFlagFixedNoReplace) != 0) return Failure{Errno::exist};
    } else if ((flags & kMapFlag32Bit) != 0) {
        constexpr u64 kLow32 = 0x4000'0000, kHigh32 = 0x8000'0000;
        address = page_floor(address);
        if (address < low || address > kHigh32 || size > kHigh32 - address || overlaps(address, address + size))
            address = tree_.find_gap(size, kLow32, kHigh32);
        if (address == 0) return Failure{Errno::nomem};
    } else {
        address = TRY(find_for_file(address < low ? 0 : address, size, shared ? nullptr : file));
    }
    const u64 end = address + size;

    if (!replace && exceeds_limits(size, is_data(mapping))) return Failure{Errno::nomem};

    if ((flags & kMapFlagLocked) != 0 && !may_lock(0)) return Failure{Errno::perm};
    mapping.locked = (flags & kMapFlagLocked) != 0 || lock_future_ != 0 ? 1 : 0;
    if (mapping.locked != 0 && !may_lock(size)) return Failure{Errno::again};

    if (replace) TRY(check_unsealed(address, end));
    if (replace) announce_code(address, end);
    FileRef memory;
    if (file == nullptr && shared) {
        File* fresh = TRY(SharedMemory::create(size));
        memory = FileRef{fresh};
        file = memory.get();
        mapping.kind = MappingKind::shared_anonymous;
        offset = 0;
    }
    if (file != nullptr) {
        mapping.prepared = !shared && map_prepared(address, size, mapping.prot, *file, offset, doomed);
        if (mapping.prepared == 0) TRY(file->map(address, size, offset, mapping.prot, shared));
        mapping.file = file;
        mapping.offset = offset;
        hold_file(mapping);
    } else {
        u32 how = gate::kAllocCommit;
        if (replace) how |= gate::kAllocReplace;
        if ((flags & kMapFlagPopulate) != 0) how |= gate::kAllocPopulate;
        gate::Err error = g_gate->DkVirtualMemoryAlloc(address, size, how, mapping.prot);
        TRY(check_memory(error, size));
    }
    if (replace) drop_prepared(address, end, doomed);
    if (replace) carve(address, end, doomed);
    mapping.start = address;
    mapping.end = end;
    insert(mapping, doomed);
    return address;
}

Res<void> Space::unmap(u64 address, u64 size) {
    const u64 high = g_parameters->user_high;
    if (!page_aligned(address) || size == 0 || address > high || size > high - address) return Failure{Errno::inval};
    Doomed doomed;
    Guard guard{lock_};
    TRY(prepare());
    u64 end = address + page_ceil(size);
    TRY(check_unsealed(address, end));
    // A hole makes two mappings of one: the only case that can fail, here or at the host.
    MappingNode* first = tree_.at_or_above(address);
    const bool splits = first != nullptr && first->mapping.start < address && first->mapping.end > end;
    if (splits && tree_.size() >= settings().mapping_limit) return Failure{Errno::nomem};
    announce_code(address, end);
    drop_prepared(address, end, doomed);
    if (release_host(address, end) != gate::Err::ok && splits) return Failure{Errno::nomem};
    carve(address, end, doomed);
    return {};
}

void Space::clear() {
    Doomed doomed;
    {
        Guard guard{lock_};
        while (MappingNode* node = tree_.first()) {
            tree_.remove(*node);
            doomed.add(node);
        }
        mapped_ = locked_ = 0;
        lock_future_ = 0;
        has_seals_ = false;
        prepares_ = true;
        const u64 low = g_parameters->user_low, high = g_parameters->user_high;
        if (g_gate->DkVirtualMemoryFree(low, high - low, gate::FreeKind::release) != gate::Err::ok) {
            for (MappingNode* node = doomed.first; node != nullptr; node = node->left)
                if (node->mapping.start < high)
                    g_gate->DkVirtualMemoryFree(node->mapping.start, node->mapping.end - node->mapping.start,
                                                gate::FreeKind::release);
        }
        g_host->code_reset();
        choose_bases();
        note_time_page();
    }
}

void Space::abandon() {
    // The last thread ends and the picoprocess with it: nothing is unlinked, for every page written after a fork is a
    // page copied.
    for (MappingNode* node = tree_.first(); node != nullptr; node = tree_.next(*node)) drop_file(node->mapping);
}

void Space::forked(Process& child) {
    for (MappingNode* node = tree_.first(); node != nullptr; node = tree_.next(*node)) hold_file(node->mapping, child);
}

void Space::fork_failed(Process& child) {
    for (MappingNode* node = tree_.first(); node != nullptr; node = tree_.next(*node)) drop_file(node->mapping, child);
}

const Mapping* Space::at_or_above(u64 address) const {
    MappingNode* node = tree_.at_or_above(address);
    return node != nullptr ? &node->mapping : nullptr;
}

bool Space::covered(u64 address, u64 size) {
    Guard guard{lock_};
    u64 end = address + size;
    for (MappingNode* node = tree_.at_or_above(address); address < end; node = tree_.next(*node)) {
        if (node == nullptr || node->mapping.start > address) return false;
        u64 visible = visible_end(node->mapping);
        if (visible < node->mapping.end && visible < end) return false;
        address = node->mapping.end;
    }
    return true;
}

u32 Space::protection_at(u64 address) {
    Guard guard{lock_};
    MappingNode* node = tree_.at_or_above(address);
    return node != nullptr && node->mapping.start <= address ? node->mapping.prot : 0;
}

}  // namespace postern::libos
