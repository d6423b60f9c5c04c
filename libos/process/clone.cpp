// SPDX-License-Identifier: Apache-2.0
// clone(2), clone3(2), fork(2) and vfork(2): threads, copied picoprocesses, and process contexts on the parent's own
// thread.
#include <linux/fcntl.h>

#include "base/memory.hpp"
#include "libos/fs/fd_table.hpp"
#include "libos/fs/path.hpp"
#include "libos/memory/space.hpp"
#include "libos/process/calls.hpp"
#include "libos/process/pidfd.hpp"
#include "libos/process/seccomp.hpp"
#include "libos/process/table.hpp"
#include "libos/ptrace/tracing.hpp"
#include "libos/shared/arena.hpp"
#include "libos/shared/stacks.hpp"
#include "libos/signal/delivery.hpp"
#include "libos/time/timers.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

enum CloneFlags : u64 {
    kCloneVm = 0x100,
    kCloneFs = 0x200,
    kCloneFiles = 0x400,
    kCloneSignalHandlers = 0x800,
    kClonePidfd = 0x1000,
    kCloneVfork = 0x4000,
    kCloneParent = 0x8000,
    kCloneThread = 0x10000,
    kCloneNewNs = 0x20000,
    kCloneSetTls = 0x80000,
    kCloneParentSetTid = 0x100000,
    kCloneChildClearTid = 0x200000,
    kCloneDetached = 0x400000,
    kCloneChildSetTid = 0x1000000,
    kCloneNewCgroup = 0x2000000,
    kCloneNewUts = 0x4000000,
    kCloneNewIpc = 0x8000000,
    kCloneNewUser = 0x10000000,
    kCloneNewPid = 0x20000000,
    kCloneNewNet = 0x40000000,
    kCloneClearSignalHandlers = 0x100000000ull,
    kCloneIntoCgroup = 0x200000000ull,
};
constexpr u64 kNamespaces = kCloneNewNs | kCloneNewCgroup | kCloneNewUts | kCloneNewIpc | kCloneNewUser | kCloneNewPid |
                            kCloneNewNet | 0x80 /* CLONE_NEWTIME, clone3 only */;

struct CloneArguments {
    u64 flags = 0;
    u64 stack = 0;  ///< the child's stack pointer, 0: the caller's
    u64 parent_tid = 0, child_tid = 0, tls = 0;
    u64 pidfd = 0;  ///< where CLONE_PIDFD stores the descriptor
    u32 exit_signal = 0;
};

Res<void> validate(const CloneArguments& arguments, const Process& process) {
    u64 flags = arguments.flags;
    if ((flags & kCloneFs) != 0 && (flags & (kCloneNewNs | kCloneNewUser)) != 0) return Failure{Errno::inval};
    if ((flags & kCloneThread) != 0 && (flags & kCloneSignalHandlers) == 0) return Failure{Errno::inval};
    if ((flags & kCloneSignalHandlers) != 0 && (flags & kCloneVm) == 0) return Failure{Errno::inval};
    if ((flags & kCloneThread) != 0 && (flags & (kCloneNewUser | kCloneNewPid)) != 0) return Failure{Errno::inval};
    if ((flags & kCloneClearSignalHandlers) != 0 && (flags & kCloneSignalHandlers) != 0) return Failure{Errno::inval};
    if ((flags & kCloneParent) != 0 && process.parent == nullptr) return Failure{Errno::inval};
    if ((flags & kCloneIntoCgroup) != 0) return Failure{Errno::inval};  // as kernels without it
    if ((flags & kClonePidfd) != 0 && (flags & (kCloneThread | kCloneDetached)) != 0) return Failure{Errno::inval};
    if ((flags & kNamespaces) != 0) return Failure{Errno::perm};
    if ((flags & kCloneThread) != 0) {
        // Descriptors and directories belong to the process here: threads that do not share them cannot be.
        if ((flags & (kCloneFs | kCloneFiles)) != (kCloneFs | kCloneFiles)) return Failure{Errno::nosys};
        if ((flags & kCloneVfork) != 0) return Failure{Errno::nosys};
    } else {
        if ((flags & kCloneVm) != 0 && (flags & kCloneVfork) == 0) return Failure{Errno::nosys};
        if ((flags & kCloneVm) == 0 && (flags & kCloneFiles) != 0) return Failure{Errno::nosys};
    }
    return {};
}

