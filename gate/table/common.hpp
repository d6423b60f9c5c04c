// SPDX-License-Identifier: Apache-2.0
// Reasons that many calls share.
#pragma once

#include "gate/schema.hpp"

namespace postern::gate::schema::reason {

inline constexpr Reason kBadHandle[] = {
    {Err::bad_handle, "the handle is not open"},
};
inline constexpr Reason kHandle[] = {
    {Err::bad_handle, "the handle is not open"},
    {Err::wrong_kind, "the handle names an object of another kind"},
    {Err::denied, "the handle lacks the right"},
};
/// For arguments that no particular right is asked of.
inline constexpr Reason kHandleAnyRight[] = {
    {Err::bad_handle, "the handle is not open"},
    {Err::wrong_kind, "the handle names an object of another kind"},
};
inline constexpr Reason kRange[] = {
    {Err::bad_argument,
     "address or size is no page multiple, the size is 0 or the range leaves user addresses; or a "
     "flag is not defined"},
};
inline constexpr Reason kNewHandle[] = {
    {Err::bad_address, "the place for the result is not writable"},
    {Err::no_quota, "the family's limit of handles is reached"},
    {Err::no_memory, "memory for the object is exhausted"},
};
inline constexpr Reason kName[] = {
    {Err::bad_argument, "the URI has no scheme or an empty name, or a flag is not defined"},
    {Err::bad_address, "the URI or a result is not accessible"},
    {Err::denied, "the route or the file's permissions refuse what was asked"},
    {Err::not_found, "no route or no object has this name"},
    {Err::not_directory, "a component before the last is not a directory"},
    {Err::too_many_links, "more symbolic links than the provider follows"},
    {Err::name_too_long, "the name or one component is too long"},
    {Err::io, "the provider reported a failure"},
    {Err::unsupported, "this scheme has no such operation"},
    {Err::no_memory, "the host lacks memory for the request"},
    {Err::interrupted, "the wait for the provider was interrupted"},
};
inline constexpr Reason kChange[] = {
    {Err::read_only, "the route is read-only"},
    {Err::no_space, "the provider's storage is full"},
};

}  // namespace postern::gate::schema::reason
