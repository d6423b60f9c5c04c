// SPDX-License-Identifier: Apache-2.0
// kcmp(2): do two processes share a kernel resource?
#include "libos/fs/fd_table.hpp"
#include "libos/process/calls.hpp"
#include "libos/process/table.hpp"
#include "libos/sysv/objects.hpp"

namespace postern::libos {

namespace {

enum Kind : u32 { kFile = 0, kMemory = 1, kFiles = 2, kFileSystem = 3, kHandlers = 4, kIo = 5, kSemaphores = 6 };

/// 0 equal, else an order that stays the same while both live. Addresses are not told: they are mixed first.
i64 compare(u64 left, u64 right) {
    if (left == right) return 0;
    constexpr u64 kMix = 0x9e37'79b9'7f4a'7c15ull;
    return left * kMix < right * kMix ? 1 : 2;
}

Process* find_by_number(Thread& caller, u32 number) {
    if (number == caller.tid) return caller.process;
    if (Process* process = find_process_locked(number); process != nullptr) return process;
    Thread* thread = find_thread_locked(number);
    return thread != nullptr ? thread->process : nullptr;
}

}  // namespace

bool may_look_into(const Process& caller, const Process& target) {
    const Credentials &mine = caller.credentials, &theirs = target.credentials;
    bool same = mine.fsuid == theirs.uid && mine.fsuid == theirs.euid && mine.fsuid == theirs.suid &&
                mine.fsgid == theirs.gid && mine.fsgid == theirs.egid && mine.fsgid == theirs.sgid;
    constexpr u32 kCapabilityPtrace = 19;
    return &caller == &target || same || (mine.capabilities_effective >> kCapabilityPtrace & 1) != 0;
}

Res<i64> sys_kcmp(Thread& thread, Arguments arguments) {
    Guard guard{process_table_lock()};
    Process* left = find_by_number(thread, static_cast<u32>(arguments[0]));
    Process* right = find_by_number(thread, static_cast<u32>(arguments[1]));
    if (left == nullptr || right == nullptr) return Failure{Errno::srch};
    if (!may_look_into(*thread.process, *left) || !may_look_into(*thread.process, *right)) return Failure{Errno::perm};
    auto address = [](const void* pointer) { return reinterpret_cast<u64>(pointer); };
    switch (static_cast<u32>(arguments[2])) {
        case kFile: {
            if (left->files == nullptr || right->files == nullptr) return Failure{Errno::badf};
            FileRef first = TRY(left->files->get(static_cast<u32>(arguments[3])));
            FileRef second = TRY(right->files->get(static_cast<u32>(arguments[4])));
            return compare(address(first.get()), address(second.get()));
        }
        case kFiles: return compare(address(left->files), address(right->files));
        case kFileSystem: return compare(address(left->fs), address(right->fs));
        case kMemory:  // one address space per picoprocess, which a vfork context shares
            return compare(left->carrier_id, right->carrier_id);
        case kHandlers: return compare(address(left), address(right));
        case kIo: return compare(left->pid, right->pid);
        case kSemaphores:  // lists of adjustments; who has none shares that with others
            if (((left->uses | right->uses) & kUsesUndo) == 0) return 0;
            return compare(address(left), address(right));
        default: return Failure{Errno::inval};
    }
}

}  // namespace postern::libos
