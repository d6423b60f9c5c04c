// SPDX-License-Identifier: Apache-2.0
// What options compile into.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/linux/monitor/launch.hpp"
#include "tests/monitor/tree.hpp"

namespace postern::host {
namespace {

std::string rule(const View& view, std::string_view path) {
    core::Decision decision = view.table().find("file", path);
    return decision.route == nullptr ? "none" : std::string{decision.route->origin};
}
core::TargetKind target(const View& view, std::string_view path) {
    core::Decision decision = view.table().find("file", path);
    return decision.route == nullptr ? core::TargetKind::deny : decision.route->target.kind;
}

struct In {
    explicit In(const std::string& directory) { (void)!chdir(directory.c_str()); }
    ~In() { (void)!chdir("/"); }
};

TEST(Volumes, Parse) {
    auto both = parse_volume("/a:/b:rw");
    ASSERT_TRUE(both.ok());
    EXPECT_EQ(both.value().source, "/a");
    EXPECT_EQ(both.value().destination, "/b");
    EXPECT_TRUE(both.value().writable);
    auto one = parse_volume("/a");
    ASSERT_TRUE(one.ok());
    EXPECT_EQ(one.value().destination, "/a");
    EXPECT_FALSE(one.value().writable);
    auto mode = parse_volume("/a/../c//d/:ro");
    ASSERT_TRUE(mode.ok());
    EXPECT_EQ(mode.value().destination, "/c/d");
    for (const char* bad : {"", ":/b", "/a:b", "/a:/b:rx", "/a:/b:rw:x", "/a:"})
        EXPECT_FALSE(parse_volume(bad).ok()) << bad;
}

TEST(DefaultView, ShowsProgramsAndHidesSecrets) {
    Tree tree;
    In here{tree.path()};
    ViewOptions options;
    options.home = "/home/someone";
    auto view = compile_view(options);
    ASSERT_TRUE(view.ok());
    EXPECT_EQ(rule(view.value(), "/usr/bin/env"), "default: system programs");
    EXPECT_EQ(rule(view.value(), "/etc/passwd"), "default: listed settings");
    EXPECT_EQ(rule(view.value(), "/etc/ssl/certs/x.pem"), "default: listed settings");
    for (const char* secret : {"/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/sudoers", "/etc/sudoers.d/x",
                               "/etc/ssl/private/key.pem", "/etc/ssh/ssh_host_rsa_key"}) {
        EXPECT_EQ(target(view.value(), secret), core::TargetKind::deny) << secret;
    }
    EXPECT_EQ(rule(view.value(), "/etc/hostname"), "none");
    EXPECT_EQ(rule(view.value(), "/var/lib/dpkg/status"), "none");
    EXPECT_EQ(rule(view.value(), "/home/other"), "none");
    EXPECT_EQ(target(view.value(), "/home/someone/x"), core::TargetKind::memory);
    EXPECT_EQ(target(view.value(), "/tmp/x"), core::TargetKind::memory);
    EXPECT_EQ(target(view.value(), "/proc/1"), core::TargetKind::library);
    // The working directory lies below the private /tmp, and is laid over it.
    EXPECT_EQ(rule(view.value(), tree.path() + "/x"), "default: working directory, read-only");
    EXPECT_EQ(view.value().working_directory(), tree.path());
}

TEST(DefaultView, DoesNotShowHomeOrItsParents) {
    Tree tree;
    tree.directory("home");
    tree.directory("home/user");
    tree.directory("home/user/project");
    for (const char* place : {"", "/home", "/home/user"}) {
        In here{tree.path() + place};
        ViewOptions options;
        options.home = tree.path() + "/home/user";
        auto view = compile_view(options);
        ASSERT_TRUE(view.ok());
        EXPECT_NE(rule(view.value(), tree.path() + "/home/user/x"), "default: working directory, read-only") << place;
    }
    In here{tree.path() + "/home/user/project"};
    ViewOptions options;
    options.home = tree.path() + "/home/user";
    auto view = compile_view(options);
    ASSERT_TRUE(view.ok());
    EXPECT_EQ(rule(view.value(), tree.path() + "/home/user/project/x"), "default: working directory, read-only");
    EXPECT_EQ(rule(view.value(), tree.path() + "/home/user/x"), "default: private home");
}

TEST(DefaultView, StandingInEtcShowsNoSecrets) {
    In here{"/etc"};
    auto view = compile_view({});
    ASSERT_TRUE(view.ok());
    EXPECT_EQ(target(view.value(), "/etc/shadow"), core::TargetKind::deny);
    EXPECT_EQ(target(view.value(), "/etc/fstab"), core::TargetKind::directory);
}

TEST(DefaultView, RootIsNeverShown) {
    In here{"/"};
    auto view = compile_view({});
    ASSERT_TRUE(view.ok());
    EXPECT_EQ(rule(view.value(), "/var"), "none");
    EXPECT_EQ(view.value().working_directory(), "/");
}

TEST(VolumeRoutes, DeeperDestinationsFirstAndBeforeDefaults) {
    Tree tree;
    tree.directory("a");
    tree.directory("b");
    ViewOptions options;
    for (const char* text : {"/a:/x", "/b:/x/y:rw", "/a:/usr/local"}) {
        options.volumes.push_back(parse_volume(tree.path() + text).take());
    }
    auto view = compile_view(options);
    ASSERT_TRUE(view.ok());
    EXPECT_NE(rule(view.value(), "/x/y/z").find("/b:"), std::string::npos);
    EXPECT_NE(rule(view.value(), "/x/z").find("/a:"), std::string::npos);
    EXPECT_NE(rule(view.value(), "/usr/local/bin").find("/a:"), std::string::npos);
    EXPECT_EQ(rule(view.value(), "/usr/bin"), "default: system programs");
}

TEST(VolumeRoutes, MissingSourceIsAnErrorThatNamesIt) {
    ViewOptions options;
    options.volumes.push_back(parse_volume("/no/such/place").take());
    auto view = compile_view(options);
    ASSERT_FALSE(view.ok());
    EXPECT_NE(std::string{view.error().message}.find("/no/such/place"), std::string::npos);
    EXPECT_EQ(view.error().status, 125);
}

TEST(RootOption, ReplacesTheSystem) {
    Tree tree;
    ViewOptions options;
    options.root = tree.path();
    auto view = compile_view(options);
    ASSERT_TRUE(view.ok());
    EXPECT_EQ(rule(view.value(), "/usr/bin"), "--root " + tree.path());
    EXPECT_EQ(target(view.value(), "/proc"), core::TargetKind::library);
    EXPECT_EQ(view.value().working_directory(), "/");
}

TEST(Describe, PrintsTextAndJson) {
    auto view = compile_view({});
    ASSERT_TRUE(view.ok());
    EXPECT_NE(describe_routes(view.value(), false).find("file:/usr/** -> host /usr r-x (default: system programs)\n"),
              std::string::npos);
    std::string json = describe_routes(view.value(), true);
    EXPECT_EQ(json.front(), '[');
    EXPECT_NE(json.find("\"path\": \"/usr\""), std::string::npos);
}

}  // namespace
}  // namespace postern::host
