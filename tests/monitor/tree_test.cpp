// SPDX-License-Identifier: Apache-2.0
// Whole directories in one answer: what they hold, and what they must not tell or deny.
#include <sys/stat.h>

#include <map>
#include <random>
#include <set>

#include "gate/abi.hpp"
#include "tests/monitor/no_family.hpp"
#include "tests/monitor/tree.hpp"

namespace postern::host {
namespace {

using gate::Err;
using gate::StreamType;

struct Listed {
    std::string name, target;
    u8 type = 0, flags = 0;
    u64 identity = 0, cookie = 0;
    gate::ListedAttributes attributes = {};
};

class TreeTest : public testing::Test {
protected:
    TreeTest() {
        for (const char* directory :
             {"usr", "usr/a", "usr/a/b", "usr/c", "usr/c/d", "usr/c/d/e", "usr/f", "other", "rw"})
            tree_.directory(directory);
        tree_.file("usr/file", "0123456789");
        tree_.file("usr/c/x");
        tree_.file("usr/c/d/y");
        tree_.file("usr/f/z");
        tree_.file("other/secret");
        tree_.file("rw/file");
        tree_.link("usr/link", "c/x");
        tree_.link("usr/out", "../other");
        EXPECT_EQ(mknod(tree_.at("usr/socket").c_str(), S_IFSOCK | 0600, 0), 0);
    }
    void serve() {
        table_.add("/rw", tree_.at("rw"), true);
        table_.add("/tmp", "", true, core::TargetKind::memory);
        table_.add("/usr", tree_.at("usr"), false, core::TargetKind::directory, true, true);
        names_ = std::make_unique<Names>(table_.table(), false);
        requests_ = std::make_unique<Requests>(*names_, family_, 1 << 20);
    }
    Request request(Ask what, std::string_view name) {
        Request request;
        request.ask = what;
        request.name_length = static_cast<u32>(name.size());
        memcpy(request.names, name.data(), name.size());
        return request;
    }
    Reply ask(std::string_view name, u32 options = 0, u64 cookie = 0) {
        Request list = request(Ask::tree, name);
        list.options = options;
        list.size = cookie;
        return requests_->serve(list);
    }
    static std::vector<Listed> parse(const Reply& reply) {
        std::vector<Listed> all;
        EXPECT_LE(reply.text.size(), gate::kListBuffer);
        EXPECT_EQ(reply.text.size() % 8, 0u);
        for (usize at = 0; at < reply.text.size();) {
            gate::ListRecord record;
            memcpy(&record, reply.text.data() + at, sizeof record);
            Listed listed;
            usize head = sizeof record;
            if ((record.flags & gate::kListedAttributes) != 0) {
                memcpy(&listed.attributes, reply.text.data() + at + head, sizeof listed.attributes);
                head += sizeof listed.attributes;
            }
            EXPECT_GE(record.size, head + record.name_length + 1u);
            listed.name = reply.text.substr(at + head, record.name_length);
            if (record.target_length != 0)
                listed.target = reply.text.substr(at + head + record.name_length + 1, record.target_length);
            listed.type = record.type, listed.flags = record.flags;
            listed.identity = record.identity, listed.cookie = record.cookie;
            all.push_back(listed);
            if (record.size == 0) break;
            at += record.size;
        }
        return all;
    }
    static std::set<std::string> names_of(const std::vector<Listed>& all) {
        std::set<std::string> names;
        for (const Listed& listed : all) names.insert(listed.name);
        return names;
    }

