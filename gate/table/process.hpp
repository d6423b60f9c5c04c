// SPDX-License-Identifier: Apache-2.0
// Child picoprocesses.
#pragma once

#include "gate/table/common.hpp"

namespace postern::gate::schema {

inline constexpr Call kProcessCalls[] = {
    call(26, "DkProcessCreate", Group::process) + uri("uri", "the program, as a name in this picoprocess's routes") +
        Param{.name = "arguments",
              .type = Type::string_list,
              .optional = true,
              .doc = "argument vector, ended by null; null: the URI's name alone"} +
        Param{.name = "streams",
              .type = Type::handle_list,
              .unit = Unit::count,
              .kinds = kind_bit(ObjectKind::stream),
              .optional = true,
              .sized_by = "stream_count",
              .doc = "what the child finds as stdin:, stdout: and stderr:, each a pipe:, null: or standard "
                     "stream of the caller; kNoHandle: null:"} +
        in32("stream_count", "0 to 3", Domain::any, Unit::count) +
        new_handle("process", ObjectKind::process, "the child; signals when it has ended") + reason::kName +
        fails(Err::bad_handle, "a handle of `streams` is not open") +
        fails(Err::wrong_kind, "a handle of `streams` is no stream") +
        fails(Err::too_big, "the arguments exceed the host's limit") +
        fails(Err::no_quota, "the family's limit of processes is reached") +
        fails(Err::is_directory, "the name is a directory") +
        docs("Starts a fresh picoprocess with a library OS of its own: no memory, handle or thread of the caller is in "
             "it. Its routes are those of the caller."),

    call(27, "DkProcessGetExitCode", Group::process) + handle("process", ObjectKind::process, Right::wait, "a child") +
        out(Type::u32_pointer, "code", "what it gave to DkProcessExit; above 128 when the host ended it") +
        reason::kHandle + fails(Err::would_block, "the process has not ended") +
        fails(Err::bad_address, "`code` is not writable") + docs("Reads the exit code of a process that has ended."),

    call(28, "DkProcessExit", Group::process) + in32("code", "0 to 255; higher bits are dropped") + Returns::never +
        docs("Ends this picoprocess with all its threads."),

    call(29, "DkProcessFork", Group::process) +
        out(Type::fork_result, "result", "who the caller is, and in the parent who the child is") +
        fails(Err::bad_address, "`result` is not writable") + fails(Err::bad_argument, "unknown flags") +
        fails(Err::no_quota, "the family's limit of processes is reached") +
        fails(Err::no_memory, "the host lacks memory") +
        fails(Err::interrupted, "the wait for admission was interrupted") +
        docs("Makes a copy of the calling picoprocess: memory copy-on-write (shared memory and shared mappings stay "
             "shared), the same handles with the same numbers, and of the threads the calling one only. Returns in "
             "both; `is_child` tells which. With `kForkBare` in `result->flags` the child finds nothing between "
             "user_low and user_high, and the cost does not depend on the program's size: for a child that replaces "
             "its program.") +
        needed("DkProcessCreate starts empty. Building a Linux fork from it means sending the whole image over a "
               "stream, which costs time in proportion to its size and cannot keep memory or open streams shared."),
};

}  // namespace postern::gate::schema
