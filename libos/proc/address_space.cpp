// SPDX-License-Identifier: Apache-2.0
#include "libos/proc/address_space.hpp"

#include "base/memory.hpp"
#include "libos/fs/file.hpp"
#include "libos/gate.hpp"
#include "libos/user.hpp"

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

struct Backing {
    u64 major, minor, inode;
    std::string_view name;
};

Backing backing_of(Thread& thread, const Mapping& mapping) {
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
        name = (mapping.prot & gate::kProtExecute) != 0 ? "[vdso]" : "[vvar]";
    }
    return {(device >> 8 & 0xfff) | (device >> 32 & ~0xfffull), (device & 0xff) | (device >> 12 & 0xfff00), inode,
            name};
}

void write_line(Thread& thread, const Mapping& mapping, ProcText& text, bool details) {
    const u32 prot = mapping.prot;
    TextBuffer<128> head;
    const Backing backing = backing_of(thread, mapping);
    head.add(Hex{mapping.start, 8}, '-', Hex{mapping.end, 8}, ' ', (prot & gate::kProtRead) != 0 ? 'r' : '-',
             (prot & gate::kProtWrite) != 0 ? 'w' : '-', (prot & gate::kProtExecute) != 0 ? 'x' : '-',
             mapping.shared != 0 ? 's' : 'p', ' ', Hex{mapping.file != nullptr ? mapping.offset : 0, 8}, ' ',
             Hex{backing.major, 2}, ':', Hex{backing.minor, 2}, ' ', backing.inode);
    if (!backing.name.empty()) {
        // The kernel's column for names.
        do head.add(' ');
        while (head.size() < 73);
    }
    text.append(head.view());
    text.append(backing.name);
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

Res<i64> query_map(Thread& thread, Space& space, u64 user) {
    struct Query {  // struct procmap_query
        u64 size, flags, address, start, end, mapping_flags, page_size, offset, inode;
        u32 major, minor, name_size, build_id_size;
        u64 name, build_id;
    };
    static_assert(sizeof(Query) == 104);
    enum : u64 { kReadable = 1, kWritable = 2, kExecutable = 4, kShared = 8, kOrNext = 16, kBacked = 32, kAll = 63 };
    const u64 given = TRY(read_user<u64>(user));
    if (given > kPageSize) return Failure{Errno::toobig};
    if (given < 8 * 3) return Failure{Errno::inval};
    Query query{};
    const usize known = given < sizeof query ? static_cast<usize>(given) : sizeof query;
    TRY(copy_in(&query, user, known));
    for (u64 at = sizeof query; at < given; ++at) {
        u8 rest = TRY(read_user<u8>(user + at));
        if (rest != 0) return Failure{Errno::toobig};
    }
    if ((query.flags & ~kAll) != 0) return Failure{Errno::inval};
    if ((query.name_size != 0) != (query.name != 0) || (query.build_id_size != 0) != (query.build_id != 0))
        return Failure{Errno::inval};
    ProcText name;
    {
        Guard guard{space.lock()};
        const Mapping* found = space.at_or_above(query.address);
        for (;; found = space.at_or_above(found->end)) {
            if (found == nullptr) return Failure{Errno::noent};
            const u32 prot = found->prot;
            const u64 has = ((prot & gate::kProtRead) != 0 ? u64{kReadable} : 0) |
                            ((prot & gate::kProtWrite) != 0 ? u64{kWritable} : 0) |
                            ((prot & gate::kProtExecute) != 0 ? u64{kExecutable} : 0) |
                            (found->shared != 0 ? u64{kShared} : 0);
            const u64 wanted = query.flags & (kReadable | kWritable | kExecutable | kShared);
            const bool backed = found->file != nullptr;
            const bool covers = found->start <= query.address;
            if ((has & wanted) == wanted && (backed || (query.flags & kBacked) == 0) &&
                (covers || (query.flags & kOrNext) != 0)) {
                query.mapping_flags = has;
                break;
            }
            if ((query.flags & kOrNext) == 0) return Failure{Errno::noent};
        }
        const Backing backing = backing_of(thread, *found);
        query.start = found->start;
        query.end = found->end;
        query.page_size = kPageSize;
        query.offset = found->file != nullptr ? found->offset : 0;
        query.inode = backing.inode;
        query.major = static_cast<u32>(backing.major);
        query.minor = static_cast<u32>(backing.minor);
        if (query.name_size != 0) {
            name.append(backing.name);
            if (!backing.name.empty()) name.append({"", 1});
        }
    }
    query.build_id_size = 0;
    if (query.name_size != 0) {
        if (name.view().size() > query.name_size) return Failure{Errno::nametoolong};
        query.name_size = static_cast<u32>(name.view().size());
        TRY(copy_out(query.name, name.view().data(), name.view().size()));
    }
    TRY(copy_out(user, &query, known));
    return 0;
}

}  // namespace postern::libos
