// SPDX-License-Identifier: Apache-2.0
#include "libos/ipc/async.hpp"

#include "libos/fs/open.hpp"
#include "libos/process/table.hpp"
#include "libos/shared/arena.hpp"
#include "libos/signal/queue.hpp"

namespace postern::libos {

struct NotedSignal {
    NotedSignal* next;
    i32 owner;
    u32 to_thread, user, effective_user;
    u32 signal, fd, reason;  ///< reason 0: SIGURG
};

namespace {

constexpr i32 kFromKernel = 0x80, kFromSigio = -5;  // SI_KERNEL, SI_SIGIO

void note(const File& file, u32 fd, u32 reason) {
    Thread* thread = static_cast<Thread*>(gate::thread_control()->context);
    if (thread == nullptr || file.signal_owner == 0) return;
    auto memory = heap::allocate(sizeof(NotedSignal));
    if (!memory.ok()) return;
    NotedSignal** end = &thread->noted_signals;
    while (*end != nullptr) end = &(*end)->next;
    *end = new (memory.value()) NotedSignal{nullptr,
                                            file.signal_owner,
                                            file.owner_is_thread,
                                            file.owner_user,
                                            file.owner_effective_user,
                                            file.signal_number,
                                            fd,
                                            reason};
    __atomic_or_fetch(&thread->attention, u32{kAttentionNoted}, __ATOMIC_SEQ_CST);
}

bool announce(WaitEntry& entry, u32 events) {
    auto& watch = *reinterpret_cast<AsyncWatch*>(entry.cookie);
    u32 reasons = watch.file->async_reasons(events);
    constexpr u32 kRoom = 1 << kAsyncOut;
    if ((reasons & kRoom) != 0 && (events & kAsyncAlways) == 0 && watch.file->kind() != FileKind::pipe &&
        __atomic_exchange_n(&watch.wants_room, 0, __ATOMIC_RELAXED) == 0)
        reasons &= ~kRoom;
    for (u32 reason = kAsyncIn; reason <= kAsyncHangup; ++reason)
        if ((reasons >> reason & 1) != 0) note(*watch.file, watch.fd, reason);
    return true;
}

i64 band_of(u32 reason) {
    switch (reason) {
        case kAsyncIn: return kPollIn | kPollRdNorm;
        case kAsyncOut: return kPollOut | kPollWrNorm | kPollWrBand;
        case kAsyncMessage: return kPollIn | kPollRdNorm | 0x400 /* POLLMSG */;
        case kAsyncPriority: return kPollPri | kPollRdBand;
        case kAsyncHangup: return kPollHup | kPollErr;
        default: return kPollErr;
    }
}

/// Signals whose positive codes mean something of their own.
constexpr u64 kOwnCodes = kFaultSignals | signal_bit(kSigChld) | signal_bit(kSigIo);

void send_to(const NotedSignal& noted, Process& process, Thread* thread) {
    if (process.pid == kOutside || process.state == ProcessState::zombie) return;
    const Credentials& theirs = process.credentials;
    if (noted.effective_user != 0 && noted.effective_user != theirs.suid && noted.effective_user != theirs.uid &&
        noted.user != theirs.suid && noted.user != theirs.uid)
        return;
    SignalInfo info;
    if (noted.signal != 0 && noted.reason != 0) {
        info.signal = static_cast<i32>(noted.signal);
        bool special = noted.signal != kSigIo && (signal_bit(noted.signal) & kOwnCodes) != 0;
        info.code = special ? kFromSigio : static_cast<i32>(noted.reason);
        info.poll.band = band_of(noted.reason);
        info.poll.fd = static_cast<i32>(noted.fd);
        if (queue_signal(process, thread, info).ok()) return;
    }
    SignalInfo plain;
    plain.signal = static_cast<i32>(noted.reason != 0 ? kSigIo : kSigUrg);
    plain.code = kFromKernel;
    (void)queue_signal(process, thread, plain);
}

void send(const NotedSignal& noted) {
    Guard guard{process_table_lock()};
    if (noted.owner < 0) {
        ProcessTable& table = process_table();
        for (Process* process = table.processes.front(); process != nullptr; process = table.processes.next(*process))
            if (process->pgid == static_cast<u32>(-noted.owner)) send_to(noted, *process, nullptr);
    } else if (noted.to_thread != 0) {
        Thread* thread = find_thread_locked(static_cast<u32>(noted.owner));
        if (thread != nullptr) send_to(noted, *thread->process, thread);
    } else if (Process* process = find_process_locked(static_cast<u32>(noted.owner)); process != nullptr) {
        send_to(noted, *process, nullptr);
    }
}

}  // namespace

Res<void> async_set_owner(File& file, const AsyncOwner& owner) {
    if (owner.kind < kOwnerThread || owner.kind > kOwnerGroup || owner.number < 0) return Failure{Errno::inval};
    if (owner.number != 0) {
        const u32 number = static_cast<u32>(owner.number);
        ProcessTable& table = process_table();
        bool found = false;
        Guard guard{table.lock};
        if (owner.kind == kOwnerGroup) {
            for (Process* process = table.processes.front(); process != nullptr;
                 process = table.processes.next(*process))
                found = found || process->pgid == number;
        } else {
            found = find_thread_locked(number) != nullptr ||
                    (owner.kind == kOwnerProcess && find_process_locked(number) != nullptr);
        }
        if (!found) return Failure{Errno::srch};
    }
    async_own(file, current_process());
    file.owner_is_thread = owner.kind == kOwnerThread ? 1 : 0;
    file.signal_owner = owner.kind == kOwnerGroup ? -owner.number : owner.number;
    return {};
}

Res<void> async_set_owner(File& file, i32 owner) {
    if (owner == static_cast<i32>(0x8000'0000)) return Failure{Errno::inval};
    return async_set_owner(file, owner < 0 ? AsyncOwner{kOwnerGroup, -owner} : AsyncOwner{kOwnerProcess, owner});
}

AsyncOwner async_owner(const File& file) {
    i32 owner = file.signal_owner;
    if (owner < 0) return {kOwnerGroup, -owner};
    return {file.owner_is_thread != 0 ? kOwnerThread : kOwnerProcess, owner};
}

void async_own(File& file, const Process& process) {
    file.owner_user = process.credentials.uid;
    file.owner_effective_user = process.credentials.euid;
    file.owner_is_thread = 0;
    file.signal_owner = static_cast<i32>(process.pid);
}

Res<void> async_set(File& file, u32 fd, bool on) {
    if (!file.signals_readiness()) return {};
    if (!on) {
        file.async_changed(false);
        async_forget(file);
        return {};
    }
    if (file.async != nullptr) {
        file.async->fd = fd;
        return {};
    }
    auto* watch = TRY(arena::create<AsyncWatch>());
    watch->file = &file;
    watch->fd = fd;
    watch->entry.notify = announce;
    watch->entry.cookie = reinterpret_cast<u64>(watch);
    AsyncWatch* none = nullptr;
    if (!__atomic_compare_exchange_n(&file.async, &none, watch, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
        arena::destroy(watch);
        return {};
    }
    file.async_changed(true);
    file.wait_queue()->add(watch->entry, ~0u);
    return {};
}

void async_forget(File& file) {
    AsyncWatch* watch = __atomic_exchange_n(&file.async, static_cast<AsyncWatch*>(nullptr), __ATOMIC_SEQ_CST);
    if (watch == nullptr) return;
    file.wait_queue()->remove(watch->entry);
    arena::destroy(watch);
}

void async_note(const File& file, u32 fd, u32 reason) { note(file, fd, reason); }
void async_note_urgent(const File& file) { note(file, 0, 0); }

void async_send_noted(Thread& thread) {
    while (NotedSignal* noted = thread.noted_signals) {
        thread.noted_signals = noted->next;
        send(*noted);
        heap::release(noted, sizeof(NotedSignal));
    }
}

}  // namespace postern::libos
