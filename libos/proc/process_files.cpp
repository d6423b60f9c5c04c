// SPDX-License-Identifier: Apache-2.0
// /proc/PID: what programs read about processes (proc(5)), told of the family's members only.
#include "base/memory.hpp"
#include "libos/fs/mount.hpp"
#include "libos/fs/path.hpp"
#include "libos/proc/address_space.hpp"
#include "libos/proc/mounts.hpp"
#include "libos/proc/node.hpp"
#include "libos/proc/observe.hpp"
#include "libos/process/process.hpp"
#include "libos/process/seccomp.hpp"
#include "libos/process/table.hpp"
#include "libos/ptrace/tracing.hpp"
#include "libos/time/timers.hpp"
#include "libos/tty/devices.hpp"
#include "libos/tty/session.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

u32 tracer_of(const Thread* thread) {
    if (thread == nullptr || thread->tracing == nullptr || thread->tracing->tracer == nullptr) return 0;
    return thread->tracing->tracer->pid;
}

constexpr u64 kTick = 10'000'000;  // nanoseconds: USER_HZ is 100

char state_of(const Subject& subject) {
    const Process& process = *subject.process;
    if (process.state == ProcessState::zombie) return 'Z';
    const Thread* thread = subject.thread;
    if (thread != nullptr && thread->tracing != nullptr &&
        (thread->tracing->stopped != 0 || (thread->tracing->mode == TraceResume::listen && held_by_stop(*thread))))
        return 't';
    if (process.state == ProcessState::stopped && (thread == nullptr || held_by_stop(*thread))) return 'T';
    if (subject.thread == nullptr) return 'X';
    if (subject.thread == &subject.caller || subject.thread->block_mode == BlockMode::running) return 'R';
    return 'S';
}
const char* state_name(char state) {
    switch (state) {
        case 'Z': return "Z (zombie)";
        case 'T': return "T (stopped)";
        case 't': return "t (tracing stop)";
        case 'R': return "R (running)";
        case 'X': return "X (dead)";
        default: return "S (sleeping)";
    }
}

std::string_view name_of(const Subject& subject) {
    if (subject.thread != nullptr && subject.thread->name[0] != 0)
        return {subject.thread->name, strlen(subject.thread->name)};
    // A zombie has no thread left: its program's name stands for it, as long as a name may be.
    std::string_view path{subject.process->executable, strlen(subject.process->executable)};
    usize from = path.size();
    while (from > 0 && path[from - 1] != '/') --from;
    usize length = path.size() - from < 15 ? path.size() - from : 15;
    return {path.data() + from, length};
}

u64 cpu_time(const Subject& subject) {
    if (!subject.own()) return subject.observed != nullptr ? subject.observed->cpu : subject.process->cpu_time;
    u64 used = 0;
    g_gate->DkSystemTimeQuery(gate::Clock::process_cpu, &used);
    return used;
}

Memory memory_of(const Subject& subject) {
    if (!subject.own()) return subject.observed != nullptr ? subject.observed->memory : Memory{};
    return subject.process->space != nullptr ? measure(*subject.process->space) : Memory{};
}

struct Handlers {
    u64 ignored = 0, caught = 0;
};
Handlers handlers_of(const Process& process) {
    Handlers result;
    for (u32 signal = 1; signal <= kSignalCount; ++signal) {
        u64 handler = process.signals.actions[signal].handler;
        if (handler == 1) result.ignored |= signal_bit(signal);
        if (handler > 1) result.caught |= signal_bit(signal);
    }
    return result;
}

u32 parent_of(const Process& process) { return process.parent != nullptr ? process.parent->pid : 1; }

