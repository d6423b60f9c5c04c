// SPDX-License-Identifier: Apache-2.0
// Unix sockets between processes of the family (unix(7)), as socketpair(2) makes them.
//
// A message is copied into the arena before the pair's lock is taken and joins the receiver's queue by a few undoable
// stores. Descriptors in flight are references to open file descriptions, held by the message.
#pragma once

#include "libos/fs/fd_table.hpp"

namespace postern::libos {

enum class SocketType : u32 { stream = 1, datagram = 2, packet = 5 };

struct SocketCredentials {
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
    /// Goes back to `offset` bytes behind the start.
    void rewind(u64 offset);

private:
    template <class Move>
    usize move(usize size, Move move);
    const UserVector* vectors_;
    u32 count_, index_ = 0;
    u64 within_ = 0;
};

struct PassedFiles {
    File* files[kMostPassedFiles];
    u32 count = 0;
    ~PassedFiles();
};

struct Received {
    u64 bytes = 0;         ///< copied
    u64 message_size = 0;  ///< of datagram and packet sockets: with what was cut off
    bool cut = false;
    bool has_credentials = false;
    SocketCredentials credentials;
};

Res<void> make_socket_pair(Thread& thread, SocketType type, u32 open_flags, FileRef& first, FileRef& second);

// Errno::notsock when the file is no socket. `flags` are MSG_*.
Res<u64> socket_send(Thread& thread, File& file, UserBuffers& buffers, u32 flags, PassedFiles* files);
Res<Received> socket_receive(Thread& thread, File& file, UserBuffers& buffers, u32 flags, PassedFiles* files);
Res<void> socket_shutdown(File& file, u32 how);

struct SocketOptions {
    SocketType type;
    u32 pass_credentials, reuse_address, keep_alive, send_buffer, receive_buffer, broadcast;
    u64 receive_timeout, send_timeout;  ///< nanoseconds, 0: none
    SocketCredentials peer;
};
Res<SocketOptions*> socket_options(File& file);

}  // namespace postern::libos
