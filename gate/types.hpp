// SPDX-License-Identifier: Apache-2.0
// Types that cross the gate: errors, handles, streams, waits. No Linux type and no errno appears here.
#pragma once

#include "base/result.hpp"
#include "base/types.hpp"

namespace postern::gate {

/// The closed set of errors. The order is ABI: codes are appended, never moved.
enum class Err : u32 {
    ok = 0,
    bad_handle,      ///< the handle is not open
    wrong_kind,      ///< the handle is open but names another kind of object
    denied,          ///< the handle lacks the right, or the route grants less than was asked
    bad_argument,    ///< a value is outside its documented range
    bad_address,     ///< a buffer is not accessible to the caller
    no_memory,       ///< physical memory or address space is exhausted
    no_quota,        ///< the family's limit of the resource is reached
    not_found,       ///< no object of that name
    exists,          ///< an object of that name exists, or the address range is taken
    not_directory,   ///< a component of the name is not a directory
    is_directory,    ///< the name is a directory and the call needs something else
    not_empty,       ///< the directory has entries
    too_many_links,  ///< too many symbolic links on the way, or hard links to one file
    name_too_long,   ///< a name or component exceeds its limit
    cross_device,    ///< the two names live under different routes
    read_only,       ///< the route is read-only
    no_space,        ///< the provider's storage is full
    too_big,         ///< the size exceeds what the provider can hold
    busy,            ///< the object is in use in a way that forbids the call
    io,              ///< the provider reported a failure
    would_block,     ///< nothing available now and the stream is non-blocking
    interrupted,     ///< DkThreadInterrupt or an exception ended the wait
    timed_out,       ///< the deadline passed
    closed,          ///< the other side is gone
    unsupported,     ///< this host does not implement the call for this object
    not_seekable,    ///< the stream has no positions
    bad_state,       ///< the object is in a state that forbids the call
};
inline constexpr u32 kErrCount = static_cast<u32>(Err::bad_state) + 1;

/// `code` for programs; `detail` is the host's own code or a byte offset, for logs only.
struct Error {
    Err code = Err::ok;
    u32 detail = 0;
};
template <class T>
using Res = Result<T, Err>;

/// A picoprocess's number for a capability. 0 is never a handle.
using Handle = u32;
inline constexpr Handle kNoHandle = 0;

/// Absolute deadline in nanoseconds on Clock::monotonic.
using Deadline = u64;
inline constexpr Deadline kForever = ~0ull;
inline constexpr Deadline kPoll = 0;  ///< do not wait

enum class ObjectKind : u8 { none, stream, directory, event, semaphore, process, thread, channel };

enum class Right : u16 {
    none = 0,
    read = 1,
    write = 2,
    execute = 4,
    enumerate = 8,
    change = 16,  ///< set attributes, rename, delete
    signal = 32,
    wait = 64,
    all = 127,
};
constexpr Right operator|(Right a, Right b) { return static_cast<Right>(static_cast<u16>(a) | static_cast<u16>(b)); }
constexpr bool has(Right set, Right wanted) {
    return (static_cast<u16>(set) & static_cast<u16>(wanted)) == static_cast<u16>(wanted);
}

// Memory ---------------------------------------------------------------------------------------------------------

enum Prot : u32 { kProtNone = 0, kProtRead = 1, kProtWrite = 2, kProtExecute = 4 };

enum AllocFlags : u32 {
    kAllocReserve = 1,  ///< take the addresses, no memory: access faults
    kAllocCommit = 2,   ///< zeroed memory on first touch
    kAllocReplace = 4,  ///< replace whatever is mapped there (else Err::exists)
    kAllocShared = 8,   ///< shared with picoprocesses that fork from this one
    kAllocPopulate = 16,
};
enum class FreeKind : u32 {
    release = 0,    ///< the addresses become free
    decommit = 1,   ///< contents are dropped; next touch reads zero (or the file)
    lazy = 2,       ///< contents may be dropped when memory is short
    remove = 3,     ///< shared stream mapping: the backing storage is given back and reads zero
    will_need = 4,  ///< a hint that the range is used soon
};

// Streams --------------------------------------------------------------------------------------------------------

enum Access : u32 { kAccessRead = 1, kAccessWrite = 2, kAccessAppend = 4, kAccessExecute = 8 };
enum Create : u32 {
    kCreateNever = 0,   ///< must exist
    kCreateTry = 1,     ///< open or create
    kCreateAlways = 2,  ///< must not exist
};
enum OpenOptions : u32 {
    kOpenNonBlocking = 1,
    kOpenNoFollow = 2,        ///< do not follow a symbolic link in the last component (Err::too_many_links)
    kOpenDirectory = 4,       ///< must be a directory
    kOpenLink = 8,            ///< open the symbolic link itself; reading gives its target
    kOpenTruncate = 16,       ///< length becomes 0
    kOpenMakeDirectory = 32,  ///< with kCreateAlways: make a directory
    kOpenTemporary = 64,      ///< an unnamed file in the named directory
    kOpenMakeFifo = 128,      ///< with kCreateAlways: make a name of type StreamType::pipe. Nothing comes through it
};

enum class StreamType : u32 { unknown, file, directory, symlink, pipe, pipe_server, null, memory, character, socket };

struct Time {
    i64 seconds = 0;
    u32 nanoseconds = 0;
    u32 reserved = 0;
};

/// A file's machine code made ready by the host, so that its system calls need not trap (DkStreamMap, kMapPrepared).
/// What a mapping with that flag sees is `code_size` bytes of code that the text jumps to and, behind them, what the
/// file holds at `offset`. The two belong at addresses that are `distance` bytes apart, the code below.
struct PreparedText {
    u64 offset = 0;     ///< in the file, page aligned
    u64 size = 0;       ///< bytes, whole pages; 0: nothing is prepared
    u64 code_size = 0;  ///< bytes, whole pages
    u64 distance = 0;   ///< from the code's address to the text's
};

/// What is known of a named object. Fixed layout; grows only at the end.
struct Attributes {
    StreamType type = StreamType::unknown;
    u32 mode = 0;       ///< POSIX permission bits including set-id and sticky, no type bits
    u64 size = 0;       ///< bytes
    u64 allocated = 0;  ///< bytes of storage in use
    u64 identity = 0;   ///< number of the object, unique per `volume`
    u64 volume = 0;     ///< number of the volume
    u32 links = 0;
    u32 owner = 0;
    u32 group = 0;
    u32 block_size = 4096;
    u32 rights = 0;  ///< Right bits that the route grants
    u32 stable = 0;  ///< 1: contents and names do not change while the picoprocess lives (immutable route)
    Time accessed, modified, changed, born;
    /// Where the name led. The caller may lend a buffer to calls that take a URI; it and its size stay as they are.
    /// Filled in after errors, too, when name_flags is not 0. Calls that know nothing leave the lengths and flags 0.
    char* name = nullptr;   ///< in: gets the canonical name, a NUL, then for links the target and a NUL
    u32 name_capacity = 0;  ///< in: bytes; what does not fit is left out and its length is 0
    u32 name_length = 0;    ///< out: bytes of the canonical name: absolute, without scheme, links and dots resolved
    u32 target_length = 0;  ///< out: bytes of a symbolic link's target
    u32 name_flags = 0;     ///< out: NameFlags
    PreparedText prepared;  ///< out: of a stable file, when it is opened with the right to execute
};

/// All of `from` but its name: `lent` keeps the buffer that the caller gave, with no name in it yet.
inline void assign_lent(Attributes& lent, const Attributes& from) {
    char* name = lent.name;
    u32 capacity = lent.name_capacity;
    lent = from;
    lent.name = name;
    lent.name_capacity = capacity;
    lent.name_length = lent.target_length = 0;
}

enum NameFlags : u32 {
    kNameInside = 1,     ///< with Err::not_found: the name leads into a tree that the guest serves itself; `name` there
    kNameCacheable = 2,  ///< the answer, also a refusal, holds as long as the picoprocess lives
    kNameSynthetic = 4,  ///< a directory that exists only because routes lie below it
    kNameBare = 8,       ///< as cacheable, and no rule has anything to say below this name: what a whole listing of the
                         ///< directory lacks does not exist, and below a name that is not found there is nothing
    kNamePinned = 16,    ///< the canonical name leads to this very directory as long as the picoprocess lives, although
                         ///< what is in it may change
};

enum AttributeMask : u32 {
    kSetMode = 1,
    kSetOwner = 2,
    kSetGroup = 4,
    kSetAccessed = 8,
    kSetModified = 16,
    kSetAccessedNow = 32,
    kSetModifiedNow = 64,
};

/// One record of DkStreamEnumerateChildren; records are 8-byte aligned, `size` leads to the next.
struct DirectoryRecord {
    u64 identity;
    u64 cookie;  ///< position after this record
    u16 size;    ///< bytes of this record
    u8 type;     ///< StreamType
    u8 name_length;
    char name[4];  ///< name_length bytes and a NUL
};

/// DkStreamList.
enum ListOptions : u32 {
    kListBelow = 1,       ///< not its own names: lists of the directories in it, and below them, as many as fit
    kListWhole = 2,       ///< Err::too_big when the directory is larger than one answer
    kListAttributes = 4,  ///< with attributes of each name
    kListFew = 8,         ///< with attributes of each name where there are few names
};
inline constexpr u64 kListBuffer = 8192;  ///< bytes that one answer takes at most

/// One record of DkStreamList: a name of the directory, or, with kListedDirectory, the start of another directory's
/// list. Records are 8-byte aligned and have `size` bytes: this, ListedAttributes with kListedAttributes, the name, a
/// NUL, with attributes of a symbolic link its target and a NUL.
struct ListRecord {
    u64 identity;
    u64 cookie;  ///< position after this record
    u16 size;
    u16 name_length;
    u16 target_length;
    u8 type;   ///< StreamType
    u8 flags;  ///< ListedFlags
};
enum ListedFlags : u8 {
    kListedDirectory = 1,   ///< what follows lies in this directory; its name is relative to the one asked about
    kListedAttributes = 2,  ///< always with kListedDirectory
    kListedLarge = 4,       ///< with kListedDirectory: larger than one answer, its list is not here
};
/// Fields as in Attributes; what is missing there is as the directory that was asked about has it.
struct ListedAttributes {
    u64 size, allocated, volume;
    u32 mode, links, owner, group;
    u32 block_size, reserved;
    Time accessed, modified, changed;
};

enum class LengthChange : u32 { truncate, allocate, allocate_keep_size, punch_hole, zero_range, collapse, insert };

enum class LinkKind : u32 { hard, symbolic };

/// DkStreamLock. Locks belong to the open stream, not to the picoprocess: closing the last handle releases them.
enum LockMode : u32 { kLockNone = 0, kLockShared = 1, kLockExclusive = 2 };

/// DkStreamChangesRegister: what sets the event.
enum ChangeFilter : u32 {
    kChangeContents = 1,    ///< a file was written or its length changed
    kChangeNames = 2,       ///< a name in the directory was made, removed or renamed
    kChangeAttributes = 4,  ///< mode, owner, times or link count changed
};

// Waiting --------------------------------------------------------------------------------------------------------

enum ReadyBits : u32 { kReadyRead = 1, kReadyWrite = 2, kReadyError = 4, kReadyHangup = 8, kReadyPriority = 16 };

struct WaitItem {
    Handle handle;  ///< kNoHandle entries are skipped
    u32 want;       ///< ReadyBits
    u32 got;        ///< filled in: ReadyBits; error and hang-up are always reported
    u32 reserved;
};

enum AddressFlags : u32 {
    kAddressPrivate = 0,   ///< only threads of this picoprocess
    kAddressShared = 1,    ///< the word lies in shared memory of the family
    kAddressRealtime = 2,  ///< the deadline is on Clock::realtime
};

enum class Clock : u32 {
    realtime,
    monotonic,
    boottime,
    process_cpu,
    thread_cpu,
    realtime_coarse,
    monotonic_coarse,
    monotonic_raw,
    tai
};

enum class TimerKind : u32 { monotonic, process_cpu_user, process_cpu };

// Threads --------------------------------------------------------------------------------------------------------

/// Names a thread of the family for DkThreadInterrupt. Opaque; valid in every picoprocess of the family.
struct ThreadToken {
    u64 value = 0;
};

enum ForkFlags : u32 {
    kForkBare = 1,  ///< the child gets nothing of what is mapped from user_low to user_high
};

struct ForkResult {
    u32 is_child = 0;
    u32 flags = 0;               ///< in: ForkFlags; out: 0
    ThreadToken self;            ///< the calling (in the child: the only) thread
    ThreadToken child;           ///< in the parent: the child's thread
    Handle process = kNoHandle;  ///< in the parent: signals when the child has ended
    u32 child_id = 0;            ///< host number of the child process, as in the deaths list
};

enum class ExceptionKind : u32 {
    none,
    access_violation,  ///< `address` was not accessible; `flags` bit0 write, bit1 execute, bit2 mapped but protected
    bus_error,         ///< `address` is mapped but the stream behind it is shorter
    arithmetic,
    illegal_instruction,
    breakpoint,
    single_step,
    alignment,
    stack_fault,
    interrupt,  ///< DkThreadInterrupt, a timer, or the host asks for attention: `external` says what
};

/// Requests from outside (a user's Ctrl-C, a limit, the end). Bits in ExceptionInfo::external.
enum ExternalRequest : u32 {
    kExternalInterrupt = 1,
    kExternalTerminate = 2,
    kExternalHangup = 4,
    kExternalQuit = 8,
    kExternalWindow = 16,
    kExternalTimer = 32,
    kExternalCpuTimer = 64,
    kExternalUser1 = 128,
    kExternalUser2 = 256,
    kExternalContinue = 512,
    kExternalStop = 1024,
    kExternalProfileTimer = 2048,
    kExternalDeaths = 4096,  ///< the host's list of ended picoprocesses has grown
};

struct ExceptionInfo {
    ExceptionKind kind = ExceptionKind::none;
    u32 flags = 0;
    u64 address = 0;
    u32 trap = 0;  ///< processor's vector
    u32 error_code = 0;
    u32 detail = 0;    ///< arithmetic: host's sub-code
    u32 external = 0;  ///< ExternalRequest bits
};

}  // namespace postern::gate
