// SPDX-License-Identifier: Apache-2.0
// gatec and its lock: what it writes is what is committed, and a released row cannot change unnoticed.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "gate/gatec/emit.hpp"
#include "gate/info.hpp"

namespace {

namespace fs = std::filesystem;
using namespace postern;

std::string read(const fs::path& path) {
    std::ifstream file{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{file}, {}};
}
void write(const fs::path& path, const std::string& text) { std::ofstream{path, std::ios::binary} << text; }
int gatec(const std::string& arguments) {
    return std::system((std::string{POSTERN_GATEC} + " " + arguments + " 2>/dev/null").c_str());
}

/// A directory with the layout that gatec writes to.
struct Root {
    fs::path path = fs::temp_directory_path() / ("gatec-test-" + std::to_string(::getpid()));
    Root() {
        fs::create_directories(path / "gate/generated");
        fs::create_directories(path / "docs");
    }
    ~Root() { fs::remove_all(path); }
};

TEST(Generator, CommittedFilesAreCurrent) { EXPECT_EQ(gatec("--check " POSTERN_SOURCE_DIR), 0); }

TEST(Generator, WritesAndThenAgrees) {
    Root root;
    EXPECT_NE(gatec("--check " + root.path.string()), 0);
    EXPECT_EQ(gatec(root.path.string()), 0);
    EXPECT_EQ(gatec("--check " + root.path.string()), 0);
    write(root.path / "docs/gate.md", read(root.path / "docs/gate.md") + "x");
    EXPECT_NE(gatec("--check " + root.path.string()), 0);
}

TEST(Generator, RefusesAChangedRow) {
    Root root;
    ASSERT_EQ(gatec(root.path.string()), 0);
    std::string lock = read(root.path / "gate/gate.lock");
    // As if another release had had another signature for the first call.
    usize at = lock.find("DkVirtualMemoryAlloc ") + 21;
    std::string changed = lock;
    changed[at] = changed[at] == '0' ? '1' : '0';
    write(root.path / "gate/gate.lock", changed);
    EXPECT_NE(gatec(root.path.string()), 0);
    EXPECT_NE(gatec("--check " + root.path.string()), 0);
    EXPECT_EQ(read(root.path / "gate/gate.lock"), changed);
    // A row that the table no longer has.
    write(root.path / "gate/gate.lock", lock + "63 DkForgotten 0123456789abcdef 1\n");
    EXPECT_NE(gatec("--check " + root.path.string()), 0);
    // A new row in the table is fine: the lock only grows.
    usize row = lock.find("62 DkDebugStringPrint");
    write(root.path / "gate/gate.lock", lock.substr(0, row) + lock.substr(lock.find('\n', row) + 1));
    EXPECT_EQ(gatec(root.path.string()), 0);
    EXPECT_EQ(read(root.path / "gate/gate.lock"), lock);
}

TEST(Generator, SignaturesTellArgumentsApart) {
    using namespace gate::schema;
    Call call = kTable[0];
    std::string before = gatec::signature(call);
    call.params[0].type = Type::u32_value;
    EXPECT_NE(gatec::fingerprint(gatec::signature(call)), gatec::fingerprint(before));
    call = kTable[0];
    call.doc = "Another text.";
    EXPECT_EQ(gatec::signature(call), before);
}

TEST(Generator, JsonNamesEveryCall) {
    std::string_view json = gate::gate_json();
    for (const auto& call : gate::schema::kTable)
        EXPECT_NE(json.find("\"name\": \"" + std::string{call.name} + "\""), json.npos) << call.name;
    // Braces balance outside strings: the text is at least shaped like JSON. `postern gate --json` is parsed in
    // the tests of the command line.
    int depth = 0;
    bool quoted = false;
    for (usize i = 0; i < json.size(); ++i) {
        if (quoted && json[i] == '\\')
            ++i;
        else if (json[i] == '"')
            quoted = !quoted;
        else if (!quoted && (json[i] == '{' || json[i] == '['))
            ++depth;
        else if (!quoted && (json[i] == '}' || json[i] == ']'))
            --depth;
    }
    EXPECT_EQ(depth, 0);
    EXPECT_FALSE(quoted);
}

TEST(Generator, PageListsWhatIsUnsupported) {
    std::string_view page = gate::gate_page();
    usize from = page.find("## Unsupported on the Linux host"), to = page.find("## Values");
    ASSERT_NE(from, page.npos);
    ASSERT_NE(to, page.npos);
    std::string_view list = page.substr(from, to - from);
    for (const auto& call : gate::schema::kTable)
        EXPECT_EQ(list.find(std::string{"- "} + std::string{call.name} + "\n") != list.npos,
                  call.linux_status == gate::schema::Status::unsupported)
            << call.name;
}

}  // namespace
