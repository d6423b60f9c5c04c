// SPDX-License-Identifier: Apache-2.0
// Picoprocesses: fork is the kernel's own, admitted by the monitor, who is also the parent and reaper.
#include "base/memory.hpp"
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

Err DkProcessFork(ForkResult* result) {
    if (result == nullptr) return Err::bad_address;
    auto process = create_handle(ObjectKind::process, Right::wait, -1);
    if (!process.ok()) return process.error();
    ThreadArea& area = current_area();
    // The child must find every table whole and every lock free: no patch may be half done, no handle half made.
    patch_lock();
    g_lock.lock();
    long child;
    do {
        child = call(__NR_clone, kForkFlags, 0, nullptr, &area.tid, 0);
    } while (child == -EINTR && area.control.pending == 0);
    if (child == 0) {
        g_lock.reset();
        patch_after_fork();
        adopt_after_fork();
        forget_waiters_after_fork();
        close_handle(process.value());
        *result = ForkResult{};
        result->is_child = 1;
        result->self = area.control.token;
        return Err::ok;
    }
    g_lock.unlock();
    patch_unlock();
    if (child < 0) {
        close_handle(process.value());
        return child == -EAGAIN ? Err::no_quota : to_gate_error(-child);
    }
    entry_of(process.value()).word = static_cast<u32>(child);
    *result = ForkResult{};
    result->self = area.control.token;
    // A process's first thread has the process's number.
    result->child = {(static_cast<u64>(child) << 32) | static_cast<u64>(child)};
    result->process = process.value();
    result->child_id = static_cast<u32>(child);
    return Err::ok;
}

Err DkProcessCreate(const char* uri, const char* const* arguments, const Handle* streams, u32 stream_count,
                    Handle* process) {
    if (uri == nullptr || process == nullptr || (streams == nullptr && stream_count != 0)) return Err::bad_address;
    if (stream_count > 3) return Err::bad_argument;
    for (u32 i = 0; i < stream_count; ++i) {
        HandleEntry* entry;
        if (streams[i] == 0) continue;
        if (Err error = lookup(streams[i], ObjectKind::stream, Right::none, entry); error != Err::ok) return error;
    }
    Request request{Ask::process_create};
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
    request.slot().size = entry->word;
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
