// SPDX-License-Identifier: Apache-2.0
// Files and directories behind the gate: see host_file.hpp.
#include "libos/fs/host_file.hpp"
#include "libos/fs/socket_names.hpp"

#include "base/memory.hpp"
#include "libos/fs/open.hpp"
#include "libos/gate.hpp"
#include "libos/ipc/stream_file.hpp"
#include "libos/process/process.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u64 kLargestWindow = 1ull << 30;
constexpr u64 kSmallRead = 64 << 10;   ///< larger reads are better copied by the host
constexpr u32 kReadsBeforeWindow = 3;  ///< a file that is read in one go is not worth a mapping

bool in_program(u64 user, u64 size) { return user < g_parameters->user_high && size <= g_parameters->user_high - user; }

Errno transfer_error(gate::Err error) {
    switch (error) {
        case gate::Err::denied:
        case gate::Err::bad_handle: return Errno::badf;
        case gate::Err::wrong_kind: return Errno::isdir;
        default: return to_errno(error);
    }
}

Res<i64> seek_to(File& file, i64 base, i64 distance) {
    i64 result;
    if (__builtin_add_overflow(base, distance, &result)) return Failure{Errno::overflow};
    if (result < 0) return Failure{Errno::inval};
    file.offset = static_cast<u64>(result);
    return result;
}

}  // namespace

u32 type_bits(gate::StreamType type) {
    using enum gate::StreamType;
    switch (type) {
        case directory: return kTypeDirectory;
        case symlink: return kTypeLink;
        case pipe:
        case pipe_server: return kTypeFifo;
        case null:
        case character: return kTypeCharacter;
        case socket: return kTypeSocket;
        case file:
        case memory:
        case unknown: break;
    }
    return kTypeRegular;
}

void fill_stat(const gate::Attributes& attributes, Stat& stat) {
    memset(&stat, 0, sizeof stat);
    stat.st_dev = attributes.volume;
    stat.st_ino = attributes.identity;
    stat.st_nlink = attributes.links != 0 ? attributes.links : 1;
    stat.st_mode = type_bits(attributes.type) | (attributes.mode & 07777);
    stat.st_uid = attributes.owner;
    stat.st_gid = attributes.group;
    stat.st_size = static_cast<i64>(attributes.size);
    stat.st_blksize = attributes.block_size != 0 ? attributes.block_size : 4096;
    stat.st_blocks = static_cast<i64>((attributes.allocated + 511) / 512);
    stat.st_atime = attributes.accessed.seconds, stat.st_atime_nsec = attributes.accessed.nanoseconds;
    stat.st_mtime = attributes.modified.seconds, stat.st_mtime_nsec = attributes.modified.nanoseconds;
    stat.st_ctime = attributes.changed.seconds, stat.st_ctime_nsec = attributes.changed.nanoseconds;
    stat.born_seconds = attributes.born.seconds, stat.born_nanoseconds = attributes.born.nanoseconds;
}

HostFile::HostFile(gate::Handle handle, const gate::Attributes& attributes)
    : attributes_{attributes}, serial_{fresh_inode_number()}, handle_{handle} {
    attributes_.name = nullptr;
    has_local = 1;
}

bool HostFile::can_window() const {
    return (attributes_.rights & static_cast<u32>(gate::Right::write)) == 0 && attributes_.size != 0 &&
           attributes_.size <= kLargestWindow && attributes_.type == gate::StreamType::file;
}

/// Copies from the window, if there is one or it is time for one. 0: nothing, ask the host.
u64 HostFile::read_window(u64 target, u64 size, u64 position) {
    u64 bytes = 0;
    u64 window = window_find(serial_, bytes);
    if (window == 0) {
        if (reads_ < kReadsBeforeWindow) {
            ++reads_;  // unlocked: a lost count only delays the window
            return 0;
        }
        if (size > kSmallRead || !can_window()) return 0;
        window = window_open(serial_, handle_, attributes_.size);
        if (window == 0) return 0;
        bytes = attributes_.size;
    }
    if (position >= bytes) return 0;
    if (size > bytes - position) size = bytes - position;
    u64 copied = guarded_copy(reinterpret_cast<void*>(target), reinterpret_cast<const void*>(window + position), size);
    return window_find(serial_, bytes) == window ? copied : 0;
}

Res<i64> HostFile::read(Thread&, u64 user, u64 size, u64 position) {
    if (size > kMostTransfer) size = kMostTransfer;
    if (!in_program(user, size)) return Failure{Errno::fault};
    if (attributes_.stable != 0 && position >= attributes_.size) return 0;
    u64 copied = read_window(user, size, position);
    if (copied != 0) return static_cast<i64>(copied);
    u64 actual = 0;
    gate::Err error = g_gate->DkStreamRead(handle_, position, reinterpret_cast<void*>(user), size, &actual);
    if (error != gate::Err::ok) return Failure{transfer_error(error)};
    return static_cast<i64>(actual);
}

