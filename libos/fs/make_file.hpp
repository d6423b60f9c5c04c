// SPDX-License-Identifier: Apache-2.0
// Open files of any class in the arena, with the size that their release needs.
#pragma once

#include "libos/shared/arena.hpp"

namespace postern::libos {

template <class T, class... Arguments>
Res<T*> make_file(Arguments&&... arguments) {
    static_assert(sizeof(T) <= arena::kLargestFile);
    void* memory = TRY(arena::allocate_file(sizeof(T)));
    T* file = new (memory) T(std::forward<Arguments>(arguments)...);
    file->object_size = sizeof(T);
    return file;
}

}  // namespace postern::libos
