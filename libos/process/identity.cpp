// SPDX-License-Identifier: Apache-2.0
// User and group identities and capabilities as programs see them (credentials(7), capabilities(7)). They decide what
// calls inside answer; what can be reached outside is decided by the family's routes alone.
#include "base/memory.hpp"
#include "libos/process/calls.hpp"
#include "libos/process/process.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u32 kUnchanged = ~0u;
constexpr u64 kCapSetgid = 1 << 6, kCapSetuid = 1 << 7;

bool capable(const Credentials& credentials, u64 bit) { return (credentials.capabilities_effective & bit) != 0; }

/// What changing identities does to capabilities (capabilities(7), "Effect of user ID changes").
void adjust_capabilities(Process& process, const Credentials& old) {
    Credentials& now = process.credentials;
    if (old.euid != now.euid || old.egid != now.egid) process.dumpable = 0;
    if ((now.securebits & kNoSetuidFixup) != 0) return;
    bool had_root = old.uid == 0 || old.euid == 0 || old.suid == 0;
    bool has_root = now.uid == 0 || now.euid == 0 || now.suid == 0;
    if (had_root && !has_root) {
        if ((now.securebits & kKeepCapabilities) == 0) {
            now.capabilities_permitted = 0;
            now.capabilities_ambient = 0;
        }
        now.capabilities_effective = 0;
    }
    if (old.euid == 0 && now.euid != 0) now.capabilities_effective = 0;
    if (old.euid != 0 && now.euid == 0) now.capabilities_effective = now.capabilities_permitted;
}

Res<void> set_users(Process& process, u32 real, u32 effective, u32 saved) {
    Credentials& credentials = process.credentials;
    Credentials old = credentials;
    auto allowed = [&](u32 id) {
        return id == kUnchanged || id == old.uid || id == old.euid || id == old.suid || capable(old, kCapSetuid);
    };
    if (!allowed(real) || !allowed(effective) || !allowed(saved)) return Failure{Errno::perm};
    if (real != kUnchanged) credentials.uid = real;
    if (effective != kUnchanged) credentials.euid = effective;
    if (saved != kUnchanged) credentials.suid = saved;
    credentials.fsuid = credentials.euid;
    adjust_capabilities(process, old);
    return {};
}

Res<void> set_groups(Process& process, u32 real, u32 effective, u32 saved) {
    Credentials& credentials = process.credentials;
    const Credentials old = credentials;
    auto allowed = [&](u32 id) {
        return id == kUnchanged || id == old.gid || id == old.egid || id == old.sgid || capable(old, kCapSetgid);
    };
    if (!allowed(real) || !allowed(effective) || !allowed(saved)) return Failure{Errno::perm};
    if (real != kUnchanged) credentials.gid = real;
    if (effective != kUnchanged) credentials.egid = effective;
    if (saved != kUnchanged) credentials.sgid = saved;
    credentials.fsgid = credentials.egid;
    if (old.egid != credentials.egid) process.dumpable = 0;
    return {};
}

struct CapabilityHeader {
    u32 version;
    i32 pid;
};
struct CapabilityData {
    u32 effective, permitted, inheritable;
};

/// How many CapabilityData words a version has; 0: unknown, the kernel's own version is written back.
Res<u32> capability_words(u64 address, CapabilityHeader& header) {
    header = TRY(read_user<CapabilityHeader>(address));
    switch (header.version) {
        case 0x19980330: return 1u;
        case 0x20071026:
        case 0x20080522: return 2u;
    }
    TRY(write_user(address, u32{0x20080522}));
    return 0u;
}

}  // namespace

Res<i64> sys_getuid(Thread& thread, Arguments) { return static_cast<i64>(thread.process->credentials.uid); }
Res<i64> sys_geteuid(Thread& thread, Arguments) { return static_cast<i64>(thread.process->credentials.euid); }
Res<i64> sys_getgid(Thread& thread, Arguments) { return static_cast<i64>(thread.process->credentials.gid); }
Res<i64> sys_getegid(Thread& thread, Arguments) { return static_cast<i64>(thread.process->credentials.egid); }

Res<i64> sys_setuid(Thread& thread, Arguments arguments) {
    u32 id = static_cast<u32>(arguments[0]);
    if (id == kUnchanged) return Failure{Errno::inval};
    Process& process = *thread.process;
    Credentials& credentials = process.credentials;
    if (capable(credentials, kCapSetuid)) {
        TRY(set_users(process, id, id, id));
        return 0;
    }
    if (id != credentials.uid && id != credentials.suid) return Failure{Errno::perm};
    TRY(set_users(process, kUnchanged, id, kUnchanged));
    return 0;
}

