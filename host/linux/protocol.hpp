// SPDX-License-Identifier: Apache-2.0
// How the host part inside a picoprocess asks the monitor: a slot in a shared memory file and a doorbell.
//
// The asking side fills a slot and rings kDoorbellCall with the slot's number: a system-call number that no kernel
// implements and that the filter turns into a seccomp notification (seccomp_unotify(2)). The monitor copies the slot
// once, checks the copy, acts, writes the reply into the slot and answers the notification; a descriptor is injected
// with SECCOMP_IOCTL_NOTIF_ADDFD and its number is the call's result. Everything the asking side wrote may be hostile
// and may change while it is read; everything the monitor writes here is advice for the guest's own good only.
#pragma once

#include "base/hash.hpp"
#include "base/types.hpp"
#include "gate/types.hpp"

namespace postern::host {

inline constexpr u32 kProtocolVersion = 1;
inline constexpr u64 kDoorbellCall = 184;  ///< tuxcall: never implemented by x86-64 Linux
inline constexpr u32 kSlotCount = 256;
inline constexpr u32 kSlotSize = 12288;
inline constexpr u32 kMaxPath = 4096;  ///< bytes of a name with its NUL, as PATH_MAX

/// Names in slots are URIs as the gate has them ("file:/etc/passwd", "pipe.server:x"): `names` holds the first with its
/// NUL and after it the second with its NUL. File names are absolute, and may contain `.`, `..`, repeated and trailing
/// slashes and symbolic links: the monitor resolves all of them in the view. Canonical names in replies are plain view
/// paths ("/etc/passwd"), without a scheme.
///
/// Result of the doorbell call: a descriptor when ReplyFlags::kReplyDescriptor is set, else 0; -EINVAL for a slot
/// number that does not exist; -ENOSYS when the monitor is gone. `error` in the slot says how the request itself went.
/// Numbers are this build's own (both sides come from one build).
enum class Ask : u32 {
    none,
    open,            ///< name, access, mode, create, options -> descriptor, attributes, canonical name.
                     ///< kOpenLink: attributes and the link's target in `names` after the canonical name, no
                     ///< descriptor. A directory that exists only because routes lie below it has no descriptor
                     ///< either (kReplySynthetic): its names come from `list`
    attributes,      ///< name, options -> attributes, canonical name; for links with kOpenLink or kOpenNoFollow: the
                     ///< link's own attributes, its target in `names` after the canonical name's NUL, second_length
    attributes_set,  ///< name, options, mask, attributes
    remove,          ///< name, flags: 1 directory
    rename,          ///< name, second name, flags: gate::RenameFlags
    link,            ///< name: the new link, second: target (hard: a URI; symbolic: any text), flags: gate::LinkKind
    memory,          ///< size -> a fresh sealed memory file
    pipe,            ///< -> two descriptors (read end result, write end in `second_descriptor`)
    process_create,  ///< name: program, second_length bytes of NUL-terminated arguments after it (argv[0] first):
                     ///< a fresh picoprocess (DkProcessCreate) -> value: its host process number. Its descriptors
                     ///< 0 to 2: byte i of `mask` is a StreamKind, and for pipes the number of the pipe (st_ino) is in
                     ///< attributes.identity, .volume and .size for i = 0, 1 and 2
    process_wait,    ///< value: host process number -> value: exit code (128+n after signal n), would_block while it
                     ///< runs, not_found when it never was of the family
    random,          ///< reserved
    log,             ///< name: text for the user's log; flags: LogKind
    exited,          ///< the process that asks is about to end: final counters
    named_pipe,      ///< flags: NamedPipe. Serve: name -> a descriptor that delivers one connection number of eight
                     ///< bytes for each client; connect: name -> the connection (a stream both ways; not_found without
                     ///< a server); accept: size: connection number -> the server's side of it
    lock,   ///< attributes: volume and identity of the file, flags: 0 unlock, 1 shared, 2 exclusive, size: offset,
            ///< value: length (0: to the end), options: the handle. would_block when another holder conflicts.
            ///< Advisory and known to the family alone; ends with the process
    list,   ///< directory name, size: position (0 first) -> gate::DirectoryRecords in `names` (text_length
            ///< bytes), value: next position, kReplyMore. See kReplyOverlay
    tree,   ///< DkStreamList. Directory name, options: gate::ListOptions, size: cookie -> gate::ListRecords in `names`
            ///< (text_length bytes), behind them a NUL and the canonical name (second_length), value: next cookie,
            ///< attributes. After errors `names` has the canonical name, as for other requests
    usage,  ///< second_length bytes of host process numbers (u32) after an empty name -> gate::MembersUsage in `names`,
            ///< text_length bytes. would_block: one of them is ending; who never was of the family counts nothing
};
inline constexpr u32 kAskCount = 19;

enum StreamKind : u8 {
    kStreamInherit = 0,  ///< the family's own standard stream of that number
    kStreamNull = 1,
    kStreamPipeRead = 2,  ///< an end of a pipe that Ask::pipe made
    kStreamPipeWrite = 3,
    kStreamInput = 4,  ///< the family's own standard input, output, error
    kStreamOutput = 5,
    kStreamError = 6,
};

enum NamedPipe : u32 { kNamedPipeServe = 1, kNamedPipeConnect = 2, kNamedPipeAccept = 3 };

enum ReplyFlags : u32 {
    kReplyDescriptor = 1,  ///< the call's result is a descriptor
    kReplySynthetic = 2,   ///< a directory made of routes only: no descriptor
    kReplyOverlay = 4,     ///< names in this directory come from other routes, too. To enumerate: first all records of
                           ///< Ask::list, then the descriptor's (if any) but for names that Ask::list gave. A listed
                           ///< record of type kListHidden is left out of the result in both
    kReplyInside = 8,      ///< with Err::not_found: the name leads (perhaps through links of the host) into a tree that
                           ///< the library OS serves itself; `names` has the path to resolve there
    kReplyMore = 16,       ///< Ask::list: call again with `size` = `value`
    kReplyStream = 32,     ///< the descriptor is a standard stream
    kReplyBare = 64,       ///< gate::kNameBare, where the answer may be kept
    kReplyPinned = 128,    ///< gate::kNamePinned
};
inline constexpr u8 kListHidden = 255;

enum class LogKind : u32 {
    text,         ///< a line for --verbose
    absent_call,  ///< name of a system call that the library OS lacks; reported once
    failure,      ///< why the program could not be started, or what ended it: shown to the user
};

/// Request and reply share the slot: requests are read before replies are written.
struct Slot {
    u32 owner;  ///< futex word of the family: 0 free, else the host thread number that uses it
    Ask ask;
    u32 access, mode, create, options;  // as DkStreamOpen
    u32 flags, mask;
    u64 size;
    u32 name_length, second_length;  ///< without NUL; `names` holds both, each with a NUL
    gate::Attributes attributes;     ///< in for attributes_set, out for open and attributes
    // reply
    gate::Err error;
    u32 host_error;  ///< the kernel's errno, for logs
    i32 second_descriptor;
    u32 text_length;  ///< out: length of the canonical name in `names`; its NUL follows
    u64 value;        ///< in/out: process number, exit code, ...
    u32 cache;        ///< out: 1 if the answer, also a negative one, may be kept for ever
    u32 reply_flags;  ///< out: ReplyFlags
    u32 sequence;     ///< in: not 0; the same when a request is rung again because a signal cut it off
    u32 reserved[5];
    char names[2 * kMaxPath];
};
static_assert(sizeof(Slot) <= kSlotSize);

/// What the first picoprocess whose host part or library OS failed says of it. Numbers only: the monitor looks their
/// names up in its own images.
inline constexpr u32 kFaultPlaces = 24;
struct FaultRecord {
    u32 claimed, complete;
    u32 process, signal;  ///< host numbers
    u64 address;
    u32 count, reserved;
    u64 places[kFaultPlaces];  ///< the instruction, then what on the stack looks like return addresses, innermost first
};

/// Start of the request file; slots follow at kSlotOffset. Counters are what picoprocesses say of themselves.
struct RequestHeader {
    u32 version;
    u32 unused;
    u32 free_waiters;
    u32 reserved;
    u64 system_calls, gate_calls, host_calls;  ///< sums over ended threads, for --stats
    u64 traps, patches;
    /// System calls at which forked children trapped: what their parents may patch before they fork again. Advice, and
    /// only of a parent's own children.
    u32 hint_count;  ///< written so far; the last kHintCount are there
    u32 reserved2;
    struct Hint {
        u32 parent;      ///< host number; written last
        u32 generation;  ///< of the parent's code
        u64 site;        ///< address in the low 48 bits, number of the call above
    } hints[32];
    FaultRecord fault;
    u32 limits_met;  ///< gate::Limit bits: what the user is told at the end. Advice
};
inline constexpr u32 kHintCount = 32;
inline constexpr u64 kSlotOffset = 4096;
static_assert(sizeof(RequestHeader) <= kSlotOffset);

/// What tells questions of the same name apart, of those that are foreseen.
struct ForeseenQuestion {
    Ask ask = Ask::none;
    u32 access = 0, options = 0;
    u64 position = 0;  ///< Slot::size
    bool operator==(const ForeseenQuestion&) const = default;
};
/// Never 0.
inline u32 hash_of_question(const ForeseenQuestion& question, std::string_view name) {
    u64 start = kHashStart ^ static_cast<u32>(question.ask) ^ u64 { question.access } << 8 ^
                u64 { question.options } << 32 ^ question.position;
    u64 hash = hash_of(name, start);
    hash ^= hash >> 29;
    return static_cast<u32>(hash) == 0 ? 1 : static_cast<u32>(hash);
}

/// A question that the monitor answered before it was asked: it remembers what earlier starts of the program asked
/// (monitor/foresight.hpp). Only answers with `cache` are among these, so that they hold as long as the family lives.
/// Behind the record come the question's name, the answer's text and the second one, each with a NUL.
struct ForeseenAnswer {
    u32 size;  ///< with the names, a multiple of 8
    u32 used;  ///< set by who takes the answer. Advice
    ForeseenQuestion question;
    u32 name_length;
    gate::Err error;
    u32 host_error;
    i32 descriptor, second_descriptor;  ///< in the first picoprocess and those that it forks; -1: none
    u32 text_length, second_length;
    u32 reply_flags, reserved;
    u64 value;
    gate::Attributes attributes;
};
/// Behind the slots, written before the first picoprocess starts. A question's place is the first with its hash, from
/// where the hash says on; 0 ends the search.
struct ForeseenTable {
    static constexpr u32 kMost = 512;     ///< answers
    static constexpr u32 kPlaces = 1024;  ///< a power of two
    u32 count;
    u32 reserved;
    struct Place {
        u32 hash;    ///< not 0
        u32 offset;  ///< of the answer, from the table's start
        u32 number;  ///< of the answer, below kMost
    } places[kPlaces];
};
inline constexpr u64 kForeseenOffset = kSlotOffset + u64{kSlotCount} * kSlotSize;
inline constexpr u64 kForeseenSize = 512 << 10;
inline constexpr u64 kRequestFileSize = kForeseenOffset + kForeseenSize;

/// Written by the monitor, mapped read-only by picoprocesses.
struct Notice {
    u32 version;
    u32 stopping;  ///< not 0: the family is being ended
    u32 reserved[14];
    u32 deaths[1001];  ///< gate::LibOsParameters::deaths
};
inline constexpr u64 kNoticeFileSize = 8192;

/// How the launcher describes a start to entry: argv[1] of the entry image, "key=value;" pairs:
///   v=<version>;cwd=<percent-encoded>;mem=<bytes>;pids=<n>;uid=<n>;gid=<n>;arena=<bytes>;opt=<percent-encoded>;
///   listen=<0|1>;landlock=<0|1>;tgkill=<scope|notify>;killable=<0|1>;patch=<0|1>;trace=<gate>;stats=<0|1>;
///   ahead=1 (the descriptors of foreseen answers are there);cpus=<n> (show at most so many
///   processors);huid=<n>;hgid=<n> (the host's numbers that are shown as uid and gid in attributes of open streams)
/// Unknown keys are ignored, so that older entries accept newer launchers.
///
/// The doorbell's result is the injected descriptor for requests that give one, else 0. When Slot::error is not ok no
/// descriptor is injected. Names are whole URIs ("file:/etc/hosts"). Slot::owner is the asking process's number.
/// The monitor wakes waiters on the word Notice::deaths[0] (futex, shared) when it adds to the list.
/// `opt` is handed on to the library OS (LibOsParameters::options): lines "key=value". Those of the monitor:
///   private=<path>   a tree kept in memory by the library OS (one line each)
///   served=<path>    a tree synthesised by the library OS (/proc, /dev, /sys)
///   host=<path>      a name below a private or served tree that leads to the host all the same: ask for it
///   disk=<bytes>     what private trees may hold     file_limit=<bytes>  how large a file of the host may become
///   trace=calls|gate  verbose=1  home=<path>  out=<kinds of descriptors 0, 1 and 2: f file, p pipe, t terminal, n
///   null>
/// A name is served inside when its longest line here is `private` or `served`.
/// argv[2...] are the program's own argument vector (argv[2] its path or name), envp its environment.

/// Sent to every picoprocess (host signal number) when Notice::deaths has grown by one that did not end by itself.
inline constexpr int kSignalDeaths = 63;
/// Stands for SIGCONT (SIGURG, which nobody sends and which is harmless to who has no handler yet). SIGCONT itself is
/// ignored: the monitor stops and continues picoprocesses without their programs' noticing (--cpus).
inline constexpr int kSignalContinue = 23;

/// First message on kFdBoot, from entry: `BootMessage` with the listener as SCM_RIGHTS. It is not answered.
struct BootMessage {
    u32 version;
    u32 process_id;
    u32 error;  ///< errno of the step that failed, 0: ready
    u32 step;
};

}  // namespace postern::host
