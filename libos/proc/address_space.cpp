// SPDX-License-Identifier: Apache-2.0
#include "libos/proc/address_space.hpp"

#include "base/memory.hpp"
#include "libos/fs/file.hpp"
#include "libos/gate.hpp"

namespace postern::libos {

Memory measure(Space& space) {
    Memory result;
    Guard guard{space.lock()};
    for (const Mapping* mapping = space.at_or_above(0); mapping != nullptr; mapping = space.at_or_above(mapping->end)) {
        u64 size = mapping->end - mapping->start;
        result.mapped += size;
        if (mapping->prot != 0) result.accessible += size;
        if (mapping->file != nullptr && mapping->prot != 0) result.file += size;
        if (mapping->kind == MappingKind::stack) {
            result.stack += size;
        } else if ((mapping->prot & gate::kProtExecute) != 0 && mapping->kind == MappingKind::file) {
            result.code += size;
            if (result.code_start == 0) result.code_start = mapping->start, result.code_end = mapping->end;
        } else if ((mapping->prot & gate::kProtWrite) != 0 && mapping->shared == 0) {
            result.data += size;
            if (result.data_start == 0) result.data_start = mapping->start, result.data_end = mapping->end;
        }
    }
    result.break_start = space.break_start();
    return result;
}

namespace {

void write_line(Thread& thread, const Mapping& mapping, ProcText& text, bool details) {
    const u32 prot = mapping.prot;
    TextBuffer<128> head;
    u64 device = 0, inode = 0;
    std::string_view name;
    if (mapping.file != nullptr && mapping.kind != MappingKind::shared_anonymous) {
        Stat stat;
        if (mapping.file->stat(thread, stat).ok()) device = stat.st_dev, inode = stat.st_ino;
        if (mapping.file->path != nullptr) name = {mapping.file->path, strlen(mapping.file->path)};
    } else if (mapping.kind == MappingKind::shared_anonymous) {
        name = "/dev/zero (deleted)";
        device = 1;
        inode = mapping.start >> 12;
    } else if (mapping.kind == MappingKind::heap) {
        name = "[heap]";
    } else if (mapping.kind == MappingKind::stack) {
        name = "[stack]";
    } else if (mapping.kind == MappingKind::time_page) {
        name = (prot & gate::kProtExecute) != 0 ? "[vdso]" : "[vvar]";
    }
    const u64 major = (device >> 8 & 0xfff) | (device >> 32 & ~0xfffull),
              minor = (device & 0xff) | (device >> 12 & 0xfff00);
    head.add(Hex{mapping.start, 8}, '-', Hex{mapping.end, 8}, ' ', (prot & gate::kProtRead) != 0 ? 'r' : '-',
             (prot & gate::kProtWrite) != 0 ? 'w' : '-', (prot & gate::kProtExecute) != 0 ? 'x' : '-',
             mapping.shared != 0 ? 's' : 'p', ' ', Hex{mapping.file != nullptr ? mapping.offset : 0, 8}, ' ',
             Hex{major, 2}, ':', Hex{minor, 2}, ' ', inode);
    if (!name.empty()) {
        // The kernel's column for names.
        do head.add(' ');
        while (head.size() < 73);
    }
    text.append(head.view());
    text.append(name);
    text.append("\n");
    if (!details) return;
    i64 size = static_cast<i64>((mapping.end - mapping.start) / 1024), resident = prot != 0 ? size : 0;
    auto row = [&](const char* label, i64 kib) { text.add(label, Padded{kib, 8}, " kB\n"); };
    row("Size:           ", size);
    row("KernelPageSize: ", 4);
    row("MMUPageSize:    ", 4);
    row("Rss:            ", resident);
    row("Pss:            ", resident);
    row("Shared_Clean:   ", mapping.shared != 0 ? resident : 0);
    row("Shared_Dirty:   ", 0);
    row("Private_Clean:  ", mapping.shared == 0 && mapping.file != nullptr ? resident : 0);
    row("Private_Dirty:  ", mapping.shared == 0 && mapping.file == nullptr ? resident : 0);
    row("Referenced:     ", resident);
    row("Anonymous:      ", mapping.file == nullptr ? resident : 0);
    row("AnonHugePages:  ", 0);
    row("Swap:           ", 0);
    row("SwapPss:        ", 0);
    row("Locked:         ", mapping.locked != 0 ? resident : 0);
    text.add("VmFlags:", (prot & gate::kProtRead) != 0 ? " rd" : "", (prot & gate::kProtWrite) != 0 ? " wr" : "",
             (prot & gate::kProtExecute) != 0 ? " ex" : "", mapping.shared != 0 ? " sh" : "", " mr mw me",
             mapping.locked != 0 ? " lo\n" : "\n");
}

}  // namespace

Res<void> write_maps(Thread& thread, Space& space, ProcText& text, bool details) {
    Guard guard{space.lock()};
    for (const Mapping* mapping = space.at_or_above(0); mapping != nullptr; mapping = space.at_or_above(mapping->end))
        write_line(thread, *mapping, text, details);
    return {};
}

}  // namespace postern::libos
