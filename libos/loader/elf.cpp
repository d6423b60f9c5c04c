// SPDX-License-Identifier: Apache-2.0
#include "libos/loader/elf.hpp"

namespace postern::libos {

Res<void> check_elf_header(const Elf64_Ehdr& header, u64 file_size) {
    const auto& ident = header.e_ident;
    if (ident[EI_MAG0] != ELFMAG0 || ident[EI_MAG1] != ELFMAG1 || ident[EI_MAG2] != ELFMAG2 ||
        ident[EI_MAG3] != ELFMAG3)
        return Failure{Errno::noexec};
    if (ident[EI_CLASS] != ELFCLASS64 || ident[EI_DATA] != ELFDATA2LSB || header.e_machine != EM_X86_64)
        return Failure{Errno::noexec};
    if (header.e_type != ET_EXEC && header.e_type != ET_DYN) return Failure{Errno::noexec};
    if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0 || header.e_phnum > kMaxProgramHeaders)
        return Failure{Errno::noexec};
    u64 size = u64{header.e_phnum} * sizeof(Elf64_Phdr);
    if (header.e_phoff > file_size || size > file_size - header.e_phoff) return Failure{Errno::noexec};
    return {};
}

u32 segment_prot(const Elf64_Phdr& header) {
    u32 prot = 0;
    if ((header.p_flags & PF_R) != 0) prot |= gate::kProtRead;
    if ((header.p_flags & PF_W) != 0) prot |= gate::kProtWrite;
    if ((header.p_flags & PF_X) != 0) prot |= gate::kProtExecute;
    return prot;
}

Res<ElfPlan> plan_elf(const Elf64_Ehdr& header, const Elf64_Phdr* headers, const ElfLimits& limits) {
    ElfPlan plan;
    plan.position_independent = header.e_type == ET_DYN;
    plan.entry = header.e_entry;
    plan.header_offset = header.e_phoff;
    plan.header_count = header.e_phnum;
    const u64 room = limits.high - limits.low;
    u64 previous_end = 0;
    bool any = false;
    for (u32 i = 0; i < header.e_phnum; ++i) {
        const Elf64_Phdr& segment = headers[i];
        switch (segment.p_type) {
            case PT_LOAD: {
                if (segment.p_filesz > segment.p_memsz) return Failure{Errno::noexec};
                if (segment.p_memsz == 0) break;
                if (segment.p_memsz > room || segment.p_vaddr > limits.high ||
                    segment.p_memsz > limits.high - segment.p_vaddr)
                    return Failure{Errno::noexec};
                if (!plan.position_independent && page_floor(segment.p_vaddr) < limits.low)
                    return Failure{Errno::noexec};
                if (segment.p_offset > limits.file_size || segment.p_filesz > limits.file_size - segment.p_offset)
                    return Failure{Errno::noexec};
                if (segment.p_filesz != 0 && (segment.p_vaddr - segment.p_offset) % kPageSize != 0)
                    return Failure{Errno::noexec};
                if (any && segment.p_vaddr < previous_end) return Failure{Errno::noexec};
                // Linux ignores an alignment that is no power of two. What cannot be met in the address space is
                // refused.
                if (plan.position_independent && segment.p_align > plan.alignment &&
                    (segment.p_align & (segment.p_align - 1)) == 0) {
                    if (segment.p_align > (1ull << 30)) return Failure{Errno::noexec};
                    plan.alignment = segment.p_align;
                }
                if (!any) plan.low = page_floor(segment.p_vaddr);
                any = true;
                previous_end = segment.p_vaddr + segment.p_memsz;
                plan.high = page_ceil(previous_end);
                if (header.e_phoff >= segment.p_offset && header.e_phoff - segment.p_offset < segment.p_filesz &&
                    plan.headers == 0)
                    plan.headers = header.e_phoff - segment.p_offset + segment.p_vaddr;
                break;
            }
            case PT_INTERP:
                if (plan.interpreter_size != 0) break;  // the first one counts
                if (segment.p_filesz < 2 || segment.p_filesz > 4096) return Failure{Errno::noexec};
                if (segment.p_offset > limits.file_size || segment.p_filesz > limits.file_size - segment.p_offset)
                    return Failure{Errno::noexec};
                plan.interpreter_offset = segment.p_offset;
                plan.interpreter_size = static_cast<u32>(segment.p_filesz);
                break;
            case PT_GNU_STACK: plan.executable_stack = (segment.p_flags & PF_X) != 0; break;
            default: break;
        }
    }
    if (!any || plan.high <= plan.low || plan.high - plan.low > room / 2) return Failure{Errno::noexec};
    if (!plan.position_independent && plan.high > limits.high) return Failure{Errno::noexec};
    return plan;
}

}  // namespace postern::libos
