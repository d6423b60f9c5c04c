// SPDX-License-Identifier: Apache-2.0
#include "libos_host.hpp"

// Before <sys/stat.h>, whose macros share names with the members of Stat.
#include "libos/fs/inode.hpp"
#include "libos/fs/path.hpp"
#include "libos/fs/walk.hpp"
#include "libos/memory/space.hpp"
#include "libos/signal/delivery.hpp"
#include "libos/signal/queue.hpp"
#include "libos/syscall/dispatch.hpp"
#include "libos/user.hpp"

#include <asm/prctl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace postern::libos::self {
u32 id() { return gate::thread_control()->host_id; }
u64& slot() { return gate::thread_control()->reserved[7]; }
u64& undo_count() { return gate::thread_control()->reserved[6]; }
}  // namespace postern::libos::self

namespace postern::fuzz {
namespace {

using namespace libos;
using gate::Err;

constexpr u64 kArenaSize = 256ull << 20;
constexpr gate::Handle kArena = 1, kStandard = 2, kHostFile = 3, kHostDirectory = 4;
int g_arena = -1;
constexpr u64 kStart = 1'000'000'000;
u64 g_time =
    kStart;  // nanoseconds; every input begins at kStart, or long sleeps would add up beyond what a clock tells

Err answer(const void* result) {
    if (result != MAP_FAILED) return Err::ok;
    return errno == EEXIST ? Err::exists : errno == ENOMEM ? Err::no_memory : Err::bad_argument;
}
Err answer(int result) { return answer(result == 0 ? nullptr : MAP_FAILED); }
void* pointer(u64 address) { return reinterpret_cast<void*>(address); }

Err alloc(u64 address, u64 size, u32 flags, u32 prot) {
    int how = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
              ((flags & gate::kAllocReplace) != 0 ? MAP_FIXED : MAP_FIXED_NOREPLACE);
    return answer(mmap(pointer(address), size, static_cast<int>(prot), how, -1, 0));
}
Err release(u64 address, u64 size, gate::FreeKind kind) {
    if (kind == gate::FreeKind::release) return answer(munmap(pointer(address), size));
    return answer(madvise(pointer(address), size, kind == gate::FreeKind::remove ? MADV_REMOVE : MADV_DONTNEED));
}
Err protect(u64 address, u64 size, u32 prot) {
    return answer(mprotect(pointer(address), size, static_cast<int>(prot)));
}
Err move(u64 address, u64 size, u64 to, u64 new_size) {
    return answer(mremap(pointer(address), size, new_size, MREMAP_MAYMOVE | MREMAP_FIXED, pointer(to)));
}
Err map_stream(gate::Handle handle, u64 address, u64 size, u64 offset, u32 prot, u32 flags) {
    if (handle != kArena) return Err::denied;
    int how = MAP_FIXED | ((flags & gate::kMapShared) != 0 ? MAP_SHARED : MAP_PRIVATE);
    return answer(mmap(pointer(address), size, static_cast<int>(prot), how, g_arena, static_cast<off_t>(offset)));
}
Err unmap_stream(u64 address, u64 size) { return answer(munmap(pointer(address), size)); }

/// The host's names: what one is depends on nothing but its text, so that answers last.
Err look_up(const char* uri, u32 options, gate::Attributes* out) {
    std::string_view text{uri};
    if (!text.starts_with("file:/")) return Err::not_found;
    text.remove_prefix(5);
    if (text.size() >= kPathMax) abort();  // whoever asks has checked
    u64 hash = 0xcbf29ce484222325ull;
    for (char letter : text) hash = (hash ^ static_cast<u8>(letter)) * 0x100000001b3ull;
    std::string name{text}, target;
    gate::Attributes found;
    found.identity = hash;
    found.mode = 0755;
    found.links = 1;
    found.name_flags = (hash >> 8 & 1) != 0 ? u32{gate::kNameCacheable} : 0;
    found.stable = hash >> 8 & 1;
    found.rights = 7;
    Err error = Err::ok;
    switch (hash >> 16 & 7) {
        case 0: error = Err::not_found; break;
        case 1: error = Err::not_directory; break;
        case 2: found.type = gate::StreamType::directory; break;
        case 3:
            found.type = (options & gate::kOpenNoFollow) != 0 ? gate::StreamType::symlink : gate::StreamType::file;
            target = "../" + name;
            break;
        case 4:  // leads into a tree of the library OS
            error = Err::not_found;
            found.name_flags |= gate::kNameInside;
            name = (hash >> 20 & 1) != 0 ? "/tmp" : "/proc/self/cwd";
            break;
        default: found.type = gate::StreamType::file; break;
    }
    if (found.type != gate::StreamType::symlink) target.clear();
    found.name = out->name;
    found.name_capacity = out->name_capacity;
    if (found.name != nullptr && name.size() + target.size() + 2 <= found.name_capacity) {
        memcpy(found.name, name.c_str(), name.size() + 1);
        memcpy(found.name + name.size() + 1, target.c_str(), target.size() + 1);
        found.name_length = static_cast<u32>(name.size());
        found.target_length = static_cast<u32>(target.size());
    }
    *out = found;
    return error;
}

Err query(const char* uri, u32 options, gate::Attributes* attributes) { return look_up(uri, options, attributes); }

Err open(const char* uri, u32, u32, u32, u32 options, gate::Handle* handle, gate::Attributes* attributes) {
    std::string_view text{uri};
    gate::Attributes spare;
    if (attributes == nullptr) attributes = &spare;
    if (text == "memory:arena") {
        *handle = kArena;
        return Err::ok;
    }
    if (!text.starts_with("file:")) {
        if (text != "stdin:" && text != "stdout:" && text != "stderr:") return Err::not_found;
        attributes->type = gate::StreamType::character;
        *handle = kStandard;
        return Err::ok;
    }
    Err error = look_up(uri, options, attributes);
    *handle = attributes->type == gate::StreamType::directory ? kHostDirectory : kHostFile;
    return error;
}

Err query_handle(gate::Handle handle, gate::Attributes* attributes) {
    gate::assign_lent(*attributes, {});
    attributes->type = handle == kHostDirectory ? gate::StreamType::directory
                       : handle == kHostFile    ? gate::StreamType::file
                                                : gate::StreamType::character;
    attributes->size = handle == kHostFile ? 100 : 0;
    return Err::ok;
}

Err read_stream(gate::Handle handle, u64 offset, void* buffer, u64 size, u64* actual) {
    *actual = 0;
    if (handle != kHostFile || offset >= 100) return Err::ok;
    *actual = size < 100 - offset ? size : 100 - offset;
    // As the kernel: addresses that are not there are an error and no fault.
    std::vector<u8> zeros(*actual);
    return guarded_copy(buffer, zeros.data(), *actual) == *actual ? Err::ok : Err::bad_address;
}
Err write_stream(gate::Handle, u64, const void*, u64 size, u64* actual) {
    *actual = size;
    return Err::ok;
}

/// Nobody will ever wake the only thread: what would sleep is interrupted instead.
Err interrupt() {
    __atomic_or_fetch(&current_thread().attention, u32{kAttentionExit}, __ATOMIC_SEQ_CST);
    return Err::interrupted;
}
Err sleep_until(gate::Deadline deadline) {
    if (deadline == gate::kForever || deadline > g_time + (1ull << 62)) return interrupt();
    if (deadline > g_time) g_time = deadline;
    return Err::timed_out;
}
Err wait_address(u32* address, u32 expected, gate::Deadline deadline, u32) {
    u32 word;
    if (guarded_copy(&word, address, sizeof word) != sizeof word) return Err::bad_address;
    if (word != expected) return Err::would_block;
    return sleep_until(deadline);
}
Err wake_address(u32*, u32, u32, u32*, u32, u32, u32* woken) {
    if (woken != nullptr) *woken = 0;
    return Err::ok;
}
Err wait_ready(u32, gate::WaitItem*, gate::Deadline deadline, u32* ready) {
    *ready = 0;
    return sleep_until(deadline);
}
Err query_time(gate::Clock, u64* nanoseconds) {
    *nanoseconds = g_time += 1000;
    return Err::ok;
}
Err random_bits(void* buffer, u64 size) {
    memset(buffer, 0x5a, size);
    return Err::ok;
}
Err print(const char* text, u64 size) {
    if (getenv("FUZZ_VERBOSE") != nullptr) fwrite(text, 1, size, stderr);
    return Err::ok;
}
void exit_process_now(u32 code) {
    fprintf(stderr, "the library OS has ended its process with %u\n", code);
    abort();
}
[[noreturn]] void resume(gate::Frame*) { abort(); }
Err unsupported() { return Err::unsupported; }
Err fine() { return Err::ok; }

struct sigaction g_before[65];

void on_fault(int signal, siginfo_t* info, void* context) {
    auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
    u64 resume = gate::LibOsExceptionDispatch(nullptr, static_cast<u64>(registers[REG_RIP]));
    if (resume != 0) {
        registers[REG_RIP] = static_cast<long long>(resume);
        return;
    }
    if (g_before[signal].sa_sigaction != nullptr) return g_before[signal].sa_sigaction(signal, info, context);
    abort();
}

gate::Calls& make_gate() {
    static gate::Calls calls;
    calls.version = gate::kAbiVersion;
    calls.size = sizeof calls;
    for (auto* entry = reinterpret_cast<void (**)()>(&calls.DkVirtualMemoryAlloc);
         entry < reinterpret_cast<void (**)()>(&calls + 1); ++entry)
        *entry = reinterpret_cast<void (*)()>(unsupported);
    calls.DkVirtualMemoryAlloc = alloc;
    calls.DkVirtualMemoryFree = release;
    calls.DkVirtualMemoryProtect = protect;
    calls.DkVirtualMemoryMove = move;
    calls.DkStreamOpen = open;
    calls.DkStreamMap = map_stream;
    calls.DkStreamUnmap = unmap_stream;
    calls.DkStreamRead = read_stream;
    calls.DkStreamWrite = write_stream;
    calls.DkStreamAttributesQuery = query;
    calls.DkStreamAttributesQueryByHandle = query_handle;
    calls.DkAddressWait = wait_address;
    calls.DkAddressWake = wake_address;
    calls.DkObjectsWaitReady = wait_ready;
    calls.DkThreadDelayExecution = [](u64*) { return interrupt(); };
    calls.DkSystemTimeQuery = query_time;
    calls.DkRandomBitsRead = random_bits;
    calls.DkDebugStringPrint = print;
    calls.DkProcessExit = exit_process_now;
    calls.DkTimerSet = [](gate::TimerKind, u64) { return Err::ok; };
    calls.DkSegmentBaseSet = [](u32, u64) { return Err::ok; };
    calls.DkThreadYieldExecution = fine;
    calls.DkObjectClose = [](gate::Handle) { return Err::ok; };
    calls.DkObjectReference = [](gate::Handle) { return Err::ok; };
    return calls;
}

template <class T>
T must(Res<T> result, const char* what) {
    if (!result.ok()) {
        fprintf(stderr, "the library OS does not start: %s: errno %d\n", what, static_cast<int>(result.error()));
        exit(1);
    }
    return result.take();
}
void must(Res<void> result, const char* what) {
    if (!result.ok()) {
        fprintf(stderr, "the library OS does not start: %s: errno %d\n", what, static_cast<int>(result.error()));
        exit(1);
    }
}

struct Names final : DirectoryVisitor {
    bool entry(std::string_view name, u64, u8, u64) override {
        names.emplace_back(name);
        return names.size() < 1000;
    }
    std::vector<std::string> names;
};

void empty(Thread& thread, Inode& directory, u32 depth) {
    Names list;
    (void)directory.visit(thread, 2, list);
    for (const std::string& name : list.names) {
        if (directory.remove(thread, name, false).ok()) continue;
        auto child = directory.lookup(thread, name);
        if (!child.ok() || !child.value()->is_directory()) continue;
        if (depth < 64) empty(thread, *child.value(), depth + 1);
        (void)directory.remove(thread, name, true);
    }
}

}  // namespace

libos::Thread& start_library() {
    static gate::LibOsParameters parameters;
    static gate::PersonalityHost host;
    static gate::ThreadControl control;
    static u32 deaths[1 + gate::kDeathsCapacity];
    static const char* const arguments[] = {"fuzz", nullptr};
    static const char* const environment[] = {nullptr};
    g_arena = memfd_create("arena", 0);
    if (ftruncate(g_arena, kArenaSize) != 0) exit(1);
    host.register_personality = [](const gate::Personality*) { return Err::ok; };
    host.resume = reinterpret_cast<decltype(host.resume)>(resume);
    host.code_changed = [](u64, u64) {};
    host.code_reset = [] {};
    gate::Calls& calls = make_gate();
    parameters.version = gate::kAbiVersion;
    parameters.size = sizeof parameters;
    parameters.calls = &calls;
    parameters.personality_host = &host;
    parameters.argument_count = 1;
    parameters.arguments = arguments;
    parameters.environment = environment;
    parameters.working_directory = "/tmp";
    parameters.options =
        "private=/tmp\nprivate=/dev/shm\nserved=/proc\nserved=/dev\nserved=/sys\nhost=/tmp/host\nout=ttt\n";
    parameters.process_id = 1000;
    parameters.processor_count = 2;
    parameters.memory_limit = 1 << 30;
    parameters.process_limit = 100;
    parameters.user_low = kUserLow;
    parameters.user_high = kUserHigh;
    parameters.arena_size = kArenaSize;
    parameters.deaths = deaths;
    control.self = &control;
    control.host_id = 1000;
    static gate::Frame frame;
    control.frame = &frame;
    syscall(SYS_arch_prctl, ARCH_SET_GS, &control);
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &g_before[SIGSEGV]);
    sigaction(SIGBUS, &action, &g_before[SIGBUS]);
    g_parameters = &parameters;
    g_gate = &calls;
    g_host = &host;
    read_options(parameters.options);
    must(arena::initialize(parameters.arena_size), "arena");
    must(prepare_reports(), "reports");
    must(initialize_file_systems(), "file systems");
    Process& process = *must(create_first_process(parameters), "first process");
    return *process.threads.front();
}

