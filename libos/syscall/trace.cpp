// SPDX-License-Identifier: Apache-2.0
// --trace: one record per system call, written at once so that those of several processes do not mix.
#include "libos/syscall/trace.hpp"

#include "libos/fs/path.hpp"
#include "libos/process/process.hpp"
#include "libos/shared/arena.hpp"
#include "libos/user.hpp"

namespace postern::libos {

constinit TraceSettings g_trace{};

namespace {

constexpr usize kRecordSize = 3800;  // one write of the gate's is 4096 bytes at most
constexpr usize kArgumentsLimit = 2500;

usize read_program(void* destination, u64 address, usize size) { return copy_in_some(destination, address, size); }

bool never_returns(u64 number) { return number == 60 || number == 231; }
bool makes_process(u64 number) { return number == 56 || number == 57 || number == 58 || number == 435; }
bool executes(u64 number) { return number == 59 || number == 322; }

u64 now(gate::Clock clock) {
    u64 nanoseconds = 0;
    g_gate->DkSystemTimeQuery(clock, &nanoseconds);
    return nanoseconds;
}

void write_out(const Text& text) { g_gate->DkDebugStringPrint(text.view().data(), text.size()); }

/// Nanoseconds as seconds, or as microseconds, with `digits` after the point.
void put_time(Text& text, u64 nanoseconds, u64 unit, int digits) {
    u64 divisor = unit;
    for (int i = 0; i < digits; ++i) divisor /= 10;
    text.add(nanoseconds / unit, '.', Padded{static_cast<i64>(nanoseconds % unit / divisor), digits, '0'});
}

bool lies_at(std::string_view name, std::string_view wanted) {
    if (name.size() < wanted.size() || memcmp(name.data(), wanted.data(), wanted.size()) != 0) return false;
    return name.size() == wanted.size() || name[wanted.size()] == '/' || wanted.back() == '/';
}

bool is_wanted_name(std::string_view name) {
    for (u32 i = 0; i < g_trace.path_count; ++i)
        if (lies_at(name, g_trace.paths[i])) return true;
    return false;
}

bool is_wanted_descriptor(Thread& thread, u64 fd) {
    auto file = thread.process->files->get(static_cast<u32>(fd));
    if (!file.ok() || file.value()->path == nullptr) return false;
    return is_wanted_name({file.value()->path, strlen(file.value()->path)});
}

/// The name as written, and as it reads from the directory that it starts at. Links are not followed.
bool is_wanted_path(Thread& thread, u64 address, i32 directory) {
    auto name = heap::allocate(2 * kPathMax);
    if (!name.ok()) return false;
    char* whole = static_cast<char*>(name.value());
    char* written = whole + kPathMax;
    bool wanted = false;
    auto length = copy_in_string(written, address, kPathMax);
    if (length.ok()) {
        wanted = is_wanted_name({written, length.value()});
        if (!wanted && written[0] != '/') {
            Text text{whole, kPathMax};
            if (directory == kAtWorkingDirectory) {
                Guard guard{thread.process->fs->lock};
                text.add(static_cast<const char*>(thread.process->fs->cwd));
            } else {
                auto file = thread.process->files->get(static_cast<u32>(directory));
                if (file.ok() && file.value()->path != nullptr) text.add(static_cast<const char*>(file.value()->path));
            }
            std::string_view rest{written, length.value()};
            while (rest.size() >= 2 && rest[0] == '.' && rest[1] == '/') rest.remove_prefix(2);
            text.add(text.size() == 1 ? "" : "/", rest);
            wanted = !text.truncated() && is_wanted_name(text.view());
        }
    }
    heap::release(whole, 2 * kPathMax);
    return wanted;
}

bool names_wanted_path(Thread& thread, u64 number, Arguments arguments) {
    CallText call = call_text(number);
    u32 paths = arguments_of_kind(call, "path"), descriptors = arguments_of_kind(call, "fd");
    for (u32 i = 0; i < 6; ++i) {
        if ((paths >> i & 1) == 0) continue;
        bool relative = i != 0 && (descriptors >> (i - 1) & 1) != 0;
        if (is_wanted_path(thread, arguments[i], relative ? static_cast<i32>(arguments[i - 1]) : kAtWorkingDirectory))
            return true;
    }
    for (u32 i = 0; i < 6; ++i)
        if ((descriptors >> i & 1) != 0 && is_wanted_descriptor(thread, arguments[i])) return true;
    return false;
}

/// Arguments [from, to) as elements of a JSON array; what is too long is cut, the JSON stays whole.
void put_json_arguments(Text& line, const CallText& call, Arguments arguments, u32 from, u32 to, u64 result) {
    TextBuffer<1100> argument;
    for (u32 i = from; i < to; ++i) {
        argument.clear();
        decode_argument(argument, call, arguments, i, result, read_program);
        line.add(i == 0 ? "\"" : ",\"");
        put_json(line, argument.view(), kArgumentsLimit);
        line.add('"');
    }
}

void put_result(Text& text, const CallText& call, u64 result) {
    if (result > ~4096ull) {
        i32 error = static_cast<i32>(-static_cast<i64>(result));
        const char* name = errno_name(error);
        text.add(",\"result\":-1,\"error\":\"", name != nullptr ? name : "?", '"');
    } else if (result_is_hexadecimal(call)) {
        text.add(",\"result\":\"0x", Hex{result}, '"');
    } else {
        text.add(",\"result\":", static_cast<i64>(result));
    }
}

/// Chrome's name for a process, which changes with execve(2).
void name_process() {
    const Thread& thread = current_thread();
    TextBuffer<400> record;
    record.add(",\n{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":", thread.process->pid, ",\"tid\":", thread.tid,
               ",\"args\":{\"name\":\"");
    put_json(record, {thread.name, strlen(thread.name)}, 300);
    record.add("\"}}");
    write_out(record);
}

}  // namespace

CallText call_text(u64 number) {
    const CallRow* row = find_call(number);
    if (row == nullptr) return {nullptr, number, "hex hex hex hex hex hex"};
    // Nobody serves it, so nobody has described its arguments.
    if (row->kinds[0] == 0 && row->level == Level::absent) return {row->name, number, "hex hex hex hex hex hex"};
    return {row->name, number, row->kinds};
}

void read_trace_option(std::string_view line) {
    auto value_of = [&](std::string_view key, std::string_view& value) {
        if (!line.starts_with(key)) return false;
        value = line;
        value.remove_prefix(key.size());
        return true;
    };
    std::string_view value;
    if (line == "trace=calls") {
        if (!g_trace.calls) memset(g_trace.wanted, 0xff, sizeof g_trace.wanted);
        g_trace.calls = true;
    } else if (line == "trace_times=1") {
        g_trace.times = true;
    } else if (line == "trace_format=json") {
        g_trace.format = TraceFormat::json;
    } else if (line == "trace_format=chrome") {
        g_trace.format = TraceFormat::chrome;
    } else if (value_of("trace_calls=", value)) {  // a digit for each four calls, the lowest first
        g_trace.calls = true;
        memset(g_trace.wanted, 0, sizeof g_trace.wanted);
        for (u32 i = 0; i < value.size() && i < kCallLimit / 4; ++i) {
            char c = value[i];
            u64 digit = c >= '0' && c <= '9' ? static_cast<u64>(c - '0') : static_cast<u64>(c - 'a' + 10) & 15;
            g_trace.wanted[i / 16] |= digit << (i % 16 * 4);
        }
    } else if (value_of("trace_path=", value)) {
        if (!value.empty() && g_trace.path_count < 16) g_trace.paths[g_trace.path_count++] = value;
    }
}

void begin_trace() {
    if (!g_trace.calls || g_trace.format != TraceFormat::chrome) return;
    // The array is closed by whoever knows that the last process has ended; viewers do not insist.
    std::string_view name{g_parameters->arguments[0]};
    for (usize i = name.size(); i-- > 0;)
        if (name[i] == '/') {
            name.remove_prefix(i + 1);
            break;
        }
    TextBuffer<600> record;
    record.add("[\n{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":2,\"tid\":2,\"args\":{\"name\":\"");
    put_json(record, name, 500);
    record.add("\"}}");
    write_out(record);
}

void drop_recent_calls(Thread& thread) {
    if (thread.recent_calls != nullptr) heap::destroy(thread.recent_calls);
    thread.recent_calls = nullptr;
}

TracedCall::TracedCall(Thread& thread, u64 number, Arguments arguments)
    : thread_{thread}, number_{number}, arguments_{arguments}, wanted_{call_is_wanted(number)} {
    if (g_trace.recent) {
        if (thread.recent_calls == nullptr) {
            auto made = heap::create<RecentCalls>();
            if (made.ok()) thread.recent_calls = made.value();
        }
        if (thread.recent_calls != nullptr) {
            recent_ = &thread.recent_calls->calls[thread.recent_calls->count++ % RecentCalls::kCount];
            memcpy(recent_->arguments, arguments, sizeof recent_->arguments);
            recent_->number = static_cast<u32>(number);
            recent_->returned = 0;
        }
    }
    if (wanted_ && g_trace.path_count != 0) wanted_ = names_wanted_path(thread, number, arguments);
    if (!wanted_) return;
    if (g_trace.times || g_trace.format != TraceFormat::text) {
        wall_ = now(gate::Clock::realtime);
        started_ = now(gate::Clock::monotonic);
    }
    CallText call = call_text(number);
    if (g_trace.format == TraceFormat::text) {
        shown_ = decode_enter(line_, call, arguments, read_program);
        if (never_returns(number)) print_text(") = ?");
        return;
    }
    shown_ = shown_before(call);
    put_json_arguments(line_, call, arguments, 0, shown_, 0);
    if (never_returns(number)) put_record(0, false);
}

void TracedCall::returned(u64 result) {
    if (recent_ != nullptr) recent_->result = result, recent_->returned = 1;
    if (!wanted_) return;
    CallText call = call_text(number_);
    if (g_trace.format == TraceFormat::text) {
        decode_leave(line_, call, arguments_, shown_, result, read_program);
        return print_text("");
    }
    put_json_arguments(line_, call, arguments_, shown_, argument_count(call), result);
    put_record(result, true);
    bool fresh = (makes_process(number_) && result == 0) || (executes(number_) && result == 0);
    if (fresh && g_trace.format == TraceFormat::chrome) name_process();
}

void TracedCall::resumed(u64 result) {
    if (!wanted_) return;
    line_.clear();
    if (g_trace.format == TraceFormat::text) {
        line_.add("<... vfork resumed>) = ", static_cast<i64>(result));
        return print_text("");
    }
    number_ = 58;
    put_record(result, true);
}

/// The number in front is the thread's that returns: after a fork both sides do.
void TracedCall::print_text(const char* ending) {
    TextBuffer<2800> whole;
    whole.add('[', current_thread().tid, "] ");
    if (g_trace.times) put_time(whole, wall_, 1'000'000'000, 6), whole.add(' ');
    whole.add(line_.view(), line_.truncated() ? "..." : "", ending);
    if (g_trace.times && *ending == 0) {
        whole.add(" <");
        put_time(whole, now(gate::Clock::monotonic) - started_, 1'000'000'000, 6);
        whole.add('>');
    }
    whole.add('\n');
    write_out(whole);
}

void TracedCall::put_record(u64 result, bool has_result) {
    const Thread& thread = current_thread();
    CallText call = call_text(number_);
    u64 taken = has_result ? now(gate::Clock::monotonic) - started_ : 0;
    TextBuffer<32> made_up;
    made_up.add("call_", number_);
    std::string_view name = call.name != nullptr ? std::string_view{call.name} : made_up.view();
    TextBuffer<kRecordSize> record;
    if (g_trace.format == TraceFormat::chrome) {
        record.add(",\n{\"name\":\"", name, "\",\"cat\":\"syscall\",\"ph\":\"X\",\"ts\":");
        put_time(record, started_, 1000, 3);
        record.add(",\"dur\":");
        put_time(record, taken, 1000, 3);
        record.add(",\"pid\":", thread.process->pid, ",\"tid\":", thread.tid, ",\"args\":{\"arguments\":[",
                   line_.view(), "]");
        if (has_result) put_result(record, call, result);
        record.add("}}");
    } else {
        record.add("{\"time\":");
        put_time(record, wall_, 1'000'000'000, 9);
        record.add(",\"pid\":", thread.process->pid, ",\"tid\":", thread.tid, ",\"call\":\"", name,
                   "\",\"arguments\":[", line_.view(), "]");
        if (has_result) put_result(record, call, result);
        record.add(",\"seconds\":");
        put_time(record, taken, 1'000'000'000, 9);
        record.add("}\n");
    }
    write_out(record);
}

}  // namespace postern::libos
