// SPDX-License-Identifier: Apache-2.0
// Threads of a process: threads of its picoprocess.
#include "base/memory.hpp"
#include "libos/memory/space.hpp"
#include "libos/process/calls.hpp"
#include "libos/process/clone.hpp"
#include "libos/process/seccomp.hpp"
#include "libos/process/table.hpp"
#include "libos/ptrace/tracing.hpp"
#include "libos/shared/arena.hpp"
#include "libos/shared/stacks.hpp"
#include "libos/signal/delivery.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

/// Handed to LibOsThreadStart; private heap.
struct ThreadStart {
    Thread* thread;
    gate::Frame frame;
    u64 tls;
    u64 child_tid;
    u64 flags;
};

}  // namespace

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
