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
    /// A slot is a File (16-byte aligned) with these in its low bits; 0: closed.
    using Slot = u64;
    static constexpr Slot kCloseOnExec = 1;
    static constexpr Slot kClosing = 2;  ///< closed for programs; for who counts descriptors it will be or not be
    static constexpr u32 kInline = 64, kChunks = 8;
    static File* file_of(Slot slot) { return reinterpret_cast<File*>(slot & ~Slot{15}); }

    /// The chunk of fd and its first descriptor: 0 to 63, and 16 * 4^n to 64 * 4^n - 1 for n from 1 to 7.
    static u32 chunk_of(u32 fd) { return fd < kInline ? 0 : (27 - static_cast<u32>(__builtin_clz(fd))) / 2; }
    static u32 chunk_base(u32 chunk) { return chunk == 0 ? 0 : 16u << 2 * chunk; }
    static u32 chunk_size(u32 chunk) { return chunk == 0 ? kInline : 48u << 2 * chunk; }
    /// Neighbours lie in different cache lines: threads that open and close at the same time get neighbours.
    static u32 place_of(u32 index) { return (index & ~63u) | (index & 7) << 3 | (index >> 3 & 7); }
    Slot* slot_at(u32 fd) const;   ///< null: nothing was ever open there or near
    Res<Slot*> make_slot(u32 fd);  ///< Errno::nomem
    Slot read(u32 fd) const;       ///< 0: closed
    Slot hold(u32 fd) const;       ///< with a reference to its file
    static Slot settled(const Slot& slot);
    /// Changes a slot. `last`: that was this picoprocess's last descriptor of the file. Both are for drop().
    Slot swap(Slot& slot, Slot value, bool& last);
    void let_look() const;
    bool has_another(const Slot& slot, Slot old) const;
    bool empty_one_of_many(Slot& slot, Slot old);
    void drop(Slot slot, bool last);  ///< ends what a descriptor was
    void raise_high(u32 high);
    void raise_all_open(u32 from, u32 to);
    void lower_all_open(u32 fd);
    void destroy();
    bool is_private() const;
    Res<void> copy_to(FdTable& copy);
    bool find(const File* file) const;  ///< with a Look
    void note_descriptor(File& file, u32 fd);
    class Look;

    // What every call reads, and few write.
    u32 references_ = 1;
    u32 high_ = 0;      ///< descriptors from here on are closed
    u32 all_open_ = 0;  ///< descriptors below are open
    u32 has_locks_ = 0;
    Slot* chunks_[kChunks] = {};  ///< instead of the first: `inline_`. What is there stays until the end
    u32 looking_ = 0;
    alignas(64) SharedLock lock_;  ///< of those who look through the whole table
    alignas(64) Slot inline_[kInline] = {};
};

/// Opens 0, 1, 2 of the first process on stdin:, stdout:, stderr:.
Res<void> install_standard_streams(FdTable& table);

}  // namespace postern::libos
