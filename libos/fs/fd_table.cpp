// SPDX-License-Identifier: Apache-2.0
// Descriptor tables. One lock serialises changes. Nobody reads with it: threads that use files of their own must not meet
// in a word of the table.
#include "libos/fs/fd_table.hpp"

#include "base/memory.hpp"
#include "libos/fs/locks.hpp"
#include "libos/inotify/notify.hpp"
#include "libos/process/process.hpp"
#include "libos/shared/arena.hpp"

namespace postern::libos {

namespace {

constexpr u32 kLimitFiles = 7;             // RLIMIT_NOFILE
constexpr u32 kMostDescriptors = 1 << 20;  // fs.nr_open

u32 descriptor_limit() {
    u64 limit = current_process().limits[kLimitFiles][0];
    return limit < kMostDescriptors ? static_cast<u32>(limit) : kMostDescriptors;
}

}  // namespace

Res<FdTable*> FdTable::create() {
    FdTable* table = TRY(arena::create<FdTable>());
    table->slots_ = table->inline_;
    return table;
}

Res<FdTable*> FdTable::clone() {
    FdTable* copy = TRY(create());
    Guard guard{lock_};
    if (high_ > kInline) {
        auto grown = copy->grow(high_);
        if (!grown.ok()) {
            arena::destroy(copy);
            return Failure{grown.error()};
        }
    }
    for (u32 fd = 0; fd < high_; ++fd) {
        Slot slot = slots_[fd];
        if (slot != 0) file_of(slot)->reference();
        copy->slots_[fd] = slot;
    }
    copy->high_ = high_;
    copy->lowest_free_ = lowest_free_;
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
        Slot slot = slots_[fd];
        slots_[fd] = 0;
        if (slot == 0) continue;
        if (file_of(slot)->has_directory_notice != 0) directory_notice_drop(*file_of(slot), this);
        file_of(slot)->release();
    }
    if (slots_ != inline_) arena::release(slots_, capacity_ * sizeof(Slot));
    while (retired_ != nullptr) {
        Retired* retired = retired_;
        retired_ = retired->next;
        arena::release(retired->slots, retired->capacity * sizeof(Slot));
        arena::destroy(retired);
    }
    arena::destroy(this);
}

bool FdTable::is_private() const {
    // One reference and one thread: nobody but the caller changes the table.
    return __atomic_load_n(&references_, __ATOMIC_RELAXED) == 1 && current_process().thread_count == 1 &&
           current_process().files == this;
}

File* FdTable::peek(u32 fd) const {
    if (!is_private() || fd >= high_) return nullptr;
    return file_of(slots_[fd]);
}

/// Without the lock. `high_` is never beyond the array that is read after it.
File* FdTable::file_at(u32 fd) const {
    if (fd >= __atomic_load_n(&high_, __ATOMIC_ACQUIRE)) return nullptr;
    Slot* slots = __atomic_load_n(&slots_, __ATOMIC_ACQUIRE);
    return file_of(__atomic_load_n(&slots[fd], __ATOMIC_ACQUIRE));
}

Res<FileRef> FdTable::get(u32 fd) {
    if (fd >= __atomic_load_n(&high_, __ATOMIC_RELAXED)) return Failure{Errno::badf};
    if (is_private()) {
        File* file = file_of(slots_[fd]);
        if (file == nullptr) return Failure{Errno::badf};
        file->reference();
        return FileRef{file};
    }
    // Another thread may close the file, and open another in its memory, after any step: a reference that was had
    // while the slot names the file is one to it.
    for (;;) {
        File* file = file_at(fd);
        if (file == nullptr) return Failure{Errno::badf};
        if (!file->try_reference()) continue;
        if (file_at(fd) == file) return FileRef{file};
        file->release();
    }
}

Res<void> FdTable::grow(u32 needed) {
    u32 capacity = capacity_;
    while (capacity <= needed) capacity *= 4;
    auto slots = static_cast<Slot*>(TRY(arena::allocate(capacity * sizeof(Slot))));
    memcpy(slots, slots_, high_ * sizeof(Slot));
    if (slots_ != inline_) {
        auto retired = arena::create<Retired>();
        if (!retired.ok()) {
            arena::release(slots, capacity * sizeof(Slot));
            return Failure{retired.error()};
        }
        *retired.value() = {slots_, capacity_, retired_};
        retired_ = retired.value();
    }
    __atomic_store_n(&slots_, slots, __ATOMIC_RELEASE);
    capacity_ = capacity;
    return {};
}

