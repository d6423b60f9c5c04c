// SPDX-License-Identifier: Apache-2.0
// Listings as answers, and when to fetch them: see directory_cache.hpp.
#include "libos/fs/directory_cache.hpp"

#include "base/memory.hpp"
#include "libos/fs/directory_fetch.hpp"
#include "libos/fs/listing.hpp"
#include "libos/fs/name_cache.hpp"

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
        gate::assign_lent(answer, {});
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
    error = gate::Err::ok;
    return answer_named(answer,
                        attributes_of_listed(entry->attributes, record->identity, record->type, above->attributes),
                        above->name(), at.name, {entry->target, entry->target_length});
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
    if (fetch_listing(directory, gate::kListWhole | gate::kListFew, false)) return true;
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
    return fetch_listing(path, gate::kListWhole | gate::kListFew, true, listing->read != 0);
}

}  // namespace postern::libos
