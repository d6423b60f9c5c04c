// SPDX-License-Identifier: Apache-2.0
// System V IPC (sysvipc(7)): what segments, semaphore sets and message queues have in common: keys, numbers, owners,
// and the tables that hold them. All of it is the family's own and lives in the arena.
//
// One lock per kind guards the table and everything in its objects. It is taken below address-space locks and the table
// of processes, and above locks of queues and of the arena. Nothing sleeps with it held.
#pragma once

#include <linux/msg.h>
#include <linux/sem.h>
#include <linux/shm.h>

#include "base/list.hpp"
#include "libos/process/process.hpp"
#include "libos/shared/arena.hpp"

namespace postern::libos {

class ProcText;

struct SysvObject {
    SysvObject* next_in_bucket = nullptr;  ///< of the same hash of keys; objects with IPC_PRIVATE are in none
    i32 key = 0;
    i32 id = 0;
    u32 mode = 0;
    u32 uid = 0, gid = 0, creator_uid = 0, creator_gid = 0;
    i64 changed = 0;  ///< ctime, seconds
};

/// A thread that sleeps in semop, msgsnd or msgrcv. In the arena; made and freed by that thread, or by its burial.
struct SysvWaiter {
    ListLink link;      ///< in the object's queue while it waits
    ListLink in_table;  ///< in the table's list for as long as it exists
    Thread* thread = nullptr;
    Process* process = nullptr;
    volatile i32 status = kPending;
    static constexpr i32 kPending = 1;  ///< else 0 or a negated Errno: decided by whoever took it off the queue
};

/// Objects of one kind by number and key. Numbers carry a sequence, so that a stale one is noticed (EIDRM).
class SysvTable {
public:
    static constexpr u32 kMost = 32768, kBuckets = 256;
    SharedLock lock;

    /// Lock held, all of these.
    SysvObject* find_key(i32 key);
    /// Errno::inval: no such number; Errno::idrm: it named an object that is gone.
    Res<SysvObject*> find(i32 id);
    SysvObject* at(u32 index) const { return index < high_ ? slots_[index] : nullptr; }
    u32 count() const { return static_cast<u32>(count_); }
    i32 highest() const;  ///< index in use, -1: none
    /// Gives `object` a number. `limit`: of objects; `wanted`: a number asked for by *_next_id, -1: none. Errno::nospc.
    Res<void> enter(SysvObject& object, u32 limit, i64 wanted);
    void leave(SysvObject& object);
    void forget_key(SysvObject& object);  ///< the key is free again, the number is not

    List<SysvWaiter, &SysvWaiter::in_table> waiters;
    u64 total = 0;  ///< what the kind counts against a limit: pages, semaphores, bytes of messages
    u64 items = 0;  ///< messages

private:
    friend Res<SysvTable*> make_sysv_table();
    SysvObject** slots_ = nullptr;
    SysvObject* buckets_[kBuckets] = {};
    u64 high_ = 0, count_ = 0, sequence_ = 0, lowest_free_ = 0;
    i64 last_index_ = -1;
};

enum class SysvKind : u32 { segments, semaphores, queues };
/// The family's table of a kind, made by the first who asks. Errno::nomem.
Res<SysvTable*> sysv_table(SysvKind kind);
SysvTable* sysv_table_if_made(SysvKind kind);

/// ipcperms: may the thread do what the permission bits of `wanted` (in any class) ask for? Errno::acces.
Res<void> sysv_permission(Thread& thread, const SysvObject& object, u32 wanted);
/// Owner, creator or CAP_SYS_ADMIN. Errno::perm.
Res<void> sysv_owner(Thread& thread, const SysvObject& object);
/// IPC_SET: Errno::inval for numbers that are no user or group.
Res<void> sysv_set(SysvObject& object, const ipc64_perm& wanted);
void sysv_fill(ipc64_perm& to, const SysvObject& object);
void sysv_adopt(Thread& thread, SysvObject& object, i32 key, u32 mode);
bool sysv_capable(Thread& thread, u32 capability);
i64 sysv_seconds();

/// Common to *get(2): finds by key, or says that one has to be made (null). Errno::noent, exist, acces.
Res<SysvObject*> sysv_get(Thread& thread, SysvTable& table, i32 key, u32 flags);

/// Sleeps until `waiter` is decided; the table's lock is not held. Errno::timedout, Errno::restart_sys.
Res<void> sysv_sleep(Thread& thread, Blocker& blocker, SysvWaiter& waiter, gate::Deadline deadline);
/// Lock held: decides and wakes.
void sysv_decide(SysvTable& table, SysvWaiter& waiter, Errno error);
void sysv_enter_waiter(SysvTable& table, Thread& thread, SysvWaiter& waiter);
void sysv_leave_waiter(SysvTable& table, SysvWaiter& waiter);

// Called at the end of a process, by itself or by who buries it (`killed`: its mappings are not unmapped by itself).
void sysv_process_ended(Process& process, bool killed);
void semaphores_process_ended(Process& process);
void segments_process_killed(Process& process);
void queues_process_killed(Process& process);

// /proc/sysvipc.
Res<void> segments_text(Thread& thread, ProcText& text);
Res<void> semaphores_text(Thread& thread, ProcText& text);
Res<void> queues_text(Thread& thread, ProcText& text);

}  // namespace postern::libos
