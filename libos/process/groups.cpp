// SPDX-License-Identifier: Apache-2.0
// Process numbers, process groups and sessions (credentials(7), setpgid(2), setsid(2)).
#include "libos/process/calls.hpp"
#include "libos/process/table.hpp"
#include "libos/tty/session.hpp"

namespace postern::libos {

namespace {

bool group_exists_in_session(u32 group, u32 session) {
    ProcessTable& table = process_table();
    for (Process* process = table.processes.front(); process != nullptr; process = table.processes.next(*process))
        if (process->pgid == group && process->sid == session) return true;
    return false;
}

bool group_exists(u32 group) {
    ProcessTable& table = process_table();
    for (Process* process = table.processes.front(); process != nullptr; process = table.processes.next(*process))
        if (process->pgid == group) return true;
    return false;
}

}  // namespace

bool group_is_orphaned(u32 group, const Process* leaving) {
    ProcessTable& table = process_table();
    for (Process* member = table.processes.front(); member != nullptr; member = table.processes.next(*member)) {
        if (member->pgid != group || member == leaving || member->state == ProcessState::zombie) continue;
        const Process* parent = member->parent;
        if (parent != nullptr && parent->pgid != group && parent->sid == member->sid) return false;
    }
    return true;
}

void hang_up_orphaned_group(Process& member, const Process* parent, const Process* leaving) {
    const u32 group = member.pgid;
    if (parent == nullptr || parent->pgid == group || parent->sid != member.sid) return;
    ProcessTable& table = process_table();
    bool stopped = false;
    for (Process* other = table.processes.front(); other != nullptr; other = table.processes.next(*other))
        stopped = stopped || (other->pgid == group && other->state == ProcessState::stopped);
    if (!stopped || !group_is_orphaned(group, leaving)) return;
    send_kernel_signal_to_group(group, kSigHup);
    send_kernel_signal_to_group(group, kSigCont);
}

u32 session_of_group(u32 group) {
    ProcessTable& table = process_table();
    for (Process* process = table.processes.front(); process != nullptr; process = table.processes.next(*process))
        if (process->pgid == group) return process->sid;
    return 0;
}

Res<i64> sys_getpid(Thread& thread, Arguments) { return static_cast<i64>(thread.process->pid); }
Res<i64> sys_gettid(Thread& thread, Arguments) { return static_cast<i64>(thread.tid); }
Res<i64> sys_getpgrp(Thread& thread, Arguments) { return static_cast<i64>(thread.process->pgid); }

Res<i64> sys_getppid(Thread& thread, Arguments) {
    // Without the lock: a parent that ends meanwhile stays mapped, and its number was right a moment ago.
    Process* parent = *const_cast<Process* volatile*>(&thread.process->parent);
    return parent != nullptr ? static_cast<i64>(parent->pid) : 1;
}

Res<i64> sys_setpgid(Thread& thread, Arguments arguments) {
    i32 pid = static_cast<i32>(arguments[0]);
    i32 group = static_cast<i32>(arguments[1]);
    Process& self = *thread.process;
    if (pid == 0) pid = static_cast<i32>(self.pid);
    if (group == 0) group = pid;
    if (group < 0) return Failure{Errno::inval};
    Guard guard{process_table_lock()};
    Process* target = pid > 0 ? find_process_locked(static_cast<u32>(pid)) : nullptr;
    if (target == nullptr) return Failure{Errno::srch};
    if (target->parent == &self && target != &self) {
        if (target->sid != self.sid) return Failure{Errno::perm};
        if (target->did_exec != 0) return Failure{Errno::acces};
    } else if (target != &self) {
        return Failure{Errno::srch};
    }
    if (target->sid == target->pid) return Failure{Errno::perm};
    if (group != pid && !group_exists_in_session(static_cast<u32>(group), self.sid)) return Failure{Errno::perm};
    target->pgid = static_cast<u32>(group);
    return 0;
}

Res<i64> sys_getpgid(Thread& thread, Arguments arguments) {
    i32 pid = static_cast<i32>(arguments[0]);
    if (pid == 0) return static_cast<i64>(thread.process->pgid);
    Guard guard{process_table_lock()};
    Process* target = pid > 0 ? find_process_locked(static_cast<u32>(pid)) : nullptr;
    if (target == nullptr) return Failure{Errno::srch};
    return static_cast<i64>(target->pgid);
}

Res<i64> sys_getsid(Thread& thread, Arguments arguments) {
    i32 pid = static_cast<i32>(arguments[0]);
    if (pid == 0) return static_cast<i64>(thread.process->sid);
    Guard guard{process_table_lock()};
    Process* target = pid > 0 ? find_process_locked(static_cast<u32>(pid)) : nullptr;
    if (target == nullptr) return Failure{Errno::srch};
    return static_cast<i64>(target->sid);
}

Res<i64> sys_setsid(Thread& thread, Arguments) {
    Process& self = *thread.process;
    Guard guard{process_table_lock()};
    if (self.sid == self.pid || group_exists(self.pid)) return Failure{Errno::perm};
    self.sid = self.pid;
    self.pgid = self.pid;
    self.terminal = 0;
    self.terminal_old_group = 0;
    return static_cast<i64>(self.pid);
}

}  // namespace postern::libos
