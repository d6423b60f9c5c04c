// SPDX-License-Identifier: Apache-2.0
// From the first instruction of the image to the first one of the library OS.
#include "host/linux/entry/start.hpp"

#include <elf.h>
#include <linux/mman.h>

#include "base/memory.hpp"
#include "host/linux/entry/calls.hpp"
#include "host/linux/entry/handles.hpp"
#include "host/linux/entry/host_call.hpp"
#include "host/linux/entry/personality.hpp"
#include "host/linux/entry/signals.hpp"
#include "host/linux/entry/threads.hpp"

namespace postern::host {
namespace {

static_assert(kLibOsHeap > kLibOsBase && kGatePage > kEntryBase && kRequestBase + kRequestFileSize <= kLibOsBase);

gate::LibOsParameters parameters;

struct Start {
    int argument_count;
    const char** arguments;
    const char** environment;
    const Elf64_auxv_t* auxiliary;

    u64 value(u64 type) const {
        for (auto* entry = auxiliary; entry->a_type != AT_NULL; ++entry)
            if (entry->a_type == type) return entry->a_un.a_val;
        return 0;
    }
};

Start read_start(u64* stack) {
    Start start;
    start.argument_count = static_cast<int>(stack[0]);
    start.arguments = reinterpret_cast<const char**>(stack + 1);
    start.environment = start.arguments + start.argument_count + 1;
    const char** end = start.environment;
    while (*end != nullptr) ++end;
    start.auxiliary = reinterpret_cast<const Elf64_auxv_t*>(end + 1);
    return start;
}

void map_shared_files() {
    long result = early_call(__NR_mmap, kRequestBase, kRequestFileSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                             kFdRequest, 0);
    if (result < 0) boot_failed(BootStep::shared_files, result, "cannot map the request file");
    result = early_call(__NR_mmap, kNoticeBase, kNoticeFileSize, PROT_READ, MAP_SHARED | MAP_FIXED, kFdNotice, 0);
    if (result < 0) boot_failed(BootStep::shared_files, result, "cannot map the notice file");
    g_process.requests = reinterpret_cast<RequestHeader*>(kRequestBase);
    g_process.notice = reinterpret_cast<const volatile Notice*>(kNoticeBase);
    g_process.arena_descriptor = kFdArena;
    g_process.trace_descriptor = kFdTrace;
    if (g_config.ahead != 0) memset(g_process.foreseen_files, 0xff, sizeof g_process.foreseen_files);
}

/// The first stack with the first thread's control, and its handlers' stack with the tables: two mappings, and between
/// them a gap, so that a handler stack that overflows faults instead of damaging the control.
void map_own_memory() {
    constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
    constexpr u64 kHandlerStack = kFirstThreadArea + kHandlerStackOffset;
    long result =
        early_call(__NR_mmap, kStartStack, kStartStackSize + kPageSize, PROT_READ | PROT_WRITE, kFlags, -1, 0);
    if (result > 0) {
        result = early_call(__NR_mmap, kHandlerStack, kSmallMemory + kSmallMemorySize - kHandlerStack,
                            PROT_READ | PROT_WRITE, kFlags, -1, 0);
    }
    if (result < 0) boot_failed(BootStep::threads, result, "no memory for the first stack and the handle table");
}

/// CPUID leaf 13: size of the XSAVE area for the features in XCR0. XGETBV needs OSXSAVE, which 64-bit AVX systems set.
void processor_state(u64& area_size, u64& xcr0) {
    u32 a = 1, b, c = 0, d;
    asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    area_size = 512;
    xcr0 = 3;
    if (!(c & (1u << 27))) return;
    u32 low, high;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    xcr0 = low | u64{high} << 32;
    a = 13;
    c = 0;
    asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    area_size = b;
}

u32 count_processors() {
    u64 mask[128] = {};
    long bytes = early_call(__NR_sched_getaffinity, 0, sizeof mask, mask);
    u32 count = 0;
    for (long i = 0; i < bytes / 8; ++i)
        for (u64 word = mask[i]; word != 0; word &= word - 1) ++count;
    if (g_config.processors != 0 && count > g_config.processors) count = g_config.processors;
    return count == 0 ? 1 : count;
}

void fill_parameters(const Start& start) {
    parameters = {};
    parameters.version = gate::kAbiVersion;
    parameters.size = sizeof parameters;
    parameters.calls = gate_calls(g_config.trace_gate != 0);
    parameters.personality_host = &kPersonalityHost;
    parameters.argument_count = start.argument_count > 2 ? start.argument_count - 2 : 0;
    parameters.arguments = start.arguments + (start.argument_count > 2 ? 2 : start.argument_count);
    parameters.environment = start.environment;
    parameters.working_directory = g_config.working_directory;
    parameters.options = g_config.options;
    parameters.stack_low = kStartStack;
    parameters.stack_high = kStartStack + kStartStackSize;
    parameters.thread = gate::thread_control()->token;
    parameters.process_id = process_id();
    parameters.processor_count = count_processors();
    parameters.memory_limit = g_config.memory_limit;
    parameters.process_limit = g_config.process_limit;
    parameters.processor_features[0] = start.value(AT_HWCAP);
    parameters.processor_features[1] = start.value(AT_HWCAP2);
    processor_state(parameters.processor_features[2], parameters.processor_features[3]);
    parameters.time_page = g_process.time_page;
    parameters.time_page_size = g_process.time_page_size;
    parameters.time_page_image = g_process.time_page_image;
    parameters.platform = reinterpret_cast<const char*>(start.value(AT_PLATFORM));
    parameters.user_low = kUserLow;
    parameters.user_high = kUserHigh;
    parameters.arena_size = g_config.arena_size;
    parameters.user_id = g_config.user_id;
    parameters.group_id = g_config.group_id;
    parameters.deaths = g_process.notice->deaths;
}

void enter_library(void*) {
    g_process.libos_initialize(&parameters);
    fail("LibOsInitialize returned");
}

}  // namespace

extern "C" [[noreturn]] void start_entry(u64* stack) {
    Start start = read_start(stack);
    if (!(start.value(AT_HWCAP2) & 2))
        fail("this kernel does not let programs set their segment bases (FSGSBASE, Linux 5.9 or later on x86-64)");
    if (start.argument_count < 2 || !parse_config(start.arguments[1], g_config))
        boot_failed(BootStep::config, EINVAL, "this program is started by postern, not by hand");
    map_shared_files();
    adopt_time_page(start.value(AT_SYSINFO_EHDR));
    map_own_memory();
    adopt_first_thread();
    load_library();
    install_signal_handlers();
    long result = early_call(__NR_membarrier, 64 /* REGISTER_PRIVATE_EXPEDITED_SYNC_CORE */, 0, 0);
    if (result < 0) boot_failed(BootStep::barrier, result, "the kernel lacks membarrier with core serialisation");
    fill_parameters(start);
    seal();
    for (int descriptor : {kFdLibOs, kFdRequest, kFdNotice}) early_call(__NR_close, descriptor);
    run_on_stack(kStartStack + kStartStackSize, enter_library, nullptr);
}

}  // namespace postern::host
