// SPDX-License-Identifier: Apache-2.0
// Who the calling thread is and how it sleeps: the few facts that the shared-memory code takes from the gate. Hosted
// unit tests provide the same functions over ordinary threads (tests/libos/shared_host.cpp).
#pragma once

#include "libos/gate.hpp"

namespace postern::libos::self {

#ifdef POSTERN_FREESTANDING

/// Host number of the calling thread; never 0.
inline u32 id() {
    u32 value;
    asm("movl %%gs:96, %0" : "=r"(value));
    return value;
}
/// Two words of the host's thread block that belong to the library OS: this thread's place in the lock registry
/// plus one, and how many undo records it has.
inline u64& slot() { return gate::thread_control()->reserved[7]; }
inline u64& undo_count() { return gate::thread_control()->reserved[6]; }

#else

u32 id();
u64& slot();
u64& undo_count();

#endif

}  // namespace postern::libos::self
