// SPDX-License-Identifier: Apache-2.0
// The walk: see walk.hpp.
#include "libos/fs/walk.hpp"

#include "libos/fs/mount.hpp"
#include "libos/process/process.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

std::string_view tail(std::string_view text, usize from) { return {text.data() + from, text.size() - from}; }

/// Walks an absolute text with a prefix that is known to hold no links.
class Walker {
public:
    Walker(Thread& thread, Place& place) : thread_{thread}, place_{place} {}

    /// `rest_` holds an absolute path, of which the first `root` bytes are the process's root.
    Res<void> run(u32 root, InodeRef start = {}, std::string_view start_path = {});

    char rest_[kPathMax];
    u32 rest_length_ = 0;

    Res<void> set_rest(std::string_view first, std::string_view second, std::string_view third = {}) {
        char text[kPathMax];
        usize at = 0;
        for (std::string_view part : {first, second, third}) {
            if (part.empty()) continue;
            bool slash = at != 0 && text[at - 1] != '/' && part[0] != '/';
            if (at + slash + part.size() >= kPathMax) return Failure{Errno::nametoolong};
            if (slash) text[at++] = '/';
            memcpy(text + at, part.data(), part.size());
            at += part.size();
        }
        text[at] = 0;
        memcpy(rest_, text, at + 1);
        rest_length_ = static_cast<u32>(at);
        return {};
    }

private:
    enum class Next { done, again };

    std::string_view text() const { return {place_.uri + kScheme, place_.length}; }
    Res<void> append(std::string_view name) {
        bool slash = place_.length == 0 || place_.uri[kScheme + place_.length - 1] != '/';
        if (place_.length + slash + name.size() >= kPathMax) return Failure{Errno::nametoolong};
        char* end = place_.uri + kScheme + place_.length;
        if (slash) *end++ = '/';
        memcpy(end, name.data(), name.size());
        end[name.size()] = 0;
        place_.length += static_cast<u32>(name.size() + slash);
        return {};
    }
    void pop() {
        char* start = place_.uri + kScheme;
        u32 length = place_.length;
        while (length > 0 && start[length - 1] != '/') --length;
        while (length > 1 && start[length - 1] == '/') --length;
        if (length == 0) start[length++] = '/';
        if (length < root_) length = root_;  // `..` of the root is the root
        start[length] = 0;
        place_.length = length;
    }
    void reset() {
        place_.directory.reset();
        place_.inode.reset();
        place_.magic.reset();
        place_.last_length = 0;
        place_.last_dots = 0;
        place_.inside = false;
        place_.length = 1;
        memcpy(place_.uri, "file:/", 7);
    }
    Res<Next> attempt(InodeRef start, std::string_view start_path);
    Res<Next> inside(usize at, InodeRef current);
    Res<Next> follow_link(Inode& link, usize at, bool last);
    Res<Next> restart(std::string_view first, std::string_view second, std::string_view third = {}) {
        TRY(set_rest(first, second, third));
        return Next::again;
    }
    /// The next component from `at` on; empty at the end. `at` moves behind it.
    std::string_view component(usize& at) const {
        while (at < rest_length_ && rest_[at] == '/') ++at;
        usize start = at;
        while (at < rest_length_ && rest_[at] != '/') ++at;
        return {rest_ + start, at - start};
    }
    bool at_end(usize at) const {
        while (at < rest_length_ && rest_[at] == '/') ++at;
        return at == rest_length_;
    }

    Thread& thread_;
    Place& place_;
    u32 root_ = 1;
};

Res<void> Walker::run(u32 root, InodeRef start, std::string_view start_path) {
    root_ = root;
    for (;;) {
        Next next = TRY(attempt(static_cast<InodeRef&&>(start), start_path));
        if (next == Next::done) return {};
        if (++place_.hops > kLinksMax) return Failure{Errno::loop};
        start.reset();
    }
}

