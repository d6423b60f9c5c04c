// SPDX-License-Identifier: Apache-2.0
// Routes: the one policy engine. A route says where the names of one pattern lead and with which rights.
//
// The table knows nothing of files: a name is `scheme:path` (file:, pipe:, service:, tcp:, ...), and what a target
// means is the business of the host that asks. The first match wins; what matches nothing does not exist. Freestanding
// and without allocation: the owner lends the storage, so that components can be parents too.
#pragma once

#include <span>
#include <string_view>

#include "base/format.hpp"
#include "gate/types.hpp"

namespace postern::core {

/// How a pattern covers paths. `path` of the pattern is absolute and has no trailing slash ("/" itself excepted).
enum class Match : u8 {
    exact,    ///< this name only
    subtree,  ///< this name and everything below it
    glob,     ///< as subtree, but the last component may contain `*`, which covers any run of characters but '/'
};

enum class TargetKind : u8 {
    deny,       ///< the name exists for nobody; the refusal is reported with this rule
    directory,  ///< a place of the host: `name` is the host's path of it
    memory,     ///< a private tree kept in memory by the library OS
    library,    ///< synthesised by the library OS (/proc, /dev, /sys)
    stream,     ///< one of the streams that the picoprocess was started with
    family,     ///< a rendezvous inside the family (named pipes)
    service,    ///< a session with the service `name`
};

struct Target {
    TargetKind kind = TargetKind::deny;
    std::string_view name;
    i32 binding = -1;   ///< the host's own number for the opened target; -1: not opened yet
    bool link = false;  ///< the place itself may be a symbolic link, and then leads to where that points in the view
};

struct Route {
    std::string_view scheme;  ///< without the colon
    std::string_view path;
    Match match = Match::exact;
    Target target;
    gate::Right rights = gate::Right::none;
    bool stable = false;          ///< contents and names do not change while the picoprocess lives
    std::string_view origin;      ///< where the rule comes from: "-v /data:ro", "default: system programs"
    std::string_view suggestion;  ///< the flag that would allow what this rule denies; may be empty
};

/// Where a name leads.
struct Decision {
    const Route* route = nullptr;  ///< nullptr: no rule matches, the name does not exist
    std::string_view rest;         ///< what of the path lies below the pattern, without leading slash; may be empty
};

/// Does `pattern` (with `*`) cover the whole of `text`? Linear in the product of the lengths.
bool glob_covers(std::string_view pattern, std::string_view text);
/// "file:/a/b" -> scheme "file", path "/a/b". False when there is no scheme.
bool split_uri(std::string_view uri, std::string_view& scheme, std::string_view& path);
const char* target_name(TargetKind kind);

class RouteTable {
public:
    /// `routes` and `text` hold the rules and their strings; both belong to the owner and outlive the table.
    RouteTable(std::span<Route> routes, std::span<char> text) : routes_{routes}, text_{text} {}
    RouteTable(const RouteTable&) = delete;
    RouteTable& operator=(const RouteTable&) = delete;

    /// Appends a rule after all others and copies its strings. Err::no_quota: the storage is full; Err::bad_argument:
    /// the pattern is not absolute or not normal.
    gate::Res<void> add(const Route& route);
    /// The first rule that covers the normal, absolute `path`.
    Decision find(std::string_view scheme, std::string_view path) const;
    /// Is `path` a directory only because a rule that grants something lies below it?
    bool is_parent(std::string_view scheme, std::string_view path) const;
    /// Does a rule for a name below `path` exist, one that refuses included? Such a directory cannot be moved: what is
    /// below it would get away from the rule.
    bool is_bound(std::string_view scheme, std::string_view path) const;
    /// Calls `visit(name, route)` for each name directly below `path` that a rule makes exist: the next component of a
    /// granting rule's pattern. `route` is the rule when the name is its whole pattern, else nullptr. Names may repeat.
    template <class Visit>
    void children(std::string_view scheme, std::string_view path, Visit&& visit) const {
        for (u32 i = 0; i < count_; ++i) {
            const Route& route = routes_[i];
            if (route.scheme != scheme || route.target.kind == TargetKind::deny || route.match == Match::glob) continue;
            std::string_view below = below_path(route.path, path);
            if (below.empty()) continue;
            usize slash = 0;
            while (slash < below.size() && below[slash] != '/') ++slash;
            visit(std::string_view{below.data(), slash}, slash == below.size() ? &route : nullptr);
        }
    }
    std::span<Route> all() { return {routes_.data(), count_}; }
    std::span<const Route> all() const { return {routes_.data(), count_}; }

    /// One line per rule, in order: pattern, target, rights, origin.
    void print(Text& out) const;
    /// The same as a JSON array.
    void print_json(Text& out) const;

private:
    /// What of `path` lies below `parent`, without leading slash; empty when nothing does.
    static std::string_view below_path(std::string_view path, std::string_view parent);
    gate::Res<std::string_view> keep(std::string_view text);

    std::span<Route> routes_;
    std::span<char> text_;
    u32 count_ = 0;
    usize used_ = 0;
};

/// One rule as people read it: "file:/usr/** -> directory /usr r-x (default: system programs)".
void print_route(Text& out, const Route& route);

}  // namespace postern::core