Res<i64> HostFile::read_kernel(Thread&, void* buffer, u64 size, u64 position) {
    u64 actual = 0;
    gate::Err error = g_gate->DkStreamRead(handle_, position, buffer, size, &actual);
    if (error != gate::Err::ok) return Failure{transfer_error(error)};
    return static_cast<i64>(actual);
}

Res<i64> HostFile::write(Thread& thread, u64 user, u64 size, u64 position) {
    if (size > kMostTransfer) size = kMostTransfer;
    if (!in_program(user, size)) return Failure{Errno::fault};
    return write_kernel(thread, reinterpret_cast<const void*>(user), size, position);
}

Res<i64> HostFile::write_kernel(Thread&, const void* buffer, u64 size, u64 position) {
    // O_APPEND that came by fcntl(2) only.
    if ((status_flags & kAppendFlag) != 0 && !appends_) [[unlikely]]
        position = TRY(this->size());
    u64 actual = 0;
    gate::Err error = g_gate->DkStreamWrite(handle_, position, buffer, size, &actual);
    if (error != gate::Err::ok) return Failure{transfer_error(error)};
    return static_cast<i64>(actual);
}

Res<u64> HostFile::size() {
    if (attributes_.stable != 0) return attributes_.size;
    gate::Attributes now;
    TRY(check(g_gate->DkStreamAttributesQueryByHandle(handle_, &now)));
    return now.size;
}

Res<i64> HostFile::seek(Thread&, i64 distance, u32 whence) {
    Guard guard{offset_lock};
    if (offset == kOffsetAtEnd) offset = TRY(size());
    switch (whence) {
        case 0: return seek_to(*this, 0, distance);
        case 1: return seek_to(*this, static_cast<i64>(offset), distance);
        case 2: {
            u64 end = TRY(size());
            return seek_to(*this, static_cast<i64>(end), distance);
        }
        case 3:
        case 4: {
            // The host does not tell where holes are: all is data, and the one hole begins at the end.
            u64 end = TRY(size());
            if (distance < 0 || static_cast<u64>(distance) >= end) return Failure{Errno::nxio};
            return seek_to(*this, 0, whence == 3 ? distance : static_cast<i64>(end));
        }
        default: return Failure{Errno::inval};
    }
}

Res<void> HostFile::truncate(Thread&, u64 length) {
    return check(g_gate->DkStreamSetLength(handle_, 0, length, gate::LengthChange::truncate));
}

Res<void> HostFile::allocate(Thread&, u32 how, u64 from, u64 length) {
    using enum gate::LengthChange;
    gate::LengthChange change;
    switch (how) {  // FALLOC_FL_*
        case 0: change = gate::LengthChange::allocate; break;
        case 1: change = allocate_keep_size; break;
        case 1 | 2: change = punch_hole; break;
        case 8: change = collapse; break;
        case 16: change = zero_range; break;
        case 32: change = insert; break;
        default: return Failure{Errno::opnotsupp};
    }
    return check(g_gate->DkStreamSetLength(handle_, from, length, change));
}

Res<void> HostFile::sync(Thread&, bool data_only) {
    if (attributes_.stable != 0) return {};
    return check(g_gate->DkStreamFlush(handle_, data_only ? 1 : 0));
}

Res<void> HostFile::stat(Thread&, Stat& stat) {
    if (attributes_.stable != 0) {
        fill_stat(attributes_, stat);
        return {};
    }
    gate::Attributes now;
    gate::Err error = g_gate->DkStreamAttributesQueryByHandle(handle_, &now);
    // Without a handle (only a mapping is left) what was known has to do.
    fill_stat(error == gate::Err::ok ? now : attributes_, stat);
    return {};
}

Res<void> HostFile::map(u64 address, u64 size, u64 from, u32 prot, bool shared) {
    gate::Err error =
        g_gate->DkStreamMap(handle_, address, size, from, prot,
                            gate::kMapReplace | (shared ? u32{gate::kMapShared} : u32{gate::kMapPrivate}));
    if (error == gate::Err::unsupported || error == gate::Err::wrong_kind) return Failure{Errno::nodev};
    return check(error);
}

Res<void> HostFile::map_prepared(u64 address, u32 prot) {
    const gate::PreparedText& text = attributes_.prepared;
    constexpr u32 kFlags = gate::kMapReplace | gate::kMapPrivate | gate::kMapPrepared;
    TRY(check(g_gate->DkStreamMap(handle_, address - text.distance, text.code_size, 0,
                                  gate::kProtRead | gate::kProtExecute, kFlags)));
    return check(g_gate->DkStreamMap(handle_, address, text.size, text.code_size, prot, kFlags));
}

