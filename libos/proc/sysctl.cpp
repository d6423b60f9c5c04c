// SPDX-License-Identifier: Apache-2.0
// /proc/sys and /sys: the values that C libraries and runtimes look at. Those that are obeyed can be changed by
// who has the right to.
#include "base/memory.hpp"
#include "libos/aio/calls.hpp"
#include "libos/proc/settings.hpp"
#include "libos/proc/system.hpp"
#include "libos/process/table.hpp"
#include "libos/shared/arena.hpp"
#include "libos/tty/terminal.hpp"

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
using Name = char[Settings::kNameSize];
template <Name Settings::*kName>
Res<void> write_name(const Subject&, ProcText& text) {
    Name name;
    read_name(settings().*kName, name);
    text.add(&name[0], '\n');
    return {};
}
template <Name Settings::*kName>
Res<void> store_name(const Subject&, std::string_view fresh) {
    for (usize at = 0; at < fresh.size(); ++at)
        if (fresh[at] == '\n' || fresh[at] == 0) fresh = {fresh.data(), at};
    if (fresh.size() >= Settings::kNameSize) fresh = {fresh.data(), Settings::kNameSize - 1};
    return set_name(settings().*kName, fresh);
}

/// A decimal number with blanks around it.
Res<u64> parse_value(std::string_view text) {
    auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == 0; };
    while (!text.empty() && blank(text.front())) text.remove_prefix(1);
    while (!text.empty() && blank(text.back())) text.remove_suffix(1);
    if (text.empty()) return Failure{Errno::inval};
    u64 value = 0;
    for (char digit : text)
        if (digit < '0' || digit > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, static_cast<u64>(digit - '0'), &value))
            return Failure{Errno::inval};
    return value;
}
template <i64 Settings::*kNumber>
Res<void> write_next(const Subject&, ProcText& text) {
    text.add(settings().*kNumber, '\n');
    return {};
}
template <i64 Settings::*kNumber>
Res<void> store_next(const Subject&, std::string_view text) {
    u64 value = TRY(parse_value(text));
    if (value > 0x7fff'ffff) return Failure{Errno::inval};
    settings().*kNumber = static_cast<i64>(value);
    return {};
}
Res<void> write_semaphore_limits(const Subject&, ProcText& text) {
    const auto& limits = settings().semaphore_limits;
    text.add(limits[0], '\t', limits[1], '\t', limits[2], '\t', limits[3], '\n');
    return {};
}
Res<void> store_semaphore_limits(const Subject&, std::string_view text) {
    constexpr u64 kMost[4] = {32000, 0x7fff'ffff, 500, 32768};
    u64 values[4];
    u32 count = 0;
    while (!text.empty() && count < 4) {
        usize from = 0;
        while (from < text.size() && (text[from] == ' ' || text[from] == '\t' || text[from] == '\n')) ++from;
        usize to = from;
        while (to < text.size() && text[to] != ' ' && text[to] != '\t' && text[to] != '\n') ++to;
        if (to == from) break;
        values[count] = TRY(parse_value({text.data() + from, to - from}));
        if (values[count] > kMost[count]) return Failure{Errno::inval};
        ++count;
        text.remove_prefix(to);
    }
    if (count == 0) return Failure{Errno::inval};
    for (u32 index = 0; index < count; ++index) settings().semaphore_limits[index] = values[index];
    return {};
}

template <u64 Settings::*kLimit>
Res<void> write_limit(const Subject&, ProcText& text) {
    text.add(settings().*kLimit, '\n');
    return {};
}
template <u64 Settings::*kLimit, u64 kLeast, u64 kMost>
Res<void> store_limit(const Subject&, std::string_view text) {
    u64 value = TRY(parse_value(text));
    if (value < kLeast || value > kMost) return Failure{Errno::inval};
    settings().*kLimit = value;
    return {};
}
Res<void> store_pipe_limit(const Subject&, std::string_view text) {
    u64 value = TRY(parse_value(text));
    u64 rounded = kPageSize;
    if (value == 0 || value > 1u << 31) return Failure{Errno::inval};
    while (rounded < value) rounded *= 2;
    settings().pipe_limit = rounded;
    return {};
}
Res<void> write_thread_limit(const Subject&, ProcText& text) {
    text.add(g_parameters->process_limit, '\n');
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
constexpr Node setting(const char* name, TextWriter text, TextStore store) {
    return {.name = name, .kind = NodeKind::file, .mode = 0644, .text = text, .store = store};
}
template <u32 kCount>
constexpr Node directory(const char* name, const Node (&children)[kCount]) {
    return {.name = name, .kind = NodeKind::directory, .mode = 0555, .children = children, .child_count = kCount};
}
constexpr Node empty(const char* name) { return {.name = name, .kind = NodeKind::directory, .mode = 0555}; }

constexpr Node kRandom[] = {
    file("boot_id", write_boot_uuid),
    file("entropy_avail", constant<"256\n">),
    file("poolsize", constant<"256\n">),
    file("uuid", write_fresh_uuid),
};
Res<void> write_terminal_count(const Subject&, ProcText& text) {
    text.add(terminal_count(), '\n');
    return {};
}
constexpr Node kPty[] = {
    file("max", constant<"4096\n">),
    file("nr", write_terminal_count),
    file("reserve", constant<"1024\n">),
};
/// The next number is sought from the one after this on.
Res<void> write_last_number(const Subject&, ProcText& text) {
    text.add(process_table().next_number - 1, '\n');
    return {};
}
Res<void> store_last_number(const Subject&, std::string_view text) {
    u64 value = TRY(parse_value(text));
    if (value >= settings().number_limit) return Failure{Errno::inval};
    Guard guard{process_table_lock()};
    process_table().next_number = static_cast<u32>(value) + 1;
    return {};
}
constexpr Node kKernel[] = {
    file("cap_last_cap", constant<"40\n">),
    file("core_pattern", constant<"core\n">),
    setting("domainname", write_name<&Settings::domain>, store_name<&Settings::domain>),
    setting("hostname", write_name<&Settings::node>, store_name<&Settings::node>),
    setting("msg_next_id", write_next<&Settings::next_queue>, store_next<&Settings::next_queue>),
    setting("msgmax", write_limit<&Settings::message_limit>, store_limit<&Settings::message_limit, 0, 0x7fff'ffff>),
    setting("msgmnb", write_limit<&Settings::queue_bytes_limit>,
            store_limit<&Settings::queue_bytes_limit, 0, 0x7fff'ffff>),
    setting("msgmni", write_limit<&Settings::queue_limit>, store_limit<&Settings::queue_limit, 0, 32768>),
    file("ngroups_max", constant<"65536\n">),
    setting("ns_last_pid", write_last_number, store_last_number),
    file("osrelease", write_release),
    file("ostype", constant<"Linux\n">),
    file("overflowgid", constant<"65534\n">),
    file("overflowuid", constant<"65534\n">),
    file("perf_event_paranoid", constant<"4\n">),
    setting("pid_max", write_limit<&Settings::number_limit>, store_limit<&Settings::number_limit, 301, 4194304>),
    directory("pty", kPty),
    directory("random", kRandom),
    file("randomize_va_space", constant<"2\n">),
    setting("sem", write_semaphore_limits, store_semaphore_limits),
    setting("sem_next_id", write_next<&Settings::next_semaphore>, store_next<&Settings::next_semaphore>),
    setting("shm_next_id", write_next<&Settings::next_segment>, store_next<&Settings::next_segment>),
    file("shm_rmid_forced", constant<"0\n">),
    setting("shmall", write_limit<&Settings::segment_pages_limit>,
            store_limit<&Settings::segment_pages_limit, 0, ~0ull>),
    setting("shmmax", write_limit<&Settings::segment_size_limit>, store_limit<&Settings::segment_size_limit, 0, ~0ull>),
    setting("shmmni", write_limit<&Settings::segment_limit>, store_limit<&Settings::segment_limit, 0, 32768>),
    file("tainted", constant<"0\n">),
    file("threads-max", write_thread_limit),
    file("unprivileged_userns_clone", constant<"0\n">),
    file("version", write_version),
    empty("yama"),
};
constexpr Node kTty[] = {file("ldisc_autoload", constant<"0\n">), file("legacy_tiocsti", constant<"0\n">)};
constexpr Node kSettingsOfDevices[] = {directory("tty", kTty)};
constexpr Node kVm[] = {
    setting("max_map_count", write_limit<&Settings::mapping_limit>,
            store_limit<&Settings::mapping_limit, 0, 0x7fff'ffff>),
    file("mmap_min_addr", write_mmap_minimum),
    file("nr_hugepages", constant<"0\n">),
    file("overcommit_memory", constant<"0\n">),
    file("overcommit_ratio", constant<"50\n">),
    file("swappiness", constant<"60\n">),
};
constexpr Node kInotify[] = {
    setting("max_queued_events", write_limit<&Settings::notify_queue_limit>,
            store_limit<&Settings::notify_queue_limit, 0, 0x7fff'ffff>),
    setting("max_user_instances", write_limit<&Settings::notify_instance_limit>,
            store_limit<&Settings::notify_instance_limit, 0, 0x7fff'ffff>),
    setting("max_user_watches", write_limit<&Settings::notify_watch_limit>,
            store_limit<&Settings::notify_watch_limit, 0, 0x7fff'ffff>),
};
constexpr Node kEpoll[] = {file("max_user_watches", constant<"524288\n">)};
constexpr Node kMqueue[] = {
    setting("msg_default", write_limit<&Settings::mq_message_default>,
            store_limit<&Settings::mq_message_default, 1, 65536>),
    setting("msg_max", write_limit<&Settings::mq_message_limit>, store_limit<&Settings::mq_message_limit, 1, 65536>),
    setting("msgsize_default", write_limit<&Settings::mq_size_default>,
            store_limit<&Settings::mq_size_default, 128, 16777216>),
    setting("msgsize_max", write_limit<&Settings::mq_size_limit>, store_limit<&Settings::mq_size_limit, 128, 16777216>),
    setting("queues_max", write_limit<&Settings::mq_queue_limit>,
            store_limit<&Settings::mq_queue_limit, 0, 0x7fff'ffff>),
};
Res<void> write_aio_total(const Subject&, ProcText& text) {
    text.add(aio_total(), '\n');
    return {};
}
constexpr Node kFs[] = {
    file("aio-max-nr", constant<"65536\n">),
    file("aio-nr", write_aio_total),
    directory("epoll", kEpoll),
    file("file-max", constant<"9223372036854775807\n">),
    file("file-nr", constant<"0\t0\t9223372036854775807\n">),
    directory("inotify", kInotify),
    setting("lease-break-time", write_limit<&Settings::lease_break_time>,
            store_limit<&Settings::lease_break_time, 0, 0x7fff'ffff>),
    file("leases-enable", constant<"1\n">),
    directory("mqueue", kMqueue),
    file("nr_open", constant<"1048576\n">),
    setting("pipe-max-size", write_limit<&Settings::pipe_limit>, store_pipe_limit),
    file("pipe-user-pages-hard", constant<"0\n">),
    file("pipe-user-pages-soft", constant<"16384\n">),
    file("protected_hardlinks", constant<"1\n">),
    file("protected_symlinks", constant<"1\n">),
};
// What libos/net does; nothing of it can be set.
constexpr Node kCore[] = {
    file("optmem_max", constant<"131072\n">),   file("rmem_default", constant<"212992\n">),
    file("rmem_max", constant<"212992\n">),     file("somaxconn", constant<"4096\n">),
    file("wmem_default", constant<"212992\n">), file("wmem_max", constant<"212992\n">),
};
constexpr Node kInternet[] = {
    file("ip_default_ttl", constant<"64\n">),
    file("ip_forward", constant<"0\n">),
    file("ip_local_port_range", constant<"32768\t60999\n">),
    file("ip_nonlocal_bind", constant<"0\n">),
    file("ip_unprivileged_port_start", constant<"1024\n">),
    file("tcp_available_congestion_control", constant<"reno cubic\n">),
    file("tcp_congestion_control", constant<"cubic\n">),
    file("tcp_fin_timeout", constant<"60\n">),
    file("tcp_keepalive_intvl", constant<"75\n">),
    file("tcp_keepalive_probes", constant<"9\n">),
    file("tcp_keepalive_time", constant<"7200\n">),
    file("tcp_max_syn_backlog", constant<"4096\n">),
    file("tcp_rmem", constant<"4096\t131072\t6291456\n">),
    file("tcp_syn_retries", constant<"6\n">),
    file("tcp_wmem", constant<"4096\t16384\t4194304\n">),
};
constexpr Node kInternet6Loopback[] = {file("disable_ipv6", constant<"0\n">)};
constexpr Node kInternet6Interfaces[] = {directory("all", kInternet6Loopback), directory("default", kInternet6Loopback),
                                         directory("lo", kInternet6Loopback)};
constexpr Node kInternet6[] = {file("bindv6only", constant<"0\n">), directory("conf", kInternet6Interfaces)};
constexpr Node kUnixSockets[] = {file("max_dgram_qlen", constant<"10\n">)};
constexpr Node kNetwork[] = {directory("core", kCore), directory("ipv4", kInternet), directory("ipv6", kInternet6),
                             directory("unix", kUnixSockets)};

constexpr Node kLoopback[] = {
    file("address", constant<"00:00:00:00:00:00\n">),
    file("carrier", constant<"1\n">),
    file("flags", constant<"0x9\n">),
    file("ifindex", constant<"1\n">),
    file("mtu", constant<"65536\n">),
    file("operstate", constant<"unknown\n">),
    file("tx_queue_len", constant<"1000\n">),
    file("type", constant<"772\n">),
};
constexpr Node kInterfaces[] = {directory("lo", kLoopback)};
constexpr Node kClasses[] = {directory("net", kInterfaces)};

constexpr Node kCpu[] = {
    file("kernel_max", constant<"8191\n">), file("offline", constant<"\n">),   file("online", write_processors),
    file("possible", write_processors),     file("present", write_processors),
};
constexpr Node kMemoryNode0[] = {file("cpulist", write_processors), empty("memory0")};
constexpr Node kMemoryNodes[] = {
    directory("node0", kMemoryNode0),
    file("online", constant<"0\n">),
    file("possible", constant<"0\n">),
};
constexpr Node kSystem[] = {directory("cpu", kCpu), directory("node", kMemoryNodes)};
constexpr Node kDevices[] = {directory("system", kSystem)};
constexpr Node kHugePages[] = {
    file("enabled", constant<"always madvise [never]\n">),
    file("hpage_pmd_size", constant<"2097152\n">),
};
constexpr Node kMm[] = {directory("transparent_hugepage", kHugePages)};
constexpr Node kSysKernel[] = {directory("mm", kMm)};
constexpr Node kSysFs[] = {empty("cgroup")};
constexpr Node kSysNodes[] = {
    empty("block"),
    empty("bus"),
    directory("class", kClasses),
    directory("devices", kDevices),
    directory("fs", kSysFs),
    directory("kernel", kSysKernel),
};

}  // namespace

const Node kProcSysNodes[kProcSysCount] = {directory("dev", kSettingsOfDevices), directory("fs", kFs),
                                           directory("kernel", kKernel), directory("net", kNetwork),
                                           directory("vm", kVm)};
const Node kSysRoot = directory("sys", kSysNodes);

}  // namespace postern::libos
