// SPDX-License-Identifier: Apache-2.0
// Reading ELF headers that may be hostile: every field is checked against the file's size and the program's addresses
// before anything is mapped. No input makes this code read outside the buffers it is given.
#pragma once

#include <elf.h>

#include <string_view>

#include "libos/errno.hpp"

namespace postern::libos {

inline constexpr u32 kMaxProgramHeaders = 1170;  ///< as Linux: the table fits in 64 KiB

struct ElfLimits {
    u64 file_size;
    u64 low, high;  ///< addresses that a program may have
};

/// What the headers of a valid executable say. Addresses are link-time; `bias` is added at load time.
struct ElfPlan {
    bool position_independent = false;
    bool executable_stack = false;
    u64 entry = 0;
    u64 low = 0, high = 0;  ///< pages covered by all segments
    u64 alignment = kPageSize;
    u64 headers = 0;        ///< address of the program headers in memory; 0: in no segment
    u64 header_offset = 0;  ///< of the program headers in the file
    u32 header_count = 0;
    u64 interpreter_offset = 0;  ///< of the path in the file
    u32 interpreter_size = 0;    ///< with its NUL; 0: none
};

/// First step, from the file's first bytes: where the program headers are. Errno::noexec for what is no x86-64
/// executable.
Res<void> check_elf_header(const Elf64_Ehdr& header, u64 file_size);
/// Second step. `headers` are header.e_phnum entries.
Res<ElfPlan> plan_elf(const Elf64_Ehdr& header, const Elf64_Phdr* headers, const ElfLimits& limits);
/// gate::Prot bits of a segment.
u32 segment_prot(const Elf64_Phdr& header);

/// "#!" line of a script: see execve(2).
struct ScriptLine {
    std::string_view interpreter;
    std::string_view argument;  ///< everything after the interpreter, trimmed; empty: none
};
inline constexpr usize kScriptHead = 256;  ///< BINPRM_BUF_SIZE
inline bool is_script(const char* head, usize size) { return size >= 2 && head[0] == '#' && head[1] == '!'; }
/// `head` are the file's first bytes, at most kScriptHead; views point into it. Errno::noexec if it names nothing.
Res<ScriptLine> parse_script(const char* head, usize size);

}  // namespace postern::libos
