// SPDX-License-Identifier: Apache-2.0
// How descriptors are closed: the last one that a picoprocess has of a file with handles of the host ends those, once.
#include "libos/fs/fd_table.hpp"
#include "libos/fs/fd_table_look.hpp"
#include "libos/fs/locks.hpp"
#include "libos/gate.hpp"
#include "libos/inotify/notify.hpp"
#include "libos/process/process.hpp"

namespace postern::libos {

namespace {

constexpr u32 kMostLooks = 1000;  // at a slot that is being closed
constexpr u32 kMostTurns = 8;     // to close without looking through the table

}  // namespace

/// A slot that its closer has marked and not emptied yet; the value it has then.
FdTable::Slot FdTable::settled(const Slot& slot) {
    Slot value = __atomic_load_n(&slot, __ATOMIC_SEQ_CST);
    for (u32 look = 0; (value & kClosing) != 0 && look < kMostLooks * 100; ++look) {
        __builtin_ia32_pause();
        if (look > kMostLooks) g_gate->DkThreadYieldExecution();
        value = __atomic_load_n(&slot, __ATOMIC_SEQ_CST);
    }
    return value;
}

bool FdTable::has_another(const Slot& slot, Slot old) const {
    u32 usual = __atomic_load_n(&file_of(old)->usual_fd, __ATOMIC_RELAXED);
    return file_of(read(usual)) == file_of(old) && slot_at(usual) != &slot;
}

/// Empties a slot whose file has, as is seen before and after, another descriptor: it cannot be the last one. False:
/// nothing was done.
bool FdTable::empty_one_of_many(Slot& slot, Slot old) {
    Slot seen = old;
    if (!__atomic_compare_exchange_n(&slot, &seen, old | kClosing, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        return false;
    bool sure = has_another(slot, old) && __atomic_load_n(&looking_, __ATOMIC_SEQ_CST) == 0;
    __atomic_store_n(&slot, sure ? 0 : old, __ATOMIC_SEQ_CST);
    return sure;
}

/// Waiting costs less than looking, too: those who look would make each other look.
void FdTable::let_look() const {
    for (u32 wait = 0; wait < kMostLooks && __atomic_load_n(&looking_, __ATOMIC_SEQ_CST) != 0; ++wait)
        __builtin_ia32_pause();
}

FdTable::Slot FdTable::swap(Slot& slot, Slot value, bool& last) {
    last = false;
    for (u32 turn = 0;; ++turn) {
        let_look();
        Slot old = settled(slot);
        if (old == 0 && value == 0) return 0;
        // A guess, for the file may be gone; what it was is known when it is out.
        const bool local = old != 0 && __atomic_load_n(&file_of(old)->has_local, __ATOMIC_RELAXED) != 0;
        if (local && value == 0 && !is_private() && turn < kMostTurns && has_another(slot, old)) {
            if (empty_one_of_many(slot, old)) return old;
            continue;
        }
        auto exchange = [&] {
            Slot seen = old;
            return __atomic_compare_exchange_n(&slot, &seen, value, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
        };
        if (!local && __atomic_load_n(&looking_, __ATOMIC_SEQ_CST) == 0) {
            if (exchange()) return old;
            continue;
        }
        // Of two descriptors of a file with handles that are closed at once, one must know that it is the last.
        Look look{*this};
        if (!exchange()) continue;
        last = local && !find(file_of(old));
        return old;
    }
}

bool FdTable::contains(const File* file) {
    Look look{*this};
    return find(file);
}

bool FdTable::find(const File* file) const {
    const u32 high = __atomic_load_n(&high_, __ATOMIC_ACQUIRE);
    for (u32 fd = 0; fd < high; ++fd) {
        Slot* slot = slot_at(fd);
        if (slot != nullptr && file_of(__atomic_load_n(slot, __ATOMIC_SEQ_CST)) == file &&
            file_of(settled(*slot)) == file)
            return true;
    }
    return false;
}

void FdTable::drop(Slot slot, bool last) {
    File* file = file_of(slot);
    Process& process = current_process();
    file->descriptor_closed(process);
    if (has_locks_ != 0) locks_descriptor_closed(*this, *file);
    if (file->has_directory_notice != 0) [[unlikely]]
        directory_notice_drop(*file, this);
    // A vfork context stands on its parent's handles.
    if (last && !shares_picoprocess(process)) file->close_local();
    file->release();
}

Res<void> FdTable::close(u32 fd) {
    if (read(fd) == 0) return Failure{Errno::badf};
    bool last;
    Slot old = swap(*slot_at(fd), 0, last);
    if (old == 0) return Failure{Errno::badf};
    lower_all_open(fd);
    // Threads that install at the same time may be about to need what lies above.
    if (fd + 1 == high_ && is_private())
        while (high_ > 0 && read(high_ - 1) == 0) --high_;
    drop(old, last);
    return {};
}

void FdTable::close_range(u32 first, u32 last, bool only_mark) {
    for (i32 fd = next_open(first); fd >= 0 && static_cast<u32>(fd) <= last; fd = next_open(static_cast<u32>(fd) + 1)) {
        if (only_mark)
            static_cast<void>(set_close_on_exec(static_cast<u32>(fd), true));
        else
            static_cast<void>(close(static_cast<u32>(fd)));
    }
}

void FdTable::exec() {
    for (i32 fd = next_open(0); fd >= 0; fd = next_open(static_cast<u32>(fd) + 1))
        if ((read(static_cast<u32>(fd)) & kCloseOnExec) != 0) static_cast<void>(close(static_cast<u32>(fd)));
}

}  // namespace postern::libos
