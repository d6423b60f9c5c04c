// SPDX-License-Identifier: Apache-2.0
#include "host/linux/filter/program.hpp"

#include <linux/audit.h>

#include "host/linux/layout.hpp"

namespace postern::host {
namespace {

constexpr u32 kArchOffset = 4;
constexpr u32 kPointerOffset = 8;
constexpr u32 argument_offset(u32 index) { return 16 + 8 * index; }
constexpr u32 kX32Bit = 0x4000'0000;

class Builder {
public:
    Builder(const FilterOptions& options, sock_filter* out, usize capacity)
        : options_{options}, out_{out}, capacity_{capacity} {}

    usize build() {
        emit(BPF_LD | BPF_W | BPF_ABS, kArchOffset);
        jump(BPF_JEQ, AUDIT_ARCH_X86_64, 1, 0);
        answer(SECCOMP_RET_KILL_PROCESS);

        // Program code traps and is served by the library OS; only the gate page goes on to the list.
        emit(BPF_LD | BPF_W | BPF_ABS, kPointerOffset + 4);
        jump(BPF_JEQ, static_cast<u32>(kGatePage >> 32), 0, 3);
        emit(BPF_LD | BPF_W | BPF_ABS, kPointerOffset);
        emit(BPF_ALU | BPF_AND | BPF_K, static_cast<u32>(~(kGatePageSize - 1)));
        jump(BPF_JEQ, static_cast<u32>(kGatePage), 1, 0);
        answer(SECCOMP_RET_TRAP);

        emit(BPF_LD | BPF_W | BPF_ABS, 0);
        jump(BPF_JGE, kX32Bit, 0, 1);
        answer(SECCOMP_RET_KILL_PROCESS);
        for (u32 i = 0; i < kHotRules; ++i)
            if (active(i)) test_number(i, false);
        u32 sorted[64];
        u32 count = sort_others(sorted);
        search(sorted, 0, count);
        return overflow_ ? 0 : length_;
    }

private:
    bool active(u32 index) const {
        return rule_active(kRules[index], options_) &&
               !(options_.omit_rule == static_cast<i32>(index) && options_.omit_pattern < 0);
    }

    u32 sort_others(u32* sorted) const {
        u32 count = 0;
        for (u32 i = kHotRules; i < kRuleCount; ++i) {
            if (!active(i)) continue;
            u32 place = count++;
            for (; place > 0 && kRules[sorted[place - 1]].number > kRules[i].number; --place)
                sorted[place] = sorted[place - 1];
            sorted[place] = i;
        }
        return count;
    }

    void search(const u32* sorted, u32 low, u32 high) {
        if (low == high) return answer(SECCOMP_RET_KILL_PROCESS);
        if (high - low == 1) return test_number(sorted[low], true);
        u32 middle = (low + high) / 2;
        jump(BPF_JGE, kRules[sorted[middle]].number, 0, 1);
        usize to_upper = length_;
        emit(BPF_JMP | BPF_JA, 0);
        search(sorted, low, middle);
        if (!overflow_) out_[to_upper].k = static_cast<u32>(length_ - to_upper - 1);
        search(sorted, middle, high);
    }

    /// One rule. `last`: nothing else can match, so a different number is refused here.
    void test_number(u32 index, bool last) {
        const Rule& rule = kRules[index];
        usize test = length_;
        jump(BPF_JEQ, rule.number, 0, 0);
        bool can_fail = false;
        usize failures[64];
        u32 failure_count = 0;
        for (u32 i = 0; i < rule.pattern_count; ++i) {
            if (options_.omit_rule == static_cast<i32>(index) && options_.omit_pattern == static_cast<i32>(i)) continue;
            test_argument(rule.patterns[i], failures, failure_count);
            can_fail = true;
        }
        answer(rule.action == RuleAction::allow ? SECCOMP_RET_ALLOW : SECCOMP_RET_USER_NOTIF);
        usize refuse = length_;
        if (can_fail || last) answer(SECCOMP_RET_KILL_PROCESS);
        if (overflow_) return;
        for (u32 i = 0; i < failure_count; ++i) out_[failures[i]].jf = static_cast<u8>(refuse - failures[i] - 1);
        out_[test].jf = static_cast<u8>((last ? refuse : length_) - test - 1);
    }

