// SPDX-License-Identifier: Apache-2.0
// Streams of files: names, contents, lengths, attributes, links, locks, changes.
#include "tests/gate/guest/guest.hpp"

namespace guest {
namespace {

constexpr u32 kReadWrite = kAccessRead | kAccessWrite;

bool contents(Handle file, std::string_view wanted) {
    char text[256] = {};
    auto got = read(file, text, sizeof text, 0);
    return got.ok() && std::string_view{text, got.value()} == wanted;
}
Err remove(const char* uri, u32 directory = 0) { return err_of(gate().stream_delete(uri, directory)); }
Res<Attributes> query(const char* uri, u32 options = 0) { return gate().stream_attributes_query(uri, options); }
Err make_directory(const char* uri) {
    auto made = open(uri, kAccessRead, kCreateAlways, kOpenMakeDirectory | kOpenDirectory, 0755);
    if (!made.ok()) return made.error();
    close(made.value());
    return Err::ok;
}

}  // namespace

GATE_CASE(file_create_read_write) {
    const char* uri = at("plain.txt");
    (void)remove(uri);
    CHECK_ERR(open(uri, kAccessRead), not_found);
    Attributes attributes{};
    Handle file = kNoHandle;
    REQUIRE_OK(g_calls->DkStreamOpen(uri, kReadWrite, 0640, kCreateAlways, 0, &file, &attributes));
    CHECK(attributes.type == StreamType::file);
    CHECK_EQ(attributes.size, 0u);
    CHECK_EQ(attributes.links, 1u);
    CHECK_ERR(open(uri, kReadWrite, kCreateAlways), exists);
    CHECK_EQ(GET(write(file, "hello, gate", 0)), 11u);
    CHECK(contents(file, "hello, gate"));
    CHECK_EQ(GET(write(file, "H", 0)), 1u);
    CHECK_EQ(GET(write(file, "!", 20)), 1u);
    char byte = 'x';
    CHECK_EQ(GET(read(file, &byte, 1, 15)), 1u);
    CHECK_EQ(byte, 0);
    CHECK_EQ(GET(read(file, &byte, 1, 21)), 0u);
    CHECK_EQ(GET(read(file, &byte, 1, 1ull << 40)), 0u);
    CHECK_EQ(GET(read(file, &byte, 0, 0)), 0u);
    // Offsets belong to calls: another handle sees the same file.
    Handle other = GET(open(uri, kAccessRead));
    CHECK_EQ(GET(read(other, &byte, 1, 0)), 1u);
    CHECK_EQ(byte, 'H');
    CHECK_ERR(write(other, "x", 0), denied);
    CHECK_ERR(gate().stream_set_length(other, 0, 0, LengthChange::truncate), denied);
    Handle writer = GET(open(uri, kAccessWrite));
    CHECK_ERR(read(writer, &byte, 1, 0), denied);
    CHECK_ERR(read(file, &byte, 1, ~0ull - 8), bad_argument);
    auto* nowhere = reinterpret_cast<void*>(fresh_range(kPageSize));
    CHECK_ERR(read(file, nowhere, 1, 0), bad_address);
    u64 actual;
    CHECK_ERR(g_calls->DkStreamWrite(file, 0, nowhere, 1, &actual), bad_address);
    for (Handle handle : {file, other, writer}) close(handle);
    CHECK_OK(remove(uri));
    CHECK_ERR(remove(uri), not_found);
}

GATE_CASE(file_open_options) {
    const char* uri = at("options.txt");
    Handle file = GET(file_with(uri, "0123456789"));
    close(file);
    file = GET(open(uri, kAccessWrite, kCreateNever, kOpenTruncate));
    CHECK_EQ(GET(gate().stream_attributes_query_by_handle(file)).size, 0u);
    close(file);
    file = GET(open(uri, kAccessRead | kAccessAppend));
    CHECK_EQ(GET(write(file, "one", kNoOffset)), 3u);
    CHECK_EQ(GET(write(file, "two", 0)), 3u);  // append ignores the offset
    CHECK(contents(file, "onetwo"));
    close(file);
    CHECK_ERR(open(uri, kAccessRead, kCreateNever, kOpenDirectory), not_directory);
    CHECK_ERR(open(at("options.txt/below", 1), kAccessRead), not_directory);
    CHECK_ERR(open(scratch()[0] == '/' ? at("", 1) : at("", 1), kAccessWrite), is_directory);
    CHECK_ERR(open(uri, kAccessRead, 9), bad_argument);
    CHECK_ERR(open(uri, kAccessRead, kCreateNever, 0x8000), bad_argument);
    CHECK_ERR(open(uri, 0x100), bad_argument);
    CHECK_ERR(open(uri, kAccessRead, kCreateTry, 0, 010000), bad_argument);
    CHECK_ERR(open("file", kAccessRead), bad_argument);
    CHECK_ERR(open("", kAccessRead), bad_argument);
    Err unknown = err_of(open("gopher:x", kAccessRead));
    CHECK(unknown == Err::not_found || unknown == Err::bad_argument);
    CHECK_ERR(open(nullptr, kAccessRead), bad_address);
    CHECK_OK(remove(uri));
    // A name of 300 bytes in one component.
    static char name[400];
    memset(name, 'n', 300);
    CHECK_ERR(open(at(std::string_view{name, 300}, 1), kReadWrite, kCreateTry), name_too_long);
    // An unnamed file: nothing appears in the directory.
    auto unnamed = open(at("", 1), kReadWrite, kCreateNever, kOpenTemporary);
    if (unnamed.ok()) {
        CHECK_EQ(GET(write(unnamed.value(), "x", 0)), 1u);
        CHECK_EQ(GET(gate().stream_attributes_query_by_handle(unnamed.value())).links, 0u);
        close(unnamed.value());
    } else {
        CHECK_ERR(unnamed, unsupported);
    }
}

GATE_CASE(file_nothing_outside_the_routes) {
    CHECK_ERR(open("file:/no/such/name", kAccessRead), not_found);
    CHECK(!open("file:/etc/shadow", kAccessRead).ok());
    CHECK(!open("file:/proc/1/mem", kAccessRead).ok());
    CHECK(!open(at("../../../../../../../../etc/shadow"), kAccessRead).ok());
    CHECK(!open("file:/gate_was_never_here", kReadWrite, kCreateTry).ok());
}

GATE_CASE(file_set_length) {
    const char* uri = at("length.txt");
    Handle file = GET(file_with(uri, "0123456789"));
    auto size = [&] { return gate().stream_attributes_query_by_handle(file); };
    REQUIRE_OK(gate().stream_set_length(file, 0, 4, LengthChange::truncate));
    CHECK(contents(file, "0123"));
    REQUIRE_OK(gate().stream_set_length(file, 0, 6, LengthChange::truncate));
    CHECK(contents(file, std::string_view{"0123\0\0", 6}));
    // What a provider cannot do it says.
    Err error = err_of(gate().stream_set_length(file, 0, 20000, LengthChange::allocate));
    if (error == Err::ok) {
        CHECK_EQ(GET(size()).size, 20000u);
        CHECK(GET(size()).allocated >= 20000u);
    } else {
        CHECK_ERR(error, unsupported);
    }
    error = err_of(gate().stream_set_length(file, 0, 40000, LengthChange::allocate_keep_size));
    CHECK(error == Err::ok || error == Err::unsupported);
    CHECK(GET(size()).size <= 20000u);
    REQUIRE_OK(gate().stream_set_length(file, 0, 16384, LengthChange::truncate));
    for (u64 i = 0; i < 4; ++i) CHECK_OK(write(file, "page", i * 4096));
    char text[4];
    for (LengthChange change : {LengthChange::punch_hole, LengthChange::zero_range}) {
        error = err_of(gate().stream_set_length(file, 4096, 4096, change));
        if (error == Err::ok) {
            CHECK_OK(read(file, text, 4, 4096));
            CHECK_EQ(text[0], 0);
            CHECK_OK(read(file, text, 4, 8192));
            CHECK_EQ(text[0], 'p');
            CHECK_EQ(GET(size()).size, 16384u);
        } else {
            CHECK_ERR(error, unsupported);
        }
        CHECK_OK(write(file, "page", 4096));
    }
    error = err_of(gate().stream_set_length(file, 4096, 4096, LengthChange::collapse));
    if (error == Err::ok)
        CHECK_EQ(GET(size()).size, 12288u);
    else
        CHECK_ERR(error, unsupported);
    u64 before = GET(size()).size;
    error = err_of(gate().stream_set_length(file, 4096, 4096, LengthChange::insert));
    if (error == Err::ok)
        CHECK_EQ(GET(size()).size, before + 4096);
    else
        CHECK_ERR(error, unsupported);
    CHECK_ERR(gate().stream_set_length(file, 0, 1, static_cast<LengthChange>(99)), bad_argument);
    CHECK_ERR(gate().stream_set_length(file, 0, 0, LengthChange::allocate), bad_argument);
    CHECK_ERR(gate().stream_set_length(file, 0, ~0ull, LengthChange::truncate), too_big);
    CHECK_OK(gate().stream_flush(file, 0));
    CHECK_OK(gate().stream_flush(file, 1));
    CHECK_ERR(gate().stream_flush(file, 2), bad_argument);
    close(file);
    CHECK_OK(remove(uri));
}

GATE_CASE(file_map_private_and_shared) {
    const char* uri = at("map.bin");
    Handle file = GET(file_with(uri, "first"));
    REQUIRE_OK(gate().stream_set_length(file, 0, 2 * kPageSize, LengthChange::truncate));
    CHECK_OK(write(file, "second", kPageSize));
    u64 own = fresh_range(2 * kPageSize), shared = fresh_range(2 * kPageSize);
    REQUIRE_OK(gate().stream_map(file, own, 2 * kPageSize, 0, kProtRead | kProtWrite, kMapPrivate));
    REQUIRE_OK(gate().stream_map(file, shared, kPageSize, kPageSize, kProtRead | kProtWrite, kMapShared));
    auto* own_bytes = reinterpret_cast<char*>(own);
    auto* shared_bytes = reinterpret_cast<char*>(shared);
    CHECK(std::string_view(own_bytes, 5) == "first");
    CHECK(std::string_view(shared_bytes, 6) == "second");
    own_bytes[0] = 'F';
    shared_bytes[0] = 'S';
    char byte;
    CHECK_OK(read(file, &byte, 1, 0));
    CHECK_EQ(byte, 'f');
    CHECK_OK(read(file, &byte, 1, kPageSize));
    CHECK_EQ(byte, 'S');
    CHECK_OK(write(file, "T", kPageSize));
    CHECK_EQ(shared_bytes[0], 'T');
    // The stream's handle is no longer needed; a shared mapping needs the write right, an executable one execute.
    Handle reader = GET(open(uri, kAccessRead));
    u64 other = fresh_range(kPageSize);
    CHECK_ERR(gate().stream_map(reader, other, kPageSize, 0, kProtRead | kProtWrite, kMapShared), denied);
    CHECK_OK(gate().stream_map(reader, other, kPageSize, 0, kProtRead | kProtWrite, kMapPrivate | kMapPopulate));
    CHECK_ERR(gate().stream_map(reader, other, kPageSize, 0, kProtRead, kMapPrivate), exists);
    CHECK_OK(gate().stream_map(reader, other, kPageSize, kPageSize, kProtRead, kMapPrivate | kMapReplace));
    CHECK_EQ(*reinterpret_cast<char*>(other), 'T');
    CHECK_ERR(gate().stream_map(reader, other, kPageSize, 12, kProtRead, kMapPrivate | kMapReplace), bad_argument);
    CHECK_ERR(gate().stream_map(reader, other + 1, kPageSize, 0, kProtRead, kMapPrivate), bad_argument);
    CHECK_ERR(gate().stream_map(reader, other, 0, 0, kProtRead, kMapPrivate), bad_argument);
    CHECK_ERR(gate().stream_map(reader, other, kPageSize, 0, kProtRead, 0x100), bad_argument);
    close(reader);
    close(file);
    CHECK_EQ(shared_bytes[0], 'T');
    CHECK_OK(gate().stream_unmap(shared, kPageSize));
    CHECK(!probe_read(shared));
    CHECK_OK(gate().stream_unmap(own, kPageSize));
    CHECK(!probe_read(own));
    CHECK(probe_read(own + kPageSize));
    CHECK_OK(gate().stream_unmap(own, 2 * kPageSize));
    CHECK_OK(gate().stream_unmap(other, kPageSize));
    CHECK_OK(remove(uri));
}

GATE_CASE(map_behind_the_end_is_a_bus_error) {
    const char* uri = at("short.bin");
    Handle file = GET(file_with(uri, "x"));
    u64 address = fresh_range(2 * kPageSize);
    REQUIRE_OK(gate().stream_map(file, address, 2 * kPageSize, 0, kProtRead, kMapShared));
    CHECK(probe_read(address));
    CHECK(probe_read(address + kPageSize - 1));
    CHECK(!probe_read(address + kPageSize));
    CHECK(g_fault.kind == ExceptionKind::bus_error);
    CHECK_EQ(page_floor(g_fault.address), address + kPageSize);
    REQUIRE_OK(gate().stream_set_length(file, 0, 0, LengthChange::truncate));
    CHECK(!probe_read(address));
    CHECK(g_fault.kind == ExceptionKind::bus_error);
    CHECK_OK(gate().stream_unmap(address, 2 * kPageSize));
    close(file);
    CHECK_OK(remove(uri));
}

GATE_CASE(directories) {
    const char* uri = at("folder");
    REQUIRE_OK(make_directory(uri));
    CHECK_ERR(make_directory(uri), exists);
    for (std::string_view name : {"folder/b", "folder/a", "folder/ccc"}) {
        Handle file = GET(file_with(at(name, 1), "x"));
        close(file);
    }
    REQUIRE_OK(make_directory(at("folder/d", 1)));
    CHECK(GET(query(uri)).type == StreamType::directory);
    Handle directory = GET(open(uri, kAccessRead, kCreateNever, kOpenDirectory));
    // One record at a time as well as all at once: each name is reported once.
    for (u64 size : {u64{288}, u64{4096}}) {
        alignas(8) static u8 buffer[4096];
        u64 cookie = 0;
        u32 seen = 0, others = 0;
        for (u32 rounds = 0; rounds < 20; ++rounds) {
            u64 actual = 0;
            REQUIRE_OK(g_calls->DkStreamEnumerateChildren(directory, &cookie, buffer, size, &actual));
            if (actual == 0) break;
            CHECK(actual <= size);
            for (u64 offset = 0; offset < actual;) {
                auto& record = *reinterpret_cast<DirectoryRecord*>(buffer + offset);
                std::string_view name{record.name, record.name_length};
                auto type = static_cast<StreamType>(record.type);
                CHECK_EQ(record.name[record.name_length], 0);
                if (name == "a" || name == "b" || name == "ccc") {
                    ++seen;
                    CHECK(type == StreamType::file || type == StreamType::unknown);
                } else if (name == "d") {
                    ++seen;
                    CHECK(type == StreamType::directory || type == StreamType::unknown);
                } else if (name == "." || name == "..") {
                    ++others;
                } else {
                    CHECK(!"an unknown name");
                }
                if (record.size < 24) return report(__FILE__, __LINE__, "a record has a sound size", {});
                offset += record.size;
            }
        }
        CHECK_EQ(seen, 4u);
        CHECK(others == 2 || others == 0);
    }
    u64 cookie = 0, actual;
    alignas(8) u8 small[16];
    CHECK_ERR(g_calls->DkStreamEnumerateChildren(directory, &cookie, small, sizeof small, &actual), bad_argument);
    char byte;
    CHECK_ERR(read(directory, &byte, 1, 0), wrong_kind);
    CHECK_ERR(remove(uri, 0), is_directory);
    CHECK_ERR(remove(uri, 1), not_empty);
    CHECK_ERR(remove(at("folder/a", 1), 1), not_directory);
    CHECK_OK(remove(at("folder/d", 1), 1));
    for (std::string_view name : {"folder/a", "folder/b", "folder/ccc"}) CHECK_OK(remove(at(name, 1)));
    CHECK_OK(remove(uri, 1));
    CHECK_ERR(query(uri), not_found);
    close(directory);
}

GATE_CASE(rename_replaces_exchanges_and_refuses) {
    const char *a = at("rename.a", 0), *b = at("rename.b", 1);
    close(GET(file_with(a, "A")));
    close(GET(file_with(b, "B")));
    CHECK_ERR(gate().stream_rename(a, b, kRenameNoReplace), exists);
    Err error = err_of(gate().stream_rename(a, b, kRenameExchange));
    if (error == Err::ok) {
        Handle file = GET(open(a, kAccessRead));
        CHECK(contents(file, "B"));
        close(file);
        CHECK_OK(gate().stream_rename(a, b, kRenameExchange));
    } else {
        CHECK_ERR(error, unsupported);
    }
    CHECK_OK(gate().stream_rename(a, b, 0));
    CHECK_ERR(query(a), not_found);
    Handle file = GET(open(b, kAccessRead));
    CHECK(contents(file, "A"));
    CHECK_OK(gate().stream_rename(b, a, kRenameNoReplace));
    CHECK(contents(file, "A"));  // an open stream follows its object, not its name
    close(file);
    CHECK_ERR(gate().stream_rename(b, a, 0), not_found);
    CHECK_ERR(gate().stream_rename(a, b, 8), bad_argument);
    REQUIRE_OK(make_directory(at("rename.d", 2)));
    CHECK_ERR(gate().stream_rename(a, at("rename.d", 2), 0), is_directory);
    CHECK_ERR(gate().stream_rename(at("rename.d", 2), a, 0), not_directory);
    CHECK_OK(remove(at("rename.d", 2), 1));
    CHECK_OK(remove(a));
}

GATE_CASE(links) {
    const char *file_uri = at("links.txt", 0), *hard = at("links.hard", 1), *soft = at("links.soft", 2);
    close(GET(file_with(file_uri, "linked")));
    REQUIRE_OK(gate().stream_link(file_uri, hard, LinkKind::hard));
    CHECK_EQ(GET(query(file_uri)).links, 2u);
    CHECK_EQ(GET(query(hard)).identity, GET(query(file_uri)).identity);
    CHECK_ERR(gate().stream_link(file_uri, hard, LinkKind::hard), exists);
    CHECK_ERR(gate().stream_link(at("links.none", 3), at("links.x", 4), LinkKind::hard), not_found);
    CHECK_OK(remove(hard));
    CHECK_EQ(GET(query(file_uri)).links, 1u);

    REQUIRE_OK(gate().stream_link("links.txt", soft, LinkKind::symbolic));
    CHECK_ERR(gate().stream_link("links.txt", soft, LinkKind::symbolic), exists);
    CHECK(GET(query(soft)).type == StreamType::file);
    CHECK(GET(query(soft, kOpenNoFollow)).type == StreamType::symlink);
    Handle file = GET(open(soft, kAccessRead));
    CHECK(contents(file, "linked"));
    close(file);
    CHECK_ERR(open(soft, kAccessRead, kCreateNever, kOpenNoFollow), too_many_links);
    Handle link = GET(open(soft, kAccessRead, kCreateNever, kOpenLink));
    CHECK(contents(link, "links.txt"));
    close(link);
    // A circle.
    REQUIRE_OK(gate().stream_link("links.c2", at("links.c1", 3), LinkKind::symbolic));
    REQUIRE_OK(gate().stream_link("links.c1", at("links.c2", 4), LinkKind::symbolic));
    CHECK_ERR(open(at("links.c1", 3), kAccessRead), too_many_links);
    // Out of the directory and nowhere: links are followed in the picoprocess's view.
    REQUIRE_OK(gate().stream_link("/etc/shadow", at("links.out", 5), LinkKind::symbolic));
    CHECK(!open(at("links.out", 5), kAccessRead).ok());
    CHECK_ERR(gate().stream_link("x", at("links.y", 6), static_cast<LinkKind>(5)), bad_argument);
    for (std::string_view name : {"links.txt", "links.soft", "links.c1", "links.c2", "links.out"})
        CHECK_OK(remove(at(name, 7)));
}

GATE_CASE(attributes_set_and_query) {
    const char* uri = at("attributes.txt");
    Handle file = GET(file_with(uri, "12345"));
    Attributes wanted{};
    wanted.mode = 0604;
    wanted.accessed = {1000000001, 5, 0};
    wanted.modified = {1000000002, 6000, 0};
    REQUIRE_OK(gate().stream_attributes_set(uri, 0, kSetMode | kSetAccessed | kSetModified, &wanted));
    Attributes got = GET(query(uri));
    CHECK_EQ(got.mode, 0604u);
    CHECK_EQ(got.accessed.seconds, 1000000001);
    CHECK_EQ(got.modified.seconds, 1000000002);
    CHECK_EQ(got.modified.nanoseconds, 6000u);
    CHECK_EQ(got.size, 5u);
    CHECK(got.type == StreamType::file);
    CHECK_EQ(got.stable, 0u);
    CHECK((got.rights & static_cast<u32>(Right::write)) != 0);
    Attributes by_handle = GET(gate().stream_attributes_query_by_handle(file));
    CHECK_EQ(by_handle.identity, got.identity);
    CHECK_EQ(by_handle.volume, got.volume);
    CHECK_EQ(by_handle.mode, got.mode);
    CHECK_OK(gate().stream_attributes_set(uri, 0, kSetModifiedNow, &wanted));
    CHECK(GET(query(uri)).modified.seconds > 1000000002);
    CHECK_EQ(GET(query(uri)).accessed.seconds, 1000000001);
    CHECK_ERR(gate().stream_attributes_set(uri, 0, 0x8000, &wanted), bad_argument);
    CHECK_ERR(gate().stream_attributes_set(uri, 0x8000, kSetMode, &wanted), bad_argument);
    wanted.mode = 0170000;
    CHECK_ERR(gate().stream_attributes_set(uri, 0, kSetMode, &wanted), bad_argument);
    CHECK_ERR(gate().stream_attributes_set(at("attributes.none", 1), 0, kSetModifiedNow, &wanted), not_found);
    CHECK_ERR(g_calls->DkStreamAttributesQuery(uri, 0, nullptr), bad_address);
    close(file);
    CHECK_OK(remove(uri));
}

GATE_CASE(lists) {
    alignas(8) static u8 buffer[kListBuffer + 8];
    u64 cookie = 0, actual = 0;
    Attributes attributes{};
    auto list_to = [&](void* to, u64 size) {
        return g_calls->DkStreamList("file:/usr", 0, &cookie, to, size, &actual, &attributes);
    };
    auto list = [&](const char* uri, u32 options = 0) {
        return g_calls->DkStreamList(uri, options, &cookie, buffer, kListBuffer, &actual, &attributes);
    };
    auto* nowhere = reinterpret_cast<void*>(fresh_range(4 * kPageSize));
    CHECK_ERR(list(nullptr), bad_address);
    CHECK_ERR(list_to(nullptr, kListBuffer), bad_address);
    CHECK_ERR(list_to(nowhere, kListBuffer), bad_address);
    CHECK_ERR(list_to(buffer, kListBuffer - 1), bad_argument);
    CHECK_ERR(list_to(buffer + 1, kListBuffer), bad_argument);
    CHECK_ERR(list("file:/fixed", 0x80), bad_argument);
    CHECK_ERR(g_calls->DkStreamList("file:/fixed", 0, nullptr, buffer, kListBuffer, &actual, &attributes), bad_address);
    CHECK_ERR(g_calls->DkStreamList("file:/fixed", 0, &cookie, buffer, kListBuffer, &actual, nullptr), bad_address);
    // Volumes may change; what does not exist, or is no directory, cannot be listed either.
    CHECK_ERR(list(at("", 1)), unsupported);
    CHECK_ERR(list("file:/fixed"), unsupported);
    CHECK_ERR(list("null:"), unsupported);
    CHECK_ERR(list("file:/usr/no-such-directory"), not_found);
    CHECK((attributes.name_flags & kNameCacheable) != 0);
    char name[64];
    attributes.name = name;
    attributes.name_capacity = sizeof name;
    REQUIRE_OK(list("file:/usr/./share/..", kListAttributes));
    CHECK(attributes.type == StreamType::directory);
    CHECK_EQ(attributes.stable, 1u);
    CHECK(std::string_view{name} == "/usr");
    CHECK(actual > 0 && actual <= kListBuffer);
    bool share = false, broken = false;
    for (u64 at = 0; at < actual;) {
        const auto& record = *reinterpret_cast<const ListRecord*>(buffer + at);
        broken |= record.size % 8 != 0 || record.size < sizeof record || record.size > actual - at;
        if (broken) break;
        usize head = sizeof record + (record.flags & kListedAttributes ? sizeof(ListedAttributes) : 0);
        std::string_view text{reinterpret_cast<const char*>(buffer + at + head), record.name_length};
        if (text == "share") {
            share = true;
            const auto& listed = *reinterpret_cast<const ListedAttributes*>(buffer + at + sizeof record);
            Attributes asked = GET(query("file:/usr/share"));
            CHECK((record.flags & kListedAttributes) != 0);
            CHECK_EQ(record.identity, asked.identity);
            CHECK_EQ(listed.mode, asked.mode);
            CHECK_EQ(listed.modified.seconds, asked.modified.seconds);
        }
        at += record.size;
    }
    CHECK(share);
    CHECK(!broken);
    // A name that does not fit is left out, as with other calls.
    attributes.name_capacity = 2;
    cookie = 0;
    CHECK_OK(list("file:/usr"));
    CHECK_EQ(attributes.name_length, 0u);
}

GATE_CASE(locks) {
    const char* uri = at("lock.txt");
    Handle a = GET(file_with(uri, "0123456789"));
    Handle b = GET(open(uri, kReadWrite));
    CHECK_OK(gate().stream_lock(a, 0, 5, kLockExclusive, 0));
    CHECK_ERR(gate().stream_lock(b, 0, 1, kLockShared, 0), would_block);
    CHECK_ERR(gate().stream_lock(b, 4, 100, kLockExclusive, 0), would_block);
    CHECK_OK(gate().stream_lock(b, 5, 5, kLockExclusive, 0));
    CHECK_OK(gate().stream_lock(a, 0, 5, kLockShared, 0));  // weakens its own
    CHECK_OK(gate().stream_lock(b, 0, 5, kLockShared, 0));
    CHECK_ERR(gate().stream_lock(a, 0, 5, kLockExclusive, 0), would_block);
    CHECK_OK(gate().stream_lock(b, 0, 5, kLockNone, 0));
    CHECK_OK(gate().stream_lock(a, 0, 5, kLockExclusive, 0));
    // A waiter gets the range when it is released.
    struct Shared {
        Handle stream;
        u32 done;
        Err result;
    } shared{b, 0, Err::ok};
    Thread thread;
    REQUIRE(thread.start(
        [](void* argument) {
            auto* shared = static_cast<Shared*>(argument);
            shared->result = g_calls->DkStreamLock(shared->stream, 0, 0, kLockExclusive, 1);
            __atomic_store_n(&shared->done, 1, __ATOMIC_RELEASE);
        },
        &shared));
    sleep_ms(20);
    CHECK_EQ(__atomic_load_n(&shared.done, __ATOMIC_ACQUIRE), 0u);
    CHECK_OK(gate().stream_lock(a, 0, 0, kLockNone, 0));
    thread.join();
    CHECK_OK(shared.result);
    CHECK_ERR(gate().stream_lock(a, 0, 1, kLockShared, 0), would_block);
    // Locks end with their stream.
    close(b);
    CHECK_OK(gate().stream_lock(a, 0, 1, kLockExclusive, 0));
    Handle reader = GET(open(uri, kAccessRead));
    CHECK_ERR(gate().stream_lock(reader, 5, 1, kLockExclusive, 0), denied);
    CHECK_ERR(gate().stream_lock(a, 0, 1, 7, 0), bad_argument);
    CHECK_ERR(gate().stream_lock(a, 0, 1, kLockShared, 2), bad_argument);
    CHECK_ERR(gate().stream_lock(a, ~0ull - 10, 100, kLockShared, 0), bad_argument);
    close(reader);
    close(a);
    CHECK_OK(remove(uri));
}

GATE_CASE(changes) {
    Handle directory = GET(open(at(""), kAccessRead, kCreateNever, kOpenDirectory));
    Handle event = GET(gate().notification_event_create(0));
    Err error = err_of(gate().stream_changes_register(directory, kChangeNames, event));
    if (error == Err::unsupported) {
        note("this host reports no changes");
    } else {
        CHECK_OK(error);
        u32 index;
        CHECK_ERR(g_calls->DkObjectsWaitAny(1, &event, in_ms(5), &index), timed_out);
        close(GET(file_with(at("changes.txt", 1), "x")));
        CHECK_OK(g_calls->DkObjectsWaitAny(1, &event, in_ms(5000), &index));
        CHECK_OK(gate().event_clear(event));
        CHECK_OK(gate().stream_changes_register(directory, 0, event));
        CHECK_OK(remove(at("changes.txt", 1)));
    }
    CHECK_ERR(gate().stream_changes_register(directory, 0x100, event), bad_argument);
    CHECK_ERR(gate().stream_changes_register(event, kChangeNames, event), wrong_kind);
    CHECK_ERR(gate().stream_changes_register(directory, kChangeNames, directory), wrong_kind);
    close(event);
    close(directory);
}

GATE_CASE(read_only_routes_refuse_changes) {
    // "/fixed" is a read-only route with the file "text".
    Handle file = GET(open("file:/fixed/text", kAccessRead));
    char text[32] = {};
    CHECK_EQ(GET(read(file, text, sizeof text, 0)), 6u);
    CHECK(std::string_view{text} == "fixed\n");
    Attributes attributes = GET(query("file:/fixed/text"));
    CHECK_EQ(attributes.rights & static_cast<u32>(Right::write), 0u);
    auto refused = [](Err error) { return error == Err::read_only || error == Err::denied; };
    CHECK(refused(err_of(open("file:/fixed/text", kReadWrite))));
    CHECK(refused(err_of(open("file:/fixed/text", kAccessRead, kCreateNever, kOpenTruncate))));
    CHECK(refused(err_of(open("file:/fixed/new", kReadWrite, kCreateTry))));
    CHECK(refused(remove("file:/fixed/text")));
    CHECK(refused(err_of(gate().stream_rename("file:/fixed/text", "file:/fixed/other", 0))));
    CHECK(refused(err_of(gate().stream_link("x", "file:/fixed/link", LinkKind::symbolic))));
    CHECK(refused(err_of(gate().stream_attributes_set("file:/fixed/text", 0, kSetModifiedNow, &attributes))));
    u64 address = fresh_range(kPageSize);
    CHECK_ERR(gate().stream_map(file, address, kPageSize, 0, kProtRead | kProtWrite, kMapShared), denied);
    CHECK_OK(gate().stream_map(file, address, kPageSize, 0, kProtRead, kMapPrivate));
    CHECK_EQ(*reinterpret_cast<char*>(address), 'f');
    CHECK_OK(gate().stream_unmap(address, kPageSize));
    // A lock here holds nobody up.
    CHECK_OK(gate().stream_lock(file, 0, 0, kLockShared, 0));
    Err crossed = err_of(gate().stream_rename(at("nothing"), "file:/fixed/other", 0));
    CHECK(refused(crossed) || crossed == Err::not_found || crossed == Err::cross_device);
    close(file);
}

}  // namespace guest