    Tree tree_;
    Table table_;
    NoFamily family_;
    std::unique_ptr<Names> names_;
    std::unique_ptr<Requests> requests_;
};

TEST_F(TreeTest, TellsNamesAndAttributes) {
    serve();
    Reply reply = ask("file:/usr/./c/..", gate::kListAttributes | gate::kListWhole);
    ASSERT_EQ(reply.error, Err::ok);
    EXPECT_EQ(reply.second, "/usr");
    EXPECT_EQ(reply.value, 0u);
    EXPECT_EQ(reply.attributes.type, StreamType::directory);
    EXPECT_EQ(reply.cache, 1u);
    EXPECT_NE(reply.flags & kReplyBare, 0u);
    EXPECT_FALSE(reply.first_fd.valid());
    std::map<std::string, Listed> all;
    for (const Listed& listed : parse(reply)) all[listed.name] = listed;
    EXPECT_EQ(all.size(), 9u);
    struct stat status;
    ASSERT_EQ(lstat(tree_.at("usr/file").c_str(), &status), 0);
    const Listed& file = all["file"];
    EXPECT_EQ(file.type, static_cast<u8>(StreamType::file));
    EXPECT_EQ(file.flags, u8{gate::kListedAttributes});
    EXPECT_EQ(file.attributes.size, 10u);
    EXPECT_EQ(file.identity, status.st_ino);
    EXPECT_EQ(file.attributes.volume, status.st_dev);
    EXPECT_EQ(file.attributes.mode, status.st_mode & 07777);
    EXPECT_EQ(file.attributes.modified.seconds, status.st_mtim.tv_sec);
    EXPECT_EQ(file.attributes.modified.nanoseconds, static_cast<u32>(status.st_mtim.tv_nsec));
    EXPECT_EQ(all["link"].target, "c/x");
    EXPECT_EQ(all["out"].target, "../other");
    EXPECT_EQ(all["c"].attributes.links, 3u);
    // What no route gives has a name and nothing else.
    EXPECT_EQ(all["socket"].type, static_cast<u8>(StreamType::socket));
    EXPECT_EQ(all["socket"].flags, 0u);
    EXPECT_EQ(all["."].flags, 0u);
}

TEST_F(TreeTest, OnlyWhatDoesNotChange) {
    serve();
    EXPECT_EQ(ask("file:/rw").error, Err::unsupported);
    EXPECT_EQ(ask("file:/").error, Err::unsupported);
    Reply inside = ask("file:/tmp/x");
    EXPECT_EQ(inside.error, Err::not_found);
    EXPECT_EQ(inside.flags, u32{kReplyInside});
    EXPECT_EQ(ask("file:/usr/file").error, Err::not_directory);
    EXPECT_EQ(ask("file:/usr/out").error, Err::not_found);  // in the view it is /other
    EXPECT_EQ(ask("file:/nowhere").error, Err::not_found);
    EXPECT_EQ(ask("pipe:x").error, Err::not_found);
    EXPECT_EQ(ask("nonsense").error, Err::bad_argument);
    // A way over what may change may lead elsewhere tomorrow.
    tree_.link("rw/way", "/usr/c");
    EXPECT_EQ(ask("file:/rw/way").error, Err::unsupported);
    EXPECT_EQ(ask("file:/usr/c").error, Err::ok);
}

TEST_F(TreeTest, OtherRulesBelowAreRespected) {
    table_.add("/usr/a/b", tree_.at("other"));
    core::Route secret;
    secret.scheme = "file";
    secret.path = "/usr/f/*key";
    secret.match = core::Match::glob;
    secret.target.kind = core::TargetKind::deny;
    secret.stable = true;
    ASSERT_TRUE(table_.table().add(secret).ok());
    serve();
    EXPECT_EQ(ask("file:/usr").error, Err::unsupported);
    EXPECT_EQ(ask("file:/usr", gate::kListBelow).error, Err::unsupported);
    EXPECT_EQ(ask("file:/usr/a").error, Err::unsupported);
    EXPECT_EQ(ask("file:/usr/a/b").error, Err::unsupported);
    EXPECT_EQ(ask("file:/usr/f").error, Err::unsupported);
    EXPECT_EQ(ask("file:/usr/c").error, Err::ok);
    auto flags = [&](std::string_view name) { return requests_->serve(request(Ask::attributes, name)).flags; };
    EXPECT_EQ(flags("file:/usr") & kReplyBare, 0u);
    EXPECT_EQ(flags("file:/usr/a") & kReplyBare, 0u);
    EXPECT_NE(flags("file:/usr/c") & kReplyBare, 0u);
    EXPECT_EQ(flags("file:/rw") & kReplyBare, 0u);
    EXPECT_NE(flags("file:/usr/none") & kReplyBare, 0u);
    EXPECT_NE(flags("file:/usr/none/at/all") & kReplyBare, 0u);
    EXPECT_EQ(flags("file:/rw/none") & kReplyBare, 0u);
    EXPECT_EQ(flags("file:/usr/f/my-key") & kReplyBare, 0u);
    EXPECT_EQ(flags("file:/tmp/x") & kReplyBare, 0u);
}

TEST_F(TreeTest, NothingIsDeniedAboveARule) {
    // The rule's own place is not on the host: the directories on the way to it are there all the same.
    table_.add("/usr/not/here/yet", tree_.at("other"));
    serve();
    Reply way = requests_->serve(request(Ask::attributes, "file:/usr/not"));
    EXPECT_EQ(way.error, Err::ok);
    EXPECT_EQ(way.flags & kReplyBare, 0u);
    EXPECT_EQ(ask("file:/usr").error, Err::unsupported);
    EXPECT_EQ(ask("file:/usr/not").error, Err::unsupported);
}

TEST_F(TreeTest, LargeDirectoriesComeInPages) {
    std::set<std::string> expected{".", ".."};
    for (int i = 0; i < 500; ++i) {
        std::string name = "name-" + std::to_string(i);
        tree_.file("usr/f/" + name);
        expected.insert(name);
    }
    expected.insert("z");
    serve();
    for (u32 options : {0u, u32{gate::kListAttributes}}) {
        std::set<std::string> found;
        u64 cookie = 0;
        u32 pages = 0;
        do {
            Reply reply = ask("file:/usr/f", options, cookie);
            ASSERT_EQ(reply.error, Err::ok);
            for (const Listed& listed : parse(reply)) {
                EXPECT_TRUE(found.insert(listed.name).second) << listed.name;
                if (options != 0 && listed.name[0] != '.') {
                    EXPECT_NE(listed.flags & gate::kListedAttributes, 0);
                }
            }
            cookie = reply.value;
            ASSERT_LT(++pages, 200u);
        } while (cookie != 0);
        EXPECT_EQ(found, expected);
        EXPECT_GT(pages, 1u);
    }
    EXPECT_EQ(ask("file:/usr/f", gate::kListWhole).error, Err::too_big);
    // Attributes of few names come unasked.
    auto with = [&](std::string_view name) {
        usize count = 0;
        for (const Listed& listed : parse(ask(name, gate::kListFew))) count += listed.flags != 0;
        return count;
    };
    EXPECT_EQ(with("file:/usr/c"), 2u);
    EXPECT_EQ(with("file:/usr/f"), 0u);
}

TEST_F(TreeTest, ListsBelowAreWhole) {
    for (int i = 0; i < 400; ++i) tree_.file("usr/f/name-" + std::to_string(i));
    serve();
    Reply reply = ask("file:/usr", gate::kListBelow);
    ASSERT_EQ(reply.error, Err::ok);
    std::map<std::string, std::set<std::string>> lists;
    std::map<std::string, u8> flags;
    std::string current;
    for (const Listed& listed : parse(reply)) {
        if ((listed.flags & gate::kListedDirectory) != 0) {
            current = listed.name;
            flags[current] = listed.flags;
            EXPECT_EQ(listed.type, static_cast<u8>(StreamType::directory));
            continue;
        }
        EXPECT_FALSE(current.empty());
        lists[current].insert(listed.name);
    }
    using Set = std::set<std::string>;
    EXPECT_EQ(lists["a"], (Set{".", "..", "b"}));
    EXPECT_EQ(lists["a/b"], (Set{".", ".."}));
    EXPECT_EQ(lists["c"], (Set{".", "..", "d", "x"}));
    EXPECT_EQ(lists["c/d/e"], (Set{".", ".."}));
    EXPECT_NE(flags["f"] & gate::kListedLarge, 0);
    EXPECT_FALSE(lists.contains("f"));
    EXPECT_FALSE(flags.contains("out"));  // never through a link
    // From a position on: only what comes after it.
    Listed first;
    for (const Listed& listed : parse(ask("file:/usr")))
        if (listed.type == static_cast<u8>(StreamType::directory) && listed.name[0] != '.') {
            first = listed;
            break;
        }
    auto after = names_of(parse(ask("file:/usr", gate::kListBelow, first.cookie)));
    EXPECT_FALSE(after.contains(first.name));
    EXPECT_EQ(flags.size(), [&] {
        usize count = 0;
        for (const Listed& listed : parse(ask("file:/usr", gate::kListBelow, first.cookie)))
            count += (listed.flags & gate::kListedDirectory) != 0;
        for (const auto& [name, flag] : flags) count += name == first.name || name.starts_with(first.name + "/");
        return count;
    }());
}

TEST_F(TreeTest, HostileNumbersAreAnswered) {
    serve();
    EXPECT_EQ(ask("file:/usr", ~0u).error, Err::bad_argument);
    EXPECT_EQ(ask("file:/usr", 0, ~0ull).error, Err::bad_argument);
    std::mt19937_64 random{1};
    for (int i = 0; i < 2000; ++i) {
        Reply reply =
            ask(i % 3 == 0 ? "file:/usr/c" : "file:/usr", static_cast<u32>(random() % 16), random() >> random() % 64);
        if (reply.error != Err::ok) continue;
        for (const Listed& listed : parse(reply)) {
            EXPECT_NE(listed.name, "secret");
            EXPECT_FALSE(listed.name.starts_with("out/"));
        }
    }
}

TEST_F(TreeTest, RefusedAttributesAreNotToldInAnotherWay) {
    // A device's and a socket's names are seen, as in any listing; what they are is refused when asked about directly.
    serve();
    EXPECT_EQ(requests_->serve(request(Ask::attributes, "file:/usr/socket")).error, Err::denied);
    for (const Listed& listed : parse(ask("file:/usr", gate::kListAttributes)))
        if (listed.name == "socket") {
            EXPECT_EQ(listed.flags & gate::kListedAttributes, 0);
        }
}

}  // namespace
}  // namespace postern::host
