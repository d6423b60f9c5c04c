// SPDX-License-Identifier: Apache-2.0
// Mappings that left the tree: destroyed, and their files released, when this goes out of scope (after the lock).
#pragma once

#include "libos/memory/space.hpp"

namespace postern::libos {

struct Space::Doomed {
    MappingNode* first = nullptr;
    ~Doomed();
    void add(MappingNode* node);
};

}  // namespace postern::libos
