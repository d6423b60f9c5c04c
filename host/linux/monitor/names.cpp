// SPDX-License-Identifier: Apache-2.0
// Resolution of names across routes; see names.hpp for what must hold.
#include "host/linux/monitor/names.hpp"

#include <fcntl.h>

#include <algorithm>

#include "host/linux/monitor/names_inner.hpp"

namespace postern::host {

using core::Route;
using core::TargetKind;
using gate::Err;

namespace {

constexpr int kMaxLinks = 40;  // as Linux
constexpr usize kMostLinks = 32;
/// No `.`, `..`, empty or overlong component or trailing slash: can be matched as it is.
bool plain(std::string_view path) {
    if (path.size() == 1) return true;
    usize start = 1;
    for (usize i = 1; i <= path.size(); ++i) {
        if (i < path.size() && path[i] != '/') continue;
        usize length = i - start;
        if (length == 0 || length > 255) return false;
        if (path[start] == '.' && (length == 1 || (length == 2 && path[start + 1] == '.'))) return false;
        start = i + 1;
    }
    return true;
}

}  // namespace

Names::Names(core::RouteTable& table, bool avoid_openat2)
    : table_{table},
      states_(table.all().size()),
      avoid_openat2_{avoid_openat2},
      self_descriptors_{open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC)} {}

Names::~Names() {
    for (Route& route : table_.all()) {
        if (route.target.binding >= 0) close(route.target.binding);
        route.target.binding = -1;
    }
    if (self_descriptors_ >= 0) close(self_descriptors_);
}

