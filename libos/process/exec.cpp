// SPDX-License-Identifier: Apache-2.0
// exec: one thread is left, it gets the process's number, and all that belonged to the old program is reset.
#include "libos/process/exec_hooks.hpp"

#include "base/memory.hpp"
#include "libos/aio/calls.hpp"
#include "libos/fs/fd_table.hpp"
#include "libos/process/process.hpp"
#include "libos/process/table.hpp"
#include "libos/shared/arena.hpp"
#include "libos/signal/delivery.hpp"
#include "libos/time/timers.hpp"

namespace postern::libos {

namespace {

constexpr u32 kForeignFiles = 256;

bool has_descriptor(FdTable& table, const File* file) {
    for (i32 fd = table.next_open(0); fd >= 0; fd = table.next_open(static_cast<u32>(fd) + 1)) {
        auto open = table.get(static_cast<u32>(fd));
        if (open.ok() && open.value().get() == file) return true;
    }
    return false;
}

/// Files that a vfork context opened by itself: their handles are of this picoprocess, which they outlive otherwise.
u32 own_files_of_context(Process& context, Process& parent, File** files) {
    u32 count = 0;
    for (i32 fd = context.files->next_open(0); fd >= 0; fd = context.files->next_open(static_cast<u32>(fd) + 1)) {
        auto file = context.files->get(static_cast<u32>(fd));
        if (!file.ok()) continue;
        bool shared = has_descriptor(*parent.files, file.value().get());
        bool known = false;
        for (u32 index = 0; index < count; ++index) known = known || files[index] == file.value().get();
        if (shared || known || count == kForeignFiles) continue;
        files[count++] = file.take().leak();
    }
    return count;
}

/// Leaves the parent's thread: the exec goes on in a picoprocess of its own.
Res<ExecSide> leave_vfork(Thread& thread, File* const* held, u32 held_count) {
    Process& process = *thread.process;
    Process& parent = *thread.vfork_parent;
    if (process.files == parent.files) {  // CLONE_FILES ends with exec
        FdTable* own = TRY(parent.files->clone());
        process.files->release();
        process.files = own;
    }
    File* foreign[kForeignFiles];
    u32 foreign_count = own_files_of_context(process, parent, foreign);
    for (u32 index = 0; index < held_count; ++index) held[index]->reference();
    VforkReturn* back = thread.vfork_return;
    u64 fs_base = thread.fs_base;
    gate::ForkResult result;
    Res<void> forked = fork_picoprocess(parent, process, thread, false, result);
    if (!forked.ok()) {
        for (u32 index = 0; index < held_count; ++index) held[index]->release();
        for (u32 index = 0; index < foreign_count; ++index) foreign[index]->release();
        return Failure{forked.error() == Errno::restart_sys ? Errno::restart_no_intr : Errno::again};
    }
    if (result.is_child != 0) {
        // `foreign` were referenced once for both sides: the other one releases them.
        heap::destroy(back);
        thread.vfork_return = nullptr;
        thread.vfork_parent = nullptr;
        return ExecSide::continues;
    }
    // First of all this thread becomes the parent's again: the child's objects are in use by its own picoprocess, and
    // may be gone by now.
    resume_vfork_parent(*back, fs_base, *gate::thread_control()->frame);
    for (u32 index = 0; index < foreign_count; ++index) {
        foreign[index]->close_local();
        foreign[index]->release();
    }
    // The program's own file and its interpreter: opened for this exec, unless it was an fexecve.
    for (u32 index = 0; index < held_count; ++index)
        if (!has_descriptor(*parent.files, held[index])) held[index]->close_local();
    return ExecSide::parent_resumed;
}

void reset_signals(Thread& thread) {
    Process& process = *thread.process;
    Guard guard{process.lock};
    for (SignalAction& action : process.signals.actions)
        if (action.handler != 1)
            action = {};
        else
            action = {1, 0, 0, 0};
    thread.signals.alt_flags = 2;
    thread.signals.alt_stack = thread.signals.alt_size = 0;
}

void set_text(Process& process, char*& place, u32& size, std::string_view text) {
    char* fresh = text_create(text);
    char* old;
    {
        Guard guard{process.lock};
        old = place;
        size = fresh != nullptr ? static_cast<u32>(text.size()) : 0;
        place = fresh;
    }
    text_release(old);
}

std::string_view base_name(std::string_view path) {
    usize start = 0;
    for (usize at = 0; at < path.size(); ++at)
        if (path[at] == '/') start = at + 1;
    return {path.data() + start, path.size() - start};
}

}  // namespace

Res<void> become_single_threaded(Thread& thread) {
    Process& process = *thread.process;
    {
        Guard guard{process.lock};
        if (process.exiting != 0 || process.exec_pending != 0) return Failure{Errno::again};
        process.exec_pending = 1;
        for (Thread* other = process.threads.front(); other != nullptr; other = process.threads.next(*other))
            if (other != &thread) notify_thread(*other, kAttentionExit);
    }
    // Not to be interrupted by ordinary signals: only the end of the process takes precedence.
    Res<void> result{};
    while (__atomic_load_n(&process.thread_count, __ATOMIC_SEQ_CST) > 1) {
        if ((thread.attention & kAttentionExit) != 0) {
            result = Failure{Errno::intr};
            break;
        }
        Blocker blocker{thread};
        auto entry = wait_entry_acquire(thread);
        if (!entry.ok()) continue;
        entry.value()->thread = &thread;
        process.thread_events.add(*entry.value(), kPollIn);
        blocker.prepare();
        if (__atomic_load_n(&process.thread_count, __ATOMIC_SEQ_CST) > 1 && (thread.attention & kAttentionExit) == 0 &&
            !blocker.wait(monotonic_now() + 100'000'000).ok())
            g_gate->DkThreadYieldExecution();
        process.thread_events.remove(*entry.value());
        wait_entry_release(thread, *entry.value());
    }
    process.exec_pending = 0;
    TRY(std::move(result));
    if (thread.tid != process.pid) {
        Guard guard{process_table_lock()};
        leave_thread(thread);
        thread.tid = process.pid;
        enter_thread(thread);
    }
    return {};
}

Res<ExecSide> prepare_exec(Thread& thread, File* const* held, u32 held_count) {
    Process& process = *thread.process;
    if (process.is_context != 0) return leave_vfork(thread, held, held_count);
    TRY(become_single_threaded(thread));
    return ExecSide::continues;
}

i64 resumed_result() { return static_cast<i64>(gate::thread_control()->frame->rax); }

void finish_exec(Thread& thread, std::string_view executable, std::string_view arguments,
                 std::string_view environment) {
    Process& process = *thread.process;
    reset_signals(thread);
    thread.robust_list = 0;
    thread.clear_child_tid = 0;
    thread.restart = nullptr;
    thread.fs_base = 0;
    g_gate->DkSegmentBaseSet(0, 0);
    process.files->exec();
    timers_exec(process);
    if ((process.uses & kUsesAio) != 0) aio_process_ended(process);
    Credentials& credentials = process.credentials;
    credentials.suid = credentials.fsuid = credentials.euid;
    credentials.sgid = credentials.fsgid = credentials.egid;
    if (credentials.euid == 0) {
        credentials.capabilities_permitted = credentials.capabilities_effective = credentials.capabilities_bounding;
    } else {
        credentials.capabilities_permitted = credentials.capabilities_ambient;
        credentials.capabilities_effective = credentials.capabilities_ambient;
    }
    process.credentials.securebits &= ~kKeepCapabilities;
    process.dumpable = 1;
    copy_string(process.executable, sizeof process.executable, executable);
    set_text(process, process.command_line, process.command_line_size, arguments);
    set_text(process, process.environment, process.environment_size, environment);
    memset(thread.name, 0, sizeof thread.name);
    copy_string(thread.name, sizeof thread.name, base_name(executable));
    process.did_exec = 1;
    if (process.vfork_pending != 0) {
        process.vfork_pending = 0;
        process.vfork_done.wake(kPollIn);
    }
}

}  // namespace postern::libos
