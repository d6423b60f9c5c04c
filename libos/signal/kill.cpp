// SPDX-License-Identifier: Apache-2.0
// Sending calls: kill(2), tkill(2), tgkill(2), rt_sigqueueinfo(2), rt_tgsigqueueinfo(2).
#include "libos/process/table.hpp"
#include "libos/signal/queue.hpp"
#include "libos/syscall/table.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr i32 kFromTkill = -6;

/// A thread's number stands for its process, as in Linux.
Process* find_target(u32 number) {
    if (Process* process = find_process_locked(number); process != nullptr) return process;
    Thread* thread = find_thread_locked(number);
    return thread != nullptr ? thread->process : nullptr;
}

bool may_signal(const Process& sender, const Process& target, u32 signal) {
    if (&sender == &target) return true;
    const Credentials &mine = sender.credentials, &theirs = target.credentials;
    if (mine.euid == theirs.suid || mine.euid == theirs.uid || mine.uid == theirs.suid || mine.uid == theirs.uid)
        return true;
    if ((mine.capabilities_effective >> 5 & 1) != 0) return true;  // CAP_KILL
    return signal == kSigCont && sender.sid == target.sid;
}

Res<void> send_to(Process& sender, Process& target, Thread* thread, u32 signal, const SignalInfo& info) {
    if (!may_signal(sender, target, signal)) return Failure{Errno::perm};
    if (signal == 0) return {};
    return queue_signal(target, thread, info);
}

Res<i64> send_to_group(Process& sender, u32 group, u32 signal, const SignalInfo& info) {
    ProcessTable& table = process_table();
    bool found = false, sent = false;
    Errno error = Errno::srch;
    for (Process* process = table.processes.front(); process != nullptr; process = table.processes.next(*process)) {
        if (process->pgid != group || process->pid == kOutside) continue;
        found = true;
        Res<void> result = send_to(sender, *process, nullptr, signal, info);
        if (result.ok())
            sent = true;
        else
            error = result.error();
    }
    if (sent) return 0;
    return Failure{found ? error : Errno::srch};
}

Res<i64> send_to_all(Process& sender, u32 signal, const SignalInfo& info) {
    ProcessTable& table = process_table();
    bool found = false;
    Errno error = Errno::ok;
    for (Process* process = table.processes.front(); process != nullptr; process = table.processes.next(*process)) {
        if (process == &sender || process->pid == kOutside) continue;
        Res<void> result = send_to(sender, *process, nullptr, signal, info);
        if (!result.ok() && result.error() == Errno::perm) {
            if (!found) error = Errno::perm;
            continue;
        }
        found = true;
        error = Errno::ok;
    }
    if (!found && error == Errno::ok) error = Errno::srch;
    if (error != Errno::ok) return Failure{error};
    return 0;
}

/// `tgid` 0: any process's thread.
Res<i64> send_to_thread(Thread& caller, u32 tgid, u32 tid, u32 signal, const SignalInfo& info) {
    Process& sender = *caller.process;
    if (tid == caller.tid && (tgid == 0 || tgid == sender.pid)) {
        if (signal == 0) return 0;
        TRY(queue_signal(sender, &caller, info));
        return 0;
    }
    Guard guard{process_table_lock()};
    Thread* thread = find_thread_locked(tid);
    if (thread == nullptr || (tgid != 0 && thread->process->pid != tgid)) return Failure{Errno::srch};
    TRY(send_to(sender, *thread->process, thread, signal, info));
    return 0;
}

SignalInfo sent_by(Thread& thread, u32 signal, i32 code) {
    SignalInfo info;
    info.signal = static_cast<i32>(signal);
    info.code = code;
    info.rt.pid = thread.process->pid;
    info.rt.uid = thread.process->credentials.uid;
    return info;
}

}  // namespace

Res<void> send_checked(Process& sender, Process& target, u32 signal, const SignalInfo& info) {
    return send_to(sender, target, nullptr, signal, info);
}

