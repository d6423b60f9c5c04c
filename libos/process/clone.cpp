// SPDX-License-Identifier: Apache-2.0
// Child processes: copied picoprocesses, and for vfork(2) contexts on the parent's own thread.
#include <linux/fcntl.h>

#include "base/memory.hpp"
#include "libos/fs/fd_table.hpp"
#include "libos/fs/path.hpp"
#include "libos/memory/space.hpp"
#include "libos/process/calls.hpp"
#include "libos/process/clone.hpp"
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

}  // namespace

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

}  // namespace postern::libos