/// Handed to LibOsThreadStart; private heap.
struct ThreadStart {
    Thread* thread;
    gate::Frame frame;
    u64 tls;
    u64 child_tid;
    u64 flags;
};

void inherit_thread(Thread& child, const Thread& parent) {
    child.signals.mask = parent.signals.has_saved_mask != 0 ? parent.signals.saved_mask : parent.signals.mask;
    child.fs_base = parent.fs_base;
    if (parent.seccomp_mode != 0) seccomp_inherit(child, parent);
    child.affinity = parent.affinity;
    child.nice = parent.nice;
    child.scheduler = parent.scheduler;
    child.real_time_priority = parent.real_time_priority;
    child.io_priority = parent.io_priority;
    child.timer_slack = child.default_timer_slack = parent.timer_slack;
    if (parent.reset_on_fork != 0) {
        bool real_time = parent.scheduler == 1 || parent.scheduler == 2 || parent.scheduler == 6;
        if (real_time) child.scheduler = child.real_time_priority = 0;
        if (real_time || child.nice < 0) child.nice = 0;
    } else {
        memcpy(child.deadline, parent.deadline, sizeof child.deadline);
    }
    memcpy(child.name, parent.name, sizeof child.name);
}

Res<i64> clone_thread(Thread& thread, const CloneArguments& arguments) {
    Process& process = *thread.process;
    if (process.is_context != 0) return Failure{Errno::again};  // between vfork and exec: nowhere to run it
    Thread* child = TRY(thread_create());
    auto stack = stack_acquire();
    auto start = heap::create<ThreadStart>();
    if (!stack.ok() || !start.ok()) {
        if (stack.ok()) stack.value()->in_use = 0;
        if (start.ok()) heap::destroy(start.value());
        Guard guard{process_table_lock()};
        thread_destroy(*child);
        return Failure{Errno::again};
    }
    inherit_thread(*child, thread);
    child->process = &process;
    child->stack = stack.value();
    child->stack_low = stack.value()->low;
    child->stack_size = kLibOsStackSize;
    if ((arguments.flags & kCloneChildClearTid) != 0) child->clear_child_tid = arguments.child_tid;
    ThreadStart& begin = *start.value();
    begin.thread = child;
    begin.frame = *gate::thread_control()->frame;
    begin.frame.rax = 0;
    begin.frame.original_rax = gate::kNoSystemCall;
    if (arguments.stack != 0) begin.frame.rsp = arguments.stack;
    begin.flags = arguments.flags;
    begin.tls = arguments.tls;
    begin.child_tid = arguments.child_tid;

    bool entered = false;
    {
        Guard table_guard{process_table_lock()};
        Guard guard{process.lock};
        if (process.exiting == 0 && process.exec_pending == 0) child->tid = allocate_number();
        if (child->tid != 0) {
            enter_thread(*child);
            undoable_push_back(process.lock, process.threads, *child);
            process.thread_count += 1;
            entered = true;
        }
    }
    if (entered) trace_inherit(*child, thread, kEventClone);
    u32 tid = child->tid;
    Res<void> created = Failure{Errno::again};
    if (entered) {
        if ((arguments.flags & kCloneParentSetTid) != 0) (void)write_user(arguments.parent_tid, tid);
        gate::Handle handle = gate::kNoHandle;
        gate::ThreadToken token;
        // The new thread writes its own token before it looks for attention, so nobody misses it.
        created = check(g_gate->DkThreadCreate(stack.value()->low, kLibOsStackSize, reinterpret_cast<u64>(&begin),
                                               &handle, &token));
        if (created.ok() && handle != gate::kNoHandle) g_gate->DkObjectClose(handle);
    }
    if (!created.ok()) {
        Guard table_guard{process_table_lock()};
        if (entered) {
            Guard guard{process.lock};
            undoable_unlink(process.lock, child->in_process);
            process.thread_count -= 1;
            leave_thread(*child);
        }
        stack.value()->in_use = 0;
        heap::destroy(start.value());
        trace_dropped(*child);
        thread_destroy(*child);
        return Failure{Errno::again};
    }
    if (thread.tracing != nullptr) trace_event(thread, kEventClone, tid);
    return static_cast<i64>(tid);
}

