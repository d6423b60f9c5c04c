// SPDX-License-Identifier: Apache-2.0
#include "libos/process/usage.hpp"

#include "base/memory.hpp"
#include "libos/gate.hpp"
#include "libos/process/table.hpp"

namespace postern::libos {

namespace {

constexpr u64 kFresh = 1'000'000;  ///< an answer about oneself is good for so long: some ask in loops

struct LastAnswer {
    u32 host_id;
    u64 when;
    gate::MembersUsage usage;
};
LastAnswer g_last;  // private; for processes with one thread

/// Nothing where the host does not tell.
gate::MembersUsage ask(const u32* members, u32 count) {
    gate::MembersUsage usage = {};
    if (count == 0 || g_host->members_usage == nullptr) return usage;
    // Who has ended for the library OS may need a moment to end for the host, while its memory is freed.
    constexpr u32 kTries = 500;
    constexpr u64 kPause = 1'000'000;
    for (u32 tries = 0; tries < kTries; ++tries) {
        gate::Err error = g_host->members_usage(members, count, &usage);
        if (error == gate::Err::ok) return usage;
        if (error != gate::Err::would_block) break;
        u64 left = kPause;
        g_gate->DkThreadDelayExecution(&left);
    }
    return {};
}

void add(gate::MembersUsage& to, const gate::MembersUsage& more) {
    if (more.most_memory > to.most_memory) to.most_memory = more.most_memory;
    to.memory += more.memory;
    to.minor_faults += more.minor_faults;
    to.major_faults += more.major_faults;
    to.waits += more.waits;
    to.preemptions += more.preemptions;
    to.system_ns += more.system_ns;
}

}  // namespace

gate::MembersUsage ask_usage(const ReapedUsage& child) {
    u32 members[ChildrenUsage::kMost + 1];
    memcpy(members, child.children.unasked, child.children.count * sizeof members[0]);
    u32 count = child.children.count;
    if (child.host_id != 0) members[count++] = child.host_id;
    gate::MembersUsage usage = ask(members, count);
    add(usage, child.children.known);
    return usage;
}

ReapedUsage take_usage(const Process& child) {
    ReapedUsage usage;
    usage.host_id = child.last_host_id;
    usage.children = child.children_usage;
    return usage;
}

void note_child_usage(Process& parent, const ReapedUsage& child) {
    const u32 more = child.children.count + (child.host_id != 0 ? 1 : 0);
    for (u32 tries = 0; tries < 2; ++tries) {
        // Those that are there first: this one may still be ending, and nobody wants to wait for that.
        if (tries != 0) (void)children_usage(parent);
        Guard guard{process_table_lock()};
        ChildrenUsage& mine = parent.children_usage;
        if (mine.count + more > ChildrenUsage::kMost) continue;
        memcpy(mine.unasked + mine.count, child.children.unasked, child.children.count * sizeof mine.unasked[0]);
        if (child.host_id != 0) mine.unasked[mine.count + more - 1] = child.host_id;
        mine.count += more;
        add(mine.known, child.children.known);
        return;
    }
    (void)ask_child_usage(parent, child);
}

gate::MembersUsage ask_child_usage(Process& parent, const ReapedUsage& child) {
    gate::MembersUsage usage = ask_usage(child);
    Guard guard{process_table_lock()};
    add(parent.children_usage.known, usage);
    return usage;
}

gate::MembersUsage own_usage(Process& process) {
    u32 self = process.carrier_id;
    const bool alone = process.thread_count == 1;
    if (alone && g_last.host_id == self && monotonic_now() - g_last.when < kFresh) return g_last.usage;
    gate::MembersUsage usage = ask(&self, 1);
    if (alone) g_last = {self, monotonic_now(), usage};
    return usage;
}

gate::MembersUsage children_usage(Process& process) {
    ReapedUsage open;
    {
        Guard guard{process_table_lock()};
        if (process.children_usage.count == 0) return process.children_usage.known;
        open.children.count = process.children_usage.count;
        memcpy(open.children.unasked, process.children_usage.unasked, sizeof open.children.unasked);
        process.children_usage.count = 0;
    }
    (void)ask_child_usage(process, open);
    Guard guard{process_table_lock()};
    return process.children_usage.known;
}

RUsage to_rusage(const gate::MembersUsage& usage, u64 cpu) {
    RUsage out;
    memset(&out, 0, sizeof out);
    u64 system = usage.system_ns < cpu ? usage.system_ns : cpu;
    auto split = [](u64 time, TimeVal& to) {
        to.seconds = static_cast<i64>(time / 1'000'000'000);
        to.microseconds = static_cast<i64>(time / 1000 % 1'000'000);
    };
    split(cpu - system, out.user);
    split(system, out.system);
    out.most_memory_kib = static_cast<i64>(usage.most_memory / 1024);
    out.minor_faults = static_cast<i64>(usage.minor_faults);
    out.major_faults = static_cast<i64>(usage.major_faults);
    out.waits = static_cast<i64>(usage.waits);
    out.preemptions = static_cast<i64>(usage.preemptions);
    return out;
}

}  // namespace postern::libos
