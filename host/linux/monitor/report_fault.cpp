// SPDX-License-Identifier: Apache-2.0
// A failure of the library OS or the host part, with the names of Postern's own functions. Of what the picoprocess
// wrote only numbers are used, and only to search in images that nobody inside can write.
#include <cxxabi.h>
#include <elf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>

#include "host/linux/layout.hpp"
#include "host/linux/monitor/monitor.hpp"

namespace postern::host {
namespace {

/// An image's function names, by address.
class Functions {
public:
    Functions(const Fd& file, const char* image) : image_{image} {
        struct stat status;
        if (!file.valid() || fstat(file.get(), &status) != 0) return;
        size_ = static_cast<u64>(status.st_size);
        void* memory = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
        if (memory == MAP_FAILED) return;
        data_ = static_cast<const u8*>(memory);
        read();
    }
    ~Functions() {
        if (data_ != nullptr) munmap(const_cast<u8*>(data_), size_);
    }

    std::string find(u64 address) const {
        const Elf64_Sym* best = nullptr;
        for (const Elf64_Sym& symbol : symbols_) {
            if (symbol.st_value > address || symbol.st_name >= names_.size()) continue;
            if (symbol.st_size != 0 && address - symbol.st_value >= symbol.st_size) continue;
            if (best == nullptr || symbol.st_value >= best->st_value) best = &symbol;
        }
        char offset[40];
        if (best == nullptr) {
            snprintf(offset, sizeof offset, "0x%lx", address);
            return image_ + "!" + offset;
        }
        std::string name = names_.data() + best->st_name;
        int status = 0;
        if (char* readable = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status)) {
            name = readable;
            free(readable);
        }
        snprintf(offset, sizeof offset, "+0x%lx", address - best->st_value);
        return image_ + "!" + name + offset;
    }

private:
    void read() {
        if (size_ < sizeof(Elf64_Ehdr)) return;
        auto* header = reinterpret_cast<const Elf64_Ehdr*>(data_);
        if (memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_shentsize != sizeof(Elf64_Shdr) ||
            header->e_shoff > size_ || u64{header->e_shnum} * sizeof(Elf64_Shdr) > size_ - header->e_shoff)
            return;
        auto* sections = reinterpret_cast<const Elf64_Shdr*>(data_ + header->e_shoff);
        auto inside = [&](const Elf64_Shdr& section) {
            return section.sh_offset <= size_ && section.sh_size <= size_ - section.sh_offset;
        };
        for (u32 i = 0; i < header->e_shnum; ++i) {
            const Elf64_Shdr& table = sections[i];
            if (table.sh_type != SHT_SYMTAB || table.sh_link >= header->e_shnum || !inside(table)) continue;
            const Elf64_Shdr& names = sections[table.sh_link];
            if (!inside(names)) continue;
            names_.assign(reinterpret_cast<const char*>(data_ + names.sh_offset), names.sh_size);
            auto* symbols = reinterpret_cast<const Elf64_Sym*>(data_ + table.sh_offset);
            std::copy_if(symbols, symbols + table.sh_size / sizeof(Elf64_Sym), std::back_inserter(symbols_),
                         [](const Elf64_Sym& symbol) {
                             u32 type = symbol.st_info & 15;
                             return symbol.st_shndx != SHN_UNDEF && (type == STT_FUNC || type == STT_NOTYPE);
                         });
        }
    }

    std::string image_;
    u64 size_ = 0;
    const u8* data_ = nullptr;
    std::string names_;
    std::vector<Elf64_Sym> symbols_;
};

}  // namespace

void Monitor::report_fault(const FaultRecord& shared) {
    if (__atomic_load_n(&shared.complete, __ATOMIC_ACQUIRE) == 0) return;
    const FaultRecord record = shared;  // a member that is still dying may write to it: one copy, then checked
    auto entry = open_image(options_.entry_path, "entry"), libos = open_image(options_.libos_path, "libos");
    if (!entry.ok() || !libos.ok()) return;
    Functions host{entry.value(), "entry"}, library{libos.value(), "libos"};
    std::string text = "Postern itself failed: signal " + std::to_string(record.signal) + " in picoprocess " +
                       std::to_string(record.process) + ". Calls that led there, as far as its stack tells:";
    for (u32 i = 0; i < std::min(record.count, kFaultPlaces); ++i) {
        u64 place = record.places[i] - (i == 0 ? 0 : 1);
        bool in_entry = place >= kEntryBase && place < kEntryHeap;
        bool in_library = place >= kLibOsBase && place < kLibOsHeap;
        if (i != 0 && !in_entry && !in_library) continue;
        char number[24];
        snprintf(number, sizeof number, "%016lx", record.places[i]);
        text += "\n  ";
        text += number;
        text += "  " + (in_entry ? host.find(place) : in_library ? library.find(place) : std::string{"?"});
    }
    result_.notes.push_back(std::move(text));
}

}  // namespace postern::host
