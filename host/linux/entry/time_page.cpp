// SPDX-License-Identifier: Apache-2.0
// The vDSO stays where the kernel put it: above all addresses that programs are given. Moving it to a fixed place would
// cost a look at /proc/self/maps, which the second wall has closed by now.
#include <elf.h>

#include "base/memory.hpp"
#include "host/linux/entry/host_call.hpp"
#include "host/linux/entry/start.hpp"

namespace postern::host {
namespace {

/// Bytes of the image in memory, from its program headers.
u64 image_size(u64 image) {
    auto* header = reinterpret_cast<const Elf64_Ehdr*>(image);
    auto* segments = reinterpret_cast<const Elf64_Phdr*>(image + header->e_phoff);
    u64 end = 0;
    for (int i = 0; i < header->e_phnum; ++i) {
        u64 segment_end = segments[i].p_offset + segments[i].p_memsz;
        if (segments[i].p_type == PT_LOAD && segment_end > end) end = segment_end;
    }
    return page_ceil(end);
}

/// __vdso_clock_gettime, from the dynamic symbols of the image.
u64 find_clock(u64 image) {
    auto* header = reinterpret_cast<const Elf64_Ehdr*>(image);
    auto* segments = reinterpret_cast<const Elf64_Phdr*>(image + header->e_phoff);
    u64 bias = image, dynamic = 0;
    bool loaded = false;
    for (int i = 0; i < header->e_phnum; ++i) {
        if (segments[i].p_type == PT_LOAD && !loaded)
            bias = image + segments[i].p_offset - segments[i].p_vaddr, loaded = true;
        if (segments[i].p_type == PT_DYNAMIC) dynamic = image + segments[i].p_offset;
    }
    if (dynamic == 0) return 0;
    u64 symbols = 0, names = 0, hash = 0, gnu_hash = 0;
    for (auto* entry = reinterpret_cast<const Elf64_Dyn*>(dynamic); entry->d_tag != DT_NULL; ++entry) {
        u64 value = entry->d_un.d_ptr + bias;
        if (entry->d_tag == DT_SYMTAB) symbols = value;
        if (entry->d_tag == DT_STRTAB) names = value;
        if (entry->d_tag == DT_HASH) hash = value;
        if (entry->d_tag == DT_GNU_HASH) gnu_hash = value;
    }
    if (symbols == 0 || names == 0) return 0;
    // Symbols precede their names in every vDSO; the hash table's count is exact where there is one.
    u64 count = hash != 0 ? reinterpret_cast<const u32*>(hash)[1] : (names - symbols) / sizeof(Elf64_Sym);
    if (hash == 0 && (gnu_hash == 0 || names < symbols || count > 256)) return 0;
    auto* symbol = reinterpret_cast<const Elf64_Sym*>(symbols);
    constexpr char kName[] = "__vdso_clock_gettime";
    for (u64 i = 0; i < count; ++i) {
        const char* name = reinterpret_cast<const char*>(names + symbol[i].st_name);
        if (symbol[i].st_shndx != SHN_UNDEF && memcmp(name, kName, sizeof kName) == 0) return bias + symbol[i].st_value;
    }
    return 0;
}

}  // namespace

void adopt_time_page(u64 image) {
    if (image == 0) return;
    g_process.time_page = image;
    g_process.time_page_size = image_size(image);
    g_process.time_page_image = image;
    g_process.time_function = reinterpret_cast<u64 (*)(long, void*)>(find_clock(image));
}

}  // namespace postern::host
