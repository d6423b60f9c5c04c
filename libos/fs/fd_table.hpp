// SPDX-License-Identifier: Apache-2.0
// Descriptor tables: small numbers to open file descriptions. In the arena, so that the descriptors of a process that
// was killed can be dropped by those that live.
#pragma once

#include "libos/fs/file.hpp"

namespace postern::libos {

/// A reference to a File that ends with its scope.
class FileRef {
public:
    FileRef() = default;
    explicit FileRef(File* adopted) : file_{adopted} {}
    FileRef(FileRef&& other) : file_{other.file_} { other.file_ = nullptr; }
    FileRef& operator=(FileRef&& other) {
        if (this != &other) {
            reset();
            file_ = other.file_;
            other.file_ = nullptr;
        }
        return *this;
    }
    ~FileRef() { reset(); }
    File* operator->() const { return file_; }
    File& operator*() const { return *file_; }
    File* get() const { return file_; }
    File* leak() {
        File* file = file_;
        file_ = nullptr;
        return file;
    }
    void reset() {
        if (file_ != nullptr) file_->release();
        file_ = nullptr;
    }

private:
    File* file_ = nullptr;
};

class FdTable {
public:
    static Res<FdTable*> create();
    /// fork: same descriptors, same descriptions. Call in the parent before DkProcessFork.
    Res<FdTable*> clone();
    void reference();
    void release();  ///< of a living process: closes all descriptors at the last reference
    void abandon();  ///< of a process that the host killed: drops its references, closes no handles

    Res<FileRef> get(u32 fd);  ///< Errno::badf
    /// A fast look without reference for single-threaded tables; null when the table is shared or fd is closed.
    File* peek(u32 fd) const;
    /// Lowest free number >= `lowest`; takes over the reference.
    Res<u32> install(FileRef file, bool close_on_exec, u32 lowest = 0);
    Res<u32> install_at(FileRef file, u32 fd, bool close_on_exec);  ///< dup2/dup3: closes what was there
    Res<void> close(u32 fd);
    Res<bool> close_on_exec(u32 fd);
    Res<void> set_close_on_exec(u32 fd, bool value);
    void close_range(u32 first, u32 last, bool only_mark);
    void exec();  ///< closes what is marked
    /// Lowest open descriptor >= fd, for /proc/PID/fd; -1: none.
    i32 next_open(u32 fd) const;
    /// True when a descriptor of this table refers to `file`.
    bool contains(const File* file);
    /// The table's process takes a POSIX lock: closing descriptors releases it from now on.
    void note_lock() { has_locks_ = 1; }

private:
    /// A slot is a File (16-byte aligned) with kCloseOnExec in its low bits; 0: closed.
    using Slot = u64;
    static constexpr Slot kCloseOnExec = 1;
    static constexpr u32 kInline = 64;
    static File* file_of(Slot slot) { return reinterpret_cast<File*>(slot & ~Slot{15}); }

    File* file_at(u32 fd) const;
    void put(u32 fd, Slot slot) { __atomic_store_n(&slots_[fd], slot, __ATOMIC_RELEASE); }
    Res<void> grow(u32 needed);
    /// Lock held: lowest closed descriptor >= lowest, in [0, limit). Errno::mfile.
    Res<u32> find_free(u32 lowest, u32 limit);
    /// Lock held: empties a slot. The caller passes the result to drop() without the lock.
    Slot take(u32 fd);
    void drop(Slot slot);
    void destroy();
    bool is_private() const;

    SharedLock lock_;  ///< above all locks of files' data; files are closed without it
    u32 references_ = 1;
    u32 capacity_ = kInline;
    u32 high_ = 0;  ///< descriptors from here on are closed
    u32 has_locks_ = 0;
    u32 lowest_free_ = 0;    ///< descriptors below are open
    Slot* slots_ = nullptr;  ///< `inline_`, or an arena array
    struct Retired {
        Slot* slots;
        u32 capacity;
        Retired* next;
    };
    Retired* retired_ = nullptr;  ///< outgrown arrays, which unlocked readers may still look at
    Slot inline_[kInline] = {};
};

/// Opens 0, 1, 2 of the first process on stdin:, stdout:, stderr:.
Res<void> install_standard_streams(FdTable& table);

}  // namespace postern::libos
