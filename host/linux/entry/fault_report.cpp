// SPDX-License-Identifier: Apache-2.0
#include "host/linux/entry/fault_report.hpp"

#include "base/format.hpp"
#include "host/linux/entry/host_call.hpp"
#include "host/linux/entry/signals.hpp"
#include "host/linux/entry/threads.hpp"

namespace postern::host {
namespace {

/// Is there a call instruction before `address`? Direct, or through a register or memory.
bool follows_call(u64 address) {
    if (!in_host_image(address) || !in_host_image(address - 7)) return false;
    auto* at = reinterpret_cast<const u8*>(address);
    if (at[-5] == 0xe8) return true;
    constexpr u8 kCall = 2 << 3;  // FF /2
    for (int size : {2, 3, 4, 6, 7})
        if (at[-size] == 0xff && (at[1 - size] & 0x38) == kCall) return true;
    return false;
}

/// The images have no unwind tables and no frame pointers. What on the stack looks like a return address is one, or
/// was.
u32 collect_places(const SignalContext& context, u64 (&places)[kFaultPlaces]) {
    u32 count = 0;
    places[count++] = context.rip;
    const gate::ThreadControl& control = *gate::thread_control();
    if (context.rsp < control.stack_low || context.rsp >= control.stack_top || context.rsp % 8 != 0) return count;
    for (u64 at = context.rsp; at + 8 <= control.stack_top && count < kFaultPlaces; at += 8) {
        u64 value = *reinterpret_cast<const u64*>(at);
        if (follows_call(value)) places[count++] = value;
    }
    return count;
}

void leave_for_monitor(int signal, const SignalInfo& info, const SignalContext& context) {
    RequestHeader* header = g_process.requests;
    u32 nobody = 0;
    if (header == nullptr ||
        !__atomic_compare_exchange_n(&header->fault.claimed, &nobody, 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        return;  // the family's first failure is what matters
    FaultRecord& record = header->fault;
    record.process = process_id();
    record.signal = static_cast<u32>(signal);
    record.address = info.address;
    record.count = collect_places(context, record.places);
    __atomic_store_n(&record.complete, 1, __ATOMIC_RELEASE);
}

}  // namespace

void report_fault(const char* where, int signal, const SignalInfo& info, const SignalContext& context) {
    leave_for_monitor(signal, info, context);
    auto hex = [](u64 value) { return Hex{value, 16}; };
    const SignalContext& c = context;
    TextBuffer<1000> text;
    text.add("postern: fault in ", where, ": signal ", signal, " at 0x", Hex{c.rip}, ", address 0x", Hex{info.address},
             ", error ", c.error, "\n  rax ", hex(c.rax), "  rbx ", hex(c.rbx), "  rcx ", hex(c.rcx), "  rdx ",
             hex(c.rdx), "\n  rsi ", hex(c.rsi), "  rdi ", hex(c.rdi), "  rbp ", hex(c.rbp), "  rsp ", hex(c.rsp),
             "\n  r8  ", hex(c.r8), "  r9  ", hex(c.r9), "  r10 ", hex(c.r10), "  r11 ", hex(c.r11), "\n  r12 ",
             hex(c.r12), "  r13 ", hex(c.r13), "  r14 ", hex(c.r14), "  r15 ", hex(c.r15), "\n  flags ",
             Hex{c.eflags, 8}, "\n");
    write_error(text.view());
    for (;;) early_call(__NR_exit_group, 125);
}

}  // namespace postern::host
