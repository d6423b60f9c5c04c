// SPDX-License-Identifier: Apache-2.0
// The guest's upcalls and helpers.
#include "tests/gate/guest/guest.hpp"

extern "C" {
extern const guest::Case __start_gate_cases[], __stop_gate_cases[];
struct Fixup {
    postern::u64 site, target;
};
extern const Fixup __start_gate_fixups[], __stop_gate_fixups[];
}

namespace guest {

const Calls* g_calls;
const LibOsParameters* g_parameters;
ExceptionInfo g_fault;

namespace {

u32 g_failures;
const char* g_case = "start";
Handle g_output;
u64 g_next_range;
u64 g_execute_target, g_execute_fixup;

void print(std::string_view text) {
    for (usize done = 0; done < text.size();) {
        u64 actual = 0;
        Err error = g_output == kNoHandle
                        ? g_calls->DkDebugStringPrint(text.data(), text.size())
                        : g_calls->DkStreamWrite(g_output, kNoOffset, text.data() + done, text.size() - done, &actual);
        if (error == Err::interrupted) {
            // Not the case under test: nobody interrupts the thread that reports, except from outside.
            clear_interrupt();
            continue;
        }
        if (error != Err::ok || g_output == kNoHandle) return;
        done += actual;
    }
}

[[noreturn]] void finish(u32 code) {
    g_calls->DkProcessExit(code);
    __builtin_unreachable();
}

bool contains(std::string_view text, std::string_view part) {
    for (usize i = 0; i + part.size() <= text.size(); ++i)
        if (std::string_view{text.data() + i, part.size()} == part) return true;
    return false;
}

constexpr const char* kErrNames[] = {"ok",           "bad_handle",     "wrong_kind",    "denied",
                                     "bad_argument", "bad_address",    "no_memory",     "no_quota",
                                     "not_found",    "exists",         "not_directory", "is_directory",
                                     "not_empty",    "too_many_links", "name_too_long", "cross_device",
                                     "read_only",    "no_space",       "too_big",       "busy",
                                     "io",           "would_block",    "interrupted",   "timed_out",
                                     "closed",       "unsupported",    "not_seekable",  "bad_state"};
static_assert(sizeof(kErrNames) / sizeof(kErrNames[0]) == kErrCount);

}  // namespace

const char* err_name(Err error) {
    return static_cast<u32>(error) < kErrCount ? kErrNames[static_cast<u32>(error)] : "an undefined error";
}

void report(const char* file, int line, const char* what, std::string_view detail) {
    __atomic_add_fetch(&g_failures, 1, __ATOMIC_RELAXED);
    TextBuffer<512> text;
    text.add("FAIL ", g_case, " ", file, ":", line, ": ", what);
    if (!detail.empty()) text.add(": ", detail);
    text.add('\n');
    print(text.view());
}

bool check_err(const char* file, int line, const char* what, Err got, Err wanted) {
    if (got == wanted) return true;
    TextBuffer<96> text;
    text.add("got ", err_name(got), ", wanted ", err_name(wanted));
    report(file, line, what, text.view());
    return false;
}

void note(std::string_view what) {
    TextBuffer<256> text;
    text.add("note ", g_case, ": ", what, "\n");
    print(text.view());
}

u64 fresh_range(u64 size) {
    // A page between ranges stays free, so that an overrun faults.
    return __atomic_fetch_add(&g_next_range, page_ceil(size) + kPageSize, __ATOMIC_RELAXED);
}

u8* fresh_memory(u64 size) {
    u64 address = fresh_range(size);
    if (g_calls->DkVirtualMemoryAlloc(address, page_ceil(size), kAllocCommit, kProtRead | kProtWrite) != Err::ok) {
        print("FAIL no memory for the guest\n");
        finish(3);
    }
    return reinterpret_cast<u8*>(address);
}

#define FIXUP ".pushsection gate_fixups,\"a\"\n .quad 1b, 2b\n .popsection\n"

bool probe_read(u64 address, u8* value) {
    g_fault = {};
    u32 bad;
    u64 byte;
    asm volatile("1: movzbl (%2), %k1\n xorl %0, %0\n jmp 3f\n2: movl $1, %0\n3:\n" FIXUP
                 : "=&r"(bad), "=&r"(byte)
                 : "r"(address)
                 : "memory");
    if (bad == 0 && value != nullptr) *value = static_cast<u8>(byte);
    return bad == 0;
}

bool probe_write(u64 address, u8 value) {
    g_fault = {};
    u32 bad;
    asm volatile("1: movb %b2, (%1)\n xorl %0, %0\n jmp 3f\n2: movl $1, %0\n3:\n" FIXUP
                 : "=&r"(bad)
                 : "r"(address), "q"(value)
                 : "memory");
    return bad == 0;
}

bool probe_execute(u64 address) {
    g_fault = {};
    g_execute_target = address;
    u32 bad;
    // The code called only returns, so nothing but the flags changes; a fault leaves the return address behind.
    asm volatile(
        "leaq 2f(%%rip), %%rax\n movq %%rax, %1\n leaq -128(%%rsp), %%rsp\n call *%2\n xorl %0, %0\n jmp 3f\n"
        "2: leaq 8(%%rsp), %%rsp\n movl $1, %0\n3: leaq 128(%%rsp), %%rsp\n"
        : "=&r"(bad), "=m"(g_execute_fixup)
        : "r"(address)
        : "rax", "memory");
    g_execute_target = 0;
    return bad == 0;
}

u64 now() {
    u64 value = 0;
    (void)g_calls->DkSystemTimeQuery(Clock::monotonic, &value);
    return value;
}

bool Thread::start(void (*run)(void*), void* with) {
    constexpr u64 kStack = 64 * 1024;
    function = run;
    argument = with;
    running = 1;
    u64 stack = reinterpret_cast<u64>(fresh_memory(kStack));
    return CHECK_OK(g_calls->DkThreadCreate(stack, kStack, reinterpret_cast<u64>(this), &handle, &token));
}

void Thread::join() {
    for (;;) {
        u32 value = __atomic_load_n(&running, __ATOMIC_ACQUIRE);
        if (value == 0) break;
        (void)g_calls->DkAddressWait(&running, value, now() + 100 * kMillisecond, kAddressShared);
    }
    close(handle);
}

void sleep_ms(u64 milliseconds) {
    u64 left = milliseconds * kMillisecond;
    (void)g_calls->DkThreadDelayExecution(&left);
}

u32 in_child(u32 (*function)(void*), void* argument) {
    ForkResult fork;
    if (!CHECK_OK(g_calls->DkProcessFork(&fork))) return ~0u;
    if (fork.is_child != 0) {
        u32 failures = g_failures;
        u32 code = function(argument);
        finish(g_failures != failures ? 99 : code);
    }
    u32 index, code = ~0u;
    if (!CHECK_OK(g_calls->DkObjectsWaitAny(1, &fork.process, in_ms(20'000), &index))) return ~0u;
    (void)CHECK_OK(g_calls->DkProcessGetExitCode(fork.process, &code));
    close(fork.process);
    return code;
}

const char* scratch() { return g_parameters->argument_count > 2 ? g_parameters->arguments[2] : "/gate"; }

const char* at(std::string_view name, u32 slot) {
    static char storage[8][512];
    Text text{storage[slot], sizeof storage[slot] - 1};
    text.add("file:", scratch(), "/", name);
    storage[slot][text.size()] = 0;
    return storage[slot];
}

Res<Handle> open(const char* uri, u32 access, u32 create, u32 options, u32 mode) {
    return gate().stream_open(uri, access, mode, create, options);
}
Res<u64> read(Handle stream, void* buffer, u64 size, u64 offset) {
    return gate().stream_read(stream, offset, buffer, size);
}
Res<u64> write(Handle stream, std::string_view text, u64 offset) {
    return gate().stream_write(stream, offset, text.data(), text.size());
}
Res<Handle> file_with(const char* uri, std::string_view text) {
    Handle file = TRY(open(uri, kAccessRead | kAccessWrite, kCreateTry, kOpenTruncate));
    auto written = write(file, text, 0);
    if (!written.ok()) return Failure{written.error()};
    return file;
}

}  // namespace guest

using namespace guest;

extern "C" void LibOsInitialize(const LibOsParameters* parameters) {
    g_parameters = parameters;
    g_calls = parameters->calls;
    g_next_range = page_ceil(parameters->user_low) + 0x1'0000'0000;
    if (auto output = open("stdout:", kAccessWrite); output.ok()) g_output = output.take();
    // A picoprocess that was created with other arguments than a test's must not run the tests, which create such.
    if (parameters->argument_count < 3) finish(4);
    std::string_view filter = parameters->arguments[1];

    u32 count = 0;
    for (const Case* each = __start_gate_cases; each != __stop_gate_cases; ++each) {
        if (!contains(each->name, filter)) continue;
        g_case = each->name;
        u32 before = g_failures;
        each->run();
        if (g_failures == before) {
            TextBuffer<128> text;
            text.add("ok ", each->name, "\n");
            print(text.view());
        }
        ++count;
    }
    TextBuffer<128> text;
    text.add(count, " cases, ", g_failures, " failed checks\n");
    print(text.view());
    finish(g_failures != 0 || count == 0 ? 1 : 0);
}

extern "C" void LibOsThreadStart(u64 parameter) {
    auto* thread = reinterpret_cast<Thread*>(parameter);
    thread->function(thread->argument);
    g_calls->DkThreadExit(&thread->running);
    __builtin_unreachable();
}

extern "C" u64 LibOsExceptionDispatch(const ExceptionInfo* info, u64 instruction) {
    g_fault = *info;
    if (g_execute_target != 0 && instruction == g_execute_target) return g_execute_fixup;
    for (const Fixup* each = __start_gate_fixups; each != __stop_gate_fixups; ++each)
        if (each->site == instruction) return each->target;
    return 0;
}
