// SPDX-License-Identifier: Apache-2.0
// execve(2) and execveat(2): from program memory to an ExecRequest.
#include "base/format.hpp"
#include "base/memory.hpp"
#include "libos/fs/path.hpp"
#include "libos/loader/exec.hpp"
#include "libos/process/exec_hooks.hpp"
#include "libos/process/process.hpp"
#include "libos/shared/arena.hpp"
#include "libos/syscall/table.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u32 kSymlinkNoFollow = 0x100, kEmptyPathFlag = 0x1000;
constexpr u32 kNoFollow = 0400000;

u64 string_limit(const Process& process) {
    u64 quarter = process.limits[3][0] / 4;  // RLIMIT_STACK
    constexpr u64 kMost = 6 << 20, kLeast = 128 << 10;
    if (quarter > kMost) quarter = kMost;
    return quarter < kLeast ? kLeast : quarter;
}

struct RequestHolder {  // private heap: the request holds a whole path
    ExecRequest* request;
    ~RequestHolder() { heap::destroy(request); }
};

Res<i64> execute_at(Thread& thread, i32 dirfd, u64 path, u64 arguments, u64 environment, u32 flags) {
    if ((flags & ~(kSymlinkNoFollow | kEmptyPathFlag)) != 0) return Failure{Errno::inval};
    ExecRequest& request = *TRY(heap::create<ExecRequest>());
    RequestHolder holder{&request};
    usize length = TRY(copy_in_string(request.path, path, sizeof request.path));
    if (length == 0) {
        if ((flags & kEmptyPathFlag) == 0) return Failure{Errno::noent};
        FileRef named = TRY(thread.process->files->get(static_cast<u32>(dirfd)));
        request.path_unreachable = thread.process->files->close_on_exec(static_cast<u32>(dirfd)).value_or(false);
        // A description of its own: the descriptor may be O_PATH or have no right to read.
        if (named->path == nullptr) return Failure{Errno::acces};
        auto opened = open_executable(thread, -100, named->path, 0);
        // The name may be gone (memfd, unlinked): then the description itself must do.
        request.file = opened.ok() ? opened.take() : std::move(named);
        Text text{request.path, sizeof request.path - 1};
        text.add("/dev/fd/", dirfd);
        request.path[text.size()] = 0;
    } else {
        request.file =
            TRY(open_executable(thread, dirfd, request.path, (flags & kSymlinkNoFollow) != 0 ? kNoFollow : 0));
        if (request.path[0] != '/' && dirfd != -100) {
            request.path_unreachable = thread.process->files->close_on_exec(static_cast<u32>(dirfd)).value_or(false);
            char* relative = static_cast<char*>(TRY(heap::allocate(sizeof request.path)));
            memcpy(relative, request.path, sizeof request.path);
            Text text{request.path, sizeof request.path - 1};
            text.add("/dev/fd/", dirfd, "/", std::string_view{relative, length});
            request.path[text.size()] = 0;
            heap::release(relative, sizeof request.path);
        }
    }
    request.arguments.limit = request.environment.limit = string_limit(*thread.process);
    TRY(request.arguments.append_vector(arguments));
    TRY(request.environment.append_vector(environment));
    if (request.arguments.bytes() + request.environment.bytes() +
            8 * (u64{request.arguments.count()} + request.environment.count()) >
        request.arguments.limit)
        return Failure{Errno::toobig};
    gate::Frame& frame = *gate::thread_control()->frame;
    ExecOutcome outcome = TRY(execute(thread, request, frame));
    if (outcome == ExecOutcome::parent_resumes) return resumed_result();
    return 0;
}

}  // namespace

Res<i64> sys_execve(Thread& thread, Arguments arguments) {
    return execute_at(thread, -100, arguments[0], arguments[1], arguments[2], 0);
}

Res<i64> sys_execveat(Thread& thread, Arguments arguments) {
    return execute_at(thread, static_cast<i32>(arguments[0]), arguments[1], arguments[2], arguments[3],
                      static_cast<u32>(arguments[4]));
}

}  // namespace postern::libos
