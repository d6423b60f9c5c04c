// SPDX-License-Identifier: Apache-2.0
// Segments as objects: pages, attachments, destruction. The calls are in segment_calls.cpp.
#include "libos/sysv/segment.hpp"

#include "base/memory.hpp"
#include "libos/gate.hpp"
#include "libos/proc/text.hpp"

namespace postern::libos {

Segment::~Segment() {
    while (Attachment* attachment = attachments.pop_front()) arena::destroy(attachment);
    arena::release_pages(pages_, count_);
}

Res<void> Segment::map(u64 address, u64 bytes, u64 offset, u32 prot, bool shared) {
    const u64 there = count_ * kPageSize;
    const u64 inside = offset >= there ? 0 : bytes < there - offset ? bytes : there - offset;
    if (inside != 0)
        TRY(check(g_gate->DkStreamMap(arena::stream(), address, inside, arena::offset_of(pages_) + offset, prot,
                                      (shared ? gate::kMapShared : gate::kMapPrivate) | gate::kMapReplace)));
    if (inside < bytes)  // mremap past the end: an access there is a SIGBUS
        TRY(check(g_gate->DkVirtualMemoryAlloc(address + inside, bytes - inside,
                                               gate::kAllocReserve | gate::kAllocReplace, gate::kProtNone)));
    return {};
}

Res<void> Segment::stat(Thread&, Stat& stat) {
    memset(&stat, 0, sizeof stat);
    stat.st_dev = 1;
    stat.st_ino = static_cast<u32>(id);
    stat.st_nlink = 1;
    stat.st_mode = 0100000 | (mode & 0777);
    stat.st_uid = uid;
    stat.st_gid = gid;
    stat.st_size = static_cast<i64>(size);
    stat.st_blksize = kPageSize;
    stat.st_blocks = static_cast<i64>(count_ * (kPageSize / 512));
    return {};
}

bool Segment::leave_when_unused(SysvTable& table) {
    if ((mode & kSegmentRemoved) == 0 || attached != 0 ||
        table.at(static_cast<u32>(id) & (SysvTable::kMost - 1)) != this)
        return false;
    set_undoable(table.lock, table.total, table.total - count_);
    table.leave(*this);
    return true;
}

void Segment::mapped(Process& process, i32 change) {
    SysvTable& table = *sysv_table_if_made(SysvKind::segments);
    Attachment* unused = nullptr;
    bool gone = false;
    auto fresh = change > 0 ? arena::create<Attachment>() : Res<Attachment*>{Failure{Errno::nomem}};
    {
        Guard guard{table.lock};
        Attachment* found = attachments.front();
        while (found != nullptr && found->process != &process) found = attachments.next(*found);
        if (change > 0) {
            process.uses |= kUsesSegments;
            attach_time = sysv_seconds();
            if (found != nullptr) {
                set_undoable(table.lock, found->count, found->count + 1);
                if (fresh.ok()) unused = fresh.value();
            } else if (fresh.ok()) {
                fresh.value()->process = &process;
                fresh.value()->count = 1;
                undoable_push_back(table.lock, attachments, *fresh.value());
            }
            set_undoable(table.lock, attached, attached + 1);
        } else {
            detach_time = sysv_seconds();
            if (found != nullptr && found->count > 1) {
                set_undoable(table.lock, found->count, found->count - 1);
            } else if (found != nullptr) {
                undoable_unlink(table.lock, found->link);
                unused = found;
            }
            if (attached != 0) set_undoable(table.lock, attached, attached - 1);
            gone = leave_when_unused(table);
        }
        last_pid = process.pid;
    }
    if (unused != nullptr) arena::destroy(unused);
    if (gone) release();
}

void segments_process_killed(Process& process) {
    SysvTable* table = sysv_table_if_made(SysvKind::segments);
    if (table == nullptr) return;
    for (u32 index = 0; index < SysvTable::kMost; ++index) {
        Segment* segment;
        u64 count = 0;
        bool gone = false;
        Segment::Attachment* found;
        {
            Guard guard{table->lock};
            if (static_cast<i32>(index) > table->highest()) return;
            segment = static_cast<Segment*>(table->at(index));
            if (segment == nullptr) continue;
            found = segment->attachments.front();
            while (found != nullptr && found->process != &process) found = segment->attachments.next(*found);
            if (found == nullptr) continue;
            count = found->count;
            undoable_unlink(table->lock, found->link);
            u64 left = segment->attached > count ? segment->attached - count : 0;
            set_undoable(table->lock, segment->attached, left);
            segment->detach_time = sysv_seconds();
            segment->last_pid = process.pid;
            gone = segment->leave_when_unused(*table);
        }
        arena::destroy(found);
        if (gone) ++count;
        for (; count != 0; --count) segment->release();
    }
}

Res<void> segments_text(Thread&, ProcText& text) {
    text.add(
        "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime  ",
        "    dtime      ctime                   rss                  swap\n");
    SysvTable* table = sysv_table_if_made(SysvKind::segments);
    if (table == nullptr) return {};
    Guard guard{table->lock};
    auto number = [](i64 value, int width) { return Padded{value, width}; };
    for (i32 index = 0; index <= table->highest(); ++index) {
        auto* segment = static_cast<Segment*>(table->at(static_cast<u32>(index)));
        if (segment == nullptr) continue;
        TextBuffer<16> mode;
        mode.add(Octal{segment->mode, 0});
        text.add(number(segment->key, 10), ' ', number(segment->id, 10), ' ');
        for (usize blank = mode.view().size(); blank < 5; ++blank) text.add(' ');
        text.add(mode.view(), ' ', number(static_cast<i64>(segment->size), 21), ' ', number(segment->creator_pid, 5),
                 ' ', number(segment->last_pid, 5), "  ", number(static_cast<i64>(segment->attached), 5), ' ');
        text.add(number(segment->uid, 5), ' ', number(segment->gid, 5), ' ', number(segment->creator_uid, 5), ' ',
                 number(segment->creator_gid, 5), ' ', number(segment->attach_time, 10), ' ',
                 number(segment->detach_time, 10), ' ', number(segment->changed, 10), ' ',
                 number(static_cast<i64>(segment->page_count() * kPageSize), 21), ' ', number(0, 21), '\n');
    }
    return {};
}

}  // namespace postern::libos
