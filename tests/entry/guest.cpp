// SPDX-License-Identifier: Apache-2.0
#include "tests/entry/guest.hpp"

namespace postern::guest {

const gate::LibOsParameters* parameters;
const gate::Calls* calls;

namespace {

// A program's calls use the thread's stack from its top: what goes on after them needs a stack of its own.
alignas(16) u8 test_stack[128 * 1024];

extern "C" [[noreturn]] void run_tests() {
    run();
    print("passed\n");
    calls->DkProcessExit(0);
    __builtin_trap();
}

}  // namespace

}  // namespace postern::guest

using namespace postern;

extern "C" {

void LibOsInitialize(const gate::LibOsParameters* given) {
    guest::parameters = given;
    guest::calls = given->calls;
    asm volatile("mov %0, %%rsp\n call run_tests" ::"r"(guest::test_stack + sizeof guest::test_stack) : "memory");
    __builtin_trap();
}

void LibOsThreadStart(u64 parameter) {
    reinterpret_cast<void (*)(u64)>(parameter)(parameter);
    __builtin_trap();
}

/// The one guarded read of these guests: see guarded_read in guest_gate.cpp.
extern const char guest_fault_site[], guest_fault_fixup[];

u64 LibOsExceptionDispatch(const gate::ExceptionInfo*, u64 instruction) {
    return instruction == reinterpret_cast<u64>(guest_fault_site) ? reinterpret_cast<u64>(guest_fault_fixup) : 0;
}
}
