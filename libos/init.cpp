// SPDX-License-Identifier: Apache-2.0
// The beginning: from the host's upcall to the first instruction of the first program.
#include "base/format.hpp"
#include "base/memory.hpp"
#include "libos/fs/path.hpp"
#include "libos/gate.hpp"
#include "libos/loader/exec.hpp"
#include "libos/memory/space.hpp"
#include "libos/process/process.hpp"
#include "libos/shared/arena.hpp"
#include "libos/signal/delivery.hpp"
#include "libos/syscall/dispatch.hpp"

namespace postern::libos {

namespace {

constexpr u32 kStatusFailure = 125;        // as env(1) and docker: the launcher failed, not the program
constexpr u32 kStatusNotExecutable = 126;  // as shells
constexpr u32 kStatusNotFound = 127;

[[noreturn]] void end(u32 status, std::string_view text) {
    report_line(text);
    g_gate->DkProcessExit(status);
    __builtin_unreachable();
}

u64 place_code(u64 near, u64 size) {
    auto placed = current_process().space->place_code(near, size);
    return placed.ok() ? placed.value() : 0;
}

u32 code_begin(u64 address, u64 size) {
    auto prot = current_process().space->freeze_code(address, size);
    return prot.ok() ? prot.value() | gate::kCodeFrozen : 0;
}

void code_end() { current_process().space->thaw_code(); }

constexpr gate::Personality kPersonality = {
    .version = 1,
    .size = sizeof(gate::Personality),
    .system_call = serve_system_call,
    .exception = serve_exception,
    .thread_exit = nullptr,
    .process_exit = nullptr,
    .place_code = place_code,
    .code_begin = code_begin,
    .code_end = code_end,
};

const char* explain(Errno error) {
    switch (error) {
        case Errno::noent: return "no such file or directory";
        case Errno::acces: return "permission denied";
        case Errno::noexec: return "not an x86-64 Linux program";
        case Errno::isdir: return "is a directory";
        case Errno::notdir: return "not a directory";
        case Errno::loop: return "too many levels of links or interpreters";
        case Errno::toobig: return "arguments and environment are too long";
        case Errno::nomem: return "out of memory";
        case Errno::nametoolong: return "name too long";
        default: return nullptr;
    }
}

[[noreturn]] void cannot_run(std::string_view program, Errno error) {
    TextBuffer<1024> line;
    line.add("postern: cannot run '", program, "': ");
    const char* text = explain(error);
    if (text != nullptr)
        line.add(text);
    else
        line.add("errno ", static_cast<i32>(error));
    end(error == Errno::noent || error == Errno::notdir ? kStatusNotFound : kStatusNotExecutable, line.view());
}

std::string_view search_path(const char* const* environment) {
    for (; *environment != nullptr; ++environment)
        if (memcmp(*environment, "PATH=", strlen(*environment) < 5 ? strlen(*environment) : 5) == 0 &&
            strlen(*environment) >= 5)
            return *environment + 5;
    return "/usr/local/bin:/usr/bin:/bin";
}

/// As execvp(3): a name without a slash is looked for along PATH in the program's own view of files.
Res<FileRef> find_program(Thread& thread, std::string_view name, const char* const* environment, char (&path)[4096]) {
    bool has_slash = false;
    for (char character : name) has_slash = has_slash || character == '/';
    if (has_slash || name.empty()) {
        if (!copy_string(path, sizeof path, name)) return Failure{Errno::nametoolong};
        if (name.empty()) return Failure{Errno::noent};
        return open_executable(thread, -100, path, 0);
    }
    std::string_view list = search_path(environment);
    Errno outcome = Errno::noent;
    for (usize at = 0; at <= list.size();) {
        usize stop = at;
        while (stop < list.size() && list[stop] != ':') ++stop;
        Text text{path, sizeof path - 1};
        if (stop > at) text.add(std::string_view{list.data() + at, stop - at}, '/');
        text.add(name);
        path[text.size()] = 0;
        at = stop + 1;
        if (text.truncated()) continue;
        auto opened = open_executable(thread, -100, path, 0);
        if (opened.ok()) return opened;
        if (opened.error() == Errno::acces) outcome = Errno::acces;
    }
    return Failure{outcome};
}

void check_parameters(const gate::LibOsParameters& parameters) {
    if (parameters.version != gate::kAbiVersion || parameters.size < sizeof parameters ||
        parameters.calls->version != gate::kAbiVersion || parameters.calls->size < sizeof(gate::Calls))
        __builtin_trap();  // there is no gate to complain through
    if (parameters.argument_count < 1 || parameters.arguments == nullptr || parameters.environment == nullptr)
        end(kStatusFailure, "postern: no program to run");
    if (parameters.user_low >= parameters.user_high || !page_aligned(parameters.user_low | parameters.user_high))
        end(kStatusFailure, "postern: the host offers no addresses for programs");
}

template <class T>
T must(Res<T> result, std::string_view what) {
    if (!result.ok()) {
        TextBuffer<256> line;
        line.add("postern: library OS cannot start: ", what, ": errno ", static_cast<i32>(result.error()));
        end(kStatusFailure, line.view());
    }
    return result.take();
}

}  // namespace

}  // namespace postern::libos

extern "C" [[noreturn]] void postern::gate::LibOsInitialize(const postern::gate::LibOsParameters* parameters) {
    using namespace postern::libos;
    g_parameters = parameters;
    g_gate = parameters->calls;
    g_host = parameters->personality_host;
    check_parameters(*parameters);
    read_options(parameters->options);

    postern::libos::Res<void> shared = arena::initialize(parameters->arena_size);
    if (!shared.ok() && shared.error() == Errno::exist)
        end(kStatusFailure, "postern: a picoprocess that the family's library OS did not ask for was ended");
    must(shared, "shared memory");
    if (g_host->register_personality(&kPersonality) != Err::ok)
        end(kStatusFailure, "postern: the host refuses the Linux personality");
    must(prepare_reports(), "memory");
    must(initialize_file_systems(), "file systems");
    Process& process = *must(create_first_process(*parameters), "first process");
    Thread& thread = *process.threads.front();
    // What the host needs to know before a program's code is patched: who the thread is.
    thread_control()->context = &thread;

    ExecRequest& request = *must(heap::create<ExecRequest>(), "memory");
    std::string_view name{parameters->arguments[0]};
    auto found = find_program(thread, name, parameters->environment, request.path);
    if (!found.ok()) cannot_run(name, found.error());
    request.file = found.take();
    request.arguments.limit = request.environment.limit = 6 << 20;
    for (int i = 0; i < parameters->argument_count; ++i)
        must(request.arguments.append(parameters->arguments[i]), "argument too long");
    for (const char* const* text = parameters->environment; *text != nullptr; ++text)
        must(request.environment.append(*text), "environment too long");

    Frame frame;
    auto outcome = execute(thread, request, frame);
    if (!outcome.ok()) cannot_run(name, outcome.error());
    heap::destroy(&request);
    g_host->resume(&frame);
}
