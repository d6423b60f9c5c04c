// SPDX-License-Identifier: Apache-2.0
// Byte-range locks of a family: advisory, known to the family alone, gone with the process that holds them.
#pragma once

#include <vector>

#include "gate/types.hpp"

namespace postern::host {

class FileLocks {
public:
    struct Owner {
        u32 process;
        u32 handle;
        bool operator==(const Owner&) const = default;
    };
    static constexpr usize kMaxLocks = 16384;

    /// `mode` 0 unlocks, 1 is shared, 2 exclusive. A lock replaces what the owner holds of the range. `length` 0
    /// reaches to the end. Err::would_block: another owner's lock conflicts; Err::no_quota: too many.
    gate::Err apply(u64 volume, u64 identity, Owner owner, u64 offset, u64 length, u32 mode);
    void ended(u32 process);
    usize count() const { return locks_.size(); }

private:
    struct Lock {
        u64 volume, identity;
        Owner owner;
        u64 first, last;  ///< inclusive
        bool exclusive;
    };
    std::vector<Lock> locks_;
};

}  // namespace postern::host
