// SPDX-License-Identifier: Apache-2.0
#include "host/linux/monitor/text_builder.hpp"

#include <cpuid.h>
#include <elf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <string_view>

#include "host/linux/entry/patch/patcher.hpp"

namespace postern::host {

namespace {

constexpr u32 kCallLimit = 1024;          // numbers of system calls are below
constexpr u64 kCodeLimit = 1 << 20;       // room for trampolines
constexpr u64 kDistanceLimit = 64 << 20;  // from the start of a program to its text

bool read_at(int descriptor, void* buffer, usize size, u64 offset) {
    u8* at = static_cast<u8*>(buffer);
    while (size != 0) {
        ssize_t got = pread(descriptor, at, size, static_cast<off_t>(offset));
        if (got <= 0) return false;
        at += got, size -= static_cast<usize>(got), offset += static_cast<u64>(got);
    }
    return true;
}

/// Where the code is, and where a loader puts it: all in bytes, whole pages.
struct Plan {
    u64 offset = 0, size = 0, readable = 0;
    u64 above_base = 0;  ///< of the text above the program's lowest address
    bool loader = false;
};

/// The dynamic loader of glibc goes by this name.
bool is_loader(int descriptor, const std::vector<Elf64_Phdr>& headers) {
    static constexpr std::string_view kName = "ld-linux-x86-64.so.2";
    u64 strings = 0, name = 0;
    for (const Elf64_Phdr& header : headers) {
        if (header.p_type == PT_INTERP) return false;
        if (header.p_type != PT_DYNAMIC || header.p_filesz > 64 << 10) continue;
        std::vector<Elf64_Dyn> entries(header.p_filesz / sizeof(Elf64_Dyn));
        if (!read_at(descriptor, entries.data(), entries.size() * sizeof(Elf64_Dyn), header.p_offset)) return false;
        for (const Elf64_Dyn& entry : entries) {
            if (entry.d_tag == DT_STRTAB) strings = entry.d_un.d_ptr;
            if (entry.d_tag == DT_SONAME) name = entry.d_un.d_val;
        }
    }
    // Its first segment begins at address 0 and offset 0, and holds the strings.
    char text[kName.size() + 1] = {};
    return strings != 0 && read_at(descriptor, text, sizeof text, strings + name) &&
           std::string_view{text, sizeof text} == std::string_view{kName.data(), kName.size() + 1};
}

std::optional<Plan> make_plan(int descriptor) {
    Elf64_Ehdr header;
    if (!read_at(descriptor, &header, sizeof header, 0) || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
        header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64 ||
        header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum > 64)
        return {};
    std::vector<Elf64_Phdr> headers(header.e_phnum);
    if (!read_at(descriptor, headers.data(), headers.size() * sizeof(Elf64_Phdr), header.e_phoff)) return {};
    const Elf64_Phdr *first = nullptr, *text = nullptr;
    for (const Elf64_Phdr& segment : headers) {
        if (segment.p_type != PT_LOAD || segment.p_memsz == 0) continue;
        if (first == nullptr) first = &segment;
        if (text == nullptr && segment.p_flags == (PF_R | PF_X)) text = &segment;
    }
    if (text == nullptr || text->p_filesz == 0 || text->p_filesz > kLargestText || text->p_memsz != text->p_filesz ||
        text->p_offset > (1ull << 40) || (text->p_offset - text->p_vaddr) % kPageSize != 0)
        return {};
    Plan plan;
    plan.offset = page_floor(text->p_offset);
    plan.size = page_ceil(text->p_offset + text->p_filesz) - plan.offset;
    plan.readable = text->p_offset + text->p_filesz - plan.offset;
    plan.above_base = page_floor(text->p_vaddr) - page_floor(first->p_vaddr);
    if (plan.above_base > kDistanceLimit) return {};
    plan.loader = is_loader(descriptor, headers);
    return plan;
}

/// Room for code, what lies between, and text, at the distances that they will have in programs.
class Workshop {
public:
    explicit Workshop(const Plan& plan) : size_{kCodeLimit + plan.above_base + plan.size} {
        void* at = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (at != MAP_FAILED) start_ = static_cast<u8*>(at);
    }
    ~Workshop() {
        if (start_ != nullptr) munmap(start_, size_);
    }
    Workshop(const Workshop&) = delete;
    Workshop& operator=(const Workshop&) = delete;
    bool valid() const { return start_ != nullptr; }
    u64 code_end() const { return reinterpret_cast<u64>(start_) + kCodeLimit; }
    u8* text(const Plan& plan) const { return start_ + kCodeLimit + plan.above_base; }

private:
    u8* start_ = nullptr;
    u64 size_;
};

// The Patcher works on the copy as if it were its own program's. One build at a time.
u64 g_low, g_high;   // what may be read
u64 g_code, g_most;  // trampolines grow down from the program's base to here

u32 freeze(u64, u64) { return 7; }
void nothing() {}
bool allow(u64, u64, u32) { return true; }
bool yes() { return true; }
u64 place(u64, u64 size) {
    if (g_code - g_most < size) return 0;
    return g_code -= size;
}
bool load(u64 address, u8* byte) {
    if (address < g_low || address >= g_high) return false;
    *byte = *reinterpret_cast<const u8*>(address);
    return true;
}

u32 word_at(const u8* at) {
    u32 word;
    memcpy(&word, at, sizeof word);
    return word;
}

bool ends_with(const u8* text, const u8* site, std::string_view bytes, usize more) {
    usize size = bytes.size() + more;
    return static_cast<usize>(site - text) >= size && memcmp(site - size, bytes.data(), bytes.size()) == 0;
}

/// The system call at `site` is one by what comes before it: its number.
bool replace_call(Patcher& patcher, const u8* text, const u8* site) {
    const u64 address = reinterpret_cast<u64>(site);
    auto consider = [&](u32 number) {
        PatchResult result = patcher.consider(address, number);
        return result == PatchResult::patched_mov || result == PatchResult::patched_cave;
    };
    // mov $n,%eax; mov $n,%rax; xor %eax,%eax
    for (std::string_view mov : {std::string_view{"\xb8", 1}, std::string_view{"\x48\xc7\xc0", 3}})
        if (ends_with(text, site, mov, 4) && word_at(site - 4) < kCallLimit) return consider(word_at(site - 4));
    if (ends_with(text, site, {"\x31\xc0", 2}, 0)) return consider(0);
    // mov $n,%eax, and then arguments.
    constexpr u32 kFarthest = 22;
    for (const u8* mov = site - 7; mov >= text && site - mov <= kFarthest; --mov)
        if (*mov == 0xb8 && word_at(mov + 1) < kCallLimit)
            return patcher.replace_call(reinterpret_cast<u64>(mov), address + 2);
    return false;
}

/// Leaves whose answers depend on the processor that asks are left to the instruction.
bool lasting_leaf(u32 leaf) { return leaf != 0xb && leaf != 0x1f && leaf != 0x8000'001e; }

/// A CPUID at `site` with its leaf, and its subleaf if there are any, loaded right before.
bool replace_cpuid(Patcher& patcher, const u8* text, const u8* site) {
    usize before = static_cast<usize>(site - text);
    bool clears = before >= 7 && site[-2] == 0x31 && site[-1] == 0xc9;  // xor %ecx,%ecx
    const u8* mov = site - (clears ? 7 : 5);
    if (before < 7 || mov[0] != 0xb8) return false;
    u32 leaf = word_at(mov + 1);
    constexpr u32 kWithSubleaves[] = {4, 7, 0xd, 0x14, 0x8000'001d};
    bool plain = leaf <= 0x19 || (leaf >= 0x8000'0000 && leaf <= 0x8000'0021);
    for (u32 other : kWithSubleaves) plain = plain && leaf != other;
    if ((!plain && !clears) || !lasting_leaf(leaf)) return false;
    unsigned rax = 0, rbx = 0, rcx = 0, rdx = 0;
    __cpuid_count(leaf, 0, rax, rbx, rcx, rdx);
    return patcher.replace_cpuid(reinterpret_cast<u64>(mov), reinterpret_cast<u64>(site) + 2, {rax, rbx, rcx, rdx});
}

}  // namespace

std::optional<BuiltText> build_text(int descriptor) {
    std::optional<Plan> plan = make_plan(descriptor);
    if (!plan) return {};
    Workshop workshop{*plan};
    if (!workshop.valid()) return {};
    u8* text = workshop.text(*plan);
    if (!read_at(descriptor, text, plan->readable, plan->offset)) return {};
    // The last page goes on with what the file holds there; behind its end zeros.
    usize rest = plan->size - plan->readable;
    ssize_t ignored = pread(descriptor, text + plan->readable, rest, static_cast<off_t>(plan->offset + plan->readable));
    (void)ignored;

    g_low = reinterpret_cast<u64>(text), g_high = g_low + plan->readable;
    g_code = workshop.code_end(), g_most = g_code - kCodeLimit;
    Patcher patcher{PatchHost{freeze, nothing, allow, yes, yes, place, load, nothing}};
    BuiltText built;
    const u8* end = text + plan->readable - 1;
    for (const u8* at = text; (at = static_cast<const u8*>(memchr(at, 0x0f, static_cast<usize>(end - at)))); ++at) {
        if (at[1] == 0x05) {
            built.calls += replace_call(patcher, text, at);
        } else if (at[1] == 0xa2 && plan->loader) {
            built.cpuids += replace_cpuid(patcher, text, at);
        }
    }
    if (built.calls + built.cpuids == 0) return built;
    built.text.offset = plan->offset;
    built.text.size = plan->size;
    built.text.code_size = workshop.code_end() - g_code;
    built.text.distance = built.text.code_size + plan->above_base;
    const u8* code = reinterpret_cast<const u8*>(g_code);
    built.image.reserve(built.text.code_size + plan->size);
    built.image.insert(built.image.end(), code, code + built.text.code_size);
    built.image.insert(built.image.end(), text, text + plan->size);
    return built;
}

}  // namespace postern::host
