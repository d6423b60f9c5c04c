// SPDX-License-Identifier: Apache-2.0
#include "libos/memory/shared_memory.hpp"

#include "base/memory.hpp"
#include "libos/gate.hpp"
#include "libos/shared/arena.hpp"

namespace postern::libos {

namespace {
constexpr std::string_view kName = "/dev/zero (deleted)";  // what Linux's /proc/PID/maps says
}

Res<SharedMemory*> SharedMemory::create(u64 size) {
    u64 count = size / kPageSize;
    void* pages = TRY(arena::allocate_pages(count));
    auto made = make_file<SharedMemory>(pages, count);
    if (!made.ok()) {
        arena::release_pages(pages, count);
        return Failure{made.error()};
    }
    auto name = arena::allocate(kName.size() + 1);
    if (name.ok()) {
        memcpy(name.value(), kName.data(), kName.size());
        made.value()->path = static_cast<char*>(name.value());
        made.value()->path_size = kName.size() + 1;
    }
    return made.value();
}

SharedMemory::~SharedMemory() { arena::release_pages(pages_, count_); }

Res<void> SharedMemory::map(u64 address, u64 size, u64 offset, u32 prot, bool shared) {
    // Growing with mremap past the end would need other pages: Linux gives SIGBUS there, this refuses.
    if (offset + size > count_ * kPageSize) return Failure{Errno::nomem};
    return check(g_gate->DkStreamMap(arena::stream(), address, size, arena::offset_of(pages_) + offset, prot,
                                     (shared ? gate::kMapShared : gate::kMapPrivate) | gate::kMapReplace));
}

}  // namespace postern::libos
