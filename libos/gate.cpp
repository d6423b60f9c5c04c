// SPDX-License-Identifier: Apache-2.0
// The gate's entry points as LibOsInitialize received them, the log, and the end after a library-OS bug.
#include "libos/gate.hpp"

#include "base/format.hpp"

namespace postern::libos {

const gate::Calls* g_gate;
const gate::LibOsParameters* g_parameters;
const gate::PersonalityHost* g_host;
bool g_verbose;

void log_line(std::string_view text) {
    if (g_verbose) report_line(text);
}

void report_line(std::string_view text) {
    TextBuffer<1024> line;
    line.add(std::string_view{text.data(), text.size() < 1023 ? text.size() : 1023}, '\n');
    g_gate->DkDebugStringPrint(line.view().data(), line.size());
}

void panic(const char* what) {
    auto place = reinterpret_cast<u64>(__builtin_return_address(0));
    gate::ThreadControl* control = gate::thread_control();
    TextBuffer<1024> line;
    line.add("postern: library OS failure: ", what, " (called from ", Hex{place, 12}, ")\n");
    if (control != nullptr && control->frame != nullptr) {
        const gate::Frame& frame = *control->frame;
        line.add("  program: rip ", Hex{frame.rip, 16}, " rsp ", Hex{frame.rsp, 16}, " rax ", Hex{frame.rax, 16},
                 " call ", static_cast<i64>(frame.original_rax), "\n  rdi ", Hex{frame.rdi, 16}, " rsi ",
                 Hex{frame.rsi, 16}, " rdx ", Hex{frame.rdx, 16}, " r10 ", Hex{frame.r10, 16}, " r8 ",
                 Hex{frame.r8, 16}, " r9 ", Hex{frame.r9, 16}, "\n");
    }
    if (g_gate != nullptr) g_gate->DkDebugStringPrint(line.view().data(), line.size());
    __builtin_trap();  // the host reports the registers and the stack, and ends the picoprocess
}

}  // namespace postern::libos