Res<i64> sys_kill(Thread& thread, Arguments arguments) {
    i32 pid = static_cast<i32>(arguments[0]);
    u32 signal = static_cast<u32>(arguments[1]);
    Process& sender = *thread.process;
    SignalInfo info = sent_by(thread, signal, 0);
    bool valid = signal <= kSignalCount;
    if (pid > 0 && static_cast<u32>(pid) == sender.pid) {
        if (!valid) return Failure{Errno::inval};
        if (signal == 0) return 0;
        TRY(queue_signal(sender, nullptr, info));
        return 0;
    }
    Guard guard{process_table_lock()};
    if (pid > 0) {
        Process* target = find_target(static_cast<u32>(pid));
        if (target == nullptr) return Failure{Errno::srch};
        if (!valid) return Failure{Errno::inval};
        if (pid == static_cast<i32>(kOutside) && signal != 0) return Failure{Errno::perm};
        TRY(send_to(sender, *target, nullptr, signal, info));
        return 0;
    }
    if (pid == static_cast<i32>(0x8000'0000)) return Failure{Errno::srch};
    if (!valid) return Failure{Errno::inval};
    if (pid == -1) return send_to_all(sender, signal, info);
    return send_to_group(sender, pid == 0 ? sender.pgid : static_cast<u32>(-pid), signal, info);
}

Res<i64> sys_tkill(Thread& thread, Arguments arguments) {
    i32 tid = static_cast<i32>(arguments[0]);
    u32 signal = static_cast<u32>(arguments[1]);
    if (tid <= 0 || signal > kSignalCount) return Failure{Errno::inval};
    return send_to_thread(thread, 0, static_cast<u32>(tid), signal, sent_by(thread, signal, kFromTkill));
}

Res<i64> sys_tgkill(Thread& thread, Arguments arguments) {
    i32 tgid = static_cast<i32>(arguments[0]), tid = static_cast<i32>(arguments[1]);
    u32 signal = static_cast<u32>(arguments[2]);
    if (tgid <= 0 || tid <= 0 || signal > kSignalCount) return Failure{Errno::inval};
    return send_to_thread(thread, static_cast<u32>(tgid), static_cast<u32>(tid), signal,
                          sent_by(thread, signal, kFromTkill));
}

Res<i64> sys_rt_sigqueueinfo(Thread& thread, Arguments arguments) {
    i32 pid = static_cast<i32>(arguments[0]);
    u32 signal = static_cast<u32>(arguments[1]);
    SignalInfo info = TRY(read_user<SignalInfo>(arguments[2]));
    info.signal = static_cast<i32>(signal);
    Process& sender = *thread.process;
    // Only the kernel and the caller itself may claim that kill, tkill or the kernel sent it.
    if ((info.code >= 0 || info.code == kFromTkill) && pid != static_cast<i32>(sender.pid)) return Failure{Errno::perm};
    if (signal > kSignalCount) return Failure{Errno::inval};
    Guard guard{process_table_lock()};
    Process* target = pid > 0 ? find_target(static_cast<u32>(pid)) : nullptr;
    if (target == nullptr) return Failure{Errno::srch};
    TRY(send_to(sender, *target, nullptr, signal, info));
    return 0;
}

Res<i64> sys_rt_tgsigqueueinfo(Thread& thread, Arguments arguments) {
    i32 tgid = static_cast<i32>(arguments[0]), tid = static_cast<i32>(arguments[1]);
    u32 signal = static_cast<u32>(arguments[2]);
    if (tgid <= 0 || tid <= 0) return Failure{Errno::inval};
    SignalInfo info = TRY(read_user<SignalInfo>(arguments[3]));
    info.signal = static_cast<i32>(signal);
    if ((info.code >= 0 || info.code == kFromTkill) && tgid != static_cast<i32>(thread.process->pid))
        return Failure{Errno::perm};
    if (signal > kSignalCount) return Failure{Errno::inval};
    return send_to_thread(thread, static_cast<u32>(tgid), static_cast<u32>(tid), signal, info);
}

}  // namespace postern::libos
