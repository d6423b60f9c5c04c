// SPDX-License-Identifier: Apache-2.0
#include "host/linux/entry/patch/decoder.hpp"

namespace postern::host {
namespace {

// What follows an opcode.
enum Shape : u8 {
    N = 0,  // nothing
    M = 1,  // ModRM with its SIB and displacement
    B = 2,  // one byte immediate
    Z = 4,  // 4 bytes, 2 with an operand-size prefix
    W = 8,  // 2 bytes
    MB = M | B,
    MZ = M | Z,
    X = 0x40,  // special: see the code
    I = 0x80,  // invalid in 64-bit mode
};

constexpr u8 kOneByte[256] = {
    /* 00 */ M,  M,  M, M,  B, Z, I,  I,  M,     M,  M, M,  B, Z, I, X,
    /* 10 */ M,  M,  M, M,  B, Z, I,  I,  M,     M,  M, M,  B, Z, I, I,
    /* 20 */ M,  M,  M, M,  B, Z, X,  I,  M,     M,  M, M,  B, Z, X, I,
    /* 30 */ M,  M,  M, M,  B, Z, X,  I,  M,     M,  M, M,  B, Z, X, I,
    /* 40 */ X,  X,  X, X,  X, X, X,  X,  X,     X,  X, X,  X, X, X, X,
    /* 50 */ N,  N,  N, N,  N, N, N,  N,  N,     N,  N, N,  N, N, N, N,
    /* 60 */ I,  I,  X, M,  X, X, X,  X,  Z,     MZ, B, MB, N, N, N, N,
    /* 70 */ B,  B,  B, B,  B, B, B,  B,  B,     B,  B, B,  B, B, B, B,
    /* 80 */ MB, MZ, I, MB, M, M, M,  M,  M,     M,  M, M,  M, M, M, X,
    /* 90 */ N,  N,  N, N,  N, N, N,  N,  N,     N,  I, N,  N, N, N, N,
    /* a0 */ X,  X,  X, X,  N, N, N,  N,  B,     Z,  N, N,  N, N, N, N,
    /* b0 */ B,  B,  B, B,  B, B, B,  B,  X,     X,  X, X,  X, X, X, X,
    /* c0 */ MB, MB, W, N,  X, X, MB, MZ, W | B, N,  W, N,  N, B, I, N,
    /* d0 */ M,  M,  M, M,  I, I, I,  N,  M,     M,  M, M,  M, M, M, M,
    /* e0 */ B,  B,  B, B,  B, B, B,  B,  X,     X,  I, B,  N, N, N, N,
    /* f0 */ X,  N,  X, X,  N, N, X,  X,  N,     N,  N, N,  N, N, M, M,
};

constexpr u8 kTwoByte[256] = {
    /* 00 */ M,  M,  M,  M,  I,  N,  N,  N, N, N, I,  N, I,  M, N, MB,
    /* 10 */ M,  M,  M,  M,  M,  M,  M,  M, M, M, M,  M, M,  M, M, M,
    /* 20 */ X,  X,  X,  X,  I,  I,  I,  I, M, M, M,  M, M,  M, M, M,
    /* 30 */ N,  N,  N,  N,  N,  N,  I,  N, X, I, X,  I, I,  I, I, I,
    /* 40 */ M,  M,  M,  M,  M,  M,  M,  M, M, M, M,  M, M,  M, M, M,
    /* 50 */ M,  M,  M,  M,  M,  M,  M,  M, M, M, M,  M, M,  M, M, M,
    /* 60 */ M,  M,  M,  M,  M,  M,  M,  M, M, M, M,  M, M,  M, M, M,
    /* 70 */ MB, MB, MB, MB, M,  M,  M,  N, X, M, I,  I, M,  M, M, M,
    /* 80 */ X,  X,  X,  X,  X,  X,  X,  X, X, X, X,  X, X,  X, X, X,
    /* 90 */ M,  M,  M,  M,  M,  M,  M,  M, M, M, M,  M, M,  M, M, M,
    /* a0 */ N,  N,  N,  M,  MB, M,  M,  M, N, N, N,  M, MB, M, M, M,
    /* b0 */ M,  M,  M,  M,  M,  M,  M,  M, M, M, MB, M, M,  M, M, M,
    /* c0 */ M,  M,  MB, M,  MB, MB, MB, M, N, N, N,  N, N,  N, N, N,
    /* d0 */ M,  M,  M,  M,  M,  M,  M,  M, M, M, M,  M, M,  M, M, M,
    /* e0 */ M,  M,  M,  M,  M,  M,  M,  M, M, M, M,  M, M,  M, M, M,
    /* f0 */ M,  M,  M,  M,  M,  M,  M,  M, M, M, M,  M, M,  M, M, M,
};

class Reader {
public:
    Reader(const u8* bytes, usize available) : bytes_{bytes}, limit_{available < 15 ? available : 15} {}

