// SPDX-License-Identifier: Apache-2.0
// What a tracer has its stopped tracees do for it: letters in their boxes (see tracing.hpp).
#pragma once

#include "libos/process/table.hpp"
#include "libos/ptrace/tracing.hpp"
#include "libos/signal/delivery.hpp"
#include "libos/time/timers.hpp"

namespace postern::libos {

/// The caller's stopped tracee; Errno::srch. Table lock is held.
Res<Thread*> find_stopped(Thread& caller, u32 tid);
/// Words of a stopped tracee's memory, Tracing::data at most. Errno::io: it cannot reach them.
Res<void> peek(Thread& caller, u32 tid, u64 address, void* data, u32 size);
Res<void> poke(Thread& caller, u32 tid, u64 address, const void* data, u32 size);

/// Has the stopped thread carry out what is in its letter box. `fill` and `take` run under the table lock.
template <class Fill, class Take>
Res<void> send_letter(Thread& caller, u32 tid, TraceLetter letter, Fill fill, Take take) {
    Tracing* tracing;
    u32 seen;
    {
        Guard guard{process_table_lock()};
        Thread* thread = TRY(find_stopped(caller, tid));
        tracing = thread->tracing;
        fill(*tracing);
        seen = tracing->answered;
        tracing->letter = letter;
        notify_thread(*thread, kAttentionSignal);
    }
    for (;;) {
        gate::Err error = gate::Err::ok;
        if (tracing->answered == seen)
            error = g_gate->DkAddressWait(const_cast<u32*>(&tracing->answered), seen, monotonic_now() + 50'000'000,
                                          gate::kAddressShared);
        if (error == gate::Err::interrupted) take_interrupts();
        Guard guard{process_table_lock()};
        Thread* thread = find_thread_locked(tid);
        if (thread == nullptr || thread->tracing != tracing || tracing->tracer != caller.process)
            return Failure{Errno::srch};
        if (tracing->answered == seen) {
            if ((caller.attention & kAttentionExit) != 0) return Failure{Errno::intr};
            continue;
        }
        if (tracing->error != 0) return Failure{Errno::io};
        take(*tracing);
        return {};
    }
}

}  // namespace postern::libos
