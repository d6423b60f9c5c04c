// SPDX-License-Identifier: Apache-2.0
// read(2), write(2) and their relatives.
#include "libos/fs/open.hpp"
#include "libos/fs/size_limit.hpp"
#include "libos/inotify/notify.hpp"
#include "libos/process/process.hpp"
#include "libos/syscall/table.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u64 kVectorMost = 1024;      // UIO_MAXIOV
constexpr u64 kGatherMost = 64 << 10;  // vectors up to here are written in one piece

struct Segment {
    u64 base, size;
};

Res<void> resolve_offset(Thread& thread, File& file) {
    if (file.offset == kOffsetAtEnd) TRY(file.seek(thread, 0, 1));
    return {};
}

Res<i64> read_at_offset(Thread& thread, File& file, u64 user, u64 size) {
    if (!file.seekable()) return file.read(thread, user, size, 0);
    TRY(resolve_offset(thread, file));
    Guard guard{file.offset_lock};
    i64 done = TRY(file.read(thread, user, size, file.offset));
    file.offset += static_cast<u64>(done);
    return done;
}

void advance(File& file, i64 done) {
    if ((file.status_flags & kAppendFlag) != 0) {
        if (done > 0) file.offset = kOffsetAtEnd;
    } else {
        file.offset += static_cast<u64>(done);
    }
}

Res<i64> write_at_offset(Thread& thread, File& file, u64 user, u64 size) {
    if (!file.seekable()) return file.write(thread, user, size, 0);
    if (file.offset == kOffsetAtEnd && (file.status_flags & kAppendFlag) == 0) TRY(resolve_offset(thread, file));
    Guard guard{file.offset_lock};
    u64 position = file.offset == kOffsetAtEnd ? 0 : file.offset;
    size = TRY(limit_size(thread, file, position, size));
    i64 done = TRY(file.write(thread, user, size, position));
    advance(file, done);
    return done;
}

Res<void> check_positioned(const File& file, i64 position) {
    if (position < 0) return Failure{Errno::inval};
    if (!file.takes_positions()) return Failure{Errno::spipe};
    return {};
}

/// Total size of the vector after checking all of it; each segment is copied in again when its turn comes.
Res<u64> check_vector(u64 vector, u64 count) {
    if (count > kVectorMost) return Failure{Errno::inval};
    u64 total = 0;
    for (u64 index = 0; index < count; ++index) {
        auto segment = TRY(read_user<Segment>(vector + index * sizeof(Segment)));
        if (static_cast<i64>(segment.size) < 0) return Failure{Errno::inval};
        total += segment.size;
        if (static_cast<i64>(total) < 0) return Failure{Errno::inval};
    }
    return total < kMostTransfer ? total : kMostTransfer;
}

/// One segment after the other until one is cut short.
template <class Move>
Res<i64> each_segment(u64 vector, u64 count, u64 total, Move move) {
    i64 done = 0;
    for (u64 index = 0; index < count; ++index) {
        auto segment = read_user<Segment>(vector + index * sizeof(Segment));
        Res<i64> moved = Failure{Errno::fault};
        u64 size = 0;
        if (segment.ok()) {
            u64 left = total - static_cast<u64>(done);
            size = segment.value().size < left ? segment.value().size : left;
            if (size == 0) continue;
            auto result = move(segment.value().base, size, static_cast<u64>(done));
            if (result.ok() && static_cast<u64>(result.value()) == size) {
                done += result.value();
                continue;
            }
            if (result.ok()) return done + result.value();
            if (done != 0) return done;
            return result;
        }
        if (done != 0) return done;
        return moved;
    }
    return done;
}

