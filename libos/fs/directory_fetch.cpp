// SPDX-License-Identifier: Apache-2.0
// Asking for listings and keeping what comes: see directory_fetch.hpp.
#include "libos/fs/directory_fetch.hpp"

#include "base/memory.hpp"
#include "libos/fs/name_cache.hpp"
#include "libos/fs/path.hpp"
#include "libos/shared/arena.hpp"

namespace postern::libos {

gate::Attributes attributes_of_listed(const gate::ListedAttributes& from, u64 identity, u8 type,
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

namespace {

constexpr u32 kMostPages = 4096;

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
        auto memory = heap::allocate_uncleared(sizeof(Fetch));  // the gate fills its large parts
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
        if (record == nullptr || attributes == nullptr || base.size() + 1 + name.size() >= kPathMax) return;
        usize length = join_path(path, base, name);
        known = note_canonical({path, length}, gate::Err::ok,
                               attributes_of_listed(*attributes, record->identity, record->type, top.attributes));
        if (known != nullptr && (record->flags & gate::kListedLarge) != 0) known->large = true;
        from = at += record->size;
    }
}

}  // namespace

bool fetch_listing(std::string_view path, u32 options, bool listed, bool walked) {
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

void fetch_attributes(std::string_view path, const Listing& listing) {
    if (listings_full()) return;
    Buffers buffers;
    Fetch* fetch = buffers.get();
    if (fetch == nullptr) return;
    for (u32 pages = 0; pages < kMostPages; ++pages) {
        if (fetch->ask(path, gate::kListAttributes) != gate::Err::ok || fetch->actual > sizeof fetch->records) return;
        listing_add(listing, fetch->records, fetch->records + fetch->actual);
        if (fetch->cookie == 0) return;
    }
}

}  // namespace postern::libos
