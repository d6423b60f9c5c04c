// SPDX-License-Identifier: Apache-2.0
// gatec: turns gate/table.hpp into headers, documentation and the lock file, or checks that they are current.
//
//   gatec ROOT            writes the generated files below ROOT; refuses when a released row of gate.lock changed
//   gatec --check ROOT    writes nothing; fails when a file is stale or a released row changed
//   gatec --relock ROOT   as the first, and accepts changed rows: before the first release only
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>

#include "gate/gatec/emit.hpp"

namespace {

using namespace postern;

struct Output {
    const char* path;
    std::string (*emit)();
};
constexpr Output kOutputs[] = {
    {"gate/generated/calls.inc", gatec::emit_call_list},
    {"gate/generated/checks.hpp", gatec::emit_checks},
    {"gate/generated/client.hpp", gatec::emit_client},
    {"gate/generated/trace_data.hpp", gatec::emit_trace},
    {"gate/generated/fuzz_data.hpp", gatec::emit_fuzz},
    {"gate/generated/gate.json", gatec::emit_json},
    {"docs/gate.md", gatec::emit_page},
};
constexpr const char* kLock = "gate/gate.lock";

std::string read(const std::string& path) {
    std::ifstream file{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{file}, {}};
}

bool write(const std::string& path, const std::string& text) {
    if (read(path) == text) return true;  // keep the time: nothing depends on it is rebuilt
    std::ofstream file{path, std::ios::binary | std::ios::trunc};
    file << text;
    return file.good();
}

/// Rows of a lock file by number.
std::map<unsigned, std::string> rows(const std::string& text) {
    std::map<unsigned, std::string> result;
    std::istringstream lines{text};
    for (std::string line; std::getline(lines, line);) {
        unsigned number = 0;
        if (std::sscanf(line.c_str(), "%u ", &number) == 1) result[number] = line;
    }
    return result;
}

/// Number of released rows that the table no longer has as they were.
int changed_rows(const std::string& locked, const std::string& current) {
    auto now = rows(current);
    int changed = 0;
    for (const auto& [number, line] : rows(locked)) {
        auto found = now.find(number);
        if (found != now.end() && found->second == line) continue;
        std::fprintf(stderr, "gatec: released row changed: %s\n", line.c_str());
        ++changed;
    }
    return changed;
}

}  // namespace

int main(int argc, char** argv) {
    bool check = argc == 3 && std::strcmp(argv[1], "--check") == 0;
    bool relock = argc == 3 && std::strcmp(argv[1], "--relock") == 0;
    if (argc != 2 && !check && !relock) {
        std::fprintf(stderr, "usage: gatec [--check | --relock] ROOT\n");
        return 2;
    }
    std::string root = std::string{argv[argc - 1]} + "/";

    std::string lock = gatec::emit_lock();
    std::string locked = read(root + kLock);
    if (!relock && changed_rows(locked, lock) != 0) {
        std::fprintf(stderr, "gatec: a number's name, arguments or result may not change; append a new call\n");
        return 1;
    }

    int failures = 0;
    auto handle = [&](const char* path, const std::string& text) {
        if (check) {
            if (read(root + path) == text) return;
            std::fprintf(stderr, "gatec: %s is stale: run gatec %s\n", path, argv[argc - 1]);
            ++failures;
        } else if (!write(root + path, text)) {
            std::fprintf(stderr, "gatec: cannot write %s\n", path);
            ++failures;
        }
    };
    for (const Output& output : kOutputs) handle(output.path, output.emit());
    handle(kLock, lock);
    return failures == 0 ? 0 : 1;
}
