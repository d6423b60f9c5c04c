// SPDX-License-Identifier: Apache-2.0
// prctl(2), arch_prctl(2), personality(2) and the addresses that the kernel keeps per thread.
#include "base/memory.hpp"
#include "libos/process/calls.hpp"
#include "libos/process/process.hpp"
#include "libos/process/seccomp.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u64 kCapabilityCount = 41;
constexpr u64 kCapSetpcap = 1 << 8;
constexpr u32 kNoAmbientRaise = 1 << 6;  // SECBIT_NO_CAP_AMBIENT_RAISE

/// PR_SET_SECUREBITS (capabilities(7)): each even bit has its lock above it.
Res<void> set_secure_bits(Process& process, u64 value) {
    Credentials& credentials = process.credentials;
    constexpr u32 kLocks = 0xaa;
    u32 old = credentials.securebits, fresh = static_cast<u32>(value);
    if ((value & ~0xffull) != 0 || (credentials.capabilities_effective & kCapSetpcap) == 0 ||
        ((old & kLocks) >> 1 & (old ^ fresh)) != 0 || (old & kLocks & ~fresh) != 0)
        return Failure{Errno::perm};
    credentials.securebits = fresh;
    return {};
}

Res<i64> ambient(Process& process, Arguments arguments) {
    Credentials& credentials = process.credentials;
    u64 number = arguments[2];
    if (arguments[3] != 0 || arguments[4] != 0) return Failure{Errno::inval};
    if (arguments[1] == 4) {  // PR_CAP_AMBIENT_CLEAR_ALL
        if (number != 0) return Failure{Errno::inval};
        credentials.capabilities_ambient = 0;
        return 0;
    }
    if (number >= kCapabilityCount) return Failure{Errno::inval};
    u64 bit = 1ull << number;
    switch (arguments[1]) {
        case 1: return (credentials.capabilities_ambient & bit) != 0 ? 1 : 0;
        case 2:
            if ((credentials.securebits & kNoAmbientRaise) != 0) return Failure{Errno::perm};
            if ((credentials.capabilities_permitted & credentials.capabilities_inheritable & bit) == 0)
                return Failure{Errno::perm};
            credentials.capabilities_ambient |= bit;
            return 0;
        case 3: credentials.capabilities_ambient &= ~bit; return 0;
        default: return Failure{Errno::inval};
    }
}

}  // namespace

Res<i64> sys_prctl(Thread& thread, Arguments arguments) {
    Process& process = *thread.process;
    Credentials& credentials = process.credentials;
    u64 value = arguments[1];
    bool rest = arguments[2] != 0 || arguments[3] != 0 || arguments[4] != 0;
    switch (static_cast<u32>(arguments[0])) {
        case 1:  // PR_SET_PDEATHSIG
            if (value > kSignalCount) return Failure{Errno::inval};
            process.parent_death_signal = static_cast<u32>(value);
            return 0;
        case 2: TRY(write_user(value, process.parent_death_signal)); return 0;
        case 3: return static_cast<i64>(process.dumpable);
        case 4:
            if (value > 1) return Failure{Errno::inval};
            process.dumpable = static_cast<u32>(value);
            return 0;
        case 7: return (credentials.securebits & kKeepCapabilities) != 0 ? 1 : 0;
        case 8:
            if (value > 1) return Failure{Errno::inval};
            if ((credentials.securebits & kKeepCapabilities << 1) != 0) return Failure{Errno::perm};
            credentials.securebits =
                (credentials.securebits & ~kKeepCapabilities) | (value != 0 ? kKeepCapabilities : 0);
            return 0;
        case 13: return 0;  // PR_GET_TIMING: statistical
        case 14: return value == 0 ? Res<i64>{i64{0}} : Res<i64>{Failure{Errno::inval}};
        case 15: {  // PR_SET_NAME
            char name[16] = {};
            auto length = copy_in_string(name, value, sizeof name);
            if (!length.ok() && length.error() != Errno::nametoolong) return Failure{length.error()};
            name[15] = 0;
            memcpy(thread.name, name, sizeof name);
            return 0;
        }
        case 16: TRY(copy_out(value, thread.name, sizeof thread.name)); return 0;
        case 21: return static_cast<i64>(thread.seccomp_mode);
        case 22: return seccomp_set(thread, value, arguments[2]);
        case 23:
            if (value >= kCapabilityCount) return Failure{Errno::inval};
            return (credentials.capabilities_bounding >> value & 1) != 0 ? 1 : 0;
        case 24:
            if ((credentials.capabilities_effective & kCapSetpcap) == 0) return Failure{Errno::perm};
            if (value >= kCapabilityCount) return Failure{Errno::inval};
            credentials.capabilities_bounding &= ~(1ull << value);
            return 0;
        case 25: TRY(write_user(value, u32{1})); return 0;  // PR_TSC_ENABLE
        case 26: return value == 1 ? Res<i64>{i64{0}} : Res<i64>{Failure{Errno::inval}};
        case 27: return static_cast<i64>(credentials.securebits);
        case 28: TRY(set_secure_bits(process, value)); return 0;
        case 29:
            thread.timer_slack = value == 0 || value > ~0u ? thread.default_timer_slack : static_cast<u32>(value);
            return 0;
        case 30: return static_cast<i64>(thread.timer_slack);
        case 36: process.child_subreaper = value != 0 ? 1 : 0; return 0;
        case 37: TRY(write_user(value, process.child_subreaper)); return 0;
        case 38:
            if (value != 1 || rest) return Failure{Errno::inval};
            process.no_new_privileges = 1;
            return 0;
        case 39:
            if (value != 0 || rest) return Failure{Errno::inval};
            return static_cast<i64>(process.no_new_privileges);
        case 40: TRY(write_user(value, thread.clear_child_tid)); return 0;
        case 41: return rest ? Res<i64>{Failure{Errno::inval}} : Res<i64>{i64{0}};  // PR_SET_THP_DISABLE: a hint
        case 42: return rest || value != 0 ? Res<i64>{Failure{Errno::inval}} : Res<i64>{i64{0}};
        case 47: return ambient(process, arguments);
        default: return Failure{Errno::inval};
    }
}

