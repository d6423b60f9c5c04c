// SPDX-License-Identifier: Apache-2.0
#include "libos/debug/symbols.hpp"

#include <elf.h>

#include "base/memory.hpp"

namespace postern::libos {

namespace {

constexpr u32 kBatch = 128;
constexpr u64 kMostSymbols = 4'000'000;

template <class T>
bool load(FileReader& file, T& value, u64 offset) {
    return file.read(&value, sizeof value, offset) == sizeof value;
}

bool search(FileReader& file, const Elf64_Shdr& table, const Elf64_Shdr& names, u64 address, Symbol& found) {
    Elf64_Sym batch[kBatch];
    u64 count = table.sh_size / sizeof(Elf64_Sym);
    if (count > kMostSymbols) count = kMostSymbols;
    u32 name = 0;
    bool any = false;
    for (u64 at = 0; at < count;) {
        usize wanted = static_cast<usize>(count - at < kBatch ? count - at : kBatch) * sizeof(Elf64_Sym);
        usize got = file.read(batch, wanted, table.sh_offset + at * sizeof(Elf64_Sym)) / sizeof(Elf64_Sym);
        if (got == 0) break;
        for (usize i = 0; i < got; ++i) {
            const Elf64_Sym& symbol = batch[i];
            u32 type = symbol.st_info & 15;
            if (symbol.st_shndx == SHN_UNDEF || symbol.st_value > address || symbol.st_name == 0) continue;
            if (type != STT_FUNC && type != STT_NOTYPE && type != STT_GNU_IFUNC) continue;
            // Assembly often gives no size: such a symbol reaches to the next one.
            if (symbol.st_size != 0 && address - symbol.st_value >= symbol.st_size) continue;
            if (any && symbol.st_value < found.start) continue;
            if (any && symbol.st_value == found.start && type == STT_NOTYPE) continue;
            any = true;
            found.start = symbol.st_value;
            name = symbol.st_name;
        }
        at += got;
    }
    if (!any || name >= names.sh_size) return false;
    u64 left = names.sh_size - name;
    usize size = left < sizeof found.name - 1 ? static_cast<usize>(left) : sizeof found.name - 1;
    found.name[file.read(found.name, size, names.sh_offset + name)] = 0;
    for (char& letter : found.name)
        if (letter != 0 && (letter < 33 || letter > 126)) letter = '?';
    return found.name[0] != 0;
}

}  // namespace

Res<Symbol> find_symbol(FileReader& file, u64 address) {
    Elf64_Ehdr header;
    if (!load(file, header, 0) || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
        header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_shentsize != sizeof(Elf64_Shdr))
        return Failure{Errno::noexec};
    for (u32 type : {u32{SHT_SYMTAB}, u32{SHT_DYNSYM}}) {
        for (u32 i = 0; i < header.e_shnum; ++i) {
            Elf64_Shdr table, names;
            if (!load(file, table, header.e_shoff + i * sizeof table)) return Failure{Errno::noexec};
            if (table.sh_type != type || table.sh_entsize != sizeof(Elf64_Sym) || table.sh_link >= header.e_shnum)
                continue;
            if (!load(file, names, header.e_shoff + table.sh_link * sizeof names)) return Failure{Errno::noexec};
            Symbol found;
            if (search(file, table, names, address, found)) return found;
        }
    }
    return Failure{Errno::noent};
}

}  // namespace postern::libos
