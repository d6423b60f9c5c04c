// SPDX-License-Identifier: Apache-2.0
// Trees of files that the library OS serves itself: private memory, /proc, /dev. Paths are walked over this interface.
//
// Inodes live in the arena and have virtual functions. Names are single components, never "", "." or "..". Search
// permission on directories is checked by the walk, write permission by the calls (both from `mode`, `uid`, `gid`);
// sticky directories and file-system rules are the inode's own business.
#pragma once

#include <string_view>

#include "libos/fs/fd_table.hpp"
#include "libos/shared/arena.hpp"

namespace postern::libos {

enum FileType : u32 {
    kTypeMask = 0170000,
    kTypeFifo = 0010000,
    kTypeCharacter = 0020000,
    kTypeDirectory = 0040000,
    kTypeBlock = 0060000,
    kTypeRegular = 0100000,
    kTypeLink = 0120000,
    kTypeSocket = 0140000,
};
inline constexpr u32 kNameMax = 255;

class Inode;

/// A reference to an Inode that ends with its scope.
class InodeRef {
public:
    InodeRef() = default;
    explicit InodeRef(Inode* adopted) : inode_{adopted} {}
    static InodeRef share(Inode* inode);
    InodeRef(InodeRef&& other) : inode_{other.inode_} { other.inode_ = nullptr; }
    InodeRef& operator=(InodeRef&& other) {
        if (this != &other) {
            reset();
            inode_ = other.inode_;
            other.inode_ = nullptr;
        }
        return *this;
    }
    ~InodeRef() { reset(); }
    Inode* operator->() const { return inode_; }
    Inode& operator*() const { return *inode_; }
    Inode* get() const { return inode_; }
    Inode* leak() {
        Inode* inode = inode_;
        inode_ = nullptr;
        return inode;
    }
    void reset();

private:
    Inode* inode_ = nullptr;
};

/// What set_attributes changes.
enum InodeChange : u32 {
    kChangeMode = 1,
    kChangeOwner = 2,
    kChangeGroup = 4,
    kChangeAccessed = 8,
    kChangeModified = 16
};
struct InodeAttributes {
    u32 mode = 0, uid = 0, gid = 0;
    i64 accessed = 0, accessed_ns = 0, modified = 0, modified_ns = 0;
};

/// FS_*_FL of ioctl_iflags(2), as far as they are kept.
enum Protection : u32 {
    kImmutable = 0x10,
    kAppendOnly = 0x20,
    kNoDump = 0x40,
    kNoAccessTime = 0x80,
    kShownProtection = kImmutable | kAppendOnly | kNoDump,  ///< STATX_ATTR_* have the same values
};

class Inode {
public:
    virtual ~Inode() = default;

    virtual Res<void> stat(Thread& thread, Stat& stat);  ///< default: from the fields below, size 0, link count 1
    /// A File without path; the caller fills in `inode` and `path`. Default: DirectoryFile for directories, else ENXIO.
    virtual Res<FileRef> open(Thread& thread, u32 open_flags);

    // Directories; the defaults answer as a directory that cannot be changed.
    virtual Res<InodeRef> lookup(Thread& thread, std::string_view name);  ///< ENOENT; default ENOTDIR
    /// Entries from `position` on, without `.` and `..`. Positions given to the visitor are above 2, grow, and mean the
    /// same while the directory lives; the first call has 2.
    virtual Res<void> visit(Thread& thread, u64 position, DirectoryVisitor& visitor);
    /// `mode` with type bits: regular file, FIFO or socket name. Errno::exist when the name is taken.
    virtual Res<InodeRef> create(Thread& thread, std::string_view name, u32 mode);
    virtual Res<void> make_directory(Thread& thread, std::string_view name, u32 mode);
    virtual Res<void> make_link(Thread& thread, std::string_view name, std::string_view target);
    virtual Res<void> add_name(Thread& thread, std::string_view name, Inode& existing);  ///< link(2)
    virtual Res<void> remove(Thread& thread, std::string_view name, bool directory);     ///< unlink(2), rmdir(2)
    /// `flags`: RENAME_*. `target` is a directory of the same file system.
    virtual Res<void> rename(Thread& thread, std::string_view name, Inode& target, std::string_view new_name,
                             u32 flags);

    // Symbolic links.
    virtual Res<usize> read_link(Thread& thread, char* buffer, usize capacity);  ///< default EINVAL
    /// /proc/PID/fd/N and its like lead to an open file, not to a name: that file (or a fresh one with the same
    /// meaning). Errno::nosys (the default): an ordinary link.
    virtual Res<FileRef> follow(Thread& thread);

    virtual Res<void> set_attributes(Thread& thread, u32 changes, const InodeAttributes& attributes);
    virtual Res<void> truncate(Thread& thread, u64 length);

    virtual bool unlinked() const { return false; }  ///< no name leads to it any more