void free_child(Process& child, Thread& thread) {
    // Its handles are the parent's: nothing is closed.
    if (child.files != nullptr) child.files->abandon();
    if (child.fs != nullptr) child.fs->release();
    if (child.timers != nullptr) destroy_timers(child.timers);
    Guard guard{process_table_lock()};
    thread_destroy(thread);
    process_free(child);
}

struct Prepared {
    Process* process;
    Thread* thread;
};

/// Everything a child process needs, not yet in the table.
Res<Prepared> prepare_child(Thread& thread, const CloneArguments& arguments) {
    Process& parent = *thread.process;
    Process* child = TRY(process_copy(parent));
    auto made = thread_create();
    if (!made.ok()) {
        process_free(*child);
        return Failure{made.error()};
    }
    Thread* child_thread = made.value();
    inherit_thread(*child_thread, thread);
    child_thread->process = child;
    // The alternate stack is inherited with the memory it lies in, except that vfork's child shares that memory too.
    child_thread->signals.alt_flags = thread.signals.alt_flags;
    child_thread->signals.alt_stack = thread.signals.alt_stack;
    child_thread->signals.alt_size = thread.signals.alt_size;
    child_thread->stack = thread.stack;
    child_thread->stack_low = thread.stack_low;
    child_thread->stack_size = thread.stack_size;
    if ((arguments.flags & kCloneChildClearTid) != 0) child_thread->clear_child_tid = arguments.child_tid;
    child->exit_signal = arguments.exit_signal;
    if ((arguments.flags & kCloneClearSignalHandlers) != 0) {
        for (SignalAction& action : child->signals.actions)
            if (action.handler != 1) action = {};
    }
    Res<void> made_all = [&]() -> Res<void> {
        if ((arguments.flags & kCloneFiles) != 0) {
            parent.files->reference();
            child->files = parent.files;
        } else {
            child->files = TRY(parent.files->clone());
        }
        if ((arguments.flags & kCloneFs) != 0) {
            parent.fs->reference();
            child->fs = parent.fs;
        } else {
            child->fs = TRY(parent.fs->clone());
        }
        child->timers = TRY(create_timers());
        return {};
    }();
    if (!made_all.ok()) {
        free_child(*child, *child_thread);
        return Failure{made_all.error()};
    }
    return Prepared{child, child_thread};
}

/// Into the table, with a number. Errno::again when there is none.
Res<void> enter_child(Thread& thread, Prepared& prepared, const CloneArguments& arguments) {
    Process& parent = *thread.process;
    Process& child = *prepared.process;
    child.start_time = monotonic_now();
    Guard guard{process_table_lock()};
    u32 number = allocate_number();
    if (number == 0) return Failure{Errno::again};
    child.pid = number;
    child.pgid = parent.pgid;
    child.sid = parent.sid;
    prepared.thread->tid = number;
    child.threads.push_back(*prepared.thread);
    child.thread_count = 1;
    Process* owner = &parent;
    if ((arguments.flags & kCloneParent) != 0) {
        owner = parent.parent;
        child.exit_signal = parent.exit_signal;
    }
    enter_process(child, owner);
    enter_thread(*prepared.thread);
    return {};
}

