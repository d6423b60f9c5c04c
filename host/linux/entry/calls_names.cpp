// SPDX-License-Identifier: Apache-2.0
// Calls that take names: what a name leads to is the monitor's to decide; only the handful of names that mean
// something in here already are served without it.
#include "base/memory.hpp"
#include "host/linux/entry/attributes.hpp"
#include "host/linux/entry/calls.hpp"
#include "host/linux/entry/guarded.hpp"
#include "host/linux/entry/handles.hpp"
#include "host/linux/entry/host_call.hpp"
#include "host/linux/entry/request.hpp"

namespace postern::host {

using gate::ObjectKind;
using gate::Right;
using gate::StreamType;

namespace {

bool starts_with(std::string_view text, std::string_view prefix) {
    return text.size() >= prefix.size() && memcmp(text.data(), prefix.data(), prefix.size()) == 0;
}
std::string_view rest(std::string_view text, usize from) { return {text.data() + from, text.size() - from}; }

Right rights_for(u32 access, u32 granted) {
    Right rights = Right::wait | Right::signal;
    if (access & gate::kAccessRead) rights = rights | Right::read | Right::enumerate;
    if (access & (gate::kAccessWrite | gate::kAccessAppend)) rights = rights | Right::write | Right::change;
    // Whether code may be mapped is the route's decision, not the opener's wish alone.
    if (gate::has(static_cast<Right>(granted), Right::execute)) rights = rights | Right::execute;
    return rights;
}

struct Opened {
    ObjectKind kind = ObjectKind::stream;
    StreamType type = StreamType::unknown;
    Right rights = Right::none;
    i32 descriptor = -1;
    i32 second = -1;
    i32 prepared = -1;
    u32 flags = 0;
    u32 stable = 0;
    void* text = nullptr;
    u32 text_size = 0;
};

bool keep_text(Opened& opened, std::string_view text) {
    opened.text = allocate_small(text.size() + 1);
    if (opened.text == nullptr) return false;
    memcpy(opened.text, text.data(), text.size());
    static_cast<char*>(opened.text)[text.size()] = 0;
    opened.text_size = static_cast<u32>(text.size());
    return true;
}

Err finish(const Opened& opened, Handle* stream) {
    auto handle = create_handle(opened.kind, opened.rights, opened.descriptor);
    if (!handle.ok()) {
        if (opened.descriptor >= 0 && !(opened.flags & (kHandleKeepDescriptor | kHandleStandard)))
            call(__NR_close, opened.descriptor);
        if (opened.second >= 0) call(__NR_close, opened.second);
        if (opened.prepared >= 0) call(__NR_close, opened.prepared);
        if (opened.text != nullptr) release_small(opened.text, opened.text_size + 1);
        return handle.error();
    }
    HandleEntry& entry = entry_of(handle.value());
    entry.stream_type = static_cast<u8>(opened.type);
    entry.flags = opened.flags;
    entry.second_descriptor = opened.second;
    entry.prepared_descriptor = opened.prepared;
    entry.stable = opened.stable;
    entry.text = reinterpret_cast<u64>(opened.text);
    entry.text_size = opened.text_size;
    if (opened.flags & kHandleStandard) reference_standard(opened.descriptor);
    *stream = handle.value();
    return Err::ok;
}

/// What the monitor said of the object.
void hand_over_numbers(const Slot& slot, Attributes* attributes) {
    gate::assign_lent(*attributes, slot.attributes);
    attributes->name_flags = (slot.reply_flags & kReplyInside ? u32{gate::kNameInside} : 0) |
                             (slot.reply_flags & kReplySynthetic ? u32{gate::kNameSynthetic} : 0) |
                             (slot.cache != 0 ? u32{gate::kNameCacheable} : 0) |
                             (slot.reply_flags & kReplyBare ? u32{gate::kNameBare} : 0) |
                             (slot.reply_flags & kReplyPinned ? u32{gate::kNamePinned} : 0);
}

/// And where the name led, when the caller lent a buffer for that.
void hand_over(const Slot& slot, Attributes* attributes) {
    if (attributes == nullptr) return;
    hand_over_numbers(slot, attributes);
    char* name = attributes->name;
    u32 capacity = attributes->name_capacity;
    u32 length = slot.text_length, target = slot.second_length;
    if (name == nullptr || length >= kMaxPath || target >= kMaxPath || length + 1 > capacity) return;
    if (!writable(name, length + 1 + target + 1 > capacity ? length + 1 : length + 1 + target + 1)) return;
    memcpy(name, slot.names, length + 1);
    attributes->name_length = length;
    if (length + 1 + target + 1 > capacity) return;
    memcpy(name + length + 1, slot.names + length + 1, target + 1);
    attributes->target_length = target;
}

Err open_standard(i32 descriptor, u32 options, Handle* stream, Attributes* attributes) {
    Attributes found{};
    if (Err error = read_attributes(descriptor, found); error != Err::ok)
        return error == Err::denied ? Err::not_found : error;  // closed
    Opened opened;
    opened.type = found.type;
    opened.rights = Right::wait | Right::signal | (descriptor == 0 ? Right::read : Right::write);
    // What a shell opens for both directions (a terminal, a socket) is usable in both; the kernel knows.
    if (found.type == StreamType::character || found.type == StreamType::socket || found.type == StreamType::file)
        opened.rights = opened.rights | Right::read | Right::write;
    opened.descriptor = descriptor;
    opened.flags = kHandleStandard | ((options & gate::kOpenNonBlocking) ? kHandleNonBlocking : 0u);
    found.rights = static_cast<u32>(opened.rights);
    if (attributes != nullptr) *attributes = found;
    return finish(opened, stream);
}

Err open_null(u32 access, Handle* stream, Attributes* attributes) {
    Opened opened;
    opened.type = StreamType::null;
    opened.rights = rights_for(access, 0);
    if (attributes != nullptr) {
        *attributes = Attributes{};
        attributes->type = StreamType::null;
        attributes->mode = 0666;
        attributes->links = 1;
        attributes->rights = static_cast<u32>(opened.rights);
    }
    return finish(opened, stream);
}

Err open_memory(std::string_view name, u32 access, Handle* stream, Attributes* attributes) {
    Opened opened;
    opened.type = StreamType::memory;
    opened.rights = rights_for(access, static_cast<u32>(Right::all)) | Right::execute;
    u64 size = 0;
    if (name == "arena") {
        opened.descriptor = g_process.arena_descriptor;
        opened.flags = kHandleKeepDescriptor;
        size = g_config.arena_size;
    } else if (starts_with(name, "?size=")) {
        for (char digit : rest(name, 6)) {
            if (digit < '0' || digit > '9' || size > (1ull << 58)) return Err::bad_argument;
            size = size * 10 + static_cast<u64>(digit - '0');
        }
        Request request{Ask::memory};
        request.slot().size = size;
        if (Err error = request.ring(); error != Err::ok) return error;
        opened.descriptor = request.descriptor();
    } else {
        return Err::not_found;
    }
    if (attributes != nullptr) {
        *attributes = Attributes{};
        read_attributes(opened.descriptor, *attributes);
        attributes->type = StreamType::memory;
        attributes->size = size;
        attributes->rights = static_cast<u32>(opened.rights);
    }
    return finish(opened, stream);
}

Err open_pipe(std::string_view uri, u32 access, u32 options, Handle* stream, Attributes* attributes) {
    Opened opened;
    opened.type = StreamType::pipe;
    opened.rights = rights_for(access, 0);
    if (options & gate::kOpenNonBlocking) opened.flags |= kHandleNonBlocking;
    if (uri == "pipe:") {
        Request request{Ask::pipe};
        request.slot().options = options;
        if (Err error = request.ring(); error != Err::ok) return error;
        opened.descriptor = request.descriptor();
        opened.second = request.slot().second_descriptor;
    } else {
        bool server = starts_with(uri, "pipe.server:") || starts_with(uri, "pipe.srv:");
        if (!server && !starts_with(uri, "pipe.client:") && !starts_with(uri, "pipe:")) return Err::not_found;
        Request request{Ask::named_pipe};
        if (!request.name(uri)) return Err::name_too_long;
        request.slot().flags = server ? kNamedPipeServe : kNamedPipeConnect;
        request.slot().options = options;
        if (Err error = request.ring(); error != Err::ok) return error;
        opened.descriptor = request.descriptor();
        if (server) opened.type = StreamType::pipe_server;
    }
    if (attributes != nullptr) {
        *attributes = Attributes{};
        attributes->type = opened.type;
        attributes->mode = 0600;
        attributes->links = 1;
        attributes->rights = static_cast<u32>(opened.rights);
    }
    return finish(opened, stream);
}

Err open_file(std::string_view uri, u32 access, u32 mode, u32 create, u32 options, Handle* stream,
              Attributes* attributes) {
    Request request{Ask::open};
    if (!request.name(uri)) return Err::name_too_long;
    Slot& slot = request.slot();
    slot.access = access;
    slot.mode = mode;
    slot.create = create;
    slot.options = options;
    if (Err error = request.ring(); error != Err::ok) {
        hand_over(slot, attributes);
        return error;
    }
    Opened opened;
    opened.type = slot.attributes.type;
    opened.descriptor = request.descriptor();
    opened.kind = opened.type == StreamType::directory ? ObjectKind::directory : ObjectKind::stream;
    opened.rights = rights_for(access, slot.attributes.rights);
    opened.stable = slot.attributes.stable;
    opened.prepared = slot.second_descriptor;
    if (options & gate::kOpenNonBlocking) opened.flags |= kHandleNonBlocking;
    if (access & gate::kAccessAppend) opened.flags |= kHandleAppend;
    if (opened.type == StreamType::symlink) {
        // Nothing can be read through such a descriptor: the target came with the answer.
        if (opened.descriptor >= 0) call(__NR_close, opened.descriptor);
        opened.descriptor = -1;
        opened.rights = opened.rights | Right::read;
        if (slot.text_length >= kMaxPath || slot.second_length >= kMaxPath) return Err::io;
        if (!keep_text(opened, {slot.names + slot.text_length + 1, slot.second_length})) return Err::no_quota;
    }
    if (slot.reply_flags & (kReplySynthetic | kReplyOverlay)) {
        // Names of other routes appear in this directory: enumeration asks for them by the directory's own name.
        if (slot.text_length >= kMaxPath) return Err::io;
        opened.flags |= kHandleOverlay;
        if (!keep_text(opened, {slot.names, slot.text_length})) {
            if (opened.descriptor >= 0) call(__NR_close, opened.descriptor);
            return Err::no_quota;
        }
    }

    hand_over(slot, attributes);
    return finish(opened, stream);
}

}  // namespace

Err DkStreamOpen(const char* uri, u32 access, u32 mode, u32 create, u32 options, Handle* stream,
                 Attributes* attributes) {
    if (uri == nullptr || stream == nullptr) return Err::bad_address;
    if (Err e = gate::check_values<CallNumber::DkStreamOpen>(uri, access, mode, create, options, stream, attributes);
        e != Err::ok)
        return e;
    std::string_view name{uri, strlen(uri)};
    if (starts_with(name, "file:")) return open_file(name, access, mode, create, options, stream, attributes);
    if (starts_with(name, "memory:")) return open_memory(rest(name, 7), access, stream, attributes);
    if (name == "stdin:") return open_standard(0, options, stream, attributes);
    if (name == "stdout:") return open_standard(1, options, stream, attributes);
    if (name == "stderr:") return open_standard(2, options, stream, attributes);
    if (name == "null:") return open_null(access, stream, attributes);
    if (starts_with(name, "pipe")) return open_pipe(name, access, options, stream, attributes);
    // No route leads anywhere by another scheme; without one it is no name at all.
    for (usize i = 1; i < name.size(); ++i)
        if (name[i] == ':') return Err::not_found;
    return Err::bad_argument;
}

Err DkStreamDelete(const char* uri, u32 directory) {
    if (uri == nullptr) return Err::bad_address;
    if (directory > 1) return Err::bad_argument;
    Request request{Ask::remove};
    if (!request.name({uri, strlen(uri)})) return Err::name_too_long;
    request.slot().flags = directory;
    return request.ring();
}

Err DkStreamRename(const char* uri, const char* new_uri, u32 flags) {
    if (uri == nullptr || new_uri == nullptr) return Err::bad_address;
    if (Err e = gate::check_values<CallNumber::DkStreamRename>(uri, new_uri, flags); e != Err::ok) return e;
    Request request{Ask::rename};
    if (!request.name({uri, strlen(uri)}) || !request.second({new_uri, strlen(new_uri)})) return Err::name_too_long;
    request.slot().flags = flags;
    return request.ring();
}

Err DkStreamLink(const char* target, const char* uri, LinkKind kind) {
    if (target == nullptr || uri == nullptr) return Err::bad_address;
    if (kind != LinkKind::hard && kind != LinkKind::symbolic) return Err::bad_argument;
    Request request{Ask::link};
    if (!request.name({uri, strlen(uri)}) || !request.second({target, strlen(target)})) return Err::name_too_long;
    request.slot().flags = static_cast<u32>(kind);
    return request.ring();
}

Err DkStreamAttributesQuery(const char* uri, u32 options, Attributes* attributes) {
    if (uri == nullptr || attributes == nullptr) return Err::bad_address;
    if (Err e = gate::check_values<CallNumber::DkStreamAttributesQuery>(uri, options, attributes); e != Err::ok)
        return e;
    std::string_view name{uri, strlen(uri)};
    i32 standard = name == "stdin:" ? 0 : name == "stdout:" ? 1 : name == "stderr:" ? 2 : -1;
    if (standard >= 0) {
        *attributes = Attributes{};
        return read_attributes(standard, *attributes);
    }
    Request request{Ask::attributes};
    if (!request.name(name)) return Err::name_too_long;
    request.slot().options = options;
    Err error = request.ring();
    hand_over(request.slot(), attributes);
    return error;
}

Err DkStreamList(const char* uri, u32 options, u64* cookie, void* buffer, u64 size, u64* actual,
                 Attributes* attributes) {
    if (uri == nullptr || cookie == nullptr || buffer == nullptr || actual == nullptr || attributes == nullptr)
        return Err::bad_address;
    if (Err e = gate::check_values<CallNumber::DkStreamList>(uri, options, cookie, buffer, size, actual, attributes);
        e != Err::ok)
        return e;
    if (size < gate::kListBuffer || reinterpret_cast<u64>(buffer) % 8 != 0) return Err::bad_argument;
    if (!writable(buffer, gate::kListBuffer)) return Err::bad_address;
    std::string_view name{uri, strlen(uri)};
    if (!starts_with(name, "file:")) return Err::unsupported;
    Request request{Ask::tree};
    if (!request.name(name)) return Err::name_too_long;
    Slot& slot = request.slot();
    slot.options = options;
    slot.size = *cookie;
    if (Err error = request.ring(); error != Err::ok) {
        hand_over(slot, attributes);
        return error;
    }
    u32 bytes = slot.text_length, length = slot.second_length;
    if (bytes > gate::kListBuffer || length >= kMaxPath || bytes + 1 + length + 1 > sizeof slot.names) return Err::io;
    hand_over_numbers(slot, attributes);
    if (attributes->name != nullptr && length + 1 <= attributes->name_capacity) {
        if (!writable(attributes->name, length + 1)) return Err::bad_address;
        memcpy(attributes->name, slot.names + bytes + 1, length + 1);
        attributes->name_length = length;
    }
    memcpy(buffer, slot.names, bytes);
    *actual = bytes;
    *cookie = slot.value;
    return Err::ok;
}

Err DkStreamAttributesSet(const char* uri, u32 options, u32 mask, const Attributes* attributes) {
    if (uri == nullptr || attributes == nullptr) return Err::bad_address;
    if (Err e = gate::check_values<CallNumber::DkStreamAttributesSet>(uri, options, mask, attributes); e != Err::ok)
        return e;
    Request request{Ask::attributes_set};
    if (!request.name({uri, strlen(uri)})) return Err::name_too_long;
    request.slot().options = options;
    request.slot().mask = mask;
    request.slot().attributes = *attributes;
    return request.ring();
}

}  // namespace postern::host
