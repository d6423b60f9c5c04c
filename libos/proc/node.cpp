// SPDX-License-Identifier: Apache-2.0
// Inodes over the tables of nodes.
#include "libos/proc/node.hpp"
#include "libos/proc/observe.hpp"

#include <linux/fcntl.h>

#include "base/memory.hpp"
#include "libos/proc/descriptors.hpp"
#include "libos/process/table.hpp"
#include "libos/ptrace/memory.hpp"
#include "libos/time/timers.hpp"
#include "libos/user.hpp"

namespace postern::libos {

bool Subject::own() const { return process == caller.process; }

i64 parse_number(std::string_view text) {
    if (text.empty() || text.size() > 9 || (text[0] == '0' && text.size() > 1)) return -1;
    i64 value = 0;
    for (char digit : text) {
        if (digit < '0' || digit > '9') return -1;
        value = value * 10 + (digit - '0');
    }
    return value;
}

bool same(std::string_view left, const char* right) {
    return left.size() == strlen(right) && memcmp(left.data(), right, left.size()) == 0;
}

void stamp(Stat& stat) {
    TimeSpec now = to_timespec(realtime_now());
    stat.st_atime = stat.st_mtime = stat.st_ctime = now.seconds;
    stat.st_atime_nsec = stat.st_mtime_nsec = stat.st_ctime_nsec = now.nanoseconds;
}

namespace {

u8 directory_entry_type(NodeKind kind) {
    if (kind == NodeKind::file || kind == NodeKind::memory) return 8;
    if (kind == NodeKind::link) return 10;
    return 4;
}

/// Unique among the nodes of one process: their places in the image.
u64 node_number(const Node& node, u32 pid, u32 tid) {
    u64 place = reinterpret_cast<u64>(&node) / alignof(Node) & 0xf'ffff;
    return u64{tid != 0 ? tid : pid} << 24 | u64{tid != 0} << 20 | place;
}

/// Calls `act(subject)` with the process and thread found and kept from vanishing. Errno::srch.
template <class Act>
auto with_subject(Thread& caller, u32 pid, u32 tid, Act act, const Observed* observed = nullptr)
    -> decltype(act(Subject{caller, nullptr, nullptr, nullptr})) {
    if (pid == 0) return act(Subject{caller, nullptr, nullptr, nullptr});
    if (pid == caller.process->pid && (tid == 0 || tid == caller.tid)) {
        Thread* thread = tid != 0 ? &caller : caller.process->threads.front();
        return act(Subject{caller, caller.process, thread != nullptr ? thread : &caller, nullptr});
    }
    Guard guard{process_table_lock()};
    Process* process = find_process_locked(pid);
    if (process == nullptr || process->state == ProcessState::free || process->state == ProcessState::reaped)
        return Failure{Errno::srch};
    Thread* thread = process->threads.front();
    if (tid != 0) {
        thread = find_thread_locked(tid);
        if (thread == nullptr || thread->process != process) return Failure{Errno::srch};
    }
    return act(Subject{caller, process, thread, observed});
}

class NodeInode final : public Inode {
public:
    NodeInode(const Node& node, u32 pid, u32 tid) : node_{node}, pid_{pid}, tid_{tid} {}

    Res<FileRef> open(Thread& thread, u32 open_flags) override;
    Res<InodeRef> lookup(Thread& thread, std::string_view name) override;
    Res<void> visit(Thread& thread, u64 position, DirectoryVisitor& visitor) override;
    Res<usize> read_link(Thread& thread, char* buffer, usize capacity) override;
    Res<void> stat(Thread& thread, Stat& stat) override {
        TRY(Inode::stat(thread, stat));
        stamp(stat);
        return {};
    }
    Res<void> truncate(Thread&, u64) override {
        if (is_directory()) return Failure{Errno::isdir};
        return {};  // open(2) with O_TRUNC, as shells do for `> /proc/...`
    }

    Res<void> write_text(Thread& thread, ProcText& text) {
        Observed observed;
        const Observed* seen = nullptr;
        if (node_.asks != NodeAsks::nothing && pid_ != thread.process->pid) {
            if (node_.asks != NodeAsks::measures)
                return observe_maps(thread, pid_, text, node_.asks == NodeAsks::detailed_maps);
            if (observe(thread, pid_, observed)) seen = &observed;
        }
        return with_subject(
            thread, pid_, tid_, [&](const Subject& subject) -> Res<void> { return node_.text(subject, text); }, seen);
    }
    Res<i64> control(Thread& thread, u32 request, u64 argument) {
        if (node_.asks != NodeAsks::maps || request != kQueryMap) return Failure{Errno::notty};
        if (pid_ != thread.process->pid) return Failure{Errno::acces};
        return query_map(thread, *thread.process->space, argument);
    }
    Res<void> store(Thread& thread, std::string_view text) {
        return with_subject(thread, pid_, tid_, [&](const Subject& subject) -> Res<void> {
            if (node_.store == nullptr) return Failure{Errno::inval};
            return node_.store(subject, text);
        });
    }

private:
    Res<InodeRef> child(const Node& node, u32 pid, u32 tid) const { return make_node_inode(node, pid, tid, device); }

