// SPDX-License-Identifier: Apache-2.0
// Closing the wall behind the picoprocess.
//
// The listener of the filter is a descriptor that must reach the monitor, but sending descriptors is nothing the filter
// allows. So a helper thread, which the filter does not bind because it is installed without TSYNC, waits for the
// descriptor's number, sends it and ends. Only then does any guest code run. Nobody waits for an answer: a request that
// comes before the monitor has the listener waits in the kernel, and without a monitor the keeper ends this process.
#include <linux/futex.h>
#include <linux/landlock.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>

#include "base/memory.hpp"
#include "host/linux/entry/calls.hpp"
#include "host/linux/entry/host_call.hpp"
#include "host/linux/entry/start.hpp"
#include "host/linux/filter/program.hpp"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

namespace postern::host {
namespace {

constexpr u32 kWaiting = ~0u;

alignas(16) u8 helper_stack[16384];
u32 helper_tid = 1;            // cleared and woken by the kernel when the helper has ended
u32 listener_word = kWaiting;  // the listener's number, or kNoListener
constexpr u32 kNoListener = ~0u - 1;
u32 helper_failed = 0;
BootMessage boot_message{kProtocolVersion, 0, 0, 0};

struct IoVector {
    void* base;
    u64 size;
};
struct ControlMessage {
    u64 size;
    i32 level, type;
    i32 descriptor;
    i32 padding;
};
struct MessageHeader {
    void* name;
    u32 name_size, padding;
    IoVector* vectors;
    u64 vector_count;
    void* control;
    u64 control_size;
    i32 flags, padding2;
};

long send_boot_message(BootMessage& message, i32 descriptor) {
    IoVector vector{&message, sizeof message};
    ControlMessage control{20, 1 /* SOL_SOCKET */, 1 /* SCM_RIGHTS */, descriptor, 0};
    MessageHeader header{};
    header.vectors = &vector;
    header.vector_count = 1;
    if (descriptor >= 0) {
        header.control = &control;
        header.control_size = sizeof control;
    }
    return early_call(__NR_sendmsg, kFdBoot, &header, 0x4000 /* MSG_NOSIGNAL */);
}

/// Runs unfiltered, on its own stack; touches nothing but the words above.
void helper() {
    u32 listener;
    while ((listener = __atomic_load_n(&listener_word, __ATOMIC_ACQUIRE)) == kWaiting)
        early_call(__NR_futex, &listener_word, FUTEX_WAIT, kWaiting, nullptr);
    i32 descriptor = listener == kNoListener ? -1 : static_cast<i32>(listener);
    long result;
    do {
        result = send_boot_message(boot_message, descriptor);
    } while (result == -EINTR);
    if (result != sizeof boot_message) helper_failed = 1;
    if (descriptor >= 0) early_call(__NR_close, descriptor);
    early_call(__NR_close, kFdBoot);
}

void wake_helper(u32 listener) {
    __atomic_store_n(&listener_word, listener, __ATOMIC_RELEASE);
    early_call(__NR_futex, &listener_word, FUTEX_WAKE, 1);
}

struct LandlockRules {
    u64 handled_access_fs;
    u64 handled_access_net;
    u64 scoped;
};

/// Every file-system right handled, none granted; TCP likewise; signals and abstract sockets stay in the family.
/// False: the kernel cannot confine signals.
bool restrict_by_landlock() {
    if (g_config.landlock == 0) return false;
    long abi = early_call(__NR_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 1) return false;
    LandlockRules rules{};
    u32 rights = abi >= 5 ? 16 : abi >= 3 ? 15 : abi >= 2 ? 14 : 13;
    rules.handled_access_fs = (1ull << rights) - 1;
    if (abi >= 4) rules.handled_access_net = 3;
    if (abi >= 6) rules.scoped = 3;
    usize size = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
    long descriptor = early_call(__NR_landlock_create_ruleset, &rules, size, 0);
    if (descriptor < 0) boot_failed(BootStep::landlock, descriptor, "cannot make a Landlock rule set");
    long result = early_call(__NR_landlock_restrict_self, descriptor, 0);
    if (result < 0) boot_failed(BootStep::landlock, result, "cannot restrict itself by Landlock");
    early_call(__NR_close, descriptor);
    return abi >= 6;
}

}  // namespace

void boot_failed(BootStep step, long error, std::string_view what) {
    BootMessage message{kProtocolVersion, static_cast<u32>(early_call(__NR_getpid)),
                        static_cast<u32>(error < 0 ? -error : error), static_cast<u32>(step)};
    send_boot_message(message, -1);
    fail(what, error);
}

void seal() {
    if (long result = early_call(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); result < 0)
        boot_failed(BootStep::privileges, result, "cannot give up new privileges");
    early_call(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
    struct {
        u64 soft, hard;
    } none{0, 0};
    early_call(__NR_prlimit64, 0, 4 /* RLIMIT_CORE */, &none, nullptr);
    bool scope = restrict_by_landlock() && g_config.signal_scope != 0;
    g_process.signal_scope = scope;

    static sock_filter program[kMaxFilterLength];
    FilterOptions options;
    options.signal_scope = scope;
    usize length = build_filter(options, program, kMaxFilterLength);
    if (length == 0) boot_failed(BootStep::filter, E2BIG, "the filter is too long");
    struct {
        u16 length;
        const sock_filter* program;
    } description{static_cast<u16>(length), program};

    boot_message.process_id = process_id();
    u64 stack = reinterpret_cast<u64>(helper_stack + sizeof helper_stack);
    long result = gate_clone_helper(kThreadFlags, static_cast<long>(stack), &helper_tid, &helper_tid, helper);
    if (result < 0) boot_failed(BootStep::helper, result, "cannot start the helper thread");

    u64 flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
    if (g_config.listener == 0) flags = 0;
    if (flags != 0 && g_config.killable_receive != 0) flags |= SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    result = early_call(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags, &description);
    if (result == -EINVAL && (flags & SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) != 0) {
        // Before Linux 5.19 a signal may interrupt a request after the monitor has taken it: it is then asked again.
        flags &= ~SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
        result = early_call(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags, &description);
    }
    if (result < 0) {
        boot_message.error = static_cast<u32>(-result);
        boot_message.step = static_cast<u32>(BootStep::filter);
    }
    wake_helper(result >= 0 && g_config.listener != 0 ? static_cast<u32>(result) : kNoListener);
    // The kernel clears and wakes the word when the helper is gone for good.
    while (u32 tid = __atomic_load_n(&helper_tid, __ATOMIC_ACQUIRE))
        early_call(__NR_futex, &helper_tid, FUTEX_WAIT_BITSET, tid, nullptr, nullptr, ~0u);
    if (result < 0)
        fail(result == -EBUSY ? "another seccomp listener is in force: this cannot be nested"
                              : "cannot install the filter",
             result);
    if (helper_failed != 0) fail("the monitor is gone");
}

}  // namespace postern::host
