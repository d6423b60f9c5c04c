// SPDX-License-Identifier: Apache-2.0
// Replacing the program of a process: find out what the file is, then tear down, load and build the first stack.
//
// Everything that can be refused is refused before prepare_exec(); after it the old program is gone and a failure
// ends the process with SIGKILL, as on Linux.
#include "libos/loader/exec.hpp"

#include "base/format.hpp"
#include "base/memory.hpp"
#include "libos/fs/path.hpp"
#include "libos/gate.hpp"
#include "libos/loader/image.hpp"
#include "libos/loader/stack.hpp"
#include "libos/process/exec_hooks.hpp"
#include "libos/process/process.hpp"
#include "libos/shared/arena.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

/// A copy of the auxiliary vector, for others to read in /proc/PID/auxv.
Res<void> remember_auxiliary(Process& process) {
    u64 at = process.start_stack;
    process.auxiliary_count = 0;
    if (at == 0) return {};
    const u64 arguments = TRY(read_user<u64>(at));
    if (arguments > 1 << 20) return {};
    at += (arguments + 2) * sizeof(u64);
    for (u32 count = 0; count < 1 << 20; ++count, at += sizeof(u64)) {
        const u64 entry = TRY(read_user<u64>(at));
        if (entry == 0) break;
    }
    at += sizeof(u64);
    for (u32 count = 0; count < 64; ++count, at += 2 * sizeof(u64)) {
        u64 pair[2];
        TRY(copy_in(pair, at, sizeof pair));
        memcpy(process.auxiliary + process.auxiliary_count, pair, sizeof pair);
        process.auxiliary_count += 2;
        if (pair[0] == 0 || process.auxiliary_count + 2 > Process::kAuxiliaryWords) break;
    }
    return {};
}

constexpr i32 kAtFdCwd = -100;
constexpr u32 kReadOnly = 0, kNonBlock = 04000, kCloseOnExec = 02000000, kNoFollow = 0400000;
constexpr u32 kMaxDepth = 5;             // interpreters of interpreters, as fs/exec.c
constexpr u64 kStackLimit = 3;           // RLIMIT_STACK
constexpr u64 kLargestStack = 64 << 20;  // of an unlimited stack: it is mapped whole, pages come on first touch
constexpr u64 kSmallestStack = 256 << 10;
constexpr u32 kFormatMask = 0170000, kRegularFile = 0100000;

bool may_execute(const Stat& stat, const Credentials& user) {
    if (user.fsuid == 0) return (stat.st_mode & 0111) != 0;
    if (stat.st_uid == user.fsuid) return (stat.st_mode & 0100) != 0;
    bool member = stat.st_gid == user.fsgid;
    for (u32 i = 0; i < user.group_count && !member; ++i) member = user.groups[i] == stat.st_gid;
    return (stat.st_mode & (member ? 0010 : 0001)) != 0;
}

/// What stays from the checks until the new program runs.
struct Program {
    FileRef file;
    FileRef interpreter_file;
    LoadPlan plan;
    LoadPlan interpreter;
};

Res<usize> read_head(Thread& thread, File& file, char (&head)[kScriptHead]) {
    usize size = 0;
    while (size < sizeof head) {
        i64 got = TRY(file.read_kernel(thread, head + size, sizeof head - size, size));
        if (got == 0) break;
        size += static_cast<usize>(got);
    }
    return size;
}

/// Follows "#!" lines until a binary is found; rewrites the arguments on the way.
Res<usize> resolve_scripts(Thread& thread, ExecRequest& request, FileRef& file, char (&head)[kScriptHead]) {
    char name[kScriptHead + 1];
    std::string_view invoked{request.path, strlen(request.path)};
    char argument[kScriptHead + 1];
    for (u32 depth = 0;; ++depth) {
        if (depth > kMaxDepth) return Failure{Errno::loop};
        usize size = TRY(read_head(thread, *file, head));
        if (!is_script(head, size)) return size;
        if (request.path_unreachable) return Failure{Errno::noent};
        ScriptLine line = TRY(parse_script(head, size));
        std::string_view texts[3] = {line.interpreter, invoked, {}};
        u32 count = 2;
        if (!line.argument.empty()) {
            copy_string(argument, sizeof argument, line.argument);
            texts[1] = {argument, line.argument.size()};
            texts[2] = invoked;
            count = 3;
        }
        TRY(request.arguments.prepend(1, texts, count));
        copy_string(name, sizeof name, line.interpreter);
        invoked = {name, line.interpreter.size()};
        file = TRY(open_executable(thread, kAtFdCwd, name, 0));
    }
}