Res<void> write_stat(const Subject& subject, ProcText& text) {
    const Process& process = *subject.process;
    const Thread* thread = subject.thread;
    Memory memory = memory_of(subject);
    Handlers handlers = handlers_of(process);
    u64 cpu = cpu_time(subject) / kTick;
    u32 number = 0, group = foreground_of(process, number);
    u32 terminal = group == ~0u ? 0 : terminal_device(number);
    i32 foreground = group == ~0u ? -1 : static_cast<i32>(group);
    i32 nice = thread != nullptr ? thread->nice : 0;
    text.add(thread != nullptr ? thread->tid : process.pid, " (", name_of(subject), ") ", state_of(subject), ' ',
             parent_of(process), ' ', process.pgid, ' ', process.sid, ' ', terminal, ' ', foreground,
             " 4194304 0 0 0 0 ", cpu, " 0 ", process.cpu_user_children / kTick, ' ',
             process.cpu_system_children / kTick, ' ', 20 + nice, ' ', nice, ' ', process.thread_count, " 0 ",
             process.start_time / kTick, ' ', memory.mapped, ' ', memory.accessible / kPageSize,
             " 18446744073709551615 ", memory.code_start, ' ', memory.code_end, ' ',
             subject.own() ? process.start_stack : 0, " 0 0 ");
    text.add(process.signals.pending.set & 0x7fff'ffff, ' ', thread != nullptr ? thread->signals.mask & 0x7fff'ffff : 0,
             ' ', handlers.ignored & 0x7fff'ffff, ' ', handlers.caught & 0x7fff'ffff, " 0 0 0 ", process.exit_signal,
             " 0 0 ", thread != nullptr ? thread->scheduler : 0, " 0 0 0 ", memory.data_start, ' ', memory.data_end,
             ' ', memory.break_start, " 0 0 0 0 ", process.state == ProcessState::zombie ? process.exit_status : 0,
             '\n');
    return {};
}

Res<void> write_statm(const Subject& subject, ProcText& text) {
    Memory memory = memory_of(subject);
    text.add(memory.mapped / kPageSize, ' ', memory.accessible / kPageSize, ' ', memory.file / kPageSize, ' ',
             memory.code / kPageSize, " 0 ", memory.data / kPageSize, " 0\n");
    return {};
}

Res<void> write_status(const Subject& subject, ProcText& text) {
    const Process& process = *subject.process;
    const Thread* thread = subject.thread;
    const Credentials& credentials = process.credentials;
    Handlers handlers = handlers_of(process);
    u32 tid = thread != nullptr ? thread->tid : process.pid;
    text.add("Name:\t", name_of(subject), "\nUmask:\t", Octal{process.fs != nullptr ? process.fs->umask : 022u, 4},
             "\nState:\t", state_name(state_of(subject)), "\nTgid:\t", process.pid, "\nNgid:\t0\nPid:\t", tid,
             "\nPPid:\t", parent_of(process), "\nTracerPid:\t", tracer_of(thread), "\nUid:\t", credentials.uid, '\t',
             credentials.euid, '\t', credentials.suid, '\t', credentials.fsuid, "\nGid:\t", credentials.gid, '\t',
             credentials.egid, '\t', credentials.sgid, '\t', credentials.fsgid, "\nFDSize:\t64\nGroups:\t");
    for (u32 index = 0; index < credentials.group_count && index < 32; ++index)
        text.add(credentials.groups[index], ' ');
    text.add("\nNStgid:\t", process.pid, "\nNSpid:\t", tid, "\nNSpgid:\t", process.pgid, "\nNSsid:\t", process.sid,
             '\n');
    if (process.state != ProcessState::zombie) {
        Memory memory = memory_of(subject);
        auto kib = [&](const char* name, u64 bytes) {
            text.add(name, ":\t", Padded{static_cast<i64>(bytes / 1024), 8}, " kB\n");
        };
        kib("VmPeak", memory.mapped);
        kib("VmSize", memory.mapped);
        kib("VmLck", subject.own() && process.space != nullptr ? process.space->locked_bytes()
                     : subject.observed != nullptr             ? subject.observed->locked
                                                               : 0);
        kib("VmPin", 0);
        kib("VmHWM", memory.accessible);
        kib("VmRSS", memory.accessible);
        kib("RssAnon", memory.accessible - memory.file);
        kib("RssFile", memory.file);
        kib("RssShmem", 0);
        kib("VmData", memory.data);
        kib("VmStk", memory.stack);
        kib("VmExe", memory.code);
        kib("VmLib", 0);
        kib("VmPTE", 64);
        kib("VmSwap", 0);
        text.add("CoreDumping:\t0\nTHP_enabled:\t0\n");
    }
    text.add("Threads:\t", process.thread_count, "\nSigQ:\t", process.queued_signals, '/', process.limits[11][0],
             "\nSigPnd:\t", Hex{thread != nullptr ? thread->signals.pending.set : 0, 16}, "\nShdPnd:\t",
             Hex{process.signals.pending.set, 16}, "\nSigBlk:\t", Hex{thread != nullptr ? thread->signals.mask : 0, 16},
             "\nSigIgn:\t", Hex{handlers.ignored, 16}, "\nSigCgt:\t", Hex{handlers.caught, 16}, "\nCapInh:\t",
             Hex{credentials.capabilities_inheritable, 16}, "\nCapPrm:\t", Hex{credentials.capabilities_permitted, 16},
             "\nCapEff:\t", Hex{credentials.capabilities_effective, 16}, "\nCapBnd:\t",
             Hex{credentials.capabilities_bounding, 16}, "\nCapAmb:\t", Hex{credentials.capabilities_ambient, 16},
             "\nNoNewPrivs:\t", process.no_new_privileges, "\nSeccomp:\t", thread != nullptr ? thread->seccomp_mode : 0,
             "\nSeccomp_filters:\t", thread != nullptr ? seccomp_filter_count(*thread) : 0, '\n');
    u32 processors = g_parameters->processor_count;
    u64 mask = processors >= 64 ? ~0ull : (1ull << processors) - 1;
    text.add("Speculation_Store_Bypass:\tvulnerable\nCpus_allowed:\t",
             Hex{thread != nullptr ? thread->affinity & mask : mask, 1}, "\nCpus_allowed_list:\t0");
    if (processors > 1) text.add('-', processors - 1);
    text.add(
        "\nMems_allowed:\t1\nMems_allowed_list:\t0\nvoluntary_ctxt_switches:\t0\nnonvoluntary_ctxt_switches:\t0\n");
    return {};
}

