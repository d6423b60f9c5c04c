// SPDX-License-Identifier: Apache-2.0
// The program's address space as the library OS lays it out: every mapping, its protection and what is behind it.
//
// The gate takes explicit addresses only, so this map decides all of them (with randomisation), answers
// /proc/self/maps, and is what exec tears down. It lives in private memory and is copied by fork with everything else.
#pragma once

#include "libos/errno.hpp"
#include "libos/memory/mapping_tree.hpp"
#include "libos/shared/lock.hpp"

namespace postern::libos {

class File;
struct Process;
struct Thread;

/// mmap(2), mremap(2) flags as Linux numbers them.
enum MapFlag : u32 {
    kMapFlagShared = 0x01,
    kMapFlagPrivate = 0x02,
    kMapFlagSharedValidate = 0x03,
    kMapFlagTypes = 0x0f,
    kMapFlagFixed = 0x10,
    kMapFlagAnonymous = 0x20,
    kMapFlag32Bit = 0x40,
    kMapFlagGrowsDown = 0x100,
    kMapFlagLocked = 0x2000,
    kMapFlagNoReserve = 0x4000,
    kMapFlagPopulate = 0x8000,
    kMapFlagStack = 0x20000,
    kMapFlagHugeTlb = 0x40000,
    kMapFlagSync = 0x80000,
    kMapFlagFixedNoReplace = 0x100000,
    kMapFlagUninitialized = 0x4000000,
    kMapFlagReadOnlyFile = 0x80000000,  ///< not Linux's: the mapping may never be written (shmat with SHM_RDONLY)
};
enum RemapFlag : u32 { kRemapMayMove = 1, kRemapFixed = 2, kRemapDontUnmap = 4 };

class Space {
public:
    static Res<Space*> create();
    ~Space();

    /// mmap(2), with the file already looked up (null: anonymous). `flags` are Linux MAP_*. References `file`.
    Res<u64> map(u64 address, u64 size, u32 prot, u32 flags, File* file, u64 offset, MappingKind kind);
    Res<void> unmap(u64 address, u64 size);
    /// shmdt(2): what is left of the segment that was attached at `address`. Errno::inval: none was.
    Res<void> detach(u64 address);
    Res<void> protect(u64 address, u64 size, u32 prot);
    Res<u64> remap(u64 old_address, u64 old_size, u64 new_size, u32 flags, u64 new_address);
    Res<u64> set_break(u64 address);
    /// mlock(2) and munlock(2). The host is not asked to keep pages: locks are counted against RLIMIT_MEMLOCK, shown in
    /// /proc, and keep locked memory from being dropped or invalidated.
    Res<void> lock_pages(u64 address, u64 size, bool lock);
    /// mlockall(2) with MCL_* bits; munlockall(2) with none.
    Res<void> lock_all(u32 flags);
    /// Any locked page in the range? Takes the lock.
    bool any_locked(u64 address, u64 size);
    u64 locked_bytes() const { return locked_; }
    /// mseal(2).
    Res<void> seal(u64 address, u64 size);
    /// remap_file_pages(2): the pages at `address` show the file from `page` on.
    Res<void> remap_file_pages(u64 address, u64 size, u64 page);
    /// madvise(2).
    Res<void> advise(u64 address, u64 size, u32 advice);
    /// Free addresses of `size` bytes, randomised; near `hint` when that is free. Nothing is reserved. With room below
    /// for the prepared code of `file`, if it has some.
    Res<u64> find(u64 hint, u64 size, const File* file = nullptr);
    /// Addresses for generated code within +-2 GiB of `near`; recorded as MappingKind::code. For handlers: waits for no
    /// one, and fails with Errno::again while another thread changes the address space.
    Res<u64> place_code(u64 near, u64 size);
    /// Holds all mappings as they are until thaw_code(): their common gate::Prot bits. Errno::again: not now;
    /// Errno::inval: holes, different protections, or memory that other processes share. Waits for no one.
    Res<u32> freeze_code(u64 address, u64 size);
    void thaw_code() { lock_.unlock(); }
    /// A fault at `address`: extends a MAP_GROWSDOWN mapping down to it. False: there is none within reach.
    bool grow_down(u64 address);
    /// A fault of the program at `address`: true when the access can be tried again (a stack grew, a file's page came).
    /// Errno::io: behind the end of a mapped file (SIGBUS). `flags` as in gate::ExceptionInfo.
    Res<bool> resolve_fault(u64 address, u32 flags);
    /// From here on files are mapped as they are, until the next clear(). A program without a loader that maps code is
    /// one that reads it, too, like valgrind: it could not follow the jumps that stand in prepared text.
    void map_plain() { prepares_ = false; }
    /// exec: unmaps everything that belongs to the program and forgets it; picks new random bases.
    void clear();
    /// exit: drops the files of all mappings and leaves the memory to the host. The Space may not be used afterwards.
    void abandon();
    void set_break_start(u64 address);
    /// fork: references for files of all mappings are counted twice from now on. Call with `lock()` held across
    /// DkProcessFork; `fork_failed` takes the second references back.
    void forked(Process& child);
    void fork_failed(Process& child);
    void forget_locks();  ///< in the child: memory locks are not inherited

