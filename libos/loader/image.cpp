// SPDX-License-Identifier: Apache-2.0
#include "libos/loader/image.hpp"

#include "base/memory.hpp"
#include "libos/gate.hpp"
#include "libos/shared/arena.hpp"
#include "libos/user.hpp"

namespace postern::libos {

LoadPlan::~LoadPlan() {
    if (headers_ != nullptr) heap::release(headers_, headers_size_);
}

Res<void> LoadPlan::read(Thread& thread, File& file, const void* head, usize head_size) {
    if (head_size < sizeof(Elf64_Ehdr)) return Failure{Errno::noexec};
    Elf64_Ehdr header;
    memcpy(&header, head, sizeof header);
    Stat stat;
    TRY(file.stat(thread, stat));
    u64 file_size = stat.st_size < 0 ? 0 : static_cast<u64>(stat.st_size);
    TRY(check_elf_header(header, file_size));
    headers_size_ = u64{header.e_phnum} * sizeof(Elf64_Phdr);
    headers_ = static_cast<Elf64_Phdr*>(TRY(heap::allocate(headers_size_)));
    if (header.e_phoff + headers_size_ <= head_size) {
        memcpy(headers_, static_cast<const u8*>(head) + header.e_phoff, headers_size_);
    } else {
        i64 got = TRY(file.read_kernel(thread, headers_, headers_size_, header.e_phoff));
        if (static_cast<u64>(got) != headers_size_) return Failure{Errno::noexec};
    }
    elf = TRY(plan_elf(header, headers_, {file_size, g_parameters->user_low, g_parameters->user_high}));
    return {};
}

Res<void> LoadPlan::load(Space& space, File& file, u64 bias) const {
    for (u32 i = 0; i < elf.header_count; ++i) {
        const Elf64_Phdr& segment = headers_[i];
        if (segment.p_type != PT_LOAD || segment.p_memsz == 0) continue;
        const u32 prot = segment_prot(segment);
        const u64 address = segment.p_vaddr + bias;
        const u64 start = page_floor(address);
        const u64 file_end = address + segment.p_filesz, memory_end = address + segment.p_memsz;
        u64 mapped_end = start;
        if (segment.p_filesz != 0) {
            mapped_end = page_ceil(file_end);
            TRY(space.map(start, mapped_end - start, prot, kMapFlagPrivate | kMapFlagFixed, &file,
                          page_floor(segment.p_offset), MappingKind::file));
            // The rest of the last page belongs to bss, to the page's end: loaders allocate there. Linux, too, leaves
            // segments alone that are not writable.
            if (memory_end > file_end && (prot & gate::kProtWrite) != 0 && mapped_end > file_end)
                TRY(zero_out(file_end, mapped_end - file_end));
        }
        if (page_ceil(memory_end) > mapped_end)
            TRY(space.map(mapped_end, page_ceil(memory_end) - mapped_end, prot, kMapFlagPrivate | kMapFlagFixed,
                          nullptr, 0, MappingKind::anonymous));
    }
    return {};
}

}  // namespace postern::libos