Res<u32> FdTable::find_free(u32 lowest, u32 limit) {
    u32 fd = lowest > lowest_free_ ? lowest : lowest_free_;
    while (fd < high_ && slots_[fd] != 0) ++fd;
    if (lowest <= lowest_free_) lowest_free_ = fd;
    if (fd >= limit) return Failure{Errno::mfile};
    if (fd >= capacity_) TRY(grow(fd));
    return fd;
}

Res<u32> FdTable::install(FileRef file, bool close_on_exec, u32 lowest) {
    u32 limit = descriptor_limit();
    Guard guard{lock_};
    u32 fd = TRY(find_free(lowest, limit));
    put(fd, reinterpret_cast<u64>(file.leak()) | (close_on_exec ? kCloseOnExec : 0));
    if (fd >= high_) __atomic_store_n(&high_, fd + 1, __ATOMIC_RELEASE);
    if (fd == lowest_free_) lowest_free_ = fd + 1;
    return fd;
}

Res<u32> FdTable::install_at(FileRef file, u32 fd, bool close_on_exec) {
    if (fd >= descriptor_limit()) return Failure{Errno::badf};
    Slot old;
    {
        Guard guard{lock_};
        if (fd >= capacity_) TRY(grow(fd));
        old = fd < high_ ? slots_[fd] : 0;
        put(fd, reinterpret_cast<u64>(file.leak()) | (close_on_exec ? kCloseOnExec : 0));
        if (fd >= high_) __atomic_store_n(&high_, fd + 1, __ATOMIC_RELEASE);
        if (fd == lowest_free_) lowest_free_ = fd + 1;
    }
    if (old != 0) drop(old);
    return fd;
}

FdTable::Slot FdTable::take(u32 fd) {
    if (fd >= high_) return 0;
    Slot slot = slots_[fd];
    if (slot == 0) return 0;
    put(fd, 0);
    if (fd < lowest_free_) lowest_free_ = fd;
    u32 high = high_;
    while (high > 0 && slots_[high - 1] == 0) --high;
    if (high != high_) __atomic_store_n(&high_, high, __ATOMIC_RELEASE);
    return slot;
}

bool FdTable::contains(const File* file) {
    Guard guard{lock_};
    for (u32 fd = 0; fd < high_; ++fd)
        if (file_of(slots_[fd]) == file) return true;
    return false;
}

void FdTable::drop(Slot slot) {
    File* file = file_of(slot);
    Process& process = current_process();
    file->descriptor_closed(process);
    if (has_locks_ != 0) locks_descriptor_closed(*this, *file);
    if (file->has_directory_notice != 0) [[unlikely]]
        directory_notice_drop(*file, this);
    // A vfork context stands on its parent's handles.
    if (file->has_local != 0 && !shares_picoprocess(process) && !contains(file)) file->close_local();
    file->release();
}

Res<void> FdTable::close(u32 fd) {
    Slot slot;
    {
        Guard guard{lock_};
        slot = take(fd);
    }
    if (slot == 0) return Failure{Errno::badf};
    drop(slot);
    return {};
}

Res<bool> FdTable::close_on_exec(u32 fd) {
    Guard guard{lock_};
    if (fd >= high_ || slots_[fd] == 0) return Failure{Errno::badf};
    return (slots_[fd] & kCloseOnExec) != 0;
}

Res<void> FdTable::set_close_on_exec(u32 fd, bool value) {
    Guard guard{lock_};
    if (fd >= high_ || slots_[fd] == 0) return Failure{Errno::badf};
    slots_[fd] = value ? slots_[fd] | kCloseOnExec : slots_[fd] & ~kCloseOnExec;
    return {};
}

void FdTable::close_range(u32 first, u32 last, bool only_mark) {
    for (u32 fd = first; fd <= last; ++fd) {
        Slot slot = 0;
        {
            Guard guard{lock_};
            while (fd < high_ && slots_[fd] == 0) ++fd;
            if (fd >= high_ || fd > last) return;
            if (only_mark)
                slots_[fd] |= kCloseOnExec;
            else
                slot = take(fd);
        }
        if (slot != 0) drop(slot);
        if (fd == ~0u) return;
    }
}

void FdTable::exec() {
    for (u32 fd = 0;; ++fd) {
        Slot slot;
        {
            Guard guard{lock_};
            while (fd < high_ && (slots_[fd] & kCloseOnExec) == 0) ++fd;
            if (fd >= high_) return;
            slot = take(fd);
        }
        drop(slot);
    }
}

i32 FdTable::next_open(u32 fd) const {
    auto& lock = const_cast<SharedLock&>(lock_);
    Guard guard{lock};
    for (; fd < high_; ++fd)
        if (slots_[fd] != 0) return static_cast<i32>(fd);
    return -1;
}

}  // namespace postern::libos
