// SPDX-License-Identifier: Apache-2.0
// Semaphore sets as objects: see semaphore.hpp.
#include "libos/sysv/semaphore.hpp"

#include "libos/proc/text.hpp"
#include "libos/shared/roots.hpp"

namespace postern::libos {

namespace {

/// Intended values of words, written before any of them changes. `count` is stored last and cleared when all are done.
struct Journal {
    struct Entry {
        u64* word;
        u64 value;
    };
    volatile u64 count;
    Entry entries[2 * kOperationMost + 2];
};

Journal* journal() { return arena::root_if_made<Journal>(kRootSemaphoreJournal); }

void finish(Journal& journal) {
    asm volatile("" ::: "memory");
    for (u64 index = 0; index < journal.count; ++index) *journal.entries[index].word = journal.entries[index].value;
    asm volatile("" ::: "memory");
    journal.count = 0;
}

class Changes {
public:
    Changes() : journal_{*journal()} {}
    u64 read(const u64& word) const {
        for (u32 index = count_; index-- > 0;)
            if (journal_.entries[index].word == &word) return journal_.entries[index].value;
        return word;
    }
    void write(u64& word, u64 value) {
        for (u32 index = 0; index < count_; ++index)
            if (journal_.entries[index].word == &word) {
                journal_.entries[index].value = value;
                return;
            }
        journal_.entries[count_++] = {&word, value};
    }
    void commit() {
        asm volatile("" ::: "memory");
        journal_.count = count_;
        finish(journal_);
    }

private:
    Journal& journal_;
    u32 count_ = 0;
};

SemaphoreSleeper& sleeper_of(SysvWaiter& waiter) { return static_cast<SemaphoreSleeper&>(waiter); }

}  // namespace

Res<void> prepare_journal() {
    TRY(arena::root<Journal>(kRootSemaphoreJournal));
    return {};
}

SemaphoreGuard::SemaphoreGuard(SysvTable& table) : table_{table} {
    table_.lock.lock();
    Journal* pending = journal();
    if (pending != nullptr && pending->count != 0) [[unlikely]]
        finish(*pending);
}

Res<void> perform(SemaphoreSet& set, const sembuf* operations, u32 count, u32 pid, SemaphoreUndo* undo, u32& blocking,
                  bool& would_wait) {
    Changes changes;
    for (u32 index = 0; index < count; ++index) {
        const sembuf& operation = operations[index];
        u64& word = set.semaphores[operation.sem_num].word;
        i32 value = static_cast<i32>(static_cast<u32>(changes.read(word)));
        i32 result = value + operation.sem_op;
        if ((operation.sem_op == 0 && value != 0) || result < 0) {
            blocking = index;
            would_wait = (operation.sem_flg & IPC_NOWAIT) == 0;
            return Failure{Errno::again};
        }
        if (result > kSemaphoreMost) return Failure{Errno::range};
        if ((operation.sem_flg & SEM_UNDO) != 0 && undo != nullptr) {
            auto& adjust = reinterpret_cast<u64&>(undo->adjust[operation.sem_num]);
            i64 after = static_cast<i64>(changes.read(adjust)) - operation.sem_op;
            if (after < -kSemaphoreMost - 1 || after > kSemaphoreMost) return Failure{Errno::range};
            changes.write(adjust, static_cast<u64>(after));
        }
        changes.write(word, SemaphoreSet::Semaphore::make(result, pid));
    }
    changes.write(set.operated, static_cast<u64>(sysv_seconds()));
    changes.commit();
    return {};
}

void serve_sleepers(SysvTable& table, SemaphoreSet& set) {
    SysvWaiter* waiter = set.sleepers.front();
    while (waiter != nullptr) {
        SemaphoreSleeper& sleeper = sleeper_of(*waiter);
        bool would_wait = true;
        auto done =
            perform(set, sleeper.operations, sleeper.count, sleeper.pid, sleeper.undo, sleeper.blocking, would_wait);
        if (!done.ok() && done.error() == Errno::again && would_wait) {
            waiter = set.sleepers.next(*waiter);
            continue;
        }
        SysvWaiter* next = set.sleepers.next(*waiter);
        bool changed = done.ok() && sleeper.alters != 0;
        sysv_decide(table, *waiter, done.ok() ? Errno::ok : done.error());
        waiter = changed ? set.sleepers.front() : next;
    }
}

void set_value(SemaphoreSet& set, u32 index, i32 value, u32 pid) {
    for (SemaphoreUndo* undo = set.undos.front(); undo != nullptr; undo = set.undos.next(*undo))
        undo->adjust[index] = 0;
    set.semaphores[index].word = SemaphoreSet::Semaphore::make(value, pid);
}

void destroy_set(SysvTable& table, SemaphoreSet& set) {
    while (SysvWaiter* waiter = set.sleepers.front()) sysv_decide(table, *waiter, Errno::idrm);
    while (SemaphoreUndo* undo = set.undos.front()) {
        undoable_unlink(table.lock, undo->link);
        undo_commit(table.lock);
        arena::release(undo, SemaphoreUndo::bytes(undo->count));
    }
    arena::release(&set, SemaphoreSet::bytes(set.count));
}

void semaphores_process_ended(Process& process) {
    SysvTable* table = sysv_table_if_made(SysvKind::semaphores);
    if (table == nullptr) return;
    SemaphoreGuard guard{*table};
    // What its threads slept for, when it was killed.
    for (SysvWaiter* waiter = table->waiters.front(); waiter != nullptr;) {
        SysvWaiter* next = table->waiters.next(*waiter);
        if (waiter->process == &process) {
            sysv_leave_waiter(*table, *waiter);
            undo_commit(table->lock);
            arena::release(&sleeper_of(*waiter), SemaphoreSleeper::bytes(sleeper_of(*waiter).count));
        }
        waiter = next;
    }
    for (i32 index = 0; index <= table->highest(); ++index) {
        auto* set = static_cast<SemaphoreSet*>(table->at(static_cast<u32>(index)));
        if (set == nullptr) continue;
        SemaphoreUndo* undo = set->undos.front();
        while (undo != nullptr && undo->process != &process) undo = set->undos.next(*undo);
        if (undo == nullptr) continue;
        for (u32 number = 0; number < set->count; ++number) {
            if (undo->adjust[number] == 0) continue;
            i64 value = set->semaphores[number].value() + undo->adjust[number];
            if (value < 0) value = 0;
            if (value > kSemaphoreMost) value = kSemaphoreMost;
            Changes changes;
            changes.write(set->semaphores[number].word,
                          SemaphoreSet::Semaphore::make(static_cast<i32>(value), process.pid));
            changes.write(reinterpret_cast<u64&>(undo->adjust[number]), 0);
            changes.commit();
        }
        undoable_unlink(table->lock, undo->link);
        undo_commit(table->lock);
        arena::release(undo, SemaphoreUndo::bytes(undo->count));
        set->operated = static_cast<u64>(sysv_seconds());
        serve_sleepers(*table, *set);
    }
}

Res<void> semaphores_text(Thread&, ProcText& text) {
    text.add("       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n");
    SysvTable* table = sysv_table_if_made(SysvKind::semaphores);
    if (table == nullptr) return {};
    SemaphoreGuard guard{*table};
    for (i32 index = 0; index <= table->highest(); ++index) {
        auto* set = static_cast<SemaphoreSet*>(table->at(static_cast<u32>(index)));
        if (set == nullptr) continue;
        TextBuffer<16> mode;
        mode.add(Octal{set->mode, 0});
        text.add(Padded{set->key, 10}, ' ', Padded{set->id, 10}, ' ');
        for (usize blank = mode.view().size(); blank < 5; ++blank) text.add(' ');
        text.add(mode.view(), ' ', Padded{set->count, 10}, ' ', Padded{set->uid, 5}, ' ', Padded{set->gid, 5}, ' ',
                 Padded{set->creator_uid, 5}, ' ', Padded{set->creator_gid, 5}, ' ',
                 Padded{static_cast<i64>(set->operated), 10}, ' ', Padded{set->changed, 10}, '\n');
    }
    return {};
}

}  // namespace postern::libos