/// `position` null: at the file's own offset.
Res<i64> read_vector(Thread& thread, File& file, u64 vector, u64 count, const i64* position) {
    if (position != nullptr) TRY(check_positioned(file, *position));
    if (!readable(file)) return Failure{Errno::badf};
    u64 total = TRY(check_vector(vector, count));
    if (total == 0) return 0;
    return each_segment(vector, count, total, [&](u64 base, u64 size, u64 done) -> Res<i64> {
        if (position != nullptr) return file.read(thread, base, size, static_cast<u64>(*position) + done);
        // What came first must not wait for what may never come.
        if (done != 0 && !file.seekable() && (file.poll(thread) & kPollIn) == 0) return 0;
        return read_at_offset(thread, file, base, size);
    });
}

/// Vectors are one write: nothing of others goes between, in pipes and at the ends of files.
Res<i64> write_gathered(Thread& thread, File& file, u64 vector, u64 count, u64 total) {
    void* buffer = TRY(heap::allocate(total));
    u64 have = 0;
    bool fault = false;
    for (u64 index = 0; index < count && have < total && !fault; ++index) {
        auto segment = read_user<Segment>(vector + index * sizeof(Segment));
        if (!segment.ok()) break;
        u64 size = segment.value().size < total - have ? segment.value().size : total - have;
        u64 copied = copy_in_some(static_cast<u8*>(buffer) + have, segment.value().base, size);
        have += copied;
        fault = copied != size;
    }
    auto write = [&]() -> Res<i64> {
        if (have == 0 && fault) return Failure{Errno::fault};
        if (!file.seekable()) return file.write_kernel(thread, buffer, have, 0);
        Guard guard{file.offset_lock};
        u64 position = file.offset == kOffsetAtEnd ? 0 : file.offset;
        u64 size = TRY(limit_size(thread, file, position, have));
        i64 done = TRY(file.write_kernel(thread, buffer, size, position));
        advance(file, done);
        return done;
    };
    auto result = write();
    heap::release(buffer, total);
    return result;
}

Res<i64> write_vector(Thread& thread, File& file, u64 vector, u64 count, const i64* position) {
    if (position != nullptr) TRY(check_positioned(file, *position));
    if (!writable(file)) return Failure{Errno::badf};
    u64 total = TRY(check_vector(vector, count));
    if (position == nullptr && count > 1 && total != 0 && total <= kGatherMost) {
        if (file.offset == kOffsetAtEnd && (file.status_flags & kAppendFlag) == 0) TRY(resolve_offset(thread, file));
        return write_gathered(thread, file, vector, count, total);
    }
    if (total == 0) return 0;
    return each_segment(vector, count, total, [&](u64 base, u64 size, u64 done) -> Res<i64> {
        if (position == nullptr) return write_at_offset(thread, file, base, size);
        u64 at = static_cast<u64>(*position) + done;
        size = TRY(limit_size(thread, file, at, size));
        return file.write(thread, base, size, at);
    });
}

/// RWF_NOWAIT: would the transfer have to wait? Files with positions are never waited for.
bool would_wait(Thread& thread, File& file, u64 flags, u32 readiness) {
    constexpr u64 kNoWait = 8;
    return (flags & kNoWait) != 0 && !file.seekable() && (file.poll(thread) & (readiness | kPollHup | kPollErr)) == 0;
}

constexpr u64 kVectorFlags = 0x1f;  // RWF_HIPRI, DSYNC, SYNC, NOWAIT, APPEND

}  // namespace

Res<i64> sys_read(Thread& thread, Arguments arguments) {
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(arguments[0])));
    if (!readable(*file.get())) return Failure{Errno::badf};
    u64 size = arguments[2];
    if (static_cast<i64>(size) < 0) return Failure{Errno::inval};
    return notify_transfer(
        *file.get(), read_at_offset(thread, *file.get(), arguments[1], size < kMostTransfer ? size : kMostTransfer),
        kNotifyAccess);
}

Res<i64> sys_write(Thread& thread, Arguments arguments) {
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(arguments[0])));
    if (!writable(*file.get())) return Failure{Errno::badf};
    u64 size = arguments[2];
    if (static_cast<i64>(size) < 0) return Failure{Errno::inval};
    return notify_transfer(
        *file.get(), write_at_offset(thread, *file.get(), arguments[1], size < kMostTransfer ? size : kMostTransfer),
        kNotifyModify);
}