void leave_table(Prepared& prepared) {
    ProcessTable& table = process_table();
    Guard guard{table.lock};
    Process& child = *prepared.process;
    trace_dropped(*prepared.thread);
    leave_thread(*prepared.thread);
    Process** at = &table.process_buckets[child.pid % kNumberBuckets];
    while (*at != nullptr && *at != &child) at = &(*at)->next_in_bucket;
    if (*at != nullptr) *at = child.next_in_bucket;
    undoable_unlink(table.lock, child.in_parent);
    undoable_unlink(table.lock, child.in_table);
    prepared.thread->in_process.unlink();
}

/// CLONE_PIDFD: the parent's descriptor of the child, which is in the table. -1: not wanted.
Res<i32> give_pidfd(Thread& thread, Process& child, const CloneArguments& arguments) {
    if ((arguments.flags & kClonePidfd) == 0) return -1;
    FileRef file;
    {
        Guard guard{process_table_lock()};
        file = TRY(make_pid_file(child, O_RDWR));
    }
    u32 fd = TRY(thread.process->files->install(std::move(file), true));
    auto written = write_user(arguments.pidfd, static_cast<i32>(fd));
    if (!written.ok()) {
        (void)thread.process->files->close(fd);
        return Failure{written.error()};
    }
    return static_cast<i32>(fd);
}

/// What the child's side of a fork or vfork does with its registers and memory before it runs.
void begin_child(Thread& child, const CloneArguments& arguments, gate::Frame& frame) {
    if (arguments.stack != 0) frame.rsp = arguments.stack;
    if ((arguments.flags & kCloneChildSetTid) != 0) (void)write_user(arguments.child_tid, child.tid);
    if ((arguments.flags & kCloneSetTls) != 0) {
        child.fs_base = arguments.tls;
        g_gate->DkSegmentBaseSet(0, arguments.tls);
    }
}

/// vfork: the child is a context on this thread, which runs it until exec or exit brings the parent back.
Res<i64> clone_context(Thread& thread, Prepared& prepared, const CloneArguments& arguments) {
    auto made = heap::create<VforkReturn>();
    if (!made.ok()) {
        free_child(*prepared.process, *prepared.thread);
        return Failure{Errno::again};
    }
    gate::ThreadControl* control = gate::thread_control();
    Process& child = *prepared.process;
    Thread& child_thread = *prepared.thread;
    child.is_context = 1;
    child.carrier_id = thread.process->carrier_id;
    child_thread.control = control;
    child_thread.host_id = thread.host_id;
    child_thread.token = thread.token;
    VforkReturn& back = *made.value();
    back.parent = &thread;
    back.frame = *control->frame;
    child_thread.vfork_return = &back;
    child_thread.vfork_parent = thread.process;
    Res<void> entered = enter_child(thread, prepared, arguments);
    if (!entered.ok()) {
        heap::destroy(&back);
        free_child(child, child_thread);
        return Failure{entered.error()};
    }
    auto given = give_pidfd(thread, child, arguments);
    if (!given.ok()) {
        leave_table(prepared);
        heap::destroy(&back);
        free_child(child, child_thread);
        return Failure{given.error()};
    }
    back.pid = child.pid;
    if ((arguments.flags & kCloneParentSetTid) != 0) (void)write_user(arguments.parent_tid, child.pid);
    child.state = ProcessState::running;
    control->context = &child_thread;
    begin_child(child_thread, arguments, *control->frame);
    return 0;
}

