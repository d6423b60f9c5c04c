// SPDX-License-Identifier: Apache-2.0
// From a program's path to the place that it names, in a tree of the library OS or on the host.
//
// Inside, components are looked up one by one. As soon as a path leads to the host, all that is left of it goes to the
// gate in one call, which follows links and dots by the routes; should they lead back inside, the gate says where and
// the walk goes on there. So a path costs one question at most.
#pragma once

#include "base/memory.hpp"
#include "libos/fs/directory_cache.hpp"
#include "libos/fs/inode.hpp"
#include "libos/fs/name_cache.hpp"
#include "libos/fs/path.hpp"
#include "libos/fs/socket_names.hpp"

namespace postern::libos {

inline constexpr u32 kLinksMax = 40;
inline constexpr u32 kScheme = 5;  ///< bytes of "file:"

struct Place {
    bool inside = false;
    bool must_be_directory = false;  ///< the path ended in a slash
    InodeRef directory;              ///< inside: what holds `last`; null when the path names a root or ends in a dot
    InodeRef inode;                  ///< inside: the object; null when `last` does not exist
    FileRef magic;                   ///< the path ended in a link to an open file: that file
    u32 last_length = 0;
    u32 last_dots = 0;  ///< the path ended in "." (1) or ".." (2): errors of rmdir(2) and rename(2)
    u32 hops = 0;       ///< links followed
    u32 flags = 0;      ///< ResolveFlags
    u32 length = 0;     ///< of path()
    char last[kNameMax + 1];
    char uri[kScheme + kPathMax];  ///< "file:" and: inside, the canonical path; else what to ask for

    const char* path() const { return uri + kScheme; }
    std::string_view view() const { return {uri + kScheme, length}; }
    std::string_view name() const { return {last, last_length}; }
};

/// `path` is NUL-terminated. With kFollow a link in the last component is followed. Missing last components are no
/// error with kMayBeMissing.
Res<void> walk(Thread& thread, i32 dirfd, const char* path, u32 flags, Place& place);
/// After the gate answered that a host name leads inside: goes on there.
Res<void> walk_on(Thread& thread, const char* inside_path, Place& place);

/// The directory inode at a canonical path inside; null when there is none.
InodeRef inside_directory(std::string_view path);

/// Copies a path in: ENAMETOOLONG, EFAULT. Its length.
Res<usize> copy_path(char (&buffer)[kPathMax], u64 user);

/// One gate call about a host name, repeated inside when links lead there. `ask(place, attributes)` is called with the
/// buffer for canonical names lent (it may lend a larger one), for host places only; answers Err. Returns true when the
/// place is inside by now.
template <class Ask>
Res<bool> ask_host(Thread& thread, Place& place, gate::Attributes& attributes, Ask ask) {
    char name[kPathMax];
    for (;;) {
        if (place.inside) return true;
        place.length = static_cast<u32>(without_dots(place.uri + kScheme, place.length));
        attributes = {};
        attributes.name = name;
        attributes.name_capacity = sizeof name;
        gate::Err error = ask(place, attributes);
        if (error == gate::Err::ok) {
            if (attributes.name_length != 0 && attributes.name_length < kPathMax) {
                memcpy(place.uri + kScheme, attributes.name, attributes.name_length + 1);
                place.length = attributes.name_length;
            }
            attributes.name = nullptr;
            return false;
        }
        if (error != gate::Err::not_found || (attributes.name_flags & gate::kNameInside) == 0 ||
            attributes.name_length == 0) {
            if (error == gate::Err::not_found && find_socket_name(place)) return true;
            return Failure{to_errno(error)};
        }
        TRY(walk_on(thread, attributes.name, place));
    }
}

/// As above for calls that answer no attributes: a refusal is followed by the question where the name leads.
template <class Act>
Res<bool> act_host(Thread& thread, Place& place, Act act) {
    for (;;) {
        if (place.inside) return true;
        gate::Err error = act(place);
        if (error == gate::Err::ok) return false;
        if (error != gate::Err::not_found) return Failure{to_errno(error)};
        gate::Attributes attributes;
        u32 options = (place.flags & kFollow) != 0 ? 0 : u32{gate::kOpenNoFollow};
        bool inside = TRY(ask_host(thread, place, attributes, [&](Place& at, gate::Attributes& answer) {
            return query_name(at.uri, options, answer);
        }));
        if (!inside) return Failure{to_errno(error)};
    }
}

}  // namespace postern::libos
