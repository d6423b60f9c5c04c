// SPDX-License-Identifier: Apache-2.0
// Calls that move data between files, and those on files that need no more than a line.
#include "base/format.hpp"
#include "libos/fs/open.hpp"
#include "libos/fs/size_limit.hpp"
#include "libos/fs/tmpfs.hpp"
#include "libos/inotify/notify.hpp"
#include "libos/ipc/pipe.hpp"
#include "libos/process/process.hpp"
#include "libos/syscall/table.hpp"
#include "libos/user.hpp"

namespace postern::libos {

Res<i64> sys_readv(Thread& thread, Arguments arguments);
Res<i64> sys_writev(Thread& thread, Arguments arguments);

namespace {

constexpr u64 kChunk = 32 << 10;

/// A buffer of the private heap for one call.
class Buffer {
public:
    Buffer() = default;
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer() { heap::release(memory_, kChunk); }
    Res<void*> get() {
        memory_ = TRY(heap::allocate(kChunk));
        return memory_;
    }

private:
    void* memory_ = nullptr;
};

/// `in` and `out` null: at the files' own offsets. What was taken from a stream and could not be written is lost, as it
/// is when a reader dies: callers make sure that writing can only fail at once.
Res<i64> move(Thread& thread, File& source, u64* in, File& target, u64* out, u64 size) {
    Buffer owner;
    void* buffer = TRY(owner.get());
    u64 done = 0;
    while (done < size) {
        u64 chunk = size - done < kChunk ? size - done : kChunk;
        if (done != 0 && !source.seekable() && (source.poll(thread) & kPollIn) == 0) break;
        u64 to = out != nullptr ? *out : 0;
        if (out == nullptr && target.seekable()) to = static_cast<u64>(TRY(target.seek(thread, 0, 1)));
        auto room = limit_size(thread, target, to, chunk);
        if (!room.ok()) {
            if (done != 0) break;
            return Failure{room.error()};
        }
        bool limited = room.value() < chunk;
        chunk = room.value();
        u64 from = in != nullptr ? *in : 0;
        if (in == nullptr && source.seekable()) from = static_cast<u64>(TRY(source.seek(thread, 0, 1)));
        auto got = source.read_kernel(thread, buffer, chunk, from);
        if (!got.ok()) {
            if (done != 0) break;
            return got;
        }
        if (got.value() == 0) break;
        u64 have = static_cast<u64>(got.value()), put = 0;
        while (put < have) {
            auto written = target.write_kernel(thread, static_cast<u8*>(buffer) + put, have - put, to + put);
            if (!written.ok()) {
                if (done + put == 0) return written;
                break;
            }
            put += static_cast<u64>(written.value());
            if (written.value() == 0) break;
        }
        if (in != nullptr)
            *in += put;
        else if (source.seekable())
            TRY(source.seek(thread, static_cast<i64>(from + put), 0));
        if (out != nullptr)
            *out += put;
        else if (target.seekable())
            TRY(target.seek(thread, static_cast<i64>(to + put), 0));
        done += put;
        // As Linux, which tries the rest: not to be had, and SIGXFSZ says so.
        if (limited && put == chunk) (void)limit_size(thread, target, to + put, 1);
        if (put < have || limited) break;
    }
    if (done != 0 && notify_active()) {
        notify_file(source, kNotifyAccess);
        notify_file(target, kNotifyModify);
    }
    return static_cast<i64>(done);
}

Res<u64> read_offset(u64 user) {
    i64 offset = TRY(read_user<i64>(user));
    if (offset < 0) return Failure{Errno::inval};
    return static_cast<u64>(offset);
}

bool is_pipe(File& file) { return pipe_get_size(file).ok(); }

}  // namespace

Res<i64> sys_sendfile(Thread& thread, Arguments arguments) {
    FileRef out = TRY(thread.process->files->get(static_cast<u32>(arguments[0])));
    FileRef in = TRY(thread.process->files->get(static_cast<u32>(arguments[1])));
    if (!readable(*in) || !writable(*out)) return Failure{Errno::badf};
    if ((out->status_flags & kAppendFlag) != 0) return Failure{Errno::inval};
    if (in->is_directory() || !in->seekable()) return Failure{Errno::inval};
    u64 size = arguments[3] < kMostTransfer ? arguments[3] : kMostTransfer;
    if (arguments[2] == 0) return move(thread, *in, nullptr, *out, nullptr, size);
    u64 offset = TRY(read_offset(arguments[2]));
    i64 done = TRY(move(thread, *in, &offset, *out, nullptr, size));
    TRY(write_user(arguments[2], offset));
    return done;
}

Res<i64> sys_copy_file_range(Thread& thread, Arguments arguments) {
    if (arguments[5] != 0) return Failure{Errno::inval};
    FileRef in = TRY(thread.process->files->get(static_cast<u32>(arguments[0])));
    FileRef out = TRY(thread.process->files->get(static_cast<u32>(arguments[2])));
    if (in->is_directory() || out->is_directory()) return Failure{Errno::isdir};
    if (!in->seekable() || !out->seekable()) return Failure{Errno::inval};
    if (!readable(*in) || !writable(*out) || (out->status_flags & kAppendFlag) != 0) return Failure{Errno::badf};
    u64 size = arguments[4] < kMostTransfer ? arguments[4] : kMostTransfer;
    u64 from = 0, to = 0;
    if (arguments[1] != 0) from = TRY(read_offset(arguments[1]));
    if (arguments[3] != 0) to = TRY(read_offset(arguments[3]));
    Stat in_stat, out_stat;
    TRY(in->stat(thread, in_stat));
    TRY(out->stat(thread, out_stat));
    if (in_stat.st_dev == out_stat.st_dev && in_stat.st_ino == out_stat.st_ino) {
        if (arguments[1] == 0) from = static_cast<u64>(TRY(in->seek(thread, 0, 1)));
        if (arguments[3] == 0) to = static_cast<u64>(TRY(out->seek(thread, 0, 1)));
        if (from < to + size && to < from + size) return Failure{Errno::inval};
    }
    u64 place = arguments[3] != 0 || !out->seekable() ? to : static_cast<u64>(TRY(out->seek(thread, 0, 1)));
    size = TRY(limit_size(thread, *out, place, size));
    i64 done =
        TRY(move(thread, *in, arguments[1] != 0 ? &from : nullptr, *out, arguments[3] != 0 ? &to : nullptr, size));
    if (arguments[1] != 0) TRY(write_user(arguments[1], from));
    if (arguments[3] != 0) TRY(write_user(arguments[3], to));
    return done;
}

namespace {

/// What the kernel can splice: streams and files of bytes, not of records.
bool is_record_file(const File& file) {
    switch (file.kind()) {
        case FileKind::event:
        case FileKind::timer:
        case FileKind::signal:
        case FileKind::epoll:
        case FileKind::pid:
        case FileKind::message_queue:
        case FileKind::inotify: return true;
        default: return file.is_directory();
    }
}
bool takes_splice(const File& file) { return !is_record_file(file); }
bool gives_splice(const File& file) { return !is_record_file(file); }

}  // namespace

Res<i64> sys_splice(Thread& thread, Arguments arguments) {
    constexpr u64 kFlags = 0xf, kNonBlock = 2;
    if ((arguments[5] & ~kFlags) != 0) return Failure{Errno::inval};
    FileRef in = TRY(thread.process->files->get(static_cast<u32>(arguments[0])));
    FileRef out = TRY(thread.process->files->get(static_cast<u32>(arguments[2])));
    if (!readable(*in) || !writable(*out)) return Failure{Errno::badf};
    bool from_pipe = is_pipe(*in), to_pipe = is_pipe(*out);
    if (!from_pipe && !to_pipe) return Failure{Errno::inval};
    if ((from_pipe && arguments[1] != 0) || (to_pipe && arguments[3] != 0)) return Failure{Errno::spipe};
    if ((out->status_flags & kAppendFlag) != 0) return Failure{Errno::inval};
    if (from_pipe && to_pipe && pipe_is_same(*in, *out)) return Failure{Errno::inval};
    if (!takes_splice(*out) || !gives_splice(*in)) return Failure{Errno::inval};
    if ((arguments[5] & kNonBlock) != 0) {
        if ((in->poll(thread) & (kPollIn | kPollHup)) == 0 || (out->poll(thread) & kPollOut) == 0)
            return Failure{Errno::again};
    }
    u64 from = 0, to = 0, size = arguments[4] < kMostTransfer ? arguments[4] : kMostTransfer;
    if (arguments[1] != 0) from = TRY(read_offset(arguments[1]));
    if (arguments[3] != 0) to = TRY(read_offset(arguments[3]));
    if (to_pipe && size != 0) {
        u64 room = TRY(pipe_wait_for_room(thread, *out, (arguments[5] & kNonBlock) == 0));
        if (room < size) size = room;
    }
    i64 done =
        TRY(move(thread, *in, arguments[1] != 0 ? &from : nullptr, *out, arguments[3] != 0 ? &to : nullptr, size));
    if (arguments[1] != 0) TRY(write_user(arguments[1], from));
    if (arguments[3] != 0) TRY(write_user(arguments[3], to));
    return done;
}

Res<i64> sys_tee(Thread& thread, Arguments arguments) {
    constexpr u64 kFlags = 0xf, kNonBlock = 2;
    if ((arguments[3] & ~kFlags) != 0) return Failure{Errno::inval};
    FileRef in = TRY(thread.process->files->get(static_cast<u32>(arguments[0])));
    FileRef out = TRY(thread.process->files->get(static_cast<u32>(arguments[1])));
    if (!readable(*in) || !writable(*out)) return Failure{Errno::badf};
    return pipe_tee(thread, *in, *out, arguments[2], (arguments[3] & kNonBlock) == 0);
}

Res<i64> sys_vmsplice(Thread& thread, Arguments arguments) {
    constexpr u64 kFlags = 0xf, kNonBlock = 2, kMostVectors = 1024;
    struct Vector {
        u64 base, size;
    };
    if ((static_cast<u32>(arguments[3]) & ~kFlags) != 0) return Failure{Errno::inval};
    FileRef file = TRY(thread.process->files->get(static_cast<u32>(arguments[0])));
    if (!is_pipe(*file)) return Failure{Errno::badf};
    const bool wait = (arguments[3] & kNonBlock) == 0;
    if (!writable(*file)) {
        if (!wait && (file->poll(thread) & (kPollIn | kPollHup)) == 0) return Failure{Errno::again};
        const u64 vector[6] = {arguments[0], arguments[1], arguments[2], 0, 0, 0};
        return sys_readv(thread, vector);
    }
    if (arguments[2] > kMostVectors) return Failure{Errno::inval};
    u64 total = 0;
    for (u64 index = 0; index < arguments[2]; ++index) {
        auto vector = TRY(read_user<Vector>(arguments[1] + index * sizeof(Vector)));
        total += vector.size;
    }
    if (total == 0) return 0;
    // As much as there is room for: who gives more pages than fit is told how many were taken.
    u64 room = TRY(pipe_wait_for_room(thread, *file, wait));
    i64 done = 0;
    for (u64 index = 0; index < arguments[2] && room != 0; ++index) {
        auto vector = TRY(read_user<Vector>(arguments[1] + index * sizeof(Vector)));
        auto written = file->write(thread, vector.base, vector.size < room ? vector.size : room, 0);
        if (!written.ok()) {
            if (done == 0) return Failure{written.error()};
            break;
        }
        done += written.value();
        room -= static_cast<u64>(written.value());
    }
    return done;
}

Res<i64> sys_memfd_create(Thread& thread, Arguments arguments) {
    constexpr u64 kCloseOnExec = 1, kAllowSealing = 2, kNoExecSeal = 8, kExec = 16;
    constexpr u32 kSealSeal = 1, kSealExec = 0x20;
    u64 flags = arguments[1];
    if ((flags & ~(kCloseOnExec | kAllowSealing | kNoExecSeal | kExec)) != 0 ||
        (flags & (kNoExecSeal | kExec)) == (kNoExecSeal | kExec))
        return Failure{Errno::inval};
    char name[250];
    auto length = copy_in_string(name, arguments[0], sizeof name);
    if (!length.ok()) return Failure{length.error() == Errno::nametoolong ? Errno::inval : length.error()};
    u32 seals = (flags & (kAllowSealing | kNoExecSeal)) != 0 ? 0 : kSealSeal;
    if ((flags & kNoExecSeal) != 0) seals |= kSealExec;
    FileRef file = TRY(make_memory_file(thread, (flags & kNoExecSeal) != 0 ? 0666 : 0777, seals));
    file->status_flags = kReadWriteFlag | kLargeFileFlag;
    TextBuffer<300> path;
    path.add("/memfd:", std::string_view{name, length.value()}, " (deleted)");
    set_path(*file, path.view());
    u32 fd = TRY(thread.process->files->install(static_cast<FileRef&&>(file), (flags & kCloseOnExec) != 0));
    return static_cast<i64>(fd);
}

Res<i64> sys_fsync(Thread& thread, Arguments arguments) {
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(arguments[0])));
    if ((file->status_flags & kPathFlag) != 0) return Failure{Errno::badf};
    TRY(file->sync(thread, false));
    return 0;
}
Res<i64> sys_fdatasync(Thread& thread, Arguments arguments) {
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(arguments[0])));
    if ((file->status_flags & kPathFlag) != 0) return Failure{Errno::badf};
    TRY(file->sync(thread, true));
    return 0;
}
Res<i64> sys_sync(Thread&, Arguments) { return 0; }
Res<i64> sys_syncfs(Thread& thread, Arguments arguments) {
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(arguments[0])));
    if ((file->status_flags & kPathFlag) != 0) return Failure{Errno::badf};
    return 0;
}
Res<i64> sys_sync_file_range(Thread& thread, Arguments arguments) {
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(arguments[0])));
    if (static_cast<i64>(arguments[1]) < 0 || static_cast<i64>(arguments[2]) < 0 || (arguments[3] & ~7ull) != 0)
        return Failure{Errno::inval};
    if (!file->seekable()) return Failure{Errno::spipe};
    TRY(file->sync(thread, true));
    return 0;
}
Res<i64> sys_fadvise64(Thread& thread, Arguments arguments) {
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(arguments[0])));
    if ((file->status_flags & kPathFlag) != 0) return Failure{Errno::badf};
    if (!file->seekable()) {
        Stat stat;
        TRY(file->stat(thread, stat));
        if ((stat.st_mode & kTypeMask) == kTypeFifo) return Failure{Errno::spipe};
    }
    if (static_cast<i64>(arguments[2]) < 0 || arguments[3] > 5) return Failure{Errno::inval};
    return 0;
}
Res<i64> sys_readahead(Thread& thread, Arguments arguments) {
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(arguments[0])));
    if (!readable(*file.get())) return Failure{Errno::badf};
    if (!file->seekable() || file->is_directory()) return Failure{Errno::inval};
    return 0;
}

}  // namespace postern::libos