Res<i64> sys_arch_prctl(Thread& thread, Arguments arguments) {
    switch (static_cast<u32>(arguments[0])) {
        case 0x1001: return Failure{Errno::perm};  // ARCH_SET_GS: the gate's own register
        case 0x1002: {                             // ARCH_SET_FS
            u64 base = arguments[1];
            if (base >= 0x7fff'ffff'f000ull) return Failure{Errno::perm};
            TRY(check(g_gate->DkSegmentBaseSet(0, base)));
            thread.fs_base = base;
            return 0;
        }
        case 0x1003: {  // ARCH_GET_FS. The program may have changed it with wrfsbase.
            u64 base = thread.fs_base;
            if ((g_parameters->processor_features[1] & 2) != 0) asm("rdfsbase %0" : "=r"(base));
            TRY(write_user(arguments[1], base));
            return 0;
        }
        case 0x1004: TRY(write_user(arguments[1], u64{0})); return 0;  // ARCH_GET_GS: as a program that never set it
        case 0x1011: return 1;                                         // ARCH_GET_CPUID: the instruction works
        case 0x1012: return Failure{Errno::nodev};                     // ARCH_SET_CPUID
        default: return Failure{Errno::inval};
    }
}

Res<i64> sys_personality(Thread& thread, Arguments arguments) {
    u32 old = thread.process->personality;
    if (static_cast<u32>(arguments[0]) != 0xffff'ffff) thread.process->personality = static_cast<u32>(arguments[0]);
    return static_cast<i64>(old);
}

Res<i64> sys_set_tid_address(Thread& thread, Arguments arguments) {
    thread.clear_child_tid = arguments[0];
    return static_cast<i64>(thread.tid);
}

Res<i64> sys_set_robust_list(Thread& thread, Arguments arguments) {
    if (arguments[1] != 24) return Failure{Errno::inval};
    thread.robust_list = arguments[0];
    thread.robust_list_size = arguments[1];
    return 0;
}

Res<i64> sys_get_robust_list(Thread& thread, Arguments arguments) {
    u32 tid = static_cast<u32>(arguments[0]);
    u64 list = thread.robust_list;
    if (tid != 0 && tid != thread.tid) {
        Guard guard{process_table_lock()};
        Thread* other = find_thread(tid);
        if (other == nullptr) return Failure{Errno::srch};
        if (other->process != thread.process) return Failure{Errno::perm};
        list = other->robust_list;
    }
    TRY(write_user(arguments[2], u64{24}));
    TRY(write_user(arguments[1], list));
    return 0;
}

Res<i64> sys_setns(Thread&, Arguments) { return Failure{Errno::perm}; }

}  // namespace postern::libos
