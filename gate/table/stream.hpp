// SPDX-License-Identifier: Apache-2.0
// Streams. What a URI leads to is decided by the picoprocess's routes; offsets are explicit, there is no cursor.
#pragma once

#include "gate/table/common.hpp"

namespace postern::gate::schema {

inline constexpr Kinds kStreamOrDirectory = kinds(ObjectKind::stream, ObjectKind::directory);
inline constexpr Param kOffsetParam =
    in64("offset", "position of the first byte; kNoOffset where the stream has no positions", Unit::byte_offset);
inline constexpr Param kActualParam = out(Type::u64_pointer, "actual", "bytes transferred", Unit::bytes);

inline constexpr Reason kTransferReasons[] = {
    {Err::bad_handle, "the handle is not open"},
    {Err::wrong_kind, "the handle names no stream"},
    {Err::denied, "the handle lacks the right"},
    {Err::bad_argument, "the offset or the end of the transfer exceeds 2^63-1"},
    {Err::bad_address, "the buffer is not accessible; nothing was transferred"},
    {Err::not_seekable, "an offset was given and the stream has no positions"},
    {Err::would_block, "the stream is non-blocking and nothing can be transferred now"},
    {Err::interrupted, "DkThreadInterrupt came before any byte was transferred"},
    {Err::io, "the provider reported a failure"},
    {Err::unsupported, "the stream has no such operation"},
    {Err::no_memory, "the host lacks memory for the transfer"},
};

inline constexpr Call kStreamCalls[] = {
    call(30, "DkStreamOpen", Group::stream) + uri("uri", "what to open") +
        in32("access", "at least one access (none with link, or for an attributes-only handle)", Domain::access,
             Unit::bits) +
        in32("mode", "permission bits of what is created", Domain::permission_bits) +
        in32("create", "must exist, may exist, must not exist", Domain::create) +
        in32("options", "modifiers", Domain::open_options, Unit::bits) +
        new_handle("stream", kStreamOrDirectory, "the stream or directory, with the rights that `access` asks for") +
        maybe(out(Type::attributes, "attributes", "what DkStreamAttributesQuery would say; may be null")) +
        reason::kName + reason::kChange + fails(Err::exists, "the name exists and must not") +
        fails(Err::is_directory, "the name is a directory and writing was asked") +
        fails(Err::busy, "a program that runs cannot be written") +
        fails(Err::no_quota, "the family's limit of handles is reached") +
        docs("Opens or creates. Everything that may fail fails before anything is created or truncated. Opening a "
             "pipe.client: connects to the server of that name, and is `not_found` when there is none."),

    call(31, "DkStreamRead", Group::stream) + handle("stream", ObjectKind::stream, Right::read, "where from") +
        kOffsetParam + bytes_out("buffer", "size", "where to") + in64("size", "most bytes", Unit::bytes) +
        kActualParam + kTransferReasons + blocking +
        docs("Reads up to `size` bytes. Fewer are not an error, 0 is the end of the stream. A pipe waits for the first "
             "byte only. Reading a pipe.server: accepts: the four bytes read are the Handle of a new connection."),

    call(32, "DkStreamWrite", Group::stream) + handle("stream", ObjectKind::stream, Right::write, "where to") +
        kOffsetParam + bytes_in("buffer", "size", "where from") + in64("size", "bytes", Unit::bytes) + kActualParam +
        kTransferReasons + fails(Err::closed, "nobody can ever read the pipe") +
        fails(Err::no_space, "the provider's storage is full") +
        fails(Err::too_big, "the provider's or the family's largest length would be exceeded") +
        fails(Err::read_only, "the route has become read-only") + blocking +
        docs("Writes up to `size` bytes. An append stream ignores the offset and writes at the end in one step. Small "
             "writes to a pipe (up to 4096 bytes) are not mixed with others'."),

    call(33, "DkStreamMap", Group::stream) +
        handle("stream", ObjectKind::stream, Right::read, "a file or memory stream") +
        in64("address", "first byte, a page multiple", Unit::page_address) +
        in64("size", "bytes, a page multiple, not 0", Unit::page_bytes) +
        in64("offset", "position in the stream of the first byte, a page multiple", Unit::page_bytes) +
        in32("prot", "permitted accesses", Domain::prot, Unit::bits) +
        in32("flags", "private or shared, and modifiers", Domain::map_flags, Unit::bits) +
        fails(Err::bad_handle, "the handle is not open") + fails(Err::wrong_kind, "the handle names no stream") +
        fails(Err::denied, "a shared writable mapping needs the write right, an executable one execute") +
        reason::kRange + fails(Err::exists, "the range is in use and `replace` is not given") +
        fails(Err::no_memory, "memory or address space is exhausted") +
        fails(Err::unsupported, "the stream cannot be mapped") +
        docs("Maps a stream. Private mappings are copied on write; shared ones are the stream. Touching a page that "
             "lies behind the end of the stream is ExceptionKind::bus_error."),

    call(34, "DkStreamUnmap", Group::stream) + in64("address", "first byte, a page multiple", Unit::page_address) +
        in64("size", "bytes, a page multiple, not 0", Unit::page_bytes) + reason::kRange +
        fails(Err::denied, "the range belongs to the host part of the picoprocess") +
        fails(Err::no_memory, "splitting a range needs memory that is exhausted") +
        docs("Takes mappings away. Changes of shared mappings reach the stream; holes are permitted."),

    call(35, "DkStreamMapPeBinary", Group::stream) +
        handle("stream", ObjectKind::stream, Right::read | Right::execute, "a PE image") +
        in64("address", "where the image goes", Unit::page_address) +
        out(Type::u64_pointer, "size", "bytes of address space taken", Unit::bytes) + reason::kHandle +
        fails(Err::bad_argument, "the file is no PE image") + fails(Err::exists, "the range is in use") +
        fails(Err::unsupported, "this host maps no PE images") + unsupported_on_linux +
        docs("Maps the sections of a Windows executable."),

    call(36, "DkStreamSetLength", Group::stream) + handle("stream", ObjectKind::stream, Right::write, "a file") +
        in64("offset", "first byte of the range; truncate: ignored", Unit::byte_offset) +
        in64("length", "bytes of the range; truncate: the new length", Unit::bytes) +
        value(Type::length_change, "change", Unit::none, Domain::length_change, "what happens to the range") +
        reason::kHandle +
        fails(Err::bad_argument,
              "the range is empty, or collapse or insert is not aligned to the "
              "provider's blocks") +
        fails(Err::too_big, "the provider cannot hold that length") +
        fails(Err::no_space, "the provider's storage is full") + fails(Err::read_only, "the route is read-only") +
        fails(Err::io, "the provider reported a failure") +
        fails(Err::interrupted, "a long allocation was interrupted") +
        fails(Err::busy, "the file is in use as a program") + fails(Err::not_seekable, "the stream has no length") +
        fails(Err::unsupported, "the provider cannot do this change") +
        docs("Changes the length or the allocation of a file. Growth reads zero."),

    call(37, "DkStreamFlush", Group::stream) +
        handle("stream", kStreamOrDirectory, Right::none, "a file or directory") +
        in32("data_only", "1: attributes that reading does not need may wait", Domain::boolean) +
        reason::kHandleAnyRight + fails(Err::bad_argument, "`data_only` is neither 0 nor 1") +
        fails(Err::no_space, "the provider's storage is full") + fails(Err::io, "the provider reported a failure") +
        fails(Err::interrupted, "DkThreadInterrupt came before the flush began") +
        fails(Err::unsupported, "the stream has nothing to flush") + blocking +
        docs("Returns when what was written is on stable storage."),

    call(38, "DkStreamDelete", Group::stream) + uri("uri", "the name to remove") +
        in32("directory", "1: the name must be an empty directory; 0: it must not be a directory", Domain::boolean) +
        reason::kName + reason::kChange + fails(Err::is_directory, "the name is a directory") +
        fails(Err::not_empty, "the directory has entries") + fails(Err::busy, "the name is in use by the route") +
        docs("Removes a name. Open streams of the object stay usable."),

    call(39, "DkStreamRename", Group::stream) + uri("uri", "the old name") + uri("new_uri", "the new name") +
        in32("flags", "0: replace", Domain::rename_flags, Unit::bits) + reason::kName + reason::kChange +
        fails(Err::exists, "the new name exists and no_replace is given") +
        fails(Err::is_directory, "the new name is a directory and the old one is not") +
        fails(Err::not_empty, "the new name is a directory with entries") +
        fails(Err::cross_device, "the names lie under different routes") +
        fails(Err::busy, "a name is in use by the route") +
        docs("Changes a name in one step: at every moment one of the two leads to the object."),

    call(40, "DkStreamGetEvent", Group::stream) + handle("stream", ObjectKind::stream, Right::wait, "the stream") +
        in32("ready", "one readiness: read or write", Domain::ready, Unit::bits) +
        new_handle("event", ObjectKind::event, "set whenever the stream is ready so") + reason::kHandle +
        fails(Err::bad_argument, "not exactly one of read and write") + reason::kNewHandle +
        docs("Gives a notification event that follows a stream's readiness, for waits together with others. It can be "
             "waited for and peeked at, not set. It stays valid when the stream's handle is closed."),

    call(41, "DkStreamEnumerateChildren", Group::stream) +
        handle("directory", ObjectKind::directory, Right::enumerate, "the directory") +
        in_out(Type::u64_pointer, "cookie", "0: from the start; then where to go on") +
        bytes_out("buffer", "size", "DirectoryRecords, aligned to 8 bytes") +
        in64("size", "bytes that the buffer takes, at least 288", Unit::bytes) + kActualParam + reason::kHandle +
        fails(Err::bad_argument, "the buffer is too small or not aligned, or the cookie was never given out") +
        fails(Err::bad_address, "a buffer is not accessible") + fails(Err::io, "the provider reported a failure") +
        fails(Err::not_found, "the directory has been removed") +
        docs("Lists a directory, `.` and `..` included, as many records as fit; `actual` is 0 at the end. Names that "
             "exist throughout are reported once."),

    call(42, "DkStreamAttributesQuery", Group::stream) + uri("uri", "the name") +
        in32("options", "whether a final symbolic link is followed", Domain::attribute_options, Unit::bits) +
        out(Type::attributes, "attributes", "the object's attributes") + reason::kName +
        docs("Asks for a named object's attributes without opening it. With no_follow or link a symbolic link answers "
             "for itself. A caller that lends a buffer in Attributes::name learns there where the name led, and with "
             "link what a symbolic link holds."),

    call(43, "DkStreamAttributesQueryByHandle", Group::stream) +
        handle("stream", kStreamOrDirectory, Right::none, "the stream or directory") +
        out(Type::attributes, "attributes", "the object's attributes") + reason::kHandleAnyRight +
        fails(Err::bad_address, "`attributes` is not writable") + fails(Err::io, "the provider reported a failure") +
        docs("The attributes of an open stream as they are now."),

    call(44, "DkStreamAttributesSet", Group::stream) + uri("uri", "the name") +
        in32("options", "whether a final symbolic link is followed", Domain::attribute_options, Unit::bits) +
        in32("mask", "which attributes; not 0", Domain::attribute_mask, Unit::bits) +
        Param{.name = "attributes", .type = Type::attributes_in, .doc = "the new values"} + reason::kName +
        reason::kChange + docs("Sets mode, owner, group and times of a named object. All or nothing.") +
        needed("Drawbridge's calls only query. Programs set modes and times of files all the time (archivers, build "
               "tools, installers), and re-creating the file cannot express it."),

    call(45, "DkStreamLink", Group::stream) +
        Param{.name = "target",
              .type = Type::string,
              .unit = Unit::uri,
              .doc = "hard: an existing URI; symbolic: the text of the link, as programs see it"} +
        uri("uri", "the new name") + value(Type::link_kind, "kind", Unit::none, Domain::link_kind, "hard or symbolic") +
        reason::kName + reason::kChange + fails(Err::exists, "the new name exists") +
        fails(Err::cross_device, "the names lie under different routes") +
        docs("Gives a second name to a file, or makes a symbolic link. What a symbolic link leads to is found through "
             "the routes when it is used.") +
        needed("Nothing that opens or writes can make one object appear under two names, or a name that stands for "
               "another; git, package managers and shells rely on both."),

    call(46, "DkStreamLock", Group::stream) + handle("stream", ObjectKind::stream, Right::none, "a file") +
        in64("offset", "first byte", Unit::byte_offset) +
        in64("length", "bytes; 0: to the end and beyond", Unit::bytes) +
        in32("mode", "none releases; exclusive needs the write right, shared the read right", Domain::lock_mode) +
        in32("wait", "1: wait while another stream holds the range", Domain::boolean) + reason::kHandle +
        fails(Err::bad_argument, "the range wraps around, or a value is not defined") +
        fails(Err::would_block, "another stream holds the range and `wait` is 0") +
        fails(Err::interrupted, "DkThreadInterrupt ended the wait") +
        fails(Err::io, "the provider reported a failure") + fails(Err::no_memory, "the host has no room for the lock") +
        fails(Err::unsupported, "the provider has no locks") + blocking +
        docs("Locks a range of a file against other open streams, advisory. Locks belong to the open stream: forked "
             "picoprocesses share them, the last close releases them. On the Linux host a lock is held by the "
             "picoprocess that took it, ends with it, and is known inside its family only. On an immutable or "
             "read-only route a shared "
             "lock always succeeds and reaches nobody.") +
        needed("Programs of different families that share a writable folder coordinate by locks (databases, package "
               "managers); what is held must end with its holder, which no file content can promise."),

    call(47, "DkStreamChangesRegister", Group::stream) +
        handle("stream", kStreamOrDirectory, Right::none, "a file or directory") +
        in32("filter", "which changes; 0: stop", Domain::change_filter, Unit::bits) +
        handle("event", ObjectKind::event, Right::signal, "set when the object changes so") + reason::kHandle +
        fails(Err::bad_argument, "a bit of `filter` is not defined") +
        fails(Err::no_quota, "the host's limit of watches is reached") +
        fails(Err::unsupported, "the provider does not report changes") +
        docs("Watches an object. The event is set once or more after a change; what changed is found by looking. "
             "Immutable routes accept the watch and never report.") +
        needed("Without it a program that follows a log or a source tree must ask again and again, and the library "
               "OS could not offer inotify for files that others change."),

    call(63, "DkStreamList", Group::stream) + uri("uri", "a directory on an immutable route") +
        in32("options", "what is wanted besides names", Domain::list_options, Unit::bits) +
        in_out(Type::u64_pointer, "cookie",
               "0: from the start, or as DkStreamEnumerateChildren; then where to go on, 0: that was all") +
        bytes_out("buffer", "size", "ListRecords, aligned to 8 bytes") +
        in64("size", "bytes that the buffer takes, at least kListBuffer", Unit::bytes) + kActualParam +
        out(Type::attributes, "attributes", "what DkStreamAttributesQuery would say of the directory") + reason::kName +
        fails(Err::too_big, "whole was asked and the directory is larger than one answer") +
        docs("Names of a directory and attributes of what they name, with `.` and `..`, without opening anything. Only "
             "directories whose names all come from one provider and do not change are listed so, others are "
             "`unsupported`. With below the directories in it are listed from the cookie on, each followed by those "
             "below it, in the order in which a program walks through them; each list is whole, and any may be "
             "missing.") +
        needed("DkStreamEnumerateChildren lists through a handle, and tells of an object only its type: reading a tree "
               "costs a name, a handle and a question for each object in it. One answer here saves some thirty "
               "questions, and what is not in it needs none."),
};

}  // namespace postern::gate::schema
