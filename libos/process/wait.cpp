// SPDX-License-Identifier: Apache-2.0
// wait4(2) and waitid(2).
#include <linux/fcntl.h>

#include "base/memory.hpp"
#include "libos/ipc/anonymous.hpp"
#include "libos/process/calls.hpp"
#include "libos/process/pidfd.hpp"
#include "libos/process/table.hpp"
#include "libos/process/usage.hpp"
#include "libos/ptrace/tracing.hpp"
#include "libos/time/timers.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

enum WaitOptions : u32 {
    kNoHang = 1,
    kUntraced = 2,
    kExited = 4,
    kContinued = 8,
    kNoWait = 0x01000000,
    kNoThread = 0x20000000,
    kAll = 0x40000000,
    kClone = 0x80000000,
};
enum class Whom : u32 { any, pid, group };

struct Found {
    u32 pid = 0;
    u32 uid = 0;
    i32 code = 0;     ///< CLD_*
    i32 status = 0;   ///< for siginfo
    u32 encoded = 0;  ///< wait(2) encoding
    u64 cpu_time = 0;
    ReapedUsage usage;
    bool reaped = false;
    bool ended = false;
};

bool matches(const Process& child, Whom whom, u32 number, u32 options) {
    if (whom == Whom::pid && child.pid != number) return false;
    if (whom == Whom::group && child.pgid != number) return false;
    if ((options & kAll) != 0) return true;
    return (child.exit_signal != kSigChld) == ((options & kClone) != 0);
}

/// Looks for a child with news. `any`: there are children that could have some. Table lock is held.
bool look(Process& process, Whom whom, u32 number, u32 options, Found& found, bool& any) {
    for (Process* child = process.children.front(); child != nullptr; child = process.children.next(*child)) {
        if (!matches(*child, whom, number, options)) continue;
        any = true;
        found.pid = child->pid;
        found.uid = child->credentials.uid;
        if (child->state == ProcessState::zombie) {
            if ((options & kExited) == 0) continue;
            u32 status = child->exit_status;
            found.encoded = status;
            bool exited = (status & 0x7f) == 0;
            found.code = exited ? 1 : (status & kCoreFlag) != 0 ? 3 : 2;
            found.status = static_cast<i32>(exited ? status >> 8 : status & 0x7f);
            found.cpu_time = child->cpu_time + child->cpu_user_children;
            found.usage = take_usage(*child);
            found.ended = true;
            if ((options & kNoWait) == 0) {
                found.reaped = true;
                process.cpu_user_children += found.cpu_time;
                reap(*child);
            }
            return true;
        }
        if ((options & kUntraced) != 0 && (child->wait_flags & kStopUnreported) != 0 && !traced_by_parent(*child)) {
            if ((options & kNoWait) == 0) child->wait_flags &= ~u32{kStopUnreported};
            found.code = 5;
            found.status = static_cast<i32>(child->stop_signal);
            found.encoded = child->stop_signal << 8 | 0x7f;
            return true;
        }
        if ((options & kContinued) != 0 && (child->wait_flags & kContinueUnreported) != 0) {
            if ((options & kNoWait) == 0) child->wait_flags &= ~u32{kContinueUnreported};
            found.code = 6;
            found.status = kSigCont;
            found.encoded = 0xffff;
            return true;
        }
    }
    return false;
}

struct Wanted {
    Whom whom;
    u32 number;
};

/// The same among what the process traces, children or not.
bool look_at_tracees(Process& process, Whom whom, u32 number, u32 options, Found& found, bool& any) {
    if (process.tracees == 0 && process.trace_notices == nullptr) return false;
    Wanted wanted{whom, number};
    TraceMatch match = [](const Thread* thread, u32 tid, void* cookie) {
        const Wanted& wanted = *static_cast<Wanted*>(cookie);
        if (wanted.whom == Whom::pid) return wanted.number == tid;
        if (wanted.whom == Whom::group) return thread != nullptr && thread->process->pgid == wanted.number;
        return true;
    };
    TraceFound stop;
    TraceLook look = trace_look(process, match, &wanted, (options & kNoWait) != 0, stop);
    any = any || look != TraceLook::nothing;
    if (look != TraceLook::found) return false;
    found.pid = stop.tid;
    found.uid = stop.uid;
    found.encoded = stop.status;
    bool stopped = (stop.status & 0xff) == 0x7f, exited = (stop.status & 0x7f) == 0;
    found.code = stopped ? 4 : exited ? 1 : 2;
    found.status = static_cast<i32>(stopped || exited ? stop.status >> 8 : stop.status & 0x7f);
    return true;
}

