// SPDX-License-Identifier: Apache-2.0
// Compiles command-line options and the default view into routes.
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <algorithm>

#include "host/linux/monitor/cache_directory.hpp"
#include "host/linux/monitor/names.hpp"
#include "host/linux/monitor/sys.hpp"

namespace postern::host {

using core::Match;
using core::Route;
using core::TargetKind;
using gate::Right;

namespace {

constexpr Right kRead = Right::read | Right::execute | Right::enumerate;
constexpr Right kReadWrite = Right::read | Right::write | Right::execute | Right::enumerate | Right::change;

/// Never shown by a default, whatever directory the program is started in.
constexpr const char* kSecrets[] = {
    "/etc/shadow*",  "/etc/gshadow*",    "/etc/sudoers*",         "/etc/ssl/private",
    "/etc/ssh/*key", "/etc/krb5.keytab", "/etc/security/opasswd",
};

/// Programs and libraries. On systems with a merged /usr the short names are links, and stay links in the view.
constexpr const char* kSystem[] = {"/usr",   "/bin",    "/sbin", "/lib",      "/lib32",
                                   "/lib64", "/libx32", "/opt",  "/nix/store"};

/// What programs need of /etc, and nothing that tells of users' secrets or of the machine's services.
constexpr const char* kSettings[] = {
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "ld.so.preload",
    "passwd",
    "group",
    "nsswitch.conf",
    "hosts",
    "resolv.conf",
    "localtime",
    "timezone",
    "ssl",
    "pki",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "alternatives",
    "terminfo",
    "bash.bashrc",
    "bash_completion",
    "bash_completion.d",
    "profile",
    "profile.d",
    "inputrc",
    "locale.alias",
    "locale.conf",
    "locale.gen",
    "mime.types",
    "mailcap",
    "services",
    "protocols",
    "networks",
    "rpc",
    "ethertypes",
    "host.conf",
    "gai.conf",
    "magic",
    "magic.mime",
    "perl",
    "gitconfig",
    "gitattributes",
    "skel",
    "shells",
    "debian_version",
    "os-release",
    "lsb-release",
    "issue",
    "issue.net",
    "redhat-release",
    "alpine-release",
    "environment",
    "fonts",
    "vim",
    "emacs",
    "nanorc",
    "manpath.config",
    "mtab",
    "login.defs",
    "xattr.conf",
    "libaudit.conf",
    "ImageMagick-6",
    "texmf",
    "R",
    "lynx",
    "screenrc",
    "tmux.conf",
    "zsh",
    "fish",
    "nodejs",
    "gprofng.rc",
    "X11",
    "gss",
};
constexpr const char* kSettingGlobs[] = {"/etc/python*", "/etc/java*", "/etc/perl*", "/etc/maven*", "/etc/php*"};

/// Private trees, besides the home directory.
constexpr const char* kPrivate[] = {"/tmp", "/var/tmp", "/run", "/var/run", "/var/lock"};

bool below_or_equal(std::string_view path, std::string_view parent) {
    if (parent == "/") return true;
    return path.starts_with(parent) && (path.size() == parent.size() || path[parent.size()] == '/');
}

/// Lexical normal form of an absolute path.
std::string normalise(std::string_view path) {
    std::string result;
    usize start = 0;
    while (start < path.size()) {
        usize end = path.find('/', start);
        if (end == std::string_view::npos) end = path.size();
        std::string_view component = path.substr(start, end - start);
        start = end + 1;
        if (component.empty() || component == ".") continue;
        if (component == "..") {
            usize slash = result.rfind('/');
            result.resize(slash == std::string::npos ? 0 : slash);
            continue;
        }
        result += '/';
        result += component;
    }
    return result.empty() ? "/" : result;
}

std::string current_directory() {
    char buffer[4096];
    long length = syscall(SYS_getcwd, buffer, sizeof buffer);
    return length > 1 && buffer[0] == '/' ? std::string{buffer} : std::string{};
}

std::string absolute(std::string_view path) {
    if (!path.empty() && path[0] == '/') return normalise(path);
    std::string whole = current_directory();
    whole += '/';
    whole += path;
    return normalise(whole);
}

std::string home_directory(const ViewOptions& options) {
    if (!options.home.empty()) return normalise(options.home);
    const char* home = getenv("HOME");
    if (home != nullptr && home[0] == '/') return normalise(home);
    return getuid() == 0 ? "/root" : "";
}

}  // namespace

Result<Volume, LaunchError> parse_volume(std::string_view text) {
    Volume volume;
    volume.origin = "-v " + std::string{text};
    std::string_view parts[3];
    usize count = 0;
    std::string_view rest = text;
    for (;;) {
        usize colon = rest.find(':');
        if (count == 3) {
            return Failure{launch_error(125, "-v %.*s: too many colons; write -v SRC[:DST][:ro|rw]",
                                        static_cast<int>(text.size()), text.data())};
        }
        parts[count++] = rest.substr(0, colon);
        if (colon == std::string_view::npos) break;
        rest = rest.substr(colon + 1);
    }
    if (count > 1 && (parts[count - 1] == "ro" || parts[count - 1] == "rw")) {
        volume.writable = parts[count - 1] == "rw";
        --count;
    }
    if (count == 3 || parts[0].empty() || (count == 2 && (parts[1].empty() || parts[1][0] != '/'))) {
        const char* why = count == 3         ? "the mode must be ro or rw"
                          : parts[0].empty() ? "the source is missing"
                                             : "the destination must be an absolute path";
        return Failure{launch_error(125, "-v %.*s: %s; write -v SRC[:DST][:ro|rw]", static_cast<int>(text.size()),
                                    text.data(), why)};
    }
    volume.source = absolute(parts[0]);
    volume.destination = count == 2 ? normalise(parts[1]) : volume.source;
    return volume;
}

/// Big, mostly never touched, and therefore never initialised: pages that no rule fills cost nothing.
struct View::Storage {
    static constexpr usize kRoutes = 256, kText = 64 << 10;
    std::unique_ptr<std::byte[]> memory = std::make_unique_for_overwrite<std::byte[]>(kRoutes * sizeof(Route) + kText);
    core::RouteTable table{{reinterpret_cast<Route*>(memory.get()), kRoutes},
                           {reinterpret_cast<char*>(memory.get()) + kRoutes * sizeof(Route), kText}};
};
static_assert(std::is_trivially_copyable_v<Route> && std::is_trivially_destructible_v<Route>);

View::View() : storage_{new Storage}, table_{&storage_->table} {}
View::~View() = default;
View::View(View&&) noexcept = default;
View& View::operator=(View&&) noexcept = default;

namespace {

/// Adds routes and remembers the first failure.
class Compiler {
public:
    explicit Compiler(core::RouteTable& table) : table_{table} {}

