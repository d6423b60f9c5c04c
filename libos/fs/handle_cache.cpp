// SPDX-License-Identifier: Apache-2.0
// The handles kept: see handle_cache.hpp.
#include "libos/fs/handle_cache.hpp"

#include "libos/fs/host_file.hpp"
#include "libos/shared/lock.hpp"

namespace postern::libos {

namespace {

/// A start reads a loader's cache and a few libraries, a shell's children the same ones again.
constexpr u32 kKept = 32;

SharedLock g_lock;
KeptHandle g_kept[kKept];
u32 g_next;  ///< who leaves when all places are taken: the places in turn

void forget(const KeptHandle& kept) {
    window_close(kept.serial);
    g_gate->DkObjectClose(kept.handle);
}

}  // namespace

void handle_cache_initialize() {
    protect_over_fork(g_lock);
    windows_initialize();
}

bool handle_cache_take(KeptHandle& kept) {
    if (kept.name == nullptr) return false;
    Guard guard{g_lock};
    for (KeptHandle& place : g_kept) {
        if (place.name != kept.name) continue;
        kept = place;
        place.name = nullptr;
        return true;
    }
    return false;
}

void handle_cache_give(const KeptHandle& kept) {
    KeptHandle out;
    {
        Guard guard{g_lock};
        KeptHandle* place = nullptr;
        for (KeptHandle& other : g_kept)
            if (other.name == nullptr && place == nullptr)
                place = &other;
            else if (other.name == kept.name) {
                out = kept;  // one of each name is enough
                break;
            }
        if (out.name == nullptr) {
            if (place == nullptr) {
                place = &g_kept[g_next++ % kKept];
                out = *place;
            }
            *place = kept;
        }
    }
    if (out.name != nullptr) forget(out);
}

}  // namespace postern::libos
