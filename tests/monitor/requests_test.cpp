// SPDX-License-Identifier: Apache-2.0
// What picoprocesses ask, asked directly: files and directories under routes, and slots full of hostile numbers.
#include "host/linux/monitor/requests.hpp"

#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <random>
#include <thread>

#include "gate/abi.hpp"
#include "tests/monitor/no_family.hpp"
#include "tests/monitor/tree.hpp"

namespace postern::host {
namespace {

using gate::Err;
using gate::StreamType;

class SmallFamily final : public NoFamily {
public:
    Result<int, Err> create_process(const std::string& program, const std::vector<std::string>& arguments,
                                    const Fd (&)[3]) override {
        created = program;
        this->arguments = arguments;
        return 77;
    }
    Fd standard_stream(int) override { return Fd{open("/dev/null", O_RDWR | O_CLOEXEC)}; }
    Result<u32, Err> exit_code(int process) override {
        if (process == 5) return 3u;
        return Failure{Err::not_found};
    }
    gate::Err add_usage(int process, gate::MembersUsage& usage) override {
        if (process == 6) return gate::Err::would_block;
        if (process == 5) usage.most_memory = 4096, usage.minor_faults += 7;
        return gate::Err::ok;
    }
    void log(LogKind, std::string_view text) override { logged = text; }
    std::string created, logged;
    std::vector<std::string> arguments;
};

class RequestsTest : public testing::Test {
protected:
    RequestsTest() {
        tree_.directory("rw");
        tree_.directory("rw/sub");
        tree_.directory("ro");
        tree_.directory("other");
        tree_.file("rw/file", "0123456789");
        tree_.file("ro/file", "read only");
        tree_.file("secret", "secret");
        table_.add("/rw", tree_.at("rw"), true);
        table_.add("/ro", tree_.at("ro"));
        table_.add("/other", tree_.at("other"), true);
        table_.add("/tmp", "", true, core::TargetKind::memory);
        names_ = std::make_unique<Names>(table_.table(), false);
        requests_ = std::make_unique<Requests>(*names_, family_, 1 << 20);
    }
    Request ask(Ask what, std::string_view name, std::string_view second = {}) {
        Request request;
        request.ask = what;
        request.name_length = static_cast<u32>(name.size());
        request.second_length = static_cast<u32>(second.size());
        memcpy(request.names, name.data(), name.size());
        if (!second.empty()) memcpy(request.names + name.size() + 1, second.data(), second.size());
        request.owner = 10;
        return request;
    }
    Reply open(std::string_view name, u32 access, u32 create = gate::kCreateNever, u32 options = 0, u32 mode = 0644) {
        Request request = ask(Ask::open, name);
        request.access = access;
        request.create = create;
        request.options = options;
        request.mode = mode;
        return requests_->serve(request);
    }
    Err remove(std::string_view name, u32 directory = 0) {
        Request request = ask(Ask::remove, name);
        request.flags = directory;
        return requests_->serve(request).error;
    }
    Err pair(Ask what, std::string_view name, std::string_view second, u32 flags = 0) {
        Request request = ask(what, name, second);
        request.flags = flags;
        return requests_->serve(request).error;
    }
    static constexpr u32 kRead = gate::kAccessRead, kWrite = gate::kAccessWrite;

