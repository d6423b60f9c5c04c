// SPDX-License-Identifier: Apache-2.0
// The cache of names: buckets of entries in the arena, each published by one exchange.
#include "libos/fs/name_cache.hpp"

#include "base/hash.hpp"
#include "base/memory.hpp"
#include "libos/fs/directory_cache.hpp"
#include "libos/fs/handle_cache.hpp"
#include "libos/fs/pinned.hpp"
#include "libos/shared/arena.hpp"

namespace postern::libos {

namespace {

constexpr u64 kBuckets =
    1024;  // two pages: each one that is touched costs a start more than a longer chain costs a look
constexpr u64 kMostEntries = 32768;  // about 10 MiB

struct Cache {
    KnownName* buckets[kBuckets];
    u64 count;
    u64 listing_bytes;
    u32 words[256];
};
Cache* g_cache;

bool hand_over(const KnownName& entry, gate::Attributes& answer) {
    std::string_view name = entry.name();
    return answer_named(answer, entry.attributes, name, {},
                        {name.data() + name.size() + 1, entry.attributes.target_length});
}

/// The path of a `file:` URI; all names of the host's have that scheme.
std::string_view path_of(const char* uri) {
    constexpr usize kScheme = 5;
    return {uri + kScheme, strlen(uri + kScheme)};
}

const KnownName* insert(std::string_view path, u32 options, gate::Err error, const gate::Attributes& answer,
                        std::string_view name, std::string_view target) {
    if (name_cache_full()) return nullptr;
    bool same = path.size() == name.size() && memcmp(path.data(), name.data(), name.size()) == 0;
    bool shared = same && target.empty();
    auto memory = arena::allocate(sizeof(KnownName) + path.size() + (shared ? 0 : name.size() + 1 + target.size()));
    if (!memory.ok()) return nullptr;
    auto* entry = static_cast<KnownName*>(memory.value());
    entry->hash = hash_of_name(path);
    entry->options = options;
    entry->either = same && (error != gate::Err::ok || answer.type != gate::StreamType::symlink);
    entry->error = error;
    entry->path_length = static_cast<u32>(path.size());
    entry->name_at = shared ? 0 : static_cast<u32>(path.size()) + 1;
    entry->attributes = answer;
    entry->attributes.name = nullptr;
    entry->attributes.name_length = static_cast<u32>(name.size());
    entry->attributes.target_length = static_cast<u32>(target.size());
    memcpy(entry->text, path.data(), path.size());
    if (!shared) {
        char* place = entry->text + entry->name_at;
        if (!name.empty()) memcpy(place, name.data(), name.size());
        if (!target.empty()) memcpy(place + name.size() + 1, target.data(), target.size());
    }
    KnownName*& bucket = g_cache->buckets[entry->hash % kBuckets];
    entry->next = __atomic_load_n(&bucket, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&bucket, &entry->next, entry, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) {
    }
    __atomic_add_fetch(&g_cache->count, 1, __ATOMIC_RELAXED);
    return entry;
}

}  // namespace

usize join_path(char* to, std::string_view base, std::string_view name) {
    memcpy(to, base.data(), base.size());
    usize length = base.size();
    if (!name.empty()) {
        if (length > 1) to[length++] = '/';  // the root has its slash
        memcpy(to + length, name.data(), name.size());
        length += name.size();
    }
    to[length] = 0;
    return length;
}

bool answer_named(gate::Attributes& answer, const gate::Attributes& known, std::string_view base, std::string_view name,
                  std::string_view target) {
    usize most = base.size() + 1 + name.size() + target.size() + 2;
    if (name.empty() || base.size() == 1) --most;
    if (answer.name != nullptr && most > answer.name_capacity) return false;
    gate::assign_lent(answer, known);
    if (answer.name == nullptr) return true;
    usize length = join_path(answer.name, base, name);
    if (!target.empty()) memcpy(answer.name + length + 1, target.data(), target.size());
    answer.name[length + 1 + target.size()] = 0;
    answer.name_length = static_cast<u32>(length);
    answer.target_length = static_cast<u32>(target.size());
    return true;
}

u32 hash_of_name(std::string_view text) {
    u64 hash = hash_of(text, 0x9e3779b97f4a7c15ull);
    return static_cast<u32>(hash ^ hash >> 32);
}

Res<void> name_cache_initialize() {
    g_cache = static_cast<Cache*>(TRY(arena::allocate(sizeof(Cache))));
    return {};
}

bool name_cache_full() {
    return g_cache == nullptr || __atomic_load_n(&g_cache->count, __ATOMIC_RELAXED) >= kMostEntries;
}

u64& known_listing_bytes() { return g_cache->listing_bytes; }
u32& word_about(u32 hash) { return g_cache->words[hash % 256]; }

const KnownName* find_name(std::string_view path, u32 options) {
    if (g_cache == nullptr) return nullptr;
    u32 hash = hash_of_name(path);
    for (const KnownName* entry = __atomic_load_n(&g_cache->buckets[hash % kBuckets], __ATOMIC_ACQUIRE);
         entry != nullptr; entry = entry->next)
        if (entry->hash == hash && (entry->either || entry->options == options) && entry->path_length == path.size() &&
            memcmp(entry->text, path.data(), path.size()) == 0)
            return entry;
    return nullptr;
}

const KnownName* note_canonical(std::string_view path, gate::Err error, const gate::Attributes& answer) {
    const KnownName* known = find_name(path, 0);
    return known != nullptr ? known : insert(path, 0, error, answer, path, {});
}

void note_name(const char* uri, u32 options, gate::Err error, const gate::Attributes& answer) {
    if ((answer.name_flags & gate::kNameCacheable) == 0 || g_cache == nullptr) return;
    if (error != gate::Err::ok && error != gate::Err::not_found && error != gate::Err::not_directory) return;
    if (error == gate::Err::ok && (answer.stable == 0 || answer.name_length == 0 || answer.name == nullptr)) return;
    std::string_view path = path_of(uri);
    if (find_name(path, options) != nullptr) return;
    std::string_view name, target;
    if (answer.name != nullptr) name = {answer.name, answer.name_length};
    if (!name.empty()) target = {answer.name + name.size() + 1, answer.target_length};
    if ((answer.name_flags & gate::kNameInside) != 0 && name.empty()) return;
    const KnownName* known = insert(path, options, error, answer, name, target);
    // A directory's listing belongs to its canonical name.
    if (known != nullptr && known->is_directory() && !known->either) note_canonical(name, error, answer);
}

gate::Err known_refusal(const char* uri, u32 options, gate::Attributes& answer) {
    if (g_cache == nullptr) return gate::Err::ok;
    std::string_view path = path_of(uri);
    const KnownName* entry = find_name(path, options);
    if (entry != nullptr)
        return entry->error == gate::Err::ok || !hand_over(*entry, answer) ? gate::Err::ok : entry->error;
    gate::Err error = gate::Err::ok;
    if (!listed_answer(path, options, answer, error) && fetch_before_open(path))
        listed_answer(path, options, answer, error);
    return error;
}

const KnownName* known_name(const char* uri, u32 options) {
    const KnownName* entry = find_name(path_of(uri), options);
    return entry != nullptr && entry->error == gate::Err::ok ? entry : nullptr;
}

bool known_name_answer(const KnownName& known, gate::Attributes& answer) { return hand_over(known, answer); }

bool known_answer(const char* uri, u32 options, gate::Attributes& answer, gate::Err& error) {
    std::string_view path = path_of(uri);
    // One fetch may make the next one worth while, but three looks are enough.
    for (u32 look = 0; g_cache != nullptr && look < 3; ++look) {
        const KnownName* entry = find_name(path, options);
        if (entry != nullptr && hand_over(*entry, answer)) return error = entry->error, true;
        if (entry == nullptr && listed_answer(path, options, answer, error)) return true;
        if (entry != nullptr || !fetch_before_query(path)) break;
    }
    return false;
}

void note_answer(const char* uri, u32 options, gate::Err error, const gate::Attributes& answer) {
    note_name(uri, options, error, answer);
    note_question(path_of(uri), error, answer);
}

gate::Err query_name(const char* uri, u32 options, gate::Attributes& answer) {
    gate::Err error = gate::Err::ok;
    if (known_answer(uri, options, answer, error)) return error;
    if (pinned_answer(path_of(uri), answer)) return gate::Err::ok;
    if (open_ahead(uri, options, answer, error)) return error;
    error = g_gate->DkStreamAttributesQuery(uri, options, &answer);
    note_answer(uri, options, error, answer);
    if (error == gate::Err::ok) note_pinned(path_of(uri), answer);
    return error;
}

}  // namespace postern::libos