    const Node& node_;
    u32 pid_, tid_;
};

/// Text is made when it is read from its start, so a file that is kept open and read again tells news.
class TextFile final : public File {
public:
    explicit TextFile(u32 flags) { status_flags = flags; }

    Res<i64> read(Thread& thread, u64 user, u64 size, u64 position) override {
        Guard guard{lock_};
        TRY(refresh(thread, position));
        std::string_view text = text_.view();
        if (position >= text.size()) return 0;
        u64 count = text.size() - position < size ? text.size() - position : size;
        TRY(copy_out(user, text.data() + position, count));
        return static_cast<i64>(count);
    }
    Res<i64> read_kernel(Thread& thread, void* buffer, u64 size, u64 position) override {
        Guard guard{lock_};
        TRY(refresh(thread, position));
        std::string_view text = text_.view();
        if (position >= text.size()) return 0;
        u64 count = text.size() - position < size ? text.size() - position : size;
        memcpy(buffer, text.data() + position, count);
        return static_cast<i64>(count);
    }
    Res<i64> write(Thread& thread, u64 user, u64 size, u64) override {
        char text[256];
        u64 count = size < sizeof text ? size : sizeof text;
        TRY(copy_in(text, user, count));
        return write_kernel(thread, text, count, 0);
    }
    Res<i64> write_kernel(Thread& thread, const void* buffer, u64 size, u64) override {
        usize length = size < 256 ? size : 256;
        const char* data = static_cast<const char*>(buffer);
        while (length > 0 && data[length - 1] == '\n') --length;
        TRY(static_cast<NodeInode&>(*inode).store(thread, {data, length}));
        return static_cast<i64>(size);
    }
    Res<i64> seek(Thread&, i64 position, u32 whence) override {
        Guard guard{offset_lock};
        if (whence == 1) position += static_cast<i64>(offset);
        if (whence > 1 || position < 0) return Failure{Errno::inval};
        offset = static_cast<u64>(position);
        return position;
    }
    bool seekable() const override { return true; }
    Res<i64> ioctl(Thread& thread, u32 request, u64 argument) override {
        return static_cast<NodeInode&>(*inode).control(thread, request, argument);
    }

private:
    Res<void> refresh(Thread& thread, u64 position) {
        if (position != 0 && made_) return {};
        text_.clear();
        TRY(static_cast<NodeInode&>(*inode).write_text(thread, text_));
        if (text_.failed()) return Failure{Errno::nomem};
        made_ = true;
        return {};
    }

