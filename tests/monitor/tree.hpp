// SPDX-License-Identifier: Apache-2.0
// A temporary directory tree that goes with its object.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "core/route.hpp"

namespace postern::host {

class Tree {
public:
    Tree() {
        char name[] = "/tmp/postern-test-XXXXXX";
        path_ = mkdtemp(name);
    }
    ~Tree() {
        std::error_code error;
        std::filesystem::remove_all(path_, error);
    }
    Tree(const Tree&) = delete;
    Tree& operator=(const Tree&) = delete;
    const std::string& path() const { return path_; }
    std::string at(const std::string& name) const { return path_ + "/" + name; }
    void directory(const std::string& name) { ASSERT_EQ(mkdir(at(name).c_str(), 0755), 0) << name; }
    void file(const std::string& name, const std::string& text = "text") { std::ofstream{at(name)} << text; }
    void link(const std::string& name, const std::string& target) {
        ASSERT_EQ(symlink(target.c_str(), at(name).c_str()), 0) << name;
    }
    bool exists(const std::string& name) const {
        return std::filesystem::exists(std::filesystem::symlink_status(at(name)));
    }
    std::string text(const std::string& name) const {
        std::ifstream in{at(name)};
        return {std::istreambuf_iterator<char>{in}, {}};
    }

private:
    std::string path_;
};

/// A table of routes for tests.
class Table {
public:
    core::RouteTable& table() { return table_; }
    void add(std::string_view path, std::string_view host, bool writable = false,
             core::TargetKind kind = core::TargetKind::directory, bool link = false, bool stable = false) {
        core::Route route;
        route.scheme = "file";
        route.path = path;
        route.match = core::Match::subtree;
        route.target.kind = kind;
        route.target.name = host;
        route.target.link = link;
        route.stable = stable;
        route.rights = gate::Right::read | gate::Right::execute;
        if (writable) route.rights = route.rights | gate::Right::write | gate::Right::change;
        route.origin = "test";
        ASSERT_TRUE(table_.add(route).ok());
    }

private:
    core::Route routes_[32];
    char text_[8192];
    core::RouteTable table_{routes_, text_};
};

}  // namespace postern::host
