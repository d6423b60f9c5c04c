// SPDX-License-Identifier: Apache-2.0
// Unix sockets inside the family: see socket.hpp.
#include "libos/ipc/socket.hpp"

#include <asm/ioctls.h>
#include <linux/fcntl.h>

#include "base/memory.hpp"
#include "libos/ipc/anonymous.hpp"
#include "libos/ipc/socket_flags.hpp"
#include "libos/process/process.hpp"
#include "libos/shared/arena.hpp"
#include "libos/time/timers.hpp"
#include "libos/user.hpp"

namespace postern::libos {

u64 UserBuffers::total() const {
    u64 sum = 0;
    for (u32 index = 0; index < count_; ++index) sum += vectors_[index].size;
    return sum;
}

template <class Move>
usize UserBuffers::move(usize size, Move move) {
    usize done = 0;
    while (done < size && index_ < count_) {
        u64 room = vectors_[index_].size - within_;
        usize chunk = room < size - done ? room : size - done;
        usize moved = move(vectors_[index_].address + within_, done, chunk);
        done += moved;
        within_ += moved;
        if (moved < chunk) break;
        if (within_ == vectors_[index_].size) ++index_, within_ = 0;
    }
    return done;
}

usize UserBuffers::gather(void* destination, usize size) {
    return move(size, [&](u64 user, usize done, usize bytes) {
        return copy_in_some(static_cast<u8*>(destination) + done, user, bytes);
    });
}

usize UserBuffers::scatter(const void* source, usize size) {
    return move(size, [&](u64 user, usize done, usize bytes) {
        return copy_out_some(user, static_cast<const u8*>(source) + done, bytes);
    });
}

void UserBuffers::rewind(u64 offset) {
    index_ = 0, within_ = 0;
    move(offset, [](u64, usize, usize bytes) { return bytes; });
}

PassedFiles::~PassedFiles() {
    for (u32 index = 0; index < count; ++index) files[index]->release();
}

namespace {

constexpr u64 kDefaultBuffer = 212992;  // net.core.wmem_default
constexpr u64 kChunk = 32768 - 128;     // of a stream: what fits one object of the arena

struct Message {
    Message* next = nullptr;
    File** files = nullptr;
    u32 file_count = 0;
    u32 size = 0;   ///< bytes that follow this header
    u64 taken = 0;  ///< of a stream: bytes received already
    SocketCredentials credentials;
    u8* data() { return reinterpret_cast<u8*>(this + 1); }
};

/// Messages of up to an arena object; larger datagrams lie in pages.
Res<Message*> message_create(u64 size) {
    u64 bytes = sizeof(Message) + size;
    void* memory = nullptr;
    if (bytes <= 32768)
        memory = TRY(arena::allocate(bytes));
    else
        memory = TRY(arena::allocate_pages(page_ceil(bytes) / kPageSize));
    auto* message = new (memory) Message;
    message->size = static_cast<u32>(size);
    return message;
}

void message_destroy(Message* message) {
    for (u32 index = 0; index < message->file_count; ++index) message->files[index]->release();
    if (message->files != nullptr) arena::release(message->files, message->file_count * sizeof(File*));
    u64 bytes = sizeof(Message) + message->size;
    if (bytes <= 32768)
        arena::release(message, bytes);
    else
        arena::release_pages(message, page_ceil(bytes) / kPageSize);
}

/// One end's receiving side.
struct Side {
    Message* first = nullptr;
    Message* last = nullptr;
    u64 bytes = 0;    ///< queued, headers counted in part as Linux does
    u64 closed = 0;   ///< the File is gone
    u64 ended = 0;    ///< nothing more comes: the peer shut down writing or is gone
    u64 refuses = 0;  ///< shut down for reading
    u64 limit = kDefaultBuffer;
    WaitQueue queue;  ///< readers here, and this side's own writers
};

struct SocketPair {
    SharedLock lock;  ///< both sides. Files are released and queues woken without it
    Side sides[2];
    u32 references = 2;
};

class SocketFile final : public File {
public:
    SocketFile(SocketPair& pair, u32 index, SocketType type, u32 flags) : pair_{pair}, index_{index} {
        status_flags = flags;
        options_ = {};
        options_.type = type;
        options_.send_buffer = options_.receive_buffer = kDefaultBuffer;
    }
    ~SocketFile() override;

    FileKind kind() const override { return FileKind::socket; }
    SocketOptions& options() { return options_; }

