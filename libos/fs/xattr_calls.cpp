// SPDX-License-Identifier: Apache-2.0
// Extended attributes (xattr(7)) of memory files. Host files keep none here: their lists are empty and setting answers
// EOPNOTSUPP.
#include "base/memory.hpp"
#include "libos/fs/name_cache.hpp"
#include "libos/fs/open.hpp"
#include "libos/fs/quota.hpp"
#include "libos/fs/tmpfs.hpp"
#include "libos/fs/walk.hpp"
#include "libos/inotify/notify.hpp"
#include "libos/process/process.hpp"
#include "libos/syscall/table.hpp"
#include "libos/user.hpp"

namespace postern::libos {

/// One attribute: this header, the name, the value. Never changed: a new value is a new node.
struct ExtendedAttribute {
    ExtendedAttribute* next;
    u32 name_size, value_size;

    char* name() { return reinterpret_cast<char*>(this + 1); }
    char* value() { return name() + name_size; }
    usize bytes() const { return sizeof *this + name_size + value_size; }
};

MemoryInode::~MemoryInode() {
    while (ExtendedAttribute* attribute = attributes) {
        attributes = attribute->next;
        arena::release(attribute, attribute->bytes());
    }
    quota::give_object();
}

namespace {

constexpr usize kNameMost = 255;      // XATTR_NAME_MAX
constexpr u64 kValueMost = 64 << 10;  // XATTR_SIZE_MAX
constexpr u64 kCreate = 1, kReplace = 2;
constexpr u32 kCapabilityFowner = 3, kCapabilityAdmin = 21;

enum class Space : u32 { user, trusted, security };

bool begins(std::string_view text, std::string_view prefix) {
    return text.size() >= prefix.size() && memcmp(text.data(), prefix.data(), prefix.size()) == 0;
}

/// An attribute's name from program memory.
struct Name {
    char text[kNameMost + 1];
    usize size = 0;
    Space space = Space::user;

    Res<void> read(u64 user) {
        auto length = copy_in_string(text, user, sizeof text);
        if (!length.ok() && length.error() != Errno::nametoolong) return Failure{length.error()};
        if (!length.ok() || length.value() == 0) return Failure{Errno::range};
        size = length.value();
        return {};
    }
    /// EOPNOTSUPP for name spaces that are not kept here.
    Res<void> classify() {
        struct Prefix {
            std::string_view text;
            Space space;
        };
        constexpr Prefix kPrefixes[] = {
            {"user.", Space::user}, {"trusted.", Space::trusted}, {"security.", Space::security}};
        for (const Prefix& prefix : kPrefixes) {
            if (!begins(view(), prefix.text)) continue;
            if (size == prefix.text.size()) return Failure{Errno::inval};
            space = prefix.space;
            return {};
        }
        return Failure{Errno::opnotsupp};
    }
    std::string_view view() const { return {text, size}; }
};

/// What the calls work on: a memory inode, or null for everything that keeps no attributes.
struct Target {
    InodeRef inode;
    MemoryInode* memory() const {
        if (inode.get() == nullptr || inode->device != kTmpfsDevice) return nullptr;
        return static_cast<MemoryInode*>(inode.get());
    }
};

Res<void> find_path(Thread& thread, const char* path, bool follow, Target& target) {
    Place place;
    TRY(walk(thread, kAtWorkingDirectory, path, follow ? u32{kFollow} : 0, place));
    gate::Attributes attributes;
    bool inside = TRY(ask_host(thread, place, attributes, [&](Place& at, gate::Attributes& answer) {
        return query_name(at.uri, follow ? 0 : u32{gate::kOpenNoFollow}, answer);
    }));
    if (!inside) return {};
    if (place.inode.get() == nullptr && place.magic.get() == nullptr) return Failure{Errno::noent};
    if (place.inode.get() != nullptr) target.inode = InodeRef::share(place.inode.get());
    return {};
}

Res<void> find_file(Thread& thread, u64 fd, Target& target) {
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(fd)));
    if ((file->status_flags & kPathFlag) != 0) return Failure{Errno::badf};
    if (file->inode != nullptr) target.inode = InodeRef::share(file->inode);
    return {};
}

enum class By : u32 { path, link, file };

