// SPDX-License-Identifier: Apache-2.0
// The vDSO gets a fixed home, so that it does not lie among the program's addresses and a saved image finds it again.
#include <linux/mman.h>
#include <elf.h>

#include "base/memory.hpp"
#include "host/linux/entry/host_call.hpp"
#include "host/linux/entry/start.hpp"

namespace postern::host {
namespace {

constexpr u64 kLargestTimePage = 64 * kPageSize;

u64 parse_hex(const char*& at) {
    u64 value = 0;
    for (;; ++at) {
        char c = *at;
        u64 digit;
        if (c >= '0' && c <= '9')
            digit = static_cast<u64>(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = static_cast<u64>(c - 'a' + 10);
        else
            return value;
        value = value << 4 | digit;
    }
}

/// Lines of /proc/self/maps that name [vvar...] or [vdso]: contiguous, in this order.
struct Areas {
    struct { u64 low, high; } area[8];
    u32 count = 0;
};

bool find_areas(Areas& areas) {
    static char text[16384];
    long descriptor = early_call(__NR_openat, -100, "/proc/self/maps", 0x80000 /* O_CLOEXEC */, 0);
    if (descriptor < 0) return false;
    usize length = 0;
    for (;;) {
        long count = early_call(__NR_read, descriptor, text + length, sizeof text - 1 - length);
        if (count <= 0) break;
        length += static_cast<usize>(count);
    }
    early_call(__NR_close, descriptor);
    text[length] = 0;
    for (const char* at = text; *at != 0;) {
        const char* line = at;
        while (*at != 0 && *at != '\n') ++at;
        const char* end = at;
        if (*at == '\n') ++at;
        bool wanted = false;
        for (const char* c = line; c + 5 <= end; ++c)
            wanted = wanted || (memcmp(c, "[vvar", 5) == 0 || memcmp(c, "[vdso", 5) == 0);
        if (!wanted || areas.count == 8) continue;
        const char* number = line;
        u64 low = parse_hex(number);
        ++number;
        areas.area[areas.count++] = {low, parse_hex(number)};
    }
    return areas.count != 0;
}

/// __vdso_clock_gettime, from the dynamic symbols of the image.
u64 find_clock(u64 image) {
    auto* header = reinterpret_cast<const Elf64_Ehdr*>(image);
    auto* segments = reinterpret_cast<const Elf64_Phdr*>(image + header->e_phoff);
    u64 bias = image, dynamic = 0;
    bool loaded = false;
    for (int i = 0; i < header->e_phnum; ++i) {
        if (segments[i].p_type == PT_LOAD && !loaded) bias = image + segments[i].p_offset - segments[i].p_vaddr, loaded = true;
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
    Areas areas;
    if (image == 0 || !find_areas(areas)) return;
    u64 low = areas.area[0].low, high = areas.area[areas.count - 1].high;
    if (high - low > kLargestTimePage || image < low || image >= high) return;
    for (u32 i = 0; i < areas.count; ++i) {
        u64 size = areas.area[i].high - areas.area[i].low, target = kTimePageBase + areas.area[i].low - low;
        long result = early_call(__NR_mremap, areas.area[i].low, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, target);
        if (result < 0) boot_failed(BootStep::time_page, result, "cannot move the time page");
    }
    g_process.time_page = kTimePageBase;
    g_process.time_page_size = high - low;
    g_process.time_page_image = kTimePageBase + image - low;
    g_process.time_function = reinterpret_cast<u64 (*)(long, void*)>(find_clock(g_process.time_page_image));
}

}  // namespace postern::host
