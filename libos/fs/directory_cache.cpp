// SPDX-License-Identifier: Apache-2.0
// Listings as answers, and when to fetch them: see directory_cache.hpp.
#include "libos/fs/directory_cache.hpp"

#include "base/memory.hpp"
#include "libos/fs/listing.hpp"
#include "libos/fs/name_cache.hpp"
#include "libos/fs/path.hpp"
#include "libos/shared/arena.hpp"

namespace postern::libos {

namespace {

// How much a directory's listing is worth: a name that was asked for and not there weighs more than one that was.
constexpr u8 kMissing = 4, kThere = 1, kWorthFetching = 4;
constexpr u8 kNever = 255;           ///< it is not to be had
constexpr u32 kWalking = 2;          ///< so many directories of one opened are a walk
constexpr u32 kMostLookedAt = 4096;  ///< names of a directory whose attributes are fetched at all
constexpr usize kNameMost = 255;

struct Split {
    std::string_view directory, name;
};

/// False: the last component is none that a listing can have.
bool split(std::string_view path, Split& out) {
    usize slash = path.size();
    while (slash > 0 && path[slash - 1] != '/') --slash;
    if (slash == 0) return false;
    std::string_view name{path.data() + slash, path.size() - slash};
    if (name.empty() || name.size() > kNameMost || (name[0] == '.' && (name.size() == 1 || name == ".."))) return false;
    out.name = name;
    out.directory = {path.data(), slash > 1 ? slash - 1 : 1};
    return true;
}

/// Buffers of one fetch; too large for the stack.
struct Fetch {
    alignas(8) u8 records[gate::kListBuffer];
    char uri[5 + kPathMax];
    char name[kPathMax];
    gate::Attributes attributes;
    u64 cookie = 0, actual = 0;

