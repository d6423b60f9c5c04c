// SPDX-License-Identifier: Apache-2.0
// Names of functions from the symbol tables of ELF files, read through the program's own view of files: nothing outside
// the picoprocess ever parses what a program could have written.
#pragma once

#include "base/format.hpp"
#include "libos/errno.hpp"

namespace postern::libos {

/// Reads up to `size` bytes of the file; returns how many.
struct FileReader {
    virtual usize read(void* buffer, usize size, u64 offset) = 0;
};

struct Symbol {
    u64 start = 0;
    char name[128] = {};
};

/// The function that contains `address`, as the file's tables have it: .symtab, or .dynsym in a stripped file.
/// Errno::noent when none does; Errno::noexec when the file is no ELF file or its tables are broken.
Res<Symbol> find_symbol(FileReader& file, u64 address);

}  // namespace postern::libos
