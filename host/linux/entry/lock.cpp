// SPDX-License-Identifier: Apache-2.0
// The lock of entry's own tables, and the way out when nothing else is left: a message and status 125.
#include <linux/futex.h>

#include "base/format.hpp"
#include "host/linux/entry/host_call.hpp"
#include "host/linux/entry/state.hpp"

namespace postern::host {

ProcessState g_process;

void EntryLock::lock() {
    u32 free = 0;
    if (__atomic_compare_exchange_n(&word_, &free, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) return;
    while (__atomic_exchange_n(&word_, 2, __ATOMIC_ACQUIRE) != 0)
        call(__NR_futex, &word_, FUTEX_WAIT_BITSET_PRIVATE, 2, nullptr, nullptr, ~0u);
}

void EntryLock::unlock() {
    if (__atomic_exchange_n(&word_, 0, __ATOMIC_RELEASE) == 2) call(__NR_futex, &word_, FUTEX_WAKE_PRIVATE, 1);
}

void write_error(std::string_view text) { early_call(__NR_write, 2, text.data(), text.size()); }

void fail(std::string_view message, long error) {
    TextBuffer<512> text;
    text.add("postern: entry: ", message);
    if (error != 0) text.add(" (error ", error < 0 ? -error : error, ")");
    text.add("\n");
    write_error(text.view());
    for (;;) early_call(__NR_exit_group, 125);
}

}  // namespace postern::host