    Tree tree_;
    Table table_;
    SmallFamily family_;
    std::unique_ptr<Names> names_;
    std::unique_ptr<Requests> requests_;
};

TEST_F(RequestsTest, Usage) {
    auto numbers = [](std::initializer_list<u32> members) {
        return std::string{reinterpret_cast<const char*>(members.begin()), members.size() * sizeof(u32)};
    };
    Reply reply = requests_->serve(ask(Ask::usage, "", numbers({5, 7, 5, ~0u})));
    ASSERT_EQ(reply.error, Err::ok);
    gate::MembersUsage usage;
    ASSERT_EQ(reply.text.size(), sizeof usage);
    memcpy(&usage, reply.text.data(), sizeof usage);
    EXPECT_EQ(usage.most_memory, 4096u);
    EXPECT_EQ(usage.minor_faults, 14u);
    EXPECT_EQ(requests_->serve(ask(Ask::usage, "", numbers({5, 6}))).error, Err::would_block);
    EXPECT_EQ(requests_->serve(ask(Ask::usage, "", "odd")).error, Err::bad_argument);
    EXPECT_EQ(requests_->serve(ask(Ask::usage, "", std::string(65 * 4, 'x'))).error, Err::bad_argument);
    EXPECT_EQ(requests_->serve(ask(Ask::usage, "")).error, Err::ok);
}

TEST_F(RequestsTest, OpenReads) {
    Reply reply = open("file:/rw/sub/../file", kRead);
    ASSERT_EQ(reply.error, Err::ok);
    EXPECT_EQ(reply.text, "/rw/file");
    EXPECT_EQ(reply.flags, u32{kReplyDescriptor});
    EXPECT_EQ(reply.attributes.size, 10u);
    EXPECT_EQ(reply.attributes.type, StreamType::file);
    EXPECT_EQ(fcntl(reply.first_fd.get(), F_GETFL) & O_ACCMODE, O_RDONLY);
}

TEST_F(RequestsTest, ReadOnlyRoutesGiveReadOnlyDescriptors) {
    EXPECT_EQ(open("file:/ro/file", kRead | kWrite).error, Err::read_only);
    EXPECT_EQ(open("file:/ro/file", gate::kAccessAppend).error, Err::read_only);
    EXPECT_EQ(open("file:/ro/file", kRead, gate::kCreateNever, gate::kOpenTruncate).error, Err::read_only);
    EXPECT_EQ(open("file:/ro/new", kWrite, gate::kCreateTry).error, Err::read_only);
    EXPECT_EQ(open("file:/ro", kRead | kWrite, 0, gate::kOpenTemporary).error, Err::read_only);
    EXPECT_EQ(remove("file:/ro/file"), Err::read_only);
    EXPECT_EQ(pair(Ask::link, "file:/ro/link", "x", 1), Err::read_only);
    EXPECT_EQ(pair(Ask::rename, "file:/ro/file", "file:/ro/new"), Err::read_only);
    EXPECT_EQ(pair(Ask::link, "file:/rw/hard", "file:/ro/file", 0), Err::cross_device);
    Request set = ask(Ask::attributes_set, "file:/ro/file");
    set.mask = gate::kSetMode;
    EXPECT_EQ(requests_->serve(set).error, Err::read_only);
    EXPECT_EQ(tree_.text("ro/file"), "read only");
    // The rule that refused is on record, once.
    ASSERT_EQ(names_->refusals().size(), 1u);
    EXPECT_EQ(names_->refusals()[0].name, "/ro");
}

TEST_F(RequestsTest, CreatesExclusivelyAndNeverThroughLinks) {
    EXPECT_EQ(open("file:/rw/new", kWrite, gate::kCreateAlways).error, Err::ok);
    EXPECT_EQ(open("file:/rw/new", kWrite, gate::kCreateAlways).error, Err::exists);
    EXPECT_EQ(open("file:/rw/new", kWrite, gate::kCreateTry).error, Err::ok);
    tree_.link("rw/out", "../secret2");
    EXPECT_EQ(open("file:/rw/out", kWrite, gate::kCreateTry).error, Err::read_only);  // in the view it is /secret2
    EXPECT_FALSE(tree_.exists("secret2"));
    tree_.link("rw/dangling", "sub/made");
    EXPECT_EQ(open("file:/rw/dangling", kWrite, gate::kCreateAlways).error, Err::exists);
    EXPECT_EQ(open("file:/rw/dangling", kWrite, gate::kCreateTry).error, Err::ok);
    EXPECT_TRUE(tree_.exists("rw/sub/made"));
    EXPECT_EQ(open("file:/rw/slash/", kWrite, gate::kCreateTry).error, Err::is_directory);
}

TEST_F(RequestsTest, NothingIsMadeInSyntheticDirectories) {
    EXPECT_EQ(open("file:/new", kWrite, gate::kCreateTry).error, Err::read_only);
    EXPECT_EQ(open("file:/new", kRead).error, Err::not_found);
    EXPECT_EQ(open("file:/new/deeper", kWrite, gate::kCreateTry).error, Err::not_found);
    EXPECT_EQ(pair(Ask::link, "file:/new", "x", 1), Err::read_only);
}

TEST_F(RequestsTest, NeverLeavesSetIdBits) {
    Reply reply = open("file:/rw/setid", kWrite, gate::kCreateAlways, 0, 06755);
    ASSERT_EQ(reply.error, Err::ok);
    struct stat status;
    ASSERT_EQ(fstat(reply.first_fd.get(), &status), 0);
    EXPECT_EQ(status.st_mode & 07000u, 0u);
    Request set = ask(Ask::attributes_set, "file:/rw/setid");
    set.mask = gate::kSetMode;
    set.attributes.mode = 06755;
    EXPECT_EQ(requests_->serve(set).error, Err::ok);
    ASSERT_EQ(stat(tree_.at("rw/setid").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777u, 0755u);
}

TEST_F(RequestsTest, TimesAndModes) {
    Request set = ask(Ask::attributes_set, "file:/rw/file");
    set.mask = gate::kSetMode | gate::kSetModified;
    set.attributes.mode = 0600;
    set.attributes.modified = {1000, 5, 0};
    Reply reply = requests_->serve(set);
    ASSERT_EQ(reply.error, Err::ok);
    EXPECT_EQ(reply.attributes.mode, 0600u);
    EXPECT_EQ(reply.attributes.modified.seconds, 1000);
    set.attributes.modified.nanoseconds = 1'000'000'000;
    EXPECT_EQ(requests_->serve(set).error, Err::bad_argument);
}

TEST_F(RequestsTest, Directories) {
    EXPECT_EQ(open("file:/rw/d", kRead, gate::kCreateAlways, gate::kOpenMakeDirectory, 0755).error, Err::ok);
    EXPECT_EQ(open("file:/rw/d", kRead, gate::kCreateAlways, gate::kOpenMakeDirectory, 0755).error, Err::exists);
    EXPECT_EQ(open("file:/rw/d", kRead, gate::kCreateNever, gate::kOpenDirectory).error, Err::ok);
    EXPECT_EQ(open("file:/rw/d", kWrite).error, Err::is_directory);
    EXPECT_EQ(remove("file:/rw/d"), Err::is_directory);
    EXPECT_EQ(open("file:/rw/d/x", kWrite, gate::kCreateAlways).error, Err::ok);
    EXPECT_EQ(remove("file:/rw/d", 1), Err::not_empty);
    EXPECT_EQ(remove("file:/rw/d/x"), Err::ok);
    EXPECT_EQ(remove("file:/rw/d", 1), Err::ok);
    EXPECT_EQ(remove("file:/rw/file", 1), Err::not_directory);
    // The top of a route is nobody's to remove.
    EXPECT_EQ(remove("file:/rw", 1), Err::busy);
    EXPECT_EQ(remove("file:/", 1), Err::busy);
}

TEST_F(RequestsTest, RenamesWithinOneRoute) {
    EXPECT_EQ(pair(Ask::rename, "file:/rw/file", "file:/rw/sub/moved"), Err::ok);
    EXPECT_EQ(tree_.text("rw/sub/moved"), "0123456789");
    EXPECT_EQ(pair(Ask::rename, "file:/rw/sub/moved", "file:/other/moved"), Err::cross_device);
    EXPECT_EQ(pair(Ask::rename, "file:/rw/sub/moved", "file:/tmp/moved"), Err::cross_device);
    EXPECT_EQ(pair(Ask::rename, "file:/rw/sub", "file:/rw/sub/below"), Err::bad_argument);
    tree_.file("rw/b", "b");
    EXPECT_EQ(pair(Ask::rename, "file:/rw/b", "file:/rw/sub/moved", gate::kRenameNoReplace), Err::exists);
    EXPECT_EQ(pair(Ask::rename, "file:/rw/b", "file:/rw/sub/moved", gate::kRenameExchange), Err::ok);
    EXPECT_EQ(tree_.text("rw/b"), "0123456789");
    EXPECT_EQ(pair(Ask::rename, "file:/rw/none", "file:/rw/x"), Err::not_found);
    EXPECT_EQ(pair(Ask::rename, "file:/rw/b", "file:/rw/x", 8), Err::bad_argument);
}

TEST_F(RequestsTest, Links) {
    EXPECT_EQ(pair(Ask::link, "file:/rw/soft", "../any/where", 1), Err::ok);
    Request query = ask(Ask::attributes, "file:/rw/soft");
    query.options = gate::kOpenLink;
    Reply reply = requests_->serve(query);
    ASSERT_EQ(reply.error, Err::ok);
    EXPECT_EQ(reply.attributes.type, StreamType::symlink);
    EXPECT_EQ(reply.second, "../any/where");
    EXPECT_EQ(open("file:/rw/soft", kRead, 0, gate::kOpenNoFollow).error, Err::too_many_links);
    EXPECT_EQ(pair(Ask::link, "file:/rw/hard", "file:/rw/file", 0), Err::ok);
    EXPECT_EQ(pair(Ask::link, "file:/rw/hard", "file:/rw/file", 0), Err::exists);
    EXPECT_EQ(pair(Ask::link, "file:/rw/dir", "file:/rw/sub", 0), Err::denied);
    // A link to the outside is not a way to a hard link of what it names.
    tree_.link("rw/evil", "../secret");
    EXPECT_EQ(pair(Ask::link, "file:/rw/stolen", "file:/rw/evil", 0), Err::ok);
    struct stat status;
    ASSERT_EQ(lstat(tree_.at("rw/stolen").c_str(), &status), 0);
    EXPECT_TRUE(S_ISLNK(status.st_mode));
}

TEST_F(RequestsTest, NamesServedInsideSayWhere) {
    tree_.link("rw/in", "/tmp/there");
    Reply reply = open("file:/rw/in", kRead);
    EXPECT_EQ(reply.error, Err::not_found);
    EXPECT_EQ(reply.flags, u32{kReplyInside});
    EXPECT_EQ(reply.text, "/tmp/there");
}

TEST_F(RequestsTest, ListsSyntheticDirectories) {
    Reply root = open("file:/", kRead);
    ASSERT_EQ(root.error, Err::ok);
    EXPECT_EQ(root.flags, u32{kReplySynthetic | kReplyOverlay});
    Reply list = requests_->serve(ask(Ask::list, "file:/"));
    ASSERT_EQ(list.error, Err::ok);
    std::vector<std::string> names;
    for (usize at = 0; at < list.text.size();) {
        gate::DirectoryRecord record;
        memcpy(&record, list.text.data() + at, sizeof record);
        names.emplace_back(list.text.data() + at + offsetof(gate::DirectoryRecord, name), record.name_length);
        ASSERT_GT(record.size, 0u);
        at += record.size;
    }
    EXPECT_EQ(names, (std::vector<std::string>{"rw", "ro", "other", "tmp"}));
}

TEST_F(RequestsTest, MemoryIsSealedAndCounted) {
    Request request = ask(Ask::memory, "");
    request.size = 1 << 19;
    Reply first = requests_->serve(request);
    ASSERT_EQ(first.error, Err::ok);
    EXPECT_NE(ftruncate(first.first_fd.get(), 0), 0);
    EXPECT_NE(ftruncate(first.first_fd.get(), 1 << 21), 0);
    EXPECT_EQ(requests_->serve(request).error, Err::ok);
    EXPECT_EQ(requests_->serve(request).error, Err::no_quota);
    request.size = ~0ull;
    EXPECT_EQ(requests_->serve(request).error, Err::bad_argument);
}

TEST_F(RequestsTest, NamedPipesMeet) {
    Request serve = ask(Ask::named_pipe, "pipe.server:meet");
    serve.flags = kNamedPipeServe;
    Request connect = ask(Ask::named_pipe, "pipe.client:meet");
    connect.flags = kNamedPipeConnect;
    // Without a route there are no named pipes at all.
    EXPECT_EQ(requests_->serve(serve).error, Err::not_found);
    for (const char* scheme : {"pipe.server", "pipe.client"}) {
        core::Route route;
        route.scheme = scheme;
        route.path = "*";
        route.match = core::Match::glob;
        route.target.kind = core::TargetKind::family;
        ASSERT_TRUE(table_.table().add(route).ok());
    }
    Names names{table_.table(), false};
    Requests requests{names, family_, 1 << 20};
    EXPECT_EQ(requests.serve(connect).error, Err::not_found);
    Reply server = requests.serve(serve);
    ASSERT_EQ(server.error, Err::ok);
    EXPECT_EQ(requests.serve(serve).error, Err::exists);
    Reply client = requests.serve(connect);
    ASSERT_EQ(client.error, Err::ok);
    u64 number = 0;
    ASSERT_EQ(read(server.first_fd.get(), &number, sizeof number), 8);
    Request accept = ask(Ask::named_pipe, "");
    accept.flags = kNamedPipeAccept;
    accept.size = number;
    Reply accepted = requests.serve(accept);
    ASSERT_EQ(accepted.error, Err::ok);
    EXPECT_EQ(requests.serve(accept).error, Err::not_found);
    ASSERT_EQ(write(client.first_fd.get(), "hi", 2), 2);
    char text[2];
    EXPECT_EQ(read(accepted.first_fd.get(), text, 2), 2);
    server.first_fd.reset();
    EXPECT_EQ(requests.serve(connect).error, Err::not_found);
}

TEST_F(RequestsTest, ProcessesAreStartedWithCheckedPrograms) {
    EXPECT_EQ(pair(Ask::process_create, "file:/rw/none", ""), Err::not_found);
    EXPECT_EQ(pair(Ask::process_create, "file:/rw/sub", ""), Err::denied);
    EXPECT_EQ(pair(Ask::process_create, "nonsense", ""), Err::bad_argument);
    EXPECT_EQ(pair(Ask::process_create, "file:/rw/file", std::string_view{"a\0b\0", 4}), Err::ok);
    EXPECT_EQ(family_.arguments, (std::vector<std::string>{"a", "b"}));
    Request bad = ask(Ask::process_create, "file:/rw/file");
    bad.mask = 0xff;
    EXPECT_EQ(requests_->serve(bad).error, Err::bad_argument);
}

TEST_F(RequestsTest, FifosGoToAWorker) {
    ASSERT_EQ(mkfifo(tree_.at("fifo").c_str(), 0600), 0);
    table_.add("/fifo", tree_.at("fifo"));
    Names names{table_.table(), false};
    Requests requests{names, family_, 1 << 20};
    Request request = ask(Ask::open, "file:/fifo");
    request.access = kRead;
    EXPECT_TRUE(requests.serve(request).later);
}

TEST_F(RequestsTest, FifosBelowARouteAreNamesOnly) {
    constexpr u32 kMake = gate::kOpenMakeFifo;
    EXPECT_EQ(open("file:/rw/p", kRead, gate::kCreateTry, kMake, 0600).error, Err::bad_argument);
    EXPECT_EQ(open("file:/rw/p", kRead, gate::kCreateAlways, kMake | gate::kOpenMakeDirectory, 0600).error,
              Err::bad_argument);
    EXPECT_EQ(open("file:/ro/p", kRead, gate::kCreateAlways, kMake, 0600).error, Err::read_only);
    Reply made = open("file:/rw/p", kRead, gate::kCreateAlways, kMake, 0640);
    ASSERT_EQ(made.error, Err::ok);
    EXPECT_EQ(made.flags & kReplyDescriptor, 0u);
    EXPECT_EQ(made.attributes.type, gate::StreamType::pipe);
    EXPECT_EQ(made.attributes.mode, 0640u);
    EXPECT_EQ(open("file:/rw/p", kRead, gate::kCreateAlways, kMake, 0640).error, Err::exists);
    for (u32 access : {u32{kRead}, u32{kWrite}, kRead | kWrite}) {
        Reply opened = open("file:/rw/p", access, gate::kCreateNever, gate::kOpenNonBlocking);
        EXPECT_EQ(opened.error, Err::unsupported);
        EXPECT_EQ(opened.flags & kReplyDescriptor, 0u);
        EXPECT_EQ(opened.attributes.type, gate::StreamType::pipe);
    }
    EXPECT_EQ(open("file:/rw/p", kWrite, gate::kCreateTry, gate::kOpenTruncate).error, Err::unsupported);
    EXPECT_EQ(remove("file:/rw/p"), Err::ok);
}

// Slots ------------------------------------------------------------------------------------------------------------

struct SlotMemory {
    Slot* slot = static_cast<Slot*>(mmap(nullptr, 16384, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    ~SlotMemory() { munmap(slot, 16384); }
};

TEST(Slots, LengthsAreChecked) {
    SlotMemory memory;
    Request request;
    memory.slot->ask = Ask::open;
    memory.slot->name_length = kMaxPath - 1;
    memset(memory.slot->names, 'x', sizeof memory.slot->names);
    EXPECT_TRUE(copy_request(*memory.slot, request));
    EXPECT_EQ(request.names[kMaxPath - 1], 0);
    memory.slot->name_length = kMaxPath;
    EXPECT_FALSE(copy_request(*memory.slot, request));
    memory.slot->name_length = 4;
    memory.slot->second_length = ~0u;
    EXPECT_FALSE(copy_request(*memory.slot, request));
    memory.slot->second_length = 0;
    memory.slot->names[2] = 0;  // a NUL inside a name
    EXPECT_FALSE(copy_request(*memory.slot, request));
    memory.slot->names[2] = 'x';
    memory.slot->ask = static_cast<Ask>(1000);
    EXPECT_FALSE(copy_request(*memory.slot, request));
}

// Random slots that another thread scribbles over meanwhile: nothing outside the route changes, nothing crashes.
TEST_F(RequestsTest, HostileSlots) {
    SlotMemory memory;
    auto* bytes = reinterpret_cast<volatile u8*>(memory.slot);
    volatile bool stop = false;
    std::thread scribbler{[&] {
        std::minstd_rand random{7};
        while (!stop) bytes[random() % 400] = static_cast<u8>(random());
    }};
    std::mt19937 random{42};
    const char* pieces[] = {"file:",   "/rw",  "/ro",          "/..", "/.",           "//",   "/sub",    "/file",
                            "/secret", "/tmp", "pipe.server:", "a",   "pipe.client:", "\xff", "memory:", "/other",
                            "stdin:",  ":",    "service:x"};
    static Request request;
    for (int i = 0; i < 30000; ++i) {
        std::string names;
        u32 first = random() % 6, second = random() % 6;
        for (u32 k = 0; k < first; ++k) names += pieces[random() % std::size(pieces)];
        u32 length = static_cast<u32>(names.size());
        names += '\0';
        for (u32 k = 0; k < second; ++k) names += pieces[random() % std::size(pieces)];
        memcpy(memory.slot->names, names.data(), names.size());
        memory.slot->ask = static_cast<Ask>(random() % 18);
        memory.slot->name_length = random() % 50 == 0 ? random() : length;
        memory.slot->second_length = random() % 50 == 0 ? random() : static_cast<u32>(names.size()) - length - 1;
        for (u32* field : {&memory.slot->access, &memory.slot->mode, &memory.slot->create, &memory.slot->options,
                           &memory.slot->flags, &memory.slot->mask}) {
            *field = random() % 3 == 0 ? random() : random() % 8;
        }
        memory.slot->size = random() % 2 ? random() : random() % 4096;
        if (!copy_request(*memory.slot, request)) continue;
        if (request.ask == Ask::attributes_set) request.mask &= ~u32{gate::kSetMode};  // keep the tree readable
        Reply reply = requests_->serve(request);
        EXPECT_LT(static_cast<u32>(reply.error), gate::kErrCount);
        write_reply(*memory.slot, reply);
    }
    stop = true;
    scribbler.join();
    EXPECT_EQ(tree_.text("secret"), "secret");
    EXPECT_EQ(tree_.text("ro/file"), "read only");
    int count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(tree_.path())) ++count;
    EXPECT_EQ(count, 4);
}

}  // namespace
}  // namespace postern::host
