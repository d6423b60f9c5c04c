// SPDX-License-Identifier: Apache-2.0
// The body of wait_until: see wait.hpp.
#pragma once

namespace postern::libos {

template <class Condition>
Res<void> wait_until(Thread& thread, WaitQueue& queue, u32 events, gate::Deadline deadline, Condition condition) {
    if (condition()) return {};
    Blocker blocker{thread};
    WaitEntry& entry = *TRY(wait_entry_acquire(thread));
    entry.thread = &thread;
    queue.add(entry, events);
    Res<void> result{};
    for (;;) {
        blocker.prepare();
        if (condition()) break;
        auto waited = blocker.wait(deadline);
        if (!waited.ok()) {
            if (!condition()) {
                queue.remove(entry);
                wait_entry_release(thread, entry);
                return Failure{waited.error()};
            }
            break;
        }
    }
    queue.remove(entry);
    wait_entry_release(thread, entry);
    return result;
}

}  // namespace postern::libos