Res<i64> clone_process(Thread& thread, const CloneArguments& arguments) {
    Prepared prepared = TRY(prepare_child(thread, arguments));
    // A context could not be stopped apart from its parent: a traced vfork is a fork that waits.
    const bool vfork = (arguments.flags & kCloneVfork) != 0;
    if ((arguments.flags & kCloneVm) != 0 && thread.tracing == nullptr)
        return clone_context(thread, prepared, arguments);
    Process& child = *prepared.process;
    child.vfork_pending = (arguments.flags & kCloneVfork) != 0 ? 1 : 0;
    Res<void> entered = enter_child(thread, prepared, arguments);
    if (!entered.ok()) {
        free_child(child, *prepared.thread);
        return Failure{entered.error()};
    }
    u32 pid = child.pid;
    const TraceEvent event = vfork ? kEventVfork : arguments.exit_signal != kSigChld ? kEventClone : kEventFork;
    trace_inherit(*prepared.thread, thread, event);
    auto given = give_pidfd(thread, child, arguments);
    if (!given.ok()) {
        leave_table(prepared);
        free_child(child, *prepared.thread);
        return Failure{given.error()};
    }
    if ((arguments.flags & kCloneParentSetTid) != 0) (void)write_user(arguments.parent_tid, pid);
    gate::ForkResult result;
    Res<void> forked = fork_picoprocess(*thread.process, child, *prepared.thread, true, result);
    if (!forked.ok()) {
        if (given.value() >= 0) (void)thread.process->files->close(static_cast<u32>(given.value()));
        leave_table(prepared);
        free_child(child, *prepared.thread);
        if (forked.error() == Errno::restart_sys) return Failure{Errno::restart_no_intr};
        return Failure{forked.error() == Errno::nomem ? Errno::nomem : Errno::again};
    }
    if (result.is_child != 0) {
        begin_child(*prepared.thread, arguments, *gate::thread_control()->frame);
        return 0;
    }
    if (thread.tracing != nullptr) trace_event(thread, event, pid);
    if (vfork) {
        // Uninterruptible as in Linux but for the end of this process. The child may be reaped by another thread
        // meanwhile, so it is looked up anew each time.
        for (;;) {
            {
                Guard guard{process_table_lock()};
                Process* now = find_process_locked(pid);
                if (now != &child || child.vfork_pending == 0) break;
            }
            if ((thread.attention & kAttentionExit) != 0) break;
            collect_deaths();
            u64 left = 1'000'000;
            g_gate->DkThreadDelayExecution(&left);
            if (left != 0) take_interrupts();
        }
        if (thread.tracing != nullptr) trace_event(thread, kEventVforkDone, pid);
    }
    return static_cast<i64>(pid);
}

/// RLIMIT_NPROC: processes and threads of the user, where it is less than what the family may have.
bool exceeds_process_limit(const Process& process) {
    constexpr u32 kLimitProcesses = 6, kCapabilityAdmin = 21, kCapabilityResource = 24;
    const u64 limit = process.limits[kLimitProcesses][0];
    if (limit >= g_parameters->process_limit) [[likely]]
        return false;
    const Credentials& credentials = process.credentials;
    constexpr u64 kExempt = 1ull << kCapabilityAdmin | 1ull << kCapabilityResource;
    if (credentials.uid == 0 || (credentials.capabilities_effective & kExempt) != 0) return false;
    u64 count = 0;
    Guard guard{process_table_lock()};
    ProcessTable& table = process_table();
    for (Process* other = table.processes.front(); other != nullptr; other = table.processes.next(*other))
        if (other->pid != kOutside && other->credentials.uid == credentials.uid)
            count += other->thread_count > 1 ? other->thread_count : 1;
    return count >= limit;
}

Res<i64> do_clone(Thread& thread, const CloneArguments& arguments) {
    TRY(validate(arguments, *thread.process));
    if (exceeds_process_limit(*thread.process)) return Failure{Errno::again};
    if ((arguments.flags & kCloneThread) != 0) return clone_thread(thread, arguments);
    return clone_process(thread, arguments);
}

}  // namespace

namespace {

/// Is the calling thread the only one of its picoprocess? Then nobody else can hold a private lock, and leaving these
/// alone saves both sides the copies of the pages they lie in.
bool alone_in_picoprocess() {
    for (Thread* thread = &current_thread(); thread != nullptr;
         thread = thread->vfork_return != nullptr ? thread->vfork_return->parent : nullptr)
        if (thread->process->thread_count != 1) return false;
    return true;
}

/// In a fresh picoprocess. False: the forking one was killed by the host before it knew, and the child was buried with
/// it as one that had never been born.
bool claim(Process& child, u32 pid) {
    if (*const_cast<volatile u32*>(&child.pid) != pid) return false;
    ProcessState state = ProcessState::starting;
    return change_state(child, state, ProcessState::running) || state == ProcessState::running ||
           state == ProcessState::stopped;
}

}  // namespace

