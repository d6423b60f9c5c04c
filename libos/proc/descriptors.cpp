// SPDX-License-Identifier: Apache-2.0
#include "libos/proc/descriptors.hpp"

#include <linux/fcntl.h>

#include "base/memory.hpp"
#include "libos/inotify/notify.hpp"
#include "libos/ipc/epoll.hpp"
#include "libos/proc/node.hpp"
#include "libos/process/pidfd.hpp"
#include "libos/process/table.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

/// Calls `act(table)` while the process cannot go away. Errno::noent when it has ended, or is about to.
template <class Act>
auto with_table(Thread& thread, u32 pid, Act act) -> decltype(act(*thread.process->files)) {
    if (pid == thread.process->pid) return act(*thread.process->files);
    Guard guard{process_table_lock()};
    Process* process = find_process_locked(pid);
    if (process == nullptr || process->threads.front() == nullptr || process->files == nullptr)
        return Failure{Errno::noent};
    return act(*process->files);
}

Res<FileRef> file_of(Thread& thread, u32 pid, u32 fd) {
    return with_table(thread, pid, [&](FdTable& table) -> Res<FileRef> {
        auto file = table.get(fd);
        if (!file.ok()) return Failure{Errno::noent};
        return file;
    });
}

class DescriptorLink final : public Inode {
public:
    DescriptorLink(u32 pid, u32 fd) : pid_{pid}, fd_{fd} {}

    Res<usize> read_link(Thread& thread, char* buffer, usize capacity) override {
        FileRef file = TRY(file_of(thread, pid_, fd_));
        TextBuffer<64> made_up;
        std::string_view text;
        if (file->path != nullptr) {
            text = {file->path, strlen(file->path)};
        } else {
            Stat stat;
            TRY(file->stat(thread, stat));
            switch (stat.st_mode & kTypeMask) {
                case kTypeFifo: made_up.add("pipe:[", stat.st_ino, "]"); break;
                case kTypeSocket: made_up.add("socket:[", stat.st_ino, "]"); break;
                case kTypeCharacter: made_up.add(stat.st_rdev == 0x103 ? "/dev/null" : "/dev/console"); break;
                case kTypeRegular: made_up.add("/[stream:", stat.st_ino, "] (deleted)"); break;
                default: made_up.add("anon_inode:[other]"); break;
            }
            text = made_up.view();
        }
        usize length = text.size() < capacity ? text.size() : capacity;
        memcpy(buffer, text.data(), length);
        return length;
    }
    Res<FileRef> follow(Thread& thread) override { return file_of(thread, pid_, fd_); }
    Res<void> stat(Thread& thread, Stat& stat) override {
        TRY(Inode::stat(thread, stat));
        stat.st_size = 64;
        stamp(stat);
        return {};
    }

private:
    u32 pid_, fd_;
};

class DescriptorInfoFile final : public File {
public:
    DescriptorInfoFile(u32 pid, u32 fd) : pid_{pid}, fd_{fd} {}