    bool is_directory() const { return (mode & kTypeMask) == kTypeDirectory; }
    bool is_link() const { return (mode & kTypeMask) == kTypeLink; }
    void reference() { __atomic_add_fetch(&references_, 1, __ATOMIC_SEQ_CST); }
    /// False: the last reference is gone already, and the inode about to go.
    bool try_reference() {
        u32 now = __atomic_load_n(&references_, __ATOMIC_SEQ_CST);
        while (now != 0 &&
               !__atomic_compare_exchange_n(&references_, &now, now + 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
        }
        return now != 0;
    }
    void release();

    u32 mode = 0;  ///< type and permission bits
    u32 uid = 0, gid = 0;
    u32 object_size = 0;  ///< set by make_inode
    u32 protection = 0;   ///< Protection bits; of memory trees
    u32 watched = 0;      ///< inotify is to be told when it goes
    u64 device = 0;
    u64 number = 0;  ///< st_ino

private:
    u32 references_ = 1;
};

inline InodeRef InodeRef::share(Inode* inode) {
    inode->reference();
    return InodeRef{inode};
}
inline void InodeRef::reset() {
    if (inode_ != nullptr) inode_->release();
    inode_ = nullptr;
}

u64 fresh_inode_number();

/// Creates an Inode of class T in the arena with one reference and a fresh number.
template <class T, class... Arguments>
Res<T*> make_inode(Arguments&&... arguments) {
    T* inode = TRY(arena::create<T>(std::forward<Arguments>(arguments)...));
    inode->object_size = sizeof(T);
    if (inode->number == 0) inode->number = fresh_inode_number();
    return inode;
}

/// An open directory of an Inode tree. Its `inode` is the directory.
class DirectoryFile final : public File {
public:
    Res<i64> read(Thread&, u64, u64, u64) override { return Failure{Errno::isdir}; }
    Res<i64> read_kernel(Thread&, void*, u64, u64) override { return Failure{Errno::isdir}; }
    Res<i64> seek(Thread& thread, i64 offset, u32 whence) override;
    bool seekable() const override { return true; }
    Res<void> sync(Thread&, bool) override { return {}; }
    Res<void> visit_directory(Thread& thread, u64 position, DirectoryVisitor& visitor) override;
};

/// A file that is only named (open(2) with O_PATH): every use of its contents answers EBADF.
class PathFile final : public File {
public:
    explicit PathFile(const Stat& stat) : stat_{stat} {}
    Res<i64> read(Thread&, u64, u64, u64) override { return Failure{Errno::badf}; }
    Res<i64> write(Thread&, u64, u64, u64) override { return Failure{Errno::badf}; }
    Res<i64> read_kernel(Thread&, void*, u64, u64) override { return Failure{Errno::badf}; }
    Res<i64> write_kernel(Thread&, const void*, u64, u64) override { return Failure{Errno::badf}; }
    Res<i64> seek(Thread&, i64, u32) override { return Failure{Errno::badf}; }
    Res<void> truncate(Thread&, u64) override { return Failure{Errno::badf}; }
    Res<void> allocate(Thread&, u32, u64, u64) override { return Failure{Errno::badf}; }
    Res<void> sync(Thread&, bool) override { return Failure{Errno::badf}; }
    Res<void> visit_directory(Thread&, u64, DirectoryVisitor&) override { return Failure{Errno::badf}; }
    Res<i64> ioctl(Thread&, u32, u64) override { return Failure{Errno::badf}; }
    Res<void> map(u64, u64, u64, u32, bool) override { return Failure{Errno::badf}; }
    Res<void> stat(Thread& thread, Stat& stat) override;
    bool is_directory() const override { return (stat_.st_mode & kTypeMask) == kTypeDirectory; }

private:
    Stat stat_;  ///< as it was when opened
};

/// May the thread do all of `wanted` (4 read, 2 write, 1 execute or search) to what has these attributes? Errno::acces.
Res<void> check_permission(Thread& thread, u32 mode, u32 uid, u32 gid, u32 wanted, bool real_ids = false);
inline Res<void> check_permission(Thread& thread, const Inode& inode, u32 wanted) {
    if ((inode.protection & kImmutable) != 0 && (wanted & 2) != 0) return Failure{Errno::perm};
    return check_permission(thread, inode.mode, inode.uid, inode.gid, wanted);
}
/// Owner of the file, or CAP_FOWNER. Errno::perm.
Res<void> check_owner(Thread& thread, u32 uid);
bool has_capability(Thread& thread, u32 capability);

// The roots of the served trees, made once by the first picoprocess. libos/proc implements them; where one is not
// linked in, an empty read-only directory stands for it. /dev should list `shm` (empty): memory files are mounted over
// it.
__attribute__((weak)) Res<InodeRef> create_proc_tree();
__attribute__((weak)) Res<InodeRef> create_dev_tree();
__attribute__((weak)) Res<InodeRef> create_sys_tree();
/// What lies behind a character device of this number (st_rdev). Errno::nxio: nothing.
__attribute__((weak)) Res<FileRef> open_device(Thread& thread, u64 device, u32 open_flags);

}  // namespace postern::libos