    void add(std::string_view scheme, std::string_view path, Match match, TargetKind kind, std::string_view target,
             Right rights, std::string_view origin, bool stable = false, bool link = false,
             std::string_view suggestion = {}) {
        Route route;
        route.scheme = scheme;
        route.path = path;
        route.match = match;
        route.target.kind = kind;
        route.target.name = target;
        route.target.link = link;
        route.rights = rights;
        route.stable = stable;
        route.origin = origin;
        route.suggestion = suggestion;
        auto added = table_.add(route);
        if (!added.ok()) failed_ = true;
    }
    void file(std::string_view path, TargetKind kind, std::string_view target, Right rights, std::string_view origin,
              bool stable = false, bool link = false) {
        add("file", path, Match::subtree, kind, target, rights, origin, stable, link);
    }
    bool failed() const { return failed_; }

private:
    core::RouteTable& table_;
    bool failed_ = false;
};

void add_streams(Compiler& out) {
    for (const char* name : {"stdin", "stdout", "stderr"}) {
        out.add(name, "*", Match::exact, TargetKind::stream, name, Right::read | Right::write,
                "default: standard streams");
    }
    for (const char* scheme : {"pipe", "pipe.server", "pipe.client"}) {
        out.add(scheme, "*", Match::glob, TargetKind::family, {}, kReadWrite, "default: pipes inside the family");
    }
}

/// Without links, as far as the path exists.
std::string real_path(const std::string& path) {
    std::string tail;
    for (std::string head = path; !head.empty() && head != "/";) {
        char text[PATH_MAX];
        if (realpath(head.c_str(), text) != nullptr) return (text[1] != 0 ? std::string{text} : std::string{}) + tail;
        usize slash = head.rfind('/');
        tail = head.substr(slash) + tail;
        head.resize(slash);
    }
    return path;
}

/// Code that all runs execute must not be written by one of them: `own` is in no view. False: there would be nothing
/// left of `source`.
bool hide_below(Compiler& out, const std::string& own, const std::string& source, const std::string& destination,
                const std::string& origin) {
    if (below_or_equal(source, own)) return false;
    if (!below_or_equal(own, source)) return true;
    std::string rest = own.substr(source == "/" ? 0 : source.size());
    out.file((destination == "/" ? std::string{} : destination) + rest, TargetKind::deny, {}, Right::none,
             origin + ": but not what Postern prepared for all runs");
    return true;
}

/// May the caller's working directory be shown by default?
bool showable(const std::string& directory, const std::string& home) {
    if (directory.empty() || directory == "/") return false;
    if (!home.empty() && below_or_equal(home, directory)) return false;
    for (const char* served : {"/proc", "/sys", "/dev"}) {
        if (below_or_equal(directory, served)) return false;
    }
    for (const char* tree : kPrivate) {
        if (directory == tree) return false;
    }
    return true;
}

/// Can a program start in the view's working directory?
bool is_directory(View& view) {
    Place place;
    Names names{view.table(), false};
    if (names.resolve(view.working_directory(), true, place) != gate::Err::ok) return false;
    switch (place.kind) {
        case PlaceKind::object: return S_ISDIR(place.status.st_mode);
        case PlaceKind::synthetic: return true;
        // Of a private tree only its own top exists at the start.
        case PlaceKind::inside: return place.route->target.kind != TargetKind::memory || place.rest.empty();
        default: return false;
    }
}

}  // namespace

Result<View, LaunchError> compile_view(const ViewOptions& options) {
    View view;
    Compiler out{*view.table_};
    std::string here = current_directory();
    std::string home = home_directory(options);
    if (home == "/") home.clear();

    // Deeper destinations first, so that one volume can lie inside another, as with mounts; of two with the same
    // destination the later one counts.
    std::vector<const Volume*> volumes;
    for (const Volume& volume : options.volumes) volumes.push_back(&volume);
    std::reverse(volumes.begin(), volumes.end());
    std::stable_sort(volumes.begin(), volumes.end(),
                     [](const Volume* a, const Volume* b) { return a->destination.size() > b->destination.size(); });
    std::string own = real_path(cache_directory());
    auto hide = [&](const std::string& source, const std::string& destination, const std::string& origin) {
        return own.empty() || hide_below(out, own, real_path(source), destination, origin);
    };
    for (const Volume* volume : volumes) {
        struct stat status;
        if (volume->writable && !hide(volume->source, volume->destination, volume->origin)) {
            return Failure{launch_error(125, "%s: Postern keeps code for all runs in %s, which no program may write",
                                        volume->origin.c_str(), own.c_str())};
        }
        if (stat(volume->source.c_str(), &status) != 0) {
            return Failure{launch_error(125, "%s: %s: %s; create it or name another source", volume->origin.c_str(),
                                        volume->source.c_str(), strerror(errno))};
        }
        out.file(volume->destination, TargetKind::directory, volume->source, volume->writable ? kReadWrite : kRead,
                 volume->origin);
    }

    if (options.defaults) {
        for (const char* tree : {"/proc", "/sys", "/dev"}) {
            out.file(tree, TargetKind::library, {}, kReadWrite, "default: served by the library OS");
        }
    }
    if (!options.root.empty()) {
        std::string root = absolute(options.root);
        struct stat status;
        if (stat(root.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
            return Failure{launch_error(125, "--root %s: %s; name an existing directory", options.root.c_str(),
                                        S_ISDIR(status.st_mode) ? strerror(errno) : "not a directory")};
        }
        if (options.defaults) out.file("/tmp", TargetKind::memory, {}, kReadWrite, "default: private /tmp");
        if (options.root_writable && !hide(root, "/", "--root " + options.root)) {
            return Failure{launch_error(125,
                                        "--root %s: Postern keeps code for all runs in %s, which no program may write",
                                        options.root.c_str(), own.c_str())};
        }
        out.file("/", TargetKind::directory, root, options.root_writable ? kReadWrite : kRead,
                 "--root " + options.root);
    } else if (options.defaults) {
        for (const char* path : kSecrets) {
            // The directory's own volume is the only way to show these: a default never does.
            out.add("file", path, Match::glob, TargetKind::deny, {}, Right::none, "default: secrets of the host", true,
                    false, "");
        }
        if (options.show_working_directory && showable(here, home)) {
            out.file(here, TargetKind::directory, here, kRead, "default: working directory, read-only");
        }
        if (!home.empty()) out.file(home, TargetKind::memory, {}, kReadWrite, "default: private home");
        for (const char* tree : kPrivate) out.file(tree, TargetKind::memory, {}, kReadWrite, "default: private files");
        for (const char* path : kSystem) {
            out.file(path, TargetKind::directory, path, kRead, "default: system programs", true, true);
        }
        for (const char* name : kSettings) {
            std::string path = std::string{"/etc/"} + name;
            out.file(path, TargetKind::directory, path, kRead, "default: listed settings", true, true);
        }
        for (const char* path : kSettingGlobs) {
            out.add("file", path, Match::glob, TargetKind::directory, path, kRead, "default: listed settings", true,
                    true);
        }
    }
    add_streams(out);
    if (out.failed()) return Failure{launch_error(125, "too many routes; use fewer -v options")};

    if (!options.working_directory.empty()) {
        if (options.working_directory[0] != '/') {
            return Failure{launch_error(125, "-w %s: not absolute; name a directory of the program's view",
                                        options.working_directory.c_str())};
        }
        view.working_directory_ = normalise(options.working_directory);
        if (!is_directory(view)) {
            return Failure{launch_error(125,
                                        "-w %s: no such directory in the program's view; 'postern routes' prints it",
                                        options.working_directory.c_str())};
        }
    } else {
        // A directory that is not in the view cannot be stood in.
        core::Decision decision = view.table().find("file", here);
        bool shown = decision.route != nullptr ? decision.route->target.kind != TargetKind::deny
                                               : view.table().is_parent("file", here);
        bool reachable = shown && !here.empty() && options.root.empty();
        // Below a private tree only its own top exists at start.
        if (reachable && decision.route != nullptr && decision.route->target.kind == TargetKind::memory &&
            !decision.rest.empty()) {
            reachable = false;
        }
        view.working_directory_ = reachable ? here : "/";
    }
    return view;
}

std::string describe_routes(const View& view, bool json) {
    std::string storage(256 << 10, '\0');
    Text text{storage.data(), storage.size()};
    if (json) {
        view.table().print_json(text);
    } else {
        view.table().print(text);
    }
    storage.resize(text.size());
    return storage;
}

}  // namespace postern::host