    Res<i64> read(Thread& thread, u64 user, u64 size, u64 position) override {
        ProcText text;
        TRY(write(thread, text));
        std::string_view view = text.view();
        if (position >= view.size()) return 0;
        u64 count = view.size() - position < size ? view.size() - position : size;
        TRY(copy_out(user, view.data() + position, count));
        return static_cast<i64>(count);
    }
    Res<i64> read_kernel(Thread& thread, void* buffer, u64 size, u64 position) override {
        ProcText text;
        TRY(write(thread, text));
        std::string_view view = text.view();
        if (position >= view.size()) return 0;
        u64 count = view.size() - position < size ? view.size() - position : size;
        memcpy(buffer, view.data() + position, count);
        return static_cast<i64>(count);
    }
    bool seekable() const override { return true; }
    Res<i64> seek(Thread&, i64 position, u32 whence) override {
        Guard guard{offset_lock};
        if (whence == 1) position += static_cast<i64>(offset);
        if (whence > 1 || position < 0) return Failure{Errno::inval};
        offset = static_cast<u64>(position);
        return position;
    }

private:
    Res<void> write(Thread& thread, ProcText& text) {
        FileRef file = TRY(file_of(thread, pid_, fd_));
        Stat stat;
        TRY(file->stat(thread, stat));
        u64 at = file->offset == kOffsetAtEnd ? static_cast<u64>(stat.st_size) : file->offset;
        text.add("pos:\t", at, "\nflags:\t", Octal{file->status_flags, 7}, "\nmnt_id:\t1\nino:\t", stat.st_ino, "\n");
        if (file->kind() == FileKind::pid) {
            PidHandle& handle = *TRY(pid_handle_of(*file));
            i64 pid = handle.process != nullptr ? static_cast<i64>(handle.pid) : -1;
            text.add("Pid:\t", pid, "\nNSpid:\t", pid, "\n");
        }
        if (file->kind() == FileKind::inotify) {
            notify_describe(
                *file,
                [](i32 watch, u64 inode, u32 mask, void* cookie) {
                    static_cast<ProcText*>(cookie)->add("inotify wd:", Hex{static_cast<u32>(watch)},
                                                        " ino:", Hex{inode}, " sdev:0 mask:", Hex{mask},
                                                        " ignored_mask:0\n");
                },
                &text);
        }
        if (file->kind() == FileKind::epoll) {
            epoll_visit(
                *file,
                [](u32 fd, u32 events, u64 data, void* cookie) {
                    static_cast<ProcText*>(cookie)->add("tfd: ", Padded{fd, 8}, " events: ", Hex{events},
                                                        " data: ", Hex{data}, "\n");
                },
                &text);
        }
        if (text.failed()) return Failure{Errno::nomem};
        return {};
    }
    u32 pid_, fd_;
};

class DescriptorInfo final : public Inode {
public:
    DescriptorInfo(u32 pid, u32 fd) : pid_{pid}, fd_{fd} {}
    Res<FileRef> open(Thread&, u32 open_flags) override {
        auto* file = TRY(make_file<DescriptorInfoFile>(pid_, fd_));
        file->status_flags = open_flags;
        return FileRef{file};
    }

private:
    u32 pid_, fd_;
};

u64 entry_number(u32 pid, u32 fd, bool info) { return u64{pid} << 24 | u64{info ? 3u : 2u} << 21 | (fd & 0x1f'ffff); }

}  // namespace

Res<InodeRef> lookup_descriptor(Thread& thread, u32 pid, u32 fd, bool info) {
    FileRef file = TRY(file_of(thread, pid, fd));
    Inode* inode;
    u32 size;
    if (info) {
        inode = TRY(arena::create<DescriptorInfo>(pid, fd));
        size = sizeof(DescriptorInfo);
        inode->mode = kTypeRegular | 0444;
    } else {
        inode = TRY(arena::create<DescriptorLink>(pid, fd));
        size = sizeof(DescriptorLink);
        u32 access = file->status_flags & O_ACCMODE;
        inode->mode = kTypeLink | (access == O_RDONLY ? 0500 : access == O_WRONLY ? 0300 : 0700);
    }
    inode->object_size = size;
    inode->number = entry_number(pid, fd, info);
    inode->device = kProcDevice;
    inode->uid = thread.process->credentials.euid;
    inode->gid = thread.process->credentials.egid;
    return InodeRef{inode};
}

Res<void> visit_descriptors(Thread& thread, u32 pid, u32 from, u64 base, bool info, DirectoryVisitor& visitor) {
    for (;;) {
        i32 fd = TRY(with_table(thread, pid, [&](FdTable& table) -> Res<i32> { return table.next_open(from); }));
        if (fd < 0) break;
        TextBuffer<16> name;
        name.add(fd);
        u32 number = static_cast<u32>(fd);
        if (!visitor.entry(name.view(), entry_number(pid, number, info), info ? 8 : 10, base + number + 1)) break;
        from = number + 1;
    }
    return {};
}

}  // namespace postern::libos
