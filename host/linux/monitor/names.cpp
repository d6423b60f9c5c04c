// SPDX-License-Identifier: Apache-2.0
// Resolution of names; see names.hpp for what must hold.
#include "host/linux/monitor/names.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/vfs.h>

namespace postern::host {

using core::Route;
using core::TargetKind;
using gate::Err;

namespace {

constexpr int kMaxLinks = 40;  // as Linux
constexpr int kMaxRaces = 8;

long openat2(int directory, const char* path, u64 flags, u64 resolve) {
    open_how how = {};
    how.flags = flags;
    how.resolve = resolve;
    long result = syscall(SYS_openat2, directory, path, &how, sizeof how);
    return result < 0 ? -errno : result;
}

/// No `.`, `..`, empty component or trailing slash: can be matched as it is.
bool plain(std::string_view path) {
    if (path.size() == 1) return true;
    usize start = 1;
    for (usize i = 1; i <= path.size(); ++i) {
        if (i < path.size() && path[i] != '/') continue;
        usize length = i - start;
        if (length == 0 || (path[start] == '.' && (length == 1 || (length == 2 && path[start + 1] == '.')))) return false;
        start = i + 1;
    }
    return true;
}

std::string_view directory_of(std::string_view path) {
    usize slash = path.rfind('/');
    return slash == 0 || slash == std::string_view::npos ? std::string_view{"/"} : path.substr(0, slash);
}

/// The host path of what a route covers at `path`: for a glob, the component that matched stands in for the pattern's.
std::string host_path(const Route& route, std::string_view path, std::string_view rest) {
    if (route.match != core::Match::glob) return std::string{route.target.name};
    std::string_view matched = rest.empty() ? path : path.substr(0, path.size() - rest.size() - 1);
    std::string result{directory_of(route.target.name)};
    result += matched.substr(matched.rfind('/'));
    return result;
}

gate::StreamType type_of(mode_t mode) {
    if (S_ISREG(mode)) return gate::StreamType::file;
    if (S_ISDIR(mode)) return gate::StreamType::directory;
    if (S_ISLNK(mode)) return gate::StreamType::symlink;
    if (S_ISFIFO(mode)) return gate::StreamType::pipe;
    if (S_ISCHR(mode)) return gate::StreamType::character;
    return gate::StreamType::unknown;
}

}  // namespace

Err error_from_errno(int error) {
    switch (error < 0 ? -error : error) {
        case 0: return Err::ok;
        case ENOENT: return Err::not_found;
        case EEXIST: return Err::exists;
        case ENOTDIR: return Err::not_directory;
        case EISDIR: return Err::is_directory;
        case ENOTEMPTY: return Err::not_empty;
        case ELOOP:
        case EMLINK: return Err::too_many_links;
        case ENAMETOOLONG: return Err::name_too_long;
        case EXDEV: return Err::cross_device;
        case EROFS: return Err::read_only;
        case ENOSPC:
        case EDQUOT: return Err::no_space;
        case EFBIG: return Err::too_big;
        case EBUSY:
        case ETXTBSY: return Err::busy;
        case EACCES:
        case EPERM: return Err::denied;
        case ENOMEM: return Err::no_memory;
        case EMFILE:
        case ENFILE: return Err::no_quota;
        case EINVAL: return Err::bad_argument;
        case EAGAIN: return Err::would_block;
        case EOPNOTSUPP:
        case ENOSYS: return Err::unsupported;
        default: return Err::io;
    }
}

FileSystemClass classify_file_system(int descriptor) {
    struct statfs status;
    if (fstatfs(descriptor, &status) != 0) return FileSystemClass::forbidden;
    switch (static_cast<unsigned>(status.f_type)) {
        case PROC_SUPER_MAGIC:
        case SYSFS_MAGIC:
        case DEBUGFS_MAGIC:
        case TRACEFS_MAGIC:
        case SECURITYFS_MAGIC:
        case SELINUX_MAGIC:
        case SMACK_MAGIC:
        case CGROUP_SUPER_MAGIC:
        case CGROUP2_SUPER_MAGIC:
        case BPF_FS_MAGIC:
        case PSTOREFS_MAGIC:
        case EFIVARFS_MAGIC:
        case DEVPTS_SUPER_MAGIC:
        case BINFMTFS_MAGIC:
        case NSFS_MAGIC:
        case 0x62656570:  // configfs
        case 0x65735543:  // fusectl
        case 0x19800202:  // mqueue
        case RDTGROUP_SUPER_MAGIC: return FileSystemClass::forbidden;
        case FUSE_SUPER_MAGIC:
        case NFS_SUPER_MAGIC:
        case SMB_SUPER_MAGIC:
        case SMB2_SUPER_MAGIC:
        case CIFS_SUPER_MAGIC:
        case CEPH_SUPER_MAGIC:
        case AFS_SUPER_MAGIC:
        case AFS_FS_MAGIC:
        case CODA_SUPER_MAGIC:
        case AUTOFS_SUPER_MAGIC:
        case V9FS_MAGIC: return FileSystemClass::slow;
        default: return FileSystemClass::plain;
    }
}

Names::Names(core::RouteTable& table, bool avoid_openat2)
    : table_{table}, states_(table.all().size()), avoid_openat2_{avoid_openat2},
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
    if (refusals_.size() >= kMaxRefused || in_worker_) return;
    for (const Refusal& refusal : refusals_) {
        if (refusal.name == name) return;
    }
    refusals_.push_back({std::string{name}, rule});
}

