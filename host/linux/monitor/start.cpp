// SPDX-License-Identifier: Apache-2.0
// From launch options to a running first picoprocess.
#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>

#include <algorithm>

#include "host/linux/monitor/monitor.hpp"

namespace postern::host {

namespace {

constexpr u64 kMinimumArena = 64ull << 20;
constexpr u64 kMaximumArena = 1ull << 40;   ///< as layout.hpp has room
constexpr u64 kHostReserve = 288ull << 20;  ///< handle table, small memory, thread areas of entry
constexpr usize kMaxConfig = 24 << 10;

std::string percent_encode(std::string_view text) {
    std::string out;
    for (char character : text) {
        auto byte = static_cast<u8>(character);
        bool plain = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
                     byte == '/' || byte == '.' || byte == '_' || byte == '-';
        if (plain) {
            out += character;
        } else {
            char code[4];
            snprintf(code, sizeof code, "%%%02X", byte);
            out += code;
        }
    }
    return out;
}

}  // namespace

u64 default_memory_limit() {
    struct sysinfo info;
    if (sysinfo(&info) != 0) return 1ull << 30;
    u64 half = u64{info.totalram} * info.mem_unit / 2;
    return std::max<u64>(page_floor(half), 128ull << 20);
}

bool Monitor::fallback(std::string_view name) const {
    std::string_view rest = options_.force_fallback;
    while (!rest.empty()) {
        usize comma = rest.find(',');
        if (rest.substr(0, comma) == name) return true;
        if (comma == std::string_view::npos) break;
        rest.remove_prefix(comma + 1);
    }
    return false;
}

Result<Fd, LaunchError> Monitor::open_image(const std::string& given, const char* name) const {
    std::string path = given;
    if (path.empty()) {
        std::string directory = options_.libexec;
        if (directory.empty()) {
            char self[PATH_MAX];
            ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
            if (length <= 0)
                return Failure{launch_error(125, "cannot read /proc/self/exe; Postern needs /proc mounted")};
            std::string_view place{self, static_cast<usize>(length)};
            directory = std::string{place.substr(0, place.rfind('/'))} + "/../libexec/postern";
        }
        path = directory + "/" + name;
    }
    Fd image{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!image.valid()) {
        return Failure{launch_error(125, "cannot open %s: %s; build it (./x build) or install Postern again",
                                    path.c_str(), strerror(errno))};
    }
    return image;
}

/// Lines for the library OS; see protocol.hpp.
std::string Monitor::library_options(const std::string& program) const {
    std::string out;
    if (!program.empty()) out += "program=" + program + "\n";
    const core::RouteTable& table = view_.table();
    auto line = [&](const char* key, std::string_view value) {
        out += key;
        out += value;
        out += '\n';
    };
    std::vector<const core::Route*> trees;
    for (const core::Route& route : table.all()) {
        bool memory = route.target.kind == core::TargetKind::memory;
        if (!memory && route.target.kind != core::TargetKind::library) continue;
        // Hidden behind an earlier rule that covers it whole: then it is not there.
        if (table.find("file", route.path).route != &route) continue;
        line(memory ? "private=" : "served=", route.path);
        trees.push_back(&route);
    }
    for (const core::Route& route : table.all()) {
        if (route.target.kind != core::TargetKind::directory || route.match == core::Match::glob) continue;
        for (const core::Route* tree : trees) {
            if (!route.path.starts_with(tree->path) || route.path.size() <= tree->path.size() ||
                route.path[tree->path.size()] != '/' || table.find("file", route.path).route != &route) {
                continue;
            }
            line("host=", route.path);
            break;
        }
    }
    if (options_.trace == TraceKind::calls) out += "trace=calls\n";
    if (options_.trace == TraceKind::gate) out += "trace=gate\n";
    if (options_.verbose) out += "verbose=1\n";
    if (options_.terminal) out += "terminal=1\n";
    line("disk=", std::to_string(disk_limit_));
    if (options_.disk_limit != 0) line("file_limit=", std::to_string(disk_limit_));
    out += "out=" + streams_.kinds() + "\n";
    out += options_.library_options;
    if (!options_.library_options.empty() && options_.library_options.back() != '\n') out += '\n';
    return out;
}

std::string Monitor::config_text(const std::string& program, bool ahead) const {
    u32 user = options_.user_id == ~0u ? getuid() : options_.user_id;
    u32 group = options_.group_id == ~0u ? getgid() : options_.group_id;
    char numbers[400];
    snprintf(numbers, sizeof numbers,
             "v=%u;mem=%lu;pids=%u;uid=%u;gid=%u;huid=%u;hgid=%u;arena=%lu;listen=1;landlock=%d;tgkill=%s;killable=%d;",
             kProtocolVersion, memory_limit_, options_.process_limit, user, group, getuid(), getgid(), arena_size_,
             !(options_.no_landlock || fallback("landlock")), fallback("tgkill") ? "notify" : "scope",
             !fallback("killable"));
    std::string text = numbers;
    if (fallback("patch")) text += "patch=0;";
    if (options_.stats) text += "stats=1;";
    if (ahead) text += "ahead=1;";
    if (throttle_.shown() != 0) text += "cpus=" + std::to_string(throttle_.shown()) + ";";
    if (options_.trace == TraceKind::gate) text += "trace=gate;";
    text += "cwd=" + percent_encode(view_.working_directory()) + ";";
    text += "opt=" + percent_encode(library_options(program)) + ";";
    return text;
}

void Monitor::make_requests() {
    const std::string cache = options_.use_cache ? cache_directory() : std::string{};
    auto below = [&](const char* name) { return cache.empty() ? cache : cache + name; };
    names_ = std::make_unique<Names>(view_.table(), fallback("openat2"));
    texts_ = std::make_unique<TextStore>(fallback("patch") ? std::string{} : below("/text"));
    requests_ = std::make_unique<Requests>(*names_, *this, memory_limit_, texts_.get());
    // What tests put in the library OS's place asks for what it tests.
    foresight_ = std::make_unique<Foresight>(options_.libos_path.empty() ? below("/starts") : std::string{},
                                             start_key(options_));
}

Result<void, LaunchError> Monitor::start() {
    if (options_.program.empty())
        return Failure{launch_error(125, "no program given; write: postern run -- PROGRAM ARGS")};
    if (options_.process_limit == 0) options_.process_limit = 512;
    TRY(check_limits());
    arena_size_ = std::clamp(memory_limit_, kMinimumArena, kMaximumArena);
    two_steps_ = fallback("addfd");

    // The keeper first: it gives up its privileges while this process opens what picoprocesses need.
    std::vector<const char*> arguments{"postern", nullptr};
    for (const std::string& argument : options_.program) arguments.push_back(argument.c_str());
    arguments.push_back(nullptr);
    std::vector<const char*> environment;
    for (const std::string& variable : options_.environment) environment.push_back(variable.c_str());
    environment.push_back(nullptr);
    throttle_.prepare(options_.processors, !fallback("cgroup"));
    KeeperOptions keeper;
    keeper.affinity = throttle_.affinity();
    if (options_.terminal) {
        TRY(terminal_.open());
        keeper.terminal = STDIN_FILENO;
        keeper.terminal_settings = &terminal_.settings();
    }
    keeper.arguments = arguments.data();
    keeper.environment = environment.data();
    // RLIMIT_DATA counts address space. What the host part reserves for itself and hardly uses comes on top.
    keeper.data_limit = memory_limit_ + kHostReserve;
    if (options_.disk_limit != 0) keeper.file_limit = disk_limit_ + largest_stream();
    keeper.drop_privileges = geteuid() == 0;
    keeper.second_wall = keeper.drop_privileges && !options_.no_namespaces;
    TRY(keeper_.start(keeper));

    view_ = TRY(compile_view(options_.view));
    Fd entry = TRY(open_image(options_.entry_path, "entry"));
    Fd libos = TRY(open_image(options_.libos_path, "libos"));

    arena_ = make_memory_file("postern-arena", arena_size_, !fallback("memfd_seal"));
    Fd requests = make_memory_file("postern-requests", kRequestFileSize, !fallback("memfd_seal"));
    if (!arena_.valid() || !requests.valid()) {
        return Failure{launch_error(125, "cannot make a memory file: %s", strerror(errno))};
    }
    void* memory = mmap(nullptr, kRequestFileSize, PROT_READ | PROT_WRITE, MAP_SHARED, requests.get(), 0);
    if (memory == MAP_FAILED) return Failure{launch_error(125, "cannot map a memory file: %s", strerror(errno))};
    request_memory_ = static_cast<u8*>(memory);
    reinterpret_cast<RequestHeader*>(request_memory_)->version = kProtocolVersion;
    NoticeFile notice = TRY(make_notice_file());
    notice_ = static_cast<Notice*>(notice.memory);
    notice_->version = kProtocolVersion;

    int keyboard = -1;
    if (options_.terminal) keyboard = TRY(terminal_.connect());
    TRY(streams_.prepare(options_, keyboard));
    int boot[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, boot) != 0) {
        return Failure{launch_error(125, "cannot make a socket pair: %s", strerror(errno))};
    }
    boots_.push_back({Fd{boot[0]}, true, -1});
    Fd theirs{boot[1]};