Res<i64> sys_pread64(Thread& thread, Arguments arguments) {
    if (static_cast<i64>(arguments[3]) < 0) return Failure{Errno::inval};
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(arguments[0])));
    TRY(check_positioned(*file.get(), static_cast<i64>(arguments[3])));
    if (!readable(*file.get())) return Failure{Errno::badf};
    u64 size = arguments[2];
    return notify_transfer(*file.get(),
                           file->read(thread, arguments[1], size < kMostTransfer ? size : kMostTransfer, arguments[3]),
                           kNotifyAccess);
}

Res<i64> sys_pwrite64(Thread& thread, Arguments arguments) {
    if (static_cast<i64>(arguments[3]) < 0) return Failure{Errno::inval};
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(arguments[0])));
    TRY(check_positioned(*file.get(), static_cast<i64>(arguments[3])));
    if (!writable(*file.get())) return Failure{Errno::badf};
    u64 size = arguments[2] < kMostTransfer ? arguments[2] : kMostTransfer;
    size = TRY(limit_size(thread, *file.get(), arguments[3], size));
    return notify_transfer(*file.get(), file->write(thread, arguments[1], size, arguments[3]), kNotifyModify);
}

Res<i64> sys_readv(Thread& thread, Arguments arguments) {
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(arguments[0])));
    return notify_transfer(*file.get(), read_vector(thread, *file.get(), arguments[1], arguments[2], nullptr),
                           kNotifyAccess);
}

Res<i64> sys_writev(Thread& thread, Arguments arguments) {
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(arguments[0])));
    return notify_transfer(*file.get(), write_vector(thread, *file.get(), arguments[1], arguments[2], nullptr),
                           kNotifyModify);
}

Res<i64> sys_preadv(Thread& thread, Arguments arguments) {
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(arguments[0])));
    i64 position = static_cast<i64>(arguments[3]);
    return notify_transfer(*file.get(), read_vector(thread, *file.get(), arguments[1], arguments[2], &position),
                           kNotifyAccess);
}

Res<i64> sys_pwritev(Thread& thread, Arguments arguments) {
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(arguments[0])));
    i64 position = static_cast<i64>(arguments[3]);
    return notify_transfer(*file.get(), write_vector(thread, *file.get(), arguments[1], arguments[2], &position),
                           kNotifyModify);
}

Res<i64> sys_preadv2(Thread& thread, Arguments arguments) {
    if ((arguments[5] & ~kVectorFlags) != 0) return Failure{Errno::opnotsupp};
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(arguments[0])));
    if (would_wait(thread, *file.get(), arguments[5], kPollIn)) return Failure{Errno::again};
    i64 position = static_cast<i64>(arguments[3]);
    return notify_transfer(
        *file.get(), read_vector(thread, *file.get(), arguments[1], arguments[2], position == -1 ? nullptr : &position),
        kNotifyAccess);
}

Res<i64> sys_pwritev2(Thread& thread, Arguments arguments) {
    constexpr u64 kAppendOnce = 0x10;
    if ((arguments[5] & ~kVectorFlags) != 0 || (arguments[5] & kAppendOnce) != 0) return Failure{Errno::opnotsupp};
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(arguments[0])));
    if (would_wait(thread, *file.get(), arguments[5], kPollOut)) return Failure{Errno::again};
    i64 position = static_cast<i64>(arguments[3]);
    return notify_transfer(
        *file.get(),
        write_vector(thread, *file.get(), arguments[1], arguments[2], position == -1 ? nullptr : &position),
        kNotifyModify);
}

Res<i64> sys_lseek(Thread& thread, Arguments arguments) {
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(arguments[0])));
    if ((file->status_flags & kPathFlag) != 0) return Failure{Errno::badf};
    return file->seek(thread, static_cast<i64>(arguments[1]), static_cast<u32>(arguments[2]));
}

}  // namespace postern::libos
