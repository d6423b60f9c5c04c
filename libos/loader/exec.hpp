// SPDX-License-Identifier: Apache-2.0
// Starting programs: what execve(2), execveat(2) and the first start of the family share.
#pragma once

#include "gate/personality.hpp"
#include "libos/errno.hpp"
#include "libos/fs/fd_table.hpp"

namespace postern::libos {

struct Thread;

/// Argument and environment strings, copied out of the old program before it is torn down. Private heap.
/// Limits as Linux: MAX_ARG_STRLEN bytes per string, a quarter of RLIMIT_STACK (at least 128 KiB) in all: E2BIG.
class ExecStrings {
public:
    ExecStrings() = default;
    ~ExecStrings();
    ExecStrings(const ExecStrings&) = delete;
    ExecStrings& operator=(const ExecStrings&) = delete;

    /// Appends one string (without its NUL); Errno::toobig over the limits.
    Res<void> append(std::string_view text);
    /// Appends the strings of a NULL-terminated vector in program memory; a null vector counts as empty.
    Res<void> append_vector(u64 user_vector);
    /// Puts strings before the others (scripts); drops the first `drop` strings before that.
    Res<void> prepend(u32 drop, const std::string_view* texts, u32 count);

    u32 count() const { return count_; }
    u64 bytes() const { return size_; }         ///< with all NULs
    const char* data() const { return data_; }  ///< count() NUL-terminated strings one after the other
    u64 limit = 0;                              ///< bytes, pointers included; 0: 2 MiB

private:
    Res<void> reserve(u64 more);
    char* data_ = nullptr;
    u64 size_ = 0;
    u64 capacity_ = 0;
    u32 count_ = 0;
};

struct ExecRequest {
    FileRef file;                   ///< the program or script, opened for reading
    char path[4096] = {};           ///< as the caller named it: AT_EXECFN, and the name a script's interpreter gets
    bool path_unreachable = false;  ///< the name is /dev/fd/N of a close-on-exec descriptor: scripts cannot run
    ExecStrings arguments;
    ExecStrings environment;
};

enum class ExecOutcome {
    replaced,        ///< `frame` holds the new program's first state
    parent_resumes,  ///< a vfork context left for a process of its own; this thread is the parent again and its frame
                     ///< is set
};

/// Runs the request's program in the calling process. Errors leave the old program as it was; after the point of no
/// return failures end the process with SIGKILL. On success `frame` is what to resume with.
Res<ExecOutcome> execute(Thread& thread, ExecRequest& request, gate::Frame& frame);

/// open(2) for execution with execve's errors: EACCES for what is no regular file or lacks the right.
Res<FileRef> open_executable(Thread& thread, i32 dirfd, const char* path, u32 flags);

/// All vector and x87 state as a fresh program has it (assembly).
extern "C" void libos_reset_vector_state(u64 features /* XCR0 */);

}  // namespace postern::libos
