// SPDX-License-Identifier: Apache-2.0
// Listing directories: the kernel's entries, and names that other routes put into the directory.
//
// Cookies of the kernel's entries are its own (63 bits). Those with the top bit set belong to the routes' names, which
// come first; kFromKernel says that these are through.
#include "base/memory.hpp"
#include "host/linux/dirent.hpp"
#include "host/linux/entry/attributes.hpp"
#include "host/linux/entry/calls.hpp"
#include "host/linux/entry/guarded.hpp"
#include "host/linux/entry/handles.hpp"
#include "host/linux/entry/host_call.hpp"
#include "host/linux/entry/request.hpp"

namespace postern::host {
namespace {

using gate::DirectoryRecord;

constexpr u64 kRouteCookie = 1ull << 63;
constexpr u64 kFromKernel = kRouteCookie | 1ull << 62;
constexpr u64 kMostListed = 65536;  // bytes of records that one call gives at most
constexpr u8 kLeftOut = 254;        // mark in HostRecord::type

class Output {
public:
    Output(void* buffer, u64 size) : buffer_{static_cast<u8*>(buffer)}, size_{size} {}
    /// False: does not fit any more.
    bool add(u64 identity, u64 cookie, u8 type, const char* name, usize length) {
        u64 bytes = align_up(offsetof(DirectoryRecord, name) + length + 1, 8);
        if (used_ + bytes > size_) return false;
        auto* record = reinterpret_cast<DirectoryRecord*>(buffer_ + used_);
        memset(static_cast<void*>(record), 0, bytes);
        record->identity = identity;
        record->cookie = cookie;
        record->size = static_cast<u16>(bytes);
        record->type = type;
        record->name_length = static_cast<u8>(length);
        memcpy(reinterpret_cast<u8*>(record) + offsetof(DirectoryRecord, name), name, length);
        used_ += bytes;
        return true;
    }
    u64 used() const { return used_; }

private:
    u8* buffer_;
    u64 size_;
    u64 used_ = 0;
};

/// One page of the names that routes put into the directory. `next` 0: that was the last.
template <class Visit>
Err list_page(const HandleEntry& entry, u64 position, u64& next, Visit visit) {
    Request request{Ask::list};
    Slot& slot = request.slot();
    constexpr char kScheme[] = "file:";
    memcpy(slot.names, kScheme, 5);
    memcpy(slot.names + 5, reinterpret_cast<const char*>(entry.text), entry.text_size + 1);
    slot.name_length = entry.text_size + 5;
    slot.size = position;
    if (Err error = request.ring(); error != Err::ok) return error;
    next = (slot.reply_flags & kReplyMore) ? slot.value : 0;
    u32 total = slot.text_length <= sizeof slot.names ? slot.text_length : u32{sizeof slot.names};
    for (u32 at = 0; at + sizeof(DirectoryRecord) <= total;) {
        auto* record = reinterpret_cast<const DirectoryRecord*>(slot.names + at);
        if (record->size < sizeof(DirectoryRecord) || record->size > total - at) return Err::io;
        if (!visit(*record)) break;
        at += record->size;
    }
    return Err::ok;
}

bool same_name(const char* name, const DirectoryRecord& record) {
    return strlen(name) == record.name_length && memcmp(name, record.name, record.name_length) == 0;
}

/// Marks entries whose names the routes define themselves, or hide.
Err mark_hidden(const HandleEntry& entry, u8* records, long bytes) {
    u64 position = 0;
    do {
        u64 next = 0;
        Err error = list_page(entry, position, next, [&](const DirectoryRecord& listed) {
            for (long at = 0; at < bytes;) {
                auto* record = reinterpret_cast<HostRecord*>(records + at);
                at += record->length;
                if (same_name(record->name, listed)) record->type = kLeftOut;
            }
            return true;
        });
        if (error != Err::ok) return error;
        position = next;
    } while (position != 0);
    return Err::ok;
}

/// Names of routes from position `cookie` on. Each record's own position is its place in the whole list, which is
/// why pages are walked again from the start of the one that holds it.
Err add_route_names(const HandleEntry& entry, u64& cookie, Output& output) {
    u64 skip = cookie & ~kRouteCookie, position = 0, place = 0;
    bool full = false;
    do {
        u64 next = 0;
        Err error = list_page(entry, position, next, [&](const DirectoryRecord& listed) {
            if (++place <= skip) return true;
            if (listed.type != kListHidden &&
                !output.add(listed.identity, kRouteCookie | place, listed.type, listed.name, listed.name_length)) {
                full = true;
                return false;
            }
            cookie = kRouteCookie | place;
            return true;
        });
        if (error != Err::ok) return error;
        position = next;
    } while (position != 0 && !full);
    if (!full) cookie = kFromKernel;
    return Err::ok;
}

Err add_kernel_names(const HandleEntry& entry, u64& cookie, Output& output, u64 room) {
    alignas(8) u8 host[4096];
    // Position and reading are two calls: threads and forked picoprocesses that list through the same stream at the
    // same time must agree among themselves, as the library OS does with the lock of the open file.
    long result = call(__NR_lseek, entry.descriptor, cookie == kFromKernel ? 0 : cookie, 0);
    if (result < 0) return result == -EINVAL ? Err::bad_argument : to_gate_error(-result);
    for (;;) {
        result = call(__NR_getdents64, entry.descriptor, host, sizeof host < room ? sizeof host : room);
        if (result == -ENOENT) return Err::not_found;
        if (result < 0) return to_gate_error(-result);
        if (result == 0) return Err::ok;
        if (entry.flags & kHandleOverlay)
            if (Err error = mark_hidden(entry, host, result); error != Err::ok) return error;
        for (long at = 0; at < result;) {
            auto* record = reinterpret_cast<const HostRecord*>(host + at);
            at += record->length;
            if (record->type != kLeftOut && !output.add(record->inode, record->offset,
                                                        static_cast<u8>(stream_type_of_directory_entry(record->type)),
                                                        record->name, strlen(record->name)))
                return Err::ok;
            cookie = record->offset;
        }
        if (output.used() != 0) return Err::ok;  // all of a batch may be hidden: only then on to the next
    }
}

}  // namespace

Err DkStreamEnumerateChildren(Handle directory, u64* cookie, void* buffer, u64 size, u64* actual) {
    if (cookie == nullptr || actual == nullptr) return Err::bad_address;
    if (size < 288 || reinterpret_cast<u64>(buffer) % 8 != 0) return Err::bad_argument;
    HandleEntry* entry;
    if (Err error = lookup(directory, gate::ObjectKind::directory, gate::Right::enumerate, entry); error != Err::ok)
        return error;
    *actual = 0;
    if (size > kMostListed) size = kMostListed;
    if (!writable(buffer, size)) return Err::bad_address;
    Output output{buffer, size};
    u64 at = *cookie;
    Err error = Err::ok;
    bool routes = (entry->flags & kHandleOverlay) != 0 && (at == 0 || ((at & kRouteCookie) != 0 && at != kFromKernel));
    if (routes) error = add_route_names(*entry, at, output);
    if (error == Err::ok && (!routes || (at == kFromKernel && output.used() == 0)) && entry->descriptor >= 0)
        error = add_kernel_names(*entry, at, output, size);
    if (error != Err::ok) return error;
    *cookie = at;
    *actual = output.used();
    return Err::ok;
}

}  // namespace postern::host
