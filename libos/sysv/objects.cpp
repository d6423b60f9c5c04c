// SPDX-License-Identifier: Apache-2.0
#include "libos/sysv/objects.hpp"

#include "base/memory.hpp"
#include "libos/fs/inode.hpp"
#include "libos/shared/roots.hpp"
#include "libos/signal/delivery.hpp"
#include "libos/time/timers.hpp"

namespace postern::libos {

namespace {

constexpr u32 kIndexBits = 15;
constexpr u32 kSequences = 0x7fff'ffff >> kIndexBits;
constexpr u32 kCapabilityOwner = 15, kCapabilityAdmin = 21;

struct Tables {
    SysvTable* of[3] = {};
};

u32 bucket_of(i32 key) { return (static_cast<u32>(key) * 2654435761u) >> 24; }

bool in_group(const Credentials& credentials, u32 gid) {
    if (credentials.fsgid == gid) return true;
    for (u32 index = 0; index < credentials.group_count; ++index)
        if (credentials.groups[index] == gid) return true;
    return false;
}

}  // namespace

Res<SysvTable*> make_sysv_table() {
    SysvTable* table = TRY(arena::create<SysvTable>());
    // Sparse: what no number reaches costs no memory.
    auto slots = arena::allocate_pages(SysvTable::kMost * sizeof(SysvObject*) / kPageSize);
    if (!slots.ok()) {
        arena::destroy(table);
        return Failure{slots.error()};
    }
    table->slots_ = static_cast<SysvObject**>(slots.value());
    return table;
}

SysvTable* sysv_table_if_made(SysvKind kind) {
    Tables* tables = arena::root_if_made<Tables>(kRootSysv);
    return tables != nullptr ? __atomic_load_n(&tables->of[static_cast<u32>(kind)], __ATOMIC_ACQUIRE) : nullptr;
}

Res<SysvTable*> sysv_table(SysvKind kind) {
    if (SysvTable* table = sysv_table_if_made(kind); table != nullptr) return table;
    Tables* tables = TRY(arena::root<Tables>(kRootSysv));
    SysvTable*& place = tables->of[static_cast<u32>(kind)];
    SysvTable* fresh = TRY(make_sysv_table());
    SysvTable* there = nullptr;
    if (__atomic_compare_exchange_n(&place, &there, fresh, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) return fresh;
    return there;  // two made it at once: the other one's counts, this one's pages are a few at most
}

SysvObject* SysvTable::find_key(i32 key) {
    for (SysvObject* object = buckets_[bucket_of(key)]; object != nullptr; object = object->next_in_bucket)
        if (object->key == key) return object;
    return nullptr;
}

Res<SysvObject*> SysvTable::find(i32 id) {
    if (id < 0) return Failure{Errno::inval};
    SysvObject* object = at(static_cast<u32>(id) & (kMost - 1));
    if (object == nullptr) return Failure{Errno::inval};
    if (object->id != id) return Failure{Errno::idrm};
    return object;
}

i32 SysvTable::highest() const {
    i32 index = static_cast<i32>(high_) - 1;
    while (index >= 0 && slots_[index] == nullptr) --index;
    return index;
}

Res<void> SysvTable::enter(SysvObject& object, u32 limit, i64 wanted) {
    if (count_ >= (limit < kMost ? limit : kMost)) return Failure{Errno::nospc};
    u64 index = lowest_free_;
    u64 sequence = sequence_;
    if (wanted >= 0) {
        index = static_cast<u64>(wanted) & (kMost - 1);
        sequence = static_cast<u64>(wanted) >> kIndexBits;
    }
    while (index < high_ && slots_[index] != nullptr) ++index;
    if (index >= kMost) return Failure{Errno::nospc};
    if (wanted < 0) {
        if (static_cast<i64>(index) <= last_index_) sequence = sequence_ + 1 >= kSequences ? 0 : sequence_ + 1;
        set_undoable(lock, sequence_, sequence);
        last_index_ = static_cast<i64>(index);
        set_undoable(lock, lowest_free_, index + 1);
    }
    object.id = static_cast<i32>(sequence << kIndexBits | index);
    set_undoable(lock, slots_[index], &object);
    if (index >= high_) set_undoable(lock, high_, index + 1);
    if (object.key != 0) {
        SysvObject*& bucket = buckets_[bucket_of(object.key)];
        object.next_in_bucket = bucket;
        set_undoable(lock, bucket, &object);
    }
    set_undoable(lock, count_, count_ + 1);
    return {};
}

void SysvTable::forget_key(SysvObject& object) {
    if (object.key == 0) return;
    SysvObject** at = &buckets_[bucket_of(object.key)];
    while (*at != nullptr && *at != &object) at = &(*at)->next_in_bucket;
    if (*at != nullptr) set_undoable(lock, *at, object.next_in_bucket);
    object.key = 0;
}

void SysvTable::leave(SysvObject& object) {
    u64 index = static_cast<u32>(object.id) & (kMost - 1);
    forget_key(object);
    set_undoable(lock, slots_[index], static_cast<SysvObject*>(nullptr));
    set_undoable(lock, count_, count_ - 1);
    if (index < lowest_free_) set_undoable(lock, lowest_free_, index);
    if (index + 1 == high_) set_undoable(lock, high_, static_cast<u64>(highest() + 1));
}

bool sysv_capable(Thread& thread, u32 capability) { return has_capability(thread, capability); }

Res<void> sysv_permission(Thread& thread, const SysvObject& object, u32 wanted) {
    const Credentials& credentials = thread.process->credentials;
    u32 requested = wanted >> 6 | wanted >> 3 | wanted;
    u32 granted = object.mode;
    if (credentials.euid == object.creator_uid || credentials.euid == object.uid)
        granted >>= 6;
    else if (in_group(credentials, object.creator_gid) || in_group(credentials, object.gid))
        granted >>= 3;
    if ((requested & ~granted & 7) != 0 && !has_capability(thread, kCapabilityOwner)) return Failure{Errno::acces};
    return {};
}

Res<void> sysv_owner(Thread& thread, const SysvObject& object) {
    u32 user = thread.process->credentials.euid;
    if (user == object.creator_uid || user == object.uid || has_capability(thread, kCapabilityAdmin)) return {};
    return Failure{Errno::perm};
}

Res<void> sysv_set(SysvObject& object, const ipc64_perm& wanted) {
    if (wanted.uid == ~0u || wanted.gid == ~0u) return Failure{Errno::inval};
    object.uid = wanted.uid;
    object.gid = wanted.gid;
    object.mode = (object.mode & ~0777u) | (wanted.mode & 0777u);
    return {};
}

void sysv_fill(ipc64_perm& to, const SysvObject& object) {
    memset(&to, 0, sizeof to);
    to.key = object.key;
    to.uid = object.uid;
    to.gid = object.gid;
    to.cuid = object.creator_uid;
    to.cgid = object.creator_gid;
    to.mode = object.mode;
    to.seq = static_cast<u16>(object.id >> kIndexBits);
}

void sysv_adopt(Thread& thread, SysvObject& object, i32 key, u32 mode) {
    const Credentials& credentials = thread.process->credentials;
    object.key = key;
    object.mode = mode & 0777;
    object.uid = object.creator_uid = credentials.euid;
    object.gid = object.creator_gid = credentials.egid;
    object.changed = sysv_seconds();
}

i64 sysv_seconds() { return static_cast<i64>(realtime_now() / 1'000'000'000); }

Res<SysvObject*> sysv_get(Thread& thread, SysvTable& table, i32 key, u32 flags) {
    SysvObject* const none = nullptr;
    if (key == IPC_PRIVATE) return none;
    SysvObject* object = table.find_key(key);
    if (object == nullptr) {
        if ((flags & IPC_CREAT) == 0) return Failure{Errno::noent};
        return none;
    }
    if ((flags & IPC_CREAT) != 0 && (flags & IPC_EXCL) != 0) return Failure{Errno::exist};
    (void)thread;  // permissions come after the kind's own checks
    return object;
}

void sysv_enter_waiter(SysvTable& table, Thread& thread, SysvWaiter& waiter) {
    waiter.thread = &thread;
    waiter.process = thread.process;
    thread.process->uses |= kUsesWaits;
    undoable_push_back(table.lock, table.waiters, waiter);
}

void sysv_leave_waiter(SysvTable& table, SysvWaiter& waiter) {
    undoable_unlink(table.lock, waiter.link);
    undoable_unlink(table.lock, waiter.in_table);
}

void sysv_decide(SysvTable& table, SysvWaiter& waiter, Errno error) {
    undoable_unlink(table.lock, waiter.link);
    __atomic_store_n(&waiter.status, -static_cast<i32>(error), __ATOMIC_SEQ_CST);
    undo_commit(table.lock);
    wake_thread(*waiter.thread);
}

Res<void> sysv_sleep(Thread& thread, Blocker& blocker, SysvWaiter& waiter, gate::Deadline deadline) {
    (void)thread;
    for (;;) {
        blocker.prepare();
        if (__atomic_load_n(&waiter.status, __ATOMIC_SEQ_CST) != SysvWaiter::kPending) return {};
        auto waited = blocker.wait(deadline);
        if (!waited.ok()) return waited;
    }
}

void sysv_process_ended(Process& process, bool killed) {
    u32 uses = process.uses;
    if (uses == 0) return;
    if ((uses & (kUsesUndo | kUsesWaits)) != 0) semaphores_process_ended(process);
    if (killed && (uses & kUsesWaits) != 0) queues_process_killed(process);
    if (killed && (uses & kUsesSegments) != 0) segments_process_killed(process);
}

}  // namespace postern::libos
