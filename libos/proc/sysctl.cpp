// SPDX-License-Identifier: Apache-2.0
// /proc/sys and /sys: the few values that C libraries and runtimes look at. None can be changed.
#include "base/memory.hpp"
#include "libos/ipc/pipe.hpp"
#include "libos/process/table.hpp"
#include "libos/proc/system.hpp"
#include "libos/shared/arena.hpp"

namespace postern::libos {

namespace {

/// A writer for a constant text.
template <usize Size>
struct Literal {
    char text[Size];
    constexpr Literal(const char (&from)[Size]) {
        for (usize index = 0; index < Size; ++index) text[index] = from[index];
    }
};
template <Literal kText>
Res<void> constant(const Subject&, ProcText& text) {
    text.append({kText.text, sizeof kText.text - 1});
    return {};
}

Res<void> write_release(const Subject&, ProcText& text) {
    text.add(kSystemRelease, '\n');
    return {};
}
Res<void> write_version(const Subject&, ProcText& text) {
    text.add(kSystemVersion, '\n');
    return {};
}
Res<void> write_node(const Subject&, ProcText& text) {
    text.add(kSystemNode, '\n');
    return {};
}
Res<void> write_number_limit(const Subject&, ProcText& text) {
    text.add(kNumberLimit, '\n');
    return {};
}
Res<void> write_thread_limit(const Subject&, ProcText& text) {
    text.add(g_parameters->process_limit, '\n');
    return {};
}
Res<void> write_pipe_limit(const Subject&, ProcText& text) {
    text.add(kPipeLargestSize, '\n');
    return {};
}
Res<void> write_mmap_minimum(const Subject&, ProcText& text) {
    text.add(g_parameters->user_low, '\n');
    return {};
}

void add_uuid(ProcText& text, const u8 (&bytes)[16]) {
    for (u32 index = 0; index < 16; ++index) {
        if (index == 4 || index == 6 || index == 8 || index == 10) text.add('-');
        u8 byte = bytes[index];
        if (index == 6) byte = static_cast<u8>((byte & 0x0f) | 0x40);  // version 4, random
        if (index == 8) byte = static_cast<u8>((byte & 0x3f) | 0x80);
        text.add(Hex{byte, 2});
    }
    text.add('\n');
}
Res<void> write_fresh_uuid(const Subject&, ProcText& text) {
    u8 bytes[16];
    TRY(check(g_gate->DkRandomBitsRead(bytes, sizeof bytes)));
    add_uuid(text, bytes);
    return {};
}
/// One for the life of the family: a family's start is its boot.
Res<void> write_boot_uuid(const Subject&, ProcText& text) {
    u8 bytes[16];
    u64 seed = process_table().first != nullptr ? process_table().first->start_time : 0;
    for (u32 index = 0; index < 16; ++index) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        bytes[index] = static_cast<u8>(seed >> 56);
    }
    add_uuid(text, bytes);
    return {};
}

Res<void> write_processors(const Subject&, ProcText& text) {
    u32 count = g_parameters->processor_count;
    text.add('0');
    if (count > 1) text.add('-', count - 1);
    text.add('\n');
    return {};
}

constexpr Node file(const char* name, TextWriter text, u32 mode = 0444) {
    return {.name = name, .kind = NodeKind::file, .mode = mode, .text = text};
}
template <u32 kCount>
constexpr Node directory(const char* name, const Node (&children)[kCount]) {
    return {.name = name, .kind = NodeKind::directory, .mode = 0555, .children = children, .child_count = kCount};
}
constexpr Node empty(const char* name) { return {.name = name, .kind = NodeKind::directory, .mode = 0555}; }

constexpr Node kRandom[] = {
    file("boot_id", write_boot_uuid), file("entropy_avail", constant<"256\n">), file("poolsize", constant<"256\n">),
    file("uuid", write_fresh_uuid),
};
constexpr Node kKernel[] = {
    file("cap_last_cap", constant<"40\n">), file("core_pattern", constant<"core\n">),
    file("domainname", constant<"(none)\n">), file("hostname", write_node), file("msgmax", constant<"8192\n">),
    file("msgmnb", constant<"16384\n">), file("msgmni", constant<"32000\n">), file("ngroups_max", constant<"65536\n">),
    file("osrelease", write_release), file("ostype", constant<"Linux\n">), file("overflowgid", constant<"65534\n">),
    file("overflowuid", constant<"65534\n">), file("perf_event_paranoid", constant<"4\n">),
    file("pid_max", write_number_limit), directory("random", kRandom), file("randomize_va_space", constant<"2\n">),
    file("sem", constant<"32000\t1024000000\t500\t32000\n">), file("shmall", constant<"18446744073692774399\n">),
    file("shmmax", constant<"18446744073692774399\n">), file("shmmni", constant<"4096\n">),
    file("threads-max", write_thread_limit), file("unprivileged_userns_clone", constant<"0\n">),
    file("version", write_version), empty("yama"),
};
constexpr Node kVm[] = {
    file("max_map_count", constant<"65530\n">), file("mmap_min_addr", write_mmap_minimum),
    file("nr_hugepages", constant<"0\n">), file("overcommit_memory", constant<"0\n">),
    file("overcommit_ratio", constant<"50\n">), file("swappiness", constant<"60\n">),
};
constexpr Node kInotify[] = {
    file("max_queued_events", constant<"16384\n">), file("max_user_instances", constant<"128\n">),
    file("max_user_watches", constant<"65536\n">),
};
constexpr Node kEpoll[] = {file("max_user_watches", constant<"524288\n">)};
constexpr Node kFs[] = {
    directory("epoll", kEpoll), file("file-max", constant<"9223372036854775807\n">),
    file("file-nr", constant<"0\t0\t9223372036854775807\n">), directory("inotify", kInotify),
    file("nr_open", constant<"1048576\n">), file("pipe-max-size", write_pipe_limit),
    file("protected_hardlinks", constant<"1\n">), file("protected_symlinks", constant<"1\n">),
};
constexpr Node kCore[] = {file("somaxconn", constant<"4096\n">)};
constexpr Node kNetwork[] = {directory("core", kCore)};

constexpr Node kCpu[] = {
    file("kernel_max", constant<"8191\n">), file("offline", constant<"\n">), file("online", write_processors),
    file("possible", write_processors), file("present", write_processors),
};
constexpr Node kMemoryNode0[] = {file("cpulist", write_processors), empty("memory0")};
constexpr Node kMemoryNodes[] = {
    directory("node0", kMemoryNode0), file("online", constant<"0\n">), file("possible", constant<"0\n">),
};
constexpr Node kSystem[] = {directory("cpu", kCpu), directory("node", kMemoryNodes)};
constexpr Node kDevices[] = {directory("system", kSystem)};
constexpr Node kHugePages[] = {
    file("enabled", constant<"always madvise [never]\n">), file("hpage_pmd_size", constant<"2097152\n">),
};
constexpr Node kMm[] = {directory("transparent_hugepage", kHugePages)};
constexpr Node kSysKernel[] = {directory("mm", kMm)};
constexpr Node kSysFs[] = {empty("cgroup")};
constexpr Node kSysNodes[] = {
    empty("block"), empty("bus"), empty("class"), directory("devices", kDevices), directory("fs", kSysFs),
    directory("kernel", kSysKernel),
};

}  // namespace

const Node kProcSysNodes[kProcSysCount] = {directory("fs", kFs), directory("kernel", kKernel), directory("net", kNetwork),
                                  directory("vm", kVm)};
const Node kSysRoot = directory("sys", kSysNodes);

}  // namespace postern::libos