Res<i64> sys_setgid(Thread& thread, Arguments arguments) {
    u32 id = static_cast<u32>(arguments[0]);
    if (id == kUnchanged) return Failure{Errno::inval};
    Process& process = *thread.process;
    Credentials& credentials = process.credentials;
    if (capable(credentials, kCapSetgid)) {
        TRY(set_groups(process, id, id, id));
        return 0;
    }
    if (id != credentials.gid && id != credentials.sgid) return Failure{Errno::perm};
    TRY(set_groups(process, kUnchanged, id, kUnchanged));
    return 0;
}

Res<i64> sys_setreuid(Thread& thread, Arguments arguments) {
    u32 real = static_cast<u32>(arguments[0]), effective = static_cast<u32>(arguments[1]);
    Process& process = *thread.process;
    const Credentials old = process.credentials;
    if (real != kUnchanged && real != old.uid && real != old.euid && !capable(old, kCapSetuid))
        return Failure{Errno::perm};
    bool new_saved = real != kUnchanged || (effective != kUnchanged && effective != old.uid);
    u32 final_effective = effective != kUnchanged ? effective : old.euid;
    TRY(set_users(process, real, effective, kUnchanged));
    if (new_saved) process.credentials.suid = final_effective;
    return 0;
}

Res<i64> sys_setregid(Thread& thread, Arguments arguments) {
    u32 real = static_cast<u32>(arguments[0]), effective = static_cast<u32>(arguments[1]);
    Process& process = *thread.process;
    const Credentials old = process.credentials;
    if (real != kUnchanged && real != old.gid && real != old.egid && !capable(old, kCapSetgid))
        return Failure{Errno::perm};
    bool new_saved = real != kUnchanged || (effective != kUnchanged && effective != old.gid);
    u32 final_effective = effective != kUnchanged ? effective : old.egid;
    TRY(set_groups(process, real, effective, kUnchanged));
    if (new_saved) process.credentials.sgid = final_effective;
    return 0;
}

Res<i64> sys_setresuid(Thread& thread, Arguments arguments) {
    TRY(set_users(*thread.process, static_cast<u32>(arguments[0]), static_cast<u32>(arguments[1]),
                  static_cast<u32>(arguments[2])));
    return 0;
}

Res<i64> sys_setresgid(Thread& thread, Arguments arguments) {
    TRY(set_groups(*thread.process, static_cast<u32>(arguments[0]), static_cast<u32>(arguments[1]),
                   static_cast<u32>(arguments[2])));
    return 0;
}

Res<i64> sys_getresuid(Thread& thread, Arguments arguments) {
    const Credentials& credentials = thread.process->credentials;
    TRY(write_user(arguments[0], credentials.uid));
    TRY(write_user(arguments[1], credentials.euid));
    TRY(write_user(arguments[2], credentials.suid));
    return 0;
}

Res<i64> sys_getresgid(Thread& thread, Arguments arguments) {
    const Credentials& credentials = thread.process->credentials;
    TRY(write_user(arguments[0], credentials.gid));
    TRY(write_user(arguments[1], credentials.egid));
    TRY(write_user(arguments[2], credentials.sgid));
    return 0;
}

Res<i64> sys_setfsuid(Thread& thread, Arguments arguments) {
    Credentials& credentials = thread.process->credentials;
    u32 id = static_cast<u32>(arguments[0]), old = credentials.fsuid;
    if (id == credentials.uid || id == credentials.euid || id == credentials.suid || id == old ||
        (id != kUnchanged && capable(credentials, kCapSetuid)))
        credentials.fsuid = id;
    // As the file system's user goes, so do the capabilities on files.
    constexpr u64 kFileCapabilities = 1ull << 32 | 1 << 27 | 1 << 9 | 0x1f;
    if ((credentials.securebits & kNoSetuidFixup) == 0 && (old == 0) != (credentials.fsuid == 0)) {
        if (old == 0)
            credentials.capabilities_effective &= ~kFileCapabilities;
        else
            credentials.capabilities_effective |= credentials.capabilities_permitted & kFileCapabilities;
    }
    return static_cast<i64>(old);
}