    Instruction run() {
        Instruction result;
        prefixes();
        u8 opcode = next();
        if (failed_) return result;
        InstructionKind kind = one_byte(opcode);
        if (failed_ || at_ > limit_) return result;
        result.length = static_cast<u8>(at_);
        result.kind = kind;
        return result;
    }

private:
    void prefixes() {
        for (;;) {
            u8 byte = peek();
            switch (byte) {
                case 0x66: operand_size_ = true; break;
                case 0x67: address_size_ = true; break;
                case 0xf2: repne_ = true; break;
                case 0xf3: rep_ = true; break;
                case 0xf0: lock_ = true; break;
                case 0x26:
                case 0x2e:
                case 0x36:
                case 0x3e:
                case 0x64:
                case 0x65: break;
                default:
                    if ((byte & 0xf0) != 0x40) return;
                    // REX counts only right before the opcode.
                    rex_ = byte;
                    ++at_;
                    byte = peek();
                    if (!is_prefix(byte)) return;
                    rex_ = 0;
                    continue;
            }
            ++at_;
            if (at_ >= limit_) {
                failed_ = true;
                return;
            }
        }
    }
    static bool is_prefix(u8 byte) {
        switch (byte) {
            case 0x66:
            case 0x67:
            case 0xf2:
            case 0xf3:
            case 0xf0:
            case 0x26:
            case 0x2e:
            case 0x36:
            case 0x3e:
            case 0x64:
            case 0x65: return true;
            default: return (byte & 0xf0) == 0x40;
        }
    }

    InstructionKind one_byte(u8 opcode) {
        u8 shape = kOneByte[opcode];
        if (shape & I) return fail();
        if (shape & X) return special(opcode);
        u8 modrm = peek();
        unsigned extension = modrm >> 3 & 7;
        // Undefined members of groups: refusing them makes chains of wrong starts end sooner.
        if ((opcode == 0xfe && extension > 1) || (opcode == 0xff && extension == 7) ||
            ((opcode == 0xc6 || opcode == 0xc7) && extension != 0 && modrm != 0xf8) ||
            (opcode == 0x8c && extension > 5) || (opcode == 0x8e && (extension == 1 || extension > 5)))
            return fail();
        operands(shape);
        switch (opcode) {
            case 0x90: return (rex_ & 1) || rep_ ? InstructionKind::other : InstructionKind::nop;
            case 0xcc: return InstructionKind::breakpoint;
            case 0xc2:
            case 0xc3:
            case 0xca:
            case 0xcb:
            case 0xcf:
            case 0xeb:
            case 0xf4: return InstructionKind::jump;
            case 0xe0:
            case 0xe1:
            case 0xe2:
            case 0xe3: return InstructionKind::conditional;
            case 0xff: return extension == 4 || extension == 5 ? InstructionKind::jump : InstructionKind::other;
            default: return (opcode & 0xf0) == 0x70 ? InstructionKind::conditional : InstructionKind::other;
        }
    }

    InstructionKind special(u8 opcode) {
        switch (opcode) {
            case 0x0f: return two_byte();
            case 0x62: return evex();
            case 0xc4:
            case 0xc5: return vex(opcode);
            case 0x8f: {
                u8 byte = peek();
                if ((byte & 0x1f) >= 8) return xop();
                operands(M);
                return InstructionKind::other;
            }
            case 0xa0:
            case 0xa1:
            case 0xa2:
            case 0xa3: skip(address_size_ ? 4 : 8); return InstructionKind::other;
            case 0xe8: skip(4); return InstructionKind::conditional;
            case 0xe9: skip(4); return InstructionKind::jump;
            case 0xf6:
            case 0xf7: {
                bool test = (peek() >> 3 & 7) < 2;
                operands(!test ? u8{M} : opcode == 0xf6 ? u8{MB} : u8{MZ});
                return InstructionKind::other;
            }
            default: break;
        }
        if (opcode >= 0xb8 && opcode <= 0xbf) {
            skip((rex_ & 8) ? 8 : operand_size_ ? 2 : 4);
            return InstructionKind::other;
        }
        return fail();
    }

