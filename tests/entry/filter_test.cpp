// SPDX-License-Identifier: Apache-2.0
// The wall as a program: what it answers for every number from everywhere, and that each rule and pattern counts.
#include <asm/unistd.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/audit.h>

#include <set>
#include <vector>

#include "host/linux/filter/describe.hpp"
#include "host/linux/filter/program.hpp"
#include "host/linux/layout.hpp"
#include "host/linux/protocol.hpp"

namespace postern::host {
namespace {

std::vector<sock_filter> program(const FilterOptions& options = {}) {
    std::vector<sock_filter> code(kMaxFilterLength);
    code.resize(build_filter(options, code.data(), code.size()));
    return code;
}

struct Call {
    u64 number;
    u64 arguments[6] = {};
    u64 pointer = kGatePage + 0x30;
    u32 arch = AUDIT_ARCH_X86_64;
};

u32 answer(const std::vector<sock_filter>& code, const Call& call) {
    seccomp_data data{};
    data.nr = static_cast<int>(call.number);
    data.arch = call.arch;
    data.instruction_pointer = call.pointer;
    for (int i = 0; i < 6; ++i) data.args[i] = call.arguments[i];
    return evaluate_filter(code.data(), code.size(), data);
}

u64 satisfying(const ArgumentPattern& pattern, u32 which = 0) {
    if (pattern.test == ArgumentTest::in_set) return pattern.values[which % pattern.count];
    return pattern.values[pattern.test == ArgumentTest::range ? which % 2 : 0];
}

Call satisfying(const Rule& rule, u32 which = 0) {
    Call call{rule.number};
    for (u32 i = 0; i < rule.pattern_count; ++i)
        call.arguments[rule.patterns[i].index] = satisfying(rule.patterns[i], which);
    return call;
}

/// Values that the pattern must refuse.
std::vector<u64> violating(const ArgumentPattern& pattern) {
    std::vector<u64> values;
    switch (pattern.test) {
        case ArgumentTest::equal: values = {pattern.values[0] + 1, pattern.values[0] ^ 0x8000'0000}; break;
        case ArgumentTest::masked_equal:
            for (int bit = 0; bit < pattern.width; ++bit)
                if (pattern.mask >> bit & 1) values.push_back(1ull << bit);
            break;
        case ArgumentTest::in_set:
            for (u64 value = 0; value < 600; ++value) {
                bool listed = false;
                for (u32 i = 0; i < pattern.count; ++i) listed = listed || pattern.values[i] == value;
                if (!listed) values.push_back(value);
            }
            break;
        case ArgumentTest::range:
            values = {pattern.values[1] + 1, 0xffff'ffff};
            if (pattern.values[0] != 0) values.push_back(pattern.values[0] - 1);
            break;
    }
    if (pattern.width == 64) {
        values.push_back(satisfying(pattern) | 1ull << 32);
        values.push_back(satisfying(pattern) | 1ull << 63);
    }
    return values;
}

u32 expected(const Rule& rule) { return rule.action == RuleAction::allow ? SECCOMP_RET_ALLOW : SECCOMP_RET_USER_NOTIF; }

TEST(Filter, IsNarrow) {
    EXPECT_LE(distinct_numbers(), kMaxNumbers);
    EXPECT_FALSE(program().empty());
    EXPECT_LE(program().size(), size_t{BPF_MAXINSNS});
}

TEST(Filter, TakesNoPathProgramOrDestination) {
    const std::set<u32> never = {__NR_open,
                                 __NR_openat,
                                 __NR_openat2,
                                 __NR_creat,
                                 __NR_execve,
                                 __NR_execveat,
                                 __NR_connect,
                                 __NR_bind,
                                 __NR_sendmsg,
                                 __NR_sendmmsg,
                                 __NR_sendto,
                                 __NR_socket,
                                 __NR_socketpair,
                                 __NR_ptrace,
                                 __NR_kill,
                                 __NR_tkill,
                                 __NR_process_vm_readv,
                                 __NR_process_vm_writev,
                                 __NR_ioctl,
                                 __NR_prctl,
                                 __NR_unlink,
                                 __NR_rename,
                                 __NR_mount,
                                 __NR_clone3,
                                 __NR_fork,
                                 __NR_vfork,
                                 __NR_setsid,
                                 __NR_setpgid,
                                 __NR_fchmod,
                                 __NR_fchown,
                                 __NR_flock,
                                 __NR_fcntl,
                                 __NR_rt_sigprocmask,
                                 __NR_rt_sigaction,
                                 __NR_seccomp,
                                 __NR_bpf,
                                 __NR_io_uring_setup,
                                 __NR_io_uring_enter,
                                 __NR_userfaultfd,
                                 __NR_pidfd_open,
                                 __NR_pidfd_getfd,
                                 __NR_pidfd_send_signal,
                                 __NR_rt_sigqueueinfo,
                                 __NR_rt_tgsigqueueinfo,
                                 __NR_recvmsg,
                                 __NR_prlimit64,
                                 __NR_setrlimit,
                                 __NR_arch_prctl,
                                 __NR_perf_event_open};
    for (u32 i = 0; i < kRuleCount; ++i) EXPECT_EQ(never.count(kRules[i].number), 0u) << kRules[i].name;
}

TEST(Filter, EveryNumberFromTheGatePage) {
    for (bool scope : {true, false}) {
        FilterOptions options;
        options.signal_scope = scope;
        auto code = program(options);
        std::set<u32> listed;
        for (u32 i = 0; i < kRuleCount; ++i)
            if (rule_active(kRules[i], options)) {
                listed.insert(kRules[i].number);
                for (u32 which = 0; which < 8; ++which)
                    EXPECT_EQ(answer(code, satisfying(kRules[i], which)), expected(kRules[i])) << kRules[i].name;
            }
        for (u64 number = 0; number < 2000; ++number) {
            if (!listed.count(static_cast<u32>(number)))
                EXPECT_EQ(answer(code, {number}), u32{SECCOMP_RET_KILL_PROCESS}) << number;
            EXPECT_EQ(answer(code, {number | 0x4000'0000}), u32{SECCOMP_RET_KILL_PROCESS}) << number;
        }
        EXPECT_EQ(answer(code, {0xffff'ffff}), u32{SECCOMP_RET_KILL_PROCESS});
    }
}

TEST(Filter, TrapsEverywhereElse) {
    auto code = program();
    for (u64 pointer :
         {u64{0}, kGatePage - 1, kGatePage + kGatePageSize, kEntryBase + 0x100, kLibOsBase, kGatePage & 0xffff'ffff,
          kGatePage + (u64{1} << 32), u64{kTimePageBase}, u64{0xffff'ffff'ff60'0000}})
        for (u64 number : {0, 1, 9, 56, 59, 184, 500, 0x4000'0000})
            EXPECT_EQ(answer(code, {number, {}, pointer}), u32{SECCOMP_RET_TRAP}) << std::hex << pointer;
    for (u64 pointer : {kGatePage, kGatePage + kGatePageSize - 1})
        EXPECT_EQ(answer(code, {__NR_read, {}, pointer}), u32{SECCOMP_RET_ALLOW});
}

TEST(Filter, KillsOtherArchitectures) {
    auto code = program();
    EXPECT_EQ(answer(code, {3, {}, kGatePage + 2, AUDIT_ARCH_I386}), u32{SECCOMP_RET_KILL_PROCESS});
    EXPECT_EQ(answer(code, {3, {}, 0x1000, AUDIT_ARCH_I386}), u32{SECCOMP_RET_KILL_PROCESS});
}

TEST(Filter, EveryPatternRefuses) {
    for (bool scope : {true, false}) {
        FilterOptions options;
        options.signal_scope = scope;
        auto code = program(options);
        for (u32 i = 0; i < kRuleCount; ++i) {
            const Rule& rule = kRules[i];
            if (!rule_active(rule, options)) continue;
            for (u32 j = 0; j < rule.pattern_count; ++j)
                for (u64 value : violating(rule.patterns[j])) {
                    Call call = satisfying(rule);
                    call.arguments[rule.patterns[j].index] = value;
                    EXPECT_EQ(answer(code, call), u32{SECCOMP_RET_KILL_PROCESS})
                        << rule.name << " argument " << int{rule.patterns[j].index} << " = " << std::hex << value;
                }
        }
    }
}

// What the kernel ignores must not decide: bits 32-63 of arguments that it reads as int.
TEST(Filter, ComparesAtTheKernelsWidth) {
    auto code = program();
    for (u32 i = 0; i < kRuleCount; ++i) {
        const Rule& rule = kRules[i];
        if (!rule_active(rule, {})) continue;
        for (u32 j = 0; j < rule.pattern_count; ++j) {
            if (rule.patterns[j].width != 32) continue;
            Call call = satisfying(rule);
            call.arguments[rule.patterns[j].index] |= 0xdead'beef'0000'0000;
            EXPECT_EQ(answer(code, call), expected(rule)) << rule.name;
        }
    }
}

// Leaving out any rule, or any one argument pattern, must be noticed by the tests above.
TEST(Filter, EveryRuleAndPatternIsNeeded) {
    for (u32 i = 0; i < kRuleCount; ++i) {
        const Rule& rule = kRules[i];
        FilterOptions options;
        options.signal_scope = rule.variant != RuleVariant::no_signal_scope;
        options.omit_rule = static_cast<i32>(i);
        EXPECT_EQ(answer(program(options), satisfying(rule)), u32{SECCOMP_RET_KILL_PROCESS}) << rule.name;
        for (u32 j = 0; j < rule.pattern_count; ++j) {
            options.omit_pattern = static_cast<i32>(j);
            Call call = satisfying(rule);
            call.arguments[rule.patterns[j].index] = violating(rule.patterns[j])[0];
            EXPECT_EQ(answer(program(options), call), expected(rule)) << rule.name << " without pattern " << j;
        }
    }
}

TEST(Filter, SaysWhy) {
    std::vector<char> buffer(65536);
    Text text{buffer.data(), buffer.size()};
    describe_rules({}, text);
    EXPECT_FALSE(text.truncated());
    for (u32 i = 0; i < kRuleCount; ++i) EXPECT_NE(kRules[i].reason[0], 0) << kRules[i].name;
}

}  // namespace
}  // namespace postern::host
