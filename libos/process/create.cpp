// SPDX-License-Identifier: Apache-2.0
// The family's first process, and how threads of the library OS begin.
#include "base/format.hpp"
#include "base/memory.hpp"
#include "libos/fs/fd_table.hpp"
#include "libos/fs/path.hpp"
#include "libos/memory/space.hpp"
#include "libos/proc/settings.hpp"
#include "libos/process/table.hpp"
#include "libos/shared/arena.hpp"
#include "libos/shared/layout.hpp"
#include "libos/shared/stacks.hpp"
#include "libos/time/timers.hpp"
#include "libos/tty/console.hpp"

namespace postern::libos {

namespace {

constexpr u64 kUnlimited = ~0ull;

/// In the order of RLIMIT_*: what a login shell of a current distribution has.
void set_default_limits(Process& process, const gate::LibOsParameters& parameters) {
    const u64 limits[16][2] = {
        {kUnlimited, kUnlimited},                              // CPU
        {kUnlimited, kUnlimited},                              // FSIZE
        {kUnlimited, kUnlimited},                              // DATA
        {8 << 20, kUnlimited},                                 // STACK
        {0, kUnlimited},                                       // CORE
        {kUnlimited, kUnlimited},                              // RSS
        {parameters.process_limit, parameters.process_limit},  // NPROC
        {1024, 65536},                                         // NOFILE
        {8 << 20, 8 << 20},                                    // MEMLOCK
        {kUnlimited, kUnlimited},                              // AS
        {kUnlimited, kUnlimited},                              // LOCKS
        {4096, 4096},                                          // SIGPENDING
        {819200, 819200},                                      // MSGQUEUE
        {0, 0},                                                // NICE
        {0, 0},                                                // RTPRIO
        {kUnlimited, kUnlimited},                              // RTTIME
    };
    memcpy(process.limits, limits, sizeof limits);
}

void set_first_credentials(Credentials& credentials, u32 user, u32 group) {
    memset(&credentials, 0, sizeof credentials);
    credentials.uid = credentials.euid = credentials.suid = credentials.fsuid = user;
    credentials.gid = credentials.egid = credentials.sgid = credentials.fsgid = group;
    credentials.group_count = 1;
    credentials.groups[0] = group;
    constexpr u64 kAllCapabilities = (1ull << 41) - 1;
    credentials.capabilities_bounding = kAllCapabilities;
    if (user == 0) credentials.capabilities_effective = credentials.capabilities_permitted = kAllCapabilities;
}

/// Number 1 stands for the family's outside: the parent of orphans, which programs look for in /proc and elsewhere. It
/// has no picoprocess and ignores all signals.
Res<void> create_outside(const gate::LibOsParameters& parameters) {
    Process* process = TRY(arena::create<Process>());
    Thread* thread = TRY(thread_create());
    set_first_credentials(process->credentials, 0, 0);
    set_default_limits(*process, parameters);
    copy_string(process->executable, sizeof process->executable, "/postern");
    copy_string(thread->name, sizeof thread->name, "postern");
    process->start_time = monotonic_now();
    thread->process = process;
    thread->block_mode = BlockMode::on_word;
    Guard guard{process_table_lock()};
    process->pid = process->pgid = process->sid = thread->tid = kOutside;
    enter_process(*process, nullptr);
    enter_thread(*thread);
    process->threads.push_back(*thread);
    process->thread_count = 1;
    process->state = ProcessState::running;
    return {};
}

}  // namespace

Res<Process*> create_first_process(const gate::LibOsParameters& parameters) {
    heap_initialize();
    ProcessTable* table = TRY(arena::create<ProcessTable>());
    arena::header().roots[kRootProcesses] = table;
    table->deaths_seen = parameters.deaths != nullptr ? parameters.deaths[0] : 0;
    arena::header().roots[kRootSharedFutexes] = TRY(arena::allocate(kFutexBuckets * sizeof(u32)));
    locks_join(parameters.process_id);
    TRY(create_settings());
    TRY(create_outside(parameters));

    Process* process = TRY(arena::create<Process>());
    Thread* thread = TRY(thread_create());
    gate::ThreadControl* control = gate::thread_control();
    thread->process = process;
    thread->control = control;
    thread->host_id = control->host_id;
    thread->token = parameters.thread;
    thread->stack_low = parameters.stack_low;
    thread->stack_size = parameters.stack_high - parameters.stack_low;
    process->host_id = process->carrier_id = parameters.process_id;
    set_first_credentials(process->credentials, parameters.user_id, parameters.group_id);
    set_default_limits(*process, parameters);
    {
        Guard guard{table->lock};
        process->pid = allocate_number();
        process->pgid = process->sid = process->pid;
        thread->tid = process->pid;
        enter_process(*process, nullptr);
        enter_thread(*thread);
        process->threads.push_back(*thread);
        process->thread_count = 1;
        process->state = ProcessState::running;
        table->first = process;
    }
    control->context = thread;

    process->files = TRY(FdTable::create());
    process->fs = TRY(FsContext::create(parameters.working_directory));
    process->timers = TRY(create_timers());
    process->space = TRY(Space::create());
    process->start_time = monotonic_now();
    if (console_wanted())
        TRY(install_console(*process->files));
    else
        TRY(install_standard_streams(*process->files));
    return process;
}

}  // namespace postern::libos
