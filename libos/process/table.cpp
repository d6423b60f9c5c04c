// SPDX-License-Identifier: Apache-2.0
// Numbers and relations of processes and threads. Chains and lists change by single stores or under undo, so that the
// table stays whole when a member dies while it changes it.
#include "libos/process/table.hpp"

#include "base/memory.hpp"
#include "libos/fs/fd_table.hpp"
#include "libos/fs/path.hpp"
#include "libos/proc/settings.hpp"
#include "libos/process/pidfd.hpp"
#include "libos/process/seccomp.hpp"
#include "libos/shared/arena.hpp"
#include "libos/shared/layout.hpp"
#include "libos/time/timers.hpp"
#include "libos/tty/session.hpp"

namespace postern::libos {

namespace {

struct TextHeader {
    u32 references;
    u32 size;
};

TextHeader* text_header(char* text) { return reinterpret_cast<TextHeader*>(text) - 1; }

bool group_or_session(u32 number) {
    ProcessTable& table = process_table();
    for (Process* process = table.processes.front(); process != nullptr; process = table.processes.next(*process))
        if (process->pgid == number || process->sid == number) return true;
    return false;
}

}  // namespace

ProcessTable& process_table() { return *static_cast<ProcessTable*>(arena::header().roots[kRootProcesses]); }
SharedLock& process_table_lock() { return process_table().lock; }

Process* find_process_locked(u32 pid) {
    Process* process = process_table().process_buckets[pid % kNumberBuckets];
    while (process != nullptr && process->pid != pid) process = process->next_in_bucket;
    return process;
}

Thread* find_thread_locked(u32 tid) {
    Thread* thread = process_table().thread_buckets[tid % kNumberBuckets];
    while (thread != nullptr && thread->tid != tid) thread = thread->next_in_bucket;
    return thread;
}

Process* find_process(u32 pid) { return find_process_locked(pid); }
Thread* find_thread(u32 tid) { return find_thread_locked(tid); }

void for_each_process(void (*visit)(Process&, void*), void* cookie) {
    ProcessTable& table = process_table();
    Guard guard{table.lock};
    for (Process* process = table.processes.front(); process != nullptr; process = table.processes.next(*process))
        visit(*process, cookie);
}

u32 allocate_number() {
    ProcessTable& table = process_table();
    const u32 limit = static_cast<u32>(settings().number_limit);
    for (u32 tries = 0; tries < limit; ++tries) {
        u32 number = table.next_number < limit ? table.next_number : 300;
        // After the first round start above the numbers that long-lived processes tend to have, as Linux does.
        table.next_number = number + 1 >= limit ? 300 : number + 1;
        if (find_process_locked(number) == nullptr && find_thread_locked(number) == nullptr &&
            !group_or_session(number))
            return number;
    }
    return 0;
}

Res<Thread*> thread_create() {
    ProcessTable& table = process_table();
    Thread* thread = nullptr;
    if (table.free_threads != nullptr) {
        Guard guard{table.lock};
        thread = table.free_threads;
        if (thread != nullptr) table.free_threads = thread->next_in_bucket;
    }
    if (thread != nullptr) return new (thread) Thread;
    return arena::create<Thread>();
}

void thread_destroy(Thread& thread) {
    seccomp_forget(thread);
    ProcessTable& table = process_table();
    thread.process = nullptr;
    thread.token = {};
    thread.next_in_bucket = table.free_threads;
    table.free_threads = &thread;
}

void enter_thread(Thread& thread) {
    Thread*& bucket = process_table().thread_buckets[thread.tid % kNumberBuckets];
    thread.next_in_bucket = bucket;
    bucket = &thread;
}

void leave_thread(Thread& thread) {
    Thread** at = &process_table().thread_buckets[thread.tid % kNumberBuckets];
    while (*at != nullptr && *at != &thread) at = &(*at)->next_in_bucket;
    if (*at != nullptr) *at = thread.next_in_bucket;
}

void enter_process(Process& process, Process* parent) {
    ProcessTable& table = process_table();
    Process*& bucket = table.process_buckets[process.pid % kNumberBuckets];
    process.next_in_bucket = bucket;
    process.parent = parent;
    undoable_push_back(table.lock, table.processes, process);
    if (parent != nullptr) undoable_push_back(table.lock, parent->children, process);
    set_undoable(table.lock, bucket, &process);
}

void reap(Process& process) {
    ProcessTable& table = process_table();
    Process** at = &table.process_buckets[process.pid % kNumberBuckets];
    while (*at != nullptr && *at != &process) at = &(*at)->next_in_bucket;
    if (*at != nullptr) set_undoable(table.lock, *at, process.next_in_bucket);
    undoable_unlink(table.lock, process.in_parent);
    undoable_unlink(table.lock, process.in_table);
    process.state = ProcessState::reaped;
    process_free(process);
}

char* text_create(std::string_view text) {
    auto memory = arena::allocate(sizeof(TextHeader) + text.size() + 1);
    if (!memory.ok()) return nullptr;
    auto header = static_cast<TextHeader*>(memory.value());
    header->references = 1;
    header->size = static_cast<u32>(text.size());
    auto body = reinterpret_cast<char*>(header + 1);
    memcpy(body, text.data(), text.size());
    body[text.size()] = 0;
    return body;
}

char* text_share(char* text) {
    if (text != nullptr) __atomic_add_fetch(&text_header(text)->references, 1, __ATOMIC_SEQ_CST);
    return text;
}

void text_release(char* text) {
    if (text == nullptr) return;
    TextHeader* header = text_header(text);
    if (__atomic_sub_fetch(&header->references, 1, __ATOMIC_SEQ_CST) == 0)
        arena::release(header, sizeof(TextHeader) + header->size + 1);
}

Res<Process*> process_copy(Process& from) {
    Process* process = TRY(arena::create<Process>());
    {
        Guard guard{from.lock};
        memcpy(process->signals.actions, from.signals.actions, sizeof from.signals.actions);
        process->credentials = from.credentials;
        memcpy(process->limits, from.limits, sizeof from.limits);
        process->command_line = text_share(from.command_line);
        process->command_line_size = from.command_line_size;
        process->environment = text_share(from.environment);
        process->environment_size = from.environment_size;
        memcpy(process->executable, from.executable, strlen(from.executable) + 1);
    }
    process->dumpable = from.dumpable;
    process->no_new_privileges = from.no_new_privileges;
    process->personality = from.personality;
    process->terminal = from.terminal;
    process->start_stack = from.start_stack;
    process->auxiliary_count = from.auxiliary_count;
    memcpy(process->auxiliary, from.auxiliary, sizeof process->auxiliary);
    process->oom_score_adjustment = from.oom_score_adjustment;
    process->space = from.space;
    process->state = ProcessState::starting;
    return process;
}

void process_free(Process& process) {
    if (process.pid_handle != nullptr) pid_handle_reaped(process);
    text_release(process.command_line);
    text_release(process.environment);
    arena::destroy(&process);
}

void notify_parent(Process& child, i32 code, i32 status) {
    Process* parent = child.parent;
    if (parent == nullptr) return;
    u32 signal = code <= 3 ? child.exit_signal : u32{kSigChld};
    const SignalAction& action = parent->signals.actions[kSigChld];
    bool stop_event = code > 3;
    if (signal != 0 && !(stop_event && (action.flags & 1 /* SA_NOCLDSTOP */) != 0)) {
        SignalInfo info;
        info.signal = static_cast<i32>(signal);
        info.code = code;
        info.child.pid = child.pid;
        info.child.uid = child.credentials.uid;
        info.child.status = status;
        info.child.utime = static_cast<i64>(child.cpu_time / 10'000'000);
        send_signal(*parent, info);
    }
    __atomic_add_fetch(&parent->child_event_count, 1, __ATOMIC_SEQ_CST);
    parent->child_events.wake(kPollIn);
}

namespace {

/// Nearest ancestor that asked for orphans; null: number 1, which reaps at once.
Process* new_parent_for_children(Process& dead) {
    for (Process* ancestor = dead.parent; ancestor != nullptr; ancestor = ancestor->parent)
        if (ancestor->child_subreaper != 0 && ancestor->state != ProcessState::zombie && ancestor->exiting == 0)
            return ancestor;
    return nullptr;
}

/// A zombie that nobody will wait for goes at once. True: it is gone.
bool report_zombie(Process& process) {
    Process* parent = process.parent;
    if (parent == nullptr) {
        reap(process);
        return true;
    }
    const SignalAction& action = parent->signals.actions[kSigChld];
    bool unwanted = process.exit_signal == kSigChld && (action.handler == 1 || (action.flags & 2 /* NOCLDWAIT */) != 0);
    u32 status = process.exit_status;
    i32 code = (status & 0x7f) == 0 ? 1 : (status & kCoreFlag) != 0 ? 3 : 2;
    i32 value = static_cast<i32>(code == 1 ? status >> 8 : status & 0x7f);
    notify_parent(process, code, value);
    if (!unwanted) return false;
    reap(process);
    return true;
}

}  // namespace

void become_zombie(Process& process, u32 status) {
    leave_session_terminal(process, true);
    Process* heir = process.children.empty() ? nullptr : new_parent_for_children(process);
    while (Process* child = process.children.front()) {
        undoable_unlink(process_table().lock, child->in_parent);
        child->parent = heir;
        hang_up_orphaned_group(*child, &process, nullptr);
        if (heir != nullptr) undoable_push_back(process_table().lock, heir->children, *child);
        if (child->parent_death_signal != 0 && child->state != ProcessState::zombie) {
            SignalInfo info;
            info.signal = static_cast<i32>(child->parent_death_signal);
            info.code = 0;
            info.rt.pid = process.pid;
            info.rt.uid = process.credentials.uid;
            send_signal(*child, info);
        }
        if (child->state == ProcessState::zombie) report_zombie(*child);
        undo_commit(process_table().lock);
    }
    hang_up_orphaned_group(process, process.parent, &process);
    process.exit_status = status;
    process.last_host_id = process.is_context != 0 ? 0 : process.carrier_id;
    process.host_id = 0;
    process.carrier_id = 0;
    process.state = ProcessState::zombie;
    process.vfork_pending = 0;
    process.vfork_done.wake(kPollIn);
    if (process.pid_handle != nullptr) pid_handle_ended(process);
    report_zombie(process);
}

}  // namespace postern::libos