    SharedLock lock_;  ///< above the table of processes and address spaces
    ProcText text_;
    bool made_ = false;
};

Res<FileRef> NodeInode::open(Thread& thread, u32 open_flags) {
    if (is_directory()) return Inode::open(thread, open_flags);
    if (node_.kind == NodeKind::memory) return open_process_memory(thread, pid_, open_flags);
    const bool writes = (open_flags & O_ACCMODE) != O_RDONLY;
    if (writes && node_.store == nullptr) return Failure{Errno::acces};
    auto* file = TRY(make_file<TextFile>(open_flags));
    return FileRef{file};
}

Res<InodeRef> NodeInode::lookup(Thread& thread, std::string_view name) {
    if (!is_directory()) return Failure{Errno::notdir};
    for (u32 index = 0; index < node_.child_count; ++index)
        if (same(name, node_.children[index].name)) return child(node_.children[index], pid_, tid_);
    i64 value = parse_number(name);
    if (value < 0) return Failure{Errno::noent};
    u32 wanted = static_cast<u32>(value);
    switch (node_.kind) {
        case NodeKind::root: {
            // A thread's number leads to its process as well, though no listing shows it.
            u32 pid = 0;
            {
                Guard guard{process_table_lock()};
                if (find_process_locked(wanted) != nullptr) {
                    pid = wanted;
                } else if (Thread* other = find_thread_locked(wanted); other != nullptr && other->process != nullptr) {
                    pid = other->process->pid;
                }
            }
            if (pid == 0) return Failure{Errno::noent};
            return child(kProcessDirectory, pid, 0);
        }
        case NodeKind::tasks: {
            u32 pid = 0;
            {
                Guard guard{process_table_lock()};
                Thread* other = find_thread_locked(wanted);
                if (other != nullptr && other->process != nullptr) pid = other->process->pid;
            }
            if (pid != pid_) return Failure{Errno::noent};
            return child(kTaskDirectory, pid_, wanted);
        }
        case NodeKind::descriptors: return lookup_descriptor(thread, pid_, wanted, false);
        case NodeKind::descriptor_infos: return lookup_descriptor(thread, pid_, wanted, true);
        default: return Failure{Errno::noent};
    }
}

struct NumberList {
    static constexpr u32 kMost = 1024;
    u32 numbers[kMost];
    u32 count = 0;
    void add(u32 number) {
        if (count < kMost) numbers[count++] = number;
    }
    /// The smallest that is not below `from`; 0: none.
    u32 next(u32 from) const {
        u32 best = 0;
        for (u32 index = 0; index < count; ++index)
            if (numbers[index] >= from && (best == 0 || numbers[index] < best)) best = numbers[index];
        return best;
    }
};

/// Positions: 3 and up are the fixed children, and from kNumbers on process, thread or descriptor numbers.
constexpr u64 kFirst = 3, kNumbers = 1024;

Res<void> NodeInode::visit(Thread& thread, u64 position, DirectoryVisitor& visitor) {
    if (!is_directory()) return Failure{Errno::notdir};
    if (position < kFirst) position = kFirst;
    for (; position < kFirst + node_.child_count; ++position) {
        const Node& node = node_.children[position - kFirst];
        u8 type = directory_entry_type(node.kind);
        bool last = position + 1 == kFirst + node_.child_count;
        if (!visitor.entry({node.name, strlen(node.name)}, node_number(node, pid_, tid_), type,
                           last ? kNumbers : position + 1))
            return {};
    }
    if (position < kNumbers) position = kNumbers;
    u32 from = static_cast<u32>(position - kNumbers);
    if (node_.kind == NodeKind::descriptors || node_.kind == NodeKind::descriptor_infos)
        return visit_descriptors(thread, pid_, from, kNumbers, node_.kind == NodeKind::descriptor_infos, visitor);
    if (node_.kind != NodeKind::root && node_.kind != NodeKind::tasks) return {};

    // Numbers are gathered in private memory first: visitors copy to the program, which no lock should wait for.
    auto memory = heap::create<NumberList>();
    if (!memory.ok()) return Failure{memory.error()};
    NumberList& list = *memory.value();
    {
        Guard guard{process_table_lock()};
        if (node_.kind == NodeKind::root) {
            auto& processes = process_table().processes;
            for (Process* process = processes.front(); process != nullptr; process = processes.next(*process))
                if (process->state != ProcessState::free && process->state != ProcessState::reaped)
                    list.add(process->pid);
        } else if (Process* process = find_process_locked(pid_)) {
            for (Thread* other = process->threads.front(); other != nullptr; other = process->threads.next(*other))
                list.add(other->tid);
        }
    }
    while (u32 number = list.next(from)) {
        TextBuffer<16> name;
        name.add(number);
        u64 inode_number = node_.kind == NodeKind::root ? node_number(kProcessDirectory, number, 0)
                                                        : node_number(kTaskDirectory, pid_, number);
        if (!visitor.entry(name.view(), inode_number, 4, kNumbers + number + 1)) break;
        from = number + 1;
    }
    heap::destroy(&list);
    return {};
}

Res<usize> NodeInode::read_link(Thread& thread, char* buffer, usize capacity) {
    if (node_.kind != NodeKind::link) return Failure{Errno::inval};
    if (node_.target != nullptr) {
        usize length = strlen(node_.target);
        if (length > capacity) length = capacity;
        memcpy(buffer, node_.target, length);
        return length;
    }
    return with_subject(thread, pid_, tid_,
                        [&](const Subject& subject) -> Res<usize> { return node_.link(subject, buffer, capacity); });
}

}  // namespace

Res<InodeRef> make_node_inode(const Node& node, u32 pid, u32 tid, u64 device) {
    auto* inode = TRY(arena::create<NodeInode>(node, pid, tid));
    inode->object_size = sizeof(NodeInode);
    inode->number = node_number(node, pid, tid);
    inode->device = device;
    const bool plain = node.kind == NodeKind::file || node.kind == NodeKind::memory;
    u32 type = plain ? kTypeRegular : node.kind == NodeKind::link ? kTypeLink : kTypeDirectory;
    inode->mode = type | node.mode;
    if (pid != 0) {
        Guard guard{process_table_lock()};
        if (Process* process = find_process_locked(pid)) {
            inode->uid = process->credentials.euid;
            inode->gid = process->credentials.egid;
        }
    }
    return InodeRef{inode};
}

Res<InodeRef> create_proc_tree() { return make_node_inode(kProcRoot, 0, 0, kProcDevice); }
Res<InodeRef> create_sys_tree() { return make_node_inode(kSysRoot, 0, 0, kSysDevice); }

}  // namespace postern::libos
