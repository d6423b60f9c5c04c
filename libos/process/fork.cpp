// SPDX-License-Identifier: Apache-2.0
// The step from one picoprocess to two, on both sides of it; and back from a vfork's context to its parent.
#include "libos/fs/fd_table.hpp"
#include "libos/memory/space.hpp"
#include "libos/process/calls.hpp"
#include "libos/process/table.hpp"
#include "libos/shared/arena.hpp"
#include "libos/shared/stacks.hpp"
#include "libos/signal/delivery.hpp"
#include "libos/time/timers.hpp"

namespace postern::libos {

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

}  // namespace postern::libos
