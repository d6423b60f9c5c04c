// SPDX-License-Identifier: Apache-2.0
// Descriptor tables. Reading, opening and closing take no lock: threads that use files of their own must not wait for
// each other. A slot changes with one atomic step, and chunks of slots stay where they are. fd_table_close.cpp closes.
#include "libos/fs/fd_table.hpp"

#include "libos/fs/fd_table_look.hpp"
#include "libos/fs/locks.hpp"
#include "libos/inotify/notify.hpp"
#include "libos/process/process.hpp"
#include "libos/shared/arena.hpp"

namespace postern::libos {

namespace {

constexpr u32 kLimitFiles = 7;             // RLIMIT_NOFILE
constexpr u32 kMostDescriptors = 1 << 20;  // fs.nr_open
constexpr u32 kFarOpen = 8;                // open descriptors that are looked at one by one

u32 descriptor_limit() {
    u64 limit = current_process().limits[kLimitFiles][0];
    return limit < kMostDescriptors ? static_cast<u32>(limit) : kMostDescriptors;
}

}  // namespace

Res<FdTable*> FdTable::create() { return arena::create<FdTable>(); }

Res<void> FdTable::copy_to(FdTable& copy) {
    Look look{*this};
    const u32 high = __atomic_load_n(&high_, __ATOMIC_ACQUIRE);
    u32 lowest = ~0u;
    for (u32 fd = 0; fd < high; ++fd) {
        Slot slot = hold(fd);
        if (slot == 0) {
            lowest = fd < lowest ? fd : lowest;
            continue;
        }
        Res<Slot*> place = copy.make_slot(fd);
        if (!place.ok()) {
            file_of(slot)->release();
            return Failure{place.error()};
        }
        *place.value() = slot;
        copy.high_ = fd + 1;
    }
    copy.all_open_ = lowest < copy.high_ ? lowest : copy.high_;
    return {};
}

Res<FdTable*> FdTable::clone() {
    FdTable* copy = TRY(create());
    Res<void> copied = copy_to(*copy);
    if (!copied.ok()) {
        copy->destroy();
        return Failure{copied.error()};
    }
    return copy;
}

void FdTable::reference() { __atomic_add_fetch(&references_, 1, __ATOMIC_SEQ_CST); }

void FdTable::release() {
    if (__atomic_sub_fetch(&references_, 1, __ATOMIC_SEQ_CST) != 0) return;
    close_range(0, ~0u, false);
    destroy();
}

void FdTable::abandon() {
    if (__atomic_sub_fetch(&references_, 1, __ATOMIC_SEQ_CST) == 0) destroy();
}

void FdTable::destroy() {
    if (has_locks_ != 0) locks_drop_owner(this);
    for (u32 fd = 0; fd < high_; ++fd) {
        Slot slot = read(fd);
        if (slot == 0) continue;
        __atomic_store_n(slot_at(fd), 0, __ATOMIC_RELEASE);
        if (file_of(slot)->has_directory_notice != 0) directory_notice_drop(*file_of(slot), this);
        file_of(slot)->release();
    }
    for (u32 chunk = 1; chunk < kChunks; ++chunk) arena::release(chunks_[chunk], chunk_size(chunk) * sizeof(Slot));
    arena::destroy(this);
}

bool FdTable::is_private() const {
    // One reference and one thread: nobody but the caller changes the table.
    return __atomic_load_n(&references_, __ATOMIC_RELAXED) == 1 && current_process().thread_count == 1 &&
           current_process().files == this;
}

FdTable::Slot* FdTable::slot_at(u32 fd) const {
    if (fd < kInline) return const_cast<Slot*>(inline_ + place_of(fd));
    u32 chunk = chunk_of(fd);
    Slot* slots = __atomic_load_n(&chunks_[chunk], __ATOMIC_ACQUIRE);
    return slots == nullptr ? nullptr : slots + place_of(fd - chunk_base(chunk));
}

Res<FdTable::Slot*> FdTable::make_slot(u32 fd) {
    if (Slot* slot = slot_at(fd); slot != nullptr) return slot;
    u32 chunk = chunk_of(fd);
    usize bytes = chunk_size(chunk) * sizeof(Slot);
    auto* slots = static_cast<Slot*>(TRY(arena::allocate(bytes)));
    Slot* seen = nullptr;
    if (!__atomic_compare_exchange_n(&chunks_[chunk], &seen, slots, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        arena::release(slots, bytes);
    return slot_at(fd);
}

FdTable::Slot FdTable::read(u32 fd) const {
    if (fd >= __atomic_load_n(&high_, __ATOMIC_ACQUIRE)) return 0;
    Slot* place = slot_at(fd);
    Slot slot = place == nullptr ? 0 : __atomic_load_n(place, __ATOMIC_ACQUIRE);
    return (slot & kClosing) != 0 ? 0 : slot;
}

FdTable::Slot FdTable::hold(u32 fd) const {
    // Another thread may close the file, and open another in its memory, after any step: a reference that was had
    // while the slot names the file is one to it.
    for (;;) {
        File* file = file_of(read(fd));
        if (file == nullptr) return 0;
        if (!file->try_reference()) continue;
        Slot slot = read(fd);
        if (file_of(slot) == file) return slot;
        file->release();
    }
}

File* FdTable::peek(u32 fd) const { return is_private() ? file_of(read(fd)) : nullptr; }

Res<FileRef> FdTable::get(u32 fd) {
    Slot slot = hold(fd);
    if (slot == 0) return Failure{Errno::badf};
    return FileRef{file_of(slot)};
}

void FdTable::raise_high(u32 high) {
    u32 seen = __atomic_load_n(&high_, __ATOMIC_RELAXED);
    while (seen < high && !__atomic_compare_exchange_n(&high_, &seen, high, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
    }
}

Res<u32> FdTable::install(FileRef file, bool close_on_exec, u32 lowest) {
    const u32 limit = descriptor_limit();
    const Slot value = reinterpret_cast<u64>(file.get()) | (close_on_exec ? kCloseOnExec : 0);
    for (;;) {
        const u32 all_open = __atomic_load_n(&all_open_, __ATOMIC_ACQUIRE);
        u32 fd = lowest > all_open ? lowest : all_open;
        Slot* slot = nullptr;
        for (;; ++fd) {
            if (fd >= limit) return Failure{Errno::mfile};
            slot = TRY(make_slot(fd));
            if (__atomic_load_n(slot, __ATOMIC_RELAXED) == 0) break;
        }
        raise_high(fd + 1);
        Slot closed = 0;
        if (!__atomic_compare_exchange_n(slot, &closed, value, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) continue;
        note_descriptor(*file.leak(), fd);
        // Written seldom: everybody reads it. A few looks at open ones cost less.
        if (lowest <= all_open && fd >= all_open + kFarOpen) raise_all_open(all_open, fd + 1);
        return fd;
    }
}

/// Either this sees what another thread closes meanwhile, or that one sees the new mark: one of them takes it back.
void FdTable::raise_all_open(u32 from, u32 to) {
    u32 seen = from;
    if (!__atomic_compare_exchange_n(&all_open_, &seen, to, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) return;
    for (u32 fd = from; fd < to; ++fd)
        if (__atomic_load_n(slot_at(fd), __ATOMIC_SEQ_CST) == 0) return lower_all_open(fd);
}

void FdTable::lower_all_open(u32 fd) {
    u32 seen = __atomic_load_n(&all_open_, __ATOMIC_SEQ_CST);
    while (fd < seen && !__atomic_compare_exchange_n(&all_open_, &seen, fd, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
    }
}

/// Where to find the file again.
void FdTable::note_descriptor(File& file, u32 fd) {
    if (file_of(read(__atomic_load_n(&file.usual_fd, __ATOMIC_RELAXED))) != &file)
        __atomic_store_n(&file.usual_fd, fd, __ATOMIC_RELAXED);
}

Res<u32> FdTable::install_at(FileRef file, u32 fd, bool close_on_exec) {
    if (fd >= descriptor_limit()) return Failure{Errno::badf};
    Slot* slot = TRY(make_slot(fd));
    raise_high(fd + 1);
    note_descriptor(*file, fd);
    Slot value = reinterpret_cast<u64>(file.leak()) | (close_on_exec ? kCloseOnExec : 0);
    bool last;
    Slot old = swap(*slot, value, last);
    if (old != 0) drop(old, last);
    return fd;
}

Res<bool> FdTable::close_on_exec(u32 fd) {
    Slot slot = read(fd);
    if (slot == 0) return Failure{Errno::badf};
    return (slot & kCloseOnExec) != 0;
}

Res<void> FdTable::set_close_on_exec(u32 fd, bool value) {
    Slot seen = read(fd);
    do {
        if (seen == 0) return Failure{Errno::badf};
    } while (!__atomic_compare_exchange_n(slot_at(fd), &seen, value ? seen | kCloseOnExec : seen & ~kCloseOnExec, true,
                                          __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    return {};
}

i32 FdTable::next_open(u32 fd) const {
    const u32 high = __atomic_load_n(&high_, __ATOMIC_ACQUIRE);
    for (; fd < high; ++fd)
        if (read(fd) != 0) return static_cast<i32>(fd);
    return -1;
}

}  // namespace postern::libos