Res<void> write_command_line(const Subject& subject, ProcText& text) {
    const Process& process = *subject.process;
    if (process.state == ProcessState::zombie || process.command_line == nullptr) return {};
    text.append({process.command_line, process.command_line_size});
    return {};
}
Res<void> write_environment(const Subject& subject, ProcText& text) {
    const Process& process = *subject.process;
    if (process.state == ProcessState::zombie || process.environment == nullptr) return {};
    text.append({process.environment, process.environment_size});
    return {};
}

/// Read where the program's start has put it: behind its arguments and environment.
Res<void> write_auxiliary(const Subject& subject, ProcText& text) {
    const Process& process = *subject.process;
    if (!subject.own() && !may_look_into(*subject.caller.process, process)) return Failure{Errno::acces};
    text.append({reinterpret_cast<const char*>(process.auxiliary), process.auxiliary_count * sizeof(u64)});
    return {};
}

Res<void> write_name(const Subject& subject, ProcText& text) {
    text.add(name_of(subject), '\n');
    return {};
}
Res<void> store_name(const Subject& subject, std::string_view name) {
    if (subject.process != subject.caller.process || subject.thread == nullptr) return Failure{Errno::inval};
    memset(subject.thread->name, 0, sizeof subject.thread->name);
    copy_string(subject.thread->name, sizeof subject.thread->name, name);
    return {};
}

Res<void> write_limits(const Subject& subject, ProcText& text) {
    struct Row {
        u32 index;
        const char* name;
        const char* unit;
    };
    // In the order and with the padding of the kernel's own table: programs cut columns out of it.
    static constexpr Row kRows[] = {
        {0, "Max cpu time             ", "seconds"},   {1, "Max file size            ", "bytes"},
        {2, "Max data size            ", "bytes"},     {3, "Max stack size           ", "bytes"},
        {4, "Max core file size       ", "bytes"},     {5, "Max resident set         ", "bytes"},
        {6, "Max processes            ", "processes"}, {7, "Max open files           ", "files"},
        {8, "Max locked memory        ", "bytes"},     {9, "Max address space        ", "bytes"},
        {10, "Max file locks           ", "locks"},    {11, "Max pending signals      ", "signals"},
        {12, "Max msgqueue size        ", "bytes"},    {13, "Max nice priority        ", ""},
        {14, "Max realtime priority    ", ""},         {15, "Max realtime timeout     ", "us"},
    };
    text.add("Limit                     Soft Limit           Hard Limit           Units     \n");
    for (const Row& row : kRows) {
        text.add(row.name, ' ');
        for (u32 hard = 0; hard < 2; ++hard) {
            TextBuffer<32> value;
            u64 limit = subject.process->limits[row.index][hard];
            if (limit == ~0ull)
                value.add("unlimited");
            else
                value.add(limit);
            usize width = value.size();
            text.append(value.view());
            for (; width < 21; ++width) text.add(' ');
        }
        text.add(row.unit);
        for (usize width = strlen(row.unit); width < 10; ++width) text.add(' ');
        text.add('\n');
    }
    return {};
}

