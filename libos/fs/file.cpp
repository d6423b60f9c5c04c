// SPDX-License-Identifier: Apache-2.0
// What files do that do not say otherwise.
#include "libos/fs/file.hpp"

#include "base/memory.hpp"
#include "libos/fs/inode.hpp"
#include "libos/fs/leases.hpp"
#include "libos/fs/locks.hpp"
#include "libos/fs/path.hpp"
#include "libos/inotify/notify.hpp"
#include "libos/ipc/async.hpp"
#include "libos/ipc/epoll.hpp"
#include "libos/shared/arena.hpp"

namespace postern::libos {

Res<i64> File::read(Thread&, u64, u64, u64) { return Failure{Errno::inval}; }
Res<i64> File::write(Thread&, u64, u64, u64) { return Failure{Errno::inval}; }
Res<i64> File::read_kernel(Thread&, void*, u64, u64) { return Failure{Errno::inval}; }
Res<i64> File::write_kernel(Thread&, const void*, u64, u64) { return Failure{Errno::inval}; }
Res<i64> File::seek(Thread&, i64, u32) { return Failure{Errno::spipe}; }
Res<void> File::truncate(Thread&, u64) { return Failure{Errno::inval}; }
Res<void> File::allocate(Thread&, u32, u64, u64) { return Failure{Errno::nodev}; }
Res<void> File::sync(Thread&, bool) { return Failure{Errno::inval}; }
Res<void> File::visit_directory(Thread&, u64, DirectoryVisitor&) { return Failure{Errno::notdir}; }
Res<i64> File::ioctl(Thread&, u32, u64) { return Failure{Errno::notty}; }
Res<void> File::map(u64, u64, u64, u32, bool) { return Failure{Errno::nodev}; }
Res<void> File::map_prepared(u64, u32) { return Failure{Errno::nodev}; }
Res<void> File::fault_in(u64, u64, u32, bool) { return Failure{Errno::fault}; }
u32 File::poll(Thread&) { return kPollIn | kPollOut | kPollRdNorm | kPollWrNorm; }

bool File::is_directory() const { return inode != nullptr && inode->is_directory(); }

Res<void> File::stat(Thread& thread, Stat& stat) {
    if (inode != nullptr) return inode->stat(thread, stat);
    memset(&stat, 0, sizeof stat);
    stat.st_mode = 0600;
    stat.st_nlink = 1;
    stat.st_blksize = 4096;
    return {};
}

Res<FileRef> File::reopen(Thread& thread, u32 open_flags) {
    if (inode != nullptr) {
        u32 wanted = (open_flags & 3) == 0 ? 4 : (open_flags & 3) == 1 ? 2 : 6;
        TRY(check_permission(thread, *inode, wanted));
        FileRef file = TRY(inode->open(thread, open_flags));
        if (file->inode == nullptr) file->inode = InodeRef::share(inode).leak();
        if (file->path == nullptr && path != nullptr) set_path(*file, {path, strlen(path)});
        return file;
    }
    if (path != nullptr && path[0] == '/') return open_path(thread, kAtWorkingDirectory, path, open_flags, 0);
    return Failure{Errno::nxio};
}

void File::mapped(Process&, i32) {}

void File::release() {
    if (__atomic_sub_fetch(&references_, 1, __ATOMIC_SEQ_CST) != 0) return;
    if (announces != 0 && notify_active()) [[unlikely]]
        notify_file(*this, (status_flags & 3) != 0 ? kNotifyCloseWrite : kNotifyCloseNoWrite);
    if (async != nullptr) [[unlikely]]
        async_forget(*this);
    if (has_directory_notice != 0) [[unlikely]]
        directory_notice_drop(*this, nullptr);
    if (watches != nullptr) [[unlikely]]
        epoll_forget(*this);
    if (has_locks != 0) locks_drop_owner(this);
    if (has_lease != 0) [[unlikely]]
        lease_drop(*this);
    Inode* node = inode;
    char* text = path;
    u32 text_size = path_size, size = object_size;
    this->~File();
    if (size != 0) arena::release_file(this, size);
    if (text != nullptr && text_size != 0) arena::release(text, text_size);
    if (node != nullptr) node->release();
}

void set_path(File& file, std::string_view text) {
    auto memory = arena::allocate(text.size() + 1);
    if (!memory.ok()) return;
    copy_string(static_cast<char*>(memory.value()), text.size() + 1, text);
    file.path_size = static_cast<u32>(text.size() + 1);
    file.path = static_cast<char*>(memory.value());
}

}  // namespace postern::libos
