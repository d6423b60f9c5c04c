// SPDX-License-Identifier: Apache-2.0
// Files and directories behind the gate.
#pragma once

#include "libos/fs/handle_cache.hpp"
#include "libos/fs/inode.hpp"
#include "libos/fs/listing.hpp"
#include "libos/fs/path.hpp"

namespace postern::libos {

void fill_stat(const gate::Attributes& attributes, Stat& stat);
/// st_mode's type bits.
u32 type_bits(gate::StreamType type);

class HostFile final : public File {
public:
    HostFile(gate::Handle handle, const gate::Attributes& attributes);
    Res<i64> read(Thread& thread, u64 user, u64 size, u64 position) override;
    Res<i64> write(Thread& thread, u64 user, u64 size, u64 position) override;
    Res<i64> read_kernel(Thread& thread, void* buffer, u64 size, u64 position) override;
    Res<i64> write_kernel(Thread& thread, const void* buffer, u64 size, u64 position) override;
    Res<i64> seek(Thread& thread, i64 offset, u32 whence) override;
    bool seekable() const override { return true; }
    bool on_host() const override { return true; }
    Res<void> truncate(Thread& thread, u64 length) override;
    Res<void> allocate(Thread& thread, u32 mode, u64 offset, u64 length) override;
    Res<void> sync(Thread& thread, bool data_only) override;
    Res<void> stat(Thread& thread, Stat& stat) override;
    Res<void> map(u64 address, u64 size, u64 offset, u32 prot, bool shared) override;
    const gate::PreparedText* prepared_text() const override {
        return attributes_.prepared.size != 0 ? &attributes_.prepared : nullptr;
    }
    Res<void> map_prepared(u64 address, u32 prot) override;
    void close_local() override;
    bool is_object(u64 volume, u64 identity) const override {
        return attributes_.volume == volume && attributes_.identity == identity;
    }
    const gate::Attributes& attributes() const { return attributes_; }
    /// Closing keeps the handle for the next open of `name`. `serial`: of the file's earlier life, 0: none.
    void keep_as(const KnownName* name, u64 serial) {
        name_ = name;
        if (serial != 0) serial_ = serial;
    }
    /// The handle was opened for appending: the host finds the end.
    void opened_to_append() { appends_ = true; }

private:
    Res<u64> size();
    u64 read_window(u64 target, u64 size, u64 position);
    bool can_window() const;

    gate::Attributes attributes_;  ///< as opened; for ever when `stable`
    u64 serial_;                   ///< names this file in the tables of windows: addresses of Files are reused
    gate::Handle handle_;
    u32 reads_ = 0;
    bool appends_ = false;
    const KnownName* name_ = nullptr;
};

/// One name of a directory as visitors get it; `type` is a gate::StreamType. False: the visitor has enough.
bool visit_name(std::string_view name, u64 identity, u8 type, u64 next, DirectoryVisitor& visitor);

/// Without a handle when it was opened by its listing.
class HostDirectory final : public File {
public:
    HostDirectory(gate::Handle handle, const gate::Attributes& attributes);
    Res<i64> read(Thread&, u64, u64, u64) override { return Failure{Errno::isdir}; }
    Res<i64> read_kernel(Thread&, void*, u64, u64) override { return Failure{Errno::isdir}; }
    Res<i64> seek(Thread& thread, i64 offset, u32 whence) override;
    bool seekable() const override { return true; }
    bool is_directory() const override { return true; }
    Res<void> sync(Thread& thread, bool data_only) override;
    Res<void> stat(Thread& thread, Stat& stat) override;
    Res<void> visit_directory(Thread& thread, u64 position, DirectoryVisitor& visitor) override;
    Res<void> visit_host(u64 position, DirectoryVisitor& visitor);  ///< what the host has
    void close_local() override;
    bool is_object(u64 volume, u64 identity) const override {
        return attributes_.volume == volume && attributes_.identity == identity;
    }
    /// The directory lies on an immutable route: its listing is kept, or is there already.
    void know_as(const KnownName* name) {
        name_ = name;
        listing_ = listing_of(name);
    }

private:
    gate::Attributes attributes_;
    gate::Handle handle_;
    const KnownName* name_ = nullptr;
    const Listing* listing_ = nullptr;
};

/// A File for what DkStreamOpen gave: takes the handle over, also when it fails.
Res<FileRef> make_host_file(gate::Handle handle, const gate::Attributes& attributes, u32 open_flags);

// Windows: whole read-only files, mapped privately by this picoprocess for reading by copy. Addresses are never used
// twice, so that a copy from a window that another thread has just closed faults and reads nothing foreign.

/// Once, before the first fork.
void windows_initialize();
/// Where `serial`'s bytes are; 0: not mapped here. `bytes`: how many.
u64 window_find(u64 serial, u64& bytes);
/// Maps `bytes` of the stream; 0 when there is no room. May drop another file's window.
u64 window_open(u64 serial, gate::Handle handle, u64 bytes);
void window_close(u64 serial);

}  // namespace postern::libos