    /// The mapping that contains `address`, or the next above; null: none. Caller holds `lock()`.
    const Mapping* at_or_above(u64 address) const;
    SharedLock& lock() { return lock_; }
    /// Where a mapping ends for the program: the heap is committed ahead of the break, which only this map knows.
    u64 visible_end(const Mapping& mapping) const {
        u64 end = page_ceil(break_end_);
        return mapping.kind == MappingKind::heap && mapping.end > end ? end : mapping.end;
    }
    /// True when every byte of the range is mapped. Takes the lock.
    bool covered(u64 address, u64 size);
    /// gate::Prot bits of the mapping at `address`; 0 when there is none. Takes the lock.
    u32 protection_at(u64 address);
    u64 mapped_bytes() const { return mapped_; }
    u64 mapping_count() const { return tree_.size(); }
    u64 break_start() const { return break_start_; }
    u64 break_end() const { return break_end_; }
    u64 stack_top() const { return stack_top_; }
    /// Where a position-independent program goes (below the heap, far from libraries), page aligned.
    u64 program_base() const { return program_base_; }

private:
    struct Doomed;  // mappings taken out of the tree, to be released without the lock

    Res<void> prepare();
    Res<u64> map_locked(u64 address, u64 size, u32 prot, u32 flags, File* file, u64 offset, MappingKind kind,
                        Doomed& doomed);
    Res<u64> remap_locked(u64 old_address, u64 old_size, u64 new_size, u32 flags, u64 new_address, Doomed& doomed);
    Res<void> move_contents(const Mapping& mapping, u64 from, u64 old_size, u64 to, u64 new_size);
    Res<u64> set_break_locked(u64 address, Doomed& doomed);
    Res<u64> find_locked(u64 hint, u64 size, u64 low, u64 high) const;
    Res<u64> find_for_file(u64 hint, u64 size, const File* file) const;
    bool map_prepared(u64 address, u64 size, u32 prot, File& file, u64 offset, Doomed& doomed);
    void drop_prepared(u64 start, u64 end, Doomed& doomed);
    bool overlaps(u64 start, u64 end) const;
    Res<void> check_unsealed(u64 start, u64 end) const;  ///< Errno::perm
    void announce_code(u64 start, u64 end);
    gate::Err release_host(u64 start, u64 end);
    /// The host's answer about memory as an errno; when it was the family's limit, the host's user will be told.
    Res<void> check_memory(gate::Err error, u64 size) const;
    Res<void> allocate_at(u64 address, u64 size, u32 prot, u32 extra = 0) const;
    /// Would `more` bytes exceed RLIMIT_AS, or, of private memory that can be written, RLIMIT_DATA?
    bool exceeds_limits(u64 more, bool data) const;
    bool exceeds_data_limit(u64 more) const;
    MappingNode* split(MappingNode* node, u64 at);
    bool may_lock(u64 more) const;
    void set_locked(u64 start, u64 end, bool lock, Doomed& doomed);
    void carve(u64 start, u64 end, Doomed& doomed);
    void insert(const Mapping& mapping, Doomed& doomed);
    void merge(u64 start, u64 end, Doomed& doomed);
    MappingNode* take_spare();
    void choose_bases();
    void note_time_page();

    SharedLock lock_;
    MappingTree tree_;
    MappingNode* spares_ = nullptr;  ///< so that splitting cannot fail half-way
    u32 spare_count_ = 0;
    u64 mapped_ = 0;
    u64 locked_ = 0;          ///< bytes of locked mappings
    bool prepares_ = true;    ///< prepared text takes the place of files' own
    bool has_seals_ = false;  ///< some mapping was sealed
    u32 lock_future_ = 0;     ///< MCL_FUTURE: new mappings are locked
    u64 break_start_ = 0, break_end_ = 0;
    u64 break_committed_ = 0;  ///< end of the memory committed ahead of the break
    u64 break_dirty_ = 0;      ///< what lies in [break_end_, break_dirty_) may hold old data
    u64 map_top_ = 0;          ///< mmap goes down from here
    u64 stack_top_ = 0;
    u64 program_base_ = 0;
    u64 time_page_bytes_ = 0;
};

}  // namespace postern::libos
