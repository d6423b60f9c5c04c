// SPDX-License-Identifier: Apache-2.0
// What travels between sockets: bytes with their sender's credentials, descriptors and address, in the arena.
//
// A message is filled before any lock is taken and joins the receiver's queue by a few undoable stores. Descriptors in
// flight are references to open file descriptions, held by the message.
#pragma once

#include "libos/fs/fd_table.hpp"
#include "libos/net/address.hpp"

namespace postern::libos {

class Endpoint;

struct SocketCredentials {  // struct ucred
    u32 pid = 0, uid = 0, gid = 0;
};

inline constexpr u32 kMostPassedFiles = 253;  ///< SCM_MAX_FD

/// A list of program buffers, consumed from the front.
struct UserVector {
    u64 address, size;
};
class UserBuffers {
public:
    UserBuffers(const UserVector* vectors, u32 count) : vectors_{vectors}, count_{count} {}
    u64 total() const;
    usize gather(void* destination, usize size);  ///< returns bytes copied before a fault
    usize scatter(const void* source, usize size);

private:
    template <class Move>
    usize move(usize size, Move move);
    const UserVector* vectors_;
    u32 count_, index_ = 0;
    u64 within_ = 0;
};

/// Where the bytes of a send come from and those of a receive go: program buffers, or memory of the library OS.
class Bytes {
public:
    explicit Bytes(UserBuffers& buffers) : buffers_{&buffers}, size_{buffers.total()} {}
    Bytes(void* memory, u64 size) : memory_{static_cast<u8*>(memory)}, size_{size} {}
    u64 size() const { return size_; }
    /// The first `size` bytes of these. When those are taken, skip() goes on behind them.
    Bytes front(u64 size) const {
        Bytes part = *this;
        part.size_ = size;
        return part;
    }
    void skip(const Bytes& front) { memory_ = front.memory_; }
    /// The next `size` bytes; fewer before a fault.
    usize take(void* destination, usize size);
    usize put(const void* source, usize size);

private:
    UserBuffers* buffers_ = nullptr;
    u8* memory_ = nullptr;
    u64 size_;
};

/// Open file descriptions on their way, each with a reference.
struct PassedFiles {
    File* files[kMostPassedFiles];
    u32 count = 0;
    PassedFiles() {}
    PassedFiles(const PassedFiles&) = delete;
    ~PassedFiles();
};

struct Message {
    Message* next = nullptr;
    File** files = nullptr;
    Endpoint* sender = nullptr;  ///< referenced, of datagrams that count against their sender's buffer
    u64 file_count = 0;
    u64 size = 0;      ///< bytes of data
    u64 taken = 0;     ///< of a stream: bytes received already
    u64 capacity = 0;  ///< bytes behind this header
    u64 charge = 0;    ///< what it counts for in buffers
    SocketCredentials credentials;
    u32 address_size = 0;                  ///< of the sender's address, which follows the data
    u8 hop_limit = 64, traffic_class = 0;  ///< of UDP
    bool mark = false;                     ///< of TCP: where the urgent byte is, or was
    u32 file_slots = 0;                    ///< length of `files`, also when they are given out
    u8* data() { return reinterpret_cast<u8*>(this + 1); }
    const u8* data() const { return reinterpret_cast<const u8*>(this + 1); }
    u8* address() { return data() + size; }
};

/// With room for `size` bytes and the address (may be null). Errno::nomem.
Res<Message*> message_create(u64 size, const SocketAddress* from);
/// Messages of up to kSmallMessage bytes without descriptors and addresses are all of one size, to be used again.
inline constexpr u64 kSmallMessage = 384;
Res<Message*> message_create_small(u64 size);
/// Makes a small message new; false when it is none, or still has descriptors.
bool message_is_small(const Message& message);
void message_renew(Message& message, u64 size);
/// Gives the message references to `files`.
Res<void> message_attach(Message& message, const PassedFiles& files);
void message_destroy(Message* message);

}  // namespace postern::libos
