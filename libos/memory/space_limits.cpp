// SPDX-License-Identifier: Apache-2.0
// What a process may have: its own limits and the memory of the family.
#include "libos/memory/space_inner.hpp"

#include "libos/fs/fd_table.hpp"
#include "libos/gate.hpp"
#include "libos/memory/doomed.hpp"
#include "libos/process/process.hpp"
#include "libos/shared/arena.hpp"

namespace postern::libos {

namespace {

constexpr u64 kLimitData = 2, kLimitAddressSpace = 9;

}  // namespace

bool Space::exceeds_data_limit(u64 more) const {
    u64 limit = current_process().limits[kLimitData][0];
    if (limit == ~0ull) [[likely]]
        return false;
    for (MappingNode* node = tree_.first(); node != nullptr; node = tree_.next(*node))
        if (is_data(node->mapping)) more += node->mapping.end - node->mapping.start;
    return more > limit;
}

bool Space::exceeds_limits(u64 more, bool data) const {
    if (mapped_ - time_page_bytes_ + more > current_process().limits[kLimitAddressSpace][0]) return true;
    return data && exceeds_data_limit(more);
}

Res<void> Space::check_memory(gate::Err error, u64 size) const {
    if (error != gate::Err::no_quota && error != gate::Err::no_memory) return check(error);
    // The kernel has other reasons, too, to have no memory; below the limit it is one of those.
    if (mapped_ + size > g_parameters->memory_limit) report_limit(gate::Limit::memory);
    return Failure{Errno::nomem};  // never EAGAIN
}

}  // namespace postern::libos
