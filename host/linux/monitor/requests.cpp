// SPDX-License-Identifier: Apache-2.0
// Slots in and out, and where each request goes; see protocol.hpp for what each means.
#include "host/linux/monitor/requests.hpp"

#include <algorithm>

#include "base/hash.hpp"
#include "host/linux/monitor/requests_inner.hpp"

namespace postern::host {

using gate::Err;
using gate::Right;
using gate::StreamType;

namespace {

constexpr std::string_view kSchemes[] = {
    "pipe", "pipe.server", "pipe.srv", "pipe.client", "tcp",    "tcp.server", "tcp.srv",     "tcp.client",
    "udp",  "udp.server",  "udp.srv",  "dns",         "http",   "https",      "http.server", "http.application",
    "null", "stdin",       "stdout",   "stderr",      "memory", "service"};

gate::Time time_of(const timespec& time) { return {time.tv_sec, static_cast<u32>(time.tv_nsec), 0}; }

}  // namespace

gate::Attributes synthetic_attributes(std::string_view path) {
    gate::Attributes attributes;
    attributes.type = StreamType::directory;
    attributes.mode = 0555;
    attributes.links = 2;
    attributes.identity = hash_of(path) >> 1;  // a number that stays the same
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
    if (S_ISDIR(place.status.st_mode) && place.rest.empty() && names.pinned(*place.route)) reply.flags |= kReplyPinned;
    if (S_ISDIR(place.status.st_mode))
        reply.flags |= names.overlaid(place.canonical) ? u32{kReplyOverlay} : u32{kReplyBare};
}

void describe_missing(const Place& place, Names& names, Reply& reply) {
    reply.error = Err::not_found;
    reply.cache = place.route->stable;
    if (place.route->stable && !place.rest.empty() && !names.overlaid(place.canonical)) reply.flags |= kReplyBare;
}

void read_target(const Place& place, Reply& reply) {
    char text[kMaxPath];
    ssize_t length = readlinkat(place.fd.get(), "", text, sizeof text - 1);
    if (length > 0) reply.second.assign(text, static_cast<usize>(length));
}

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
    if (static_cast<u32>(ask) >= kAskCount) return false;
    if (ask != Ask::process_create && ask != Ask::usage &&
        memchr(request.second().data(), 0, request.second_length) != nullptr)
        return false;
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
        reply.cache =
            place.route == nullptr || place.route->target.kind == core::TargetKind::deny || place.route->stable;
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
    names_.take_refused();
    names_.begin();
    names_.will_read(false);
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
        case Ask::tree: reply = tree(request); break;
        case Ask::usage: reply = usage(request); break;
        case Ask::none: reply.error = Err::bad_argument; break;
        case Ask::random: reply.error = Err::unsupported; break;
    }
    reply.refused = names_.take_refused();
    if (!names_.lasting()) reply.cache = 0;
    if (reply.cache == 0) reply.flags &= ~u32{kReplyBare};
    if (names_.take_needs_worker() && !names_.in_worker()) {
        reply = Reply{};
        reply.later = true;
    }
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