    Res<i64> read(Thread& thread, u64 user, u64 size, u64) override {
        UserVector vector{user, size};
        UserBuffers buffers{&vector, 1};
        auto received = TRY(receive(thread, buffers, 0, nullptr));
        return static_cast<i64>(received.bytes);
    }
    Res<i64> write(Thread& thread, u64 user, u64 size, u64) override {
        UserVector vector{user, size};
        UserBuffers buffers{&vector, 1};
        u64 sent = TRY(send(thread, buffers, 0, nullptr));
        return static_cast<i64>(sent);
    }
    Res<i64> write_kernel(Thread& thread, const void* buffer, u64 size, u64) override {
        return send_message(thread, size, 0, nullptr, [&](void* to, u64 done, u64 bytes) {
            memcpy(to, static_cast<const u8*>(buffer) + done, bytes);
            return bytes;
        });
    }
    Res<i64> read_kernel(Thread& thread, void* buffer, u64 size, u64) override {
        auto received = TRY(receive_message(thread, size, 0, nullptr, [&](const void* from, u64 done, u64 bytes) {
            memcpy(static_cast<u8*>(buffer) + done, from, bytes);
            return bytes;
        }));
        return static_cast<i64>(received.bytes);
    }
    Res<void> stat(Thread& thread, Stat& stat) override {
        fill_anonymous_stat(thread, stat, kTypeSocket | 0777, arena::offset_of(this) / 16);
        return {};
    }
    Res<i64> ioctl(Thread&, u32 request, u64 argument) override {
        if (request == FIONREAD) {
            Guard guard{pair_.lock};
            const Message* first = mine().first;
            u64 bytes = first == nullptr ? 0 : is_stream() ? mine().bytes : first->size;
            TRY(write_user(argument, static_cast<i32>(bytes)));
            return 0;
        }
        if (request == TIOCOUTQ) {
            TRY(write_user(argument, static_cast<i32>(peer().bytes)));
            return 0;
        }
        return Failure{Errno::notty};
    }
    u32 poll(Thread&) override {
        Guard guard{pair_.lock};
        u32 bits = 0;
        if (mine().first != nullptr || mine().ended != 0 || mine().refuses != 0) bits |= kPollIn | kPollRdNorm;
        if (mine().ended != 0 || mine().refuses != 0) bits |= kPollRdHup;
        if ((mine().ended != 0 || mine().refuses != 0) && peer().ended != 0 && type() != SocketType::datagram)
            bits |= kPollHup;
        if (peer().bytes * 4 <= peer().limit || peer().closed != 0) bits |= kPollOut | kPollWrNorm;
        return bits;
    }
    WaitQueue* wait_queue() override { return &mine().queue; }

    Res<u64> send(Thread& thread, UserBuffers& buffers, u32 flags, PassedFiles* files) {
        i64 sent = TRY(send_message(thread, buffers.total(), flags, files, [&](void* to, u64 done, u64 bytes) {
            buffers.rewind(done);
            return buffers.gather(to, bytes);
        }));
        return static_cast<u64>(sent);
    }
    Res<Received> receive(Thread& thread, UserBuffers& buffers, u32 flags, PassedFiles* files) {
        return receive_message(thread, buffers.total(), flags, files, [&](const void* from, u64 done, u64 bytes) {
            buffers.rewind(done);
            return buffers.scatter(from, bytes);
        });
    }
    Res<void> shutdown(u32 how);

private:
    Side& mine() { return pair_.sides[index_]; }
    Side& peer() { return pair_.sides[1 - index_]; }
    SocketType type() const { return options_.type; }
    bool is_stream() const { return type() == SocketType::stream; }
    gate::Deadline deadline(u64 timeout) const { return timeout == 0 ? gate::kForever : monotonic_now() + timeout; }

    template <class Copy>
    Res<i64> send_message(Thread& thread, u64 size, u32 flags, PassedFiles* files, Copy copy);
    template <class Copy>
    Res<Received> receive_message(Thread& thread, u64 size, u32 flags, PassedFiles* files, Copy copy);

