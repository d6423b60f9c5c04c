// SPDX-License-Identifier: Apache-2.0
// Memory of other processes: by letters to who is stopped, and by visits to who is not.
#include "libos/ptrace/letters.hpp"

#include "base/memory.hpp"
#include "libos/process/calls.hpp"
#include "libos/ptrace/memory.hpp"
#include "libos/shared/arena.hpp"
#include "libos/time/timers.hpp"
#include "libos/user.hpp"

namespace postern::libos {

Res<Thread*> find_stopped(Thread& caller, u32 tid) {
    Thread* thread = find_thread_locked(tid);
    if (thread == nullptr || thread->tracing == nullptr || thread->tracing->tracer != caller.process ||
        thread->tracing->stopped == 0)
        return Failure{Errno::srch};
    return thread;
}

Res<void> peek(Thread& caller, u32 tid, u64 address, void* data, u32 size) {
    return send_letter(
        caller, tid, TraceLetter::peek, [&](Tracing& tracing) { tracing.address = address, tracing.size = size; },
        [&](Tracing& tracing) { memcpy(data, tracing.data, size); });
}

Res<void> poke(Thread& caller, u32 tid, u64 address, const void* data, u32 size) {
    return send_letter(
        caller, tid, TraceLetter::poke,
        [&](Tracing& tracing) {
            tracing.address = address, tracing.size = size;
            memcpy(tracing.data, data, size);
        },
        [](Tracing&) {});
}

namespace {

constexpr u32 kPatience = 100;  ///< of 50 ms

/// Leaves a letter with a thread that runs or sleeps, and interrupts it to look. Table lock is not held.
Res<void> visit(Thread& caller, u32 tid, TraceLetter what, u64 address, void* data, u32 size,
                void (*ask)(Thread&, void*) = nullptr, u32 patience = kPatience) {
    Tracing* letter = TRY(arena::create<Tracing>());
    letter->visit = 1;
    letter->letter = what;
    letter->address = address;
    letter->size = size;
    letter->ask = ask;
    if (what != TraceLetter::peek) memcpy(letter->data, data, size);
    bool left = false;
    for (u32 tries = 0; tries < patience; ++tries) {
        {
            Guard guard{process_table_lock()};
            Thread* thread = find_thread_locked(tid);
            bool there =
                thread != nullptr && thread->process != nullptr && thread->process->state != ProcessState::zombie;
            Tracing* none = nullptr;
            if (there && !left)
                left = __atomic_compare_exchange_n(&thread->visitor, &none, letter, false, __ATOMIC_SEQ_CST,
                                                   __ATOMIC_SEQ_CST);
            if (!there) break;
            if (left && letter->answered == 0) g_gate->DkThreadInterrupt(thread->token);
        }
        if (letter->answered == 0) {
            gate::Err error = g_gate->DkAddressWait(const_cast<u32*>(&letter->answered), 0,
                                                    monotonic_now() + 50'000'000, gate::kAddressShared);
            if (error == gate::Err::interrupted) take_interrupts();
        }
        if (letter->answered != 0) {
            Res<void> result{};
            if (letter->error != 0)
                result = Failure{Errno::fault};
            else if (what != TraceLetter::poke)
                memcpy(data, letter->data, size);
            arena::destroy(letter);
            return result;
        }
        if ((caller.attention & kAttentionExit) != 0) break;
    }
    Guard guard{process_table_lock()};
    Thread* thread = find_thread_locked(tid);
    Tracing* mine = letter;
    // Who has taken the letter and died with it leaves it lying.
    if (!left || (thread != nullptr && __atomic_compare_exchange_n(&thread->visitor, &mine, nullptr, false,
                                                                   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)))
        arena::destroy(letter);
    return Failure{Errno::srch};
}

/// Whom to ask for memory of the process: a thread that the caller has stopped, else any. Table lock is held.
Res<u32> thread_to_ask(Thread& caller, u32 number, bool& stopped) {
    Thread* named = find_thread_locked(number);
    if (named == nullptr || named->process == nullptr) return Failure{Errno::srch};
    Process& process = *named->process;
    for (Thread* thread = process.threads.front(); thread != nullptr; thread = process.threads.next(*thread))
        if (thread->tracing != nullptr && thread->tracing->tracer == caller.process && thread->tracing->stopped != 0)
            return thread->tid;
    if (!may_look_into(*caller.process, process)) return Failure{Errno::perm};
    stopped = false;
    return process.threads.front() != nullptr ? process.threads.front()->tid : number;
}

template <class Step>
Res<usize> in_steps(Thread& caller, u32 number, u64 address, usize size, Step step) {
    u32 tid;
    bool stopped = true;
    {
        Guard guard{process_table_lock()};
        tid = TRY(thread_to_ask(caller, number, stopped));
    }
    usize done = 0;
    while (done < size) {
        // Steps end with pages: what can be reached of a range is.
        u64 left_of_page = kPageSize - (address + done) % kPageSize;
        usize count = size - done < sizeof(Tracing::data) ? size - done : sizeof(Tracing::data);
        if (count > left_of_page) count = static_cast<usize>(left_of_page);
        auto result = step(stopped, tid, address + done, done, static_cast<u32>(count));
        if (!result.ok()) {
            if (done != 0) break;
            return Failure{result.error() == Errno::io ? Errno::fault : result.error()};
        }
        done += count;
    }
    return done;
}

}  // namespace

Res<void> ask_thread(Thread& caller, u32 tid, void (*serve)(Thread& thread, void* data), void* data, u32 size,
                     u32 tries) {
    return visit(caller, tid, TraceLetter::ask, 0, data, size, serve, tries);
}

Res<usize> trace_read(Thread& caller, u32 tid, u64 address, void* data, usize size) {
    if (tid == caller.process->pid || tid == caller.tid) {
        usize got = copy_in_some(data, address, size);
        return got != 0 || size == 0 ? Res<usize>{got} : Res<usize>{Failure{Errno::fault}};
    }
    return in_steps(caller, tid, address, size, [&](bool stopped, u32 thread, u64 at, usize done, u32 count) {
        u8* bytes = static_cast<u8*>(data) + done;
        return stopped ? peek(caller, thread, at, bytes, count)
                       : visit(caller, thread, TraceLetter::peek, at, bytes, count);
    });
}

Res<usize> trace_write(Thread& caller, u32 tid, u64 address, const void* data, usize size) {
    if (tid == caller.process->pid || tid == caller.tid) {
        usize got = copy_out_some(address, data, size);
        return got != 0 || size == 0 ? Res<usize>{got} : Res<usize>{Failure{Errno::fault}};
    }
    return in_steps(caller, tid, address, size, [&](bool stopped, u32 thread, u64 at, usize done, u32 count) {
        u8* bytes = const_cast<u8*>(static_cast<const u8*>(data)) + done;
        return stopped ? poke(caller, thread, at, bytes, count)
                       : visit(caller, thread, TraceLetter::poke, at, bytes, count);
    });
}

}  // namespace postern::libos