/// False: WNOHANG and nothing to report.
Res<bool> wait_for(Thread& thread, Whom whom, u32 number, u32 options, Found& found) {
    Process& process = *thread.process;
    for (;;) {
        u32 seen = __atomic_load_n(&process.child_event_count, __ATOMIC_SEQ_CST);
        bool any = false;
        {
            Guard guard{process_table_lock()};
            if (look_at_tracees(process, whom, number, options, found, any)) return true;
            if (look(process, whom, number, options, found, any)) return true;
        }
        if (!any) return Failure{Errno::child};
        if ((options & kNoHang) != 0) {
            collect_deaths();
            if (__atomic_load_n(&process.child_event_count, __ATOMIC_SEQ_CST) != seen) continue;
            return false;
        }
        // The host tells of members that it killed by an interrupt to some member, which then collects them. Should
        // that one be dead as well, this look now and then finds out.
        constexpr u64 kPatience = 2'000'000'000;
        Res<void> waited = wait_until(thread, process.child_events, kPollIn, monotonic_now() + kPatience, [&] {
            return __atomic_load_n(&process.child_event_count, __ATOMIC_SEQ_CST) != seen;
        });
        if (waited.ok()) continue;
        if (waited.error() != Errno::timedout) return Failure{waited.error()};
        collect_deaths();
    }
}

/// The child is gone: it counts for the process from now on, and `address`, if not 0, is told what it used.
Res<void> account(Process& process, const Found& found, u64 address) {
    if (address == 0) {
        if (found.reaped) note_child_usage(process, found.usage);
        return {};
    }
    gate::MembersUsage usage = {};
    if (found.reaped)
        usage = ask_child_usage(process, found.usage);
    else if (found.ended)
        usage = ask_usage(found.usage);
    return write_user(address, to_rusage(usage, found.cpu_time));
}

}  // namespace

Res<i64> sys_wait4(Thread& thread, Arguments arguments) {
    i32 pid = static_cast<i32>(arguments[0]);
    u32 options = static_cast<u32>(arguments[2]);
    if ((options & ~(kNoHang | kUntraced | kContinued | kNoThread | kAll | kClone)) != 0) return Failure{Errno::inval};
    if (pid == static_cast<i32>(0x8000'0000)) return Failure{Errno::srch};
    Whom whom = Whom::any;
    u32 number = 0;
    if (pid > 0) {
        whom = Whom::pid;
        number = static_cast<u32>(pid);
    } else if (pid < -1) {
        whom = Whom::group;
        number = static_cast<u32>(-pid);
    } else if (pid == 0) {
        whom = Whom::group;
        number = thread.process->pgid;
    }
    Found found;
    bool any = TRY(wait_for(thread, whom, number, options | kExited, found));
    if (!any) return 0;
    Res<void> accounted = account(*thread.process, found, arguments[3]);
    if (arguments[1] != 0) TRY(write_user(arguments[1], found.encoded));
    TRY(std::move(accounted));
    return static_cast<i64>(found.pid);
}

Res<i64> sys_waitid(Thread& thread, Arguments arguments) {
    u32 kind = static_cast<u32>(arguments[0]);
    i32 id = static_cast<i32>(arguments[1]);
    u32 options = static_cast<u32>(arguments[3]);
    if ((options & ~(kNoHang | kUntraced | kExited | kContinued | kNoWait | kNoThread | kAll | kClone)) != 0 ||
        (options & (kUntraced | kExited | kContinued)) == 0)
        return Failure{Errno::inval};
    Whom whom;
    bool again_if_none = false;
    u32 number = static_cast<u32>(id);
    switch (kind) {
        case 0: whom = Whom::any; break;
        case 1:
            if (id <= 0) return Failure{Errno::inval};
            whom = Whom::pid;
            break;
        case 2:
            if (id < 0) return Failure{Errno::inval};
            whom = Whom::group;
            if (id == 0) number = thread.process->pgid;
            break;
        case 3: {
            if (id < 0) return Failure{Errno::inval};
            HeldFile file;
            TRY(file.hold(thread, number));
            PidHandle* handle = TRY(pid_handle_of(*file.get()));
            // The number may be another process's by now.
            if (handle->process == nullptr) return Failure{Errno::child};
            whom = Whom::pid;
            number = handle->pid;
            again_if_none = (file->status_flags & O_NONBLOCK) != 0 && (options & kNoHang) == 0;
            if (again_if_none) options |= kNoHang;
            break;
        }
        default: return Failure{Errno::inval};
    }
    Found found;
    bool any = TRY(wait_for(thread, whom, number, options, found));
    if (!any && again_if_none) return Failure{Errno::again};
    if (any) TRY(account(*thread.process, found, arguments[4]));
    if (arguments[2] != 0) {
        SignalInfo info;
        if (any) {
            info.signal = kSigChld;
            info.code = found.code;
            info.child.pid = found.pid;
            info.child.uid = found.uid;
            info.child.status = found.status;
        }
        // The kernel fills in these six fields and leaves the rest alone.
        TRY(copy_out(arguments[2], &info, 28));
    }
    return 0;
}

}  // namespace postern::libos
