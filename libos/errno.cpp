// SPDX-License-Identifier: Apache-2.0
// Gate errors as Linux programs know them. The switch has no default: a new gate error must be decided here.
#include "libos/errno.hpp"

namespace postern::libos {

Errno to_errno(gate::Err error) {
    using enum gate::Err;
    switch (error) {
        case ok: return Errno::ok;
        case bad_handle: return Errno::badf;
        case wrong_kind: return Errno::inval;
        case denied: return Errno::acces;
        case bad_argument: return Errno::inval;
        case bad_address: return Errno::fault;
        case no_memory: return Errno::nomem;
        case no_quota: return Errno::again;
        case not_found: return Errno::noent;
        case exists: return Errno::exist;
        case not_directory: return Errno::notdir;
        case is_directory: return Errno::isdir;
        case not_empty: return Errno::notempty;
        case too_many_links: return Errno::loop;
        case name_too_long: return Errno::nametoolong;
        case cross_device: return Errno::xdev;
        case read_only: return Errno::rofs;
        case no_space: return Errno::nospc;
        case too_big: return Errno::fbig;
        case busy: return Errno::busy;
        case io: return Errno::io;
        case would_block: return Errno::again;
        case interrupted: return Errno::restart_sys;  // the way out turns it into EINTR or a restart
        case timed_out: return Errno::timedout;
        case closed: return Errno::pipe;
        case unsupported: return Errno::opnotsupp;
        case not_seekable: return Errno::spipe;
        case bad_state: return Errno::inval;
    }
    return Errno::io;  // a value outside the enumeration: the host is newer than this library OS
}

}  // namespace postern::libos
