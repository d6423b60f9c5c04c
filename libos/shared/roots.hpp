// SPDX-License-Identifier: Apache-2.0
// Objects that all members of the family share, one of each kind, found by their number in the arena's header.
#pragma once

#include "libos/shared/arena.hpp"
#include "libos/shared/layout.hpp"

namespace postern::libos::arena {

/// Null while nobody has needed it.
template <class T>
T* root_if_made(ArenaRoot number) {
    return static_cast<T*>(__atomic_load_n(&header().roots[number], __ATOMIC_ACQUIRE));
}

/// Made by the first who needs it; of two that come at once one's is taken. Errno::nomem.
template <class T>
Res<T*> root(ArenaRoot number) {
    if (T* made = root_if_made<T>(number); made != nullptr) return made;
    T* fresh = TRY(create<T>());
    void* seen = nullptr;
    if (__atomic_compare_exchange_n(&header().roots[number], &seen, static_cast<void*>(fresh), false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST))
        return fresh;
    destroy(fresh);
    return static_cast<T*>(seen);
}

}  // namespace postern::libos::arena
