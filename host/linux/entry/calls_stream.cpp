// SPDX-License-Identifier: Apache-2.0
// Streams that are open: data goes straight to the kernel on the descriptor that the monitor gave.
#include <linux/falloc.h>
#include <linux/mman.h>

#include "base/memory.hpp"
#include "host/linux/entry/attributes.hpp"
#include "host/linux/entry/calls.hpp"
#include "host/linux/entry/calls_memory.hpp"
#include "host/linux/entry/changes.hpp"
#include "host/linux/entry/guarded.hpp"
#include "host/linux/entry/handles.hpp"
#include "host/linux/entry/host_call.hpp"
#include "host/linux/entry/request.hpp"

namespace postern::host {

using gate::ObjectKind;
using gate::Right;
using gate::StreamType;

namespace {

constexpr u64 kMostBytes = 0x7fff'f000;  // what one read(2) or write(2) transfers at most

/// Standard streams cannot be switched to non-blocking (the description is shared with strangers): look first.
bool would_block(const HandleEntry& entry, i32 descriptor, i16 events) {
    if (!(entry.flags & kHandleNonBlocking)) return false;
    struct {
        i32 descriptor;
        i16 events, result;
    } item{descriptor, events, 0};
    HostTime none{};
    return call(__NR_ppoll, &item, 1, &none, nullptr, 8) == 0;
}

Err accept_connection(HandleEntry& entry, void* buffer, u64 size, u64* actual);

}  // namespace

Err DkStreamRead(Handle stream, u64 offset, void* buffer, u64 size, u64* actual) {
    HandleEntry* entry;
    if (Err error = lookup(stream, ObjectKind::stream, Right::read, entry); error != Err::ok) return error;
    if (size > kMostBytes) size = kMostBytes;
    long result;
    if (offset != gate::kNoOffset) [[likely]] {
        if (offset > 0x7fff'ffff'ffff'ffff) return Err::bad_argument;
        if (entry->descriptor < 0) goto without_descriptor;
        do {
            result = call(__NR_pread64, entry->descriptor, buffer, size, offset);
        } while (result == -EINTR);  // files do not sleep for ever
    } else {
        if (entry->descriptor < 0) goto without_descriptor;
        if (entry->stream_type == static_cast<u8>(StreamType::pipe_server))
            return accept_connection(*entry, buffer, size, actual);
        if (would_block(*entry, entry->descriptor, 1)) return Err::would_block;
        result = call_interruptible(__NR_read, entry->descriptor, buffer, size);
    }
    if (result < 0) {
        *actual = 0;
        return to_gate_error(-result);
    }
    *actual = static_cast<u64>(result);
    return Err::ok;

without_descriptor:
    *actual = 0;
    if (entry->stream_type == static_cast<u8>(StreamType::symlink)) {
        u64 start = offset == gate::kNoOffset ? 0 : offset;
        if (start >= entry->text_size) return Err::ok;
        u64 count = entry->text_size - start < size ? entry->text_size - start : size;
        if (!writable(buffer, count)) return Err::bad_address;
        memcpy(buffer, reinterpret_cast<const char*>(entry->text) + start, count);
        *actual = count;
    }
    return Err::ok;  // null: is always at its end
}

Err DkStreamWrite(Handle stream, u64 offset, const void* buffer, u64 size, u64* actual) {
    HandleEntry* entry;
    if (Err error = lookup(stream, ObjectKind::stream, Right::write, entry); error != Err::ok) return error;
    if (size > kMostBytes) size = kMostBytes;
    i32 descriptor = entry->second_descriptor >= 0 ? entry->second_descriptor : entry->descriptor;
    if (descriptor < 0) {  // null: takes everything
        *actual = size;
        return Err::ok;
    }
    long result;
    // The kernel ignores the position of a descriptor in append mode.
    if (offset != gate::kNoOffset) {
        if (offset > 0x7fff'ffff'ffff'ffff) return Err::bad_argument;
        do {
            result = call(__NR_pwrite64, descriptor, buffer, size, offset);
        } while (result == -EINTR);
    } else {
        if (would_block(*entry, descriptor, 4)) return Err::would_block;
        // A pipe that is ready for writing has room for this much; more could sleep.
        if ((entry->flags & kHandleNonBlocking) != 0 && size > 4096) size = 4096;
        result = call_interruptible(__NR_write, descriptor, buffer, size);
    }
    if (result < 0) {
        *actual = 0;
        return to_gate_error(-result);
    }
    *actual = static_cast<u64>(result);
    return Err::ok;
}

Err DkStreamMap(Handle stream, u64 address, u64 size, u64 offset, u32 prot, u32 flags) {
    if (Err e = gate::check_values<CallNumber::DkStreamMap>(stream, address, size, offset, prot, flags); e != Err::ok)
        return e;
    HandleEntry* entry;
    if (Err error = lookup(stream, ObjectKind::stream, Right::read, entry); error != Err::ok) return error;
    bool shared = (flags & gate::kMapShared) != 0;
    Right needed = Right::read;
    if (shared && (prot & gate::kProtWrite)) needed = needed | Right::write;
    if (prot & gate::kProtExecute) needed = needed | Right::execute;
    if (!gate::has(static_cast<Right>(entry->rights), needed)) return Err::denied;
    if (Err e = check_range(address, size); e != Err::ok) return e;
    i32 descriptor = entry->descriptor;
    if (flags & gate::kMapPrepared) {
        if (shared) return Err::bad_argument;
        descriptor = entry->prepared_descriptor;
    }
    if (descriptor < 0) return Err::unsupported;
    if (offset > 0x7fff'ffff'ffff'ffff - size) return Err::bad_argument;
    long host_flags = shared ? MAP_SHARED : MAP_PRIVATE;
    host_flags |= (flags & gate::kMapReplace) ? MAP_FIXED : MAP_FIXED_NOREPLACE;
    if (flags & gate::kMapPopulate) host_flags |= MAP_POPULATE;
    // Code may be patched later. Without this each patched page would stay a mapping of its own, because only what was
    // writable once is accounted for, and a fork pays for every mapping.
    if (!shared && (prot & gate::kProtExecute)) host_flags |= MAP_NORESERVE;
    return gate_result(call(__NR_mmap, address, size, prot, host_flags, descriptor, offset));
}

Err DkStreamSetLength(Handle stream, u64 offset, u64 length, LengthChange change) {
    HandleEntry* entry;
    if (Err error = lookup(stream, ObjectKind::stream, Right::write, entry); error != Err::ok) return error;
    if (entry->descriptor < 0) return Err::not_seekable;
    long result, mode = 0;
    if (change == LengthChange::truncate) {
        if (length > 0x7fff'ffff'ffff'ffff) return Err::too_big;
        do {
            result = call(__NR_ftruncate, entry->descriptor, length);
        } while (result == -EINTR);
        return result == -EINVAL ? Err::not_seekable : gate_result(result);
    }
    if (length == 0 || offset > 0x7fff'ffff'ffff'ffff || length > 0x7fff'ffff'ffff'ffff) return Err::bad_argument;
    switch (change) {
        case LengthChange::allocate: break;
        case LengthChange::allocate_keep_size: mode = FALLOC_FL_KEEP_SIZE; break;
        case LengthChange::punch_hole: mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE; break;
        case LengthChange::zero_range: mode = FALLOC_FL_ZERO_RANGE; break;
        case LengthChange::collapse: mode = FALLOC_FL_COLLAPSE_RANGE; break;
        case LengthChange::insert: mode = FALLOC_FL_INSERT_RANGE; break;
        default: return Err::bad_argument;
    }
    result = call(__NR_fallocate, entry->descriptor, mode, offset, length);
    if (result == -ENODEV || result == -ESPIPE) return Err::not_seekable;
    return gate_result(result);
}

Err DkStreamFlush(Handle stream, u32 data_only) {
    if (data_only > 1) return Err::bad_argument;
    HandleEntry* entry;
    if (Err error = lookup_stream_or_directory(stream, Right::none, entry); error != Err::ok) return error;
    if (entry->descriptor < 0) return Err::unsupported;
    long result = call_interruptible(data_only ? __NR_fdatasync : __NR_fsync, entry->descriptor);
    if (result == -EINVAL || result == -EROFS) return Err::unsupported;
    return gate_result(result);
}

Err DkStreamGetEvent(Handle stream, u32 ready, Handle* event) {
    if (ready != gate::kReadyRead && ready != gate::kReadyWrite) return Err::bad_argument;
    HandleEntry* entry;
    if (Err error = lookup(stream, ObjectKind::stream, Right::wait, entry); error != Err::ok) return error;
    if (event == nullptr) return Err::bad_address;
    auto created = create_handle(ObjectKind::event, Right::wait, entry->descriptor);
    if (!created.ok()) return created.error();
    HandleEntry& made = entry_of(created.value());
    made.flags = kHandleStreamEvent | kHandleManualReset;
    made.word = ready;
    made.second_descriptor = -1;
    if (ready == gate::kReadyWrite && entry->second_descriptor >= 0) made.descriptor = entry->second_descriptor;
    made.maximum = stream;
    __atomic_add_fetch(&entry->references, 1, __ATOMIC_SEQ_CST);  // the descriptor lives as long as the event
    *event = created.value();
    return Err::ok;
}

Err DkStreamAttributesQueryByHandle(Handle stream, Attributes* attributes) {
    HandleEntry* entry;
    if (Err error = lookup_stream_or_directory(stream, Right::none, entry); error != Err::ok) return error;
    if (attributes == nullptr) return Err::bad_address;
    *attributes = Attributes{};
    attributes->rights = entry->rights;
    attributes->stable = entry->stable;
    attributes->type = static_cast<StreamType>(entry->stream_type);
    if (entry->descriptor < 0) {
        attributes->size = entry->text_size;
        attributes->mode = attributes->type == StreamType::symlink ? 0777 : 0666;
        attributes->links = 1;
        return Err::ok;
    }
    Err error = read_attributes(entry->descriptor, *attributes);
    // The kernel knows a memory file as a file.
    if (entry->stream_type == static_cast<u8>(StreamType::memory)) attributes->type = StreamType::memory;
    return error;
}

namespace {

Err ask_lock(const HandleEntry& entry, Handle stream, u64 offset, u64 length, u32 mode) {
    Request request{Ask::lock};
    Slot& slot = request.slot();
    if (Err error = read_attributes(entry.descriptor, slot.attributes); error != Err::ok) return error;
    slot.flags = mode;
    slot.size = offset;
    slot.value = length;
    slot.options = stream;
    return request.ring();
}

}  // namespace

Err DkStreamLock(Handle stream, u64 offset, u64 length, u32 mode, u32 wait) {
    if (mode > 2 || wait > 1 || (length != 0 && offset + length < offset)) return Err::bad_argument;
    HandleEntry* entry;
    if (Err error = lookup(stream, ObjectKind::stream, Right::none, entry); error != Err::ok) return error;
    Right needed = mode == 2 ? Right::write : mode == 1 ? Right::read : Right::none;
    if (!gate::has(static_cast<Right>(entry->rights), needed)) return Err::denied;
    if (entry->descriptor < 0) return Err::unsupported;
    // A lock that a reader takes on the host would shut out writers who never heard of us: it reaches nobody.
    if (!gate::has(static_cast<Right>(entry->rights), Right::write)) return Err::ok;
    for (;;) {
        Err error = ask_lock(*entry, stream, offset, length, mode);
        if (error == Err::ok && mode != 0) entry->flags |= kHandleLocked;
        if (error != Err::would_block || wait == 0) return error;
        u64 pause = 5'000'000;  // nobody announces a release; no request slot is held meanwhile
        if (Err slept = DkThreadDelayExecution(&pause); slept != Err::ok) return slept;
    }
}

void release_locks(const HandleEntry& entry, Handle stream) { (void)ask_lock(entry, stream, 0, 0, 0); }

namespace {

/// A server's descriptor delivers one connection number of eight bytes for each client that came.
Err accept_connection(HandleEntry& entry, void* buffer, u64 size, u64* actual) {
    *actual = 0;
    if (size < sizeof(Handle)) return Err::bad_argument;
    if (!writable(buffer, sizeof(Handle))) return Err::bad_address;
    if (would_block(entry, entry.descriptor, 1)) return Err::would_block;
    u64 number = 0;
    long result = call_interruptible(__NR_read, entry.descriptor, &number, sizeof number);
    if (result < 0) return to_gate_error(-result);
    if (result != sizeof number) return Err::closed;
    Request request{Ask::named_pipe};
    request.slot().flags = kNamedPipeAccept;
    request.slot().size = number;
    if (Err error = request.ring(); error != Err::ok) return error;
    i32 descriptor = request.descriptor();
    auto handle = create_handle(ObjectKind::stream, Right::read | Right::write | Right::wait, descriptor);
    if (!handle.ok()) {
        call(__NR_close, descriptor);
        return handle.error();
    }
    entry_of(handle.value()).stream_type = static_cast<u8>(StreamType::pipe);
    Handle value = handle.value();
    memcpy(buffer, &value, sizeof value);
    *actual = sizeof value;
    return Err::ok;
}

}  // namespace

// Changes ----------------------------------------------------------------------------------------------------------

namespace {

/// What DkStreamChangesRegister remembers of the object that an event watches.
struct Watch {
    Handle stream;
    u64 size;
    gate::Time modified, changed;
};

}  // namespace

void check_changes(HandleEntry& event) {
    auto* watch = reinterpret_cast<Watch*>(event.text);
    if (watch == nullptr) return;
    HandleEntry* stream;
    if (lookup_any(watch->stream, stream) != Err::ok || stream->descriptor < 0) return;
    Attributes now{};
    if (read_attributes(stream->descriptor, now) != Err::ok) return;
    auto differs = [](const gate::Time& a, const gate::Time& b) {
        return a.seconds != b.seconds || a.nanoseconds != b.nanoseconds;
    };
    if (now.size == watch->size && !differs(now.modified, watch->modified) && !differs(now.changed, watch->changed))
        return;
    watch->size = now.size;
    watch->modified = now.modified;
    watch->changed = now.changed;
    __atomic_store_n(&event.word, 1, __ATOMIC_SEQ_CST);
}

Err DkStreamChangesRegister(Handle stream, u32 filter, Handle event) {
    if (gate::check_values<CallNumber::DkStreamChangesRegister>(stream, filter, event) != Err::ok)
        return Err::bad_argument;
    HandleEntry *entry, *event_entry;
    if (Err error = lookup_stream_or_directory(stream, Right::none, entry); error != Err::ok) return error;
    if (Err error = lookup(event, ObjectKind::event, Right::signal, event_entry); error != Err::ok) return error;
    if (event_entry->flags & kHandleStreamEvent) return Err::denied;
    forget_watch(*event_entry);
    if (filter == 0 || entry->stable) return Err::ok;
    if (entry->descriptor < 0) return Err::unsupported;
    auto* watch = static_cast<Watch*>(allocate_small(sizeof(Watch)));
    if (watch == nullptr) return Err::no_quota;
    Attributes now{};
    if (Err error = read_attributes(entry->descriptor, now); error != Err::ok) return error;
    *watch = {stream, now.size, now.modified, now.changed};
    __atomic_add_fetch(&entry->references, 1, __ATOMIC_SEQ_CST);
    event_entry->text = reinterpret_cast<u64>(watch);
    event_entry->text_size = sizeof(Watch) - 1;
    event_entry->flags |= kHandleChangeEvent;
    objects_changed();  // waiters must begin to look at intervals
    return Err::ok;
}

void forget_watch(HandleEntry& event) {
    if (!(event.flags & kHandleChangeEvent)) return;
    auto* watch = reinterpret_cast<Watch*>(event.text);
    event.flags &= ~u32{kHandleChangeEvent};
    event.text = 0;
    close_handle(watch->stream);
    release_small(watch, sizeof(Watch));
}

}  // namespace postern::host
