// SPDX-License-Identifier: Apache-2.0
// /proc's files about the system. The system is the family: its memory is its limit, its processes are its members, and
// what only the host could know (loads, interrupts, disks) is told as that of an idle machine.
#include <cpuid.h>

#include "base/memory.hpp"
#include "libos/net/proc_files.hpp"
#include "libos/proc/mounts.hpp"
#include "libos/proc/node.hpp"
#include "libos/proc/system.hpp"
#include "libos/process/table.hpp"
#include "libos/shared/arena.hpp"
#include "libos/sysv/objects.hpp"
#include "libos/time/timers.hpp"

namespace postern::libos {

namespace {

constexpr u64 kTick = 10'000'000, kSecond = 1'000'000'000;

struct Census {
    u32 processes = 0, threads = 0, running = 0, last = 0;
    u64 cpu = 0;
};
Census take_census() {
    Census census;
    // Called with the table locked only for files of a process; these are of none.
    for_each_process(
        [](Process& process, void* cookie) {
            Census& census = *static_cast<Census*>(cookie);
            ++census.processes;
            census.threads += process.thread_count;
            for (Thread* thread = process.threads.front(); thread != nullptr; thread = process.threads.next(*thread))
                if (thread->block_mode == BlockMode::running) ++census.running;
            census.cpu += process.cpu_time + process.cpu_user_children;
            if (process.pid > census.last) census.last = process.pid;
        },
        &census);
    u64 own = 0;
    g_gate->DkSystemTimeQuery(gate::Clock::process_cpu, &own);
    census.cpu += own;
    return census;
}

u32 processors() { return g_parameters->processor_count != 0 ? g_parameters->processor_count : 1; }

Res<void> write_memory(const Subject&, ProcText& text) {
    const u64 total = g_parameters->memory_limit, used = arena::used_bytes();
    const u64 available = used < total ? total - used : 0;
    auto row = [&](const char* name, u64 bytes) { text.add(name, Padded{static_cast<i64>(bytes / 1024), 8}, " kB\n"); };
    row("MemTotal:       ", total);
    row("MemFree:        ", available);
    row("MemAvailable:   ", available);
    row("Buffers:        ", 0);
    row("Cached:         ", used);
    row("SwapCached:     ", 0);
    row("Active:         ", used);
    row("Inactive:       ", 0);
    row("SwapTotal:      ", 0);
    row("SwapFree:       ", 0);
    row("Dirty:          ", 0);
    row("Writeback:      ", 0);
    row("AnonPages:      ", 0);
    row("Mapped:         ", 0);
    row("Shmem:          ", used);
    row("Slab:           ", 0);
    row("SReclaimable:   ", 0);
    row("SUnreclaim:     ", 0);
    row("KernelStack:    ", 0);
    row("PageTables:     ", 0);
    row("CommitLimit:    ", total);
    row("Committed_AS:   ", used);
    row("VmallocTotal:   ", 0x7fff'ffff'fc00);
    row("VmallocUsed:    ", 0);
    text.add(
        "HugePages_Total:       0\nHugePages_Free:        0\nHugePages_Rsvd:        0\nHugePages_Surp:        0\n");
    row("Hugepagesize:   ", 2 << 20);
    return {};
}

struct Feature {
    u32 leaf, word, bit;
    const char* name;
};  // word: 0 eax, 1 ebx, 2 ecx, 3 edx
constexpr Feature kFeatures[] = {
    {1, 3, 0, "fpu"},
    {1, 3, 4, "tsc"},
    {1, 3, 5, "msr"},
    {1, 3, 6, "pae"},
    {1, 3, 8, "cx8"},
    {1, 3, 15, "cmov"},
    {1, 3, 19, "clflush"},
    {1, 3, 23, "mmx"},
    {1, 3, 24, "fxsr"},
    {1, 3, 25, "sse"},
    {1, 3, 26, "sse2"},
    {1, 3, 28, "ht"},
    {0x8000'0001, 3, 11, "syscall"},
    {0x8000'0001, 3, 20, "nx"},
    {0x8000'0001, 3, 27, "rdtscp"},
    {0x8000'0001, 3, 29, "lm"},
    {1, 2, 0, "pni"},
    {1, 2, 1, "pclmulqdq"},
    {1, 2, 9, "ssse3"},
    {1, 2, 12, "fma"},
    {1, 2, 13, "cx16"},
    {1, 2, 19, "sse4_1"},
    {1, 2, 20, "sse4_2"},
    {1, 2, 22, "movbe"},
    {1, 2, 23, "popcnt"},
    {1, 2, 25, "aes"},
    {1, 2, 26, "xsave"},
    {1, 2, 28, "avx"},
    {1, 2, 29, "f16c"},
    {1, 2, 30, "rdrand"},
    {1, 2, 31, "hypervisor"},
    {0x8000'0001, 2, 0, "lahf_lm"},
    {0x8000'0001, 2, 5, "abm"},
    {7, 1, 0, "fsgsbase"},
    {7, 1, 3, "bmi1"},
    {7, 1, 5, "avx2"},
    {7, 1, 8, "bmi2"},
    {7, 1, 9, "erms"},
    {7, 1, 16, "avx512f"},
    {7, 1, 17, "avx512dq"},
    {7, 1, 18, "rdseed"},
    {7, 1, 19, "adx"},
    {7, 1, 23, "clflushopt"},
    {7, 1, 28, "avx512cd"},
    {7, 1, 29, "sha_ni"},
    {7, 1, 30, "avx512bw"},
    {7, 1, 31, "avx512vl"},
    {7, 2, 8, "gfni"},
    {7, 2, 9, "vaes"},
    {7, 2, 10, "vpclmulqdq"},
    {7, 3, 4, "fsrm"},
};

Res<void> write_processors(const Subject&, ProcText& text) {
    u32 a, b, c, d;
    __cpuid(0, a, b, c, d);
    const u32 most = a;
    const u32 vendor_words[3] = {b, d, c};
    char vendor[13] = {}, brand[49] = {};
    memcpy(vendor, vendor_words, 12);
    __cpuid(0x8000'0000, a, b, c, d);
    const u32 most_extended = a;
    if (most_extended >= 0x8000'0004)
        for (u32 leaf = 0; leaf < 3; ++leaf) {
            u32 words[4];
            __cpuid(0x8000'0002 + leaf, words[0], words[1], words[2], words[3]);
            memcpy(brand + leaf * 16, words, 16);
        }
    __cpuid(1, a, b, c, d);
    u32 family = a >> 8 & 15, model = a >> 4 & 15, stepping = a & 15;
    if (family == 15) family += a >> 20 & 0xff;
    if (family >= 6) model |= (a >> 16 & 15) << 4;
    for (u32 processor = 0; processor < processors(); ++processor) {
        text.add("processor\t: ", processor, "\nvendor_id\t: ", &vendor[0], "\ncpu family\t: ", family,
                 "\nmodel\t\t: ", model, "\nmodel name\t: ", &brand[0], "\nstepping\t: ", stepping,
                 "\ncpu MHz\t\t: 2000.000\nphysical id\t: 0\nsiblings\t: ", processors(), "\ncore id\t\t: ", processor,
                 "\ncpu cores\t: ", processors(), "\napicid\t\t: ", processor, "\ninitial apicid\t: ", processor,
                 "\nfpu\t\t: yes\nfpu_exception\t: yes\ncpuid level\t: ", most, "\nwp\t\t: yes\nflags\t\t:");
        for (const Feature& feature : kFeatures) {
            if ((feature.leaf < 0x8000'0000 ? most : most_extended) < feature.leaf) continue;
            u32 words[4];
            __cpuid_count(feature.leaf, 0, words[0], words[1], words[2], words[3]);
            if ((words[feature.word] >> feature.bit & 1) != 0) text.add(' ', feature.name);
        }
        text.add(
            "\nbugs\t\t:\nbogomips\t: 4000.00\nclflush size\t: 64\ncache_alignment\t: 64\n"
            "address sizes\t: 46 bits physical, 48 bits virtual\npower management:\n\n");
    }
    return {};
}

Res<void> write_stat(const Subject&, ProcText& text) {
    Census census = take_census();
    const u64 uptime = monotonic_now(), busy = census.cpu / kTick;
    const u64 all = uptime / kTick * processors();
    const u64 idle = all > busy ? all - busy : 0;
    text.add("cpu  ", busy, " 0 0 ", idle, " 0 0 0 0 0 0\n");
    for (u32 processor = 0; processor < processors(); ++processor)
        text.add("cpu", processor, ' ', busy / processors(), " 0 0 ", idle / processors(), " 0 0 0 0 0 0\n");
    text.add("intr 0\nctxt 0\nbtime ", (realtime_now() - uptime) / kSecond, "\nprocesses ", census.last,
             "\nprocs_running ", census.running != 0 ? census.running : 1,
             "\nprocs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n");
    return {};
}

Res<void> write_uptime(const Subject&, ProcText& text) {
    Census census = take_census();
    const u64 uptime = monotonic_now() / kTick, all = uptime * processors(), busy = census.cpu / kTick;
    const u64 idle = all > busy ? all - busy : 0;
    text.add(uptime / 100, '.', Padded{static_cast<i64>(uptime % 100), 2, '0'}, ' ', idle / 100, '.',
             Padded{static_cast<i64>(idle % 100), 2, '0'}, '\n');
    return {};
}

Res<void> write_load(const Subject&, ProcText& text) {
    Census census = take_census();
    text.add("0.00 0.00 0.00 ", census.running != 0 ? census.running : 1, '/', census.threads, ' ', census.last, '\n');
    return {};
}

Res<void> write_version(const Subject&, ProcText& text) {
    text.add("Linux version ", kSystemRelease, " (postern@postern) (gcc) ", kSystemVersion, '\n');
    return {};
}
Res<void> write_file_systems(const Subject&, ProcText& text) {
    text.add(
        "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tdevtmpfs\nnodev\tpipefs\nnodev\tsockfs\nnodev\tpostern\n");
    return {};
}
Res<void> write_boot_line(const Subject&, ProcText& text) {
    text.add("postern\n");
    return {};
}
Res<void> write_devices(const Subject&, ProcText& text) {
    text.add("Character devices:\n  1 mem\n  5 /dev/tty\n\nBlock devices:\n");
    return {};
}
Res<void> write_nothing(const Subject&, ProcText&) { return {}; }
Res<void> write_swaps(const Subject&, ProcText& text) {
    text.add("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
    return {};
}
Res<void> write_cgroups(const Subject&, ProcText& text) {
    text.add("#subsys_name\thierarchy\tnum_cgroups\tenabled\n");
    return {};
}
Res<void> write_network_devices(const Subject&, ProcText& text) {
    text.add(
        "Inter-|   Receive                                                |  Transmit\n"
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls "
        "carrier compressed\n"
        "    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       "
        "0"
        "          0\n");
    return {};
}
Res<void> write_inet6_addresses(const Subject&, ProcText& text) {
    text.add("00000000000000000000000000000001 01 80 10 80       lo\n");
    return {};
}
Res<void> write_routes(const Subject&, ProcText& text) {
    text.add(
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"
        "                                                       \n");
    return {};
}
Res<void> write_vm_stat(const Subject&, ProcText& text) {
    const u64 total = g_parameters->memory_limit, used = arena::used_bytes();
    text.add("nr_free_pages ", (used < total ? total - used : 0) / kPageSize,
             "\npgpgin 0\npgpgout 0\npswpin 0\npswpout 0\n"
             "pgfault 0\npgmajfault 0\n");
    return {};
}

Res<usize> put_text(char* buffer, usize capacity, std::string_view text) {
    usize length = text.size() < capacity ? text.size() : capacity;
    memcpy(buffer, text.data(), length);
    return length;
}
Res<usize> link_self(const Subject& subject, char* buffer, usize capacity) {
    TextBuffer<16> text;
    text.add(subject.caller.process->pid);
    return put_text(buffer, capacity, text.view());
}
Res<usize> link_thread_self(const Subject& subject, char* buffer, usize capacity) {
    TextBuffer<40> text;
    text.add(subject.caller.process->pid, "/task/", subject.caller.tid);
    return put_text(buffer, capacity, text.view());
}

constexpr Node file(const char* name, TextWriter text, u32 mode = 0444) {
    return {.name = name, .kind = NodeKind::file, .mode = mode, .text = text};
}

constexpr Node kNet[] = {file("dev", write_network_devices), file("if_inet6", write_inet6_addresses),
                         file("route", write_routes),        file("tcp", write_net_tcp),
                         file("tcp6", write_net_tcp6),       file("udp", write_net_udp),
                         file("udp6", write_net_udp6),       file("unix", write_net_unix)};

Res<void> write_segments(const Subject& subject, ProcText& text) { return segments_text(subject.caller, text); }
Res<void> write_semaphores(const Subject& subject, ProcText& text) { return semaphores_text(subject.caller, text); }
Res<void> write_queues(const Subject& subject, ProcText& text) { return queues_text(subject.caller, text); }
constexpr Node kSysvNodes[] = {file("msg", write_queues), file("sem", write_semaphores), file("shm", write_segments)};

/// proc(5): how ps and lsof name what st_rdev and tty_nr say.
Res<void> write_terminal_drivers(const Subject&, ProcText& text) {
    text.add(
        "/dev/tty             /dev/tty        5       0 system:/dev/tty\n"
        "/dev/ptmx            /dev/ptmx       5       2 system\n"
        "pty_slave            /dev/pts      136 0-1048575 pty:slave\n"
        "pty_master           /dev/ptm      128 0-1048575 pty:master\n");
    return {};
}
Res<void> write_line_disciplines(const Subject&, ProcText& text) {
    text.add("n_tty       0\n");
    return {};
}
constexpr Node kTerminalNodes[] = {file("drivers", write_terminal_drivers), file("ldiscs", write_line_disciplines)};

constexpr Node kRootNodes[] = {
    file("cgroups", write_cgroups),
    file("cmdline", write_boot_line),
    file("config.gz", write_configuration),
    file("cpuinfo", write_processors),
    file("devices", write_devices),
    file("filesystems", write_file_systems),
    file("interrupts", write_nothing),
    file("loadavg", write_load),
    file("meminfo", write_memory),
    file("modules", write_nothing),
    {.name = "mounts", .kind = NodeKind::link, .mode = 0777, .target = "self/mounts"},
    {.name = "net",
     .kind = NodeKind::directory,
     .mode = 0555,
     .children = kNet,
     .child_count = sizeof kNet / sizeof *kNet},
    file("partitions", write_nothing),
    {.name = "self", .kind = NodeKind::link, .mode = 0777, .link = link_self},
    file("stat", write_stat),
    file("swaps", write_swaps),
    {.name = "sys", .kind = NodeKind::directory, .mode = 0555, .children = kProcSysNodes, .child_count = kProcSysCount},
    {.name = "sysvipc", .kind = NodeKind::directory, .mode = 0555, .children = kSysvNodes, .child_count = 3},
    {.name = "thread-self", .kind = NodeKind::link, .mode = 0777, .link = link_thread_self},
    {.name = "tty", .kind = NodeKind::directory, .mode = 0555, .children = kTerminalNodes, .child_count = 2},
    file("uptime", write_uptime),
    file("version", write_version),
    file("vmstat", write_vm_stat),
};

}  // namespace

const Node kProcRoot{.name = "proc",
                     .kind = NodeKind::root,
                     .mode = 0555,
                     .children = kRootNodes,
                     .child_count = sizeof kRootNodes / sizeof *kRootNodes};

}  // namespace postern::libos
