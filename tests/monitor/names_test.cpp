// SPDX-License-Identifier: Apache-2.0
// Resolution of names: links stay in the view, nothing escapes, races lose. Each with openat2 and without.
#include "host/linux/monitor/names.hpp"

#include <sys/wait.h>

#include "tests/monitor/tree.hpp"

namespace postern::host {
namespace {

using gate::Err;

class NamesTest : public testing::TestWithParam<bool> {
protected:
    void SetUp() override {
        tree_.directory("data");
        tree_.directory("data/sub");
        tree_.directory("outside");
        tree_.file("data/file", "inside");
        tree_.file("data/sub/deep", "deep");
        tree_.file("outside/secret", "secret");
        table_.add("/data", tree_.at("data"));
    }
    Names& names() {
        if (!names_) names_ = std::make_unique<Names>(table_.table(), GetParam());
        return *names_;
    }
    Err resolve(std::string_view path, bool follow = true) { return names().resolve(path, follow, place_); }
    std::string content() {
        Fd fd{names().reopen(place_.fd.get(), O_RDONLY)};
        char text[64];
        ssize_t size = read(fd.get(), text, sizeof text);
        return size < 0 ? "?" : std::string(text, static_cast<usize>(size));
    }

    Tree tree_;
    Table table_;
    std::unique_ptr<Names> names_;
    Place place_;
};

INSTANTIATE_TEST_SUITE_P(Kernels, NamesTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "WalkingByHand" : "Openat2"; });

TEST_P(NamesTest, FindsFilesAndTheirCanonicalNames) {
    for (const char* path :
         {"/data/file", "/data//file", "/data/./file", "/data/sub/../file", "//data/sub/./../file", "/../data/file"}) {
        ASSERT_EQ(resolve(path), Err::ok) << path;
        EXPECT_EQ(place_.kind, PlaceKind::object);
        EXPECT_EQ(place_.canonical, "/data/file");
        EXPECT_EQ(content(), "inside");
    }
}

TEST_P(NamesTest, TellsMissingFromNowhere) {
    ASSERT_EQ(resolve("/data/none"), Err::ok);
    EXPECT_EQ(place_.kind, PlaceKind::missing);
    ASSERT_EQ(resolve("/data/none/below"), Err::ok);
    EXPECT_EQ(place_.kind, PlaceKind::missing);
    Fd directory;
    std::string last;
    EXPECT_EQ(names().parent(place_, directory, last), Err::not_found);
    EXPECT_EQ(resolve("/data/none/../file"), Err::not_found);
    EXPECT_EQ(resolve("/nowhere"), Err::not_found);
    EXPECT_EQ(resolve("/nowhere/deep"), Err::not_found);
    ASSERT_EQ(names().refusals().size(), 2u);
    EXPECT_EQ(names().refusals()[0].name, "/nowhere");
    EXPECT_EQ(names().refusals()[1].name, "/nowhere/deep");
}

TEST_P(NamesTest, FilesAreNotDirectories) {
    EXPECT_EQ(resolve("/data/file/"), Err::not_directory);
    EXPECT_EQ(resolve("/data/file/."), Err::not_directory);
    EXPECT_EQ(resolve("/data/file/.."), Err::not_directory);
    EXPECT_EQ(resolve("/data/file/x"), Err::not_directory);
    EXPECT_EQ(resolve("/data/sub/"), Err::ok);
}

TEST_P(NamesTest, SyntheticParents) {
    ASSERT_EQ(resolve("/"), Err::ok);
    EXPECT_EQ(place_.kind, PlaceKind::synthetic);
    std::vector<Names::Child> children;
    names().children("/", children);
    ASSERT_EQ(children.size(), 1u);
    EXPECT_EQ(children[0].name, "data");
    EXPECT_EQ(resolve("/.."), Err::ok);
    EXPECT_EQ(place_.canonical, "/");
}

TEST_P(NamesTest, LinksAreFollowedInTheView) {
    tree_.link("data/relative", "sub/deep");
    tree_.link("data/absolute", "/data/sub/deep");
    tree_.link("data/up", "sub/../file");
    tree_.link("data/chain", "relative");
    tree_.link("data/directory", "sub");
    for (const char* path : {"/data/relative", "/data/absolute", "/data/chain", "/data/directory/deep"}) {
        ASSERT_EQ(resolve(path), Err::ok) << path;
        EXPECT_EQ(place_.canonical, "/data/sub/deep") << path;
        EXPECT_EQ(content(), "deep");
    }
    ASSERT_EQ(resolve("/data/up"), Err::ok);
    EXPECT_EQ(place_.canonical, "/data/file");
    ASSERT_EQ(resolve("/data/directory/../file"), Err::ok);
    EXPECT_EQ(place_.canonical, "/data/file");
    ASSERT_EQ(resolve("/data/relative", false), Err::ok);
    EXPECT_TRUE(S_ISLNK(place_.status.st_mode));
    ASSERT_EQ(resolve("/data/directory/deep", false), Err::ok);
    EXPECT_EQ(place_.canonical, "/data/sub/deep");
}

TEST_P(NamesTest, DotsAtTheEndNameDirectories) {
    tree_.link("data/directory", "sub");
    tree_.link("data/text", "file");
    for (const char* path : {"/data/sub/.", "/data/sub/./.", "/data/directory/.", "/data/directory/./"}) {
        ASSERT_EQ(resolve(path, false), Err::ok) << path;
        EXPECT_EQ(place_.kind, PlaceKind::object) << path;
        EXPECT_EQ(place_.canonical, "/data/sub") << path;
        EXPECT_TRUE(place_.must_be_directory) << path;
    }
    ASSERT_EQ(resolve("/data/."), Err::ok);
    EXPECT_EQ(place_.canonical, "/data");
    ASSERT_EQ(resolve("/."), Err::ok);
    EXPECT_EQ(place_.kind, PlaceKind::synthetic);
    EXPECT_EQ(resolve("/data/file/."), Err::not_directory);
    EXPECT_EQ(resolve("/data/text/."), Err::not_directory);
    EXPECT_EQ(resolve("/data/none/."), Err::not_found);
}

/// A way through links of an immutable route is remembered: what is laid over it later on the way still counts.
TEST_P(NamesTest, KnownLinksLeadTheSameWay) {
    tree_.link("data/directory", "sub");
    tree_.link("data/absolute", "/data/directory");
    tree_.directory("over");
    tree_.file("over/deep", "laid over");
    Table table;
    table.add("/data/directory/over", tree_.at("over"));
    table.add("/data", tree_.at("data"), false, core::TargetKind::directory, true, true);
    Names names{table.table(), GetParam()};
    for (int i = 0; i < 3; ++i) {
        for (const char* path : {"/data/directory/deep", "/data/absolute/deep", "/data/absolute/../sub/deep"}) {
            Place place;
            names.begin();
            ASSERT_EQ(names.resolve(path, true, place), Err::ok) << path;
            EXPECT_EQ(place.canonical, "/data/sub/deep") << path;
            EXPECT_TRUE(names.lasting());
        }
        Place place;
        ASSERT_EQ(names.resolve("/data/directory", false, place), Err::ok);
        EXPECT_TRUE(S_ISLNK(place.status.st_mode));
        ASSERT_EQ(names.resolve("/data/directory/over/deep", true, place), Err::ok);
        EXPECT_EQ(place.canonical, "/data/directory/over/deep");
        ASSERT_EQ(names.resolve("/data/directory/none", true, place), Err::ok);
        EXPECT_EQ(place.kind, PlaceKind::missing);
        EXPECT_EQ(place.canonical, "/data/sub/none");
    }
}

TEST_P(NamesTest, LinksDoNotEscape) {
    tree_.link("data/out", tree_.at("outside/secret"));
    tree_.link("data/dots", "../outside/secret");
    tree_.link("data/outdir", "../outside");
    tree_.link("data/proc", "/proc/self/root");
    for (const char* path : {"/data/out", "/data/dots", "/data/outdir/secret", "/data/proc/etc/shadow",
                             "/data/../outside/secret", "/data/sub/../../outside/secret"}) {
        Err error = resolve(path);
        EXPECT_EQ(error, Err::not_found) << path;
    }
}

TEST_P(NamesTest, LinksLeadAcrossRoutes) {
    tree_.directory("other");
    tree_.file("other/thing", "other");
    table_.add("/other", tree_.at("other"));
    table_.add("/tmp", "", true, core::TargetKind::memory);
    tree_.link("data/across", "/other/thing");
    tree_.link("data/private", "/tmp/x");
    tree_.link("data/privatedir", "../tmp");
    ASSERT_EQ(resolve("/data/across"), Err::ok);
    EXPECT_EQ(place_.canonical, "/other/thing");
    EXPECT_EQ(content(), "other");
    ASSERT_EQ(resolve("/data/private"), Err::ok);
    EXPECT_EQ(place_.kind, PlaceKind::inside);
    EXPECT_EQ(place_.canonical, "/tmp/x");
    ASSERT_EQ(resolve("/data/privatedir/a/../b"), Err::ok);
    EXPECT_EQ(place_.canonical, "/tmp/a/../b");
}

TEST_P(NamesTest, LinkLoopsEnd) {
    tree_.link("data/a", "b");
    tree_.link("data/b", "a");
    tree_.link("data/self", "self/x");
    EXPECT_EQ(resolve("/data/a"), Err::too_many_links);
    EXPECT_EQ(resolve("/data/self"), Err::too_many_links);
    ASSERT_EQ(resolve("/data/a", false), Err::ok);
}

TEST_P(NamesTest, DanglingLinksNameTheMissing) {
    tree_.link("data/dangling", "sub/new");
    ASSERT_EQ(resolve("/data/dangling"), Err::ok);
    EXPECT_EQ(place_.kind, PlaceKind::missing);
    EXPECT_EQ(place_.canonical, "/data/sub/new");
    Fd directory;
    std::string last;
    ASSERT_EQ(names().parent(place_, directory, last), Err::ok);
    EXPECT_EQ(last, "new");
}

TEST_P(NamesTest, TopsOfRoutesMayBeLinks) {
    tree_.link("short", "data/sub");
    Table table;
    table.add("/short", tree_.at("short"), false, core::TargetKind::directory, true);
    table.add("/data", tree_.at("data"));
    Names names{table.table(), GetParam()};
    Place place;
    ASSERT_EQ(names.resolve("/short/deep", true, place), Err::ok);
    EXPECT_EQ(place.canonical, "/data/sub/deep");
    ASSERT_EQ(names.resolve("/short", false, place), Err::ok);
    EXPECT_TRUE(S_ISLNK(place.status.st_mode));
    ASSERT_EQ(names.resolve("/short", true, place), Err::ok);
    EXPECT_TRUE(S_ISDIR(place.status.st_mode));
}

TEST_P(NamesTest, OnlyFilesDirectoriesAndFifosUnlessNamed) {
    ASSERT_EQ(mknod(tree_.at("data/socket").c_str(), S_IFSOCK | 0600, 0), 0);
    EXPECT_EQ(resolve("/data/socket"), Err::denied);
    table_.add("/socket", tree_.at("data/socket"));
    ASSERT_EQ(mkfifo(tree_.at("data/fifo").c_str(), 0600), 0);
    EXPECT_EQ(resolve("/data/fifo"), Err::ok);
    table_.add("/fifo", tree_.at("data/fifo"));
    names_.reset();
    ASSERT_EQ(resolve("/fifo"), Err::ok);
    EXPECT_TRUE(S_ISFIFO(place_.status.st_mode));
    ASSERT_EQ(resolve("/socket"), Err::ok);
    EXPECT_TRUE(S_ISSOCK(place_.status.st_mode));
}

TEST_P(NamesTest, ProcIsNeverEntered) {
    Table table;
    table.add("/", "/");
    Names names{table.table(), GetParam()};
    for (bool worker : {false, true}) {
        if (worker) names.set_in_worker();
        for (const char* path : {"/proc/self/environ", "/proc/1/root", "/sys/kernel", "/proc/self/fd/0"}) {
            Place place;
            Err error = names.resolve(path, true, place);
            EXPECT_TRUE(error == Err::denied || (!worker && error == Err::busy)) << path << static_cast<int>(error);
        }
    }
    Place place;
    table.add("/x", "/proc");
    Table proc;
    proc.add("/p", "/proc");
    Names named{proc.table(), GetParam()};
    EXPECT_EQ(named.resolve("/p/self/environ", true, place), Err::denied);
}

TEST_P(NamesTest, DeeperRoutesHideAndOverlay) {
    Table table;
    table.add("/data/sub", "", false, core::TargetKind::deny);
    table.add("/data/extra", tree_.at("outside"));
    table.add("/data", tree_.at("data"));
    Names names{table.table(), GetParam()};
    Place place;
    EXPECT_EQ(names.resolve("/data/sub/deep", true, place), Err::not_found);
    ASSERT_EQ(names.resolve("/data/extra/secret", true, place), Err::ok);
    EXPECT_TRUE(names.overlaid("/data"));
    EXPECT_FALSE(names.overlaid("/data/extra"));
    std::vector<Names::Child> children;
    names.children("/data", children);
    ASSERT_EQ(children.size(), 2u);
    EXPECT_EQ(children[0].type, kListHidden);
    EXPECT_EQ(children[1].name, "extra");
}

TEST_P(NamesTest, LongNames) {
    EXPECT_EQ(resolve("/data/" + std::string(300, 'x')), Err::name_too_long);
    std::string deep = "/data";
    while (deep.size() < 5000) deep += "/sub";
    EXPECT_EQ(resolve(deep), Err::name_too_long);
}

// Somebody swaps a directory for a link to the outside as fast as possible, while names below it are resolved.
TEST_P(NamesTest, RacingRenamesNeverEscape) {
    tree_.directory("data/swap");
    tree_.file("data/swap/secret", "harmless");
    tree_.link("data/evil", "../outside");
    int swapper = fork();
    if (swapper == 0) {
        std::string a = tree_.at("data/swap"), b = tree_.at("data/evil");
        for (;;) renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE);
    }
    int seen = 0;
    for (int i = 0; i < 20000; ++i) {
        if (resolve("/data/swap/secret") != Err::ok || place_.kind != PlaceKind::object) continue;
        ASSERT_EQ(content(), "harmless");
        ++seen;
    }
    kill(swapper, SIGKILL);
    waitpid(swapper, nullptr, 0);
    EXPECT_GT(seen, 0);
}

}  // namespace
}  // namespace postern::host
