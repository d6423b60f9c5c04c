// SPDX-License-Identifier: Apache-2.0
// An open file description (open(2)): what descriptors refer to, shared over dup and fork with its offset.
//
// Files live in the arena and have virtual functions (see shared/arena.hpp). A File that is backed by a gate stream
// holds its handle, which is valid in the picoprocess that opened it and in those that forked from it since.
#pragma once

#include "libos/errno.hpp"
#include "libos/shared/wait.hpp"

namespace postern::libos {

struct Thread;
struct Process;
class Inode;

struct Stat {  // struct stat of x86-64
    u64 st_dev, st_ino, st_nlink;
    u32 st_mode, st_uid, st_gid, pad0;
    u64 st_rdev;
    i64 st_size, st_blksize, st_blocks;
    i64 st_atime, st_atime_nsec, st_mtime, st_mtime_nsec, st_ctime, st_ctime_nsec;
    i64 unused[3];
    i64 born_seconds, born_nanoseconds;  ///< not part of struct stat: for statx; copy_out only sizeof_linux
    u64 protection;                      ///< as well: FS_*_FL, of memory files only
    static constexpr usize sizeof_linux = 144;
};

/// File::offset after a write with O_APPEND: where the file ends. Looked up when it matters.
inline constexpr u64 kOffsetAtEnd = ~0ull;

/// Calls `emit` per entry; stops and returns when it answers false.
struct DirectoryVisitor {
    virtual bool entry(std::string_view name, u64 inode, u8 dt_type, u64 next_position) = 0;
};

/// What a File is where others must know: static_cast to the class of that name in ipc/ is allowed then.
enum class FileKind : u32 {
    other,
    stream,
    pipe,
    event,
    timer,
    signal,
    epoll,
    socket,
    segment,
    pid,
    message_queue,
    inotify
};

class File {
public:
    virtual ~File() = default;
    virtual FileKind kind() const { return FileKind::other; }

    // Data. `user` is a program address. Files with positions take them explicitly; `read`/`write` below them in
    // calls.cpp use and move `offset`. Errors as read(2) and write(2).
    virtual Res<i64> read(Thread& thread, u64 user, u64 size, u64 position);
    virtual Res<i64> write(Thread& thread, u64 user, u64 size, u64 position);
    /// Into library-OS memory: the ELF loader and sendfile use these.
    virtual Res<i64> read_kernel(Thread& thread, void* buffer, u64 size, u64 position);
    virtual Res<i64> write_kernel(Thread& thread, const void* buffer, u64 size, u64 position);
    virtual Res<i64> seek(Thread& thread, i64 offset, u32 whence);  ///< lseek(2); default ESPIPE
    virtual bool seekable() const { return false; }
    /// Does pread(2) take it, though positions may mean nothing to it? ESPIPE otherwise.
    virtual bool takes_positions() const { return seekable(); }
    virtual bool on_host() const { return false; }  ///< a regular file behind the gate
    virtual bool is_directory() const;
    virtual Res<void> truncate(Thread& thread, u64 length);
    virtual Res<void> allocate(Thread& thread, u32 mode, u64 offset, u64 length);
    virtual Res<void> sync(Thread& thread, bool data_only);
    virtual Res<void> stat(Thread& thread, Stat& stat);
    virtual Res<void> visit_directory(Thread& thread, u64 position, DirectoryVisitor& visitor);  ///< default ENOTDIR
    virtual Res<i64> ioctl(Thread& thread, u32 request, u64 argument);                           ///< default ENOTTY

    /// One shared mapping that can be written more (1) or less (-1).
    virtual void writable_mapping(i32) {}
    /// One mapping of `process` more (1) or less (-1). Called for files with `counts_mappings` only.
    virtual void mapped(Process& process, i32 change);
    virtual u64 mapped_size() { return 0; }  ///< bytes of all pages, of a segment
    /// Establishes a mapping at exactly [address, address + size), replacing what is there (Space decides addresses).
    virtual Res<void> map(u64 address, u64 size, u64 offset, u32 prot, bool shared);  ///< default ENODEV
    /// What the host has prepared of the file's code; null: nothing.
    virtual const gate::PreparedText* prepared_text() const { return nullptr; }
    /// As map(), privately, of the prepared text to `address` and of its code to where that belongs.
    virtual Res<void> map_prepared(u64 address, u32 prot);

