// SPDX-License-Identifier: Apache-2.0
#include "libos/debug/unwind.hpp"

#include <elf.h>

#include "base/memory.hpp"

namespace postern::libos {

namespace {

constexpr u32 kMostInstructions = 4096;

/// Reads numbers from program memory, in order. After a fault all reads give 0 and `failed()` says so.
class Reader {
public:
    Reader(u64 at, ReadMemory read) : at_{at}, read_{read} {}
    template <class T>
    T get() {
        T value{};
        if (read_(&value, at_, sizeof value) != sizeof value) failed_ = true, value = T{};
        at_ += sizeof value;
        return value;
    }
    u64 unsigned_leb() {
        u64 value = 0;
        for (u32 shift = 0; shift < 70; shift += 7) {
            u8 byte = get<u8>();
            if (shift < 64) value |= u64{byte & 0x7fu} << shift;
            if ((byte & 0x80) == 0) return value;
        }
        failed_ = true;
        return 0;
    }
    i64 signed_leb() {
        u64 value = 0;
        u32 shift = 0;
        for (; shift < 70;) {
            u8 byte = get<u8>();
            if (shift < 64) value |= u64{byte & 0x7fu} << shift;
            shift += 7;
            if ((byte & 0x80) != 0) continue;
            if (shift < 64 && (byte & 0x40) != 0) value |= ~0ull << shift;
            return static_cast<i64>(value);
        }
        failed_ = true;
        return 0;
    }
    /// A pointer in one of the encodings of .eh_frame; `data` is what data-relative ones add to.
    u64 pointer(u8 encoding, u64 data) {
        u64 place = at_, value = 0;
        switch (encoding & 0x0f) {
            case 0x00:
            case 0x04:
            case 0x0c: value = get<u64>(); break;
            case 0x01: value = unsigned_leb(); break;
            case 0x02: value = get<u16>(); break;
            case 0x03: value = get<u32>(); break;
            case 0x09: value = static_cast<u64>(signed_leb()); break;
            case 0x0a: value = static_cast<u64>(i64{get<i16>()}); break;
            case 0x0b: value = static_cast<u64>(i64{get<i32>()}); break;
            default: failed_ = true;
        }
        switch (encoding & 0x70) {
            case 0x00: break;
            case 0x10: value += place; break;
            case 0x30: value += data; break;
            default: failed_ = true;
        }
        if ((encoding & 0x80) != 0 && read_(&value, value, sizeof value) != sizeof value) failed_ = true;
        return value;
    }
    u64 at() const { return at_; }
    void go(u64 at) { at_ = at; }
    void fail() { failed_ = true; }
    bool failed() const { return failed_; }

private:
    u64 at_;
    ReadMemory read_;
    bool failed_ = false;
};

enum class Rule : u8 { same, undefined, offset, value_offset, in_register, expression, value_expression };

struct Register {
    Rule rule = Rule::same;
    i64 value = 0;  ///< offset, register, or where the expression is
};

struct Row {
    Register registers[kUnwindRegisters];
    u32 cfa_register = 7;
    i64 cfa_offset = 8;
    u64 cfa_expression = 0;
};

/// Common and frame description of one function.
struct Description {
    u64 code_factor = 1;
    i64 data_factor = 1;
    u8 encoding = 0;
    bool signal_frame = false;
    u64 common_begin = 0, common_end = 0;
    u64 begin = 0, end = 0;
    u64 first = 0, size = 0;
};

bool read_common(u64 address, Description& out, ReadMemory read) {
    Reader in{address, read};
    u32 length = in.get<u32>();
    if (length == 0 || length >= 0xffff'fff0) return false;
    out.common_end = in.at() + length;
    if (in.get<u32>() != 0) return false;
    u8 version = in.get<u8>();
    if (version != 1 && version != 3) return false;
    char augmentation[8] = {};
    for (u32 i = 0;; ++i) {
        if (i == sizeof augmentation) return false;
        augmentation[i] = in.get<char>();
        if (augmentation[i] == 0) break;
    }
    out.code_factor = in.unsigned_leb();
    out.data_factor = in.signed_leb();
    u64 return_register = version == 1 ? in.get<u8>() : in.unsigned_leb();
    if (return_register != 16) return false;
    if (augmentation[0] == 'z') {
        u64 size = in.unsigned_leb(), begin = in.at();
        for (const char* letter = augmentation + 1; *letter != 0; ++letter) {
            switch (*letter) {
                case 'R': out.encoding = in.get<u8>(); break;
                case 'L': in.get<u8>(); break;
                case 'P': {
                    u8 encoding = in.get<u8>();
                    in.pointer(encoding & 0x7f, 0);
                    break;
                }
                case 'S': out.signal_frame = true; break;
                default: return false;
            }
        }
        in.go(begin + size);
    } else if (augmentation[0] != 0) {
        return false;
    }
    out.common_begin = in.at();
    return !in.failed();
}

/// Binary search in the sorted table of .eh_frame_hdr, then the description it names.
bool find_description(u64 header, u64 pc, Description& out, ReadMemory read) {
    Reader in{header, read};
    u8 version = in.get<u8>(), frame_encoding = in.get<u8>(), count_encoding = in.get<u8>(),
       table_encoding = in.get<u8>();
    // What every linker writes: a table of pairs of 32-bit numbers, relative to the header.
    if (in.failed() || version != 1 || table_encoding != 0x3b) return false;
    in.pointer(frame_encoding, header);
    u64 count = in.pointer(count_encoding, header);
    if (in.failed() || count == 0 || count > (1u << 26)) return false;
    u64 table = in.at(), low = 0, high = count;
    struct Entry {
        i32 first, description;
    } entry;
    auto load = [&](u64 index) { return read(&entry, table + index * sizeof entry, sizeof entry) == sizeof entry; };
    while (high - low > 1) {
        u64 middle = (low + high) / 2;
        if (!load(middle)) return false;
        if (header + static_cast<u64>(i64{entry.first}) <= pc)
            low = middle;
        else
            high = middle;
    }
    if (!load(low) || header + static_cast<u64>(i64{entry.first}) > pc) return false;
    in.go(header + static_cast<u64>(i64{entry.description}));
    u32 length = in.get<u32>();
    if (length == 0 || length >= 0xffff'fff0) return false;
    u64 identity = in.at();
    out.end = identity + length;
    u32 back = in.get<u32>();
    if (in.failed() || back == 0 || !read_common(identity - back, out, read)) return false;
    out.first = in.pointer(out.encoding, 0);
    out.size = in.pointer(out.encoding & 0x0f, 0);
    in.go(in.at() + in.unsigned_leb());  // what exceptions need
    out.begin = in.at();
    return !in.failed() && pc - out.first < out.size;
}

/// The few operations that compilers, linkers and C libraries use in unwind tables.
bool evaluate(u64 place, const UnwindFrame& frame, u64 initial, bool push_initial, u64& result, ReadMemory read) {
    Reader in{place, read};
    u64 size = in.unsigned_leb();
    u64 end = in.at() + size;
    if (in.failed() || size > 256) return false;
    u64 stack[16];
    u32 depth = 0;
    if (push_initial) stack[depth++] = initial;
    while (in.at() < end) {
        u8 operation = in.get<u8>();
        if (in.failed() || depth + 1 >= 16) return false;
        if (operation >= 0x30 && operation <= 0x4f) {  // literals
            stack[depth++] = operation - 0x30u;
        } else if (operation >= 0x70 && operation <= 0x80) {  // register + offset
            stack[depth++] = frame.registers[operation - 0x70] + static_cast<u64>(in.signed_leb());
        } else if (operation == 0x06) {  // dereference
            if (depth < 1 || read(&stack[depth - 1], stack[depth - 1], 8) != 8) return false;
        } else if (operation == 0x23) {  // plus constant
            if (depth < 1) return false;
            stack[depth - 1] += in.unsigned_leb();
        } else if (operation == 0x08) {
            stack[depth++] = in.get<u8>();
        } else if (operation == 0x09) {
            stack[depth++] = static_cast<u64>(i64{in.get<i8>()});
        } else if (operation == 0x12) {  // dup
            if (depth < 1) return false;
            stack[depth] = stack[depth - 1];
            ++depth;
        } else {
            if (depth < 2) return false;
            u64 right = stack[--depth];
            u64& left = stack[depth - 1];
            switch (operation) {
                case 0x1a: left &= right; break;
                case 0x1c: left -= right; break;
                case 0x21: left |= right; break;
                case 0x22: left += right; break;
                case 0x24: left = right < 64 ? left << right : 0; break;
                case 0x25: left = right < 64 ? left >> right : 0; break;
                case 0x2a: left = static_cast<i64>(left) >= static_cast<i64>(right); break;
                case 0x2d: left = static_cast<i64>(left) < static_cast<i64>(right); break;
                default: return false;
            }
        }
    }
    if (in.failed() || depth == 0) return false;
    result = stack[depth - 1];
    return true;
}

/// Executes call-frame instructions in [at, end) until they describe addresses above `pc`.
class Machine {
public:
    Machine(const Description& description, u64 pc, ReadMemory read)
        : description_{description}, pc_{pc}, read_{read} {}

    bool run(u64 at, u64 end) {
        Reader in{at, read_};
        for (u32 count = 0; in.at() < end; ++count) {
            if (count == kMostInstructions || !step(in) || in.failed()) return false;
            if (done_) return true;
        }
        return true;
    }
    bool describe() {
        if (!run(description_.common_begin, description_.common_end)) return false;
        initial_ = row;
        location_ = description_.first;
        return run(description_.begin, description_.end);
    }
    Row row;

private:
    void advance(u64 by) {
        location_ += by * description_.code_factor;
        done_ = location_ > pc_;
    }
    void set(u64 number, Rule rule, i64 value) {
        if (number < kUnwindRegisters) row.registers[number] = {rule, value};  // vector registers do not matter here
    }
    i64 factored(Reader& in, bool is_signed) {
        u64 value = is_signed ? static_cast<u64>(in.signed_leb()) : in.unsigned_leb();
        return static_cast<i64>(value * static_cast<u64>(description_.data_factor));
    }
    i64 skip_block(Reader& in) {
        u64 place = in.at();
        u64 size = in.unsigned_leb();
        if (size > 4096) in.fail();
        in.go(in.at() + size);
        return static_cast<i64>(place);
    }
    bool step(Reader& in);

    const Description& description_;
    u64 pc_, location_ = 0;
    ReadMemory read_;
    Row initial_, saved_[4];
    u32 depth_ = 0;
    bool done_ = false;
};

bool Machine::step(Reader& in) {
    u8 code = in.get<u8>();
    u64 low = code & 0x3f;
    switch (code & 0xc0) {
        case 0x40: return advance(low), true;
        case 0x80: return set(low, Rule::offset, factored(in, false)), true;
        case 0xc0:
            if (low < kUnwindRegisters) row.registers[low] = initial_.registers[low];
            return true;
        default: break;
    }
    switch (code) {
        case 0x00: return true;  // nop
        case 0x01: {             // set_loc
            location_ = in.pointer(description_.encoding, 0);
            done_ = location_ > pc_;
            return true;
        }
        case 0x02: return advance(in.get<u8>()), true;
        case 0x03: return advance(in.get<u16>()), true;
        case 0x04: return advance(in.get<u32>()), true;
        case 0x05:
        case 0x11: {  // offset_extended, _sf
            u64 number = in.unsigned_leb();
            return set(number, Rule::offset, factored(in, code == 0x11)), true;
        }
        case 0x06: {  // restore_extended
            u64 number = in.unsigned_leb();
            if (number < kUnwindRegisters) row.registers[number] = initial_.registers[number];
            return true;
        }
        case 0x07: return set(in.unsigned_leb(), Rule::undefined, 0), true;
        case 0x08: return set(in.unsigned_leb(), Rule::same, 0), true;
        case 0x09: {  // register
            u64 number = in.unsigned_leb(), other = in.unsigned_leb();
            if (other >= kUnwindRegisters) return false;
            return set(number, Rule::in_register, static_cast<i64>(other)), true;
        }
        case 0x0a:  // remember_state
            if (depth_ == 4) return false;
            saved_[depth_++] = row;
            return true;
        case 0x0b:  // restore_state
            if (depth_ == 0) return false;
            row = saved_[--depth_];
            return true;
        case 0x0c:
        case 0x12: {  // def_cfa, _sf
            u64 number = in.unsigned_leb();
            if (number >= kUnwindRegisters) return false;
            row.cfa_register = static_cast<u32>(number);
            row.cfa_offset = code == 0x12 ? factored(in, true) : static_cast<i64>(in.unsigned_leb());
            row.cfa_expression = 0;
            return true;
        }
        case 0x0d: {  // def_cfa_register
            u64 number = in.unsigned_leb();
            if (number >= kUnwindRegisters) return false;
            row.cfa_register = static_cast<u32>(number);
            row.cfa_expression = 0;
            return true;
        }
        case 0x0e: return row.cfa_offset = static_cast<i64>(in.unsigned_leb()), true;
        case 0x13: return row.cfa_offset = factored(in, true), true;
        case 0x0f: return row.cfa_expression = static_cast<u64>(skip_block(in)), true;
        case 0x10:
        case 0x16: {  // expression, val_expression
            u64 number = in.unsigned_leb();
            return set(number, code == 0x10 ? Rule::expression : Rule::value_expression, skip_block(in)), true;
        }
        case 0x14:
        case 0x15: {  // val_offset, _sf
            u64 number = in.unsigned_leb();
            return set(number, Rule::value_offset, factored(in, code == 0x15)), true;
        }
        case 0x2e: return in.unsigned_leb(), true;  // GNU_args_size
        default: return false;
    }
}

}  // namespace

Res<void> unwind(UnwindFrame& frame, u64 header, ReadMemory read) {
    Description description;
    u64 pc = frame.lookup_address();
    if (!find_description(header, pc, description, read)) return Failure{Errno::noent};
    // Signal frames describe the very instruction that was interrupted.
    Machine machine{description, description.signal_frame ? frame.registers[16] : pc, read};
    if (!machine.describe()) return Failure{Errno::noent};
    const Row& row = machine.row;
    u64 cfa = frame.registers[row.cfa_register] + static_cast<u64>(row.cfa_offset);
    if (row.cfa_expression != 0 && !evaluate(row.cfa_expression, frame, 0, false, cfa, read))
        return Failure{Errno::fault};
    UnwindFrame caller = frame;
    caller.sp() = cfa;
    for (u32 i = 0; i < kUnwindRegisters; ++i) {
        const Register& rule = row.registers[i];
        u64 place = cfa + static_cast<u64>(rule.value);
        switch (rule.rule) {
            case Rule::same: break;
            case Rule::undefined: caller.registers[i] = 0; break;
            case Rule::value_offset: caller.registers[i] = place; break;
            case Rule::in_register: caller.registers[i] = frame.registers[rule.value]; break;
            case Rule::expression:
            case Rule::value_expression:
                if (!evaluate(static_cast<u64>(rule.value), frame, cfa, true, place, read))
                    return Failure{Errno::fault};
                if (rule.rule == Rule::value_expression) {
                    caller.registers[i] = place;
                    break;
                }
                [[fallthrough]];
            case Rule::offset:
                if (read(&caller.registers[i], place, 8) != 8) return Failure{Errno::fault};
        }
    }
    if (row.registers[16].rule == Rule::same) return Failure{Errno::inval};
    // A stack grows down: a caller below its callee is nonsense, but for signal frames, which may change stacks.
    if (!description.signal_frame && caller.sp() <= frame.sp()) return Failure{Errno::inval};
    caller.interrupted = description.signal_frame;
    frame = caller;
    return {};
}

Res<void> unwind_by_frame_pointer(UnwindFrame& frame, ReadMemory read) {
    u64 pair[2];
    if (frame.bp() < frame.sp() || (frame.bp() & 7) != 0) return Failure{Errno::inval};
    if (read(pair, frame.bp(), sizeof pair) != sizeof pair) return Failure{Errno::fault};
    if (pair[1] == 0) return Failure{Errno::inval};
    frame.sp() = frame.bp() + 16;
    frame.bp() = pair[0];
    frame.pc() = pair[1];
    frame.interrupted = false;
    return {};
}

Res<ModulePlace> find_module_tables(u64 base, ReadMemory read) {
    Elf64_Ehdr header;
    if (read(&header, base, sizeof header) != sizeof header) return Failure{Errno::fault};
    if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
        header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum > 256)
        return Failure{Errno::noexec};
    ModulePlace place;
    bool placed = false;
    u64 tables = 0;
    for (u32 i = 0; i < header.e_phnum; ++i) {
        Elf64_Phdr segment;
        if (read(&segment, base + header.e_phoff + i * sizeof segment, sizeof segment) != sizeof segment)
            return Failure{Errno::fault};
        if (segment.p_type == PT_LOAD && !placed) {  // the first one has the headers
            place.bias = base - (page_floor(segment.p_vaddr) - page_floor(segment.p_offset));
            placed = true;
        }
        if (segment.p_type == PT_GNU_EH_FRAME) tables = segment.p_vaddr;
    }
    if (!placed) return Failure{Errno::noexec};
    if (tables != 0) place.eh_frame_header = tables + place.bias;
    return place;
}

}  // namespace postern::libos