i64 system_call(u64 number, const u64 (&arguments)[6]) {
    Thread& thread = current_thread();
    gate::Frame& frame = *gate::thread_control()->frame;
    frame.original_rax = number;
    auto result = call_functions()[number](thread, arguments);
    __atomic_store_n(&thread.attention, 0, __ATOMIC_SEQ_CST);
    thread.signals.has_saved_mask = 0;
    SignalInfo info;
    while (dequeue_signal(thread, ~0ull, info)) {
    }
    return result.ok() ? result.value() : -static_cast<i64>(result.error());
}

/// Zeroed and accessible again, whatever calls have done to it.
static void renew_data() {
    if (mmap(pointer(kUserData), kUserDataSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
             0) == MAP_FAILED)
        abort();
}

void clean_up() {
    Thread& thread = current_thread();
    g_time = kStart;
    thread.process->space->clear();
    renew_data();
    thread.process->files->close_range(3, ~0u, false);
    thread.signals.mask = 0;
    memcpy(pointer(kUserData), "/tmp", 5);
    memcpy(pointer(kUserData + 8), "/", 2);
    constexpr u64 kChroot = 161, kChdir = 80, kUmask = 95;
    system_call(kChroot, {kUserData + 8});
    system_call(kChdir, {kUserData});
    system_call(kUmask, {022});
    for (const char* tree : {"/tmp", "/dev/shm"})
        if (InodeRef root = inside_directory(tree); root.get() != nullptr) empty(thread, *root, 0);
}

