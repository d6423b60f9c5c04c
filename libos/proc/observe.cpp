// SPDX-License-Identifier: Apache-2.0
#include "libos/proc/observe.hpp"

#include "libos/process/table.hpp"
#include "libos/ptrace/memory.hpp"

namespace postern::libos {

namespace {

constexpr u32 kTries = 4;  // of 50 ms

u64 used(gate::Clock clock) {
    u64 time = 0;
    g_gate->DkSystemTimeQuery(clock, &time);
    return time;
}

void tell_all(Thread& thread, void* data) {
    auto& answer = *static_cast<Observed*>(data);
    Space* space = thread.process->space;
    if (space == nullptr) return;
    answer.memory = measure(*space);
    answer.locked = space->locked_bytes();
    answer.cpu = used(gate::Clock::process_cpu);
}

struct MapsLetter {
    ProcText* text;  ///< in the arena
    u32 details;
    u32 done;
};
void tell_maps(Thread& thread, void* data) {
    auto& letter = *static_cast<MapsLetter*>(data);
    if (thread.process->space == nullptr) return;
    letter.done = write_maps(thread, *thread.process->space, *letter.text, letter.details != 0).ok() ? 1 : 0;
}

struct TimeLetter {
    u64 time;
    u32 of_thread;
};
void tell_time(Thread& thread, void* data) {
    (void)thread;
    auto& letter = *static_cast<TimeLetter*>(data);
    letter.time = used(letter.of_thread != 0 ? gate::Clock::thread_cpu : gate::Clock::process_cpu);
}

/// A thread of the process that can be asked; 0: none.
u32 somebody(Process& process) {
    if (process.state == ProcessState::zombie || process.state == ProcessState::starting || process.exiting != 0)
        return 0;
    Thread* thread = process.threads.front();
    return thread != nullptr ? thread->tid : 0;
}

}  // namespace

bool observe(Thread& caller, u32 pid, Observed& observed) {
    u32 tid = 0;
    {
        Guard guard{process_table_lock()};
        Process* process = find_process_locked(pid);
        if (process != nullptr) tid = somebody(*process);
    }
    return tid != 0 && ask_thread(caller, tid, tell_all, &observed, sizeof observed, kTries).ok();
}

Res<void> observe_maps(Thread& caller, u32 pid, ProcText& text, bool details) {
    u32 tid;
    {
        Guard guard{process_table_lock()};
        Process* process = find_process_locked(pid);
        if (process == nullptr) return Failure{Errno::srch};
        if (!may_look_into(*caller.process, *process)) return Failure{Errno::acces};
        tid = somebody(*process);
    }
    if (tid == 0) return {};
    // The text lies in shared memory: it is written in place. An answer that comes too late finds it still there.
    auto* shared = TRY(arena::create<ProcText>());
    MapsLetter letter{shared, details ? 1u : 0u, 0};
    auto asked = ask_thread(caller, tid, tell_maps, &letter, sizeof letter, kTries * 5);
    if (!asked.ok()) return asked.error() == Errno::srch ? Res<void>{} : Res<void>{Failure{asked.error()}};
    text.append(shared->view());
    arena::destroy(shared);
    return {};
}

Res<u64> observe_cpu(Thread& caller, u32 number, bool of_thread) {
    u32 tid = number;
    {
        Guard guard{process_table_lock()};
        Thread* thread = find_thread_locked(number);
        if (of_thread) {
            if (thread == nullptr || thread->process != caller.process) return Failure{Errno::inval};
        } else {
            Process* process = find_process_locked(number);
            if (process == nullptr) return Failure{Errno::inval};
            tid = somebody(*process);
            if (tid == 0) return process->cpu_time;
        }
    }
    TimeLetter letter{0, of_thread ? 1u : 0u};
    if (!ask_thread(caller, tid, tell_time, &letter, sizeof letter, kTries * 5).ok()) return Failure{Errno::inval};
    return letter.time;
}

}  // namespace postern::libos
