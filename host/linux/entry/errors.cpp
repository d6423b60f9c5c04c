// SPDX-License-Identifier: Apache-2.0
// The kernel's error numbers as the gate's.
#include <asm/errno.h>

#include "host/linux/entry/state.hpp"

namespace postern::host {

gate::Err to_gate_error(long error) {
    using gate::Err;
    switch (error) {
        case 0: return Err::ok;
        case EPERM:
        case EACCES: return Err::denied;
        case ENOENT:
        case ESRCH: return Err::not_found;
        case EINTR: return Err::interrupted;
        case EBADF: return Err::denied;  // open, but not for this direction
        case EAGAIN: return Err::would_block;
        case ENOMEM: return Err::no_memory;
        case EFAULT: return Err::bad_address;
        case EBUSY:
        case ETXTBSY: return Err::busy;
        case EEXIST: return Err::exists;
        case EXDEV: return Err::cross_device;
        case ENOTDIR: return Err::not_directory;
        case EISDIR: return Err::is_directory;
        case EINVAL: return Err::bad_argument;
        case ENFILE:
        case EMFILE:
        case EDQUOT: return Err::no_quota;
        case EFBIG:
        case EOVERFLOW: return Err::too_big;
        case ENOSPC: return Err::no_space;
        case ESPIPE: return Err::not_seekable;
        case EROFS: return Err::read_only;
        case EMLINK:
        case ELOOP: return Err::too_many_links;
        case EPIPE:
        case ECONNRESET:
        case ENOTCONN:
        case ECONNREFUSED: return Err::closed;
        case ENAMETOOLONG: return Err::name_too_long;
        case ENOTEMPTY: return Err::not_empty;
        case ETIMEDOUT: return Err::timed_out;
        case ENODEV:
        case ENOSYS:
        case EOPNOTSUPP:
        case ENOTTY: return Err::unsupported;
        default: return Err::io;
    }
}

}  // namespace postern::host
