// SPDX-License-Identifier: Apache-2.0
// Names of the view -> objects of the host. Links are followed in the view, across routes, never on the host.
//
// What a name leads to is opened beneath its route's directory without following any link in the kernel, so a program
// that renames directories meanwhile gains nothing: the kernel then says ELOOP and the walk starts anew.
#pragma once

#include <sys/stat.h>

#include <string>
#include <string_view>
#include <vector>

#include "core/route.hpp"
#include "host/linux/monitor/sys.hpp"
#include "host/linux/protocol.hpp"

namespace postern::host {

gate::Err error_from_errno(int error);

/// File systems whose names are not data: never entered. And those that can make any call wait for a stranger.
enum class FileSystemClass : u8 { plain, forbidden, slow };
FileSystemClass classify_file_system(int descriptor);

enum class PlaceKind : u8 {
    none,
    object,     ///< exists on the host: `fd`, `status`
    missing,    ///< does not exist; parent() tells whether it could be made at `canonical`
    synthetic,  ///< a directory made of routes
    inside,     ///< served by the library OS: resolve `canonical` there
};

struct Place {
    PlaceKind kind = PlaceKind::none;
    const core::Route* route = nullptr;
    Fd fd;                           ///< object: opened with O_PATH, the link itself if it is one
    bool readable = false;           ///< `fd` is open for reading instead; see will_read()
    struct stat status = {};         ///< object: of `fd`
    std::string canonical;           ///< path in the view without `.`, `..` and links (but perhaps the last)
    std::string rest;                ///< of `canonical`, below the route
    bool must_be_directory = false;  ///< the name ended in a slash
};

class Names {
public:
    /// `view` outlives this object. `avoid_openat2`: walk component by component, as on kernels before 5.6.
    Names(core::RouteTable& table, bool avoid_openat2);
    ~Names();
    Names(const Names&) = delete;
    Names& operator=(const Names&) = delete;

    /// Resolves the absolute `path`. `follow`: a link in the last component, too. What does not exist below a
    /// route is PlaceKind::missing, what no rule grants Err::not_found. Err::busy: the way leads over a
    /// file system that may hang; ask again in a worker (see set_in_worker).
    gate::Err resolve(std::string_view path, bool follow, Place& place);
    /// Since `begin`, has every route on the way been stable? Else a link on it may lead elsewhere tomorrow.
    bool lasting() const { return lasting_; }
    void begin() { lasting_ = true; }
    /// What resolve() finds is going to be read if it is a file or directory: on immutable routes it may be opened so
    /// at once. (Elsewhere somebody could put a device there whose opening does something.)
    void will_read(bool yes) { reading_ = yes; }
    /// The directory on the host that holds `place` (object or missing), opened with O_PATH, and the last component.
    /// Err::denied: the place is a route's own top and cannot be replaced.
    gate::Err parent(const Place& place, Fd& directory, std::string& last);
    /// Opens what O_PATH descriptor `fd` names anew, with `flags`. -errno on failure.
    int reopen(int fd, int flags);

    /// Names directly below the synthetic or overlaid directory `path` that come from routes.
    struct Child {
        std::string name;
        u8 type = 0;  ///< gate::StreamType, or kListHidden
    };
    void children(std::string_view path, std::vector<Child>& out);
    /// Do rules other than the one that covers `path` put names directly below it, or hide some?
    bool overlaid(std::string_view path) const;

    /// Calls may hang from now on, because this process is one that can be killed. After fork.
    void set_in_worker();
    /// Did a call since the last asking end with Err::busy because it has to be made in a worker?
    bool take_needs_worker() { return std::exchange(needs_worker_, false); }
    /// Is the route's top a directory that was opened once and for all?
    bool pinned(const core::Route& route) const {
        return route.target.binding >= 0 && route.match != core::Match::glob && !in_worker_;
    }
    void need_worker() { needs_worker_ = true; }
    bool in_worker() const { return in_worker_; }

    /// Names that no rule grants, in the order of the first asking; at most kMaxRefused.
    struct Refusal {
        std::string name;
        const core::Route* rule;  ///< nullptr: no rule
    };
    static constexpr usize kMaxRefused = 256;
    const std::vector<Refusal>& refusals() const { return refusals_; }
    void note_refusal(std::string_view name, const core::Route* rule);
    /// Has a rule, or the lack of one, refused something since the last asking?
    bool take_refused() { return std::exchange(refused_, false); }
    /// Nobody asked for what is looked up meanwhile: refusals are not kept for the report.
    void keep_refusals_quiet(bool yes) { quiet_ = yes; }

    core::RouteTable& table() { return table_; }

private:
    struct State {
        bool asked = false;
        bool slow = false;
        gate::Err error = gate::Err::ok;
        std::string link;
    };

    State& state(const core::Route& route);
    /// Opens the top of a route. `fd` is borrowed when `owned` stays invalid.
    gate::Err top(const core::Route& route, std::string_view path, std::string_view rest, int& fd, Fd& owned,
                  std::string& link);
    int open_beneath(int top, const std::string& rest);
    int walk_beneath(int top, const std::string& rest);
    /// As open_beneath(), but for reading. Whatever is wrong with that, open_beneath() is to be asked.
    int read_beneath(int top, const std::string& rest);
    /// `path` without `.` and `..`, if what they leave are directories and no links. Else empty.
    std::string without_dots(std::string_view path);
    /// What is at the link-free `path`? With `read_link` a link's target goes to `link`: reading it is an access that
    /// the link's times tell, so who does not follow it does not read it.
    gate::Err probe(const std::string& path, bool read_link, Place& place, std::string& link);
    gate::Err check_object(Place& place);
    gate::Err walk(std::string_view path, bool follow, Place& place);
    gate::Err resolve_plain(std::string_view path, bool follow, Place& place);
    /// `path` with what is known of links on its way; empty: nothing is.
    std::string past_links(std::string_view path) const;

    /// A link of an immutable route that a name led through.
    struct Link {
        std::string path, target;
        const core::Route* route;
    };

    core::RouteTable& table_;
    std::vector<State> states_;
    std::vector<Refusal> refusals_;
    std::vector<std::pair<dev_t, FileSystemClass>> devices_;
    std::vector<Link> links_;
    bool avoid_openat2_;
    bool in_worker_ = false;
    bool lasting_ = true;
    bool reading_ = false;
    bool crossing_ = false;  ///< mounts below a route's own may be entered
    bool needs_worker_ = false;
    bool refused_ = false, quiet_ = false;
    gate::Err worker() { return needs_worker_ = true, gate::Err::busy; }
    int self_descriptors_;
};

}  // namespace postern::host
