// SPDX-License-Identifier: Apache-2.0
// Host streams as files: see stream_file.hpp.
//
// The host's flags of these streams belong to whoever gave them (a shell's terminal, a build's log), so O_NONBLOCK
// never reaches the host: readiness is asked first, and then one read or write of what is there does not block.
#include "libos/ipc/stream_file.hpp"

#include <asm/ioctls.h>
#include <linux/fcntl.h>

#include "base/memory.hpp"
#include "libos/gate.hpp"
#include "libos/ipc/anonymous.hpp"
#include "libos/process/process.hpp"
#include "libos/signal/delivery.hpp"

namespace postern::libos {

namespace {

using gate::Err;
using gate::StreamType;

u32 type_bits(StreamType type) {
    switch (type) {
        case StreamType::file:
        case StreamType::memory: return kTypeRegular;
        case StreamType::directory: return kTypeDirectory;
        case StreamType::symlink: return kTypeLink;
        case StreamType::pipe:
        case StreamType::pipe_server: return kTypeFifo;
        case StreamType::socket: return kTypeSocket;
        default: return kTypeCharacter;
    }
}

bool in_program(u64 user, u64 size) { return user < g_parameters->user_high && size <= g_parameters->user_high - user; }

class StreamFile final : public File {
public:
    StreamFile(gate::Handle handle, StreamType type, u32 flags) : handle_{handle}, type_{type} {
        status_flags = flags;
        has_local = 1;
    }

    FileKind kind() const override { return FileKind::stream; }
    gate::Handle host_handle() const override { return always_ready() ? gate::kNoHandle : handle_; }
    u64 edge_count() override { return activity_; }

    Res<i64> read(Thread& thread, u64 user, u64 size, u64) override {
        if (!in_program(user, size)) return Failure{Errno::fault};
        return transfer(thread, size, gate::kReadyRead, [&](u64* actual) {
            return g_gate->DkStreamRead(handle_, gate::kNoOffset, reinterpret_cast<void*>(user), size, actual);
        });
    }
    Res<i64> read_kernel(Thread& thread, void* buffer, u64 size, u64) override {
        return transfer(thread, size, gate::kReadyRead, [&](u64* actual) {
            return g_gate->DkStreamRead(handle_, gate::kNoOffset, buffer, size, actual);
        });
    }
    Res<i64> write(Thread& thread, u64 user, u64 size, u64) override {
        if (!in_program(user, size)) return Failure{Errno::fault};
        return transfer(thread, size, gate::kReadyWrite, [&](u64* actual) {
            return g_gate->DkStreamWrite(handle_, gate::kNoOffset, reinterpret_cast<const void*>(user), size, actual);
        });
    }
    Res<i64> write_kernel(Thread& thread, const void* buffer, u64 size, u64) override {
        return transfer(thread, size, gate::kReadyWrite, [&](u64* actual) {
            return g_gate->DkStreamWrite(handle_, gate::kNoOffset, buffer, size, actual);
        });
    }

    Res<i64> seek(Thread&, i64, u32) override {
        if (type_ == StreamType::null) return 0;
        return Failure{Errno::spipe};
    }
    Res<void> truncate(Thread&, u64 length) override {
        if (type_ != StreamType::file) return Failure{Errno::inval};
        return check(g_gate->DkStreamSetLength(handle_, 0, length, gate::LengthChange::truncate));
    }
    Res<void> sync(Thread&, bool data_only) override {
        Err error = g_gate->DkStreamFlush(handle_, data_only ? 1 : 0);
        if (error == Err::unsupported) return Failure{Errno::inval};
        return check(error);
    }
    Res<void> map(u64 address, u64 size, u64 offset, u32 prot, bool shared) override {
        if (type_ != StreamType::file && type_ != StreamType::memory) return Failure{Errno::nodev};
        Err error = g_gate->DkStreamMap(handle_, address, size, offset, prot,
                                        gate::kMapReplace | (shared ? gate::kMapShared : gate::kMapPrivate));
        if (error == Err::unsupported) return Failure{Errno::nodev};
        return check(error);
    }
    Res<void> stat(Thread&, Stat& stat) override {
        gate::Attributes attributes;
        TRY(check(g_gate->DkStreamAttributesQueryByHandle(handle_, &attributes)));
        memset(&stat, 0, sizeof stat);
        stat.st_dev = attributes.volume;
        stat.st_ino = attributes.identity;
        stat.st_nlink = attributes.links != 0 ? attributes.links : 1;
        stat.st_mode = type_bits(attributes.type) | (attributes.mode & 07777);
        stat.st_uid = attributes.owner;
        stat.st_gid = attributes.group;
        if (attributes.type == StreamType::null) stat.st_rdev = 0x103, stat.st_mode = kTypeCharacter | 0666;
        stat.st_size = static_cast<i64>(attributes.size);
        stat.st_blksize = attributes.block_size != 0 ? attributes.block_size : 4096;
        stat.st_blocks = static_cast<i64>((attributes.allocated + 511) / 512);
        stat.st_atime = attributes.accessed.seconds, stat.st_atime_nsec = attributes.accessed.nanoseconds;
        stat.st_mtime = attributes.modified.seconds, stat.st_mtime_nsec = attributes.modified.nanoseconds;
        stat.st_ctime = attributes.changed.seconds, stat.st_ctime_nsec = attributes.changed.nanoseconds;
        stat.born_seconds = attributes.born.seconds, stat.born_nanoseconds = attributes.born.nanoseconds;
        return {};
    }