    gate::Err ask(std::string_view path, u32 options) {
        if (path.size() >= kPathMax) return gate::Err::name_too_long;
        memcpy(uri, "file:", 5);
        memcpy(uri + 5, path.data(), path.size());
        uri[5 + path.size()] = 0;
        attributes = {};
        attributes.name = name;
        attributes.name_capacity = sizeof name;
        return g_gate->DkStreamList(uri, options, &cookie, records, sizeof records, &actual, &attributes);
    }
    std::string_view canonical() const { return {name, attributes.name_length}; }
};

class Buffers {
public:
    Buffers() {
        auto memory = heap::allocate(sizeof(Fetch));
        if (memory.ok()) fetch_ = new (memory.value()) Fetch;
    }
    ~Buffers() {
        if (fetch_ != nullptr) heap::release(fetch_, sizeof(Fetch));
    }
    Buffers(const Buffers&) = delete;
    Buffers& operator=(const Buffers&) = delete;
    Fetch* get() { return fetch_; }

private:
    Fetch* fetch_ = nullptr;
};

gate::Attributes attributes_of(const gate::ListedAttributes& from, u64 identity, u8 type,
                               const gate::Attributes& above) {
    gate::Attributes to;
    to.type = static_cast<gate::StreamType>(type);
    to.mode = from.mode, to.size = from.size, to.allocated = from.allocated;
    to.identity = identity, to.volume = from.volume;
    to.links = from.links, to.owner = from.owner, to.group = from.group, to.block_size = from.block_size;
    to.rights = above.rights, to.stable = above.stable;
    to.accessed = from.accessed, to.modified = from.modified, to.changed = from.changed;
    to.name_flags = u32{gate::kNameCacheable} | (to.type == gate::StreamType::directory ? u32{gate::kNameBare} : 0);
    return to;
}

/// Keeps the lists of directories below `top`.
void keep_below(const KnownName& top, const Fetch& fetch) {
    const u8 *end = fetch.records + fetch.actual, *from = nullptr;
    const KnownName* known = nullptr;
    const gate::ListedAttributes* attributes;
    std::string_view name, target, base = top.name();
    char path[kPathMax];
    for (const u8* at = fetch.records;;) {
        const auto* record = list_record(at, end, attributes, name, target);
        bool head = record != nullptr && (record->flags & gate::kListedDirectory) != 0;
        if (record != nullptr && !head) {
            at += record->size;
            continue;
        }
        const Listing* listing = known != nullptr && !known->large ? listing_keep(*known, from, at) : nullptr;
        if (listing != nullptr) listing->walked = 1;
        usize slash = base.size() > 1 ? 1 : 0, length = base.size() + slash + name.size();
        if (record == nullptr || attributes == nullptr || length >= kPathMax) return;
        memcpy(path, base.data(), base.size());
        path[base.size()] = '/';
        memcpy(path + base.size() + slash, name.data(), name.size());
        known = note_canonical({path, length}, gate::Err::ok,
                               attributes_of(*attributes, record->identity, record->type, top.attributes));
        if (known != nullptr && (record->flags & gate::kListedLarge) != 0) known->large = true;
        from = at += record->size;
    }
}

/// Fetches the listing of `path`, which is `listed` as a directory, or perhaps a link to one. `walked`: a program walks
/// through it. False: there is none to be had.
bool fetch(std::string_view path, u32 options, bool listed, bool walked = false) {
    if (listings_full() || name_cache_full()) return false;
    Buffers buffers;
    Fetch* fetch = buffers.get();
    if (fetch == nullptr) return false;
    gate::Err error = fetch->ask(path, options);
    bool large = error == gate::Err::too_big;
    if ((error != gate::Err::ok && error != gate::Err::not_found && !large) || fetch->attributes.name_length == 0)
        return false;
    // A large directory's own attributes are a good answer.
    gate::Err answer = large ? gate::Err::ok : error;
    note_name(fetch->uri, 0, answer, fetch->attributes);
    if (listed) note_name(fetch->uri, gate::kOpenNoFollow, answer, fetch->attributes);
    if (error == gate::Err::not_found) return (fetch->attributes.name_flags & gate::kNameBare) != 0;
    const KnownName* known = find_name(fetch->canonical(), 0);
    if (known == nullptr || fetch->actual > sizeof fetch->records) return false;
    if (large) known->large = true;
    if (large || fetch->cookie != 0) return false;
    const Listing* listing = listing_keep(*known, fetch->records, fetch->records + fetch->actual);
    if (listing != nullptr && walked) listing->walked = 1;
    return true;
}

/// Fetches the listings of directories in `above`, from the one at `position` on; with attributes where the program
/// asked for those of the directory above, too.
bool fetch_below(const KnownName& above, const Listing& listing, u64 position) {
    if (listings_full() || name_cache_full()) return false;
    Buffers buffers;
    Fetch* fetch = buffers.get();
    if (fetch == nullptr) return false;
    fetch->cookie = position;
    u32 options = gate::kListBelow | (listing.looked != 0 ? u32{gate::kListAttributes} : 0);
    if (fetch->ask(above.name(), options) != gate::Err::ok || fetch->actual > sizeof fetch->records) return false;
    keep_below(above, *fetch);
    return true;
}

/// Fetches the attributes of all names of a directory whose listing is known.
void fetch_attributes(std::string_view path, const Listing& listing) {
    if (listings_full()) return;
    Buffers buffers;
    Fetch* fetch = buffers.get();
    if (fetch == nullptr) return;
    for (u32 pages = 0; pages < kMostLookedAt; ++pages) {
        if (fetch->ask(path, gate::kListAttributes) != gate::Err::ok || fetch->actual > sizeof fetch->records) return;
        listing_add(listing, fetch->records, fetch->records + fetch->actual);
        if (fetch->cookie == 0) return;
    }
}

/// `x/.` asks about x, whatever else it says.
std::string_view without_last_dot(std::string_view path) {
    while (path.size() > 2 && path[path.size() - 1] == '.' && path[path.size() - 2] == '/')
        path = {path.data(), path.size() - 2};
    return path;
}

/// What the listing of the directory is worth so far. Advice, and may get lost.
u8 worth_of(std::string_view directory) {
    u32 hash = hash_of_name(directory), word = __atomic_load_n(&word_about(hash), __ATOMIC_RELAXED);
    return (word ^ hash) >> 8 == 0 ? static_cast<u8>(word) : 0;
}
void set_worth_of(std::string_view directory, u8 count) {
    u32 hash = hash_of_name(directory);
    __atomic_store_n(&word_about(hash), (hash & ~0xffu) | count, __ATOMIC_RELAXED);
}

}  // namespace

bool listed_answer(std::string_view path, u32 options, gate::Attributes& answer, gate::Err& error) {
    const KnownName* above = nullptr;
    Split at{path, {}};
    bool last = true;
    for (std::string_view whole = path;; last = false) {
        usize slash = whole.size();
        while (slash > 0 && whole[slash - 1] != '/') --slash;
        if (slash <= 1) return false;
        bool plain = split(whole, at);
        if (!plain) at.directory = {whole.data(), slash - 1};
        above = find_name(at.directory, 0);
        if (above != nullptr && !plain) return false;
        if (above != nullptr) break;
        whole = at.directory;
    }
    auto refuse = [&] {
        char* name = answer.name;
        u32 capacity = answer.name_capacity;
        answer = {};
        answer.name = name;
        answer.name_capacity = capacity;
        answer.name_flags = gate::kNameCacheable | gate::kNameBare;
        error = gate::Err::not_found;
        return true;
    };
    if (above->error != gate::Err::ok)
        return above->error == gate::Err::not_found && (above->attributes.name_flags & gate::kNameBare) != 0 &&
               refuse();
    const Listing* listing = above->is_directory() ? listing_of(above) : nullptr;
    if (listing == nullptr || !listing->whole) return false;
    const ListingRecord* record = listing_find(*listing, at.name);
    if (record == nullptr) return refuse();
    const ListedEntry* entry = last ? listed_entry(*record) : nullptr;
    if (entry == nullptr) return false;
    if (record->type == static_cast<u8>(gate::StreamType::symlink) && (options & gate::kOpenNoFollow) == 0)
        return false;
    std::string_view base = above->name(), target{entry->target, entry->target_length};
    usize slash = base.size() > 1 ? 1 : 0, length = base.size() + slash + at.name.size();
    char* name = answer.name;
    u32 capacity = answer.name_capacity;
    if (name != nullptr && length + 1 + target.size() + 1 > capacity) return false;
    answer = attributes_of(entry->attributes, record->identity, record->type, above->attributes);
    answer.name = name;
    answer.name_capacity = capacity;
    error = gate::Err::ok;
    if (name == nullptr) return true;
    memcpy(name, base.data(), base.size());
    name[base.size()] = '/';
    memcpy(name + base.size() + slash, at.name.data(), at.name.size());
    name[length] = 0;
    if (!target.empty()) memcpy(name + length + 1, target.data(), target.size());
    name[length + 1 + target.size()] = 0;
    answer.name_length = static_cast<u32>(length);
    answer.target_length = static_cast<u32>(target.size());
    return true;
}

bool may_be_file(const char* uri) {
    constexpr usize kScheme = 5;
    Split at;
    if (!split({uri + kScheme, strlen(uri + kScheme)}, at)) return false;
    const KnownName* above = find_name(at.directory, 0);
    if (above == nullptr) return worth_of(at.directory) != 0;
    const Listing* listing = listing_of(above);
    const ListingRecord* record = listing != nullptr ? listing_find(*listing, at.name) : nullptr;
    return above->is_directory() && (record == nullptr || record->type == static_cast<u8>(gate::StreamType::file));
}

usize without_dots(char* path, usize length) {
    auto dots = [&](usize at) -> usize {  // how many bytes of dots follow the slash at `at`
        usize end = at + 1;
        while (end < length && path[end] != '/') ++end;
        usize size = end - at - 1;
        return (size == 1 || (size == 2 && path[at + 2] == '.')) && path[at + 1] == '.' ? size : 0;
    };
    usize sure = 0;  // up to here there are canonical directories
    for (usize at = 1; at + 1 < length;) {
        usize size = path[at] == '/' ? dots(at) : 0;
        if (size == 0) {
            ++at;
            continue;
        }
        if (at > sure) {
            const KnownName* above = find_name({path, at}, 0);
            if (above == nullptr || !above->is_directory() || !above->either) return length;
        }
        usize to = at, from = at + 1 + size;
        if (size == 2)
            while (to > 0 && path[--to] != '/') {
            }
        if (to == 0 && from == length) return length;  // the root itself
        memmove(path + to, path + from, length - from + 1);
        length -= from - to;
        sure = to;
        at = to > 0 ? to : 1;
    }
    return length;
}

void note_question(std::string_view path, gate::Err error, const gate::Attributes& answer) {
    Split at;
    bool missing = error == gate::Err::not_found && (answer.name_flags & gate::kNameBare) != 0;
    bool there = error == gate::Err::ok && (answer.name_flags & gate::kNameCacheable) != 0;
    if ((!missing && !there) || !split(without_last_dot(path), at)) return;
    u8 worth = worth_of(at.directory);
    if (worth < kWorthFetching) set_worth_of(at.directory, worth + (missing ? kMissing : kThere));
}

namespace {

/// Fetches a listing that is worth it.
bool fetch_if_worth(std::string_view directory) {
    u8 worth = worth_of(directory);
    if (worth < kWorthFetching || worth == kNever) return false;
    if (fetch(directory, gate::kListWhole | gate::kListFew, false)) return true;
    set_worth_of(directory, kNever);
    return false;
}

}  // namespace

bool fetch_before_query(std::string_view path) {
    Split at;
    if (!split(without_last_dot(path), at)) return false;
    const KnownName* above = find_name(at.directory, 0);
    if (above != nullptr && !above->is_directory()) return false;
    const Listing* listing = listing_of(above);
    if (listing == nullptr) return fetch_if_worth(at.directory);
    if (!listing->whole) return false;
    const ListingRecord* record = listing_find(*listing, at.name);
    if (record == nullptr) return false;
    if (record->type == static_cast<u8>(gate::StreamType::directory) &&
        (listing->walked != 0 || listing->opened >= kWalking))
        return fetch_below(*above, *listing, record->position);
    u32 asked = __atomic_add_fetch(&listing->asked, 1, __ATOMIC_RELAXED);
    if (listing->looked != 0 || listing->count > kMostLookedAt || asked <= 2 + listing->count / 32) return false;
    listing->looked = 1;
    fetch_attributes(at.directory, *listing);
    return true;
}

bool fetch_before_open(std::string_view path) {
    Split at;
    if (!split(path, at)) return false;
    const KnownName* above = find_name(at.directory, 0);
    if (above != nullptr && (!above->is_directory() || listing_of(above) != nullptr)) return false;
    return fetch_if_worth(at.directory);
}

bool fetch_directory(std::string_view path) {
    Split at;
    if (!split(path, at)) return false;
    const KnownName* above = find_name(at.directory, 0);
    const Listing* listing = above != nullptr && above->is_directory() ? listing_of(above) : nullptr;
    if (listing == nullptr || !listing->whole) return false;
    const ListingRecord* record = listing_find(*listing, at.name);
    if (record == nullptr || record->type != static_cast<u8>(gate::StreamType::directory)) return false;
    u32 opened = __atomic_add_fetch(&listing->opened, 1, __ATOMIC_RELAXED);
    if (listing->walked != 0 || opened > kWalking) return fetch_below(*above, *listing, record->position);
    return fetch(path, gate::kListWhole | gate::kListFew, true, listing->read != 0);
}

}  // namespace postern::libos
