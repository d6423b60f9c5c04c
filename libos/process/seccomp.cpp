// SPDX-License-Identifier: Apache-2.0
#include "libos/process/seccomp.hpp"

#include "base/memory.hpp"
#include "libos/fs/inode.hpp"
#include "libos/process/calls.hpp"
#include "libos/process/seccomp_program.hpp"
#include "libos/process/table.hpp"
#include "libos/ptrace/tracing.hpp"
#include "libos/shared/arena.hpp"
#include "libos/signal/queue.hpp"
#include "libos/syscall/dispatch.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u32 kMostInstructions = 4096, kMostInAll = 32768;
constexpr u32 kArchitecture = 0xc000003e;  // AUDIT_ARCH_X86_64
constexpr u32 kCapabilityAdmin = 21;

void release(SeccompProgram* program) {
    while (program != nullptr && __atomic_sub_fetch(&program->references, 1, __ATOMIC_SEQ_CST) == 0) {
        SeccompProgram* before = program->before;
        arena::release(program, SeccompProgram::bytes(program->count));
        program = before;
    }
}

SeccompProgram* share(SeccompProgram* program) {
    if (program != nullptr) __atomic_add_fetch(&program->references, 1, __ATOMIC_SEQ_CST);
    return program;
}

/// What the most restrictive filter says.
u32 verdict(const Thread& thread, const gate::Frame& frame) {
    seccomp_data data;
    data.nr = static_cast<i32>(frame.original_rax);
    data.arch = kArchitecture;
    data.instruction_pointer = frame.rip;
    const u64 words[6] = {frame.rdi, frame.rsi, frame.rdx, frame.r10, frame.r8, frame.r9};
    for (u32 index = 0; index < 6; ++index) data.args[index] = words[index];
    u32 result = SECCOMP_RET_ALLOW;
    for (const SeccompProgram* program = __atomic_load_n(&thread.seccomp_filters, __ATOMIC_ACQUIRE); program != nullptr;
         program = program->before) {
        const u32 said = seccomp_run(*program, data);
        if (static_cast<i32>(said & SECCOMP_RET_ACTION_FULL) < static_cast<i32>(result & SECCOMP_RET_ACTION_FULL))
            result = said;
    }
    return result;
}

[[noreturn]] void kill_process(u32 signal) {
    Process& process = current_process();
    constexpr u32 kLimitCore = 4;
    const bool core = signal == kSigSys && process.dumpable != 0 && process.limits[kLimitCore][0] != 0;
    exit_process(signal | (core ? kCoreFlag : 0));
}

bool strict_permits(u64 number) { return number == 0 || number == 1 || number == 60 || number == 15; }

/// SECCOMP_RET_TRACE. False: the call is not to be served.
bool ask_tracer(Thread& thread, gate::Frame& frame, u32 data) {
    const u64 number = frame.original_rax;
    frame.rax = static_cast<u64>(-static_cast<i64>(Errno::nosys));
    if (thread.tracing == nullptr || (thread.tracing->options & kTraceSeccomp) == 0) return false;
    trace_event(thread, kEventSeccomp, data);
    if (static_cast<i32>(frame.original_rax) < 0) return false;
    if (frame.original_rax == number) return true;
    // Another call in its place has to pass as well, but is not asked about again.
    const u32 action = verdict(thread, frame) & SECCOMP_RET_ACTION_FULL;
    return action == SECCOMP_RET_ALLOW || action == SECCOMP_RET_LOG || action == SECCOMP_RET_TRACE;
}

Res<SeccompProgram*> load(Thread& thread, u64 user) {
    struct UserProgram {  // struct sock_fprog
        u16 count;
        u16 padding[3];
        u64 code;
    };
    auto given = TRY(read_user<UserProgram>(user));
    if (given.count == 0 || given.count > kMostInstructions) return Failure{Errno::inval};
    if (thread.process->no_new_privileges == 0 && !has_capability(thread, kCapabilityAdmin))
        return Failure{Errno::acces};
    auto* program = static_cast<SeccompProgram*>(TRY(arena::allocate(SeccompProgram::bytes(given.count))));
    program->count = given.count;
    program->references = 1;
    Res<void> copied = copy_in(program->code, given.code, given.count * sizeof(sock_filter));
    if (copied.ok() && !seccomp_valid(program->code, given.count)) copied = Failure{Errno::inval};
    if (!copied.ok()) {
        release(program);
        return Failure{copied.error()};
    }
    return program;
}

bool is_before(const SeccompProgram* wanted, const SeccompProgram* program) {
    if (wanted == nullptr) return true;
    while (program != nullptr && program != wanted) program = program->before;
    return program == wanted;
}

