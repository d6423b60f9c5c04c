// SPDX-License-Identifier: Apache-2.0
// Files in memory (tmpfs(5)): private trees, /dev/shm and memfd_create(2). Names, attributes and data live in the
// arena.
//
// One lock orders all changes of names in the family (`tree lock`), one per file orders its data; the tree lock is
// taken first. A process that is killed while it holds one leaves a tree that is whole: changes of several words are
// undone.
#pragma once

#include "base/list.hpp"
#include "libos/fs/inode.hpp"

namespace postern::libos {

class Pipe;

struct TimeStamp {
    i64 seconds = 0, nanoseconds = 0;
};
TimeStamp time_stamp();

class MemoryDirectory;
inline constexpr usize kMemoryPath = 4096;
struct ExtendedAttribute;

/// Orders all changes of names and extended attributes.
SharedLock& memory_tree_lock();

/// What all objects of a memory tree have in common.
class MemoryInode : public Inode {
public:
    ~MemoryInode() override;
    Res<void> stat(Thread& thread, Stat& stat) override;
    Res<void> set_attributes(Thread& thread, u32 changes, const InodeAttributes& attributes) override;

    bool unlinked() const override { return links == 0; }

    void touch_modified();  ///< mtime and ctime
    void touch_changed() { changed = time_stamp(); }
    void touch_accessed();  ///< as relatime

    ExtendedAttribute* attributes = nullptr;  ///< xattr(7), guarded by the tree lock
    u64 links = 1;
    TimeStamp accessed, modified, changed, born;
};

/// Data of a regular file: a table of pages, in leaves of 512. Null pages are holes.
class MemoryFileInode final : public MemoryInode {
public:
    ~MemoryFileInode() override;
    Res<void> stat(Thread& thread, Stat& stat) override;
    Res<FileRef> open(Thread& thread, u32 open_flags) override;
    Res<void> truncate(Thread& thread, u64 length) override;

    template <class Copy>
    Res<u64> read(u64 position, u64 size, Copy copy);
    template <class Copy>
    Res<u64> write(u64& position, u64 size, bool append, Copy copy);
    Res<void> allocate(u32 mode, u64 offset, u64 length);
    /// Without room for all of it, what is left out is mapped when it is touched (fault_in); `strict`: Errno::nospc.
    Res<void> map(u64 address, u64 size, u64 offset, u32 prot, bool shared, bool strict = false);
    /// SEEK_DATA and SEEK_HOLE.
    Res<u64> seek_data(u64 position, bool hole);
    /// Pages with data in [first, end).
    u64 pages_between(u64 first, u64 end);
    u64 size() const { return __atomic_load_n(&size_, __ATOMIC_RELAXED); }

    u32 seals = 1;  ///< F_SEAL_*; F_SEAL_SEAL unless memfd_create allowed sealing
    u32 writable_maps = 0;

private:
    static constexpr u64 kLeafPages = 512;
    using Leaf = u8* [kLeafPages];
    u8* page_at(u64 index) const;
    Res<u8*> page_for_write(u64 index, u64 more, u64* reserved = nullptr);
    u64 count_holes(u64 first, u64 end) const;
    Res<u8**> slot_for(u64 index);
    void drop_pages(u64 first, u64 end);
    void zero(u64 from, u64 to);
    Res<void> resize(u64 length);

    SharedLock lock_;
    u64 size_ = 0;
    u64 pages_ = 0;  ///< in the table
    Leaf** leaves_ = nullptr;
    u64 leaf_count_ = 0;
    bool mapped_ = false;  ///< pages may be visible in address spaces: they stay until the inode goes
};

class MemoryFile final : public File {
public:
    MemoryFileInode& node() const { return static_cast<MemoryFileInode&>(*inode); }
    Res<i64> read(Thread& thread, u64 user, u64 size, u64 position) override;
    Res<i64> write(Thread& thread, u64 user, u64 size, u64 position) override;
    Res<i64> read_kernel(Thread& thread, void* buffer, u64 size, u64 position) override;
    Res<i64> write_kernel(Thread& thread, const void* buffer, u64 size, u64 position) override;
    Res<i64> seek(Thread& thread, i64 offset, u32 whence) override;
    bool seekable() const override { return true; }
    Res<void> truncate(Thread& thread, u64 length) override;
    Res<void> allocate(Thread& thread, u32 mode, u64 offset, u64 length) override;
    Res<void> sync(Thread&, bool) override { return {}; }
    Res<void> map(u64 address, u64 size, u64 offset, u32 prot, bool shared) override;
    Res<void> fault_in(u64 address, u64 offset, u32 prot, bool shared) override;
    void writable_mapping(i32 change) override {
        __atomic_add_fetch(&node().writable_maps, static_cast<u32>(change), __ATOMIC_SEQ_CST);
    }
    bool allows_shared_write() const override { return (status_flags & 3) == 2 && (node().seals & (8 | 16)) == 0; }
};

class MemoryLink final : public MemoryInode {
public:
    ~MemoryLink() override;
    static Res<MemoryLink*> make(std::string_view target);
    Res<void> stat(Thread& thread, Stat& stat) override;
    Res<usize> read_link(Thread& thread, char* buffer, usize capacity) override;

private:
    char* target_ = nullptr;
    u32 size_ = 0;
};

/// A FIFO, or the name of a socket.
class MemoryFifo final : public MemoryInode {
public:
    ~MemoryFifo() override;
    Res<FileRef> open(Thread& thread, u32 open_flags) override;

private:
    SharedLock lock_;
    Pipe* pipe_ = nullptr;
};

/// The name of a device (mknod(2)). Those of /dev can be opened under it, others are names only.
class MemoryDevice final : public MemoryInode {
public:
    Res<FileRef> open(Thread& thread, u32 open_flags) override;
    Res<void> stat(Thread& thread, Stat& stat) override;
    Res<void> truncate(Thread&, u64) override { return {}; }  // open(2) with O_TRUNC

