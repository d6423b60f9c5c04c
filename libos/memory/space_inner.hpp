// SPDX-License-Identifier: Apache-2.0
// What the files that implement the address space share.
#pragma once

#include "libos/memory/space.hpp"

namespace postern::libos {

/// What RLIMIT_DATA counts.
inline bool is_data(const Mapping& mapping) {
    return mapping.shared == 0 && (mapping.prot & gate::kProtWrite) != 0 && mapping.grows_down == 0 &&
           mapping.kind != MappingKind::stack;
}

}  // namespace postern::libos
