// SPDX-License-Identifier: Apache-2.0
// How the host part inside a picoprocess asks the monitor: a slot in a shared memory file and a doorbell.
//
// The asking side fills a slot and rings kDoorbellCall with the slot's number: a system-call number that no kernel
// implements and that the filter turns into a seccomp notification (seccomp_unotify(2)). The monitor copies the slot
// once, checks the copy, acts, writes the reply into the slot and answers the notification; a descriptor is injected
// with SECCOMP_IOCTL_NOTIF_ADDFD and its number is the call's result. Everything the asking side wrote may be hostile
// and may change while it is read; everything the monitor writes here is advice for the guest's own good only.
#pragma once

#include "base/types.hpp"
#include "gate/types.hpp"

namespace postern::host {

inline constexpr u32 kProtocolVersion = 1;
inline constexpr u64 kDoorbellCall = 184;  ///< tuxcall: never implemented by x86-64 Linux
inline constexpr u32 kSlotCount = 256;
inline constexpr u32 kSlotSize = 12288;
inline constexpr u32 kMaxPath = 4096;      ///< bytes of a name with its NUL, as PATH_MAX

/// What is asked. Numbers are this build's own (both sides come from one build).
enum class Ask : u32 {
    none,
    open,             ///< name, access, mode, create, options -> descriptor, attributes, canonical name
    attributes,       ///< name, options -> attributes, canonical name; for links with kOpenLink: target in `text`
    attributes_set,   ///< name, options, mask, attributes
    remove,           ///< name, flag: directory
    rename,           ///< name, second name, flags
    link,             ///< name: the new link, second: target, flag: LinkKind
    memory,           ///< size -> a fresh sealed memory file
    pipe,             ///< -> two descriptors (read end result, write end in `second_descriptor`)
    process_create,   ///< uri and arguments: an empty picoprocess (DkProcessCreate)
    process_wait,     ///< host process number -> exit code when ended, else would_block
    random,           ///< reserved
    log,              ///< text for the user's log: an absent system call, once by name
    exited,           ///< the process that asks is about to end: final counters
    named_pipe,       ///< pipe.server:/pipe.client: name -> descriptor
};

/// Request and reply share the slot: requests are read before replies are written.
struct Slot {
    u32 owner;         ///< futex word of the family: 0 free, else the host thread number that uses it
    Ask ask;
    u32 access, mode, create, options;   // as DkStreamOpen
    u32 flags, mask;
    u64 size;
    u32 name_length, second_length;      ///< without NUL; `names` holds both, each with a NUL
    gate::Attributes attributes;         ///< in for attributes_set, out for open and attributes
    // reply
    gate::Err error;
    u32 host_error;                      ///< the kernel's errno, for logs
    i32 second_descriptor;
    u32 text_length;                     ///< out: canonical name or link target in `names`
    u64 value;                           ///< out: process number, exit code, ...
    u32 cache;                           ///< out: 1 if the answer may be kept for ever (immutable route)
    u32 reserved[7];
    char names[2 * kMaxPath];
};
static_assert(sizeof(Slot) <= kSlotSize);

/// Start of the request file; slots follow at kSlotOffset. Counters are what picoprocesses say of themselves.
struct RequestHeader {
    u32 version;
    u32 next_slot;      ///< hint for the search
    u32 free_waiters;
    u32 reserved;
    u64 system_calls, gate_calls, host_calls;  ///< sums over ended threads, for --stats
    u64 traps, patches;
};
inline constexpr u64 kSlotOffset = 4096;
inline constexpr u64 kRequestFileSize = kSlotOffset + u64{kSlotCount} * kSlotSize;

/// Written by the monitor, mapped read-only by picoprocesses.
struct Notice {
    u32 version;
    u32 stopping;       ///< not 0: the family is being ended
    u32 reserved[14];
    u32 deaths[1001];   ///< gate::LibOsParameters::deaths
};
inline constexpr u64 kNoticeFileSize = 8192;

/// How the launcher describes a start to entry: argv[1] of the entry image, "key=value;" pairs:
///   v=<version>;cwd=<percent-encoded>;mem=<bytes>;pids=<n>;uid=<n>;gid=<n>;arena=<bytes>;opt=<percent-encoded>;
///   listen=<0|1>;landlock=<0|1>;tgkill=<scope|notify>;
/// argv[2...] are the program's own argument vector (argv[2] its path or name), envp its environment.

/// First message on kFdBoot, from entry: `BootMessage` with the listener as SCM_RIGHTS. The monitor answers one byte.
struct BootMessage {
    u32 version;
    u32 process_id;
    u32 error;      ///< errno of the step that failed, 0: ready
    u32 step;
};

}  // namespace postern::host
