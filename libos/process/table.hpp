// SPDX-License-Identifier: Apache-2.0
// The family's table of processes and threads, a root of the arena. Its lock is taken before any process's lock and
// guards: numbers, the tree of parents and children, states, process groups and sessions.
#pragma once

#include "libos/process/process.hpp"

namespace postern::libos {

inline constexpr u32 kOutside = 1;  ///< the number of what is no member: see create.cpp
inline constexpr u32 kNumberBuckets = 256;
inline constexpr u32 kFutexBuckets = 1024;

struct ProcessTable {
    SharedLock lock;
    u32 next_number = 2;
    u32 deaths_seen = 0;
    List<Process, &Process::in_table> processes;
    Thread* free_threads = nullptr;  ///< Threads are never unmapped nor become other objects: late wake-ups do no harm
    Process* first = nullptr;
    Process* process_buckets[kNumberBuckets] = {};
    Thread* thread_buckets[kNumberBuckets] = {};
};

ProcessTable& process_table();

enum WaitFlags : u32 { kStopUnreported = 1, kContinueUnreported = 2 };

// All below: the table lock is held unless it says otherwise.

Process* find_process_locked(u32 pid);
Thread* find_thread_locked(u32 tid);
/// A number that names no process, thread, group or session. 0: none left.
u32 allocate_number();
/// Takes no lock. Errno::nomem.
Res<Thread*> thread_create();
void thread_destroy(Thread& thread);  ///< must be in no list
void enter_thread(Thread& thread);    ///< into the number table
void leave_thread(Thread& thread);
void enter_process(Process& process, Process* parent);
/// Out of the table and the parent's children; frees the object. Nothing of it may be used afterwards.
void reap(Process& process);

/// A copy of what fork inherits, without descriptors, numbers and relations. Takes no lock.
Res<Process*> process_copy(Process& from);
void process_free(Process& process);  ///< of a process that was never entered

/// Tells the parent about a child's change of state, and wakes its waits. `code` is CLD_*.
void notify_parent(Process& child, i32 code, i32 status);
/// Its parent traces the process: stops are told as that of a tracee only.
bool traced_by_parent(const Process& child);
/// The last thread is gone (or the host killed the process): children find a new parent, the process becomes a zombie
/// or vanishes.
void become_zombie(Process& process, u32 status);

/// A group is orphaned when no member's parent could continue it: nobody would ever do so. `leaving` does not count.
bool group_is_orphaned(u32 group, const Process* leaving);
/// `member`'s group may have lost with `parent` whoever could continue it: stopped members are hung up and continued.
void hang_up_orphaned_group(Process& member, const Process* parent, const Process* leaving);
/// 0: there is no such group.
u32 session_of_group(u32 group);

/// Text in the arena shared by fork: command lines and environments. Null when memory is short.
char* text_create(std::string_view text);
char* text_share(char* text);
void text_release(char* text);

/// fork's other half. `process` is the new process's object and `thread` its only thread; called in the new
/// picoprocess before anything else.
void enter_forked_picoprocess(Process& process, Thread& thread);
/// Forks the picoprocess with all private locks held. In the child the locks are open and the registry is joined.
/// `with_program` false: the child is about to replace the program, and finds none of its memory.
Res<void> fork_picoprocess(Process& parent, Process& child, Thread& child_thread, bool with_program,
                           gate::ForkResult& result);
/// A child created by vfork on its parent's thread ends or has left: the parent's thread goes on. `pid` is what vfork
/// answers. Fills in `frame`; the caller resumes it.
void resume_vfork_parent(VforkReturn& back, u64 child_fs_base, gate::Frame& frame);

/// In a fresh picoprocess: nobody waits on this copy of the private futexes.
void futex_forget_waiters();
void wake_user_futex(u64 address, u32 count);  ///< as the kernel does for CLONE_CHILD_CLEARTID

struct VforkReturn {
    Thread* parent;
    gate::Frame frame;
    u32 pid;
};

/// May `caller` look into `target` as ptrace(2) would be allowed to?
bool may_look_into(const Process& caller, const Process& target);

constexpr u32 exit_code_status(u32 code) { return (code & 0xff) << 8; }
constexpr u32 kCoreFlag = 0x80;

}  // namespace postern::libos