Res<void> find(Thread& thread, By by, u64 argument, Target& target) {
    if (by == By::file) return find_file(thread, argument, target);
    char path[kPathMax];
    TRY(copy_path(path, argument));
    return find_path(thread, path, by == By::path, target);
}

/// xattr_permission(): `write` for setting and removing.
Res<void> check_access(Thread& thread, MemoryInode& inode, const Name& name, bool write) {
    const u32 type = inode.mode & kTypeMask;
    if (write && (inode.protection & (kImmutable | kAppendOnly)) != 0) return Failure{Errno::perm};
    switch (name.space) {
        case Space::trusted:
            if (!has_capability(thread, kCapabilityAdmin)) return Failure{write ? Errno::perm : Errno::nodata};
            return {};
        case Space::security:
            if (write && !has_capability(thread, kCapabilityAdmin)) return Failure{Errno::perm};
            return {};
        case Space::user: break;
    }
    if (type != kTypeRegular && type != kTypeDirectory) return Failure{write ? Errno::perm : Errno::nodata};
    constexpr u32 kSticky = 01000;
    if (write && type == kTypeDirectory && (inode.mode & kSticky) != 0 && !has_capability(thread, kCapabilityFowner) &&
        thread.process->credentials.fsuid != inode.uid)
        return Failure{Errno::perm};
    return check_permission(thread, inode, write ? 2 : 4);
}

ExtendedAttribute** locate(MemoryInode& inode, const Name& name) {
    ExtendedAttribute** at = &inode.attributes;
    while (*at != nullptr && ((*at)->name_size != name.size || memcmp((*at)->name(), name.text, name.size) != 0))
        at = &(*at)->next;
    return at;
}

Res<i64> set(Thread& thread, By by, Arguments arguments) {
    const u64 size = arguments[3], flags = arguments[4];
    if ((flags & ~(kCreate | kReplace)) != 0) return Failure{Errno::inval};
    Target target;
    Name name;
    TRY(name.read(arguments[1]));
    if (size > kValueMost) return Failure{Errno::toobig};
    TRY(find(thread, by, arguments[0], target));
    MemoryInode* inode = target.memory();
    if (inode == nullptr) return Failure{Errno::opnotsupp};
    TRY(name.classify());
    TRY(check_access(thread, *inode, name, true));
    const usize bytes = sizeof(ExtendedAttribute) + name.size + size;
    auto memory = arena::allocate(bytes);
    if (!memory.ok()) return Failure{Errno::nospc};
    auto fresh = static_cast<ExtendedAttribute*>(memory.value());
    fresh->name_size = static_cast<u32>(name.size);
    fresh->value_size = static_cast<u32>(size);
    memcpy(fresh->name(), name.text, name.size);
    auto copied = copy_in(fresh->value(), arguments[2], size);
    Errno outcome = copied.ok() ? Errno::ok : copied.error();
    ExtendedAttribute* old = fresh;  // what is given back
    if (outcome == Errno::ok) {
        Guard guard{memory_tree_lock()};
        ExtendedAttribute** at = locate(*inode, name);
        if (*at != nullptr && (flags & kCreate) != 0) {
            outcome = Errno::exist;
        } else if (*at == nullptr && (flags & kReplace) != 0) {
            outcome = Errno::nodata;
        } else {
            old = *at;
            fresh->next = old != nullptr ? old->next : nullptr;
            __atomic_store_n(at, fresh, __ATOMIC_RELEASE);
            inode->touch_changed();
        }
    }
    if (old != nullptr) arena::release(old, old->bytes());
    if (outcome != Errno::ok) return Failure{outcome};
    return 0;
}

Res<i64> get(Thread& thread, By by, Arguments arguments) {
    Target target;
    Name name;
    TRY(name.read(arguments[1]));
    TRY(find(thread, by, arguments[0], target));
    MemoryInode* inode = target.memory();
    if (inode == nullptr) return Failure{Errno::opnotsupp};
    TRY(name.classify());
    TRY(check_access(thread, *inode, name, false));
    const u64 capacity = arguments[3];
    // Copied below the lock first: nothing may wait on program memory while it is held.
    u32 size;
    void* copy = nullptr;
    for (;;) {
        {
            Guard guard{memory_tree_lock()};
            ExtendedAttribute* attribute = *locate(*inode, name);
            if (attribute == nullptr) return Failure{Errno::nodata};
            size = attribute->value_size;
            if (copy != nullptr) {
                memcpy(copy, attribute->value(), size < capacity ? size : capacity);
                break;
            }
        }
        if (capacity == 0) return static_cast<i64>(size);
        copy = TRY(heap::allocate(capacity < kValueMost ? capacity : kValueMost));
    }
    Errno outcome = Errno::ok;
    if (size > capacity)
        outcome = Errno::range;
    else if (auto copied = copy_out(arguments[2], copy, size); !copied.ok())
        outcome = copied.error();
    heap::release(copy, capacity < kValueMost ? capacity : kValueMost);
    if (outcome != Errno::ok) return Failure{outcome};
    return static_cast<i64>(size);
}

