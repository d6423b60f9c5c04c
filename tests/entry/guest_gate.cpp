// SPDX-License-Identifier: Apache-2.0
// The gate and the personality interface from the inside: system calls, exceptions, interrupts, threads, fork.
#include "base/memory.hpp"
#include "tests/entry/guest.hpp"

namespace postern::guest {
namespace {

using gate::Err;
using gate::Frame;

// Program code as bytes, placed where programs live.
constexpr u64 kCode = 0x1000'0000;
constexpr u64 kStack = 0x2000'0000;
constexpr u64 kCaller = 500, kLeave = 501, kFaultTest = 502, kTrampolines = 0x1800'0000;

u64 system_calls = 0, exceptions = 0, interrupts = 0;
gate::ExceptionInfo last;
u64 next_place = kTrampolines;
bool patching = true;
volatile u32 harassing = 0;

extern "C" {
u64 run_program(u64 rip, u64 rsp, u64 argument);  // returns rdi of the call kLeave
void program_left();
extern u64 program_saved_rsp;
}
asm(R"(
        .text
        .globl run_program
run_program:
        push    %rbx
        push    %rbp
        push    %r12
        push    %r13
        push    %r14
        push    %r15
        mov     %rsp, program_saved_rsp(%rip)
        sub     $160+8, %rsp
        mov     %rsp, %rax
        mov     $20, %ecx
1:      movq    $0, -8(%rax,%rcx,8)
        dec     %ecx
        jnz     1b
        mov     %rdx, 48(%rax)
        movq    $0x202, 112(%rax)
        mov     %rdi, 128(%rax)
        mov     %rsi, 136(%rax)
        mov     %rax, %rdi
        jmp     *resume_pointer(%rip)
        .globl program_left
program_left:
        mov     program_saved_rsp(%rip), %rsp
        pop     %r15
        pop     %r14
        pop     %r13
        pop     %r12
        pop     %rbp
        pop     %rbx
        mov     program_result(%rip), %rax
        ret

        # u64 guarded_read(u64 address): the word there, or -1
        .globl guarded_read
        .globl guest_fault_site
        .globl guest_fault_fixup
guarded_read:
guest_fault_site:
        mov     (%rdi), %rax
        ret
guest_fault_fixup:
        mov     $-1, %rax
        ret
        .bss
        .balign 8
        .globl program_saved_rsp
program_saved_rsp: .quad 0
        .globl program_result
program_result: .quad 0
        .globl resume_pointer
resume_pointer: .quad 0
        .text
)");
extern "C" u64 program_result;
extern "C" void (*resume_pointer)(Frame*);
extern "C" u64 guarded_read(u64 address);

void serve(Frame* frame) {
    ++system_calls;
    switch (frame->rax) {
        case kCaller: frame->rax = frame->rdi + 1; return;
        case kLeave:
            program_result = frame->rdi;
            program_left();
            return;
        default: frame->rax = static_cast<u64>(-38); return;
    }
}

extern "C" [[noreturn]] void leave_from_exception();

void exception(Frame* frame, const gate::ExceptionInfo* info) {
    last = *info;
    if (info->kind == gate::ExceptionKind::interrupt) {
        ++interrupts;
        if (!harassing) frame->r15 = 1;  // the spinning program looks at it
        return;
    }
    ++exceptions;
    frame->rip = frame->r14;  // programs that fault keep their way out there
}

u64 place_code(u64, u64 size) {
    if (!patching) return 0;
    u64 place = next_place;
    next_place += size;
    return place;
}

const gate::Personality personality = {
    1, sizeof(gate::Personality), serve, exception, nullptr, nullptr, place_code, nullptr, nullptr};

class Assembler {
public:
    explicit Assembler(u64 at) : at_{at} {}
    Assembler& bytes(std::initializer_list<int> values) {
        for (int value : values) *reinterpret_cast<u8*>(at_++) = static_cast<u8>(value);
        return *this;
    }
    Assembler& word(u64 value) {
        memcpy(reinterpret_cast<void*>(at_), &value, 4);
        at_ += 4;
        return *this;
    }
    Assembler& call(u64 number) { return bytes({0xb8}).word(number).bytes({0x0f, 0x05}); }
    Assembler& leave() {
        bytes({0x48, 0x89, 0xc7});  // mov %rax,%rdi
        return call(kLeave);
    }
    u64 at() const { return at_; }

private:
    u64 at_;
};

void loop_program(u64 at, u64 rounds) {
    Assembler code{at};
    code.bytes({0xbb}).word(rounds);  // mov $rounds,%ebx
    code.bytes({0x31, 0xff});         // xor %edi,%edi
    u64 top = code.at();
    code.call(kCaller);
    code.bytes({0x48, 0x89, 0xc7});                                           // mov %rax,%rdi
    code.bytes({0xff, 0xcb, 0x75, static_cast<int>(top - (code.at() + 4))});  // dec %ebx; jnz top
    code.leave();
}

void test_calls() {
    expect_ok(calls->DkVirtualMemoryAlloc(kCode, 0x10000, gate::kAllocCommit, 7), "alloc code");
    expect(calls->DkVirtualMemoryAlloc(kCode, 0x10000, gate::kAllocCommit, 7) == Err::exists, "alloc again");
    expect(calls->DkVirtualMemoryAlloc(0x6000'0000'0000, 0x1000, gate::kAllocCommit, 3) == Err::denied, "alloc host");
    expect_ok(calls->DkVirtualMemoryAlloc(kStack, 0x10000, gate::kAllocCommit, 3), "alloc stack");
    for (u64 rounds : {100'000u, 10'000'000u}) {
        loop_program(kCode, rounds);
        u64 start = now();
        u64 result = run_program(kCode, kStack + 0x10000, 0);
        u64 time = now() - start;
        expect(result == rounds, "loop result", result);
        print("null call: ", rounds, " rounds, ", time * 100 / rounds, " hundredths of ns each\n");
    }
    patching = false;
    calls->DkVirtualMemoryAlloc(kCode + 0x10000, 0x1000, gate::kAllocCommit, 7);
    parameters->personality_host->code_reset();
    loop_program(kCode + 0x10000, 20'000);
    u64 start = now();
    expect(run_program(kCode + 0x10000, kStack + 0x10000, 0) == 20'000, "trapped loop");
    print("trapped call: ", (now() - start) / 20'000, " ns each\n");
    patching = true;
}

void test_exceptions() {
    Assembler code{kCode + 0x2000};
    u64 start = code.at();
    code.bytes({0x4c, 0x8d, 0x35}).word(8);            // lea out(%rip),%r14
    code.bytes({0x8b, 0x04, 0x25}).word(0x3000'0000);  // mov 0x30000000,%eax: faults
    code.bytes({0x90});
    Assembler out{code.at()};
    out.bytes({0xb8}).word(77);
    out.leave();
    u64 before = exceptions;
    expect(run_program(start, kStack + 0x10000, 0) == 77, "fault result");
    expect(exceptions == before + 1 && last.kind == gate::ExceptionKind::access_violation, "fault seen");
    expect(last.address == 0x3000'0000, "fault address", last.address);
    expect(guarded_read(0x3000'0000) == ~0ull, "fix-up");
    u64 value = 5;
    expect(guarded_read(reinterpret_cast<u64>(&value)) == 5, "guarded read");
    print("exceptions ok\n");
}

// A program that keeps a pattern in every register and the flags over its system calls, and says which was lost:
// rdi of the last call is 0, or the number of the check that failed. Copied to program addresses.
extern "C" const u8 pattern_program[], pattern_program_end[];
asm(R"(
        .text
        .globl pattern_program
        .globl pattern_program_end
pattern_program:
        mov     %rdi, %rbp                      # rounds
        mov     $0x1111111111111111, %rbx
        mov     $0x1212121212121212, %r12
        mov     $0x1313131313131313, %r13
        mov     $0x1515151515151515, %r15
        mov     $0x0808080808080808, %r8
        mov     $0x0909090909090909, %r9
        mov     $0x1010101010101010, %r10
        mov     $0x0202020202020202, %rdx
        mov     $0x0303030303030303, %rsi
        movq    %rbx, %xmm0
        movq    %r12, %xmm7
        movq    %r13, %xmm15
        movl    $0x1f80, -8(%rsp)
1:      mov     $41, %edi
        movq    $77, -128(%rsp)                 # the red zone
        stc
        .byte   0xb8, 0xf4, 0x01, 0x00, 0x00    # mov $500,%eax
        syscall
        jnc     9f
        mov     $1, %r14d
        cmp     $42, %rax
        jne     8f
        inc     %r14
        cmp     $41, %rdi
        jne     8f
        inc     %r14
        mov     $0x1111111111111111, %rax
        cmp     %rax, %rbx
        jne     8f
        inc     %r14
        mov     $0x1212121212121212, %rax
        cmp     %rax, %r12
        jne     8f
        inc     %r14
        mov     $0x1313131313131313, %rax
        cmp     %rax, %r13
        jne     8f
        inc     %r14
        mov     $0x1515151515151515, %rax
        cmp     %rax, %r15
        jne     8f
        inc     %r14
        mov     $0x0808080808080808, %rax
        cmp     %rax, %r8
        jne     8f
        inc     %r14
        mov     $0x0909090909090909, %rax
        cmp     %rax, %r9
        jne     8f
        inc     %r14
        mov     $0x1010101010101010, %rax
        cmp     %rax, %r10
        jne     8f
        inc     %r14
        mov     $0x0202020202020202, %rax
        cmp     %rax, %rdx
        jne     8f
        inc     %r14
        mov     $0x0303030303030303, %rax
        cmp     %rax, %rsi
        jne     8f
        inc     %r14
        movq    %xmm0, %rax
        cmp     %rax, %rbx
        jne     8f
        inc     %r14
        movq    %xmm7, %rax
        cmp     %rax, %r12
        jne     8f
        inc     %r14
        movq    %xmm15, %rax
        cmp     %rax, %r13
        jne     8f
        inc     %r14
        cmpq    $77, -128(%rsp)
        jne     8f
        dec     %rbp
        jnz     1b
        xor     %edi, %edi
        .byte   0xb8, 0xf5, 0x01, 0x00, 0x00    # mov $501,%eax
        syscall
9:      mov     $99, %r14d
8:      mov     %r14, %rdi
        .byte   0xb8, 0xf5, 0x01, 0x00, 0x00
        syscall
pattern_program_end:
)");

volatile u32 spinning = 0, stop_word = 0;
u32 thread_gone = 1;
gate::ThreadToken main_token;

void interrupter(u64) {
    while (!spinning) calls->DkThreadYieldExecution();
    expect_ok(calls->DkThreadInterrupt(main_token), "interrupt");
    calls->DkThreadExit(&thread_gone);
}

void test_threads() {
    constexpr u64 kThreadStack = 0x6180'0000'0000;
    expect_ok(calls->DkVirtualMemoryAlloc(kThreadStack, 0x10000, gate::kAllocCommit, 3), "thread stack");
    main_token = parameters->thread;
    gate::Handle thread;
    gate::ThreadToken token;
    // A program that spins until an interrupt sets r15.
    Assembler code{kCode + 0x3000};
    u64 start = code.at();
    code.bytes({0x45, 0x31, 0xff});              // xor %r15d,%r15d
    code.bytes({0xc7, 0x07}).word(1);            // movl $1,(%rdi)
    code.bytes({0x4d, 0x85, 0xff, 0x74, 0xfb});  // 1: test %r15,%r15; jz 1b
    code.bytes({0xb8}).word(9);
    code.leave();
    expect_ok(calls->DkThreadCreate(kThreadStack, 0x10000, reinterpret_cast<u64>(interrupter), &thread, &token),
              "thread");
    expect(run_program(start, kStack + 0x10000, reinterpret_cast<u64>(&spinning)) == 9, "spin");
    expect(interrupts >= 1, "interrupt count");
    while (__atomic_load_n(&thread_gone, __ATOMIC_ACQUIRE) != 0)
        calls->DkAddressWait(&thread_gone, 1, gate::kForever, gate::kAddressShared);
    u32 index;
    expect_ok(calls->DkObjectsWaitAny(1, &thread, gate::kForever, &index), "thread end");
    expect_ok(calls->DkObjectClose(thread), "close thread");
    expect(calls->DkObjectClose(thread) == Err::bad_handle, "close twice");
    // Interrupted sleep: the interrupt comes while the thread is in the call.
    thread_gone = 1;
    spinning = 1;
    expect_ok(calls->DkThreadCreate(kThreadStack, 0x10000, reinterpret_cast<u64>(interrupter), &thread, &token),
              "second thread");
    u32 word = 0;
    Err slept = calls->DkAddressWait(&word, 0, now() + 10'000'000'000, 0);
    expect(slept == Err::interrupted, "interrupted sleep", static_cast<u64>(slept));
    gate::thread_control()->pending = 0;
    calls->DkObjectsWaitAny(1, &thread, gate::kForever, &index);
    calls->DkObjectClose(thread);
    print("threads ok\n");
}

void harasser(u64) {
    while (harassing) {
        calls->DkThreadInterrupt(main_token);
        for (int i = 0; i < 200; ++i) asm volatile("pause");
    }
    calls->DkThreadExit(&thread_gone);
}

/// Interrupts at any instruction of the way in and out: nothing may be lost, neither registers nor interrupts.
void test_registers(bool patched) {
    constexpr u64 kThreadStack = 0x6180'0001'0000;
    u64 at = kCode + (patched ? 0x6000 : 0x7000);
    memcpy(reinterpret_cast<void*>(at), pattern_program, static_cast<u64>(pattern_program_end - pattern_program));
    calls->DkVirtualMemoryAlloc(kThreadStack, 0x10000, gate::kAllocCommit | gate::kAllocReplace, 3);
    gate::Handle thread;
    gate::ThreadToken token;
    u64 rounds = patched ? 300'000 : 5'000;
    patching = patched;
    thread_gone = 1;
    harassing = 1;
    u64 before = interrupts;
    expect_ok(calls->DkThreadCreate(kThreadStack, 0x10000, reinterpret_cast<u64>(harasser), &thread, &token),
              "harasser");
    u64 lost = 0, limit = now() + 20'000'000'000;
    while (lost == 0 && interrupts - before < 4'000 && now() < limit) lost = run_program(at, kStack + 0x10000, rounds);
    harassing = 0;
    patching = true;
    expect(lost == 0, "a register was lost", lost);
    expect(interrupts > before + 500, "interrupts came", interrupts - before);
    u32 index;
    while (calls->DkObjectsWaitAny(1, &thread, gate::kForever, &index) == Err::interrupted)
        gate::thread_control()->pending = 0;
    gate::thread_control()->pending = 0;
    calls->DkObjectClose(thread);
    print("registers ok over ", interrupts - before, " interrupts, ", patched ? "patched\n" : "trapped\n");
}

void test_objects() {
    gate::Handle event, semaphore, pipe;
    expect_ok(calls->DkSynchronizationEventCreate(0, &event), "event");
    expect_ok(calls->DkSemaphoreCreate(2, 3, &semaphore), "semaphore");
    u32 index = 9, value = 0;
    gate::Handle both[] = {event, semaphore};
    expect_ok(calls->DkObjectsWaitAny(2, both, gate::kForever, &index), "wait any");
    expect(index == 1, "semaphore taken");
    expect_ok(calls->DkSemaphorePeek(semaphore, &value), "peek");
    expect(value == 1, "one left");
    expect(calls->DkSemaphoreRelease(semaphore, 5, nullptr) == Err::too_big, "too many");
    expect(calls->DkObjectsWaitAny(1, &event, now() + 2'000'000, &index) == Err::timed_out, "time-out");
    expect(calls->DkEventSet(semaphore) == Err::wrong_kind, "kind");
    expect_ok(calls->DkEventSet(event), "set");
    expect_ok(calls->DkObjectsWaitAny(1, &event, gate::kPoll, &index), "taken");
    expect_ok(calls->DkEventPeek(event, &value), "peek event");
    expect(value == 0, "cleared by the wait");
    expect_ok(calls->DkStreamOpen("pipe:", 3, 0, 0, 0, &pipe, nullptr), "pipe");
    u64 actual = 0;
    char buffer[8] = {};
    gate::WaitItem items[2] = {{pipe, gate::kReadyRead, 0, 0}, {event, gate::kReadyRead, 0, 0}};
    expect(calls->DkObjectsWaitReady(2, items, now() + 2'000'000, &value) == Err::timed_out, "mixed time-out");
    expect_ok(calls->DkStreamWrite(pipe, gate::kNoOffset, "abc", 3, &actual), "write");
    expect_ok(calls->DkObjectsWaitReady(2, items, gate::kForever, &value), "ready");
    expect(value == 1 && (items[0].got & gate::kReadyRead), "pipe is ready");
    expect_ok(calls->DkStreamRead(pipe, gate::kNoOffset, buffer, 8, &actual), "read");
    expect(actual == 3 && memcmp(buffer, "abc", 3) == 0, "content");
    expect(calls->DkStreamRead(pipe, 0, buffer, 8, &actual) == Err::not_seekable, "not seekable");
    calls->DkObjectClose(pipe);
    calls->DkObjectClose(event);
    calls->DkObjectClose(semaphore);
    print("objects ok\n");
}

void test_memory_streams() {
    gate::Handle memory;
    expect_ok(calls->DkStreamOpen("memory:?size=65536", 3, 0, 0, 0, &memory, nullptr), "memory");
    expect_ok(calls->DkStreamMap(memory, 0x4000'0000, 65536, 0, 3, gate::kMapShared), "map");
    *reinterpret_cast<u64*>(0x4000'1000) = 0x1122334455667788;
    u64 value = 0, actual = 0;
    expect_ok(calls->DkStreamRead(memory, 0x1000, &value, 8, &actual), "read");
    expect(value == 0x1122334455667788, "shared");
    u64 start = now();
    for (int i = 0; i < 100'000; ++i) calls->DkStreamRead(memory, 0x1000, &value, 1, &actual);
    print("1-byte read through the gate: ", (now() - start) / 100'000, " ns\n");
    start = now();
    for (int i = 0; i < 1'000'000; ++i) calls->DkSystemTimeQuery(gate::Clock::monotonic, &value);
    print("time query: ", (now() - start) / 1'000'000, " ns\n");
    expect_ok(calls->DkStreamUnmap(0x4000'0000, 65536), "unmap");
    calls->DkObjectClose(memory);
    gate::Handle arena;
    expect_ok(calls->DkStreamOpen("memory:arena", 3, 0, 0, 0, &arena, nullptr), "arena");
    expect_ok(calls->DkStreamMap(arena, 0x6200'0000'0000, parameters->arena_size, 0, 3, gate::kMapShared), "map arena");
    gate::Handle file;
    expect_ok(calls->DkStreamOpen("file:/etc/passwd", 1, 0, 0, 0, &file, nullptr), "open");
    gate::Attributes attributes;
    expect_ok(calls->DkStreamAttributesQueryByHandle(file, &attributes), "attributes");
    expect(attributes.type == gate::StreamType::file && attributes.size > 0, "is a file");
    expect(calls->DkStreamWrite(file, 0, "x", 1, &actual) == Err::denied, "read-only");
    calls->DkObjectClose(file);
    expect(calls->DkStreamOpen("file:/nowhere", 1, 0, 0, 0, &file, nullptr) == Err::not_found, "not found");
    gate::Handle directory;
    expect_ok(calls->DkStreamOpen("file:/etc", 1, 0, 0, gate::kOpenDirectory, &directory, nullptr), "directory");
    u64 cookie = 0, names = 0;
    alignas(8) static char buffer[1024];
    for (;;) {
        expect_ok(calls->DkStreamEnumerateChildren(directory, &cookie, buffer, sizeof buffer, &actual), "enumerate");
        if (actual == 0) break;
        for (u64 at = 0; at < actual; ++names) at += reinterpret_cast<gate::DirectoryRecord*>(buffer + at)->size;
    }
    expect(names > 10, "names", names);
    print("streams ok, ", names, " names in /etc\n");
}

void test_fork() {
    auto* shared = reinterpret_cast<u32*>(0x6200'0000'0000);
    u64 start = now();
    for (u32 round = 0; round < 20; ++round) {
        gate::ForkResult fork;
        expect_ok(calls->DkProcessFork(&fork), "fork");
        if (fork.is_child) {
            loop_program(kCode + 0x5000, 1000);
            expect(run_program(kCode + 0x5000, kStack + 0x10000, 0) == 1000, "loop in child");
            __atomic_add_fetch(shared, 1, __ATOMIC_SEQ_CST);
            calls->DkProcessExit(7);
        }
        u32 index, code = 0;
        expect_ok(calls->DkObjectsWaitAny(1, &fork.process, gate::kForever, &index), "wait for child");
        expect_ok(calls->DkProcessGetExitCode(fork.process, &code), "exit code");
        expect(code == 7, "exit code value", code);
        expect_ok(calls->DkObjectClose(fork.process), "close process");
    }
    expect(*shared == 20, "children ran", *shared);
    print("fork ok: ", (now() - start) / 20'000, " us each with wait\n");
}

}  // namespace

void run() {
    print("guest: ", parameters->argument_count, " arguments, time page ", parameters->time_page ? "yes" : "no", "\n");
    resume_pointer = parameters->personality_host->resume;
    expect_ok(parameters->personality_host->register_personality(&personality), "register");
    test_calls();
    test_exceptions();
    test_threads();
    test_registers(true);
    test_registers(false);
    test_objects();
    test_memory_streams();
    test_fork();
}

}  // namespace postern::guest
