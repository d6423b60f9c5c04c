// SPDX-License-Identifier: Apache-2.0
// What the files of requests_*.cpp share.
#pragma once

#include "gate/abi.hpp"
#include "host/linux/monitor/requests.hpp"

namespace postern::host {

inline constexpr u32 kAllOptions = gate::kOpenNonBlocking | gate::kOpenNoFollow | gate::kOpenDirectory |
                                   gate::kOpenLink | gate::kOpenTruncate | gate::kOpenMakeDirectory |
                                   gate::kOpenTemporary | gate::kOpenMakeFifo;

/// Of a directory that is made of routes. The number stays the same for the same path.
gate::Attributes synthetic_attributes(std::string_view path);
/// Canonical name, attributes and flags of an object or a synthetic directory.
void describe(const Place& place, Names& names, Reply& reply);
/// What is to be said of a name that leads to nothing.
void describe_missing(const Place& place, Names& names, Reply& reply);
/// Adds the target of the link that `place` is.
void read_target(const Place& place, Reply& reply);

}  // namespace postern::host