int Names::reopen(int fd, int flags) {
    char number[16];
    snprintf(number, sizeof number, "%d", fd);
    int result = openat(self_descriptors_, number, flags | O_CLOEXEC | O_NOCTTY);
    return result < 0 ? -errno : result;
}

/// Link-free opening below `top` for kernels without openat2: no component of `rest` is `.` or `..`, and none is
/// followed, so the walk cannot leave.
int Names::walk_beneath(int top, const std::string& rest) {
    Fd current;
    int directory = top;
    usize start = 0;
    struct stat first;
    if (fstat(top, &first) != 0) return -errno;
    for (;;) {
        usize end = rest.find('/', start);
        bool last = end == std::string::npos;
        std::string component = rest.substr(start, last ? std::string::npos : end - start);
        Fd next{openat(directory, component.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC)};
        if (!next.valid()) return -errno;
        struct stat status;
        if (fstat(next.get(), &status) != 0) return -errno;
        if (status.st_dev != first.st_dev && !crossing_) return -EXDEV;
        if (last) return next.release();
        if (S_ISLNK(status.st_mode)) return -ELOOP;
        if (!S_ISDIR(status.st_mode)) return -ENOTDIR;
        current = std::move(next);
        directory = current.get();
        start = end + 1;
    }
}

int Names::open_beneath(int top, const std::string& rest) {
    if (avoid_openat2_) return walk_beneath(top, rest);
    u64 resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;
    if (!crossing_) resolve |= RESOLVE_NO_XDEV;
    for (int i = 0; i < kMaxRaces; ++i) {
        long fd = openat2(top, rest.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC, resolve);
        if (fd == -ENOSYS || fd == -EPERM) {  // EPERM: an older container's filter
            avoid_openat2_ = true;
            return walk_beneath(top, rest);
        }
        if (fd != -EAGAIN) return static_cast<int>(fd);
    }
    return -EIO;
}

Err Names::top(const Route& route, std::string_view path, std::string_view rest, int& fd, Fd& owned,
               std::string& link) {
    State& known = state(route);
    if (route.target.binding >= 0) {
        if (known.slow && !in_worker_) return worker();
        fd = route.target.binding;
        return Err::ok;
    }
    if (!known.link.empty()) {
        link = known.link;
        return Err::ok;
    }
    if (known.error != Err::ok) return known.error;
    std::string place = host_path(route, path, rest);
    // A default's last component may be a link of the host; its directory (`/`, `/etc`) is the administrator's.
    int flags = O_PATH | O_CLOEXEC | (route.target.link ? O_NOFOLLOW : 0);
    Fd opened{open(place.c_str(), flags)};
    bool lasting = route.stable && route.match != core::Match::glob;
    if (!opened.valid()) {
        Err error = error_from_errno(errno);
        if (lasting && error == Err::not_found) known.error = error;
        return error;
    }
    struct stat status;
    if (fstat(opened.get(), &status) != 0) return error_from_errno(errno);
    if (S_ISLNK(status.st_mode)) {
        char text[kMaxPath];
        ssize_t length = readlinkat(opened.get(), "", text, sizeof text - 1);
        if (length <= 0) return Err::io;
        link.assign(text, static_cast<usize>(length));
        if (lasting) known.link = link;
        return Err::ok;
    }
    FileSystemClass kind = classify_file_system(opened.get());
    if (kind == FileSystemClass::forbidden) {
        // A route that names such a thing exactly is the user's own word; what lies below it is not offered.
        if (S_ISDIR(status.st_mode)) return Err::denied;
    }
    known.slow = kind == FileSystemClass::slow;
    fd = opened.get();
    // Files are opened anew each time: editors replace them. A directory stays the one that was named at start.
    if (S_ISDIR(status.st_mode) && route.match != core::Match::glob) {
        const_cast<Route&>(route).target.binding = opened.release();
    } else {
        owned = std::move(opened);
    }
    return known.slow && !in_worker_ ? worker() : Err::ok;
}

