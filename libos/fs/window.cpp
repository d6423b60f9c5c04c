// SPDX-License-Identifier: Apache-2.0
// Windows: see host_file.hpp. The table is private memory, copied by fork together with the mappings it tells of.
#include "libos/fs/host_file.hpp"
#include "libos/gate.hpp"
#include "libos/shared/lock.hpp"

namespace postern::libos {

namespace {

constexpr u64 kWindowBase = 0x6300'0000'0000ull;
constexpr u64 kWindowEnd = 0x6700'0000'0000ull;
constexpr u32 kWindows = 128;

/// `serial` is stored last and cleared first: who finds it before and after a copy has copied from the right place.
struct Window {
    volatile u64 serial;
    volatile u64 address;
    volatile u64 bytes;
};
Window g_windows[kWindows];
u64 g_next = kWindowBase;
SharedLock g_lock;  ///< of changes; who looks for a window does without

Window& slot_of(u64 serial) { return g_windows[serial % kWindows]; }

void drop(Window& window) {
    u64 address = window.address, bytes = window.bytes;
    __atomic_store_n(&window.serial, 0, __ATOMIC_SEQ_CST);
    if (bytes != 0) g_gate->DkStreamUnmap(address, page_ceil(bytes));
    window.bytes = 0;
}

}  // namespace

void windows_initialize() { protect_over_fork(g_lock); }

u64 window_find(u64 serial, u64& bytes) {
    Window& window = slot_of(serial);
    if (__atomic_load_n(&window.serial, __ATOMIC_ACQUIRE) != serial) return 0;
    bytes = window.bytes;
    return window.address;
}

u64 window_open(u64 serial, gate::Handle handle, u64 bytes) {
    if (bytes == 0) return 0;
    Guard guard{g_lock};
    u64 address = 0, size = page_ceil(bytes);
    if (size < kWindowEnd - g_next) {
        Window& window = slot_of(serial);
        if (window.serial != 0) drop(window);
        // A page stays free between windows, so that a wild copy ends there.
        if (g_gate->DkStreamMap(handle, g_next, size, 0, gate::kProtRead, gate::kMapPrivate) == gate::Err::ok) {
            address = g_next;
            window.address = address;
            window.bytes = bytes;
            __atomic_store_n(&window.serial, serial, __ATOMIC_RELEASE);
            g_next += size + kPageSize;
        }
    }
    return address;
}

void window_close(u64 serial) {
    Window& window = slot_of(serial);
    if (window.serial != serial) return;
    Guard guard{g_lock};
    if (window.serial == serial) drop(window);
}

}  // namespace postern::libos