    InstructionKind two_byte() {
        u8 opcode = next();
        u8 shape = kTwoByte[opcode];
        if (shape & I) return fail();
        if (!(shape & X)) {
            u8 modrm = peek();
            operands(shape);
            if (opcode == 0x05) return InstructionKind::system_call;
            if (opcode == 0x0b) return InstructionKind::jump;
            if (opcode == 0x1f && (modrm >> 3 & 7) == 0) return InstructionKind::nop;
            return InstructionKind::other;
        }
        if ((opcode & 0xf0) == 0x80) {
            skip(4);
            return InstructionKind::conditional;
        }
        if (opcode == 0x38 || opcode == 0x3a) {
            next();
            operands(opcode == 0x38 ? u8{M} : u8{MB});
            return InstructionKind::other;
        }
        if (opcode == 0x78) {  // extrq and insertq have two immediates, vmread none
            operands(M);
            if (operand_size_ || repne_) skip(2);
            return InstructionKind::other;
        }
        skip(1);  // moves of control and debug registers: the mod field is ignored
        return InstructionKind::other;
    }

    bool vector_prefix_allowed() const { return !operand_size_ && !repne_ && !rep_ && !lock_ && rex_ == 0; }

    InstructionKind vector(unsigned map) {
        u8 opcode = next();
        switch (map) {
            case 0:  // Knights Corner's short jkzd and jknzd
                if (opcode != 0x74 && opcode != 0x75) return fail();
                skip(1);
                return InstructionKind::conditional;
            case 1:
                if (opcode == 0x77) return InstructionKind::other;  // vzeroupper, vzeroall
                if ((opcode & 0xf0) == 0x80) {                      // the same with a long distance
                    skip(4);
                    return InstructionKind::conditional;
                }
                operands((opcode >= 0x70 && opcode <= 0x73) || opcode == 0xc2 || (opcode >= 0xc4 && opcode <= 0xc6)
                             ? u8{MB}
                             : u8{M});
                return InstructionKind::other;
            case 2:
            case 5:
            case 6: operands(M); return InstructionKind::other;
            case 3: operands(MB); return InstructionKind::other;
            case 7:
                operands(M);
                skip(4);
                return InstructionKind::other;
            default: return fail();
        }
    }

    InstructionKind vex(u8 opcode) {
        if (!vector_prefix_allowed()) return fail();
        u8 first = next();
        if (opcode == 0xc5) return vector(1);
        next();
        return vector(first & 0x1f);
    }

    InstructionKind evex() {
        if (!vector_prefix_allowed()) return fail();
        u8 first = next();
        if ((first & 8) != 0) return fail();
        next();
        next();
        unsigned map = first & 7;
        return map == 7 ? fail() : vector(map);
    }

    InstructionKind xop() {
        if (!vector_prefix_allowed()) return fail();
        u8 first = next();
        next();
        next();
        switch (first & 0x1f) {
            case 8: operands(MB); return InstructionKind::other;
            case 9: operands(M); return InstructionKind::other;
            case 10:
                operands(M);
                skip(4);
                return InstructionKind::other;
            default: return fail();
        }
    }

    void operands(u8 shape) {
        if (shape & M) modrm();
        if (shape & B) skip(1);
        if (shape & W) skip(2);
        if (shape & Z) skip(operand_size_ && !(rex_ & 8) ? 2 : 4);
    }

    void modrm() {
        u8 byte = next();
        unsigned mod = byte >> 6, rm = byte & 7;
        if (mod == 3) return;
        if (rm == 4) {
            u8 sib = next();
            if (mod == 0 && (sib & 7) == 5) skip(4);
        } else if (mod == 0 && rm == 5) {
            skip(4);
        }
        if (mod == 1) skip(1);
        if (mod == 2) skip(4);
    }

    u8 peek() const { return at_ < limit_ ? bytes_[at_] : u8{0}; }
    u8 next() {
        if (at_ >= limit_) {
            failed_ = true;
            return 0;
        }
        return bytes_[at_++];
    }
    void skip(usize count) { at_ += count; }
    InstructionKind fail() {
        failed_ = true;
        return InstructionKind::other;
    }

    const u8* bytes_;
    usize limit_;
    usize at_ = 0;
    u8 rex_ = 0;
    bool operand_size_ = false, address_size_ = false, repne_ = false, rep_ = false, lock_ = false;
    bool failed_ = false;
};

}  // namespace

Instruction decode(const u8* bytes, usize available) { return Reader{bytes, available}.run(); }

}  // namespace postern::host