Res<void> read_interpreter(Thread& thread, Program& program) {
    const ElfPlan& elf = program.plan.elf;
    if (elf.interpreter_size == 0) return {};
    auto* path = static_cast<char*>(TRY(heap::allocate(elf.interpreter_size)));
    auto result = [&]() -> Res<void> {
        i64 got = TRY(program.file->read_kernel(thread, path, elf.interpreter_size, elf.interpreter_offset));
        if (static_cast<u64>(got) != elf.interpreter_size || path[elf.interpreter_size - 1] != 0)
            return Failure{Errno::noexec};
        program.interpreter_file = TRY(open_executable(thread, kAtFdCwd, path, 0));
        char head[kScriptHead];
        usize size = TRY(read_head(thread, *program.interpreter_file, head));
        auto read = program.interpreter.read(thread, *program.interpreter_file, head, size);
        // A broken interpreter is the file's fault, and has an errno of its own on Linux: ELIBBAD is 80.
        if (!read.ok()) return Failure{read.error() == Errno::noexec ? static_cast<Errno>(80) : read.error()};
        return {};
    }();
    heap::release(path, elf.interpreter_size);
    return result;
}

struct Loaded {
    u64 start;    ///< first instruction
    u64 entry;    ///< of the program: AT_ENTRY
    u64 base;     ///< of the interpreter: AT_BASE
    u64 headers;  ///< AT_PHDR
};

Res<u64> random_word() {
    u64 value;
    TRY(check(g_gate->DkRandomBitsRead(&value, sizeof value)));
    return value;
}

Res<Loaded> load_program(Space& space, Program& program) {
    const ElfPlan& elf = program.plan.elf;
    Loaded loaded{};
    u64 bias = 0;
    if (elf.position_independent) {
        u64 place = align_up(space.program_base(), elf.alignment);
        u64 found = TRY(space.find(place, elf.high - elf.low, program.file.get()));
        bias = align_up(found, elf.alignment) - elf.low;
        if (align_up(found, elf.alignment) != found) {
            // Not where it was wanted: look again with room to align.
            found = TRY(space.find(0, elf.high - elf.low + elf.alignment, program.file.get()));
            bias = align_up(found, elf.alignment) - elf.low;
        }
    }
    TRY(program.plan.load(space, *program.file, bias));
    loaded.entry = elf.entry + bias;
    loaded.start = loaded.entry;
    loaded.headers = elf.headers != 0 ? elf.headers + bias : elf.low + bias + elf.header_offset;

    // The heap begins up to 32 MiB after the program.
    u64 random = TRY(random_word());
    space.set_break_start(elf.high + bias + (random & 0x1fff) * kPageSize);

    if (program.interpreter_file.get() != nullptr) {
        const ElfPlan& interpreter = program.interpreter.elf;
        u64 base = 0;
        if (interpreter.position_independent) {
            u64 slack = interpreter.alignment > kPageSize ? interpreter.alignment : 0;
            u64 found = TRY(space.find(0, interpreter.high - interpreter.low + slack, program.interpreter_file.get()));
            base = align_up(found, interpreter.alignment) - interpreter.low;
        }
        TRY(program.interpreter.load(space, *program.interpreter_file, base));
        loaded.base = base;
        loaded.start = interpreter.entry + base;
    } else {
        space.map_plain();
    }
    return loaded;
}

/// Signal frames need at least the processor's vector state and the fixed parts of a frame.
u64 smallest_signal_stack() {
    constexpr u64 kFixedParts = 944;
    u64 vector = g_parameters->processor_features[2];
    return vector != 0 ? vector + kFixedParts : 2048;
}