    SocketPair& pair_;
    u32 index_;
    SocketOptions options_;
};

SocketFile::~SocketFile() {
    Message* unread;
    {
        Guard guard{pair_.lock};
        unread = mine().first;
        set_undoable(pair_.lock, mine().closed, u64{1});
        set_undoable(pair_.lock, peer().ended, u64{1});
        set_undoable(pair_.lock, mine().ended, u64{1});
        set_undoable(pair_.lock, mine().first, static_cast<Message*>(nullptr));
        set_undoable(pair_.lock, mine().last, static_cast<Message*>(nullptr));
    }
    while (unread != nullptr) {
        Message* next = unread->next;
        message_destroy(unread);
        unread = next;
    }
    peer().queue.wake(~0u);
    if (__atomic_sub_fetch(&pair_.references, 1, __ATOMIC_SEQ_CST) == 0) arena::destroy(&pair_);
}

Res<void> SocketFile::shutdown(u32 how) {
    if (how > 2) return Failure{Errno::inval};
    {
        Guard guard{pair_.lock};
        if (how != 1) {
            set_undoable(pair_.lock, mine().refuses, u64{1});
            set_undoable(pair_.lock, mine().ended, u64{1});
        }
        if (how != 0) set_undoable(pair_.lock, peer().ended, u64{1});
    }
    mine().queue.wake(~0u);
    peer().queue.wake(~0u);
    return {};
}

template <class Copy>
Res<i64> SocketFile::send_message(Thread& thread, u64 size, u32 flags, PassedFiles* files, Copy copy) {
    if (!is_stream() && size > options_.send_buffer) return Failure{Errno::msgsize};
    const bool waits = (status_flags & O_NONBLOCK) == 0 && (flags & kMessageDontWait) == 0;
    const gate::Deadline until = deadline(options_.send_timeout);
    u64 done = 0;
    for (;;) {
        u64 part = is_stream() && size - done > kChunk ? kChunk : size - done;
        if (is_stream() && part == 0) break;  // nothing to say on a stream is not said
        Message* message = TRY(message_create(part));
        if (copy(message->data(), done, part) != part) {
            message_destroy(message);
            if (done != 0) break;
            return Failure{Errno::fault};
        }
        const Credentials& credentials = thread.process->credentials;
        message->credentials = {thread.process->pid, credentials.uid, credentials.gid};
        if (files != nullptr && files->count != 0 && done == 0) {
            auto list = arena::allocate(files->count * sizeof(File*));
            if (!list.ok()) {
                message_destroy(message);
                return Failure{list.error()};
            }
            message->files = static_cast<File**>(list.value());
            for (u32 index = 0; index < files->count; ++index) {
                message->files[index] = files->files[index];
                files->files[index]->reference();
            }
            message->file_count = files->count;
        }
        Errno failed = Errno::ok;
        for (;;) {
            bool full = false;
            failed = Errno::ok;
            {
                Guard guard{pair_.lock};
                Side& side = peer();
                if (side.closed != 0 || side.ended != 0) {
                    // A datagram socket has no stream to break: its partner is merely not there.
                    failed = type() == SocketType::datagram && side.closed != 0 ? Errno::connrefused : Errno::pipe;
                } else if (side.refuses != 0) {
                    failed = Errno::pipe;
                } else if (side.bytes != 0 && side.bytes + part > side.limit) {
                    full = true;
                } else {
                    if (side.last != nullptr)
                        set_undoable(pair_.lock, side.last->next, message);
                    else
                        set_undoable(pair_.lock, side.first, message);
                    set_undoable(pair_.lock, side.last, message);
                    set_undoable(pair_.lock, side.bytes, side.bytes + part);
                }
            }
            if (!full) break;
            if (!waits) {
                failed = Errno::again;
                break;
            }
            auto waited = wait_until(thread, mine().queue, kPollOut | kPollWrNorm, until, [&] {
                const Side& side = peer();
                return side.bytes == 0 || side.bytes + part <= side.limit || side.closed != 0 || side.ended != 0;
            });
            if (!waited.ok()) {
                failed = waited.error() == Errno::timedout ? Errno::again : waited.error();
                break;
            }
        }
        if (failed != Errno::ok) {
            message_destroy(message);
            if (failed == Errno::pipe && (flags & kMessageNoSignal) == 0 && type() != SocketType::datagram)
                send_signal_to_thread(thread, user_signal(kSigPipe));
            if (done != 0) break;
            return Failure{failed};
        }
        peer().queue.wake(kPollIn | kPollRdNorm);
        done += part;
        if (done >= size) break;
    }
    return static_cast<i64>(done);
}

template <class Copy>
Res<Received> SocketFile::receive_message(Thread& thread, u64 size, u32 flags, PassedFiles* files, Copy copy) {
    const bool waits = (status_flags & O_NONBLOCK) == 0 && (flags & kMessageDontWait) == 0;
    const gate::Deadline until = deadline(options_.receive_timeout);
    Received result;
    if (size == 0 && is_stream()) return result;
    for (;;) {
        Message* finished = nullptr;  // freed without the lock
        bool ended = false, faulted = false, empty = false, stop = false;
        {
            Guard guard{pair_.lock};
            Side& side = mine();
            Message* message = side.first;
            if (message == nullptr) {
                empty = true;
                ended = side.ended != 0;
            } else {
                // Credentials and descriptors mark a boundary that one receive does not cross.
                if (result.bytes != 0 &&
                    (message->file_count != 0 ||
                     (options_.pass_credentials != 0 && message->credentials.pid != result.credentials.pid)))
                    break;
                u64 available = message->size - message->taken;
                u64 part = size - result.bytes < available ? size - result.bytes : available;
                u64 copied = part == 0 ? 0 : copy(message->data() + message->taken, result.bytes, part);
                faulted = copied < part;
                result.bytes += copied;
                result.has_credentials = true;
                result.credentials = message->credentials;
                if (files != nullptr && message->file_count != 0 && files->count == 0) {
                    for (u32 index = 0; index < message->file_count; ++index) {
                        message->files[index]->reference();
                        files->files[index] = message->files[index];
                    }
                    files->count = message->file_count;
                    stop = true;
                }
                bool all = is_stream() ? copied == available : !faulted;
                if (!is_stream()) {
                    result.message_size = message->size;
                    result.cut = part < available;
                    stop = true;
                }
                if ((flags & kMessagePeek) != 0) {
                    stop = true;
                } else if (all) {
                    u64 gone = is_stream() ? copied : message->size;
                    set_undoable(pair_.lock, side.first, message->next);
                    if (message->next == nullptr) set_undoable(pair_.lock, side.last, static_cast<Message*>(nullptr));
                    set_undoable(pair_.lock, side.bytes, side.bytes - gone);
                    finished = message;
                } else if (is_stream()) {
                    set_undoable(pair_.lock, message->taken, message->taken + copied);
                    set_undoable(pair_.lock, side.bytes, side.bytes - copied);
                    // Received once, they do not come again with the rest of the bytes. The receiver's own references
                    // keep them from ending here, under the lock.
                    if (stop) {
                        for (u32 index = 0; index < message->file_count; ++index) message->files[index]->release();
                        message->file_count = 0;
                    }
                }
            }
        }
        if (finished != nullptr) {
            message_destroy(finished);
            peer().queue.wake(kPollOut | kPollWrNorm);
        }
        if (faulted) {
            if (result.bytes == 0) return Failure{Errno::fault};
            return result;
        }
        if (stop || (is_stream() && result.bytes == size)) return result;
        if (!empty) continue;
        const bool enough = result.bytes != 0 && (flags & kMessageWaitAll) == 0;
        if (enough || ended) return result;
        if (!waits) {
            if (result.bytes != 0) return result;
            return Failure{Errno::again};
        }
        auto waited = wait_until(thread, mine().queue, kPollIn | kPollRdNorm, until,
                                 [&] { return mine().first != nullptr || mine().ended != 0; });
        if (!waited.ok()) {
            if (result.bytes != 0) return result;
            return Failure{waited.error() == Errno::timedout ? Errno::again : waited.error()};
        }
    }
    return result;
}

}  // namespace

Res<void> make_socket_pair(Thread& thread, SocketType type, u32 open_flags, FileRef& first, FileRef& second) {
    SocketPair* pair = TRY(arena::create<SocketPair>());
    auto one = make_file<SocketFile>(*pair, 0u, type, O_RDWR | (open_flags & O_NONBLOCK));
    if (!one.ok()) {
        arena::destroy(pair);
        return Failure{one.error()};
    }
    first = FileRef{one.value()};
    auto two = make_file<SocketFile>(*pair, 1u, type, O_RDWR | (open_flags & O_NONBLOCK));
    if (!two.ok()) {
        pair->references = 1;
        return Failure{two.error()};
    }
    second = FileRef{two.value()};
    const Credentials& credentials = thread.process->credentials;
    one.value()->options().peer =
        two.value()->options().peer = {thread.process->pid, credentials.euid, credentials.egid};
    return {};
}

Res<u64> socket_send(Thread& thread, File& file, UserBuffers& buffers, u32 flags, PassedFiles* files) {
    if (file.kind() != FileKind::socket) return Failure{Errno::notsock};
    return static_cast<SocketFile&>(file).send(thread, buffers, flags, files);
}

Res<Received> socket_receive(Thread& thread, File& file, UserBuffers& buffers, u32 flags, PassedFiles* files) {
    if (file.kind() != FileKind::socket) return Failure{Errno::notsock};
    return static_cast<SocketFile&>(file).receive(thread, buffers, flags, files);
}

Res<void> socket_shutdown(File& file, u32 how) {
    if (file.kind() != FileKind::socket) return Failure{Errno::notsock};
    return static_cast<SocketFile&>(file).shutdown(how);
}

Res<SocketOptions*> socket_options(File& file) {
    if (file.kind() != FileKind::socket) return Failure{Errno::notsock};
    return &static_cast<SocketFile&>(file).options();
}

}  // namespace postern::libos
