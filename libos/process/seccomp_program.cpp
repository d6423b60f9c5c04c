// SPDX-License-Identifier: Apache-2.0
#include "libos/process/seccomp_program.hpp"

#include "base/memory.hpp"

namespace postern::libos {

namespace {

constexpr u32 kDataSize = sizeof(seccomp_data);

u32 arithmetic(u32 operation, u32 a, u32 operand) {
    switch (operation) {
        case BPF_ADD: return a + operand;
        case BPF_SUB: return a - operand;
        case BPF_MUL: return a * operand;
        case BPF_DIV: return a / operand;
        case BPF_AND: return a & operand;
        case BPF_OR: return a | operand;
        case BPF_XOR: return a ^ operand;
        case BPF_LSH: return operand < 32 ? a << operand : 0;
        case BPF_RSH: return operand < 32 ? a >> operand : 0;
        default: return 0u - a;  // BPF_NEG
    }
}

bool holds(u32 test, u32 a, u32 operand) {
    switch (test) {
        case BPF_JEQ: return a == operand;
        case BPF_JGE: return a >= operand;
        case BPF_JGT: return a > operand;
        default: return (a & operand) != 0;  // BPF_JSET
    }
}

}  // namespace

bool seccomp_valid(const sock_filter* code, u32 count) {
    for (u32 at = 0; at < count; ++at) {
        const sock_filter& one = code[at];
        const u32 left = count - at - 1;
        switch (one.code) {
            case BPF_LD | BPF_W | BPF_ABS:
                if (one.k >= kDataSize || (one.k & 3) != 0) return false;
                break;
            case BPF_ALU | BPF_DIV | BPF_K:
                if (one.k == 0) return false;
                break;
            case BPF_ALU | BPF_LSH | BPF_K:
            case BPF_ALU | BPF_RSH | BPF_K:
                if (one.k >= 32) return false;
                break;
            case BPF_LD | BPF_MEM:
            case BPF_LDX | BPF_MEM:
            case BPF_ST:
            case BPF_STX:
                if (one.k >= BPF_MEMWORDS) return false;
                break;
            case BPF_JMP | BPF_JA:
                if (one.k >= left) return false;
                break;
            case BPF_JMP | BPF_JEQ | BPF_K:
            case BPF_JMP | BPF_JEQ | BPF_X:
            case BPF_JMP | BPF_JGE | BPF_K:
            case BPF_JMP | BPF_JGE | BPF_X:
            case BPF_JMP | BPF_JGT | BPF_K:
            case BPF_JMP | BPF_JGT | BPF_X:
            case BPF_JMP | BPF_JSET | BPF_K:
            case BPF_JMP | BPF_JSET | BPF_X:
                if (one.jt >= left || one.jf >= left) return false;
                break;
            case BPF_LD | BPF_W | BPF_LEN:
            case BPF_LDX | BPF_W | BPF_LEN:
            case BPF_RET | BPF_K:
            case BPF_RET | BPF_A:
            case BPF_ALU | BPF_ADD | BPF_K:
            case BPF_ALU | BPF_ADD | BPF_X:
            case BPF_ALU | BPF_SUB | BPF_K:
            case BPF_ALU | BPF_SUB | BPF_X:
            case BPF_ALU | BPF_MUL | BPF_K:
            case BPF_ALU | BPF_MUL | BPF_X:
            case BPF_ALU | BPF_DIV | BPF_X:
            case BPF_ALU | BPF_AND | BPF_K:
            case BPF_ALU | BPF_AND | BPF_X:
            case BPF_ALU | BPF_OR | BPF_K:
            case BPF_ALU | BPF_OR | BPF_X:
            case BPF_ALU | BPF_XOR | BPF_K:
            case BPF_ALU | BPF_XOR | BPF_X:
            case BPF_ALU | BPF_LSH | BPF_X:
            case BPF_ALU | BPF_RSH | BPF_X:
            case BPF_ALU | BPF_NEG:
            case BPF_LD | BPF_IMM:
            case BPF_LDX | BPF_IMM:
            case BPF_MISC | BPF_TAX:
            case BPF_MISC | BPF_TXA: break;
            default: return false;
        }
    }
    const u16 last = code[count - 1].code;
    return last == (BPF_RET | BPF_K) || last == (BPF_RET | BPF_A);
}

u32 seccomp_run(const SeccompProgram& program, const seccomp_data& data) {
    u32 a = 0, x = 0, memory[BPF_MEMWORDS] = {};
    for (u32 at = 0; at < program.count; ++at) {
        const sock_filter& one = program.code[at];
        const u32 operand = BPF_SRC(one.code) == BPF_X ? x : one.k;
        switch (BPF_CLASS(one.code)) {
            case BPF_LD:
                if (BPF_MODE(one.code) == BPF_ABS)
                    memcpy(&a, reinterpret_cast<const u8*>(&data) + one.k, sizeof a);
                else
                    a = BPF_MODE(one.code) == BPF_LEN   ? kDataSize
                        : BPF_MODE(one.code) == BPF_MEM ? memory[one.k]
                                                        : one.k;
                break;
            case BPF_LDX:
                x = BPF_MODE(one.code) == BPF_LEN ? kDataSize : BPF_MODE(one.code) == BPF_MEM ? memory[one.k] : one.k;
                break;
            case BPF_ST: memory[one.k] = a; break;
            case BPF_STX: memory[one.k] = x; break;
            case BPF_ALU:
                if (BPF_OP(one.code) == BPF_DIV && operand == 0) return SECCOMP_RET_KILL_THREAD;
                a = arithmetic(BPF_OP(one.code), a, operand);
                break;
            case BPF_JMP:
                if (BPF_OP(one.code) == BPF_JA)
                    at += one.k;
                else
                    at += holds(BPF_OP(one.code), a, operand) ? one.jt : one.jf;
                break;
            case BPF_RET: return BPF_RVAL(one.code) == BPF_A ? a : one.k;
            default:  // BPF_MISC
                if (BPF_MISCOP(one.code) == BPF_TAX)
                    x = a;
                else
                    a = x;
                break;
        }
    }
    return SECCOMP_RET_KILL_PROCESS;
}

}  // namespace postern::libos
