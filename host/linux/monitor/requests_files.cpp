// SPDX-License-Identifier: Apache-2.0
// Requests that open, create and describe files.
#include <fcntl.h>

#include "host/linux/monitor/requests_inner.hpp"

namespace postern::host {

using gate::Err;
using gate::Right;
using gate::StreamType;

namespace {

constexpr u32 kAllAccess = gate::kAccessRead | gate::kAccessWrite | gate::kAccessAppend | gate::kAccessExecute;
constexpr u32 kAllMask = gate::kSetMode | gate::kSetOwner | gate::kSetGroup | gate::kSetAccessed | gate::kSetModified |
                         gate::kSetAccessedNow | gate::kSetModifiedNow;

/// chmod, chown and utimes of what an O_PATH descriptor names: through its own /proc entry, which no program can move.
struct ByDescriptor {
    char path[40];
    explicit ByDescriptor(const Fd& fd) { snprintf(path, sizeof path, "/proc/self/fd/%d", fd.get()); }
};

}  // namespace

Reply Requests::open(const Request& request) {
    if ((request.access & ~kAllAccess) != 0 || request.create > gate::kCreateAlways || request.mode > 07777 ||
        (request.options & ~kAllOptions) != 0) {
        return Reply::failure(Err::bad_argument);
    }
    bool make_directory = (request.options & gate::kOpenMakeDirectory) != 0;
    bool make_fifo = (request.options & gate::kOpenMakeFifo) != 0;
    if ((make_directory || make_fifo) && request.create != gate::kCreateAlways)
        return Reply::failure(Err::bad_argument);
    if (make_directory && make_fifo) return Reply::failure(Err::bad_argument);
    bool follow =
        (request.options & (gate::kOpenNoFollow | gate::kOpenLink)) == 0 && request.create != gate::kCreateAlways;
    Reply reply;
    names_.will_read(request.create == gate::kCreateNever && request.access == gate::kAccessRead &&
                     (request.options & ~(gate::kOpenNoFollow | gate::kOpenDirectory | gate::kOpenNonBlocking)) == 0);
    // A name that appears or goes between the look and the deed is looked up again.
    for (int attempt = 0; attempt < 8; ++attempt) {
        Place place;
        reply = Reply{};
        if (!find(request.name(), follow, place, reply)) {
            if (request.create != gate::kCreateNever) refuse_in_synthetic(place, reply);
            return reply;
        }
        if (place.kind == PlaceKind::missing) {
            if (request.create == gate::kCreateNever) {
                describe_missing(place, names_, reply);
                return reply;
            }
            reply = create(request, place);
            if (reply.error == Err::exists && request.create == gate::kCreateTry) continue;
            return reply;
        }
        describe(place, names_, reply);
        if (request.create == gate::kCreateAlways) {
            reply.error = Err::exists;
            return reply;
        }
        return open_existing(request, place);
    }
    return reply;
}

Reply Requests::open_existing(const Request& request, Place& place) {
    Reply reply;
    describe(place, names_, reply);
    bool write = (request.access & (gate::kAccessWrite | gate::kAccessAppend)) != 0;
    auto fail = [&](Err error, int host_error = 0) {
        reply.error = error;
        reply.host_error = static_cast<u32>(host_error);
        reply.cache = 0;
        return std::move(reply);
    };
    if (place.kind == PlaceKind::synthetic) {
        if ((request.options & gate::kOpenTemporary) != 0) return fail(Err::read_only);
        if (write || (request.options & gate::kOpenTruncate) != 0) return fail(Err::is_directory);
        return reply;
    }
    mode_t mode = place.status.st_mode;
    if (S_ISLNK(mode)) {
        if ((request.options & gate::kOpenLink) == 0) return fail(Err::too_many_links);
        if (request.options & gate::kOpenDirectory) return fail(Err::not_directory);
        read_target(place, reply);
        return reply;
    }
    bool temporary = (request.options & gate::kOpenTemporary) != 0;
    if (((request.options & gate::kOpenDirectory) || temporary) && !S_ISDIR(mode)) return fail(Err::not_directory);
    int flags = write ? (request.access & gate::kAccessRead ? O_RDWR : O_WRONLY) : O_RDONLY;
    if (request.access & gate::kAccessAppend) flags |= O_APPEND;
    bool truncate = (request.options & gate::kOpenTruncate) != 0;
    if (S_ISDIR(mode)) {
        if (temporary) {
            if (!gate::has(place.route->rights, Right::write)) return fail(Err::read_only);
            if (!write) return fail(Err::bad_argument);
            flags |= O_TMPFILE;
            char path[40];
            snprintf(path, sizeof path, "/proc/self/fd/%d", place.fd.get());
            int made = ::open(path, flags | O_CLOEXEC, request.mode & 0777);
            if (made < 0) return fail(error_from_errno(errno), errno);
            reply.first_fd.reset(made);
            struct stat status;
            if (fstat(made, &status) == 0) reply.attributes = attributes_of(status);
            reply.attributes.rights = static_cast<u32>(place.route->rights);
            reply.flags = kReplyDescriptor;
            return reply;
        }
        if (write || truncate) return fail(Err::is_directory);
        flags = O_RDONLY | O_DIRECTORY;
    } else if (S_ISFIFO(mode) && !place.rest.empty()) {
        // Only its name is passed: what the family writes into it stays in the family.
        return fail(Err::unsupported);
    } else {
        if ((write || truncate) && !gate::has(place.route->rights, Right::write)) {
            note_read_only(place);
            return fail(Err::read_only);
        }
        if (!gate::has(place.route->rights, Right::read) && !write) return fail(Err::denied);
        if (truncate) flags |= O_TRUNC;
        if (!S_ISREG(mode)) {
            // Named exactly by a route, else Names would have refused it. Opening may wait for a stranger.
            if (S_ISSOCK(mode) || S_ISBLK(mode)) return fail(Err::denied);
            if (!names_.in_worker()) {
                names_.need_worker();
                return fail(Err::busy);
            }
            if (request.options & gate::kOpenNonBlocking) flags |= O_NONBLOCK;
            flags &= ~O_TRUNC;
        }
    }
    bool done = place.readable && flags == (S_ISDIR(mode) ? O_RDONLY | O_DIRECTORY : O_RDONLY);
    int opened = done ? place.fd.release() : names_.reopen(place.fd.get(), flags);
    if (opened < 0) return fail(error_from_errno(opened), -opened);
    reply.first_fd.reset(opened);
    reply.flags |= kReplyDescriptor;
    add_text(place, request, reply);
    if (truncate) {
        struct stat status;
        if (fstat(opened, &status) == 0) {
            u32 rights = reply.attributes.rights;
            reply.attributes = attributes_of(status);
            reply.attributes.rights = rights;
        }
    }
    return reply;
}

/// With a program or a library goes its prepared text: the same bytes by the monitor's own hand, so that whoever may
/// read and execute the file may have them.
void Requests::add_text(const Place& place, const Request& request, Reply& reply) {
    const bool code = request.access == gate::kAccessRead && S_ISREG(place.status.st_mode) && place.route->stable &&
                      gate::has(place.route->rights, Right::read | Right::execute);
    if (texts_ == nullptr || !code) return;
    if (texts_->open(place.status, reply.attributes.prepared, reply.second_fd) != TextStore::Answer::unknown) return;
    std::string_view name = place.canonical;
    if ((place.status.st_mode & 0111) != 0 || name.find(".so", name.rfind('/')) != name.npos)
        texts_->want(reply.first_fd.get(), place.status);
}

Reply Requests::create(const Request& request, Place& place) {
    Reply reply;
    reply.text = place.canonical;
    if (!writable(place, reply)) return reply;
    bool make_directory = (request.options & gate::kOpenMakeDirectory) != 0;
    bool make_fifo = (request.options & gate::kOpenMakeFifo) != 0;
    if (place.must_be_directory && make_fifo) return Reply::failure(Err::not_found);
    if (place.must_be_directory && !make_directory) return Reply::failure(Err::is_directory);
    if ((request.options & gate::kOpenDirectory) && !make_directory) return Reply::failure(Err::not_found);
    Fd directory;
    std::string last;
    Err error = names_.parent(place, directory, last);
    if (error != Err::ok) return Reply::failure(error);
    if (make_directory) {
        if (mkdirat(directory.get(), last.c_str(), request.mode & 01777) != 0) {
            return Reply::failure(error_from_errno(errno), errno);
        }
        Place made;
        error = names_.resolve(place.canonical, false, made);
        if (error != Err::ok || made.kind != PlaceKind::object) return Reply::failure(Err::io);
        describe(made, names_, reply);
        int opened = names_.reopen(made.fd.get(), O_RDONLY | O_DIRECTORY);
        if (opened >= 0) {
            reply.first_fd.reset(opened);
            reply.flags |= kReplyDescriptor;
        }
        return reply;
    }
    if (make_fifo) {
        if (mknodat(directory.get(), last.c_str(), S_IFIFO | (request.mode & 0777), 0) != 0) {
            return Reply::failure(error_from_errno(errno), errno);
        }
        Place made;
        error = names_.resolve(place.canonical, false, made);
        if (error != Err::ok || made.kind != PlaceKind::object) return Reply::failure(Err::io);
        describe(made, names_, reply);
        return reply;
    }
    bool write = (request.access & (gate::kAccessWrite | gate::kAccessAppend)) != 0;
    int flags = write ? (request.access & gate::kAccessRead ? O_RDWR : O_WRONLY) : O_RDONLY;
    if (request.access & gate::kAccessAppend) flags |= O_APPEND;
    // Exclusively: a link that appears at this name meanwhile is not followed, nor is anything opened that exists.
    int made =
        openat(directory.get(), last.c_str(), flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, request.mode & 0777);
    if (made < 0) return Reply::failure(error_from_errno(errno), errno);
    reply.first_fd.reset(made);
    struct stat status;
    if (fstat(made, &status) != 0) return Reply::failure(Err::io, errno);
    reply.attributes = attributes_of(status);
    reply.attributes.rights = static_cast<u32>(place.route->rights);
    reply.flags = kReplyDescriptor;
    return reply;
}

Reply Requests::attributes(const Request& request) {
    if ((request.options & ~kAllOptions) != 0) return Reply::failure(Err::bad_argument);
    Place place;
    Reply reply;
    bool follow = (request.options & (gate::kOpenNoFollow | gate::kOpenLink)) == 0;
    if (!find(request.name(), follow, place, reply)) return reply;
    if (place.kind == PlaceKind::missing) {
        describe_missing(place, names_, reply);
        return reply;
    }
    describe(place, names_, reply);
    // Reading a link changes its time of access. What is kept for ever is to be whole, though.
    if (place.kind == PlaceKind::object && S_ISLNK(place.status.st_mode) &&
        ((request.options & gate::kOpenLink) != 0 || place.route->stable))
        read_target(place, reply);
    return reply;
}

Reply Requests::set_attributes(const Request& request) {
    if ((request.options & ~kAllOptions) != 0 || (request.mask & ~kAllMask) != 0)
        return Reply::failure(Err::bad_argument);
    const gate::Attributes& wanted = request.attributes;
    if ((request.mask & gate::kSetMode) && wanted.mode > 07777) return Reply::failure(Err::bad_argument);
    if (wanted.accessed.nanoseconds > 999'999'999 || wanted.modified.nanoseconds > 999'999'999) {
        return Reply::failure(Err::bad_argument);
    }
    Place place;
    Reply reply;
    bool follow = (request.options & (gate::kOpenNoFollow | gate::kOpenLink)) == 0;
    if (!find(request.name(), follow, place, reply)) return reply;
    if (place.kind == PlaceKind::missing) return Reply::failure(Err::not_found);
    if (!writable(place, reply) || place.kind != PlaceKind::object) return Reply::failure(Err::read_only);
    mode_t mode = place.status.st_mode;
    if (!S_ISREG(mode) && !S_ISDIR(mode) && !S_ISLNK(mode) && !S_ISFIFO(mode)) return Reply::failure(Err::denied);
    if (request.mask & (gate::kSetOwner | gate::kSetGroup)) {
        uid_t owner = request.mask & gate::kSetOwner ? wanted.owner : static_cast<uid_t>(-1);
        gid_t group = request.mask & gate::kSetGroup ? wanted.group : static_cast<gid_t>(-1);
        if (fchownat(place.fd.get(), "", owner, group, AT_EMPTY_PATH) != 0) {
            return Reply::failure(error_from_errno(errno), errno);
        }
    }
    if (request.mask & gate::kSetMode) {
        if (S_ISLNK(mode)) return Reply::failure(Err::unsupported);
        // Never a set-id bit: the program would outlive its own view on the host. On a directory it runs nothing.
        mode_t bits = wanted.mode & (S_ISDIR(mode) ? 07777u : 0777u);
        if (chmod(ByDescriptor{place.fd}.path, bits) != 0) return Reply::failure(error_from_errno(errno), errno);
    }
    constexpr u32 kTimes = gate::kSetAccessed | gate::kSetModified | gate::kSetAccessedNow | gate::kSetModifiedNow;
    if (request.mask & kTimes) {
        auto time = [&](u32 given, u32 now, const gate::Time& value) {
            if (request.mask & now) return timespec{0, UTIME_NOW};
            if (request.mask & given) return timespec{value.seconds, static_cast<long>(value.nanoseconds)};
            return timespec{0, UTIME_OMIT};
        };
        timespec times[2] = {time(gate::kSetAccessed, gate::kSetAccessedNow, wanted.accessed),
                             time(gate::kSetModified, gate::kSetModifiedNow, wanted.modified)};
        if (utimensat(AT_FDCWD, ByDescriptor{place.fd}.path, times, 0) != 0) {
            return Reply::failure(error_from_errno(errno), errno);
        }
    }
    if (fstat(place.fd.get(), &place.status) == 0) describe(place, names_, reply);
    return reply;
}

}  // namespace postern::host