    /// PollBits that hold now.
    virtual u32 poll(Thread& thread);
    /// Where changes of poll() are announced; null with host_handle(): readiness is known by the host only;
    /// null without: always ready.
    virtual WaitQueue* wait_queue() { return nullptr; }
    virtual gate::Handle host_handle() const { return gate::kNoHandle; }
    /// Does O_ASYNC do anything here? Then wait_queue() is not null.
    virtual bool signals_readiness() const { return false; }
    /// O_ASYNC was turned on or off.
    virtual void async_changed(bool) {}
    /// Which signals an announcement of `events` is for: bits 1 << AsyncReason. Called with the queue locked.
    virtual u32 async_reasons(u32 events) const { return (events & kPollIn) != 0 ? 1 << 1 : 0; }
    /// When poll() may change by the passing of time alone (timerfd): a deadline on Clock::monotonic, or kForever.
    virtual u64 ready_at() { return ~0ull; }
    /// Changes whenever an edge-triggered watch of a file without announcements is due again.
    virtual u64 edge_count() { return 0; }

    /// The last descriptor of *this process* is gone: close handles of this picoprocess. Other processes go on. Called
    /// for files with `has_local` only.
    virtual void close_local() {}
    /// Every close(2) of a descriptor (POSIX locks, flush).
    virtual void descriptor_closed(Process&) {}

    void reference() { __atomic_add_fetch(&references_, 1, __ATOMIC_SEQ_CST); }
    /// For who found the file without a lock: false when it is gone. True may mean another file at the same address.
    bool try_reference() {
        u32 seen = __atomic_load_n(&references_, __ATOMIC_RELAXED);
        do {
            if (seen == 0) return false;
        } while (!__atomic_compare_exchange_n(&references_, &seen, seen + 1, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
        return true;
    }
    /// Destroys the file at zero.
    void release();

    /// A fresh description of the same object, for opening /proc/PID/fd/N. Default: by inode, else by path, else ENXIO.
    virtual Res<class FileRef> reopen(Thread& thread, u32 open_flags);
    /// Is this, as it was opened, the object with these st_dev and st_ino? For a file that came over a socket and is
    /// opened anew by its path.
    virtual bool is_object(u64, u64) const { return true; }
    /// A fault inside a mapping of this file at `offset`: makes the page at `address` accessible if it is part of the
    /// file by now. Errno::io: it lies behind the end (SIGBUS). Default: Errno::fault (SIGSEGV).
    virtual Res<void> fault_in(u64 address, u64 offset, u32 prot, bool shared);
    /// Shared mappings of files opened O_RDONLY cannot become writable, and sealed ones neither. Default: status_flags.
    virtual bool allows_shared_write() const { return (status_flags & 3) == 2; }

    u32 has_local = 0;     ///< not 0: each picoprocess that opened or inherited the file has handles or mappings of it
    i32 signal_owner = 0;  ///< F_SETOWN; negative: a process group
    u32 owner_is_thread = 0;                       ///< F_SETOWN_EX with F_OWNER_TID
    u32 signal_number = 0;                         ///< F_SETSIG
    u32 owner_user = 0, owner_effective_user = 0;  ///< of who set the owner
    u32 has_directory_notice = 0;                  ///< F_NOTIFY
    struct AsyncWatch* async = nullptr;            ///< O_ASYNC: ipc/async.hpp
    u32 counts_mappings = 0;                       ///< mapped() wants to know
    u32 has_lease = 0;                             ///< F_SETLEASE (see fs/leases.hpp)
    u32 created = 0;                               ///< by the open(2) that made the description
    u32 announces = 0;                             ///< opened by a name: inotify watches hear of its use
    u32 has_locks = 0;                             ///< the description may own locks (see fs/locks.hpp)
    u32 usual_fd = 0;                              ///< a descriptor that it has, or had: where to look first
    u32 status_flags = 0;                          ///< O_* without creation flags; change with fcntl
    u64 offset = 0;
    SharedLock offset_lock;
    struct EpollItem* watches = nullptr;  ///< epoll sets that watch this description: ipc/epoll.hpp
    Inode* inode = nullptr;               ///< referenced; null for files without a name (pipes, eventfd, ...)
    char* path = nullptr;  ///< arena, NUL-terminated canonical path, or text like "pipe:[12]"; may be null
    u32 path_size = 0;
    u32 object_size = 0;  ///< for release(): set by make_file

private:
    u32 references_ = 1;  ///< 0 from the end on, also in memory that waits for its next file (arena::allocate_file)
};

/// Creates a File of class T in the arena with one reference.
template <class T, class... Arguments>
Res<T*> make_file(Arguments&&... arguments);

}  // namespace postern::libos

#include "libos/fs/make_file.hpp"
