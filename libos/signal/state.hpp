// SPDX-License-Identifier: Apache-2.0
// Signal state of threads and processes, in Linux's own encodings (signal(7), sigaction(2)).
#pragma once

#include "libos/errno.hpp"

namespace postern::libos {

inline constexpr u32 kSignalCount = 64;
constexpr u64 signal_bit(u32 signal) { return 1ull << (signal - 1); }

enum SignalNumber : u32 {
    kSigHup = 1,
    kSigInt = 2,
    kSigQuit = 3,
    kSigIll = 4,
    kSigTrap = 5,
    kSigAbrt = 6,
    kSigBus = 7,
    kSigFpe = 8,
    kSigKill = 9,
    kSigUsr1 = 10,
    kSigSegv = 11,
    kSigUsr2 = 12,
    kSigPipe = 13,
    kSigAlrm = 14,
    kSigTerm = 15,
    kSigChld = 17,
    kSigCont = 18,
    kSigStop = 19,
    kSigTstp = 20,
    kSigTtin = 21,
    kSigTtou = 22,
    kSigUrg = 23,
    kSigXcpu = 24,
    kSigXfsz = 25,
    kSigVtalrm = 26,
    kSigProf = 27,
    kSigWinch = 28,
    kSigIo = 29,
    kSigPwr = 30,
    kSigSys = 31,
    kSigRtMin = 32,
};

/// struct kernel_sigaction of x86-64.
struct SignalAction {
    u64 handler = 0;  ///< 0 default, 1 ignore
    u64 flags = 0;
    u64 restorer = 0;
    u64 mask = 0;
};

/// siginfo_t as the kernel lays it out: 128 bytes.
struct SignalInfo {
    i32 signal = 0, error = 0, code = 0, padding = 0;
    union {
        u8 raw[112];
        struct {
            u32 pid, uid;
            u64 value;
        } rt;  // kill, sigqueue
        struct {
            u32 pid, uid;
            i32 status;
            u32 pad;
            i64 utime, stime;
        } child;
        struct {
            u64 address;
            u16 lsb;
        } fault;
        struct {
            i32 timer, overrun;
            u64 value;
            u32 serial;
        } timer;  // serial: ours, never shown
        struct {
            i64 band;
            i32 fd;
        } poll;
        struct {
            u64 call_address;
            i32 number;
            u32 arch;
        } sys;
    };
    SignalInfo() : raw{} {}
};
static_assert(sizeof(SignalInfo) == 128);

struct QueuedSignal;  // arena, list node

struct PendingSignals {
    u64 set = 0;
    QueuedSignal* first = nullptr;  ///< siginfo in order of arrival
    QueuedSignal* last = nullptr;
};

struct SignalState {
    u64 mask = 0;
    u64 saved_mask = 0;  ///< sigsuspend, ppoll, ...: restored after delivery
    u32 has_saved_mask = 0;
    u32 alt_flags = 2;  ///< SS_DISABLE
    u64 alt_stack = 0, alt_size = 0;
    PendingSignals pending;
};

struct ProcessSignals {
    SignalAction actions[kSignalCount + 1];
    PendingSignals pending;
};

struct Thread;
struct Process;

/// Queues a signal and wakes whoever must act on it. Safe from any thread of the family.
void send_signal(Process& process, const SignalInfo& info);
void send_signal_to_thread(Thread& thread, const SignalInfo& info);
/// A fault of the calling thread: cannot be blocked or ignored (force_sig).
void force_signal(Thread& thread, const SignalInfo& info);
/// kill(2) siginfo from the calling process.
SignalInfo user_signal(u32 signal);
/// Signals that would be delivered to the thread now.
u64 deliverable(const Thread& thread);
/// Takes the next pending signal in `set` from the thread's or the process's queue. False: there is none.
bool dequeue_signal(Thread& thread, u64 set, SignalInfo& info);
/// Pending for the thread or its process, blocked or not.
u64 pending_signals(const Thread& thread);

/// Changes the thread's mask; SIGKILL and SIGSTOP stay deliverable.
void set_signal_mask(Thread& thread, u64 mask);
/// For calls that wait under another mask (sigsuspend, ppoll, pselect6, epoll_pwait): sets it and keeps the old one,
/// which returns after delivery, or by end_temporary_mask when the call ends without a signal.
void begin_temporary_mask(Thread& thread, u64 mask);
/// `interrupted`: the call answers EINTR or a restart code; the way out restores the mask then.
void end_temporary_mask(Thread& thread, bool interrupted);

}  // namespace postern::libos
