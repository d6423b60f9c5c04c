// SPDX-License-Identifier: Apache-2.0
// Routes: precedence, patterns, what exists only as a parent, printing.
#include "core/route.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace postern::core {
namespace {

using gate::Err;
using gate::Right;

class Routes : public testing::Test {
protected:
    Route route_[16];
    char text_[4096];
    RouteTable table_{route_, text_};

    Err add(std::string_view path, Match match, TargetKind kind, std::string_view origin = "test",
            std::string_view scheme = "file") {
        Route route;
        route.scheme = scheme;
        route.path = path;
        route.match = match;
        route.target.kind = kind;
        route.target.name = "/host";
        route.rights = Right::read | Right::execute;
        route.origin = origin;
        auto added = table_.add(route);
        return added.ok() ? Err::ok : added.error();
    }
    std::string origin(std::string_view path, std::string_view scheme = "file") {
        Decision decision = table_.find(scheme, path);
        return decision.route == nullptr ? "none" : std::string{decision.route->origin};
    }
    std::string rest(std::string_view path) { return std::string{table_.find("file", path).rest}; }
};

TEST_F(Routes, FirstMatchWins) {
    add("/data/secret", Match::subtree, TargetKind::deny, "deny");
    add("/data", Match::subtree, TargetKind::directory, "data");
    add("/data/secret/open", Match::subtree, TargetKind::directory, "too late");
    EXPECT_EQ(origin("/data"), "data");
    EXPECT_EQ(origin("/data/x"), "data");
    EXPECT_EQ(origin("/data/secret"), "deny");
    EXPECT_EQ(origin("/data/secret/open/x"), "deny");
    EXPECT_EQ(origin("/data/secrets"), "data");
}

TEST_F(Routes, NoMatchDoesNotExist) {
    add("/a", Match::subtree, TargetKind::directory);
    EXPECT_EQ(origin("/ab"), "none");
    EXPECT_EQ(origin("/"), "none");
    EXPECT_EQ(origin("/a", "tcp"), "none");
    EXPECT_EQ(origin(""), "none");
}

TEST_F(Routes, ExactCoversNothingBelow) {
    add("/etc/passwd", Match::exact, TargetKind::directory, "exact");
    EXPECT_EQ(origin("/etc/passwd"), "exact");
    EXPECT_EQ(origin("/etc/passwd/x"), "none");
}

TEST_F(Routes, RestIsBelowThePattern) {
    add("/", Match::subtree, TargetKind::directory, "root");
    EXPECT_EQ(rest("/"), "");
    EXPECT_EQ(rest("/a/b"), "a/b");
}

TEST_F(Routes, GlobsCoverOneComponent) {
    add("/etc/python*", Match::glob, TargetKind::directory, "glob");
    EXPECT_EQ(origin("/etc/python3"), "glob");
    EXPECT_EQ(origin("/etc/python"), "glob");
    EXPECT_EQ(origin("/etc/python3/site.py"), "glob");
    EXPECT_EQ(rest("/etc/python3/site.py"), "site.py");
    EXPECT_EQ(rest("/etc/python3"), "");
    EXPECT_EQ(origin("/etc/pytho"), "none");
    EXPECT_EQ(origin("/etc/"), "none");
    EXPECT_EQ(origin("/etc"), "none");
}

TEST(Globs, CoverRuns) {
    EXPECT_TRUE(glob_covers("*", ""));
    EXPECT_TRUE(glob_covers("*", "abc"));
    EXPECT_TRUE(glob_covers("a*c", "abbc"));
    EXPECT_TRUE(glob_covers("a*b*c", "aXbYbZc"));
    EXPECT_TRUE(glob_covers("**a", "a"));
    EXPECT_FALSE(glob_covers("a*c", "abcd"));
    EXPECT_FALSE(glob_covers("", "a"));
    EXPECT_TRUE(glob_covers("", ""));
    // No exponential blow-up.
    std::string pattern, text(4000, 'a');
    for (int i = 0; i < 200; ++i) pattern += "a*";
    EXPECT_FALSE(glob_covers(pattern + "b", text));
}

TEST_F(Routes, OtherSchemesMatchAlike) {
    add("example.org:443", Match::exact, TargetKind::service, "net", "tcp");
    EXPECT_EQ(origin("example.org:443", "tcp"), "net");
    EXPECT_EQ(origin("example.org:80", "tcp"), "none");
}

TEST_F(Routes, ParentsOfGrantingRulesExist) {
    add("/home/u/secret", Match::subtree, TargetKind::deny);
    add("/srv/www/html", Match::subtree, TargetKind::directory);
    EXPECT_TRUE(table_.is_parent("file", "/"));
    EXPECT_TRUE(table_.is_parent("file", "/srv"));
    EXPECT_TRUE(table_.is_parent("file", "/srv/www"));
    EXPECT_FALSE(table_.is_parent("file", "/srv/www/html"));
    EXPECT_FALSE(table_.is_parent("file", "/srv/ww"));
    EXPECT_FALSE(table_.is_parent("file", "/home"));
    std::vector<std::string> names;
    table_.children("file", "/srv", [&](std::string_view name, const Route* route) {
        names.emplace_back(name);
        EXPECT_EQ(route, nullptr);
    });
    EXPECT_EQ(names, std::vector<std::string>{"www"});
}

TEST_F(Routes, RefusesWhatIsNotNormal) {
    for (const char* path : {"", "relative", "/a/", "/a//b", "/a/./b", "/a/..", "//"}) {
        EXPECT_EQ(add(path, Match::subtree, TargetKind::directory), Err::bad_argument) << path;
    }
    EXPECT_EQ(add("/", Match::subtree, TargetKind::directory), Err::ok);
    EXPECT_EQ(add("/.hidden/..x", Match::subtree, TargetKind::directory), Err::ok);
}

TEST_F(Routes, FullStorageIsAnError) {
    for (int i = 0; i < 16; ++i) EXPECT_EQ(add("/x", Match::exact, TargetKind::directory), Err::ok);
    EXPECT_EQ(add("/x", Match::exact, TargetKind::directory), Err::no_quota);
}

TEST(Uris, SplitAtTheFirstColon) {
    std::string_view scheme, path;
    EXPECT_TRUE(split_uri("file:/a:b", scheme, path));
    EXPECT_EQ(scheme, "file");
    EXPECT_EQ(path, "/a:b");
    EXPECT_TRUE(split_uri("pipe:", scheme, path));
    EXPECT_EQ(path, "");
    EXPECT_FALSE(split_uri("/a:b", scheme, path));
    EXPECT_FALSE(split_uri(":x", scheme, path));
    EXPECT_FALSE(split_uri("", scheme, path));
}

TEST_F(Routes, PrintEachRuleWithItsOrigin) {
    add("/data", Match::subtree, TargetKind::directory, "-v /data:ro");
    add("/etc/shadow", Match::exact, TargetKind::deny, "default: \"secrets\"");
    char buffer[1024];
    Text out{buffer, sizeof buffer};
    table_.print(out);
    EXPECT_EQ(out.view(),
              "file:/data/** -> host /host r-x (-v /data:ro)\n"
              "file:/etc/shadow -> deny /host (default: \"secrets\")\n");
    Text json{buffer, sizeof buffer};
    table_.print_json(json);
    EXPECT_NE(json.view().find("\"origin\": \"default: \\\"secrets\\\"\""), std::string_view::npos);
    EXPECT_NE(json.view().find("\"rights\": \"---\""), std::string_view::npos);
}

}  // namespace
}  // namespace postern::core
