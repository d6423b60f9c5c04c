// SPDX-License-Identifier: Apache-2.0
// Requests for what a family shares: memory, pipes, fresh picoprocesses, and listings of routes.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include "host/linux/monitor/requests_inner.hpp"
#include "host/linux/monitor/spawn.hpp"

namespace postern::host {

using gate::Err;
using gate::Right;
using gate::StreamType;

namespace {

constexpr usize kMaxConnections = 64;  ///< descriptors that the monitor holds for clients nobody has accepted yet
constexpr usize kMaxServers = 64;
constexpr usize kMaxPipes = 256;  ///< anonymous pipes that can still be given to a fresh picoprocess

}  // namespace

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
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return Reply::failure(error_from_errno(errno), errno);
    Connection connection{next_connection_++, Fd{ends[0]}, known->second.owner};
    reply.first_fd.reset(ends[1]);
    if (write(known->second.notify.get(), &connection.number, sizeof connection.number) != sizeof connection.number) {
        return Reply::failure(Err::busy);
    }
    connections_.push_back(std::move(connection));
    return reply;
}

Reply Requests::usage(const Request& request) {
    constexpr usize kMost = 64;
    u32 members[kMost];
    std::string_view given = request.second();
    if (given.size() > sizeof members || given.size() % sizeof members[0] != 0)
        return Reply::failure(Err::bad_argument);
    memcpy(members, given.data(), given.size());
    gate::MembersUsage usage = {};
    for (usize i = 0; i < given.size() / sizeof members[0]; ++i) {
        Err error = members[i] > 0x7fff'ffff ? Err::ok : family_.add_usage(static_cast<int>(members[i]), usage);
        if (error != Err::ok) return Reply::failure(error);
    }
    Reply reply;
    reply.text.assign(reinterpret_cast<const char*>(&usage), sizeof usage);
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

}  // namespace postern::host