/// Is what was found something that a route may give? Fills in `status`.
Err Names::check_object(Place& place) {
    if (fstat(place.fd.get(), &place.status) != 0) return error_from_errno(errno);
    mode_t mode = place.status.st_mode;
    if (!S_ISREG(mode) && !S_ISDIR(mode) && !S_ISLNK(mode) && !place.rest.empty()) {
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

Err Names::probe(const std::string& path, Place& place, std::string& link) {
    link.clear();
    core::Decision decision = table_.find("file", path);
    place.route = decision.route;
    place.canonical = path;
    place.rest.assign(decision.rest);
    place.fd.reset();
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
            found = open_beneath(base, place.rest);
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
    if (S_ISLNK(place.status.st_mode)) {
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
        Err error = probe(candidate, place, link);
        if (error != Err::ok) return error;
        bool slash_after = after > end;
        switch (place.kind) {
            case PlaceKind::inside:
                // A directory of this machine may be laid over a private tree: its way leads through the tree's names.
                if (!last && table_.is_parent("file", candidate)) {
                    at_directory = true;
                    break;
                }
                place.canonical = candidate;
                if (after < ahead.size()) place.canonical += '/' + ahead.substr(after);
                else if (slash_after) place.canonical += '/';
                return place.canonical.size() < kMaxPath ? Err::ok : Err::name_too_long;
            case PlaceKind::missing:
                if (!last) return Err::not_found;
                place.must_be_directory = slash_after;
                return Err::ok;
            case PlaceKind::object:
                if (S_ISLNK(place.status.st_mode) && (!last || follow || slash_after)) {
                    if (++links > kMaxLinks) return Err::too_many_links;
                    if (link.empty()) return Err::not_found;
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
        Err error = probe(done, place, link);
        if (error != Err::ok) return error;
        if (place.kind == PlaceKind::missing) return Err::not_found;
    }
    if (place.must_be_directory && place.kind == PlaceKind::object && !S_ISDIR(place.status.st_mode)) {
        return Err::not_directory;
    }
    return Err::ok;
}

Err Names::resolve(std::string_view path, bool follow, Place& place) {
    if (path.empty() || path[0] != '/') return Err::bad_argument;
    if (path.size() >= kMaxPath) return Err::name_too_long;
    crossing_ = in_worker_;
    // Most names are plain and meet at most a link or two at the end or at the top of a route (/lib -> usr/lib): as long
    // as what a link makes of the name is plain again, one opening does for the whole of it.
    std::string whole, link;
    std::string_view next = path;
    for (int links = 0; plain(next); ++links) {
        if (links > kMaxLinks) return Err::too_many_links;
        place = Place{};
        Err error = probe(std::string{next}, place, link);
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

bool Names::overlaid(std::string_view path) const {
    core::Decision own = table_.find("file", path);
    for (const Route& route : table_.all()) {
        if (&route == own.route) break;  // later rules are hidden by the one that covers the directory
        if (route.scheme != "file" || route.path.size() <= path.size()) continue;
        if (path != "/" && (!route.path.starts_with(path) || route.path[path.size()] != '/')) continue;
        return true;
    }
    return false;
}

void Names::children(std::string_view path, std::vector<Child>& out) {
    core::Decision own = table_.find("file", path);
    auto add = [&](std::string_view name, u8 type) {
        for (const Child& child : out) {
            if (child.name == name) return;
        }
        out.push_back({std::string{name}, type});
    };
    std::string prefix = path == "/" ? "/" : std::string{path} + "/";
    for (const Route& route : table_.all()) {
        if (&route == own.route) break;
        if (route.scheme != "file" || !route.path.starts_with(prefix) || route.path.size() == prefix.size()) continue;
        std::string_view below = route.path.substr(prefix.size());
        usize slash = below.find('/');
        std::string name{below.substr(0, slash)};
        if (slash != std::string_view::npos) {
            if (route.target.kind != TargetKind::deny && own.route == nullptr) {
                // A directory only for the sake of what lies below it, which must be there.
                Place place;
                if (resolve(route.path, false, place) == Err::ok && place.kind != PlaceKind::missing) {
                    add(name, static_cast<u8>(gate::StreamType::directory));
                }
            }
            continue;
        }
        if (route.match == core::Match::glob && name.find('*') != std::string::npos) {
            if (route.target.kind != TargetKind::directory) continue;
            std::string host{directory_of(route.target.name)};
            DIR* directory = opendir(host.c_str());
            if (directory == nullptr) continue;
            while (const dirent* entry = readdir(directory)) {
                if (!core::glob_covers(name, entry->d_name)) continue;
                core::Decision decision = table_.find("file", prefix + entry->d_name);
                if (decision.route == &route) add(entry->d_name, static_cast<u8>(gate::StreamType::unknown));
            }
            closedir(directory);
            continue;
        }
        if (route.target.kind == TargetKind::deny) {
            if (table_.find("file", route.path).route == &route) add(name, kListHidden);
            continue;
        }
        if (route.target.kind != TargetKind::directory) {
            add(name, static_cast<u8>(gate::StreamType::directory));
            continue;
        }
        Place place;
        if (resolve(route.path, false, place) != Err::ok) continue;
        if (place.kind == PlaceKind::object) add(name, static_cast<u8>(type_of(place.status.st_mode)));
        if (place.kind == PlaceKind::synthetic) add(name, static_cast<u8>(gate::StreamType::directory));
    }
}

}  // namespace postern::host
