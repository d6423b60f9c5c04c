// SPDX-License-Identifier: Apache-2.0
// The report is made by the dying process itself, of its own memory and through its own view of files.
#include "libos/debug/crash.hpp"

#include "base/memory.hpp"
#include "libos/debug/symbols.hpp"
#include "libos/debug/unwind.hpp"
#include "libos/fs/fd_table.hpp"
#include "libos/memory/space.hpp"
#include "libos/proc/settings.hpp"
#include "libos/process/process.hpp"
#include "libos/syscall/trace.hpp"
#include "libos/user.hpp"

namespace postern::libos {

CrashReport g_crash_report = CrashReport::none;

namespace {

constexpr u32 kMostLines = 3;  ///< short reports of a family: some programs crash children for a living
constexpr u32 kMostFrames = 48;

usize read_program(void* destination, u64 address, usize size) { return copy_in_some(destination, address, size); }

/// Lines for the user, written in pieces that do not mix with others'.
class Report {
public:
    template <class... Parts>
    void line(const Parts&... parts) {
        TextBuffer<700> text;
        text.add(parts...);
        if (out_.size() + text.size() + 1 > 3500) flush();
        // Names are the program's: nothing of them may steer a terminal.
        for (char letter : text.view()) out_.add(static_cast<u8>(letter) < 32 || letter == 127 ? '?' : letter);
        out_.add('\n');
    }
    void flush() {
        if (out_.size() != 0) g_gate->DkDebugStringPrint(out_.view().data(), out_.size());
        out_.clear();
    }

private:
    TextBuffer<3600> out_;
};

/// The module around an address of the program. Holds its file.
struct Module {
    FileRef file;
    const char* path = nullptr;
    u64 base = 0;  ///< where its first byte is mapped
    ModulePlace place;
    bool has_place = false;
};

bool same_file(const Mapping& mapping, const Mapping& other) {
    if (mapping.file == other.file) return true;
    return mapping.file != nullptr && mapping.file->path != nullptr && other.file->path != nullptr &&
           strlen(mapping.file->path) == strlen(other.file->path) &&
           memcmp(mapping.file->path, other.file->path, strlen(mapping.file->path)) == 0;
}

bool find_module(Space& space, u64 address, Module& module) {
    module = Module{};
    {
        Guard guard{space.lock()};
        const Mapping* mapping = space.at_or_above(address);
        if (mapping == nullptr || mapping->start > address || mapping->file == nullptr) return false;
        mapping->file->reference();
        module.file = FileRef{mapping->file};
        module.path = mapping->file->path;
        const Mapping inside = *mapping;
        // The nearest mapping of the file's start below: a file may be mapped more than once.
        for (const Mapping* at = space.at_or_above(0); at != nullptr && at->start <= inside.start;
             at = space.at_or_above(at->end))
            if (at->file != nullptr && at->offset == 0 && same_file(*at, inside)) module.base = at->start;
    }
    if (module.path == nullptr || module.base == 0) return false;
    auto place = find_module_tables(module.base, read_program);
    if (place.ok()) module.place = place.value(), module.has_place = true;
    return true;
}

class SymbolFile final : public FileReader {
public:
    SymbolFile(Thread& thread, File& file) : thread_{thread}, file_{file} {}
    usize read(void* buffer, usize size, u64 offset) override {
        auto got = file_.read_kernel(thread_, buffer, size, offset);
        return got.ok() && got.value() > 0 ? static_cast<usize>(got.value()) : 0;
    }

private:
    Thread& thread_;
    File& file_;
};

const char* word_for(const SignalInfo& info) {
    if (info.code <= 0) return "raised by itself";
    switch (info.signal) {
        case kSigSegv:
            return info.code == 1   ? "address not mapped"
                   : info.code == 2 ? "access not permitted"
                                    : "general protection";
        case kSigBus: return info.code == 1 ? "misaligned address" : "no memory behind the address";
        case kSigFpe: return info.code == 1 ? "integer division" : "arithmetic";
        case kSigIll: return "invalid instruction";
        case kSigTrap: return "breakpoint";
        default: return "";
    }
}

void put_place(Thread& thread, Text& text, u64 address, u64 lookup, bool symbols) {
    Module module;
    if (!find_module(*thread.process->space, lookup, module)) return;
    u64 offset = address - (module.has_place ? module.place.bias : module.base);
    if (symbols && module.has_place) {
        SymbolFile file{thread, *module.file};
        auto symbol = find_symbol(file, lookup - module.place.bias);
        if (symbol.ok())
            text.add(static_cast<const char*>(symbol.value().name), "+0x", Hex{offset - symbol.value().start}, "  ");
    }
    text.add(static_cast<const char*>(module.path), "+0x", Hex{offset});
}

UnwindFrame first_frame(const gate::Frame& frame) {
    UnwindFrame out{{frame.rax, frame.rdx, frame.rcx, frame.rbx, frame.rsi, frame.rdi, frame.rbp, frame.rsp, frame.r8,
                     frame.r9, frame.r10, frame.r11, frame.r12, frame.r13, frame.r14, frame.r15, frame.rip},
                    true};
    // After a system call the address is behind it, as after a call.
    if (frame.original_rax != gate::kNoSystemCall) out.interrupted = false;
    return out;
}

bool next_frame(Thread& thread, UnwindFrame& frame, bool first) {
    Module module;
    u64 address = frame.lookup_address();
    if (find_module(*thread.process->space, address, module) && module.has_place && module.place.eh_frame_header != 0) {
        auto done = unwind(frame, module.place.eh_frame_header, read_program);
        if (done.ok()) return true;
        if (done.error() != Errno::noent) return false;
    } else if (first && (thread.process->space->protection_at(address) & gate::kProtExecute) == 0) {
        // A call of an address where there is no code: what called it is on top of the stack.
        if (read_program(&frame.pc(), frame.sp(), 8) != 8) return false;
        frame.sp() += 8;
        frame.interrupted = false;
        return true;
    }
    return unwind_by_frame_pointer(frame, read_program).ok();
}

void report_registers(Report& report, const gate::Frame& f) {
    auto word = [](u64 value) { return Hex{value, 16}; };
    report.line("  rax ", word(f.rax), "  rbx ", word(f.rbx), "  rcx ", word(f.rcx), "  rdx ", word(f.rdx));
    report.line("  rsi ", word(f.rsi), "  rdi ", word(f.rdi), "  rbp ", word(f.rbp), "  rsp ", word(f.rsp));
    report.line("  r8  ", word(f.r8), "  r9  ", word(f.r9), "  r10 ", word(f.r10), "  r11 ", word(f.r11));
    report.line("  r12 ", word(f.r12), "  r13 ", word(f.r13), "  r14 ", word(f.r14), "  r15 ", word(f.r15));
    report.line("  rip ", word(f.rip), "  flags ", Hex{f.flags, 8});
}

void report_calls(Report& report, const Thread& thread) {
    const RecentCalls* recent = thread.recent_calls;
    if (recent == nullptr || recent->count == 0) return;
    report.line("last system calls of the thread, as their arguments read now:");
    u64 from = recent->count > RecentCalls::kCount ? recent->count - RecentCalls::kCount : 0;
    for (; from < recent->count; ++from) {
        const RecentCalls::Call& call = recent->calls[from % RecentCalls::kCount];
        TextBuffer<600> text;
        CallText row = call_text(call.number);
        u32 shown = decode_enter(text, row, call.arguments, read_program);
        if (call.returned != 0)
            decode_leave(text, row, call.arguments, shown, call.result, read_program);
        else
            text.add(") = ?");
        report.line("  ", text.view());
    }
}

void report_stack(Report& report, Thread& thread, const gate::Frame& frame) {
    report.line("stack:");
    UnwindFrame at = first_frame(frame);
    for (u32 i = 0; i < kMostFrames; ++i) {
        TextBuffer<600> place;
        put_place(thread, place, at.pc(), at.lookup_address(), true);
        report.line("  #", i, i < 10 ? "  " : " ", Hex{at.pc(), 16}, "  ", place.view());
        if (!next_frame(thread, at, i == 0) || at.pc() == 0) return;
    }
    report.line("  ... more");
}

}  // namespace

void read_crash_option(std::string_view line) {
    if (line == "crash=none") g_crash_report = CrashReport::none;
    if (line == "crash=short") g_crash_report = CrashReport::brief;
    if (line == "crash=full") g_crash_report = CrashReport::full, g_trace.recent = true;
}

void report_crash(Thread& thread, const gate::Frame& frame, const SignalInfo& info, bool core) {
    if (g_crash_report == CrashReport::none || !core || info.signal == kSigQuit) return;
    Process& process = *thread.process;
    if (info.code <= 0 && info.rt.pid != process.pid) return;
    bool full = g_crash_report == CrashReport::full;
    u32 number = full ? 0 : __atomic_add_fetch(&settings().crash_lines, 1, __ATOMIC_RELAXED);
    if (number > kMostLines) return;
    auto made = heap::create<Report>();
    if (!made.ok() || process.space == nullptr) return;
    Report& report = *made.value();
    TextBuffer<600> place;
    put_place(thread, place, frame.rip, frame.rip, full);
    TextBuffer<64> fault;
    if (info.code > 0 && info.code != 0x80 && (info.signal == kSigSegv || info.signal == kSigBus))
        fault.add(" 0x", Hex{info.fault.address});
    TextBuffer<32> which;
    if (thread.tid != process.pid) which.add(", thread ", thread.tid);
    report.line("postern: process ", process.pid, " (", static_cast<const char*>(thread.name), which.view(),
                ") was ended by ", signal_name(static_cast<u32>(info.signal)), ": ", word_for(info), fault.view(),
                ", at 0x", Hex{frame.rip}, place.size() != 0 ? " " : "", place.view(),
                full                   ? ""
                : number == kMostLines ? "; further ones are not reported"
                                       : "");
    if (full) {
        report_registers(report, frame);
        report_calls(report, thread);
        report_stack(report, thread, frame);
    }
    report.flush();
    heap::destroy(&report);
}

}  // namespace postern::libos
