// SPDX-License-Identifier: Apache-2.0
#include "host/linux/monitor/locks.hpp"

#include <algorithm>

namespace postern::host {

using gate::Err;

Err FileLocks::apply(u64 volume, u64 identity, Owner owner, u64 offset, u64 length, u32 mode) {
    if (mode > 2) return Err::bad_argument;
    u64 last = length == 0 ? ~0ull : offset + length - 1;
    if (last < offset) return Err::bad_argument;
    auto meets = [&](const Lock& lock) {
        return lock.volume == volume && lock.identity == identity && lock.first <= last && lock.last >= offset;
    };
    if (mode != 0) {
        for (const Lock& lock : locks_) {
            if (meets(lock) && !(lock.owner == owner) && (lock.exclusive || mode == 2)) return Err::would_block;
        }
        // One new lock, and one more where an old one is split in two.
        if (locks_.size() + 2 > kMaxLocks) return Err::no_quota;
    }
    std::vector<Lock> pieces;
    for (const Lock& lock : locks_) {
        if (!meets(lock) || !(lock.owner == owner)) continue;
        if (lock.first < offset) {
            pieces.push_back(lock);
            pieces.back().last = offset - 1;
        }
        if (lock.last > last) {
            pieces.push_back(lock);
            pieces.back().first = last + 1;
        }
    }
    std::erase_if(locks_, [&](const Lock& lock) { return meets(lock) && lock.owner == owner; });
    locks_.insert(locks_.end(), pieces.begin(), pieces.end());
    if (mode != 0) locks_.push_back({volume, identity, owner, offset, last, mode == 2});
    return Err::ok;
}

void FileLocks::ended(u32 process) {
    std::erase_if(locks_, [&](const Lock& lock) { return lock.owner.process == process; });
}

}  // namespace postern::host
