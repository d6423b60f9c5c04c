// SPDX-License-Identifier: Apache-2.0
// membarrier(2): every thread concerned is asked to look up from what it does, which orders its memory accesses.
// Threads that sleep in the library OS are in no need of it: they fell asleep, and will wake, by ordered instructions.
#include "base/memory.hpp"
#include "libos/process/calls.hpp"
#include "libos/process/table.hpp"
#include "libos/ptrace/memory.hpp"
#include "libos/shared/arena.hpp"
#include "libos/signal/delivery.hpp"

namespace postern::libos {

namespace {

enum Command : u32 {
    kQuery = 0,
    kGlobal = 1,
    kGlobalExpedited = 2,
    kRegisterGlobal = 4,
    kPrivate = 8,
    kRegisterPrivate = 16,
    kPrivateCore = 32,
    kRegisterPrivateCore = 64,
    kRegistrations = 512,
    kServed = kGlobal | kGlobalExpedited | kRegisterGlobal | kPrivate | kRegisterPrivate | kPrivateCore |
              kRegisterPrivateCore | kRegistrations,
};

constexpr u32 kMostAtOnce = 256;

bool concerned(const Process& process, const Process& caller, u32 command) {
    if (process.pid == kOutside || process.state == ProcessState::zombie) return false;
    if (command == kGlobal) return true;
    if (command == kGlobalExpedited) return (process.barriers & kRegisterGlobal) != 0;
    return &process == &caller;
}

/// Numbers above `from` of running threads that are concerned, in order.
u32 collect(const Thread& caller, u32 command, u32 from, u32* numbers) {
    ProcessTable& table = process_table();
    Guard guard{table.lock};
    u32 count = 0;
    for (Process* process = table.processes.front(); process != nullptr; process = table.processes.next(*process)) {
        if (!concerned(*process, *caller.process, command)) continue;
        for (Thread* thread = process->threads.front(); thread != nullptr; thread = process->threads.next(*thread)) {
            if (thread == &caller || thread->tid <= from || thread->block_mode != BlockMode::running) continue;
            u32 at = count < kMostAtOnce ? count++ : kMostAtOnce - 1;
            if (at == kMostAtOnce - 1 && count == kMostAtOnce && numbers[at] != 0 && thread->tid >= numbers[at])
                continue;
            for (; at > 0 && numbers[at - 1] > thread->tid; --at) numbers[at] = numbers[at - 1];
            numbers[at] = thread->tid;
        }
    }
    return count;
}

void all_pass(Thread& caller, u32 command) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    u32 from = 0;
    for (;;) {
        u32 numbers[kMostAtOnce] = {};
        const u32 count = collect(caller, command, from, numbers);
        for (u32 index = 0; index < count; ++index)
            (void)ask_thread(
                caller, numbers[index], [](Thread&, void*) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }, nullptr, 0,
                20);
        if (count < kMostAtOnce) break;
        from = numbers[count - 1];
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

}  // namespace

Res<i64> sys_membarrier(Thread& thread, Arguments arguments) {
    const u32 command = static_cast<u32>(arguments[0]);
    Process& process = *thread.process;
    if (static_cast<u32>(arguments[1]) != 0) return Failure{Errno::inval};
    switch (command) {
        case kQuery: return i64{kServed};
        case kRegistrations: return static_cast<i64>(process.barriers);
        case kRegisterGlobal:
        case kRegisterPrivate:
        case kRegisterPrivateCore: __atomic_or_fetch(&process.barriers, command, __ATOMIC_SEQ_CST); return 0;
        case kPrivate:
        case kPrivateCore:
            if ((process.barriers & command << 1) == 0) return Failure{Errno::perm};
            [[fallthrough]];
        case kGlobal:
        case kGlobalExpedited: all_pass(thread, command); return 0;
        default: return Failure{Errno::inval};
    }
}

}  // namespace postern::libos