    u64 device_number = 0;  ///< st_rdev
};

class MemoryDirectory final : public MemoryInode {
public:
    ~MemoryDirectory() override;
    Res<void> stat(Thread& thread, Stat& stat) override;
    Res<InodeRef> lookup(Thread& thread, std::string_view name) override;
    Res<void> visit(Thread& thread, u64 position, DirectoryVisitor& visitor) override;
    Res<InodeRef> create(Thread& thread, std::string_view name, u32 mode) override;
    Res<void> make_directory(Thread& thread, std::string_view name, u32 mode) override;
    Res<void> make_link(Thread& thread, std::string_view name, std::string_view target) override;
    Res<void> add_name(Thread& thread, std::string_view name, Inode& existing) override;
    Res<void> remove(Thread& thread, std::string_view name, bool directory) override;
    Res<void> rename(Thread& thread, std::string_view name, Inode& target, std::string_view new_name,
                     u32 flags) override;
    /// Names directly inside, without permission checks: for laying out trees at start.
    Res<InodeRef> add_directory(std::string_view name, u32 mode, u32 uid, u32 gid);

    MemoryDirectory* parent = nullptr;  ///< not referenced: a directory's parent outlives its name

private:
    struct Entry {
        ListLink link;  ///< in order of position
        Entry* next;    ///< in the bucket
        u64 position;
        Inode* inode;
        u32 hash;
        u32 length;
        char name[8];
    };
    static u32 hash_of(std::string_view name);
    static usize entry_bytes(usize length) { return sizeof(Entry) - 8 + length + 1; }
    Entry* find(std::string_view name) const;
    Res<Entry*> make_entry(std::string_view name, Inode& inode);
    Res<void> insert(std::string_view name, Inode& inode);
    void insert(Entry& entry);
    void unlink(Entry& entry);
    Res<void> grow();
    Res<void> may_change(Thread& thread) const;
    Res<void> may_remove(Thread& thread, const Inode& child) const;
    void adopt(Thread& thread, MemoryInode& child, u32 child_mode);
    static bool inside(const MemoryDirectory* directory, const Inode* ancestor);
    Entry* entry_of(const Inode& inode);
    friend InodeRef memory_find(Inode& root, u64 number, char (&path)[kMemoryPath]);

    List<Entry, &Entry::link> entries_;
    Entry** buckets_ = nullptr;
    u64 bucket_count_ = 0;
    u64 count_ = 0;
    u64 next_position_ = 3;
    u64 removed_ = 0;  ///< rmdir: nothing can be created any more
    friend Res<InodeRef> make_memory_tree(u32 mode, u32 uid, u32 gid);
};

/// An empty tree.
Res<InodeRef> make_memory_tree(u32 mode, u32 uid, u32 gid);
/// memfd_create(2): an unnamed file, open for reading and writing.
Res<FileRef> make_memory_file(Thread& thread, u32 mode, u32 seals);
/// An unnamed regular file in the directory's file system (O_TMPFILE).
Res<InodeRef> make_unnamed(Thread& thread, u32 mode);

/// What has this number in the tree of `root`; null: nothing. `path` is that of the root, and becomes that of a name of
/// it.
InodeRef memory_find(Inode& root, u64 number, char (&path)[kMemoryPath]);

inline constexpr u64 kTmpfsDevice = 0x18;

}  // namespace postern::libos