void run_calls(std::span<const u8> data, std::span<const u16> allowed) {
    static Thread& thread = start_library();
    (void)thread;
    constexpr usize kMostCalls = 12, kCallSize = 1 + 6 * 3;
    if (data.size() < 1) return;
    usize count = data[0] % (kMostCalls + 1);
    data = data.subspan(1);
    usize calls_size = count * kCallSize;
    if (data.size() < calls_size) return;
    std::span<const u8> calls = data.first(calls_size), rest = data.subspan(calls_size);
    renew_data();
    memcpy(pointer(kUserData), rest.data(), rest.size() < kUserDataSize ? rest.size() : kUserDataSize);
    for (usize at = 0; at < calls_size; at += kCallSize) {
        u64 arguments[6];
        for (u32 i = 0; i < 6; ++i) {
            const u8* code = calls.data() + at + 1 + i * 3;
            u64 value = code[1] | u64{code[2]} << 8;
            switch (code[0] % 8) {
                case 0:
                case 1: arguments[i] = kUserData + value; break;
                case 2: arguments[i] = value; break;
                case 3: arguments[i] = static_cast<u64>(i64{static_cast<i16>(value)}); break;
                case 4: arguments[i] = value << 16; break;
                case 5: arguments[i] = value % 12; break;                              // a descriptor
                case 6: arguments[i] = kUserData + kUserDataSize - value % 64; break;  // runs into what is not there
                default: arguments[i] = value << 48 | value; break;
            }
        }
        system_call(allowed[calls[at] % allowed.size()], arguments);
    }
    clean_up();
}

}  // namespace postern::fuzz
