// SPDX-License-Identifier: Apache-2.0
// Picoprocesses: fork is the kernel's own, admitted by the monitor, who is also the parent and reaper.
#include <linux/mman.h>

#include "base/memory.hpp"
#include "host/linux/entry/attributes.hpp"
#include "host/linux/entry/calls.hpp"
#include "host/linux/entry/handles.hpp"
#include "host/linux/entry/host_call.hpp"
#include "host/linux/entry/patch/patching.hpp"
#include "host/linux/entry/request.hpp"
#include "host/linux/entry/threads.hpp"
#include "host/linux/filter/rules.hpp"

namespace postern::host {

using gate::ObjectKind;
using gate::Right;

void forget_waiters_after_fork();

namespace {

/// Whether children get the program's memory. Ranges without mappings are skipped (and reported as ENOMEM: madvise(2)).
void inherit_program(bool inherit) {
    call(__NR_madvise, kUserLow, kUserHigh - kUserLow, inherit ? MADV_DOFORK : MADV_DONTFORK);
}

}  // namespace

Err DkProcessFork(ForkResult* result) {
    if (result == nullptr) return Err::bad_address;
    const u32 flags = result->flags;
    if ((flags & ~u32{gate::kForkBare}) != 0) return Err::bad_argument;
    const bool bare = (flags & gate::kForkBare) != 0;
    ThreadArea& area = current_area();
    // The child must find every table whole and every lock free: no patch may be half done, no handle half made. A
    // thread that is alone holds no lock here, and leaving them alone spares both sides copies of the pages they lie
    // in.
    const bool alone = single_threaded();
    if (alone) {
        patch_ahead();
    } else {
        patch_lock();
        entry_lock().lock();
    }
    // The handle is made by the parent afterwards, for the same reason, in room that is certain.
    if (!handle_room()) {
        if (!alone) {
            entry_lock().unlock();
            patch_unlock();
        }
        return Err::no_quota;
    }
    // Other threads go on meanwhile, but none forks: all forks of this picoprocess hold the lock.
    if (bare) inherit_program(false);
    long child;
    do {
        child = call(__NR_clone, kForkFlags, 0, nullptr, &area.tid, 0);
    } while (child == -EINTR && area.control.pending == 0);
    if (child == 0) {
        if (!alone) {
            entry_lock().reset();
            patch_unlock();
        }
        patch_after_fork();
        adopt_after_fork();
        forget_waiters_after_fork();
        *result = ForkResult{};
        result->is_child = 1;
        result->self = area.control.token;
        return Err::ok;
    }
    if (bare) inherit_program(true);
    Handle process = gate::kNoHandle;
    if (child > 0) process = create_handle_locked(ObjectKind::process, Right::wait, -1).value();
    if (!alone) {
        entry_lock().unlock();
        patch_unlock();
    }
    if (child < 0) return child == -EAGAIN ? Err::no_quota : to_gate_error(-child);
    entry_of(process).word = static_cast<u32>(child);
    *result = ForkResult{};
    result->self = area.control.token;
    // A process's first thread has the process's number.
    result->child = {(static_cast<u64>(child) << 32) | static_cast<u64>(child)};
    result->process = process;
    result->child_id = static_cast<u32>(child);
    return Err::ok;
}

namespace {

/// How the monitor, who cannot take descriptors from here, finds the stream that becomes descriptor `number`.
Err stream_of_child(const HandleEntry& entry, u32 number, StreamKind& kind, u64& identity) {
    if (entry.stream_type == static_cast<u8>(gate::StreamType::null)) {
        kind = kStreamNull;
    } else if ((entry.flags & kHandleStandard) != 0) {
        kind = static_cast<StreamKind>(kStreamInput + entry.descriptor);
    } else if (entry.second_descriptor >= 0) {
        kind = number == 0 ? kStreamPipeRead : kStreamPipeWrite;
        gate::Attributes attributes;
        if (Err error = read_attributes(entry.descriptor, attributes); error != Err::ok) return error;
        identity = attributes.identity;
    } else {
        return Err::unsupported;
    }
    return Err::ok;
}

}  // namespace

namespace {

/// How the monitor is told which stream a fresh picoprocess gets as its standard stream `number`. Descriptors never
/// travel from here to there: it knows its own standard streams, and the pipes that it made by their numbers.
Err describe_stream(Handle handle, u32 number, Slot& slot) {
    u64* identities[] = {&slot.attributes.identity, &slot.attributes.volume, &slot.attributes.size};
    u8 kind = kStreamNull;
    if (handle != 0) {
        HandleEntry& entry = entry_of(handle);
        auto type = static_cast<gate::StreamType>(entry.stream_type);
        if (entry.flags & kHandleStandard) {
            kind = static_cast<u8>(kStreamInput + entry.descriptor);
        } else if (type == gate::StreamType::pipe) {
            bool write = number != 0;
            gate::Attributes attributes{};
            i32 descriptor = write && entry.second_descriptor >= 0 ? entry.second_descriptor : entry.descriptor;
            if (Err error = read_attributes(descriptor, attributes); error != Err::ok) return error;
            *identities[number] = attributes.identity;
            kind = write ? kStreamPipeWrite : kStreamPipeRead;
        } else if (type != gate::StreamType::null) {
            return Err::denied;
        }
    }
    slot.mask |= u32{kind} << (8 * number);
    return Err::ok;
}

}  // namespace

Err DkProcessCreate(const char* uri, const char* const* arguments, const Handle* streams, u32 stream_count,
                    Handle* process) {
    if (uri == nullptr || process == nullptr || (streams == nullptr && stream_count != 0)) return Err::bad_address;
    if (stream_count > 3) return Err::bad_argument;
    u32 kinds = 0;
    u64 identities[3] = {};
    for (u32 i = 0; i < 3; ++i) {
        StreamKind kind = kStreamNull;
        if (i < stream_count && streams[i] != 0) {
            HandleEntry* entry;
            if (Err error = lookup(streams[i], ObjectKind::stream, Right::none, entry); error != Err::ok) return error;
            if (Err error = stream_of_child(*entry, i, kind, identities[i]); error != Err::ok) return error;
        }
        kinds |= u32{kind} << (8 * i);
    }
    Request request{Ask::process_create};
    request.slot().mask = kinds;
    request.slot().attributes.identity = identities[0];
    request.slot().attributes.volume = identities[1];
    request.slot().attributes.size = identities[2];
    if (!request.name({uri, strlen(uri)})) return Err::name_too_long;
    char* place = request.slot().names + request.slot().name_length + 1;
    usize room = kMaxPath - 1, used = 0;
    for (u32 i = 0; arguments != nullptr && arguments[i] != nullptr; ++i) {
        usize length = strlen(arguments[i]) + 1;
        if (length > room - used) return Err::too_big;
        memcpy(place + used, arguments[i], length);
        used += length;
    }
    request.slot().second_length = static_cast<u32>(used);
    for (u32 i = 0; i < 3; ++i)
        if (Err error = describe_stream(i < stream_count ? streams[i] : 0, i, request.slot()); error != Err::ok)
            return error;
    if (Err error = request.ring(); error != Err::ok) return error;
    auto handle = create_handle(ObjectKind::process, Right::wait, -1);
    if (!handle.ok()) return handle.error();
    entry_of(handle.value()).word = static_cast<u32>(request.slot().value);
    *process = handle.value();
    return Err::ok;
}

Err DkProcessGetExitCode(Handle process, u32* code) {
    HandleEntry* entry;
    if (Err error = lookup(process, ObjectKind::process, Right::wait, entry); error != Err::ok) return error;
    if (code == nullptr) return Err::bad_address;
    Request request{Ask::process_wait};
    request.slot().value = entry->word;
    if (Err error = request.ring(); error != Err::ok) return error;
    entry->flags |= kHandleDead;
    *code = static_cast<u32>(request.slot().value);
    return Err::ok;
}

void DkProcessExit(u32 code) {
    flush_counters();
    flush_patch_counters();
    for (;;) call(__NR_exit_group, code & 255);
}

}  // namespace postern::host