Res<Walker::Next> Walker::attempt(InodeRef start, std::string_view start_path) {
    reset();
    place_.must_be_directory = rest_length_ > 1 && rest_[rest_length_ - 1] == '/';
    if (start.get() != nullptr) {
        if (start_path.size() >= kPathMax) return Failure{Errno::nametoolong};
        memcpy(place_.uri + kScheme, start_path.data(), start_path.size());
        place_.length = static_cast<u32>(start_path.size());
        place_.uri[kScheme + place_.length] = 0;
        return inside(0, static_cast<InodeRef&&>(start));
    }
    // Components of the host that may be links are left to the gate; up to a mount there are none.
    usize at = 0;
    const Mount* mount = mount_at("/");
    if (mount != nullptr && mount->root != nullptr) return inside(0, InodeRef::share(mount->root));
    while (mounts_below(text())) {
        usize before = at;
        std::string_view name = component(at);
        if (name.empty()) break;
        if (name.size() == 1 && name[0] == '.') continue;
        if (name.size() == 2 && name[0] == '.' && name[1] == '.') {
            pop();  // directories above mounts are no links
            continue;
        }
        u32 length = place_.length;
        TRY(append(name));
        mount = mount_at(text());
        if (mount != nullptr && mount->root != nullptr) return inside(at, InodeRef::share(mount->root));
        if (mount == nullptr && !mounts_below(text())) {
            // A name of the host's: it goes to the gate with all that follows.
            place_.length = length;
            place_.uri[kScheme + length] = 0;
            at = before;
            break;
        }
    }
    std::string_view rest = tail({rest_, rest_length_}, at);
    while (!rest.empty() && rest[0] == '/') rest = tail(rest, 1);
    if (!rest.empty()) TRY(append(rest));
    return Next::done;
}

Res<Walker::Next> Walker::inside(usize at, InodeRef current) {
    InodeRef parent;
    place_.inside = true;
    for (;;) {
        std::string_view name = component(at);
        if (name.empty()) break;
        bool last = at_end(at);
        if (!current->is_directory()) return Failure{Errno::notdir};
        TRY(check_permission(thread_, *current, 1));
        place_.last_dots = 0;
        if (name.size() == 1 && name[0] == '.') {
            place_.last_dots = 1;
            parent.reset();
            continue;
        }
        if (name.size() == 2 && name[0] == '.' && name[1] == '.') {
            if (last) place_.last_dots = 2;
            u32 dots = place_.last_dots;
            pop();
            char up[kPathMax];
            usize length = place_.length;
            memcpy(up, place_.path(), length);
            --place_.hops;  // no link: not counted
            Next next = TRY(restart({up, length}, tail({rest_, rest_length_}, at)));
            (void)dots;
            return next;
        }
        if (name.size() > kNameMax) return Failure{Errno::nametoolong};
        u32 length = place_.length;
        char name_copy[kNameMax + 1];
        memcpy(name_copy, name.data(), name.size());
        TRY(append(name));
        const Mount* mount = mount_at(text());
        if (mount != nullptr) {
            if (mount->root == nullptr) {
                std::string_view rest = tail({rest_, rest_length_}, at);
                place_.inside = false;
                if (rest.size() > 0 && place_.length + rest.size() >= kPathMax) return Failure{Errno::nametoolong};
                memcpy(place_.uri + kScheme + place_.length, rest.data(), rest.size());
                place_.length += static_cast<u32>(rest.size());
                place_.uri[kScheme + place_.length] = 0;
                return Next::done;
            }
            current = InodeRef::share(mount->root);
            parent.reset();
            continue;
        }
        auto found = current->lookup(thread_, name);
        if (!found.ok()) {
            if (found.error() != Errno::noent || !last || (place_.flags & kMayBeMissing) == 0)
                return Failure{found.error()};
            place_.directory = static_cast<InodeRef&&>(current);
            memcpy(place_.last, name_copy, name.size());
            place_.last_length = static_cast<u32>(name.size());
            place_.last[name.size()] = 0;
            return Next::done;
        }
        InodeRef child = found.take();
        if (child->is_link() && (!last || (place_.flags & kFollow) != 0 || place_.must_be_directory)) {
            place_.length = length;  // relative targets start at the directory
            place_.uri[kScheme + length] = 0;
            auto followed = child->follow(thread_);
            if (followed.ok()) {
                FileRef file = followed.take();
                if (last) {
                    place_.directory.reset();
                    place_.inode = file->inode != nullptr ? InodeRef::share(file->inode) : InodeRef{};
                    place_.magic = static_cast<FileRef&&>(file);
                    return Next::done;
                }
                if (++place_.hops > kLinksMax) return Failure{Errno::loop};
                if (file->path == nullptr || file->path[0] != '/') return Failure{Errno::notdir};
                std::string_view base{file->path, strlen(file->path)};
                if (file->inode != nullptr) {
                    memcpy(place_.uri + kScheme, base.data(), base.size() + 1);
                    place_.length = static_cast<u32>(base.size());
                    current = InodeRef::share(file->inode);
                    parent.reset();
                    continue;
                }
                return restart(base, tail({rest_, rest_length_}, at));
            }
            if (followed.error() != Errno::nosys) return Failure{followed.error()};
            return follow_link(*child, at, last);
        }
        memcpy(place_.last, name_copy, name.size());
        place_.last_length = static_cast<u32>(name.size());
        place_.last[name.size()] = 0;
        parent = static_cast<InodeRef&&>(current);
        current = static_cast<InodeRef&&>(child);
    }
    if (place_.must_be_directory && !current->is_directory()) return Failure{Errno::notdir};
    if (parent.get() == nullptr) place_.last_length = 0;
    place_.directory = static_cast<InodeRef&&>(parent);
    place_.inode = static_cast<InodeRef&&>(current);
    return Next::done;
}