    make_requests();
    std::vector<Fd> foreseen_files;
    // Descriptors that nobody may need must not be missing elsewhere.
    rlimit64 most;
    if (prlimit64(0, RLIMIT_NOFILE, nullptr, &most) == 0 && most.rlim_max >= 1024)
        foresight_->answer(*requests_, *names_, foreseen(), foreseen_files);
    // One argument of a program is at most 128 KiB on Linux, and entry keeps its own copy in less.
    std::string config = config_text({}, !foreseen_files.empty());
    if (config.size() >= kMaxConfig)
        return Failure{launch_error(125, "the view is too large to describe; use fewer -v options")};
    int descriptors[] = {streams_.source(0), streams_.source(1),     streams_.source(2), libos.get(),  arena_.get(),
                         requests.get(),     notice.read_only.get(), streams_.source(3), theirs.get(), entry.get()};
    static_assert(kFdBoot == 8);
    terminal_.raw();
    TRY(keeper_.spawn_first(config, descriptors, !foreseen_files.empty()));
    if (!foreseen_files.empty()) {
        const bool with = !fallback("foreseen");
        if (!with) foreseen_files.clear();
        // It has not started, so that nobody has seen an answer.
        if (!keeper_.hand_over(foreseen_files) || !with) foreseen().count = 0;
    }
    used_ = 1;
    return {};
}

Result<int, gate::Err> Monitor::create_process(const std::string& program, const std::vector<std::string>& arguments,
                                               const Fd (&streams)[3]) {
    if (stopping_ || keeper_lost_ || !within_limit()) return Failure{gate::Err::no_quota};
    int boot[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, boot) != 0) return Failure{gate::Err::no_quota};
    Fd ours{boot[0]}, theirs{boot[1]};
    std::vector<std::string> all{"postern", config_text(program, false)};
    all.insert(all.end(), arguments.begin(), arguments.end());
    int process = TRY(keeper_.spawn(all, options_.environment, theirs.get(), streams));
    throttle_.started(process);
    boots_.push_back({std::move(ours), false, process});
    ++used_;
    return process;
}

Fd Monitor::standard_stream(int number) { return Fd{fcntl(streams_.source(number), F_DUPFD_CLOEXEC, 3)}; }

}  // namespace postern::host