Res<i64> set_filter(Thread& thread, u64 flags, u64 user) {
    constexpr u64 kKnown = SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW |
                           SECCOMP_FILTER_FLAG_TSYNC_ESRCH;
    if ((flags & ~kKnown) != 0) return Failure{Errno::inval};  // no notifications to other processes
    if (thread.seccomp_mode == kSeccompStrict) return Failure{Errno::inval};
    Process& process = *thread.process;
    SeccompProgram* program = TRY(load(thread, user));
    program->total = program->count + 4 + (thread.seccomp_filters != nullptr ? thread.seccomp_filters->total : 0);
    if (program->total > kMostInAll) {
        release(program);
        return Failure{Errno::nomem};
    }
    Guard guard{process.lock};
    const bool all = (flags & SECCOMP_FILTER_FLAG_TSYNC) != 0;
    for (Thread* other = process.threads.front(); all && other != nullptr; other = process.threads.next(*other)) {
        if (is_before(other->seccomp_filters, thread.seccomp_filters) && other->seccomp_mode != kSeccompStrict)
            continue;
        release(program);
        if ((flags & SECCOMP_FILTER_FLAG_TSYNC_ESRCH) != 0) return Failure{Errno::srch};
        return static_cast<i64>(other->tid);
    }
    g_watch_calls = true;
    program->before = thread.seccomp_filters;  // with the thread's reference
    thread.seccomp_filters = program;
    thread.seccomp_mode = kSeccompFilter;
    for (Thread* other = process.threads.front(); all && other != nullptr; other = process.threads.next(*other)) {
        if (other == &thread) continue;
        // What the other had stays alive as a part of the new chain, so that it may be looking at it.
        SeccompProgram* old = other->seccomp_filters;
        __atomic_store_n(&other->seccomp_filters, share(program), __ATOMIC_RELEASE);
        other->seccomp_mode = kSeccompFilter;
        release(old);
    }
    return 0;
}

Res<i64> set_strict(Thread& thread) {
    if (thread.seccomp_mode == kSeccompFilter) return Failure{Errno::inval};
    g_watch_calls = true;
    thread.seccomp_mode = kSeccompStrict;
    return 0;
}

}  // namespace

bool seccomp_permits(Thread& thread, gate::Frame& frame) {
    const u64 number = frame.original_rax;
    if (thread.seccomp_mode == kSeccompStrict) {
        if (!strict_permits(number)) exit_thread(kSigKill);
        return true;
    }
    const u32 said = verdict(thread, frame), data = said & SECCOMP_RET_DATA;
    switch (said & SECCOMP_RET_ACTION_FULL) {
        case SECCOMP_RET_ALLOW:
        case SECCOMP_RET_LOG: return true;
        case SECCOMP_RET_ERRNO:
            frame.rax = static_cast<u64>(-static_cast<i64>(data < 4095 ? data : 4095));
            return false;
        case SECCOMP_RET_TRACE: return ask_tracer(thread, frame, data);
        case SECCOMP_RET_TRAP: {
            SignalInfo info;
            info.signal = kSigSys;
            info.error = static_cast<i32>(data);
            info.code = 1;  // SYS_SECCOMP
            info.sys.call_address = frame.rip;
            info.sys.number = static_cast<i32>(number);
            info.sys.arch = kArchitecture;
            frame.rax = number;
            frame.original_rax = gate::kNoSystemCall;
            force_signal(thread, info);
            return false;
        }
        case SECCOMP_RET_USER_NOTIF: frame.rax = static_cast<u64>(-static_cast<i64>(Errno::nosys)); return false;
        case SECCOMP_RET_KILL_THREAD:
            if (thread.process->thread_count > 1) exit_thread(kSigSys);
            [[fallthrough]];
        default: kill_process(kSigSys);
    }
}

void seccomp_inherit(Thread& child, const Thread& parent) {
    child.seccomp_mode = parent.seccomp_mode;
    child.seccomp_filters = share(parent.seccomp_filters);
}

void seccomp_forget(Thread& thread) {
    release(thread.seccomp_filters);
    thread.seccomp_filters = nullptr;
    thread.seccomp_mode = kSeccompNone;
}

u32 seccomp_filter_count(const Thread& thread) {
    u32 count = 0;
    for (const SeccompProgram* program = thread.seccomp_filters; program != nullptr; program = program->before) ++count;
    return count;
}

Res<i64> seccomp_set(Thread& thread, u64 mode, u64 program) {
    if (mode == kSeccompStrict) return set_strict(thread);
    if (mode == kSeccompFilter) return set_filter(thread, 0, program);
    return Failure{Errno::inval};
}

Res<i64> sys_seccomp(Thread& thread, Arguments arguments) {
    const u32 flags = static_cast<u32>(arguments[1]);
    switch (static_cast<u32>(arguments[0])) {
        case SECCOMP_SET_MODE_STRICT:
            if (flags != 0 || arguments[2] != 0) return Failure{Errno::inval};
            return set_strict(thread);
        case SECCOMP_SET_MODE_FILTER: return set_filter(thread, flags, arguments[2]);
        case SECCOMP_GET_ACTION_AVAIL: {
            if (flags != 0) return Failure{Errno::inval};
            const u32 action = TRY(read_user<u32>(arguments[2]));
            constexpr u32 kServed[] = {SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_THREAD, SECCOMP_RET_TRAP,
                                       SECCOMP_RET_ERRNO,        SECCOMP_RET_TRACE,       SECCOMP_RET_LOG,
                                       SECCOMP_RET_ALLOW};
            for (u32 served : kServed)
                if (served == action) return 0;
            return Failure{Errno::opnotsupp};
        }
        default: return Failure{Errno::inval};
    }
}

}  // namespace postern::libos
