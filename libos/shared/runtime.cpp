// SPDX-License-Identifier: Apache-2.0
// What the compiler wants of a run-time library and never calls: objects are destroyed by the arena, not by `delete`.
#include "libos/gate.hpp"

void operator delete(void*, std::size_t) noexcept { postern::libos::panic("operator delete"); }
extern "C" void __cxa_pure_virtual() { postern::libos::panic("a pure virtual function was called"); }
