// SPDX-License-Identifier: Apache-2.0
// Questions that are answered before they are asked: which, by whose rules, and what a kept file can do at most.
#include "host/linux/monitor/foresight.hpp"

#include <random>

#include "gate/abi.hpp"
#include "tests/monitor/no_family.hpp"
#include "tests/monitor/tree.hpp"

namespace postern::host {
namespace {

using gate::Err;

/// One start after the other of the same program. The routes: /usr is immutable, /rw is not, /usr/hidden is refused.
class ForesightTest : public testing::Test {
protected:
    ForesightTest() : memory_(kForeseenSize / 8) {
        for (const char* name : {"usr", "usr/lib", "usr/hidden", "rw", "cache"}) tree_.directory(name);
        tree_.file("usr/lib/a", "first");
        tree_.file("usr/lib/b");
        tree_.file("usr/hidden/secret");
        tree_.file("rw/file");
        cache_ = tree_.at("cache/starts");
        table_.add("/usr/hidden", "", false, core::TargetKind::deny);
        table_.add("/usr", tree_.at("usr"), false, core::TargetKind::directory, true, true);
        table_.add("/rw", tree_.at("rw"), true);
    }
    Request request(Ask what, std::string_view name, u32 access = 0) {
        Request request;
        request.ask = what, request.access = access;
        request.name_length = static_cast<u32>(name.size());
        memcpy(request.names, name.data(), name.size());
        return request;
    }
    struct Run {
        Names names;
        Requests requests;
        Foresight foresight;
        std::vector<Fd> files;
        Run(Table& table, Family& family, const std::string& cache, const StartKey& key)
            : names{table.table(), false}, requests{names, family, 1 << 20}, foresight{cache, key} {}
    };
    ForeseenTable& table() { return *reinterpret_cast<ForeseenTable*>(memory_.data()); }
    std::unique_ptr<Run> start(StartKey key = {1, 2}) {
        memory_.assign(memory_.size(), 0);
        auto run = std::make_unique<Run>(table_, family_, cache_, key);
        run->foresight.answer(run->requests, run->names, table(), run->files);
        return run;
    }
    void ask(Run& run, const Request& request) { run.foresight.note(request, run.requests.serve(request)); }
    /// A start that asks these, and those of them that were not foreseen of the monitor.
    u32 begin(const std::vector<Request>& questions, StartKey key = {1, 2}) {
        auto run = start(key);
        for (const Request& question : questions) {
            if (ForeseenAnswer* answer = find(question))
                answer->used = 1;
            else
                ask(*run, question);
        }
        return run->foresight.keep(table());
    }
    ForeseenAnswer* find(const Request& question) {
        u32 hash = hash_of_question({question.ask, question.access, question.options, question.size}, question.name());
        for (const auto& place : table().places) {
            auto* answer = reinterpret_cast<ForeseenAnswer*>(reinterpret_cast<char*>(&table()) + place.offset);
            if (place.hash == hash && std::string_view{reinterpret_cast<char*>(answer + 1)} == question.name())
                return answer;
        }
        return nullptr;
    }
    std::string member() const {
        char name[20];
        snprintf(name, sizeof name, "c%016x", 1);
        return "cache/starts/" + std::string{name};
    }