    u32 poll(Thread&) override {
        u32 can = ((status_flags & O_ACCMODE) != O_WRONLY ? kPollIn | kPollRdNorm : 0u) |
                  ((status_flags & O_ACCMODE) != O_RDONLY ? kPollOut | kPollWrNorm : 0u);
        if (always_ready()) return can;
        u32 ready = ask(gate::kReadyRead | gate::kReadyWrite | gate::kReadyPriority);
        u32 bits = 0;
        if ((ready & gate::kReadyRead) != 0) bits |= can & (kPollIn | kPollRdNorm);
        if ((ready & gate::kReadyWrite) != 0) bits |= can & (kPollOut | kPollWrNorm);
        if ((ready & gate::kReadyPriority) != 0) bits |= kPollPri;
        if ((ready & gate::kReadyError) != 0) bits |= kPollErr;
        if ((ready & gate::kReadyHangup) != 0) bits |= kPollHup;
        return bits;
    }

    void close_local() override { g_gate->DkObjectClose(handle_); }

    /// The same stream for a description with flags of its own, within what this one may do.
    Res<FileRef> reopen(Thread&, u32 open_flags) override {
        const u32 own = status_flags & O_ACCMODE, wanted = open_flags & O_ACCMODE;
        if (own != O_RDWR && own != wanted) return Failure{Errno::acces};
        TRY(check(g_gate->DkObjectReference(handle_)));
        auto* file = TRY(make_file<StreamFile>(handle_, type_, open_flags));
        return FileRef{file};
    }

private:
    bool always_ready() const {
        return type_ == StreamType::file || type_ == StreamType::null || type_ == StreamType::memory;
    }
    u32 ask(u32 want) {
        gate::WaitItem item{handle_, want, 0, 0};
        u32 ready = 0;
        Err error = g_gate->DkObjectsWaitReady(1, &item, gate::kPoll, &ready);
        if (error == Err::interrupted) {
            take_interrupts();
            error = g_gate->DkObjectsWaitReady(1, &item, gate::kPoll, &ready);
        }
        return error == Err::ok ? item.got : 0;
    }

    template <class Call>
    Res<i64> transfer(Thread& thread, u64 size, u32 direction, Call call) {
        __atomic_add_fetch(&activity_, 1, __ATOMIC_RELAXED);
        for (;;) {
            if ((status_flags & O_NONBLOCK) != 0 && !always_ready() && size != 0) {
                u32 ready = ask(direction);
                // A hang-up lets a read return the end and a write fail at once.
                if ((ready & (direction | gate::kReadyError | gate::kReadyHangup)) == 0) return Failure{Errno::again};
            }
            u64 actual = 0;
            Err error = call(&actual);
            if (error == Err::ok) return static_cast<i64>(actual);
            if (error == Err::interrupted) {
                take_interrupts();
                if (interrupted(thread)) return Failure{Errno::restart_sys};
                continue;
            }
            if (error == Err::would_block) {
                // Somebody else made the description non-blocking; programs here must not notice.
                if ((status_flags & O_NONBLOCK) != 0) return Failure{Errno::again};
                gate::WaitItem item{handle_, direction, 0, 0};
                u32 ready = 0;
                error = g_gate->DkObjectsWaitReady(1, &item, gate::kForever, &ready);
                if (error == Err::interrupted) {
                    take_interrupts();
                    if (interrupted(thread)) return Failure{Errno::restart_sys};
                }
                continue;
            }
            if (error == Err::closed) {
                if (direction == gate::kReadyRead) return 0;
                send_signal_to_thread(thread, user_signal(kSigPipe));
                return Failure{Errno::pipe};
            }
            if (error == Err::denied || error == Err::wrong_kind) return Failure{Errno::badf};
            return Failure{to_errno(error)};
        }
    }

    gate::Handle handle_;
    StreamType type_;
    u64 activity_ = 0;
};

}  // namespace

Res<FileRef> make_stream_file(gate::Handle handle, const gate::Attributes& attributes, u32 open_flags) {
    auto* file = TRY(make_file<StreamFile>(handle, attributes.type, open_flags));
    return FileRef{file};
}

}  // namespace postern::libos
