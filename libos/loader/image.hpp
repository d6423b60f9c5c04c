// SPDX-License-Identifier: Apache-2.0
// Mapping a checked ELF file into an address space.
#pragma once

#include "libos/fs/fd_table.hpp"
#include "libos/loader/elf.hpp"
#include "libos/memory/space.hpp"

namespace postern::libos {

/// A file whose headers were read and checked. The headers stay in private memory until it goes.
class LoadPlan {
public:
    LoadPlan() = default;
    ~LoadPlan();
    LoadPlan(const LoadPlan&) = delete;
    LoadPlan& operator=(const LoadPlan&) = delete;

    /// `head` are the first bytes of the file. Errno::noexec: malformed, or not for this machine.
    Res<void> read(Thread& thread, File& file, const void* head, usize head_size);
    /// Maps all segments with `bias` added to their addresses; what is there is replaced.
    Res<void> load(Space& space, File& file, u64 bias) const;

    ElfPlan elf;

private:
    Elf64_Phdr* headers_ = nullptr;
    u64 headers_size_ = 0;
};

}  // namespace postern::libos