    const std::vector<Request> usual_ = {
        request(Ask::open, "file:/usr/lib/a", gate::kAccessRead), request(Ask::attributes, "file:/usr/lib"),
        request(Ask::attributes, "file:/usr/lib/none"), request(Ask::tree, "file:/usr/lib")};
    Tree tree_;
    Table table_;
    NoFamily family_;
    std::string cache_;
    std::vector<u64> memory_;
};

TEST_F(ForesightTest, AfterTwoStartsThatAskedTheSame) {
    EXPECT_EQ(begin(usual_), 0u);
    EXPECT_EQ(begin(usual_), 0u);
    EXPECT_EQ(begin(usual_), 4u);
    auto run = start();
    ForeseenAnswer* file = find(usual_[0]);
    ASSERT_NE(file, nullptr);
    EXPECT_EQ(file->error, Err::ok);
    ASSERT_EQ(run->files.size(), 1u);
    EXPECT_EQ(file->descriptor, kFdForeseen);
    char text[8] = {};
    EXPECT_EQ(pread(run->files[0].get(), text, sizeof text, 0), 5);
    EXPECT_EQ(std::string{text}, "first");
    EXPECT_EQ(find(usual_[1])->attributes.type, gate::StreamType::directory);
    EXPECT_EQ(find(usual_[1])->descriptor, -1);
    EXPECT_EQ(find(usual_[2])->error, Err::not_found);
    EXPECT_GT(find(usual_[3])->text_length, 0u);
}

TEST_F(ForesightTest, AnswersAreThisRuns) {
    for (int i = 0; i < 3; ++i) begin(usual_);
    tree_.file("usr/lib/none");
    std::filesystem::remove(tree_.at("usr/lib/a"));
    auto run = start();
    EXPECT_EQ(find(usual_[0])->error, Err::not_found);
    EXPECT_TRUE(run->files.empty());
    EXPECT_EQ(find(usual_[2])->error, Err::ok);
}

TEST_F(ForesightTest, ForgetsWhatIsNotAskedAnyMore) {
    for (int i = 0; i < 3; ++i) begin(usual_);
    EXPECT_EQ(begin({}), 0u);
    EXPECT_EQ(begin({}), 0u);
    start();
    EXPECT_EQ(table().count, 0u);
    EXPECT_EQ(begin({}), 0u);
    EXPECT_EQ(begin(usual_), 0u);
}

TEST_F(ForesightTest, OtherStartsKnowNothingOfIt) {
    for (int i = 0; i < 3; ++i) begin(usual_);
    auto run = start({2, 3});
    EXPECT_EQ(table().count, 0u);
    EXPECT_TRUE(run->files.empty());
}

TEST_F(ForesightTest, NewCommandsGetWhatLikeOnesHaveInCommon) {
    std::vector<Request> one = usual_, other = usual_;
    one.push_back(request(Ask::attributes, "file:/usr/lib/b"));
    other.push_back(request(Ask::attributes, "file:/usr/lib/other"));
    begin(one, {10, 2});
    begin(other, {11, 2});
    EXPECT_EQ(begin(one, {12, 2}), 4u);
    // A command of its own has its own, and no other one takes that away.
    for (int i = 0; i < 3; ++i) begin(one, {20, 2});
    for (int i = 0; i < 3; ++i) begin({}, {21, 2});
    EXPECT_EQ(begin(one, {20, 2}), 5u);
}

TEST_F(ForesightTest, RoomIsMadeForNewOnes) {
    for (u64 i = 0; i < 600; ++i) begin(usual_, {100 + i, 2});
    usize members = 0;
    for ([[maybe_unused]] const auto& member : std::filesystem::directory_iterator{cache_}) ++members;
    EXPECT_LE(members, 512u);
    EXPECT_EQ(begin(usual_, {1000, 2}), 4u);
}

TEST_F(ForesightTest, NothingThatMayChangeOrThatARuleRefuses) {
    Request made = request(Ask::open, "file:/usr/lib/b", gate::kAccessRead);
    made.create = gate::kCreateTry;
    const std::vector<Request> others = {
        request(Ask::attributes, "file:/rw/file"), request(Ask::attributes, "file:/usr/hidden/secret"),
        request(Ask::attributes, "file:/nowhere"), request(Ask::open, "file:/usr/lib/b", gate::kAccessWrite),
        request(Ask::remove, "file:/usr/lib/b"),   made};
    for (int i = 0; i < 4; ++i) EXPECT_EQ(begin(others), 0u);
    start();
    EXPECT_EQ(table().count, 0u);
}

TEST_F(ForesightTest, ARuleOfLaterHoldsAndIsNotReportedUnasked) {
    const std::vector<Request> questions = {request(Ask::attributes, "file:/usr/lib/a")};
    for (int i = 0; i < 3; ++i) begin(questions);
    Table stricter;
    stricter.add("/usr/lib", "", false, core::TargetKind::deny);
    stricter.add("/usr", tree_.at("usr"), false, core::TargetKind::directory, true, true);
    memory_.assign(memory_.size(), 0);
    Run run{stricter, family_, cache_, {1, 2}};
    run.foresight.answer(run.requests, run.names, table(), run.files);
    EXPECT_EQ(table().count, 0u);
    EXPECT_TRUE(run.names.refusals().empty());
    EXPECT_EQ(run.requests.serve(questions[0]).error, Err::not_found);
    EXPECT_EQ(run.names.refusals().size(), 1u);
}

TEST_F(ForesightTest, WhatPicoprocessesWroteOnlyMakesItForget) {
    for (int i = 0; i < 3; ++i) begin(usual_);
    auto run = start();
    std::mt19937_64 random{1};
    for (u64& word : memory_) word = random();
    run->foresight.keep(table());
    memory_.assign(memory_.size(), ~0ull);
    run->foresight.keep(table());
    start();
    EXPECT_LE(table().count, 4u);
}

TEST_F(ForesightTest, DamagedAndForeignFilesAreNotBelieved) {
    for (int i = 0; i < 3; ++i) begin(usual_);
    const std::string good = tree_.text(member());
    ASSERT_GT(good.size(), 100u);
    auto count_of = [&](const std::string& text) {
        std::filesystem::remove(tree_.at(member()));
        tree_.file(member(), text);
        chmod(tree_.at(member()).c_str(), 0600);
        start();
        return table().count;
    };
    EXPECT_EQ(count_of(good), 4u);
    for (usize i = 0; i < good.size(); ++i) {
        std::string bad = good;
        bad[i] = static_cast<char>(bad[i] ^ 0x41);
        u32 count = count_of(bad);
        // Behind the sum everything counts; the number of records may say too many.
        EXPECT_TRUE(count == 0 || (i >= 8 && i < 16 && count <= 4)) << i;
        EXPECT_EQ(count_of(good.substr(0, i)), 0u) << i;
    }
    EXPECT_EQ(count_of(good), 4u);
    chmod(tree_.at(member()).c_str(), 0666);
    start();
    EXPECT_EQ(table().count, 0u);
    chmod(tree_.at(member()).c_str(), 0600);
    chmod(cache_.c_str(), 0777);
    start();
    EXPECT_EQ(table().count, 0u);
}

/// Somebody with the user's own rights wrote the file: it still only asks, and only what is answered without a deed.
TEST_F(ForesightTest, ForgedQuestionsDoNothing) {
    struct {
        u64 magic, count, sum;
    } header;
    begin(usual_);
    memcpy(&header, tree_.text(member()).data(), sizeof header);
    std::mt19937_64 random{7};
    const char* names[] = {"file:/usr/hidden/secret",
                           "file:/usr/../usr/hidden/./secret",
                           "file:/usr/lib/a",
                           "file:/rw/file",
                           "file:/rw/new",
                           "pipe.server:x",
                           "memory:?size=1000000",
                           "x",
                           ""};
    for (int round = 0; round < 300; ++round) {
        std::string records;
        header.count = 40;
        for (u64 i = 0; i < header.count; ++i) {
            std::string_view name = names[random() % std::size(names)];
            u32 numbers[8] = {static_cast<u32>(random() % (kAskCount + 2)),
                              static_cast<u32>(random() % 9),
                              static_cast<u32>(random()) & (i % 2 ? 0x3ffu : ~0u),
                              3,
                              0,
                              0,
                              static_cast<u32>(name.size()),
                              0};
            if (random() % 16 == 0) numbers[6] = static_cast<u32>(random());
            records.append(reinterpret_cast<char*>(numbers), sizeof numbers);
            records += name;
            records.resize((records.size() + 7) & ~7ul);
        }
        header.sum = sum_of(records.data(), records.size());
        std::filesystem::remove(tree_.at(member()));
        tree_.file(member(), std::string{reinterpret_cast<char*>(&header), sizeof header} + records);
        chmod(tree_.at(member()).c_str(), 0600);
        auto run = start();
        EXPECT_TRUE(run->names.refusals().empty());
        for (const auto& place : table().places) {
            if (place.hash == 0) continue;
            auto* answer = reinterpret_cast<ForeseenAnswer*>(reinterpret_cast<char*>(&table()) + place.offset);
            std::string_view name{reinterpret_cast<char*>(answer + 1)};
            EXPECT_EQ(name.find("hidden"), name.npos);
            EXPECT_EQ(name.find("/rw"), name.npos);
        }
    }
    EXPECT_FALSE(tree_.exists("rw/new"));
    EXPECT_EQ(tree_.text("usr/lib/a"), "first");
    EXPECT_EQ(tree_.text("rw/file"), "text");
}

TEST(StartKey, OptionsCountAndOperandsMakeStartsAlike) {
    LaunchOptions options;
    auto key = [&](std::vector<std::string> program) {
        options.program = std::move(program);
        return start_key(options);
    };
    StartKey compile = key({"gcc", "-c", "a.c"});
    EXPECT_EQ(key({"gcc", "-c", "a.c"}).same, compile.same);
    EXPECT_NE(key({"gcc", "-c", "b.c"}).same, compile.same);
    EXPECT_EQ(key({"gcc", "-c", "b.c"}).alike, compile.alike);
    EXPECT_NE(key({"gcc", "-S", "a.c"}).alike, compile.alike);
    EXPECT_NE(key({"cc", "-c", "a.c"}).alike, compile.alike);
    options.view.root = "/other";
    EXPECT_NE(key({"gcc", "-c", "a.c"}).alike, compile.alike);
}

}  // namespace
}  // namespace postern::host
