// SPDX-License-Identifier: Apache-2.0
// What entry knows of its picoprocess, and its lock.
#pragma once

#include <string_view>

#include "gate/abi.hpp"
#include "gate/personality.hpp"
#include "host/linux/layout.hpp"
#include "host/linux/protocol.hpp"

namespace postern::host {

/// From argv[1]; see protocol.hpp.
struct Config {
    u32 version = 0;
    char working_directory[kMaxPath] = "/";
    u64 memory_limit = 0;
    u64 process_limit = 0;
    u32 user_id = 0, group_id = 0;
    u32 host_user_id = ~0u, host_group_id = ~0u;  ///< shown as user_id/group_id in attributes
    u64 arena_size = 0;
    u32 listener = 1;
    u32 landlock = 1;
    u32 signal_scope = 1;      ///< 0: tgkill goes to the monitor
    u32 killable_receive = 1;  ///< 0: pretend that the kernel lacks WAIT_KILLABLE_RECV
    u32 patch = 1;             ///< 0: never patch, every system call traps
    u32 trace_gate = 0;
    u32 processors = 0;  ///< as many at most are shown; 0: all that there are
    u32 stats = 0;       ///< 1: somebody reads the counters in RequestHeader
    u32 ahead = 0;       ///< 1: the descriptors of foreseen answers are open
    char options[8192] = "";
};
extern Config g_config;
/// False on a malformed text.
bool parse_config(const char* text, Config& config);

struct ProcessState {
    RequestHeader* requests;
    const volatile Notice* notice;
    u64 time_page, time_page_size, time_page_image;
    u64 (*time_function)(long clock, void* timespec);  ///< in the time page; may be null
    u64 libos_low, libos_high;
    void (*libos_initialize)(const gate::LibOsParameters*);
    void (*libos_thread_start)(u64);
    u64 (*libos_exception)(const gate::ExceptionInfo*, u64);
    bool signal_scope;
    i32 arena_descriptor;
    i32 trace_descriptor;  ///< -1: none
    /// Foreseen answers whose descriptors are still to be had here. Forked picoprocesses have copies of both.
    u64 foreseen_files[ForeseenTable::kMost / 64];
};
extern ProcessState g_process;

/// Short critical sections of entry's own tables. Never taken in a signal handler; taken around fork.
class EntryLock {
public:
    void lock();
    void unlock();
    void reset() { word_ = 0; }

private:
    u32 word_ = 0;  // 0 free, 1 held, 2 held and waited for
};
class EntryGuard {
public:
    explicit EntryGuard(EntryLock& lock) : lock_{lock} { lock_.lock(); }
    ~EntryGuard() { lock_.unlock(); }
    EntryGuard(const EntryGuard&) = delete;
    EntryGuard& operator=(const EntryGuard&) = delete;

private:
    EntryLock& lock_;
};

// Places in kEntryHeap.
inline constexpr u64 kStartStack = kEntryHeap;
inline constexpr u64 kStartStackSize = 512 * 1024;
inline constexpr u64 kFirstThreadArea = kStartStack + kStartStackSize;  ///< the area of thread 0
inline constexpr u64 kHandleTable = kFirstThreadArea + 0x2'0000;
inline constexpr u64 kHandleTableSize = 0x40'0000;
inline constexpr u64 kSmallMemory = kHandleTable + kHandleTableSize;
inline constexpr u64 kSmallMemorySize = 0x1000'0000;
inline constexpr u64 kThreadAreas = kThreadHeap;  ///< the areas of the others
static_assert(kSmallMemory + kSmallMemorySize <= kNoticeBase);

/// In place of the handle table's entry 0, which is never used: what changes together shares a page, and a fork copies
/// each page that is changed after it.
struct HandleTableHead {
    EntryLock lock;
    u32 free_head;         ///< index of a free entry, 0: none
    u32 next_fresh;        ///< entries from here on were never used; 0 stands for 1
    u32 standard_uses[3];  ///< handles on descriptors 0 to 2
};
static_assert(sizeof(HandleTableHead) <= 64);
inline HandleTableHead& handle_table_head() { return *reinterpret_cast<HandleTableHead*>(kHandleTable); }
/// Host number of this picoprocess. Not before the thread control is there.
inline u32 process_id() { return static_cast<u32>(gate::thread_control()->token.value >> 32); }
/// Of the handle table, thread areas, small memory.
inline EntryLock& entry_lock() { return handle_table_head().lock; }

/// Writes to descriptor 2 and ends the picoprocess with status 125.
[[noreturn]] void fail(std::string_view message, long error = 0);
void write_error(std::string_view text);

/// The one translation of the kernel's errors (positive errno) into the gate's.
gate::Err to_gate_error(long error);
/// For results of host calls: ok for values, the error for -errno.
inline gate::Err gate_result(long result) { return result >= 0 ? gate::Err::ok : to_gate_error(-result); }

}  // namespace postern::host