Res<u64> build_stack(Thread& thread, Space& space, const ExecRequest& request, const Program& program,
                     const Loaded& loaded) {
    const gate::LibOsParameters& host = *g_parameters;
    const Credentials& user = thread.process->credentials;
    const AuxiliaryEntry auxiliary[] = {
        {AT_SYSINFO_EHDR, host.time_page_image},
        {AT_MINSIGSTKSZ, smallest_signal_stack()},
        {AT_HWCAP, host.processor_features[0]},
        {AT_PAGESZ, kPageSize},
        {AT_CLKTCK, 100},
        {AT_PHDR, loaded.headers},
        {AT_PHENT, sizeof(Elf64_Phdr)},
        {AT_PHNUM, program.plan.elf.header_count},
        {AT_BASE, loaded.base},
        {AT_FLAGS, 0},
        {AT_ENTRY, loaded.entry},
        {AT_UID, user.uid},
        {AT_EUID, user.euid},
        {AT_GID, user.gid},
        {AT_EGID, user.egid},
        {AT_SECURE, 0},
        {AT_HWCAP2, host.processor_features[1]},
    };
    const u32 skip = host.time_page_image == 0 ? 1 : 0;
    StackContents contents{};
    contents.arguments = request.arguments.data();
    contents.argument_bytes = request.arguments.bytes();
    contents.argument_count = request.arguments.count();
    contents.environment = request.environment.data();
    contents.environment_bytes = request.environment.bytes();
    contents.environment_count = request.environment.count();
    contents.path = request.path;
    contents.platform = host.platform != nullptr ? host.platform : "x86_64";
    TRY(check(g_gate->DkRandomBitsRead(contents.random, sizeof contents.random)));
    contents.auxiliary = auxiliary + skip;
    contents.auxiliary_count = sizeof auxiliary / sizeof auxiliary[0] - skip;

    u64 image_size = stack_image_size(contents);
    u64 limit = thread.process->limits[kStackLimit][0];
    u64 size = limit > kLargestStack ? kLargestStack : page_floor(limit);
    if (size < kSmallestStack) size = kSmallestStack;
    if (size < image_size + kSmallestStack) size = page_ceil(image_size + kSmallestStack);
    const u64 mapping_top = space.stack_top();
    u32 prot = gate::kProtRead | gate::kProtWrite;
    if (program.plan.elf.executable_stack) prot |= gate::kProtExecute;
    TRY(space.map(mapping_top - size, size, prot, kMapFlagPrivate | kMapFlagFixed, nullptr, 0, MappingKind::stack));

    // The top itself is random within the last pages, in 16-byte steps, as arch_align_stack does.
    u64 random = TRY(random_word());
    u64 top = mapping_top - (random & 0x1ff) * 16;
    auto* image = static_cast<u8*>(TRY(heap::allocate_uncleared(image_size)));
    u64 pointer = build_stack_image(contents, top, image, image_size);
    auto copied = copy_out(pointer, image, image_size);
    heap::release(image, image_size);
    TRY(copied);
    return pointer;
}

std::string_view base_name(const char* path) {
    usize length = strlen(path), start = length;
    while (start > 0 && path[start - 1] != '/') --start;
    return {path + start, length - start};
}

Res<void> replace_image(Thread& thread, ExecRequest& request, Program& program, gate::Frame& frame) {
    Space& space = *thread.process->space;
    space.clear();
    Loaded loaded = TRY(load_program(space, program));
    u64 stack = TRY(build_stack(thread, space, request, program, loaded));
    const char* executable = program.file->path != nullptr ? program.file->path : request.path;
    finish_exec(thread, {executable, strlen(executable)}, {request.arguments.data(), request.arguments.bytes()},
                {request.environment.data(), request.environment.bytes()});
    copy_string(thread.name, sizeof thread.name, base_name(request.path));
    thread.fs_base = 0;
    g_gate->DkSegmentBaseSet(0, 0);
    libos_reset_vector_state(g_parameters->processor_features[3]);
    frame = gate::Frame{};
    frame.rip = loaded.start;
    frame.rsp = stack;
    thread.process->start_stack = stack;
    (void)remember_auxiliary(*thread.process);
    frame.flags = 0x202;  // interrupts enabled, as every program has it
    frame.original_rax = gate::kNoSystemCall;
    return {};
}

}  // namespace

Res<FileRef> open_executable(Thread& thread, i32 dirfd, const char* path, u32 flags) {
    FileRef file = TRY(open_path(thread, dirfd, path, kReadOnly | kNonBlock | kCloseOnExec | (flags & kNoFollow), 0));
    Stat stat;
    TRY(file->stat(thread, stat));
    if ((stat.st_mode & kFormatMask) != kRegularFile) return Failure{Errno::acces};
    if (!may_execute(stat, thread.process->credentials)) return Failure{Errno::acces};
    return file;
}

Res<ExecOutcome> execute(Thread& thread, ExecRequest& request, gate::Frame& frame) {
    if (request.arguments.count() == 0) TRY(request.arguments.append({"", 0}));  // as Linux since 5.18
    Program program;
    program.file = std::move(request.file);
    char head[kScriptHead];
    usize head_size = TRY(resolve_scripts(thread, request, program.file, head));
    TRY(program.plan.read(thread, *program.file, head, head_size));
    TRY(read_interpreter(thread, program));

    File* held[2] = {program.file.get(), program.interpreter_file.get()};
    ExecSide side = TRY(prepare_exec(thread, held, held[1] != nullptr ? 2 : 1));
    if (side == ExecSide::parent_resumed) return ExecOutcome::parent_resumes;
    auto replaced = replace_image(thread, request, program, frame);
    if (!replaced.ok()) {
        TextBuffer<256> line;
        line.add("postern: exec of ", request.path, " failed after the old program was gone: errno ",
                 static_cast<i32>(replaced.error()));
        report_line(line.view());
        exit_process(9);
    }
    return ExecOutcome::replaced;
}

}  // namespace postern::libos
