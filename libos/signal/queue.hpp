// SPDX-License-Identifier: Apache-2.0
// Queues of pending signals. The process's lock is held, unless a function says otherwise.
#pragma once

#include "libos/process/process.hpp"
#include "libos/signal/state.hpp"

namespace postern::libos {

struct QueuedSignal {
    QueuedSignal* next = nullptr;
    SignalInfo info;
};

/// SIGKILL and SIGSTOP can be neither blocked nor handled.
inline constexpr u64 kUnblockable = signal_bit(kSigKill) | signal_bit(kSigStop);
inline constexpr u64 kStopSignals =
    signal_bit(kSigStop) | signal_bit(kSigTstp) | signal_bit(kSigTtin) | signal_bit(kSigTtou);
/// Faults come before what others send (as the kernel's SYNCHRONOUS_MASK).
inline constexpr u64 kFaultSignals = signal_bit(kSigSegv) | signal_bit(kSigBus) | signal_bit(kSigIll) |
                                     signal_bit(kSigTrap) | signal_bit(kSigFpe) | signal_bit(kSigSys);

bool ignored_by_default(u32 signal);
bool makes_core(u32 signal);

/// Errno::again when a real-time signal with information exceeds RLIMIT_SIGPENDING.
Res<void> enqueue(PendingSignals& pending, Process& process, const SignalInfo& info);
bool take(PendingSignals& pending, Process& process, u64 set, SignalInfo& info);
/// Would it be dropped on arrival? For a thread when `thread` is not null. Takes the lock.
bool signal_ignored(Process& process, Thread* thread, u32 signal);
void drop_signals(PendingSignals& pending, Process& process);
void drop_signals(PendingSignals& pending, Process& process, u64 set);

/// send_signal with a result; for a thread when `thread` is not null. Takes the lock.
Res<void> queue_signal(Process& process, Thread* thread, const SignalInfo& info);
/// As kill(2) of a process, with its permission check; signal 0 only checks. The table of processes is locked.
Res<void> send_checked(Process& sender, Process& target, u32 signal, const SignalInfo& info);
/// Makes sure that a thread which does not block them knows of the process's pending signals.
void retarget_signals(Process& process);
/// All threads are to end with `status`, unless an end is decided already.
void mark_exiting(Process& process, u32 status);

}  // namespace postern::libos