    /// Falls through when the pattern holds; the `jf` of each instruction in `failures` is set by the caller.
    void test_argument(const ArgumentPattern& pattern, usize* failures, u32& failure_count) {
        auto fail = [&] { failures[failure_count++] = length_; };
        auto half = [&](u32 shift) { emit(BPF_LD | BPF_W | BPF_ABS, argument_offset(pattern.index) + shift / 8); };
        switch (pattern.test) {
            case ArgumentTest::equal:
                for (u32 shift = 0; shift < pattern.width; shift += 32) {
                    half(shift);
                    fail();
                    jump(BPF_JEQ, static_cast<u32>(pattern.values[0] >> shift), 0, 0);
                }
                break;
            case ArgumentTest::masked_equal:
                for (u32 shift = 0; shift < pattern.width; shift += 32) {
                    half(shift);
                    emit(BPF_ALU | BPF_AND | BPF_K, static_cast<u32>(pattern.mask >> shift));
                    fail();
                    jump(BPF_JEQ, static_cast<u32>(pattern.values[0] >> shift), 0, 0);
                }
                break;
            case ArgumentTest::in_set:
                half(0);
                for (u32 i = 0; i + 1 < pattern.count; ++i)
                    jump(BPF_JEQ, static_cast<u32>(pattern.values[i]), static_cast<u8>(pattern.count - 1 - i), 0);
                fail();
                jump(BPF_JEQ, static_cast<u32>(pattern.values[pattern.count - 1]), 0, 0);
                break;
            case ArgumentTest::range:
                if (pattern.width == 64) {
                    half(32);
                    fail();
                    jump(BPF_JEQ, 0, 0, 0);
                }
                half(0);
                if (pattern.values[0] != 0) {
                    fail();
                    jump(BPF_JGE, static_cast<u32>(pattern.values[0]), 0, 0);
                }
                jump(BPF_JGT, static_cast<u32>(pattern.values[1]), 0, 1);
                fail();
                jump(BPF_JSET, 0, 0, 0);  // never true: the way to the refusal
                break;
        }
    }

    void emit(u16 code, u32 k) { put({code, 0, 0, k}); }
    void jump(u16 condition, u32 k, u8 if_true, u8 if_false) {
        put({static_cast<u16>(BPF_JMP | BPF_K | condition), if_true, if_false, k});
    }
    void answer(u32 action) { put({BPF_RET | BPF_K, 0, 0, action}); }
    void put(sock_filter instruction) {
        if (length_ == capacity_) overflow_ = true;
        if (!overflow_) out_[length_++] = instruction;
    }

    const FilterOptions& options_;
    sock_filter* out_;
    usize capacity_;
    usize length_ = 0;
    bool overflow_ = false;
};

}  // namespace

bool rule_active(const Rule& rule, const FilterOptions& options) {
    switch (rule.variant) {
        case RuleVariant::always: return true;
        case RuleVariant::signal_scope: return options.signal_scope;
        case RuleVariant::no_signal_scope: return !options.signal_scope;
    }
    return false;
}

usize build_filter(const FilterOptions& options, sock_filter* out, usize capacity) {
    return Builder{options, out, capacity}.build();
}

u32 evaluate_filter(const sock_filter* program, usize length, const seccomp_data& data) {
    u32 accumulator = 0;
    auto* words = reinterpret_cast<const u32*>(&data);
    for (usize pc = 0; pc < length; ++pc) {
        const sock_filter& instruction = program[pc];
        u32 k = instruction.k;
        bool taken = false;
        switch (instruction.code) {
            case BPF_LD | BPF_W | BPF_ABS:
                if (k % 4 != 0 || k >= sizeof data) return SECCOMP_RET_KILL_PROCESS;
                accumulator = words[k / 4];
                continue;
            case BPF_ALU | BPF_AND | BPF_K: accumulator &= k; continue;
            case BPF_RET | BPF_K: return k;
            case BPF_JMP | BPF_JA: pc += k; continue;
            case BPF_JMP | BPF_K | BPF_JEQ: taken = accumulator == k; break;
            case BPF_JMP | BPF_K | BPF_JGE: taken = accumulator >= k; break;
            case BPF_JMP | BPF_K | BPF_JGT: taken = accumulator > k; break;
            case BPF_JMP | BPF_K | BPF_JSET: taken = (accumulator & k) != 0; break;
            default: return SECCOMP_RET_KILL_PROCESS;
        }
        pc += taken ? instruction.jt : instruction.jf;
    }
    return SECCOMP_RET_KILL_PROCESS;
}

}  // namespace postern::host
