// SPDX-License-Identifier: Apache-2.0
// A tiny guest without a library OS: checks that speak to the gate alone. The same images run on every host.
//
// A case is a function that checks; cases are found by the linker. The guest prints one line per case to stdout: and
// ends with code 0 when all held. An argument selects the cases whose name contains it.
#pragma once

#include "base/format.hpp"
#include "base/memory.hpp"
#include "gate/abi.hpp"
#include "gate/checks.hpp"
#include "gate/generated/client.hpp"
#include "gate/personality.hpp"

namespace guest {

using namespace postern;
using namespace postern::gate;

extern const Calls* g_calls;
extern const LibOsParameters* g_parameters;
inline Client gate() { return Client{g_calls}; }

struct Case {
    const char* name;
    void (*run)();
};

/// A failed check: says where and with what. The case goes on unless it was REQUIREd.
void report(const char* file, int line, const char* what, std::string_view detail);
const char* err_name(Err error);
template <class T>
Err err_of(const Res<T>& result) {
    return result.ok() ? Err::ok : result.error();
}
inline Err err_of(Err error) { return error; }
bool check_err(const char* file, int line, const char* what, Err got, Err wanted);
/// For notes in the output that are no failures: a feature that this host's kernel lacks.
void note(std::string_view text);

#define GATE_CASE(identifier)                                                                                        \
    static void identifier();                                                                                        \
    [[gnu::section("gate_cases"), gnu::used]] static const ::guest::Case case_##identifier{#identifier, identifier}; \
    static void identifier()
#define CHECK(condition) ((condition) ? (void)0 : ::guest::report(__FILE__, __LINE__, #condition, {}))
#define CHECK_EQ(left, right) ::guest::check_equal(__FILE__, __LINE__, #left " == " #right, (left), (right))
#define CHECK_OK(expression) \
    ::guest::check_err(__FILE__, __LINE__, #expression, ::guest::err_of(expression), ::postern::gate::Err::ok)
#define CHECK_ERR(expression, wanted) \
    ::guest::check_err(__FILE__, __LINE__, #expression, ::guest::err_of(expression), ::postern::gate::Err::wanted)
#define REQUIRE(condition)                                       \
    do {                                                         \
        if (!(condition)) {                                      \
            ::guest::report(__FILE__, __LINE__, #condition, {}); \
            return;                                              \
        }                                                        \
    } while (false)
#define REQUIRE_OK(expression)               \
    do {                                     \
        if (!(CHECK_OK(expression))) return; \
    } while (false)
/// The value of a Result, or leaves the case.
#define GET(expression)                                                                                               \
    ({                                                                                                                \
        auto result_ = (expression);                                                                                  \
        if (!::guest::check_err(__FILE__, __LINE__, #expression, ::guest::err_of(result_), ::postern::gate::Err::ok)) \
            return;                                                                                                   \
        result_.take();                                                                                               \
    })

template <class T, class U>
bool check_equal(const char* file, int line, const char* what, const T& left, const U& right) {
    if (left == static_cast<T>(right)) return true;
    TextBuffer<96> text;
    text.add("got ", static_cast<u64>(left), ", wanted ", static_cast<u64>(right));
    report(file, line, what, text.view());
    return false;
}

// Memory -----------------------------------------------------------------------------------------------------------

/// Addresses that nobody else uses. Nothing is mapped there.
u64 fresh_range(u64 size);
/// Fresh committed read-write memory; ends the guest when there is none.
u8* fresh_memory(u64 size);

/// The fault that a probe ran into; kind none when it went well.
extern ExceptionInfo g_fault;
bool probe_read(u64 address, u8* value = nullptr);
bool probe_write(u64 address, u8 value);
/// Calls code at `address`, which returns at once (0xc3).
bool probe_execute(u64 address);

// Time and threads -------------------------------------------------------------------------------------------------

u64 now();  ///< Clock::monotonic, ns
inline constexpr u64 kMillisecond = 1'000'000;
inline Deadline in_ms(u64 milliseconds) { return now() + milliseconds * kMillisecond; }

struct Thread {
    void (*function)(void*) = nullptr;
    void* argument = nullptr;
    Handle handle = kNoHandle;
    ThreadToken token;
    u32 running = 0;  ///< the thread's `clear` word

    bool start(void (*function)(void*), void* argument);
    /// Waits until the stack is no longer in use.
    void join();
};
void sleep_ms(u64 milliseconds);
/// An interrupt stays pending until a personality takes it; without one the guest does.
inline void clear_interrupt() { thread_control()->pending = 0; }

/// Runs `function` in a forked picoprocess and gives its exit code; ~0 when that failed.
u32 in_child(u32 (*function)(void*), void* argument);

// Streams ----------------------------------------------------------------------------------------------------------

/// A directory that the tests may write to: the second argument of the guest, "/gate" by default.
const char* scratch();
/// The URI of a name below scratch(). `slot` 0..7: storage of the result.
const char* at(std::string_view name, u32 slot = 0);
Res<Handle> open(const char* uri, u32 access, u32 create = kCreateNever, u32 options = 0, u32 mode = 0644);
Res<u64> read(Handle stream, void* buffer, u64 size, u64 offset = kNoOffset);
Res<u64> write(Handle stream, std::string_view text, u64 offset = kNoOffset);
/// A fresh file with contents.
Res<Handle> file_with(const char* uri, std::string_view text);
inline void close(Handle handle) { (void)g_calls->DkObjectClose(handle); }

}  // namespace guest
