// SPDX-License-Identifier: Apache-2.0
// Loading the library OS: an ELF file linked at fixed addresses that names its upcalls in a note.
#include <elf.h>
#include <linux/mman.h>

#include "base/memory.hpp"
#include "host/linux/entry/host_call.hpp"
#include "host/linux/entry/start.hpp"

namespace postern::host {
namespace {

constexpr u64 kMostFile = 256ull << 20;

[[noreturn]] void reject(std::string_view why) { boot_failed(BootStep::library, EINVAL, why); }

void load_segment(const Elf64_Phdr& segment) {
    u64 start = segment.p_vaddr, end = start + segment.p_memsz, file_end = start + segment.p_filesz;
    if (end < start || segment.p_filesz > segment.p_memsz || start < kLibOsBase || end > kLibOsHeap)
        reject("the library OS has a segment outside its place");
    if ((start - segment.p_offset) % kPageSize != 0) reject("the library OS has a misaligned segment");
    if ((segment.p_flags & (PF_W | PF_X)) == (PF_W | PF_X)) reject("the library OS has writable code");
    int prot = ((segment.p_flags & PF_R) ? PROT_READ : 0) | ((segment.p_flags & PF_W) ? PROT_WRITE : 0) |
               ((segment.p_flags & PF_X) ? PROT_EXEC : 0);
    u64 low = page_floor(start), mapped_end = low;
    if (segment.p_filesz != 0) {
        mapped_end = page_ceil(file_end);
        long result = early_call(__NR_mmap, low, mapped_end - low, prot, MAP_PRIVATE | MAP_FIXED, kFdLibOs,
                                 page_floor(segment.p_offset));
        if (result < 0) boot_failed(BootStep::library, result, "cannot map the library OS");
        // What follows the file's part on its last page is zero-initialised data.
        if ((segment.p_flags & PF_W) && segment.p_memsz > segment.p_filesz)
            memset(reinterpret_cast<void*>(file_end), 0, mapped_end - file_end);
    }
    if (page_ceil(end) > mapped_end) {
        long result = early_call(__NR_mmap, mapped_end, page_ceil(end) - mapped_end, prot,
                                 MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0);
        if (result < 0) boot_failed(BootStep::library, result, "no memory for the library OS");
    }
    if (start < g_process.libos_low) g_process.libos_low = low;
    if (page_ceil(end) > g_process.libos_high) g_process.libos_high = page_ceil(end);
}

u64 find_symbol(u64 file, u64 size, const char* name) {
    auto* header = reinterpret_cast<const Elf64_Ehdr*>(file);
    if (header->e_shentsize != sizeof(Elf64_Shdr) || header->e_shoff > size ||
        u64{header->e_shnum} * sizeof(Elf64_Shdr) > size - header->e_shoff)
        reject("the library OS has no section table");
    auto* sections = reinterpret_cast<const Elf64_Shdr*>(file + header->e_shoff);
    usize name_size = strlen(name) + 1;
    for (u32 i = 0; i < header->e_shnum; ++i) {
        const Elf64_Shdr& table = sections[i];
        if (table.sh_type != SHT_SYMTAB || table.sh_link >= header->e_shnum) continue;
        const Elf64_Shdr& names = sections[table.sh_link];
        if (table.sh_offset > size || table.sh_size > size - table.sh_offset || names.sh_offset > size ||
            names.sh_size > size - names.sh_offset)
            reject("the library OS has a broken symbol table");
        auto* symbol = reinterpret_cast<const Elf64_Sym*>(file + table.sh_offset);
        for (u64 j = 0; j < table.sh_size / sizeof(Elf64_Sym); ++j) {
            if (symbol[j].st_shndx == SHN_UNDEF || symbol[j].st_name > names.sh_size ||
                names.sh_size - symbol[j].st_name < name_size)
                continue;
            if (memcmp(reinterpret_cast<const char*>(file + names.sh_offset + symbol[j].st_name), name, name_size) == 0)
                return symbol[j].st_value;
        }
    }
    return 0;
}

/// Addresses of the upcalls that the image names itself, in a note "Postern" of type 1 (libos/upcalls.S); null without.
/// Its pages are mapped already.
const u64* find_note(const Elf64_Phdr* segments, u32 count) {
    constexpr char kOwner[] = "Postern";
    for (u32 i = 0; i < count; ++i) {
        if (segments[i].p_type != PT_NOTE) continue;
        u64 at = segments[i].p_vaddr, end = at + segments[i].p_filesz;
        if (end < at || at < g_process.libos_low || end > g_process.libos_high) continue;
        constexpr u64 kSize = sizeof(Elf64_Nhdr) + sizeof kOwner + 3 * sizeof(u64);
        auto* note = reinterpret_cast<const Elf64_Nhdr*>(at);
        if (end - at < kSize || note->n_namesz != sizeof kOwner || note->n_type != 1 || note->n_descsz != 24) continue;
        if (memcmp(note + 1, kOwner, sizeof kOwner) != 0) continue;
        return reinterpret_cast<const u64*>(at + sizeof(Elf64_Nhdr) + sizeof kOwner);
    }
    return nullptr;
}

/// The same from the symbol table, for images without the note: small guests of the tests.
void find_by_name(u64 (&upcalls)[3]) {
    constexpr const char* kNames[] = {"LibOsInitialize", "LibOsThreadStart", "LibOsExceptionDispatch"};
    long size = early_call(__NR_lseek, kFdLibOs, 0, 2 /* SEEK_END */);
    if (size < 0 || static_cast<u64>(size) > kMostFile)
        boot_failed(BootStep::library, size < 0 ? size : EINVAL, "the library OS is too large");
    long mapped = early_call(__NR_mmap, nullptr, size, PROT_READ, MAP_PRIVATE, kFdLibOs, 0);
    if (mapped < 0) boot_failed(BootStep::library, mapped, "cannot read the library OS");
    for (u32 i = 0; i < 3; ++i) upcalls[i] = find_symbol(static_cast<u64>(mapped), static_cast<u64>(size), kNames[i]);
    early_call(__NR_munmap, mapped, size);
}

}  // namespace

void load_library() {
    constexpr u32 kMostSegments = 12;
    struct {
        Elf64_Ehdr header;
        Elf64_Phdr segments[kMostSegments];
    } file;
    long got = early_call(__NR_pread64, kFdLibOs, &file, sizeof file, 0);
    if (got < static_cast<long>(sizeof file.header))
        boot_failed(BootStep::library, got < 0 ? got : EINVAL, "no library OS on descriptor 3");
    const Elf64_Ehdr& header = file.header;
    if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_type != ET_EXEC || header.e_machine != EM_X86_64)
        reject("the library OS is not an x86-64 executable with fixed addresses");
    if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phoff != sizeof header || header.e_phnum > kMostSegments ||
        static_cast<u64>(got) < sizeof header + u64{header.e_phnum} * sizeof(Elf64_Phdr))
        reject("the library OS has no segment table");
    g_process.libos_low = kLibOsHeap;
    g_process.libos_high = kLibOsBase;
    for (u32 i = 0; i < header.e_phnum; ++i)
        if (file.segments[i].p_type == PT_LOAD && file.segments[i].p_memsz != 0) load_segment(file.segments[i]);

    u64 upcalls[3];
    if (const u64* noted = find_note(file.segments, header.e_phnum))
        memcpy(upcalls, noted, sizeof upcalls);
    else
        find_by_name(upcalls);
    for (u64 address : upcalls)
        if (address < g_process.libos_low || address >= g_process.libos_high)
            reject("the library OS lacks an upcall (LibOsInitialize, LibOsThreadStart, LibOsExceptionDispatch)");
    g_process.libos_initialize = reinterpret_cast<void (*)(const gate::LibOsParameters*)>(upcalls[0]);
    g_process.libos_thread_start = reinterpret_cast<void (*)(u64)>(upcalls[1]);
    g_process.libos_exception = reinterpret_cast<u64 (*)(const gate::ExceptionInfo*, u64)>(upcalls[2]);
}

}  // namespace postern::host
