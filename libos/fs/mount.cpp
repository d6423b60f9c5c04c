// SPDX-License-Identifier: Apache-2.0
// The mounts of the family, from the options that the launcher gives (lines private=, served=, host=).
#include "libos/fs/mount.hpp"

#include "base/memory.hpp"
#include "libos/fs/handle_cache.hpp"
#include "libos/fs/locks.hpp"
#include "libos/fs/name_cache.hpp"
#include "libos/fs/path.hpp"
#include "libos/fs/tmpfs.hpp"
#include "libos/gate.hpp"
#include "libos/tty/devices.hpp"

namespace postern::libos {

namespace {

Mount* g_mounts;  // arena; longest paths first
bool g_initialized;

bool equal(std::string_view a, std::string_view b) {
    return a.size() == b.size() && memcmp(a.data(), b.data(), a.size()) == 0;
}
/// Is `path` the same as `parent` or below it?
bool covers(std::string_view parent, std::string_view path) {
    if (parent.size() == 1) return true;
    return path.size() >= parent.size() && memcmp(path.data(), parent.data(), parent.size()) == 0 &&
           (path.size() == parent.size() || path[parent.size()] == '/');
}
bool ends_with(std::string_view text, std::string_view end) {
    return text.size() >= end.size() && memcmp(text.data() + text.size() - end.size(), end.data(), end.size()) == 0;
}
std::string_view path_of(const Mount& mount) { return {mount.path, mount.length}; }

Res<void> add(std::string_view path, MountKind kind) {
    while (path.size() > 1 && path[path.size() - 1] == '/') path = {path.data(), path.size() - 1};
    if (path.empty() || path[0] != '/' || mount_at(path) != nullptr) return {};
    auto mount = static_cast<Mount*>(TRY(arena::allocate(sizeof(Mount) + path.size())));
    memcpy(mount->path, path.data(), path.size());
    mount->length = static_cast<u32>(path.size());
    mount->kind = static_cast<u32>(kind);
    Mount** at = &g_mounts;
    while (*at != nullptr && (*at)->length > mount->length) at = &(*at)->next;
    mount->next = *at;
    *at = mount;
    return {};
}

template <class Visit>
void each_line(std::string_view text, std::string_view key, Visit visit) {
    usize at = 0;
    while (at < text.size()) {
        usize end = at;
        while (end < text.size() && text[end] != '\n') ++end;
        if (end - at > key.size() && memcmp(text.data() + at, key.data(), key.size()) == 0)
            visit(std::string_view{text.data() + at + key.size(), end - at - key.size()});
        at = end + 1;
    }
}

Res<InodeRef> make_root(const Mount& mount) {
    std::string_view path = path_of(mount);
    u32 user = g_parameters->user_id, group = g_parameters->group_id;
    if (mount.kind == static_cast<u32>(MountKind::served)) {
        if (equal(path, "/proc") && create_proc_tree != nullptr) return create_proc_tree();
        if (equal(path, "/dev") && create_dev_tree != nullptr) return create_dev_tree();
        if (equal(path, "/dev/pts") && create_pts_tree != nullptr) return create_pts_tree();
        if (equal(path, "/sys") && create_sys_tree != nullptr) return create_sys_tree();
        return make_memory_tree(0555, 0, 0);
    }
    bool common = ends_with(path, "/tmp") || ends_with(path, "/shm") || ends_with(path, "/lock");
    return make_memory_tree(common ? 01777 : 0755, common ? 0 : user, common ? 0 : group);
}

/// Makes directories in the memory tree around a mount, so that listings show where it lies.
void make_mount_point(const Mount& inner) {
    const Mount* outer = nullptr;
    for (const Mount* mount = g_mounts; mount != nullptr && outer == nullptr; mount = mount->next)
        if (mount->length < inner.length && covers(path_of(*mount), path_of(inner))) outer = mount;
    if (outer == nullptr || outer->root == nullptr || outer->kind != static_cast<u32>(MountKind::memory)) return;
    InodeRef current = InodeRef::share(outer->root);
    usize at = outer->length > 1 ? outer->length : 0;
    std::string_view path = path_of(inner);
    while (at < path.size()) {
        while (at < path.size() && path[at] == '/') ++at;
        usize from = at;
        while (at < path.size() && path[at] != '/') ++at;
        auto made = static_cast<MemoryDirectory&>(*current).add_directory(
            {path.data() + from, at - from}, 0755, g_parameters->user_id, g_parameters->group_id);
        if (!made.ok() || !made.value()->is_directory()) return;
        current = made.take();
    }
}

}  // namespace

const Mount* first_mount() { return g_mounts; }

const Mount* mount_of(std::string_view path) {
    for (const Mount* mount = g_mounts; mount != nullptr; mount = mount->next)
        if (covers(path_of(*mount), path)) return mount;
    return nullptr;
}

const Mount* mount_at(std::string_view path) {
    for (const Mount* mount = g_mounts; mount != nullptr; mount = mount->next)
        if (equal(path_of(*mount), path)) return mount;
    return nullptr;
}

bool mounts_below(std::string_view path) {
    for (const Mount* mount = g_mounts; mount != nullptr; mount = mount->next)
        if (mount->length > path.size() && covers(path, path_of(*mount))) return true;
    return false;
}

Res<void> initialize_file_systems() {
    if (g_initialized) return {};
    g_initialized = true;
    TRY(locks_initialize());
    TRY(name_cache_initialize());
    handle_cache_initialize();
    std::string_view options{g_parameters->options != nullptr ? g_parameters->options : ""};
    Res<void> result{};
    auto note = [&](Res<void> added) {
        if (!added.ok() && result.ok()) new (&result) Res<void>{Failure{added.error()}};
    };
    each_line(options, "private=", [&](std::string_view path) { note(add(path, MountKind::memory)); });
    each_line(options, "served=", [&](std::string_view path) {
        note(add(path, MountKind::served));
        if (equal(path, "/dev")) {
            note(add("/dev/shm", MountKind::memory));
            note(add("/dev/pts", MountKind::served));
        }
    });
    each_line(options, "host=", [&](std::string_view path) { note(add(path, MountKind::host)); });
    for (Mount* mount = g_mounts; mount != nullptr; mount = mount->next)
        if (mount->kind != static_cast<u32>(MountKind::host)) {
            auto root = make_root(*mount);
            if (!root.ok()) return Failure{root.error()};
            mount->root = root.take().leak();
        }
    for (Mount* mount = g_mounts; mount != nullptr; mount = mount->next) make_mount_point(*mount);
    return result;
}

}  // namespace postern::libos
