// SPDX-License-Identifier: Apache-2.0
// The system as a whole: name, memory, randomness; and refusals as an unprivileged container shows them.
#include "base/memory.hpp"
#include "libos/gate.hpp"
#include "libos/proc/settings.hpp"
#include "libos/proc/system.hpp"
#include "libos/process/process.hpp"
#include "libos/shared/arena.hpp"
#include "libos/syscall/table.hpp"
#include "libos/time/timers.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

struct NewUtsname {
    char system[65], node[65], release[65], version[65], machine[65], domain[65];
};

struct SystemInfo {  // struct sysinfo of x86-64
    i64 uptime;
    u64 loads[3];
    u64 total_memory, free_memory, shared_memory, buffer_memory, total_swap, free_swap;
    u16 processes, pad;
    u32 pad1;
    u64 total_high, free_high;
    u32 unit;
    u32 tail;
};
static_assert(sizeof(SystemInfo) == 112);

}  // namespace

Res<i64> sys_uname(Thread&, Arguments arguments) {
    NewUtsname names;
    memset(&names, 0, sizeof names);
    copy_string(names.system, sizeof names.system, "Linux");
    read_name(settings().node, names.node);
    copy_string(names.release, sizeof names.release, kSystemRelease);
    copy_string(names.version, sizeof names.version, kSystemVersion);
    copy_string(names.machine, sizeof names.machine, "x86_64");
    read_name(settings().domain, names.domain);
    TRY(write_user(arguments[0], names));
    return 0;
}

namespace {

Res<i64> store_name(Thread& thread, char (&name)[Settings::kNameSize], Arguments arguments) {
    constexpr u32 kCapabilityAdmin = 21;
    if ((thread.process->credentials.capabilities_effective >> kCapabilityAdmin & 1) == 0) return Failure{Errno::perm};
    i32 size = static_cast<i32>(arguments[1]);
    if (size < 0 || size >= static_cast<i32>(Settings::kNameSize)) return Failure{Errno::inval};
    char fresh[Settings::kNameSize];
    TRY(copy_in(fresh, arguments[0], static_cast<u32>(size)));
    TRY(set_name(name, {fresh, static_cast<u32>(size)}));
    return 0;
}

}  // namespace

Res<i64> sys_sethostname(Thread& thread, Arguments arguments) { return store_name(thread, settings().node, arguments); }
Res<i64> sys_setdomainname(Thread& thread, Arguments arguments) {
    return store_name(thread, settings().domain, arguments);
}

/// sysfs(2), obsolete: names and numbers of the file systems that /proc/filesystems lists.
Res<i64> sys_sysfs(Thread&, Arguments arguments) {
    static constexpr const char* kNames[] = {"sysfs", "tmpfs", "proc", "devtmpfs", "pipefs", "sockfs", "postern"};
    constexpr u32 kCount = sizeof kNames / sizeof kNames[0];
    switch (static_cast<u32>(arguments[0])) {
        case 1: {
            char name[64];
            auto length = copy_in_string(name, arguments[1], sizeof name);
            if (!length.ok() && length.error() != Errno::nametoolong) return Failure{length.error()};
            if (length.ok())
                for (u32 index = 0; index < kCount; ++index)
                    if (strlen(kNames[index]) == length.value() && memcmp(kNames[index], name, length.value()) == 0)
                        return static_cast<i64>(index);
            return Failure{Errno::inval};
        }
        case 2:
            if (static_cast<u32>(arguments[1]) >= kCount) return Failure{Errno::inval};
            TRY(copy_out(arguments[2], kNames[arguments[1]], strlen(kNames[arguments[1]]) + 1));
            return 0;
        case 3: return static_cast<i64>(kCount);
        default: return Failure{Errno::inval};
    }
}

Res<i64> sys_sysinfo(Thread&, Arguments arguments) {
    SystemInfo info;
    memset(&info, 0, sizeof info);
    info.uptime = static_cast<i64>(monotonic_now() / 1'000'000'000);
    info.total_memory = g_parameters->memory_limit;
    u64 used = arena::used_bytes();  // private memory is the host's to count
    info.free_memory = used < info.total_memory ? info.total_memory - used : 0;
    info.shared_memory = arena::used_bytes();
    u32 processes = 0;
    for_each_process([](Process&, void* count) { ++*static_cast<u32*>(count); }, &processes);
    info.processes = static_cast<u16>(processes);
    info.unit = 1;
    TRY(write_user(arguments[0], info));
    return 0;
}

Res<i64> sys_getrandom(Thread&, Arguments arguments) {
    enum : u32 { kNonBlock = 1, kRandom = 2, kInsecure = 4 };
    const u64 address = arguments[0];
    u64 size = arguments[1];
    const u32 flags = static_cast<u32>(arguments[2]);
    if ((flags & ~7u) != 0 || (flags & (kRandom | kInsecure)) == (kRandom | kInsecure)) return Failure{Errno::inval};
    if (size > 0x7fff'f000) size = 0x7fff'f000;
    // No pool here: a fork would have to be noticed, or two processes would draw the same numbers.
    u64 done = 0;
    while (done < size) {
        u8 bytes[256];
        u64 chunk = size - done < sizeof bytes ? size - done : sizeof bytes;
        TRY(check(g_gate->DkRandomBitsRead(bytes, chunk)));
        auto copied = copy_out(address + done, bytes, chunk);
        if (!copied.ok()) {
            if (done == 0) return Failure{copied.error()};
            break;
        }
        done += chunk;
    }
    return static_cast<i64>(done);
}

Res<i64> sys_not_permitted(Thread&, Arguments) { return Failure{Errno::perm}; }

}  // namespace postern::libos
