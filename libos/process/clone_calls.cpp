// SPDX-License-Identifier: Apache-2.0
// clone(2), clone3(2), fork(2), vfork(2) and unshare(2): what is asked for, and whether it can be.
#include "libos/process/calls.hpp"
#include "libos/process/clone.hpp"
#include "libos/process/table.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

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
