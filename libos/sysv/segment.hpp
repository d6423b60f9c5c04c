// SPDX-License-Identifier: Apache-2.0
// A System V shared memory segment: arena pages that processes attach (shmat(2)).
#pragma once

#include "libos/fs/file.hpp"
#include "libos/sysv/objects.hpp"

namespace postern::libos {

inline constexpr u32 kSegmentRemoved = 01000, kSegmentLocked = 02000;  // SHM_DEST, SHM_LOCKED: of the mode as told

/// Behind mappings only, never behind a descriptor. The table holds one reference, each mapping another.
class Segment final : public File, public SysvObject {
public:
    Segment(void* pages, u64 count, u64 bytes) : size{bytes}, pages_{pages}, count_{count} {
        status_flags = 2;
        counts_mappings = 1;
    }
    ~Segment() override;
    FileKind kind() const override { return FileKind::segment; }
    Res<void> map(u64 address, u64 bytes, u64 offset, u32 prot, bool shared) override;
    Res<void> stat(Thread& thread, Stat& stat) override;
    void mapped(Process& process, i32 change) override;
    u64 mapped_size() override { return count_ * kPageSize; }
    u64 page_count() const { return count_; }

    /// Who has it mapped, and how often: what is to be given back for a process that the host killed.
    struct Attachment {
        ListLink link;
        Process* process = nullptr;
        u64 count = 0;
    };
    // Guarded by the table's lock.
    List<Attachment, &Attachment::link> attachments;
    u64 attached = 0;  ///< shm_nattch
    const u64 size;    ///< as asked for, in bytes
    i64 attach_time = 0, detach_time = 0;
    u32 creator_pid = 0, last_pid = 0;
    /// Lock held: takes an unwanted segment out of the table. True: the caller releases the table's reference.
    bool leave_when_unused(SysvTable& table);

private:
    void* pages_;
    u64 count_;
};

}  // namespace postern::libos
