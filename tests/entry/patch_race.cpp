// SPDX-License-Identifier: Apache-2.0
// The real patcher under fire: threads run into fresh system-call sites at the same moment, at all alignments, while
// signals interrupt them, sites are rewritten, and the process forks. usage: patch_race [PATCHES] [THREADS]
//
// The harness stands in for entry: a seccomp filter traps calls with numbers of its own, the SIGSYS handler lets the
// patcher look at the site and answers number + 1, and patched sites arrive through %gs:24 like in a picoprocess.
#include <asm/prctl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "host/linux/entry/patch/patcher.hpp"

namespace {

using namespace postern;
using namespace postern::host;

constexpr u32 kNumber = 0x3a5;  // no kernel has it
constexpr u64 kSites = 2048;    // per round, 64 bytes each
constexpr int kCallsPerSite = 12;

u8* code;
std::atomic<u64> trapped{0}, breakpoints{0}, busy{0}, refused{0}, wrong{0}, interrupts{0};
std::atomic<int> threads_alive{1};

bool protect(u64 address, u64 size, u32 prot) {
    return mprotect(reinterpret_cast<void*>(address), size, static_cast<int>(prot)) == 0;
}
std::atomic<u64> next_place{0};
u64 place_base() { return page_floor(reinterpret_cast<u64>(code)) + (64u << 20); }
u64 place(u64, u64 size) {
    u64 address = place_base() + next_place.fetch_add(size);
    void* at = mmap(reinterpret_cast<void*>(address), size, PROT_READ | PROT_EXEC,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    return at == MAP_FAILED ? 0 : reinterpret_cast<u64>(at);
}
Patcher patcher{{
    .freeze = [](u64, u64) -> u32 { return 5; },
    .release = [] {},
    .protect = protect,
    .barrier = [] { return syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0) == 0; },
    .alone = [] { return threads_alive.load() == 1; },
    .place = place,
    .load = [](u64 address, u8* byte) { return *byte = *reinterpret_cast<volatile u8*>(address), true; },
    .yield = [] { sched_yield(); },
}};

// What a patched site reaches: rax number, rcx return address.
extern "C" void race_entry();
asm(R"(
        .globl race_entry
race_entry:
        inc     %rax
        jmp     *%rcx
)");
u64 control[16];

greg_t& reg(void* context, int index) { return static_cast<ucontext_t*>(context)->uc_mcontext.gregs[index]; }

void on_call(int, siginfo_t*, void* context) {
    u64 rip = static_cast<u64>(reg(context, REG_RIP));
    trapped.fetch_add(1, std::memory_order_relaxed);
    switch (patcher.consider(rip - 2, static_cast<u64>(reg(context, REG_RAX)))) {
        case PatchResult::busy: busy.fetch_add(1, std::memory_order_relaxed); break;
        case PatchResult::refused: refused.fetch_add(1, std::memory_order_relaxed); break;
        default: break;
    }
    reg(context, REG_RCX) = static_cast<greg_t>(rip);
    reg(context, REG_RIP) = reinterpret_cast<greg_t>(race_entry);
}

void on_breakpoint(int, siginfo_t*, void* context) {
    u64 rip = static_cast<u64>(reg(context, REG_RIP));
    breakpoints.fetch_add(1, std::memory_order_relaxed);
    u64 next = patcher.resolve_breakpoint(rip - 1);
    if (next == 0) {
        static const char kText[] = "a breakpoint that is nobody's\n";
        if (write(2, kText, sizeof kText - 1) < 0) _exit(3);
        _exit(2);
    }
    reg(context, REG_RIP) = static_cast<greg_t>(next);
}

// As the handler of the kick signal: a thread inside a trampoline starts its call over.
void on_interrupt(int, siginfo_t*, void* context) {
    interrupts.fetch_add(1, std::memory_order_relaxed);
    u64 rip = static_cast<u64>(reg(context, REG_RIP));
    reg(context, REG_RIP) = static_cast<greg_t>(patcher.leave_trampoline(rip));
}

void install(int signal, void (*handler)(int, siginfo_t*, void*)) {
    struct sigaction action {};
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    sigfillset(&action.sa_mask);
    sigdelset(&action.sa_mask, SIGSYS);
    sigaction(signal, &action, nullptr);
}

void install_filter() {
    sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kNumber, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    sock_fprog program{4, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        perror("seccomp");
        exit(77);
    }
}

/// Three shapes: mov + syscall; xor/mov al + syscall with padding behind it (cave); a mov to r8 in front (traps, or
/// cave).
void write_site(u64 index, u64 round) {
    u8* at = code + index * 64;
    memset(at, 0xcc, 64);
    u8* p = at + 8 + index % 8;
    switch ((index / 8 + round) % 4) {
        case 0:
        case 1:
            *p++ = 0xb8;
            memcpy(p, &kNumber, 4);
            p += 4;
            break;
        case 2: {
            static constexpr u8 kOther[] = {0x68, 0xa5, 0x03, 0, 0, 0x58};  // push $0x3a5; pop %rax
            memcpy(p, kOther, sizeof kOther);
            p += sizeof kOther;
            break;
        }
        case 3: {
            static constexpr u8 kOther[] = {0x68, 0xa5, 0x03, 0, 0, 0x58, 0x41, 0xb8, 0xa5, 0x03, 0, 0};
            memcpy(p, kOther, sizeof kOther);
            p += sizeof kOther;
            break;
        }
    }
    *p++ = 0x0f, *p++ = 0x05, *p++ = 0xc3;
}
long (*site(u64 index))() { return reinterpret_cast<long (*)()>(code + index * 64 + 8 + index % 8); }

std::atomic<u64> turn{0};      // sites are open below this
std::atomic<u64> finished{0};  // threads through with the round
std::atomic<bool> over{false};

void use_sites(u64 first) {
    for (u64 index = 0; index < kSites; ++index) {
        // The sites open one by one: all threads run into each at the same moment.
        while (turn.load(std::memory_order_acquire) < first + index + 1) {
            if (over.load()) return;
            __builtin_ia32_pause();
        }
        auto call = site(index);
        for (int i = 0; i < kCallsPerSite; ++i) {
            long result;
            // The trampoline and the handler clobber what a system call clobbers.
            asm volatile("call *%1" : "=a"(result) : "r"(call) : "rcx", "r11", "r8", "memory", "cc");
            if (result != kNumber + 1) wrong.fetch_add(1);
        }
    }
    finished.fetch_add(1);
}

void* worker(void*) {
    syscall(SYS_arch_prctl, ARCH_SET_GS, control);
    for (u64 round = 0; !over.load(); ++round) use_sites(round * kSites);
    return nullptr;
}

}  // namespace

