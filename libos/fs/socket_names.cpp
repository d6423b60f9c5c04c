// SPDX-License-Identifier: Apache-2.0
// Socket names beside the host's files: see socket_names.hpp.
#include "libos/fs/socket_names.hpp"

#include "libos/fs/tmpfs.hpp"
#include "libos/fs/walk.hpp"
#include "libos/process/process.hpp"
#include "libos/shared/layout.hpp"

namespace postern::libos {

namespace {

struct HiddenDirectory {
    HiddenDirectory* next;
    Inode* inode;  ///< a memory directory, for as long as the family lives
    usize length;
    char path[1];  ///< canonical, of the host's directory
};

void*& root() { return arena::header().roots[kRootHostSockets]; }

HiddenDirectory* find(std::string_view path) {
    auto* at = static_cast<HiddenDirectory*>(__atomic_load_n(&root(), __ATOMIC_ACQUIRE));
    while (at != nullptr && (at->length != path.size() || memcmp(at->path, path.data(), path.size()) != 0))
        at = at->next;
    return at;
}

/// The last component of a host place, and what the host says of the directory before it: its canonical name is in
/// `attributes.name`.
Res<std::string_view> split(const Place& place, gate::Attributes& attributes) {
    std::string_view text = place.view();
    usize slash = text.size();
    while (slash > 0 && text[slash - 1] != '/') --slash;
    std::string_view last{text.data() + slash, text.size() - slash};
    if (slash == 0 || last.empty() || last.size() > kNameMax || last == "." || last == "..")
        return Failure{Errno::noent};
    char uri[kScheme + kPathMax];
    memcpy(uri, "file:", kScheme);
    usize length = slash > 1 ? slash - 1 : 1;
    memcpy(uri + kScheme, text.data(), length);
    uri[kScheme + length] = 0;
    TRY(check(query_name(uri, 0, attributes)));
    if (attributes.type != gate::StreamType::directory) return Failure{Errno::notdir};
    if (attributes.name_length == 0) return Failure{Errno::noent};
    return last;
}

}  // namespace

Res<InodeRef> make_socket_name(Thread& thread, const Place& place, u32 mode) {
    char canonical[kPathMax];
    gate::Attributes attributes;
    attributes.name = canonical;
    attributes.name_capacity = sizeof canonical;
    std::string_view name = TRY(split(place, attributes));
    if ((attributes.rights & static_cast<u32>(gate::Right::write)) == 0) return Failure{Errno::rofs};
    std::string_view path{canonical, attributes.name_length};
    HiddenDirectory* directory = find(path);
    if (directory == nullptr) {
        InodeRef tree = TRY(make_memory_tree(0777, attributes.owner, attributes.group));
        directory = static_cast<HiddenDirectory*>(TRY(arena::allocate(sizeof(HiddenDirectory) + path.size())));
        directory->inode = tree.leak();
        directory->length = path.size();
        memcpy(directory->path, path.data(), path.size());
        void* first = __atomic_load_n(&root(), __ATOMIC_ACQUIRE);
        do {
            // Two that come at once both add theirs: the first in the list counts, and nothing is in the other yet.
            directory->next = static_cast<HiddenDirectory*>(first);
        } while (!__atomic_compare_exchange_n(&root(), &first, directory, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
        directory = find(path);
    }
    return directory->inode->create(thread, name, mode);
}

Res<void> visit_kept_names(Thread& thread, std::string_view path, u64 position, DirectoryVisitor& visitor) {
    if (__atomic_load_n(&root(), __ATOMIC_ACQUIRE) == nullptr) [[likely]]
        return {};
    HiddenDirectory* directory = find(path);
    if (directory == nullptr) return {};
    struct Shifted final : DirectoryVisitor {
        DirectoryVisitor& to;
        explicit Shifted(DirectoryVisitor& other) : to{other} {}
        bool entry(std::string_view name, u64 inode, u8 type, u64 next) override {
            return to.entry(name, inode, type, next + kKeptPositions);
        }
    } shifted{visitor};
    constexpr u64 kFirst = 2;
    return directory->inode->visit(thread, is_kept_position(position) ? position - kKeptPositions : kFirst, shifted);
}

bool keeps_names(const Place& place) {
    if (__atomic_load_n(&root(), __ATOMIC_ACQUIRE) == nullptr) [[likely]]
        return false;
    char canonical[kPathMax];
    gate::Attributes attributes;
    attributes.name = canonical;
    attributes.name_capacity = sizeof canonical;
    if (query_name(place.uri, gate::kOpenNoFollow, attributes) != gate::Err::ok || attributes.name_length == 0)
        return false;
    struct Any final : DirectoryVisitor {
        bool found = false;
        bool entry(std::string_view, u64, u8, u64) override {
            found = true;
            return false;
        }
    } any;
    auto visited = visit_kept_names(current_thread(), {canonical, attributes.name_length}, 0, any);
    return visited.ok() && any.found;
}

void prefer_socket_name(Place& place) {
    if (place.inside || __atomic_load_n(&root(), __ATOMIC_ACQUIRE) == nullptr) [[likely]]
        return;
    char canonical[kPathMax];
    gate::Attributes attributes;
    attributes.name = canonical;
    attributes.name_capacity = sizeof canonical;
    if (query_name(place.uri, 0, attributes) == gate::Err::not_found &&
        (attributes.name_flags & gate::kNameInside) == 0)
        (void)find_socket_name(place);
}

bool find_socket_name(Place& place) {
    if (__atomic_load_n(&root(), __ATOMIC_ACQUIRE) == nullptr) [[likely]]
        return false;
    char canonical[kPathMax];
    gate::Attributes attributes;
    attributes.name = canonical;
    attributes.name_capacity = sizeof canonical;
    auto name = split(place, attributes);
    if (!name.ok()) return false;
    HiddenDirectory* directory = find({canonical, attributes.name_length});
    if (directory == nullptr) return false;
    auto found = directory->inode->lookup(current_thread(), name.value());
    if (!found.ok()) return false;
    memcpy(place.last, name.value().data(), name.value().size());
    place.last[name.value().size()] = 0;
    place.last_length = static_cast<u32>(name.value().size());
    place.directory = InodeRef::share(directory->inode);
    place.inode = found.take();
    place.inside = true;
    return true;
}

}  // namespace postern::libos