Res<void> fork_picoprocess(Process& parent, Process& child, Thread& child_thread, bool with_program,
                           gate::ForkResult& result) {
    Space& space = *parent.space;
    u32 pid = child.pid;
    const bool alone = alone_in_picoprocess();
    if (!alone) space.lock().lock();
    space.forked(child);
    if (!alone) locks_before_fork();
    result.flags = with_program ? 0 : u32{gate::kForkBare};
    child.forker_id = parent.carrier_id;
    gate::Err error = g_gate->DkProcessFork(&result);
    if (error == gate::Err::ok && result.is_child != 0) {
        if (!claim(child, pid)) {
            constexpr u32 kKilled = 128 + kSigKill;
            g_gate->DkProcessExit(kKilled);
            __builtin_unreachable();
        }
        if (!alone) {
            locks_after_fork_child();
            space.lock().reset_after_fork();
            futex_forget_waiters();
        }
        space.forget_locks();
        enter_forked_picoprocess(child, child_thread);
        return {};
    }
    if (!alone) locks_after_fork_parent();
    if (error != gate::Err::ok) space.fork_failed(child);
    if (!alone) space.lock().unlock();
    TRY(check(error));
    if (result.process != gate::kNoHandle) g_gate->DkObjectClose(result.process);
    Guard guard{process_table_lock()};
    // The child may have come and gone already; its object then names another process or none.
    if (find_process_locked(pid) == &child && child.state != ProcessState::zombie) {
        child.host_id = child.carrier_id = result.child_id;
        child_thread.token = result.child;
    }
    return {};
}

void enter_forked_picoprocess(Process& process, Thread& thread) {
    gate::ThreadControl* control = gate::thread_control();
    // Shared memory is not mapped in a fresh child. Reading first lets the kernel map the neighbourhood at once, which
    // it does not do for writes.
    (void)*reinterpret_cast<volatile u8*>(&process_table());
    (void)*reinterpret_cast<volatile u8*>(&process);
    (void)*reinterpret_cast<volatile u8*>(process.files);
    locks_join(control->host_id);
    stacks_after_fork(thread.stack);
    thread.control = control;
    thread.host_id = control->host_id;
    thread.token = control->token;
    control->context = &thread;
    process.is_context = 0;
    process.host_id = process.carrier_id = control->host_id;
    process.state = ProcessState::running;
    timers_forked(process);
}

void resume_vfork_parent(VforkReturn& back, u64 child_fs_base, gate::Frame& frame) {
    // Nothing of the child's objects is read: after a fork they are used by its own picoprocess already.
    Thread& parent = *back.parent;
    frame = back.frame;
    frame.rax = back.pid;
    frame.original_rax = gate::kNoSystemCall;
    gate::thread_control()->context = &parent;
    if (child_fs_base != parent.fs_base) g_gate->DkSegmentBaseSet(0, parent.fs_base);
    heap::destroy(&back);
}

Res<i64> sys_fork(Thread& thread, Arguments) {
    CloneArguments clone;
    clone.exit_signal = kSigChld;
    return do_clone(thread, clone);
}

Res<i64> sys_vfork(Thread& thread, Arguments) {
    CloneArguments clone;
    clone.flags = kCloneVfork | kCloneVm;
    clone.exit_signal = kSigChld;
    return do_clone(thread, clone);
}

