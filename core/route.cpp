// SPDX-License-Identifier: Apache-2.0
// Matching and printing of routes.
#include "core/route.hpp"

namespace postern::core {

namespace {

bool starts_with(std::string_view text, std::string_view prefix) {
    return text.size() >= prefix.size() && memcmp(text.data(), prefix.data(), prefix.size()) == 0;
}

std::string_view tail(std::string_view text, usize from) { return {text.data() + from, text.size() - from}; }

bool equal(std::string_view a, std::string_view b) {
    return a.size() == b.size() && memcmp(a.data(), b.data(), a.size()) == 0;
}

/// Absolute, without `.`, `..`, empty components or a trailing slash. Schemes other than file: name anything.
bool normal(const Route& route) {
    if (route.path.empty()) return false;
    if (!equal(route.scheme, "file")) return true;
    if (route.path[0] != '/') return false;
    if (route.path.size() == 1) return true;
    usize start = 1;
    for (usize i = 1; i <= route.path.size(); ++i) {
        if (i < route.path.size() && route.path[i] != '/') continue;
        std::string_view component{route.path.data() + start, i - start};
        if (component.empty() || equal(component, ".") || equal(component, "..")) return false;
        start = i + 1;
    }
    return true;
}

/// What of `path` is below `pattern` when pattern is path itself or an ancestor of it.
bool covers(std::string_view pattern, std::string_view path, std::string_view& rest) {
    if (pattern.size() == 1 && pattern[0] == '/') {
        rest = path.empty() ? path : tail(path, 1);
        return true;
    }
    if (!starts_with(path, pattern)) return false;
    if (path.size() == pattern.size()) {
        rest = {};
        return true;
    }
    if (path[pattern.size()] != '/') return false;
    rest = tail(path, pattern.size() + 1);
    return true;
}

/// As covers(), for a pattern whose last component has stars.
bool glob_rest(std::string_view pattern, std::string_view path, std::string_view& rest) {
    usize slash = pattern.size();
    while (slash > 0 && pattern[slash - 1] != '/') --slash;
    if (path.size() <= slash || !starts_with(path, {pattern.data(), slash})) return false;
    usize end = slash;
    while (end < path.size() && path[end] != '/') ++end;
    if (!glob_covers(tail(pattern, slash), {path.data() + slash, end - slash})) return false;
    rest = end == path.size() ? std::string_view{} : tail(path, end + 1);
    return true;
}

bool matches(const Route& route, std::string_view path, std::string_view& rest) {
    rest = {};
    switch (route.match) {
        case Match::exact: return equal(route.path, path);
        case Match::subtree: return covers(route.path, path, rest);
        case Match::glob: return glob_rest(route.path, path, rest);
    }
    return false;
}

void print_rights(Text& out, gate::Right rights) {
    out.put(gate::has(rights, gate::Right::read) ? 'r' : '-');
    out.put(gate::has(rights, gate::Right::write) ? 'w' : '-');
    out.put(gate::has(rights, gate::Right::execute) ? 'x' : '-');
}

void print_quoted(Text& out, std::string_view text) {
    out.put('"');
    for (char character : text) {
        auto byte = static_cast<u8>(character);
        if (byte == '"' || byte == '\\') {
            out.add('\\', character);
        } else if (byte < 0x20 || byte == 0x7f) {
            out.add("\\u", Hex{byte, 4});
        } else {
            out.put(character);
        }
    }
    out.put('"');
}

const char* match_name(Match match) {
    switch (match) {
        case Match::exact: return "exact";
        case Match::subtree: return "subtree";
        case Match::glob: return "glob";
    }
    return "?";
}

}  // namespace

bool glob_covers(std::string_view pattern, std::string_view text) {
    usize p = 0, t = 0, star = pattern.size() + 1, retry = 0;
    while (t < text.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            retry = t;
        } else if (p < pattern.size() && pattern[p] == text[t]) {
            ++p, ++t;
        } else if (star <= pattern.size()) {
            p = star + 1;
            t = ++retry;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*') ++p;
    return p == pattern.size();
}

bool split_uri(std::string_view uri, std::string_view& scheme, std::string_view& path) {
    for (usize i = 0; i < uri.size(); ++i) {
        if (uri[i] == '/') return false;
        if (uri[i] != ':') continue;
        scheme = {uri.data(), i};
        path = tail(uri, i + 1);
        return i > 0;
    }
    return false;
}

const char* target_name(TargetKind kind) {
    switch (kind) {
        case TargetKind::deny: return "deny";
        case TargetKind::directory: return "host";
        case TargetKind::memory: return "memory";
        case TargetKind::library: return "library";
        case TargetKind::stream: return "stream";
        case TargetKind::family: return "family";
        case TargetKind::service: return "service";
    }
    return "?";
}

gate::Res<std::string_view> RouteTable::keep(std::string_view text) {
    if (text.size() > text_.size() - used_) return Failure{gate::Err::no_quota};
    char* place = text_.data() + used_;
    if (!text.empty()) memcpy(place, text.data(), text.size());  // an empty text may have no place
    used_ += text.size();
    return std::string_view{place, text.size()};
}

gate::Res<void> RouteTable::add(const Route& route) {
    if (!normal(route)) return Failure{gate::Err::bad_argument};
    if (count_ == routes_.size()) return Failure{gate::Err::no_quota};
    Route copy = route;
    copy.scheme = TRY(keep(route.scheme));
    copy.path = TRY(keep(route.path));
    copy.target.name = TRY(keep(route.target.name));
    copy.origin = TRY(keep(route.origin));
    copy.suggestion = TRY(keep(route.suggestion));
    routes_[count_++] = copy;
    return {};
}

Decision RouteTable::find(std::string_view scheme, std::string_view path) const {
    for (u32 i = 0; i < count_; ++i) {
        const Route& route = routes_[i];
        std::string_view rest;
        if (equal(route.scheme, scheme) && matches(route, path, rest)) return {&route, rest};
    }
    return {};
}

std::string_view RouteTable::below_path(std::string_view path, std::string_view parent) {
    std::string_view rest;
    return covers(parent, path, rest) ? rest : std::string_view{};
}

bool RouteTable::is_parent(std::string_view scheme, std::string_view path) const {
    for (u32 i = 0; i < count_; ++i) {
        const Route& route = routes_[i];
        if (route.target.kind == TargetKind::deny || !equal(route.scheme, scheme)) continue;
        if (!below_path(route.path, path).empty()) return true;
    }
    return false;
}

bool RouteTable::is_bound(std::string_view scheme, std::string_view path) const {
    for (u32 i = 0; i < count_; ++i) {
        const Route& route = routes_[i];
        if (route.match == Match::glob || !equal(route.scheme, scheme)) continue;
        if (!below_path(route.path, path).empty()) return true;
    }
    return false;
}

void print_route(Text& out, const Route& route) {
    out.add(route.scheme, ':', route.path);
    if (route.match != Match::exact) out.add(route.path.size() == 1 && route.path[0] == '/' ? "**" : "/**");
    out.add(" -> ", target_name(route.target.kind));
    if (!route.target.name.empty()) out.add(' ', route.target.name);
    if (route.target.kind != TargetKind::deny) {
        out.put(' ');
        print_rights(out, route.rights);
    }
    out.add(" (", route.origin, ')');
}

void RouteTable::print(Text& out) const {
    for (u32 i = 0; i < count_; ++i) {
        print_route(out, routes_[i]);
        out.put('\n');
    }
}

void RouteTable::print_json(Text& out) const {
    out.put('[');
    for (u32 i = 0; i < count_; ++i) {
        const Route& route = routes_[i];
        out.add(i == 0 ? "\n  {" : ",\n  {", "\"scheme\": ");
        print_quoted(out, route.scheme);
        out.put(", \"path\": ");
        print_quoted(out, route.path);
        out.add(", \"match\": \"", match_name(route.match), "\", \"target\": \"", target_name(route.target.kind), '"');
        if (!route.target.name.empty()) {
            out.put(", \"name\": ");
            print_quoted(out, route.target.name);
        }
        out.put(", \"rights\": \"");
        print_rights(out, route.target.kind == TargetKind::deny ? gate::Right::none : route.rights);
        out.add("\", \"stable\": ", route.stable, ", \"origin\": ");
        print_quoted(out, route.origin);
        out.put('}');
    }
    out.put("\n]\n");
}

}  // namespace postern::core