void HostFile::close_local() {
    if (name_ != nullptr) {
        return handle_cache_give({name_, handle_, serial_, attributes_.prepared});
    }
    window_close(serial_);
    g_gate->DkObjectClose(handle_);
}

bool visit_name(std::string_view name, u64 identity, u8 type, u64 next, DirectoryVisitor& visitor) {
    bool unknown = type == static_cast<u8>(gate::StreamType::unknown);
    u8 shown = unknown ? u8{0} : static_cast<u8>(type_bits(static_cast<gate::StreamType>(type)) >> 12);
    return visitor.entry(name, identity, shown, next);
}

HostDirectory::HostDirectory(gate::Handle handle, const gate::Attributes& attributes)
    : attributes_{attributes}, handle_{handle} {
    attributes_.name = nullptr;
    has_local = handle != gate::kNoHandle ? 1 : 0;
}

Res<i64> HostDirectory::seek(Thread&, i64 distance, u32 whence) {
    Guard guard{offset_lock};
    if (whence > 1) return Failure{Errno::inval};
    constexpr i64 kOwn = static_cast<i64>(kKeptPositions + (1ull << 61));  // below: names that the host does not have
    if (whence == 0 && distance < kOwn) {
        offset = static_cast<u64>(distance);
        return distance;
    }
    return seek_to(*this, whence == 1 ? static_cast<i64>(offset) : 0, distance);
}

Res<void> HostDirectory::sync(Thread&, bool data_only) {
    if (attributes_.stable != 0) return {};
    gate::Err error = g_gate->DkStreamFlush(handle_, data_only ? 1 : 0);
    if (error == gate::Err::unsupported) return {};
    return check(error);
}

Res<void> HostDirectory::stat(Thread&, Stat& stat) {
    gate::Attributes now;
    bool fresh = attributes_.stable == 0 && (attributes_.name_flags & gate::kNameSynthetic) == 0 &&
                 g_gate->DkStreamAttributesQueryByHandle(handle_, &now) == gate::Err::ok;
    fill_stat(fresh ? now : attributes_, stat);
    return {};
}

Res<void> HostDirectory::visit_host(u64 position, DirectoryVisitor& visitor) {
    if (name_ != nullptr && listing_ == nullptr && position == 0) {
        listing_ = listing_of(name_);
        if (listing_ == nullptr) listing_ = listing_read(name_, handle_);
        if (listing_ == nullptr) name_ = nullptr;
    }
    if (listing_ != nullptr) {
        listing_visit(*listing_, position, visitor);
        return {};
    }
    constexpr u64 kBatch = 8192;
    alignas(8) u8 buffer[kBatch];
    u64 cookie = position;
    for (;;) {
        u64 actual = 0;
        TRY(check(g_gate->DkStreamEnumerateChildren(handle_, &cookie, buffer, sizeof buffer, &actual)));
        if (actual == 0) return {};
        for (u64 at = 0; at + sizeof(gate::DirectoryRecord) <= actual;) {
            const auto& record = *reinterpret_cast<const gate::DirectoryRecord*>(buffer + at);
            if (record.size == 0) break;
            std::string_view name{record.name, record.name_length};
            if (!visit_name(name, record.identity, record.type, record.cookie, visitor)) return {};
            at += record.size;
        }
    }
}

Res<void> HostDirectory::visit_directory(Thread& thread, u64 position, DirectoryVisitor& visitor) {
    struct Watching final : DirectoryVisitor {
        DirectoryVisitor& to;
        bool full = false;
        explicit Watching(DirectoryVisitor& other) : to{other} {}
        bool entry(std::string_view name, u64 inode, u8 type, u64 next) override {
            full = !to.entry(name, inode, type, next);
            return !full;
        }
    } watching{visitor};
    if (!is_kept_position(position)) TRY(visit_host(position, watching));
    if (watching.full || path == nullptr) return {};
    return visit_kept_names(thread, {path, strlen(path)}, position, visitor);
}

void HostDirectory::close_local() { g_gate->DkObjectClose(handle_); }

Res<FileRef> make_host_file(gate::Handle handle, const gate::Attributes& attributes, u32 open_flags) {
    auto made = [&]() -> Res<FileRef> {
        switch (attributes.type) {
            case gate::StreamType::directory: {
                File* file = TRY(make_file<HostDirectory>(handle, attributes));
                return FileRef{file};
            }
            case gate::StreamType::file: {
                HostFile* file = TRY(make_file<HostFile>(handle, attributes));
                if ((open_flags & kAppendFlag) != 0) file->opened_to_append();
                return FileRef{file};
            }
            default: return make_stream_file(handle, attributes, open_flags);
        }
    }();
    if (!made.ok()) {
        g_gate->DkObjectClose(handle);
        return Failure{made.error()};
    }
    FileRef file = made.take();
    file->has_local = handle != gate::kNoHandle ? 1 : 0;
    file->status_flags = open_flags;
    return file;
}

}  // namespace postern::libos