Res<void> write_cgroup(const Subject&, ProcText& text) {
    text.add("0::/\n");
    return {};
}
Res<void> write_score(const Subject& subject, ProcText& text) {
    text.add(667 + subject.process->oom_score_adjustment * 2 / 3, '\n');
    return {};
}
Res<void> write_score_adjustment(const Subject& subject, ProcText& text) {
    text.add(subject.process->oom_score_adjustment, '\n');
    return {};
}
Res<void> store_score_adjustment(const Subject& subject, std::string_view value) {
    bool negative = !value.empty() && value[0] == '-';
    if (negative) value.remove_prefix(1);
    i64 number = parse_number(value);
    if (number < 0 || number > 1000) return Failure{Errno::inval};
    if (negative) number = -number;
    if (number < subject.process->oom_score_adjustment && !has_capability(subject.caller, 24))
        return Failure{Errno::acces};
    subject.process->oom_score_adjustment = static_cast<i32>(number);
    return {};
}
Res<void> write_io(const Subject&, ProcText& text) {
    text.add("rchar: 0\nwchar: 0\nsyscr: 0\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n");
    return {};
}
Res<void> write_zero(const Subject&, ProcText& text) {
    text.add('0');
    return {};
}
Res<void> write_login(const Subject&, ProcText& text) {
    text.add(~0u);
    return {};
}
Res<void> write_personality(const Subject& subject, ProcText& text) {
    text.add(Hex{subject.process->personality, 8}, '\n');
    return {};
}
Res<void> write_schedstat(const Subject& subject, ProcText& text) {
    text.add(cpu_time(subject), " 0 0\n");
    return {};
}
Res<void> write_maps_node(const Subject& subject, ProcText& text) {
    if (!subject.own()) return Failure{Errno::acces};
    return write_maps(subject.caller, *subject.process->space, text, false);
}
Res<void> write_smaps_node(const Subject& subject, ProcText& text) {
    if (!subject.own()) return Failure{Errno::acces};
    return write_maps(subject.caller, *subject.process->space, text, true);
}
Res<void> write_smaps_rollup_node(const Subject& subject, ProcText& text) {
    if (!subject.own() && !may_look_into(*subject.caller.process, *subject.process)) return Failure{Errno::acces};
    Memory memory = memory_of(subject);
    text.add("00400000-7ffffffff000 ---p 00000000 00:00 0                          [rollup]\nRss:            ",
             Padded{static_cast<i64>(memory.accessible / 1024), 8},
             " kB\nPss:            ", Padded{static_cast<i64>(memory.accessible / 1024), 8}, " kB\n");
    return {};
}
/// "name value" per line for 1, as /proc/PID/uid_map of the first user namespace.
Res<void> write_identity_map(const Subject&, ProcText& text) {
    text.add("         0          0 4294967295\n");
    return {};
}
Res<void> write_allow(const Subject&, ProcText& text) {
    text.add("allow\n");
    return {};
}

Res<usize> put(char* buffer, usize capacity, std::string_view text) {
    usize length = text.size() < capacity ? text.size() : capacity;
    memcpy(buffer, text.data(), length);
    return length;
}
Res<usize> link_executable(const Subject& subject, char* buffer, usize capacity) {
    std::string_view path{subject.process->executable, strlen(subject.process->executable)};
    if (path.empty() || subject.process->state == ProcessState::zombie) return Failure{Errno::noent};
    return put(buffer, capacity, path);
}
Res<usize> link_working_directory(const Subject& subject, char* buffer, usize capacity) {
    FsContext* context = subject.process->fs;
    if (context == nullptr) return Failure{Errno::noent};
    return put(buffer, capacity, {context->cwd, strlen(context->cwd)});
}
Res<usize> link_root(const Subject& subject, char* buffer, usize capacity) {
    FsContext* context = subject.process->fs;
    if (context == nullptr) return Failure{Errno::noent};
    return put(buffer, capacity, {context->root, strlen(context->root)});
}

