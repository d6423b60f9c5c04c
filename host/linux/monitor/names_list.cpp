// SPDX-License-Identifier: Apache-2.0
// Names that come from routes in directories of others.
#include <dirent.h>

#include "host/linux/monitor/names_inner.hpp"

namespace postern::host {

using core::Route;
using core::TargetKind;
using gate::Err;

namespace {

gate::StreamType type_of(mode_t mode) {
    if (S_ISREG(mode)) return gate::StreamType::file;
    if (S_ISDIR(mode)) return gate::StreamType::directory;
    if (S_ISLNK(mode)) return gate::StreamType::symlink;
    if (S_ISFIFO(mode)) return gate::StreamType::pipe;
    if (S_ISCHR(mode)) return gate::StreamType::character;
    return gate::StreamType::unknown;
}

}  // namespace

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
