// SPDX-License-Identifier: Apache-2.0
#include "libos/ptrace/memory.hpp"

#include <linux/fcntl.h>

#include "libos/process/calls.hpp"
#include "libos/process/table.hpp"
#include "libos/ptrace/tracing.hpp"
#include "libos/syscall/table.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u64 kMostBytes = 0x7fff'f000;
constexpr u64 kMostVectors = 1024;
constexpr usize kPiece = 4096;

/// Positions are addresses.
class MemoryFile final : public File {
public:
    explicit MemoryFile(u32 pid) : pid_{pid} {}

    Res<i64> read(Thread& thread, u64 user, u64 size, u64 position) override {
        return transfer(size, [&](u8* bytes, u64 done, usize count) -> Res<usize> {
            usize got = TRY(trace_read(thread, pid_, position + done, bytes, count));
            TRY(copy_out(user + done, bytes, got));
            return got;
        });
    }
    Res<i64> write(Thread& thread, u64 user, u64 size, u64 position) override {
        return transfer(size, [&](u8* bytes, u64 done, usize count) -> Res<usize> {
            TRY(copy_in(bytes, user + done, count));
            return trace_write(thread, pid_, position + done, bytes, count);
        });
    }
    Res<i64> read_kernel(Thread& thread, void* buffer, u64 size, u64 position) override {
        auto got = trace_read(thread, pid_, position, buffer, size);
        if (!got.ok()) return Failure{got.error() == Errno::fault ? Errno::io : got.error()};
        return static_cast<i64>(got.value());
    }
    bool seekable() const override { return true; }
    Res<i64> seek(Thread&, i64 position, u32 whence) override {
        Guard guard{offset_lock};
        if (whence == 1) position += static_cast<i64>(offset);
        if (whence > 1) return Failure{Errno::inval};
        offset = static_cast<u64>(position);
        return position;
    }

private:
    template <class Step>
    Res<i64> transfer(u64 size, Step step) {
        u8 bytes[kPiece];
        if (size > kMostBytes) size = kMostBytes;
        u64 done = 0;
        while (done < size) {
            usize count = size - done < kPiece ? static_cast<usize>(size - done) : kPiece;
            Res<usize> got = step(bytes, done, count);
            if (!got.ok()) {
                if (done != 0) break;
                // Memory that is not there is an input/output error here; who may not look finds the end.
                if (got.error() == Errno::fault) return Failure{Errno::io};
                return 0;
            }
            done += got.value();
            if (got.value() < count) break;
        }
        return static_cast<i64>(done);
    }

    u32 pid_;
};

struct UserVector {
    u64 base, size;
};

Res<usize> move_piece(Thread& thread, u32 pid, u64 local, u64 remote, usize count, bool write) {
    u8 bytes[kPiece];
    if (write) {
        TRY(copy_in(bytes, local, count));
        return trace_write(thread, pid, remote, bytes, count);
    }
    usize got = TRY(trace_read(thread, pid, remote, bytes, count));
    TRY(copy_out(local, bytes, got));
    return got;
}

Res<i64> transfer_vectors(Thread& thread, Arguments arguments, bool write) {
    const u32 pid = static_cast<u32>(arguments[0]);
    const u64 local_count = arguments[2], remote_count = arguments[4];
    if (arguments[5] != 0 || local_count > kMostVectors || remote_count > kMostVectors) return Failure{Errno::inval};
    {
        Guard guard{process_table_lock()};
        if (find_thread_locked(pid) == nullptr && find_process_locked(pid) == nullptr) return Failure{Errno::srch};
    }
    for (u64 side = 0; side < 2; ++side) {
        i64 sum = 0;
        for (u64 index = 0; index < (side == 0 ? local_count : remote_count); ++index) {
            auto vector = TRY(read_user<UserVector>(arguments[side == 0 ? 1 : 3] + index * sizeof(UserVector)));
            if (static_cast<i64>(vector.size) < 0 || __builtin_add_overflow(sum, static_cast<i64>(vector.size), &sum))
                return Failure{Errno::inval};
        }
    }
    u64 local_index = 0, local_done = 0, total = 0;
    UserVector local{};
    for (u64 i = 0; i < remote_count; ++i) {
        UserVector remote = TRY(read_user<UserVector>(arguments[3] + i * sizeof(UserVector)));
        for (u64 done = 0; done < remote.size;) {
            while (local_done == local.size) {
                if (local_index == local_count) return static_cast<i64>(total);
                local = TRY(read_user<UserVector>(arguments[1] + local_index++ * sizeof(UserVector)));
                local_done = 0;
            }
            u64 count = remote.size - done < local.size - local_done ? remote.size - done : local.size - local_done;
            if (count > kPiece) count = kPiece;
            Res<usize> moved = move_piece(thread, pid, local.base + local_done, remote.base + done, count, write);
            if (!moved.ok()) return total != 0 ? Res<i64>{static_cast<i64>(total)} : Res<i64>{Failure{moved.error()}};
            total += moved.value(), done += moved.value(), local_done += moved.value();
            if (moved.value() < count) return static_cast<i64>(total);
        }
    }
    return static_cast<i64>(total);
}

}  // namespace

Res<FileRef> open_process_memory(Thread& caller, u32 pid, u32 open_flags) {
    if (pid != caller.process->pid) {
        Guard guard{process_table_lock()};
        Process* process = find_process_locked(pid);
        if (process == nullptr) return Failure{Errno::srch};
        if (!may_look_into(*caller.process, *process)) return Failure{Errno::acces};
    }
    auto* file = TRY(make_file<MemoryFile>(pid));
    file->status_flags = open_flags;
    return FileRef{file};
}

Res<i64> sys_process_vm_readv(Thread& thread, Arguments arguments) {
    return transfer_vectors(thread, arguments, false);
}
Res<i64> sys_process_vm_writev(Thread& thread, Arguments arguments) {
    return transfer_vectors(thread, arguments, true);
}

}  // namespace postern::libos