constexpr Node file(const char* name, u32 mode, TextWriter text, TextStore store = nullptr) {
    return {.name = name, .kind = NodeKind::file, .mode = mode, .text = text, .store = store};
}
constexpr Node asking(const char* name, u32 mode, TextWriter text, NodeAsks asks) {
    return {.name = name, .kind = NodeKind::file, .mode = mode, .text = text, .asks = asks};
}
constexpr Node link(const char* name, LinkWriter writer) {
    return {.name = name, .kind = NodeKind::link, .mode = 0777, .link = writer};
}
constexpr Node fixed_link(const char* name, const char* target) {
    return {.name = name, .kind = NodeKind::link, .mode = 0777, .target = target};
}
constexpr Node directory(const char* name, NodeKind kind, u32 mode, const Node* children = nullptr, u32 count = 0) {
    return {.name = name, .kind = kind, .mode = mode, .children = children, .child_count = count};
}

// The same numbers for everybody: there is one namespace of each kind.
constexpr Node kNamespaces[] = {
    fixed_link("cgroup", "cgroup:[4026531835]"), fixed_link("ipc", "ipc:[4026531839]"),
    fixed_link("mnt", "mnt:[4026531840]"),       fixed_link("net", "net:[4026531992]"),
    fixed_link("pid", "pid:[4026531836]"),       fixed_link("user", "user:[4026531837]"),
    fixed_link("uts", "uts:[4026531838]"),
};

#define POSTERN_TASK_NODES                                                                                            \
    directory("attr", NodeKind::directory, 0555), file("auxv", 0400, write_auxiliary),                                \
        file("cgroup", 0444, write_cgroup), file("cmdline", 0444, write_command_line),                                \
        file("comm", 0644, write_name, store_name), link("cwd", link_working_directory),                              \
        file("environ", 0400, write_environment), link("exe", link_executable),                                       \
        directory("fd", NodeKind::descriptors, 0500), directory("fdinfo", NodeKind::descriptor_infos, 0555),          \
        file("gid_map", 0444, write_identity_map), file("io", 0400, write_io), file("limits", 0444, write_limits),    \
        file("loginuid", 0444, write_login), asking("maps", 0444, write_maps_node, NodeAsks::maps),                   \
        Node{"mem", NodeKind::memory, 0600}, file("mountinfo", 0444, write_mount_info),                               \
        file("mounts", 0444, write_mounts), fixed_link("net", "/proc/net"),                                           \
        directory("ns", NodeKind::directory, 0511, kNamespaces, sizeof kNamespaces / sizeof *kNamespaces),            \
        file("oom_adj", 0444, write_zero), file("oom_score", 0444, write_score),                                      \
        file("oom_score_adj", 0644, write_score_adjustment, store_score_adjustment),                                  \
        file("personality", 0400, write_personality), link("root", link_root),                                        \
        asking("schedstat", 0444, write_schedstat, NodeAsks::measures), file("sessionid", 0444, write_login),         \
        file("setgroups", 0444, write_allow), asking("smaps", 0444, write_smaps_node, NodeAsks::detailed_maps),       \
        asking("smaps_rollup", 0444, write_smaps_rollup_node, NodeAsks::measures),                                    \
        asking("stat", 0444, write_stat, NodeAsks::measures), asking("statm", 0444, write_statm, NodeAsks::measures), \
        asking("status", 0444, write_status, NodeAsks::measures), file("uid_map", 0444, write_identity_map),          \
        file("wchan", 0444, write_zero)

constexpr Node kTaskNodes[] = {POSTERN_TASK_NODES};
constexpr Node kProcessNodes[] = {POSTERN_TASK_NODES, directory("task", NodeKind::tasks, 0555)};

#undef POSTERN_TASK_NODES

}  // namespace

const Node kProcessDirectory =
    directory("", NodeKind::directory, 0555, kProcessNodes, sizeof kProcessNodes / sizeof *kProcessNodes);
const Node kTaskDirectory =
    directory("", NodeKind::directory, 0555, kTaskNodes, sizeof kTaskNodes / sizeof *kTaskNodes);

}  // namespace postern::libos