Res<i64> sys_clone(Thread& thread, Arguments arguments) {
    CloneArguments clone;
    clone.flags = arguments[0] & 0xffffff00u;
    clone.exit_signal = arguments[0] & 0xff;
    clone.stack = arguments[1];
    clone.parent_tid = arguments[2];
    clone.child_tid = arguments[3];
    clone.tls = arguments[4];
    if ((clone.flags & kClonePidfd) != 0) {
        if ((clone.flags & kCloneParentSetTid) != 0) return Failure{Errno::inval};  // both want the same word
        clone.pidfd = clone.parent_tid;
    }
    // Before clone3 this bit meant nothing here and CLONE_NEWTIME has no place among the flags.
    return do_clone(thread, clone);
}

Res<i64> sys_clone3(Thread& thread, Arguments arguments) {
    struct {
        u64 flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
    } wanted = {};
    u64 size = arguments[1];
    if (size > kPageSize) return Failure{Errno::toobig};
    if (size < 64) return Failure{Errno::inval};
    u64 known = size < sizeof wanted ? size : sizeof wanted;
    TRY(copy_in(&wanted, arguments[0], known));
    for (u64 at = known; at < size; ++at) {
        u8 byte = TRY(read_user<u8>(arguments[0] + at));
        if (byte != 0) return Failure{Errno::toobig};
    }
    if ((wanted.flags & (kCloneDetached | 0x7f)) != 0) return Failure{Errno::inval};
    if ((wanted.flags & ~0x3ffffff80ull) != 0 || wanted.exit_signal > kSignalCount) return Failure{Errno::inval};
    if ((wanted.flags & (kCloneThread | kCloneParent)) != 0 && wanted.exit_signal != 0) return Failure{Errno::inval};
    if ((wanted.stack == 0) != (wanted.stack_size == 0)) return Failure{Errno::inval};
    if (wanted.set_tid_size > 32 || (wanted.set_tid == 0) != (wanted.set_tid_size == 0)) return Failure{Errno::inval};
    if (wanted.set_tid_size != 0) return Failure{Errno::perm};
    CloneArguments clone;
    clone.flags = wanted.flags;
    clone.exit_signal = static_cast<u32>(wanted.exit_signal);
    clone.stack = wanted.stack + wanted.stack_size;
    clone.parent_tid = wanted.parent_tid;
    clone.child_tid = wanted.child_tid;
    clone.tls = wanted.tls;
    clone.pidfd = wanted.pidfd;
    if ((clone.flags & kClonePidfd) != 0 && (clone.flags & kCloneParentSetTid) != 0 && clone.pidfd == clone.parent_tid)
        return Failure{Errno::inval};
    return do_clone(thread, clone);
}

Res<i64> sys_unshare(Thread& thread, Arguments arguments) {
    u64 flags = arguments[0];
    constexpr u64 kKnown =
        kCloneVm | kCloneFs | kCloneFiles | kCloneSignalHandlers | kCloneThread | 0x40000 | kNamespaces;
    if ((flags & ~kKnown) != 0) return Failure{Errno::inval};
    if ((flags & kNamespaces) != 0) return Failure{Errno::perm};
    // Processes share nothing of these with each other; threads of one process always share them all.
    if (thread.process->thread_count > 1) return Failure{Errno::inval};
    return 0;
}

}  // namespace postern::libos

extern "C" void postern::gate::LibOsThreadStart(postern::u64 parameter) {
    using namespace postern;
    using namespace postern::libos;
    auto start = reinterpret_cast<ThreadStart*>(parameter);
    Thread& thread = *start->thread;
    gate::ThreadControl* control = gate::thread_control();
    locks_join(thread.process->carrier_id);
    thread.control = control;
    thread.host_id = control->host_id;
    control->context = &thread;
    __atomic_store_n(&thread.token.value, control->token.value, __ATOMIC_SEQ_CST);
    gate::Frame frame = start->frame;
    if ((start->flags & kCloneSetTls) != 0) thread.fs_base = start->tls;
    g_gate->DkSegmentBaseSet(0, thread.fs_base);
    if ((start->flags & kCloneChildSetTid) != 0) (void)write_user(start->child_tid, thread.tid);
    heap::destroy(start);
    on_way_out(&frame);
    g_host->resume(&frame);
}
