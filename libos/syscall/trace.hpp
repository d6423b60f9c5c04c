// SPDX-License-Identifier: Apache-2.0
// What is kept and written of system calls: --trace with its filters and formats, and the last calls of each thread for
// the report of a crash. All of it is decided before a call is described: what nobody wants costs a test of one bit.
#pragma once

#include "libos/syscall/decode.hpp"
#include "libos/syscall/table.hpp"

namespace postern::libos {

enum class TraceFormat : u8 { text, json, chrome };

struct TraceSettings {
    bool calls = false;   ///< trace=calls
    bool recent = false;  ///< keep the last calls of each thread
    bool times = false;   ///< trace_times=1: the time before each line and how long the call took after it
    TraceFormat format = TraceFormat::text;
    u64 wanted[kCallLimit / 64] = {};  ///< trace_calls=: one bit per call
    u32 path_count = 0;
    std::string_view paths[16];  ///< trace_path=: only calls that name one of these, or something below it
};
extern TraceSettings g_trace;

/// Understands one line of LibOsParameters::options that begins with "trace"; others are left alone.
void read_trace_option(std::string_view line);
/// Once, before the first call: what the format wants at its start.
void begin_trace();

/// The last calls of a thread, oldest overwritten first. Private memory of the thread's picoprocess.
struct RecentCalls {
    static constexpr u32 kCount = 16;
    struct Call {
        u64 arguments[6];
        u64 result;
        u32 number;
        u32 returned;  ///< 0: it has not
    };
    Call calls[kCount];
    u64 count;  ///< calls so far; the newest is at (count - 1) % kCount
};
/// exit_thread: gives back what the thread kept.
void drop_recent_calls(Thread& thread);

/// One call that somebody wants to know of, from before it is served until after.
class TracedCall {
public:
    /// Prints calls that do not return at once.
    TracedCall(Thread& thread, u64 number, Arguments arguments);
    /// `result` as in rax.
    void returned(u64 result);
    /// The call ended a vfork context: the thread is the parent's again, and the result is its vfork's.
    void resumed(u64 result);

private:
    void put_record(u64 result, bool has_result);
    void print_text(const char* ending);

    Thread& thread_;
    u64 number_;
    Arguments arguments_;
    RecentCalls::Call* recent_ = nullptr;
    bool wanted_;
    u32 shown_ = 0;
    u64 started_ = 0, wall_ = 0;  ///< Clock::monotonic and Clock::realtime, where the format wants them
    TextBuffer<2600> line_;       ///< text: the line so far; otherwise: the arguments as JSON
};

CallText call_text(u64 number);
/// Would the call be printed? What the constructor asks, for the dispatcher to ask before.
inline bool call_is_wanted(u64 number) {
    return g_trace.calls && (number >= kCallLimit || (g_trace.wanted[number / 64] >> (number % 64) & 1) != 0);
}

}  // namespace postern::libos
