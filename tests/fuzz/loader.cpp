// SPDX-License-Identifier: Apache-2.0
// Programs to be executed: ELF headers and "#!" lines. What is accepted must keep the promises of loader/elf.hpp.
#include <stdlib.h>
#include <string.h>

#include <vector>

#include "libos/loader/elf.hpp"

using namespace postern;
using namespace postern::libos;

namespace {

void require(bool condition) {
    if (!condition) abort();
}

void script(const u8* data, usize size) {
    if (size > kScriptHead) size = kScriptHead;
    std::vector<char> head(data, data + size);
    auto line = parse_script(head.data(), head.size());
    if (!line.ok()) return;
    require(!line.value().interpreter.empty());
    for (std::string_view part : {line.value().interpreter, line.value().argument})
        require(part.empty() || (part.data() >= head.data() && part.data() + part.size() <= head.data() + head.size()));
}

void program(const u8* data, usize size) {
    Elf64_Ehdr header;
    if (size < sizeof header) return;
    memcpy(&header, data, sizeof header);
    const ElfLimits limits{size, 0x1'0000, 0x5fff'0000'0000};
    if (!check_elf_header(header, size).ok()) return;
    std::vector<Elf64_Phdr> headers(header.e_phnum);
    memcpy(headers.data(), data + header.e_phoff, headers.size() * sizeof(Elf64_Phdr));
    auto planned = plan_elf(header, headers.data(), limits);
    if (!planned.ok()) return;
    const ElfPlan& plan = planned.value();
    require(plan.low < plan.high && page_aligned(plan.low | plan.high));
    require(plan.position_independent || (plan.low >= limits.low && plan.high <= limits.high));
    require(plan.high - plan.low <= limits.high - limits.low);
    require(plan.interpreter_size == 0 || plan.interpreter_offset + plan.interpreter_size <= size);
    require((plan.alignment & (plan.alignment - 1)) == 0 && plan.alignment >= kPageSize);
    for (const Elf64_Phdr& segment : headers) {
        if (segment.p_type != PT_LOAD || segment.p_memsz == 0) continue;
        require(segment.p_vaddr >= plan.low && segment.p_vaddr + segment.p_memsz <= plan.high);
        require(segment.p_offset + segment.p_filesz <= size);
        require(segment_prot(segment) <= 7);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    script(data, size);
    program(data, size);
    return 0;
}