Res<i64> list(Thread& thread, By by, Arguments arguments) {
    Target target;
    TRY(find(thread, by, arguments[0], target));
    MemoryInode* inode = target.memory();
    if (inode == nullptr) return 0;
    const bool privileged = has_capability(thread, kCapabilityAdmin);
    const u64 capacity = arguments[2] < kValueMost ? arguments[2] : kValueMost;
    char* names = nullptr;
    if (capacity != 0) names = static_cast<char*>(TRY(heap::allocate(capacity)));
    u64 total = 0;
    {
        Guard guard{memory_tree_lock()};
        for (ExtendedAttribute* at = inode->attributes; at != nullptr; at = at->next) {
            if (!privileged && begins({at->name(), at->name_size}, "trusted.")) continue;
            if (total + at->name_size + 1 <= capacity) {
                memcpy(names + total, at->name(), at->name_size);
                names[total + at->name_size] = 0;
            }
            total += at->name_size + 1;
        }
    }
    Errno outcome = Errno::ok;
    if (arguments[2] != 0 && total > capacity)
        outcome = total > kValueMost ? Errno::toobig : Errno::range;
    else if (arguments[2] != 0)
        if (auto copied = copy_out(arguments[1], names, total); !copied.ok()) outcome = copied.error();
    if (names != nullptr) heap::release(names, capacity);
    if (outcome != Errno::ok) return Failure{outcome};
    return static_cast<i64>(total);
}

Res<i64> remove(Thread& thread, By by, Arguments arguments) {
    Target target;
    Name name;
    TRY(name.read(arguments[1]));
    TRY(find(thread, by, arguments[0], target));
    MemoryInode* inode = target.memory();
    if (inode == nullptr) return Failure{Errno::opnotsupp};
    TRY(name.classify());
    TRY(check_access(thread, *inode, name, true));
    ExtendedAttribute* old;
    {
        Guard guard{memory_tree_lock()};
        ExtendedAttribute** at = locate(*inode, name);
        old = *at;
        if (old == nullptr) return Failure{Errno::nodata};
        __atomic_store_n(at, old->next, __ATOMIC_RELEASE);
        inode->touch_changed();
    }
    arena::release(old, old->bytes());
    return 0;
}

}  // namespace

Res<i64> sys_setxattr(Thread& thread, Arguments arguments) { return set(thread, By::path, arguments); }
Res<i64> sys_lsetxattr(Thread& thread, Arguments arguments) { return set(thread, By::link, arguments); }
Res<i64> sys_fsetxattr(Thread& thread, Arguments arguments) { return set(thread, By::file, arguments); }
Res<i64> sys_getxattr(Thread& thread, Arguments arguments) { return get(thread, By::path, arguments); }
Res<i64> sys_lgetxattr(Thread& thread, Arguments arguments) { return get(thread, By::link, arguments); }
Res<i64> sys_fgetxattr(Thread& thread, Arguments arguments) { return get(thread, By::file, arguments); }
Res<i64> sys_listxattr(Thread& thread, Arguments arguments) { return list(thread, By::path, arguments); }
Res<i64> sys_llistxattr(Thread& thread, Arguments arguments) { return list(thread, By::link, arguments); }
Res<i64> sys_flistxattr(Thread& thread, Arguments arguments) { return list(thread, By::file, arguments); }
Res<i64> sys_removexattr(Thread& thread, Arguments arguments) { return remove(thread, By::path, arguments); }
Res<i64> sys_lremovexattr(Thread& thread, Arguments arguments) { return remove(thread, By::link, arguments); }
Res<i64> sys_fremovexattr(Thread& thread, Arguments arguments) { return remove(thread, By::file, arguments); }

}  // namespace postern::libos
