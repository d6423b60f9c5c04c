// SPDX-License-Identifier: Apache-2.0
// Looking through a whole table of descriptors, for the files that implement it.
#pragma once

#include "libos/fs/fd_table.hpp"

namespace postern::libos {

/// Somebody looks through the whole table. Whoever closes a descriptor meanwhile waits: it may be one that was moved
/// from where nobody has looked yet to where somebody has.
class FdTable::Look {
public:
    explicit Look(FdTable& table) : guard_{table.lock_}, table_{table} {
        __atomic_store_n(&table.looking_, 1, __ATOMIC_SEQ_CST);
    }
    ~Look() { __atomic_store_n(&table_.looking_, 0, __ATOMIC_RELEASE); }

private:
    Guard guard_;
    FdTable& table_;
};

}  // namespace postern::libos