Res<i64> sys_setfsgid(Thread& thread, Arguments arguments) {
    Credentials& credentials = thread.process->credentials;
    u32 id = static_cast<u32>(arguments[0]), old = credentials.fsgid;
    if (id == credentials.gid || id == credentials.egid || id == credentials.sgid || id == old ||
        (id != kUnchanged && capable(credentials, kCapSetgid)))
        credentials.fsgid = id;
    return static_cast<i64>(old);
}

Res<i64> sys_getgroups(Thread& thread, Arguments arguments) {
    const Credentials& credentials = thread.process->credentials;
    i32 capacity = static_cast<i32>(arguments[0]);
    if (capacity < 0) return Failure{Errno::inval};
    if (capacity == 0) return static_cast<i64>(credentials.group_count);
    if (static_cast<u32>(capacity) < credentials.group_count) return Failure{Errno::inval};
    TRY(copy_out(arguments[1], credentials.groups, credentials.group_count * sizeof(u32)));
    return static_cast<i64>(credentials.group_count);
}

Res<i64> sys_setgroups(Thread& thread, Arguments arguments) {
    Credentials& credentials = thread.process->credentials;
    if (!capable(credentials, kCapSetgid)) return Failure{Errno::perm};
    u32 count = static_cast<u32>(arguments[0]);
    constexpr u32 kMost = sizeof credentials.groups / sizeof credentials.groups[0];
    if (count > 65536) return Failure{Errno::inval};
    u32 groups[kMost];
    TRY(copy_in(groups, arguments[1], (count < kMost ? count : kMost) * sizeof(u32)));
    if (count > kMost) {
        (void)TRY(load_user_u32(arguments[1] + (count - 1) * sizeof(u32)));
        return Failure{Errno::nomem};
    }
    memcpy(credentials.groups, groups, count * sizeof(u32));
    credentials.group_count = count;
    return 0;
}

Res<i64> sys_capget(Thread& thread, Arguments arguments) {
    CapabilityHeader header;
    u32 words = TRY(capability_words(arguments[0], header));
    if (words == 0) return arguments[1] == 0 ? Res<i64>{i64{0}} : Res<i64>{Failure{Errno::inval}};
    if (header.pid < 0) return Failure{Errno::inval};
    Credentials credentials = thread.process->credentials;
    if (header.pid != 0 && static_cast<u32>(header.pid) != thread.process->pid &&
        static_cast<u32>(header.pid) != thread.tid) {
        Guard guard{process_table_lock()};
        Process* other = find_process(static_cast<u32>(header.pid));
        if (other == nullptr) return Failure{Errno::srch};
        credentials = other->credentials;
    }
    if (arguments[1] == 0) return 0;
    CapabilityData data[2];
    for (u32 index = 0; index < 2; ++index) {
        data[index].effective = static_cast<u32>(credentials.capabilities_effective >> (32 * index));
        data[index].permitted = static_cast<u32>(credentials.capabilities_permitted >> (32 * index));
        data[index].inheritable = static_cast<u32>(credentials.capabilities_inheritable >> (32 * index));
    }
    TRY(copy_out(arguments[1], data, words * sizeof(CapabilityData)));
    return 0;
}

Res<i64> sys_capset(Thread& thread, Arguments arguments) {
    CapabilityHeader header;
    u32 words = TRY(capability_words(arguments[0], header));
    if (words == 0) return Failure{Errno::inval};
    if (header.pid != 0 && static_cast<u32>(header.pid) != thread.tid) return Failure{Errno::perm};
    CapabilityData data[2] = {};
    TRY(copy_in(data, arguments[1], words * sizeof(CapabilityData)));
    u64 effective = data[0].effective | u64{data[1].effective} << 32;
    u64 permitted = data[0].permitted | u64{data[1].permitted} << 32;
    u64 inheritable = data[0].inheritable | u64{data[1].inheritable} << 32;
    Credentials& credentials = thread.process->credentials;
    constexpr u64 kCapSetpcap = 1 << 8;
    if ((permitted & ~credentials.capabilities_permitted) != 0 || (effective & ~permitted) != 0)
        return Failure{Errno::perm};
    u64 may_inherit = credentials.capabilities_inheritable | credentials.capabilities_permitted;
    if (capable(credentials, kCapSetpcap)) may_inherit |= credentials.capabilities_bounding;
    if ((inheritable & ~may_inherit) != 0) return Failure{Errno::perm};
    credentials.capabilities_effective = effective;
    credentials.capabilities_permitted = permitted;
    credentials.capabilities_inheritable = inheritable;
    credentials.capabilities_ambient &= permitted & inheritable;
    return 0;
}

}  // namespace postern::libos
