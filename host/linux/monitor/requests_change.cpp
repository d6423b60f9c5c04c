// SPDX-License-Identifier: Apache-2.0
// Requests that change directories: remove, rename, link.
#include <fcntl.h>
#include <stdio.h>

#include "host/linux/monitor/requests_inner.hpp"

namespace postern::host {

using gate::Err;
using gate::Right;
using gate::StreamType;

Reply Requests::remove(const Request& request) {
    if (request.flags > 1) return Reply::failure(Err::bad_argument);
    Place place;
    Reply reply;
    if (!find(request.name(), false, place, reply)) return reply;
    if (place.kind == PlaceKind::missing) return Reply::failure(Err::not_found);
    if (place.kind == PlaceKind::synthetic) return Reply::failure(request.flags ? Err::busy : Err::is_directory);
    if (!writable(place, reply)) return reply;
    if (names_.table().is_bound("file", place.canonical)) return Reply::failure(Err::busy);
    Fd directory;
    std::string last;
    Err error = names_.parent(place, directory, last);
    if (error != Err::ok) return Reply::failure(error == Err::denied ? Err::busy : error);
    if (unlinkat(directory.get(), last.c_str(), request.flags ? AT_REMOVEDIR : 0) != 0) {
        return Reply::failure(error_from_errno(errno), errno);
    }
    return reply;
}

Reply Requests::rename(const Request& request) {
    if ((request.flags & ~(gate::kRenameNoReplace | gate::kRenameExchange)) != 0)
        return Reply::failure(Err::bad_argument);
    Place from, to;
    Reply reply, second;
    if (!find(request.name(), false, from, reply)) return reply;
    if (!find(request.second(), false, to, second)) {
        // The source is on the host and the target is inside: no single step can do it.
        if (second.flags & kReplyInside) second.error = Err::cross_device;
        return second;
    }
    if (from.kind == PlaceKind::missing) return Reply::failure(Err::not_found);
    if (from.kind == PlaceKind::synthetic || to.kind == PlaceKind::synthetic) return Reply::failure(Err::busy);
    if (!writable(from, reply)) return reply;
    if (!writable(to, reply)) return reply;
    if (from.route != to.route) return Reply::failure(Err::cross_device);
    if (names_.table().is_bound("file", from.canonical) || names_.table().is_bound("file", to.canonical)) {
        return Reply::failure(Err::busy);
    }
    if (to.must_be_directory && !S_ISDIR(from.status.st_mode)) return Reply::failure(Err::not_directory);
    Fd from_directory, to_directory;
    std::string from_last, to_last;
    Err error = names_.parent(from, from_directory, from_last);
    if (error == Err::ok) error = names_.parent(to, to_directory, to_last);
    if (error != Err::ok) return Reply::failure(error == Err::denied ? Err::busy : error);
    unsigned flags = 0;
    if (request.flags & gate::kRenameNoReplace) flags |= RENAME_NOREPLACE;
    if (request.flags & gate::kRenameExchange) flags |= RENAME_EXCHANGE;
    if (renameat2(from_directory.get(), from_last.c_str(), to_directory.get(), to_last.c_str(), flags) != 0) {
        return Reply::failure(error_from_errno(errno), errno);
    }
    return reply;
}

Reply Requests::link(const Request& request) {
    if (request.flags > static_cast<u32>(gate::LinkKind::symbolic)) return Reply::failure(Err::bad_argument);
    Place place;
    Reply reply;
    if (!find(request.name(), false, place, reply)) {
        refuse_in_synthetic(place, reply);
        return reply;
    }
    if (place.kind != PlaceKind::missing) return Reply::failure(Err::exists);
    if (place.must_be_directory) return Reply::failure(Err::not_found);
    if (!writable(place, reply)) return reply;
    Fd directory;
    std::string last;
    Err error = names_.parent(place, directory, last);
    if (error != Err::ok) return Reply::failure(error);
    if (request.flags == static_cast<u32>(gate::LinkKind::symbolic)) {
        if (request.second_length == 0) return Reply::failure(Err::not_found);
        if (symlinkat(std::string{request.second()}.c_str(), directory.get(), last.c_str()) != 0) {
            return Reply::failure(error_from_errno(errno), errno);
        }
        return reply;
    }
    Place target;
    Reply second;
    if (!find(request.second(), false, target, second)) {
        if (second.flags & kReplyInside) second.error = Err::cross_device;
        return second;
    }
    if (target.kind == PlaceKind::missing) return Reply::failure(Err::not_found);
    if (target.route != place.route) return Reply::failure(Err::cross_device);
    if (target.kind != PlaceKind::object || S_ISDIR(target.status.st_mode)) return Reply::failure(Err::denied);
    Fd target_directory;
    std::string target_last;
    error = names_.parent(target, target_directory, target_last);
    if (error != Err::ok) return Reply::failure(error);
    if (linkat(target_directory.get(), target_last.c_str(), directory.get(), last.c_str(), 0) != 0) {
        return Reply::failure(error_from_errno(errno), errno);
    }
    return reply;
}

}  // namespace postern::host
