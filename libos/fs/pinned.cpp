// SPDX-License-Identifier: Apache-2.0
// Handles of pinned directories: see pinned.hpp. Private memory; forked picoprocesses have copies of the handles.
#include "libos/fs/pinned.hpp"

#include "base/memory.hpp"
#include "libos/fs/name_cache.hpp"

namespace postern::libos {

namespace {

constexpr u32 kDirectories = 4;
constexpr u32 kQuestions = 2;  ///< a handle is opened when it is asked about so often

enum State : u32 { kFree, kFilling, kNoted, kOpen };

struct Directory {
    u32 state;  ///< atomic; what a fork leaves kFilling stays unused
    u32 asked;
    gate::Handle handle;
    u32 length;
    gate::Attributes attributes;
    char uri[256];
};
constinit Directory g_directories[kDirectories]{};

constexpr u32 kScheme = 5;

Directory* find(std::string_view path) {
    for (Directory& directory : g_directories)
        if (__atomic_load_n(&directory.state, __ATOMIC_ACQUIRE) >= kNoted && directory.length == path.size() &&
            memcmp(directory.uri + kScheme, path.data(), path.size()) == 0)
            return &directory;
    return nullptr;
}

}  // namespace

bool pinned_answer(std::string_view path, gate::Attributes& answer) {
    Directory* directory = find(path);
    if (directory == nullptr || __atomic_load_n(&directory->state, __ATOMIC_ACQUIRE) != kOpen) return false;
    gate::Attributes now;
    if (g_gate->DkStreamAttributesQueryByHandle(directory->handle, &now) != gate::Err::ok) return false;
    now.rights = directory->attributes.rights;
    now.stable = directory->attributes.stable;
    now.name_flags = directory->attributes.name_flags;
    return answer_named(answer, now, path, {}, {});
}

void note_pinned(std::string_view path, const gate::Attributes& answer) {
    if ((answer.name_flags & gate::kNamePinned) == 0 || (answer.name_flags & gate::kNameCacheable) != 0) return;
    if (answer.name == nullptr || answer.name_length != path.size() || path.size() + kScheme >= sizeof Directory::uri ||
        memcmp(answer.name, path.data(), path.size()) != 0)
        return;
    Directory* directory = find(path);
    if (directory != nullptr) {
        if (__atomic_add_fetch(&directory->asked, 1, __ATOMIC_RELAXED) != kQuestions) return;
        gate::Handle handle = gate::kNoHandle;
        if (g_gate->DkStreamOpen(directory->uri, gate::kAccessRead, 0, gate::kCreateNever, gate::kOpenDirectory,
                                 &handle, nullptr) != gate::Err::ok)
            return;
        directory->handle = handle;
        __atomic_store_n(&directory->state, kOpen, __ATOMIC_RELEASE);
        return;
    }
    for (Directory& place : g_directories) {
        u32 free = kFree;
        if (!__atomic_compare_exchange_n(&place.state, &free, kFilling, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            continue;
        memcpy(place.uri, "file:", kScheme);
        memcpy(place.uri + kScheme, path.data(), path.size());
        place.uri[kScheme + path.size()] = 0;
        place.length = static_cast<u32>(path.size());
        place.attributes = answer;
        place.asked = 1;
        __atomic_store_n(&place.state, kNoted, __ATOMIC_RELEASE);
        return;
    }
}

}  // namespace postern::libos
