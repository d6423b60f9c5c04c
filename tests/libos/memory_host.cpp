// SPDX-License-Identifier: Apache-2.0
#include "memory_host.hpp"

// Before <sys/stat.h>, whose macros share names with the members of Stat.
#include "libos/fs/fd_table.hpp"
#include "libos/proc/settings.hpp"
#include "libos/shared/arena.hpp"

#include <asm/prctl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace postern::libos {

const gate::Calls* g_gate;
const gate::LibOsParameters* g_parameters;
const gate::PersonalityHost* g_host;
void log_line(std::string_view text) { std::printf("%.*s\n", static_cast<int>(text.size()), text.data()); }
void panic(const char* what) {
    std::printf("panic: %s\n", what);
    std::abort();
}
Settings& settings() {
    static Settings values;
    return values;
}
void SharedLock::lock() {}
void SharedLock::unlock() {}
bool SharedLock::try_lock() { return true; }

namespace heap {
Res<void*> allocate(usize size) { return std::calloc(1, size); }
void release(void* memory, usize) { std::free(memory); }
}  // namespace heap

namespace arena {
namespace {
int g_file = -1;
u64 g_next = 0;
}  // namespace
Res<void*> allocate(usize size) { return std::calloc(1, size); }
void release(void* memory, usize) { std::free(memory); }
Res<void*> allocate_file(usize size) { return std::calloc(1, size); }
void release_file(void* memory, usize) { std::free(memory); }
/// Places in a memory file; the address is only a name for the offset.
Res<void*> allocate_pages(u64 count) {
    if (g_file < 0) {
        g_file = memfd_create("arena", 0);
        if (ftruncate(g_file, 1 << 26) != 0) return Failure{Errno::nomem};
    }
    u64 at = g_next;
    g_next += count * kPageSize;
    if (g_next > 1 << 26) return Failure{Errno::nomem};
    return reinterpret_cast<void*>(kArenaAddress + at);
}
void release_pages(void*, u64) {}
gate::Handle stream() { return 1; }
}  // namespace arena

// Of File only what mappings use; the link leaves the rest of its virtual functions null.
Res<i64> File::read(Thread&, u64, u64, u64) { return Failure{Errno::inval}; }  // the key function: brings the vtable
Res<void> File::map(u64, u64, u64, u32, bool) { return Failure{Errno::nodev}; }
Res<void> File::fault_in(u64, u64, u32, bool) { return Failure{Errno::fault}; }
void File::release() {
    if (__atomic_sub_fetch(&references_, 1, __ATOMIC_SEQ_CST) != 0) return;
    if (object_size == 0) {  // the tests' own
        --testing::g_live_files;
        delete this;
        return;
    }
    std::free(path);
    this->~File();
    std::free(this);
}

namespace testing {

u64 g_gate_calls, g_code_changes;
bool g_refuse_move;
i64 g_live_files;

namespace {

using gate::Err;

Err answer(void* result) {
    ++g_gate_calls;
    if (result != MAP_FAILED) return Err::ok;
    switch (errno) {
        case EEXIST: return Err::exists;
        case ENOMEM: return Err::no_memory;
        case EFAULT: return Err::bad_address;
        default: return Err::bad_argument;
    }
}
Err answer(int result) { return answer(result == 0 ? nullptr : MAP_FAILED); }

Err alloc(u64 address, u64 size, u32 flags, u32 prot) {
    if (((flags & gate::kAllocReserve) != 0) == ((flags & gate::kAllocCommit) != 0)) return Err::bad_argument;
    int how = MAP_PRIVATE | MAP_ANONYMOUS | ((flags & gate::kAllocReplace) != 0 ? MAP_FIXED : MAP_FIXED_NOREPLACE);
    return answer(mmap(reinterpret_cast<void*>(address), size, static_cast<int>(prot), how, -1, 0));
}
Err release(u64 address, u64 size, gate::FreeKind kind) {
    void* at = reinterpret_cast<void*>(address);
    switch (kind) {
        case gate::FreeKind::release: return answer(munmap(at, size));
        case gate::FreeKind::decommit: return answer(madvise(at, size, MADV_DONTNEED));
        case gate::FreeKind::lazy: return answer(madvise(at, size, MADV_FREE));
        default: return answer(madvise(at, size, MADV_REMOVE));
    }
}
Err protect(u64 address, u64 size, u32 prot) {
    return answer(mprotect(reinterpret_cast<void*>(address), size, static_cast<int>(prot)));
}
Err move(u64 address, u64 size, u64 to, u64 new_size) {
    if (g_refuse_move) return Err::bad_address;
    return answer(mremap(reinterpret_cast<void*>(address), size, new_size, MREMAP_MAYMOVE | MREMAP_FIXED,
                         reinterpret_cast<void*>(to)));
}
Err map_stream(gate::Handle, u64 address, u64 size, u64 offset, u32 prot, u32 flags) {
    int how = MAP_FIXED | ((flags & gate::kMapShared) != 0 ? MAP_SHARED : MAP_PRIVATE);
    return answer(mmap(reinterpret_cast<void*>(address), size, static_cast<int>(prot), how, arena::g_file,
                       static_cast<off_t>(offset)));
}
Err unmap_stream(u64 address, u64 size) { return answer(munmap(reinterpret_cast<void*>(address), size)); }
Err random_bits(void* buffer, u64 size) { return getrandom(buffer, size, 0) >= 0 ? Err::ok : Err::io; }

void on_fault(int signal, siginfo_t*, void* context) {
    auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
    u64 resume = gate::LibOsExceptionDispatch(nullptr, static_cast<u64>(registers[REG_RIP]));
    if (resume == 0) {
        ::signal(signal, SIG_DFL);
        return;
    }
    registers[REG_RIP] = static_cast<long long>(resume);
}

}  // namespace

Process& set_up() {
    static gate::Calls calls{};
    static gate::LibOsParameters parameters{};
    static gate::PersonalityHost host{};
    static gate::ThreadControl control{};
    static Process process;
    static Thread thread;
    if (g_gate != nullptr) return process;
    calls.DkVirtualMemoryAlloc = alloc;
    calls.DkVirtualMemoryFree = release;
    calls.DkVirtualMemoryProtect = protect;
    calls.DkVirtualMemoryMove = move;
    calls.DkStreamMap = map_stream;
    calls.DkStreamUnmap = unmap_stream;
    calls.DkRandomBitsRead = random_bits;
    host.code_changed = [](u64, u64) { ++g_code_changes; };
    host.code_reset = [] {};
    parameters.user_low = kLow;
    parameters.user_high = kHigh;
    g_gate = &calls, g_parameters = &parameters, g_host = &host;
    control.self = &control;
    control.context = &thread;
    thread.process = &process;
    for (auto& limit : process.limits) limit[0] = limit[1] = ~0ull;
    syscall(SYS_arch_prctl, ARCH_SET_GS, &control);
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGSEGV, &action, nullptr);
    sigaction(SIGBUS, &action, nullptr);
    return process;
}

}  // namespace testing
}  // namespace postern::libos