int main(int argc, char** argv) {
    u64 wanted = argc > 1 ? strtoull(argv[1], nullptr, 0) : 100'000;
    int count = argc > 2 ? atoi(argv[2]) : 3;
    control[3] = reinterpret_cast<u64>(race_entry);
    syscall(SYS_arch_prctl, ARCH_SET_GS, control);
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0) != 0) {
        perror("membarrier");
        return 77;
    }
    // The patcher looks at what surrounds a site: a page on either side.
    void* memory = mmap(nullptr, kSites * 64 + 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    code = static_cast<u8*>(memory) + 4096;
    install(SIGSYS, on_call);
    install(SIGTRAP, on_breakpoint);
    install(SIGALRM, on_interrupt);
    install_filter();
    threads_alive = count + 1;
    std::vector<pthread_t> threads(static_cast<size_t>(count));
    for (auto& thread : threads) pthread_create(&thread, nullptr, worker, nullptr);
    itimerval interval{{0, 500}, {0, 500}};
    setitimer(ITIMER_REAL, &interval, nullptr);

    u64 forks = 0, rounds = 0;
    for (; patcher.patched() < wanted; ++rounds) {
        // Nobody runs the old sites any more: rewrite them, as a program that maps new code at old addresses.
        patcher.code_changed(reinterpret_cast<u64>(code), kSites * 64);
        mprotect(code, kSites * 64, PROT_READ | PROT_WRITE);
        for (u64 index = 0; index < kSites; ++index) write_site(index, rounds);
        mprotect(code, kSites * 64, PROT_READ | PROT_EXEC);
        patcher.force_breakpoints(rounds % 3 == 1);
        finished = 0;
        for (u64 index = 0; index < kSites; ++index) {
            turn.store(rounds * kSites + index + 1, std::memory_order_release);
            if (index % 1024 == 512) {
                patcher.lock();
                pid_t child = fork();
                if (child == 0) {
                    patcher.after_fork();
                    threads_alive = 1;
                    itimerval off{};
                    setitimer(ITIMER_REAL, &off, nullptr);
                    bool good = true;
                    for (u64 at = 0; at < kSites; at += 37) {
                        long result;
                        asm volatile("call *%1" : "=a"(result) : "r"(site(at)) : "rcx", "r11", "r8", "memory", "cc");
                        good = good && result == kNumber + 1;
                    }
                    _exit(good ? 0 : 1);
                }
                patcher.unlock();
                int status = 0;
                waitpid(child, &status, 0);
                if (status != 0) wrong.fetch_add(1);
                ++forks;
            }
        }
        while (finished.load() < static_cast<u64>(count)) sched_yield();
        if (rounds % 16 == 15) {  // as exec does; keeps the trampolines of this test within bounds
            // All threads wait for the next round, in no trampoline.
            patcher.code_reset();
            munmap(reinterpret_cast<void*>(place_base()), next_place.exchange(0));
        }
        if (wrong.load() != 0) break;
    }
    over = true;
    for (auto& thread : threads) pthread_join(thread, nullptr);
    printf(
        "%lu patches (%lu by breakpoint), %lu traps, %lu breakpoint hits, %lu busy, %lu refused, %lu interrupts, "
        "%lu forks, %lu wrong\n",
        patcher.patched(), patcher.breakpoint_patches(), trapped.load(), breakpoints.load(), busy.load(),
        refused.load(), interrupts.load(), forks, wrong.load());
    return wrong.load() == 0 ? 0 : 1;
}
