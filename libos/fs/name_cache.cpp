// SPDX-License-Identifier: Apache-2.0
// The cache of names: buckets of entries in the arena, each published by one exchange.
#include "libos/fs/name_cache.hpp"

#include "base/memory.hpp"
#include "libos/fs/listing.hpp"
#include "libos/shared/arena.hpp"

namespace postern::libos {

struct KnownName {
    KnownName* next;
    u32 hash;
    u32 options;  ///< kOpenNoFollow or 0
    gate::Err error;
    u32 uri_length;
    gate::Attributes attributes;
    mutable const Listing* listing;
    char text[8];  ///< uri, NUL, canonical name, NUL, target, NUL
};

namespace {

using Entry = KnownName;

constexpr u64 kBuckets =
    1024;  // two pages: each one that is touched costs a start more than a longer chain costs a look
constexpr u64 kMostEntries = 32768;  // about 12 MiB

struct Cache {
    Entry* buckets[kBuckets];
    u64 count;
    u64 listing_bytes;
};
Cache* g_cache;

u32 hash_of(const char* text, usize length, u32 options) {
    u64 hash = options + 0x9e3779b97f4a7c15ull;
    for (usize at = 0; at < length; ++at) hash = (hash ^ static_cast<u8>(text[at])) * 0x100000001b3ull;
    return static_cast<u32>(hash ^ hash >> 32);
}

const Entry* find(const char* uri, usize length, u32 options) {
    u32 hash = hash_of(uri, length, options);
    for (Entry* entry = __atomic_load_n(&g_cache->buckets[hash % kBuckets], __ATOMIC_ACQUIRE); entry != nullptr;
         entry = entry->next)
        if (entry->hash == hash && entry->options == options && entry->uri_length == length &&
            memcmp(entry->text, uri, length) == 0)
            return entry;
    return nullptr;
}

/// The answer as the gate would give it. False: the buffer is too small for what is known, so the gate must be asked.
bool hand_over(const Entry& entry, gate::Attributes& answer) {
    char* name = answer.name;
    u32 capacity = answer.name_capacity;
    u32 length = entry.attributes.name_length, target = entry.attributes.target_length;
    if (name != nullptr && length + 1 + target + 1 > capacity) return false;
    answer = entry.attributes;
    answer.name = name;
    answer.name_capacity = capacity;
    if (name == nullptr) {
        answer.name_length = answer.target_length = 0;
        return true;
    }
    memcpy(name, entry.text + entry.uri_length + 1, length + 1 + target + 1);
    return true;
}

}  // namespace

Res<void> name_cache_initialize() {
    g_cache = static_cast<Cache*>(TRY(arena::allocate(sizeof(Cache))));
    return {};
}

void note_name(const char* uri, u32 options, gate::Err error, const gate::Attributes& answer) {
    if ((answer.name_flags & gate::kNameCacheable) == 0 || g_cache == nullptr) return;
    if (error != gate::Err::ok && error != gate::Err::not_found && error != gate::Err::not_directory) return;
    if (error == gate::Err::ok && (answer.stable == 0 || answer.name_length == 0)) return;
    if (answer.name == nullptr && error == gate::Err::ok) return;
    if (__atomic_load_n(&g_cache->count, __ATOMIC_RELAXED) >= kMostEntries) return;
    usize length = strlen(uri);
    if (find(uri, length, options) != nullptr) return;
    u32 name_length = answer.name != nullptr ? answer.name_length : 0;
    u32 target_length = answer.name != nullptr ? answer.target_length : 0;
    if ((answer.name_flags & gate::kNameInside) != 0 && name_length == 0) return;
    auto memory = arena::allocate(sizeof(Entry) + length + name_length + target_length);
    if (!memory.ok()) return;
    auto entry = static_cast<Entry*>(memory.value());
    entry->hash = hash_of(uri, length, options);
    entry->options = options;
    entry->error = error;
    entry->uri_length = static_cast<u32>(length);
    entry->attributes = answer;
    entry->listing = nullptr;
    entry->attributes.name = nullptr;
    entry->attributes.name_length = name_length;
    entry->attributes.target_length = target_length;
    memcpy(entry->text, uri, length + 1);
    if (name_length != 0)
        memcpy(entry->text + length + 1, answer.name, name_length + 1 + (target_length != 0 ? target_length + 1 : 0));
    Entry*& bucket = g_cache->buckets[entry->hash % kBuckets];
    entry->next = __atomic_load_n(&bucket, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&bucket, &entry->next, entry, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) {
    }
    __atomic_add_fetch(&g_cache->count, 1, __ATOMIC_RELAXED);
}

gate::Err known_refusal(const char* uri, u32 options, gate::Attributes& answer) {
    if (g_cache == nullptr) return gate::Err::ok;
    const Entry* entry = find(uri, strlen(uri), options);
    if (entry == nullptr || entry->error == gate::Err::ok || !hand_over(*entry, answer)) return gate::Err::ok;
    return entry->error;
}

const KnownName* known_name(const char* uri, u32 options) {
    const Entry* entry = g_cache != nullptr ? find(uri, strlen(uri), options) : nullptr;
    return entry != nullptr && entry->error == gate::Err::ok ? entry : nullptr;
}

const Listing*& known_listing(const KnownName& known) { return known.listing; }

u64& known_listing_bytes() { return g_cache->listing_bytes; }

bool known_name_answer(const KnownName& known, gate::Attributes& answer) { return hand_over(known, answer); }

gate::Err query_name(const char* uri, u32 options, gate::Attributes& answer) {
    const Entry* entry = g_cache != nullptr ? find(uri, strlen(uri), options) : nullptr;
    if (entry != nullptr && hand_over(*entry, answer)) return entry->error;
    gate::Err error = g_gate->DkStreamAttributesQuery(uri, options, &answer);
    note_name(uri, options, error, answer);
    return error;
}

}  // namespace postern::libos