Res<Walker::Next> Walker::follow_link(Inode& link, usize at, bool) {
    char target[kPathMax];
    usize size = TRY(link.read_link(thread_, target, sizeof target));
    if (size == 0) return Failure{Errno::noent};
    std::string_view base = text();
    if (target[0] == '/') base = root_ > 1 ? std::string_view{place_.path(), root_} : std::string_view{};
    return restart(base, {target, size}, tail({rest_, rest_length_}, at));
}

Res<void> start(Thread& thread, i32 dirfd, std::string_view path, Place& place) {
    FsContext& context = *thread.process->fs;
    Walker walker{thread, place};
    u32 root = static_cast<u32>(strlen(context.root));
    if (path[0] == '/') {
        TRY(walker.set_rest(root > 1 ? std::string_view{context.root, root} : std::string_view{}, path));
        return walker.run(root);
    }
    InodeRef inode;
    char base[kPathMax];
    usize length = 0;
    if (dirfd == kAtWorkingDirectory) {
        Guard guard{context.lock};
        length = strlen(context.cwd);
        memcpy(base, context.cwd, length + 1);
        if (context.cwd_inode != nullptr) inode = InodeRef::share(context.cwd_inode);
    } else {
        FileRef file = TRY(thread.process->files->get(static_cast<u32>(dirfd)));
        if (file->inode != nullptr) {
            if (!file->inode->is_directory()) return Failure{Errno::notdir};
            inode = InodeRef::share(file->inode);
        } else if (!file->is_directory()) {
            return Failure{Errno::notdir};
        }
        if (file->path == nullptr) return Failure{Errno::notdir};
        length = strlen(file->path);
        memcpy(base, file->path, length + 1);
    }
    if (inode.get() != nullptr) {
        TRY(walker.set_rest(path, {}));
        return walker.run(root, static_cast<InodeRef&&>(inode), {base, length});
    }
    TRY(walker.set_rest({base, length}, path));
    return walker.run(root);
}

}  // namespace

Res<void> walk(Thread& thread, i32 dirfd, const char* path, u32 flags, Place& place) {
    usize length = strlen(path);
    place.flags = flags;
    place.hops = 0;
    if (length == 0) return Failure{Errno::noent};
    return start(thread, dirfd, {path, length}, place);
}

Res<void> walk_on(Thread& thread, const char* inside_path, Place& place) {
    if (++place.hops > kLinksMax) return Failure{Errno::loop};
    Walker walker{thread, place};
    TRY(walker.set_rest({inside_path, strlen(inside_path)}, place.must_be_directory ? "/" : ""));
    return walker.run(1);
}

Res<usize> copy_path(char (&buffer)[kPathMax], u64 user) { return copy_in_string(buffer, user, kPathMax); }

InodeRef inside_directory(std::string_view path) {
    const Mount* mount = mount_of(path);
    if (mount == nullptr || mount->root == nullptr) return {};
    InodeRef current = InodeRef::share(mount->root);
    usize at = mount->length > 1 ? mount->length : 0;
    while (at < path.size()) {
        while (at < path.size() && path[at] == '/') ++at;
        usize from = at;
        while (at < path.size() && path[at] != '/') ++at;
        if (at == from) break;
        auto child = current->lookup(current_thread(), {path.data() + from, at - from});
        if (!child.ok()) return {};
        current = child.take();
    }
    if (!current->is_directory()) return {};
    return current;
}

}  // namespace postern::libos
