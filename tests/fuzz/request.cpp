// SPDX-License-Identifier: Apache-2.0
// Everything that the monitor reads from a picoprocess: slots with any contents, served over a small tree of files.
#include "host/linux/monitor/requests.hpp"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

using namespace postern;
using namespace postern::host;

namespace {

class NoFamily : public Family {
public:
    Result<int, gate::Err> create_process(const std::string&, const std::vector<std::string>& arguments,
                                          const Fd (&)[3]) override {
        if (arguments.size() > 10000) abort();
        return 77;
    }
    Fd standard_stream(int) override { return Fd{open("/dev/null", O_RDWR | O_CLOEXEC)}; }
    Result<u32, gate::Err> exit_code(int) override { return 3u; }
    gate::Err add_usage(int process, gate::MembersUsage& usage) override {
        if (process == 6) return gate::Err::would_block;
        if (process == 5) usage.most_memory = 4096, usage.minor_faults += 7;
        return gate::Err::ok;
    }
    void log(LogKind, std::string_view text) override {
        if (text.size() >= kMaxPath) abort();
    }
};

struct World {
    World() {
        char name[] = "/tmp/postern-fuzz-XXXXXX";
        root = mkdtemp(name);
        for (const char* directory : {"/rw", "/rw/sub", "/ro", "/still", "/still/sub", "/still/other"})
            mkdir((root + directory).c_str(), 0755);
        std::ofstream{root + "/ro/file"} << "read only";
        std::ofstream{root + "/secret"} << "secret";
        [[maybe_unused]] int made = symlink("../../secret", (root + "/ro/out").c_str());
        made = symlink("sub", (root + "/rw/link").c_str());
        add("/rw", "/rw", true, core::TargetKind::directory);
        add("/ro", "/ro", false, core::TargetKind::directory);
        std::ofstream{root + "/still/sub/file"} << "still";
        made = symlink("../secret", (root + "/still/out").c_str());
        add("/still/sub/rw", "/rw", true, core::TargetKind::directory);
        add("/still", "/still", false, core::TargetKind::directory, true);
        add("/tmp", "", true, core::TargetKind::memory);
        names = std::make_unique<Names>(table, false);
        requests = std::make_unique<Requests>(*names, family, 1 << 20);
    }
    ~World() {
        std::error_code error;
        std::filesystem::remove_all(root, error);
    }
    void add(std::string_view path, const std::string& place, bool writable, core::TargetKind kind,
             bool stable = false) {
        core::Route route;
        route.scheme = "file";
        route.path = path;
        route.match = core::Match::subtree;
        route.target.kind = kind;
        targets.push_back(root + place);
        route.target.name = kind == core::TargetKind::directory ? std::string_view{targets.back()} : "";
        route.rights = gate::Right::read | gate::Right::execute;
        if (writable) route.rights = route.rights | gate::Right::write | gate::Right::change;
        route.stable = stable;
        route.origin = "fuzz";
        if (!table.add(route).ok()) abort();
    }

    std::string root;
    std::vector<std::string> targets;
    core::Route routes[8];
    char text[4096];
    core::RouteTable table{routes, text};
    NoFamily family;
    std::unique_ptr<Names> names;
    std::unique_ptr<Requests> requests;
};

/// A descriptor that was given out leads beneath a route, and to nothing that the route does not allow.
void check(const World& world, const Reply& reply) {
    if (!reply.first_fd.valid()) return;
    char link[64], place[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", reply.first_fd.get());
    ssize_t length = readlink(link, place, sizeof place - 1);
    if (length <= 0 || place[0] != '/') return;
    std::string_view path{place, static_cast<usize>(length)};
    if (path == "/dev/null" || path.starts_with("/memfd:")) return;
    if (!path.starts_with(world.root + "/rw") && !path.starts_with(world.root + "/ro") &&
        !path.starts_with(world.root + "/still"))
        abort();
    int mode = fcntl(reply.first_fd.get(), F_GETFL);
    if (path.starts_with(world.root + "/ro") && (mode & O_ACCMODE) != O_RDONLY) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    static World world;
    static Slot slot;
    // A few short fields first, so that small inputs reach everything; names as "\0"-separated text behind them.
    while (size >= 24) {
        slot = Slot{};
        slot.owner = 1 + data[0] % 4;
        slot.ask = static_cast<Ask>(data[1] % (kAskCount + 1));
        slot.access = data[2];
        slot.mode = data[3] | u32{data[4]} << 8;
        slot.create = data[5] % 4;
        slot.options = data[6] | u32{data[7]} << 8;
        slot.flags = data[8] % 8;
        slot.mask = data[9];
        slot.size = data[10] | u64{data[11]} << 12;
        slot.value = data[12] | u64{data[13]} << 28;
        slot.sequence = data[14];
        slot.attributes.identity = data[15];
        slot.attributes.volume = data[16];
        slot.attributes.size = data[17];
        usize names = data[18], first = data[19], second = data[20];
        u32 wild = data[21];
        data += 24;
        size -= 24;
        if (names > size) names = size;
        memcpy(slot.names, data, names);
        slot.name_length = static_cast<u32>(first);
        slot.second_length = static_cast<u32>(second);
        if ((wild & 1) != 0 && first < sizeof slot.names) slot.names[first] = 0;
        if (wild == 255) slot.name_length = ~0u;
        if (wild == 254) slot.second_length = kMaxPath;
        data += names;
        size -= names;
        static Request request;
        if (!copy_request(slot, request)) {
            if (request.ask != Ask::none) abort();
            continue;
        }
        Reply reply = world.requests->serve(request);
        check(world, reply);
        // Another rule lies below the rest of the directories that do not change.
        if (request.ask == Ask::tree && reply.error == gate::Err::ok &&
            (reply.text.size() > gate::kListBuffer || !reply.second.starts_with("/still/other")))
            abort();
        write_reply(slot, reply);
    }
    for (int process = 1; process < 5; ++process) world.requests->ended(process);
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(world.root + "/rw", error))
        std::filesystem::remove_all(entry.path(), error);
    mkdir((world.root + "/rw/sub").c_str(), 0755);
    struct stat status;
    if (stat((world.root + "/ro/file").c_str(), &status) != 0 || status.st_size != 9) abort();
    if (stat((world.root + "/secret").c_str(), &status) != 0 || status.st_size != 6) abort();
    return 0;
}