void Names::set_in_worker() {
    in_worker_ = true;
    // "self" was the monitor when this was opened.
    if (self_descriptors_ >= 0) close(self_descriptors_);
    self_descriptors_ = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

Names::State& Names::state(const Route& route) { return states_[static_cast<usize>(&route - table_.all().data())]; }

void Names::note_refusal(std::string_view name, const Route* rule) {
    refused_ = true;
    if (refusals_.size() >= kMaxRefused || in_worker_ || quiet_) return;
    for (const Refusal& refusal : refusals_) {
        if (refusal.name == name) return;
    }
    refusals_.push_back({std::string{name}, rule});
}

/// Is what was found something that a route may give? Fills in `status`.
Err Names::check_object(Place& place) {
    if (fstat(place.fd.get(), &place.status) != 0) return error_from_errno(errno);
    mode_t mode = place.status.st_mode;
    if (!S_ISREG(mode) && !S_ISDIR(mode) && !S_ISLNK(mode) && !S_ISFIFO(mode) && !place.rest.empty()) {
        note_refusal(place.canonical, place.route);
        return Err::denied;
    }
    FileSystemClass kind = FileSystemClass::forbidden;
    bool known = false;
    for (const auto& device : devices_) {
        if (device.first == place.status.st_dev) kind = device.second, known = true;
    }
    if (!known) {
        kind = classify_file_system(place.fd.get());
        if (devices_.size() < 64) devices_.emplace_back(place.status.st_dev, kind);
    }
    if (kind == FileSystemClass::forbidden && (S_ISDIR(mode) || !place.rest.empty())) {
        note_refusal(place.canonical, place.route);
        return Err::denied;
    }
    return Err::ok;
}

Err Names::probe(const std::string& path, bool read_link, Place& place, std::string& link) {
    link.clear();
    core::Decision decision = table_.find("file", path);
    place.route = decision.route;
    place.canonical = path;
    place.rest.assign(decision.rest);
    place.fd.reset();
    place.readable = false;
    if (decision.route == nullptr || decision.route->target.kind == TargetKind::deny) {
        if (decision.route == nullptr && (path == "/" || table_.is_parent("file", path))) {
            place.kind = PlaceKind::synthetic;
            return Err::ok;
        }
        note_refusal(path, decision.route);
        return Err::not_found;
    }
    const Route& route = *decision.route;
    if (route.target.kind == TargetKind::memory || route.target.kind == TargetKind::library) {
        place.kind = PlaceKind::inside;
        return Err::ok;
    }
    if (route.target.kind != TargetKind::directory) return Err::unsupported;
    if (!route.stable) lasting_ = false;
    int base = -1;
    Fd owned;
    Err error = top(route, path, decision.rest, base, owned, link);
    int found = -1;
    if (error == Err::ok && link.empty()) {
        if (!place.rest.empty()) {
            if (reading_ && route.stable && gate::has(route.rights, gate::Right::read))
                found = read_beneath(base, place.rest);
            place.readable = found >= 0;
            if (found < 0 && found != -ENOENT) found = open_beneath(base, place.rest);
        } else if (owned.valid()) {
            found = owned.release();
        } else {
            found = fcntl(base, F_DUPFD_CLOEXEC, 0);
            if (found < 0) found = -errno;
        }
    } else if (error == Err::ok) {
        // A link at the top of a route with something below it: leave the rest to the caller, who walks.
        place.kind = PlaceKind::object;
        if (!place.rest.empty()) return Err::too_many_links;
        std::string target = host_path(route, path, decision.rest);
        place.fd = Fd{open(target.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC)};
        if (!place.fd.valid()) return error_from_errno(errno);
        return fstat(place.fd.get(), &place.status) == 0 ? Err::ok : Err::io;
    } else if (error == Err::not_found) {
        found = -ENOENT;
    } else {
        return error;
    }
    if (found == -EXDEV) return in_worker_ ? Err::denied : worker();
    if (found == -ENOENT) {
        if (table_.is_parent("file", path)) {
            place.kind = PlaceKind::synthetic;
            return Err::ok;
        }
        place.kind = PlaceKind::missing;
        return Err::ok;
    }
    if (found < 0) return error_from_errno(found);
    place.fd.reset(found);
    place.kind = PlaceKind::object;
    error = check_object(place);
    if (error != Err::ok) return error;
    if (S_ISLNK(place.status.st_mode) && read_link) {
        char text[kMaxPath];
        ssize_t length = readlinkat(found, "", text, sizeof text - 1);
        if (length < 0) return error_from_errno(errno);
        link.assign(text, static_cast<usize>(length));
    }
    return Err::ok;
}

Err Names::walk(std::string_view path, bool follow, Place& place) {
    std::string done;  // canonical so far; "" is the root
    std::string ahead{path};
    usize position = 0;
    int links = 0;
    std::string link;
    bool at_directory = true;  // `done` is known to be one
    for (;;) {
        while (position < ahead.size() && ahead[position] == '/') ++position;
        if (position == ahead.size()) break;
        usize end = ahead.find('/', position);
        if (end == std::string::npos) end = ahead.size();
        std::string_view component{ahead.data() + position, end - position};
        usize after = end;
        while (after < ahead.size() && ahead[after] == '/') ++after;
        bool last = after == ahead.size();
        if (component.size() > 255) return Err::name_too_long;
        if (!at_directory) return Err::not_directory;
        if (component == "." || component == "..") {
            if (component == "..") {
                usize slash = done.rfind('/');
                done.resize(slash == std::string::npos ? 0 : slash);
            }
            position = after;
            if (last) place.must_be_directory = true;
            continue;
        }
        std::string candidate = done + '/';
        candidate += component;
        if (candidate.size() >= kMaxPath) return Err::name_too_long;
        bool slash_after = after > end;
        bool followed = !last || follow || slash_after;
        Err error = probe(candidate, followed, place, link);
        if (error != Err::ok) return error;
        switch (place.kind) {
            case PlaceKind::inside:
                // A directory of this machine may be laid over a private tree: its way leads through the tree's names.
                if (!last && table_.is_parent("file", candidate)) {
                    at_directory = true;
                    break;
                }
                place.canonical = candidate;
                if (after < ahead.size())
                    place.canonical += '/' + ahead.substr(after);
                else if (slash_after)
                    place.canonical += '/';
                return place.canonical.size() < kMaxPath ? Err::ok : Err::name_too_long;
            case PlaceKind::missing:
                if (!last) return Err::not_found;
                place.must_be_directory = slash_after;
                return Err::ok;
            case PlaceKind::object:
                if (S_ISLNK(place.status.st_mode) && followed) {
                    if (++links > kMaxLinks) return Err::too_many_links;
                    if (link.empty()) return Err::not_found;
                    if (!last && place.route->stable && links_.size() < kMostLinks)
                        links_.push_back({candidate, link, place.route});
                    if (link[0] == '/') done.clear();
                    ahead = link + ahead.substr(end);
                    if (ahead.size() >= 2 * kMaxPath) return Err::name_too_long;
                    position = 0;
                    continue;
                }
                at_directory = S_ISDIR(place.status.st_mode);
                break;
            default: at_directory = true; break;
        }
        done = std::move(candidate);
        position = after;
        if (last && slash_after) place.must_be_directory = true;
    }
    if (done.empty()) done = "/";
    if (place.canonical != done || place.kind == PlaceKind::none) {
        Err error = probe(done, false, place, link);
        if (error != Err::ok) return error;
        if (place.kind == PlaceKind::missing) return Err::not_found;
    }
    if (place.must_be_directory && place.kind == PlaceKind::object && !S_ISDIR(place.status.st_mode)) {
        return Err::not_directory;
    }
    return Err::ok;
}

std::string Names::without_dots(std::string_view path) {
    if (path.back() == '/' || path.back() == '.' || path.find("/.") == std::string_view::npos) return {};
    std::string done, link;
    usize sure = 0;  // up to here there are directories and no links
    for (usize at = 0; at < path.size();) {
        usize end = path.find('/', at + 1);
        if (end == std::string_view::npos) end = path.size();
        std::string_view component = path.substr(at + 1, end - at - 1);
        at = end;
        if (component.empty() || component == ".") continue;
        if (component != "..") {
            done += '/';
            done += component;
            continue;
        }
        if (done.empty()) continue;
        if (done.size() > sure) {
            Place way;
            if (!plain(done) || probe(done, true, way, link) != Err::ok || way.kind != PlaceKind::object ||
                !S_ISDIR(way.status.st_mode))
                return {};
        }
        done.resize(done.rfind('/'));
        sure = done.size();
    }
    return done;
}

std::string Names::past_links(std::string_view path) const {
    std::string past;
    for (int steps = 0; steps < kMaxLinks; ++steps) {
        auto known = std::find_if(links_.begin(), links_.end(), [&](const Link& link) {
            // Rules may lay something over what lies behind the link: then it is not the way.
            return path.starts_with(link.path) && path.size() > link.path.size() && path[link.path.size()] == '/' &&
                   table_.find("file", path).route == link.route;
        });
        if (known == links_.end()) break;
        std::string next{known->target[0] == '/' ? std::string_view{} : directory_of(known->path)};
        if (!next.empty() && next.back() != '/') next += '/';
        next += known->target;
        next += path.substr(known->path.size());
        past = std::move(next);
        path = past;
        if (path.size() >= kMaxPath) return {};
    }
    return past;
}

Err Names::resolve(std::string_view path, bool follow, Place& place) {
    if (path.empty() || path[0] != '/') return Err::bad_argument;
    if (path.size() >= kMaxPath) return Err::name_too_long;
    crossing_ = in_worker_;
    std::string past = past_links(path);
    if (!past.empty()) path = past;
    // "/x/." is the directory that x is or leads to.
    std::string_view directory = path;
    while (directory.size() > 2 && directory.ends_with("/.")) directory.remove_suffix(2);
    if (directory.size() == path.size() || !plain(directory)) return resolve_plain(path, follow, place);
    Err error = resolve_plain(directory, true, place);
    if (error != Err::ok) return error;
    switch (place.kind) {
        case PlaceKind::object:
            if (!S_ISDIR(place.status.st_mode)) return Err::not_directory;
            place.must_be_directory = true;
            return Err::ok;
        case PlaceKind::missing: return Err::not_found;
        default: return resolve_plain(path, follow, place);
    }
}

Err Names::resolve_plain(std::string_view path, bool follow, Place& place) {
    std::string shorter = without_dots(path);
    if (!shorter.empty()) path = shorter;
    // Most names are plain and meet at most a link or two at the end or at the top of a route (/lib -> usr/lib): as
    // long as what a link makes of the name is plain again, one opening does for the whole of it.
    std::string whole, link;
    std::string_view next = path;
    for (int links = 0; plain(next); ++links) {
        if (links > kMaxLinks) return Err::too_many_links;
        place = Place{};
        Err error = probe(std::string{next}, follow, place, link);
        bool at_end = error == Err::ok && place.kind == PlaceKind::object && S_ISLNK(place.status.st_mode);
        if (error != Err::too_many_links && !(at_end && follow)) return error;
        if (link.empty()) break;  // somewhere on the way
        std::string_view top{place.canonical};
        if (!place.rest.empty()) top.remove_suffix(place.rest.size() + 1);
        std::string target = link[0] == '/' ? std::string{} : std::string{directory_of(top)} + "/";
        if (target == "//") target = "/";
        target += link;
        if (!place.rest.empty() && !at_end) target += "/" + place.rest;
        if (at_end) {
            target = link[0] == '/' ? link : std::string{directory_of(place.canonical)} + "/" + link;
            if (target.starts_with("//")) target.erase(0, 1);
        }
        if (target.size() >= kMaxPath) return Err::name_too_long;
        whole = std::move(target);
        next = whole;
    }
    for (int race = 0; race < kMaxRaces; ++race) {
        place = Place{};
        Err error = walk(path, follow, place);
        // The kernel met a link where the walk had seen none: somebody renames meanwhile.
        if (error != Err::too_many_links || place.kind == PlaceKind::object) return error;
    }
    return Err::too_many_links;
}

Err Names::parent(const Place& place, Fd& directory, std::string& last) {
    if (place.route == nullptr || place.rest.empty()) return Err::denied;
    const Route& route = *place.route;
    int base = -1;
    Fd owned;
    std::string link;
    Err error = top(route, place.canonical, place.rest, base, owned, link);
    if (error != Err::ok) return error;
    if (!link.empty()) return Err::too_many_links;
    usize slash = place.rest.rfind('/');
    last = slash == std::string::npos ? place.rest : place.rest.substr(slash + 1);
    int found;
    if (slash == std::string::npos) {
        found = owned.valid() ? owned.release() : fcntl(base, F_DUPFD_CLOEXEC, 0);
        if (found < 0) found = -errno;
    } else {
        crossing_ = in_worker_;
        found = open_beneath(base, place.rest.substr(0, slash));
    }
    if (found == -EXDEV) return in_worker_ ? Err::denied : worker();
    if (found < 0) return error_from_errno(found);
    directory.reset(found);
    struct stat status;
    if (fstat(found, &status) != 0) return error_from_errno(errno);
    if (!S_ISDIR(status.st_mode)) return Err::not_directory;
    return classify_file_system(found) == FileSystemClass::forbidden ? Err::denied : Err::ok;
}

}  // namespace postern::host
