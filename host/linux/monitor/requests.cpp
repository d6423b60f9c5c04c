// SPDX-License-Identifier: Apache-2.0
// The requests of picoprocesses; see protocol.hpp for what each means.
#include "host/linux/monitor/requests.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>

#include "gate/abi.hpp"
#include "host/linux/monitor/spawn.hpp"

namespace postern::host {

using gate::Err;
using gate::Right;
using gate::StreamType;

namespace {

constexpr usize kMaxConnections = 64;  ///< descriptors that the monitor holds for clients nobody has accepted yet
constexpr usize kMaxServers = 64;
constexpr usize kMaxPipes = 256;  ///< anonymous pipes that can still be given to a fresh picoprocess
constexpr std::string_view kSchemes[] = {"pipe", "pipe.server", "pipe.srv", "pipe.client", "tcp", "tcp.server",
                                         "tcp.srv", "tcp.client", "udp", "udp.server", "udp.srv", "dns", "http",
                                         "https", "http.server", "http.application", "null", "stdin", "stdout",
                                         "stderr", "memory", "service"};
constexpr u32 kAllAccess = gate::kAccessRead | gate::kAccessWrite | gate::kAccessAppend | gate::kAccessExecute;
constexpr u32 kAllOptions = gate::kOpenNonBlocking | gate::kOpenNoFollow | gate::kOpenDirectory | gate::kOpenLink |
                            gate::kOpenTruncate | gate::kOpenMakeDirectory | gate::kOpenTemporary;
constexpr u32 kAllMask = gate::kSetMode | gate::kSetOwner | gate::kSetGroup | gate::kSetAccessed | gate::kSetModified |
                         gate::kSetAccessedNow | gate::kSetModifiedNow;

gate::Time time_of(const timespec& time) { return {time.tv_sec, static_cast<u32>(time.tv_nsec), 0}; }

gate::Attributes synthetic_attributes(std::string_view path) {
    gate::Attributes attributes;
    attributes.type = StreamType::directory;
    attributes.mode = 0555;
    attributes.links = 2;
    u64 hash = 0xcbf29ce484222325ull;  // FNV-1a: a number that stays the same
    for (char character : path) hash = (hash ^ static_cast<u8>(character)) * 0x100000001b3ull;
    attributes.identity = hash >> 1;
    attributes.volume = 0x70;
    attributes.rights = static_cast<u32>(Right::read | Right::enumerate | Right::execute);
    attributes.stable = 1;
    return attributes;
}

void describe(const Place& place, Names& names, Reply& reply) {
    reply.text = place.canonical;
    if (place.kind == PlaceKind::synthetic) {
        reply.attributes = synthetic_attributes(place.canonical);
        reply.flags |= kReplySynthetic | kReplyOverlay;
        reply.cache = 1;
        return;
    }
    reply.attributes = attributes_of(place.status);
    reply.attributes.rights = static_cast<u32>(place.route->rights);
    reply.attributes.stable = place.route->stable;
    reply.cache = place.route->stable;
    if (S_ISDIR(place.status.st_mode) && names.overlaid(place.canonical)) reply.flags |= kReplyOverlay;
}

/// Adds the target of the link that `place` is.
void read_target(const Place& place, Reply& reply) {
    char text[kMaxPath];
    ssize_t length = readlinkat(place.fd.get(), "", text, sizeof text - 1);
    if (length > 0) reply.second.assign(text, static_cast<usize>(length));
}

/// chmod, chown and utimes of what an O_PATH descriptor names: through its own /proc entry, which no program can move.
struct ByDescriptor {
    char path[40];
    explicit ByDescriptor(const Fd& fd) { snprintf(path, sizeof path, "/proc/self/fd/%d", fd.get()); }
};

}  // namespace

gate::Attributes attributes_of(const struct stat& status) {
    gate::Attributes attributes;
    switch (status.st_mode & S_IFMT) {
        case S_IFREG: attributes.type = StreamType::file; break;
        case S_IFDIR: attributes.type = StreamType::directory; break;
        case S_IFLNK: attributes.type = StreamType::symlink; break;
        case S_IFIFO: attributes.type = StreamType::pipe; break;
        case S_IFCHR: attributes.type = StreamType::character; break;
        case S_IFSOCK: attributes.type = StreamType::socket; break;
        default: attributes.type = StreamType::unknown; break;
    }
    attributes.mode = status.st_mode & 07777;
    attributes.size = static_cast<u64>(status.st_size);
    attributes.allocated = static_cast<u64>(status.st_blocks) * 512;
    attributes.identity = status.st_ino;
    attributes.volume = status.st_dev;
    attributes.links = static_cast<u32>(status.st_nlink);
    attributes.owner = status.st_uid;
    attributes.group = status.st_gid;
    attributes.block_size = static_cast<u32>(status.st_blksize);
    attributes.accessed = time_of(status.st_atim);
    attributes.modified = time_of(status.st_mtim);
    attributes.changed = time_of(status.st_ctim);
    return attributes;
}

bool copy_request(const volatile Slot& slot, Request& request) {
    // Each field is read exactly once; what is checked is the copy.
    Ask ask = slot.ask;
    request.access = slot.access;
    request.mode = slot.mode;
    request.create = slot.create;
    request.options = slot.options;
    request.flags = slot.flags;
    request.mask = slot.mask;
    request.size = slot.size;
    request.value = slot.value;
    request.owner = slot.owner;
    request.sequence = slot.sequence;
    request.name_length = slot.name_length;
    request.second_length = slot.second_length;
    memcpy(&request.attributes, const_cast<const gate::Attributes*>(&slot.attributes), sizeof request.attributes);
    request.ask = Ask::none;
    if (request.name_length >= kMaxPath || request.second_length >= kMaxPath) return false;
    usize size = request.name_length + 1 + request.second_length + 1;
    memcpy(request.names, const_cast<const char*>(slot.names), size);
    request.names[request.name_length] = 0;
    request.names[size - 1] = 0;
    if (memchr(request.names, 0, request.name_length) != nullptr) return false;
    if (static_cast<u32>(ask) > static_cast<u32>(Ask::list)) return false;
    if (ask != Ask::process_create && memchr(request.second().data(), 0, request.second_length) != nullptr) return false;
    request.ask = ask;
    return true;
}

void write_reply(Slot& slot, const Reply& reply) {
    slot.error = reply.error;
    slot.host_error = reply.host_error;
    slot.second_descriptor = -1;
    slot.value = reply.value;
    slot.cache = reply.cache;
    slot.reply_flags = reply.flags;
    slot.attributes = reply.attributes;
    usize length = reply.text.size() < sizeof slot.names - 1 ? reply.text.size() : 0;
    memcpy(slot.names, reply.text.data(), length);
    slot.names[length] = 0;
    usize second = length + 1 + reply.second.size() < sizeof slot.names ? reply.second.size() : 0;
    memcpy(slot.names + length + 1, reply.second.data(), second);
    if (length + 1 + second < sizeof slot.names) slot.names[length + 1 + second] = 0;
    slot.text_length = static_cast<u32>(length);
    slot.second_length = static_cast<u32>(second);
}

bool Requests::find(std::string_view uri, bool follow, Place& place, Reply& reply) {
    std::string_view scheme, path;
    if (!core::split_uri(uri, scheme, path)) {
        reply.error = Err::bad_argument;
        return false;
    }
    if (scheme != "file") {
        if (std::find(std::begin(kSchemes), std::end(kSchemes), scheme) == std::end(kSchemes)) {
            reply.error = Err::bad_argument;
            return false;
        }
        core::Decision decision = names_.table().find(scheme, path.empty() ? "*" : path);
        if (decision.route == nullptr || decision.route->target.kind == core::TargetKind::deny) {
            names_.note_refusal(uri, decision.route);
            reply.error = Err::not_found;
        } else {
            reply.error = Err::unsupported;
        }
        return false;
    }
    Err error = names_.resolve(path, follow, place);
    reply.text = place.canonical;
    if (error == Err::ok && place.kind == PlaceKind::inside) {
        reply.flags |= kReplyInside;
        reply.cache = 1;
        error = Err::not_found;
    } else if (error == Err::not_found) {
        // A rule that denies or no rule at all: both last as long as the table.
        reply.cache = place.route == nullptr || place.route->target.kind == core::TargetKind::deny || place.route->stable;
    }
    reply.error = error;
    return error == Err::ok;
}

/// A name in a directory that routes make up cannot be made: that directory is there, and nobody's to write to.
void Requests::refuse_in_synthetic(const Place& place, Reply& reply) {
    if (reply.error != Err::not_found || (reply.flags & kReplyInside) || place.route != nullptr) return;
    usize slash = place.canonical.rfind('/');
    if (slash == std::string::npos) return;
    std::string_view parent = slash == 0 ? std::string_view{"/"} : std::string_view{place.canonical}.substr(0, slash);
    if (names_.table().find("file", parent).route == nullptr && names_.table().is_parent("file", parent)) {
        reply.error = Err::read_only;
        reply.cache = 0;
    }
}

bool Requests::writable(const Place& place, Reply& reply) {
    if (place.route != nullptr && gate::has(place.route->rights, Right::write)) return true;
    note_read_only(place);
    reply.error = Err::read_only;
    return false;
}

void Requests::note_read_only(const Place& place) {
    // Programs often try to write beside the system's programs (caches of compiled code); only a directory of the
    // user's own is worth a word.
    if (place.route != nullptr && !place.route->stable) names_.note_refusal(place.route->path, place.route);
}

Reply Requests::serve(const Request& request) {
    names_.take_needs_worker();
    names_.begin();
    Reply reply;
    switch (request.ask) {
        case Ask::open: reply = open(request); break;
        case Ask::attributes: reply = attributes(request); break;
        case Ask::attributes_set: reply = set_attributes(request); break;
        case Ask::remove: reply = remove(request); break;
        case Ask::rename: reply = rename(request); break;
        case Ask::link: reply = link(request); break;
        case Ask::memory: reply = memory(request); break;
        case Ask::pipe: reply = pipe(request); break;
        case Ask::process_create: reply = process(request); break;
        case Ask::process_wait: {
            if (request.value > 0x7fff'ffff) return Reply::failure(Err::bad_argument);
            auto code = family_.exit_code(static_cast<int>(request.value));
            if (!code.ok()) return Reply::failure(code.error());
            reply.value = code.value();
            break;
        }
        case Ask::log:
            if (request.flags > static_cast<u32>(LogKind::failure)) return Reply::failure(Err::bad_argument);
            family_.log(static_cast<LogKind>(request.flags), request.name());
            break;
        case Ask::exited: break;
        case Ask::named_pipe: reply = named_pipe(request); break;
        case Ask::lock:
            reply.error = locks_.apply(request.attributes.volume, request.attributes.identity,
                                       {request.owner, request.options}, request.size, request.value, request.flags);
            break;
        case Ask::list: reply = list(request); break;
        case Ask::none: reply.error = Err::bad_argument; break;
        case Ask::random: reply.error = Err::unsupported; break;
    }
    if (!names_.lasting()) reply.cache = 0;
    if (names_.take_needs_worker() && !names_.in_worker()) {
        reply = Reply{};
        reply.later = true;
    }
    return reply;
}

Reply Requests::open(const Request& request) {
    if ((request.access & ~kAllAccess) != 0 || request.create > gate::kCreateAlways || request.mode > 07777 ||
        (request.options & ~kAllOptions) != 0) {
        return Reply::failure(Err::bad_argument);
    }
    bool make_directory = (request.options & gate::kOpenMakeDirectory) != 0;
    if (make_directory && request.create != gate::kCreateAlways) return Reply::failure(Err::bad_argument);
    bool follow = (request.options & (gate::kOpenNoFollow | gate::kOpenLink)) == 0 && request.create != gate::kCreateAlways;
    Reply reply;
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
                reply.error = Err::not_found;
                reply.cache = place.route->stable;
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
    int opened = names_.reopen(place.fd.get(), flags);
    if (opened < 0) return fail(error_from_errno(opened), -opened);
    reply.first_fd.reset(opened);
    reply.flags |= kReplyDescriptor;
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

Reply Requests::create(const Request& request, Place& place) {
    Reply reply;
    reply.text = place.canonical;
    if (!writable(place, reply)) return reply;
    bool make_directory = (request.options & gate::kOpenMakeDirectory) != 0;
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
    bool write = (request.access & (gate::kAccessWrite | gate::kAccessAppend)) != 0;
    int flags = write ? (request.access & gate::kAccessRead ? O_RDWR : O_WRONLY) : O_RDONLY;
    if (request.access & gate::kAccessAppend) flags |= O_APPEND;
    // Exclusively: a link that appears at this name meanwhile is not followed, nor is anything opened that exists.
    int made = openat(directory.get(), last.c_str(), flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, request.mode & 0777);
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
        reply.error = Err::not_found;
        reply.cache = place.route->stable;
        return reply;
    }
    describe(place, names_, reply);
    if (place.kind == PlaceKind::object && S_ISLNK(place.status.st_mode)) read_target(place, reply);
    return reply;
}

Reply Requests::set_attributes(const Request& request) {
    if ((request.options & ~kAllOptions) != 0 || (request.mask & ~kAllMask) != 0) return Reply::failure(Err::bad_argument);
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
    if (!S_ISREG(mode) && !S_ISDIR(mode) && !S_ISLNK(mode)) return Reply::failure(Err::denied);
    if (request.mask & (gate::kSetOwner | gate::kSetGroup)) {
        uid_t owner = request.mask & gate::kSetOwner ? wanted.owner : static_cast<uid_t>(-1);
        gid_t group = request.mask & gate::kSetGroup ? wanted.group : static_cast<gid_t>(-1);
        if (fchownat(place.fd.get(), "", owner, group, AT_EMPTY_PATH) != 0) {
            return Reply::failure(error_from_errno(errno), errno);
        }
    }
    if (request.mask & gate::kSetMode) {
        if (S_ISLNK(mode)) return Reply::failure(Err::unsupported);
        // Never a set-id bit: the program would outlive its own view on the host.
        mode_t bits = wanted.mode & (S_ISDIR(mode) ? 01777u : 0777u);
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

Reply Requests::remove(const Request& request) {
    if (request.flags > 1) return Reply::failure(Err::bad_argument);
    Place place;
    Reply reply;
    if (!find(request.name(), false, place, reply)) return reply;
    if (place.kind == PlaceKind::missing) return Reply::failure(Err::not_found);
    if (place.kind == PlaceKind::synthetic) return Reply::failure(request.flags ? Err::busy : Err::is_directory);
    if (!writable(place, reply)) return reply;
    if (names_.table().is_parent("file", place.canonical)) return Reply::failure(Err::busy);
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
    if ((request.flags & ~(gate::kRenameNoReplace | gate::kRenameExchange)) != 0) return Reply::failure(Err::bad_argument);
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
    if (names_.table().is_parent("file", from.canonical) || names_.table().is_parent("file", to.canonical)) {
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

Reply Requests::memory(const Request& request) {
    if (request.size == 0 || request.size > (1ull << 46)) return Reply::failure(Err::bad_argument);
    // What is handed out counts for good: descriptors of it may live anywhere in the family.
    u64 size = page_ceil(request.size);
    if (size > memory_left_) return Reply::failure(Err::no_quota);
    Reply reply;
    reply.first_fd = make_memory_file("postern-memory", size);
    if (!reply.first_fd.valid()) return Reply::failure(error_from_errno(errno), errno);
    memory_left_ -= size;
    reply.flags = kReplyDescriptor;
    return reply;
}

Reply Requests::pipe(const Request&) {
    // No number of the monitor's own is used up, but the kernel counts pipe pages per user.
    if (pipes_left_ == 0) return Reply::failure(Err::no_quota);
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return Reply::failure(error_from_errno(errno), errno);
    --pipes_left_;
    struct stat status;
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
    Fd held{::open(path, O_PATH | O_CLOEXEC)};
    if (held.valid() && fstat(held.get(), &status) == 0) {
        if (pipes_.size() < kMaxPipes) pipes_.push_back({});
        Pipe& place = pipes_[next_pipe_++ % kMaxPipes];
        place.identity = status.st_ino;
        place.path = std::move(held);
    }
    Reply reply;
    reply.first_fd.reset(ends[0]);
    reply.second_fd.reset(ends[1]);
    reply.flags = kReplyDescriptor;
    return reply;
}

Reply Requests::process(const Request& request) {
    std::vector<std::string> arguments;
    std::string_view rest = request.second();
    while (!rest.empty()) {
        usize end = rest.find('\0');
        if (end == std::string_view::npos) end = rest.size();
        arguments.emplace_back(rest.substr(0, end));
        rest.remove_prefix(end < rest.size() ? end + 1 : end);
    }
    // The program must be there to be started; where the library OS serves the name itself, it finds out.
    Place place;
    Reply reply;
    if (!find(request.name(), true, place, reply)) {
        if (!(reply.flags & kReplyInside)) return reply;
    } else if (place.kind == PlaceKind::missing) {
        return Reply::failure(Err::not_found);
    } else if (place.kind != PlaceKind::object || !S_ISREG(place.status.st_mode)) {
        return Reply::failure(Err::denied);
    }
    std::string_view scheme, path;
    core::split_uri(request.name(), scheme, path);
    if (arguments.empty()) arguments.emplace_back(path);
    u64 identities[3] = {request.attributes.identity, request.attributes.volume, request.attributes.size};
    Fd streams[3];
    for (u32 i = 0; i < 3; ++i) {
        auto stream = stream_for((request.mask >> (8 * i)) & 0xff, identities[i]);
        if (!stream.ok()) return Reply::failure(stream.error());
        streams[i] = stream.take();
    }
    auto process = family_.create_process(std::string{path}, arguments, streams);
    if (!process.ok()) return Reply::failure(process.error());
    reply = Reply{};
    reply.value = static_cast<u64>(process.value());
    return reply;
}

Result<Fd, Err> Requests::stream_for(u32 kind, u64 identity) {
    switch (kind) {
        case kStreamInherit: return Fd{};
        case kStreamNull: return Fd{::open("/dev/null", O_RDWR | O_CLOEXEC)};
        case kStreamInput: return family_.standard_stream(0);
        case kStreamOutput: return family_.standard_stream(1);
        case kStreamError: return family_.standard_stream(2);
        case kStreamPipeRead:
        case kStreamPipeWrite:
            for (const Pipe& pipe : pipes_) {
                if (pipe.identity != identity) continue;
                // O_NONBLOCK only against waiting for the other side; the new picoprocess has a description of its own.
                int fd = names_.reopen(pipe.path.get(), (kind == kStreamPipeRead ? O_RDONLY : O_WRONLY) | O_NONBLOCK);
                if (fd < 0) return Failure{error_from_errno(fd)};
                fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
                return Fd{fd};
            }
            return Failure{Err::unsupported};
        default: return Failure{Err::bad_argument};
    }
}

Reply Requests::named_pipe(const Request& request) {
    Reply reply;
    reply.flags = kReplyDescriptor;
    if (request.flags == kNamedPipeAccept) {
        for (usize i = 0; i < connections_.size(); ++i) {
            if (connections_[i].number != request.size) continue;
            reply.first_fd = std::move(connections_[i].server_side);
            connections_.erase(connections_.begin() + static_cast<long>(i));
            return reply;
        }
        return Reply::failure(Err::not_found);
    }
    std::string_view scheme, name;
    if (!core::split_uri(request.name(), scheme, name) || name.empty()) return Reply::failure(Err::bad_argument);
    if (names_.table().find(scheme == "pipe.srv" ? "pipe.server" : scheme, name).route == nullptr) {
        return Reply::failure(Err::not_found);
    }
    auto known = servers_.find(name);
    if (known != servers_.end()) {
        pollfd event{known->second.notify.get(), 0, 0};
        if (poll(&event, 1, 0) > 0 && (event.revents & POLLERR)) {  // the server has closed its end
            servers_.erase(known);
            known = servers_.end();
        }
    }
    if (request.flags == kNamedPipeServe) {
        if (known != servers_.end()) return Reply::failure(Err::exists);
        if (servers_.size() >= kMaxServers) return Reply::failure(Err::no_quota);
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) != 0) return Reply::failure(error_from_errno(errno), errno);
        fcntl(ends[1], F_SETFL, O_NONBLOCK);  // the write end's own description: the server's reads still block
        reply.first_fd.reset(ends[0]);
        PipeServer server;
        server.notify.reset(ends[1]);
        server.owner = static_cast<int>(request.owner);
        servers_.emplace(std::string{name}, std::move(server));
        return reply;
    }
    if (request.flags != kNamedPipeConnect) return Reply::failure(Err::bad_argument);
    if (known == servers_.end()) return Reply::failure(Err::not_found);
    if (connections_.size() >= kMaxConnections) return Reply::failure(Err::busy);
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return Reply::failure(error_from_errno(errno), errno);
    Connection connection{next_connection_++, Fd{ends[0]}, known->second.owner};
    reply.first_fd.reset(ends[1]);
    if (write(known->second.notify.get(), &connection.number, sizeof connection.number) != sizeof connection.number) {
        return Reply::failure(Err::busy);
    }
    connections_.push_back(std::move(connection));
    return reply;
}

Reply Requests::list(const Request& request) {
    Place place;
    Reply reply;
    if (!find(request.name(), true, place, reply)) return reply;
    if (place.kind == PlaceKind::missing) return Reply::failure(Err::not_found);
    if (place.kind == PlaceKind::object && !S_ISDIR(place.status.st_mode)) return Reply::failure(Err::not_directory);
    std::vector<Names::Child> children;
    names_.children(place.canonical, children);
    std::string records;
    u64 position = request.size;
    for (; position < children.size(); ++position) {
        const Names::Child& child = children[position];
        usize size = align_up(offsetof(gate::DirectoryRecord, name) + child.name.size() + 1, 8);
        if (child.name.size() > 255 || records.size() + size > 2 * kMaxPath - 8) break;
        gate::DirectoryRecord record = {};
        std::string path = place.canonical == "/" ? "/" + child.name : place.canonical + "/" + child.name;
        record.identity = synthetic_attributes(path).identity;
        record.cookie = position + 1;
        record.size = static_cast<u16>(size);
        record.type = child.type;
        record.name_length = static_cast<u8>(child.name.size());
        usize start = records.size();
        records.resize(start + size, '\0');
        memcpy(records.data() + start, &record, offsetof(gate::DirectoryRecord, name));
        memcpy(records.data() + start + offsetof(gate::DirectoryRecord, name), child.name.data(), child.name.size());
    }
    reply.text = std::move(records);
    reply.value = position;
    if (position < children.size()) reply.flags |= kReplyMore;
    return reply;
}

void Requests::ended(int process) {
    locks_.ended(static_cast<u32>(process));
    for (auto server = servers_.begin(); server != servers_.end();) {
        server = server->second.owner == process ? servers_.erase(server) : std::next(server);
    }
    std::erase_if(connections_, [&](const Connection& c) { return c.owner == process; });
}

}  // namespace postern::host
