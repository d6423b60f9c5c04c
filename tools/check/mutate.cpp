// SPDX-License-Identifier: Apache-2.0
// ./x check --mutate: every way of weakening the filter must be noticed.
//
// Two kinds of mutants: each rule and each argument pattern left out by the builder, and each instruction of the built
// program turned into one that no longer decides. The expectations must fail for all of them, but for those that change
// nothing: a test that repeats what an earlier or later one decides. Those are told by comparing the answers of both
// programs over numbers and arguments made of every constant that the program compares with.
#include <linux/seccomp.h>

#include <cstdio>
#include <cstring>
#include <vector>

#include "host/linux/filter/program.hpp"
#include "host/linux/layout.hpp"
#include "tools/check/expectations.hpp"

namespace {

using namespace postern;

std::vector<sock_filter> build(const host::FilterOptions& options) {
    std::vector<sock_filter> program(host::kMaxFilterLength);
    program.resize(host::build_filter(options, program.data(), program.size()));
    return program;
}

int survivors = 0, mutants = 0, equivalents = 0;

u32 answer(const std::vector<sock_filter>& program, const seccomp_data& data) {
    return host::evaluate_filter(program.data(), program.size(), data);
}

/// An input that the two programs answer differently. False: none was found.
bool difference(const std::vector<sock_filter>& original, const std::vector<sock_filter>& mutant, seccomp_data& data) {
    std::vector<u32> words = {0, 1, 2, 0x7fff'ffff, 0x8000'0000, 0xffff'ffff};
    for (const sock_filter& instruction : original) {
        if (BPF_CLASS(instruction.code) != BPF_JMP && BPF_CLASS(instruction.code) != BPF_ALU) continue;
        for (u32 word : {instruction.k - 1, instruction.k, instruction.k + 1, ~instruction.k}) words.push_back(word);
    }
    u64 state = 88172645463325252ull;  // xorshift: the same inputs every time
    auto random = [&](usize limit) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        return static_cast<usize>(state % limit);
    };
    auto word = [&] { return words[random(words.size())]; };
    for (u32 high : {0u, 0x4000'0000u, 0x8000'0000u})
        for (u32 number = 0; number < 1024; ++number)
            for (int i = 0; i < 300; ++i) {
                data = {};
                data.nr = static_cast<int>(number | high);
                data.arch = i % 16 == 0 ? word() : 0xc000'003e;
                data.instruction_pointer =
                    i % 16 == 1 ? u64{word()} << 32 | word() : host::kGatePage + random(host::kGatePageSize);
                for (auto& argument : data.args) argument = u64{random(2) == 0 ? 0 : word()} << 32 | word();
                if (answer(original, data) != answer(mutant, data)) return true;
            }
    return false;
}

void must_be_noticed(const std::vector<sock_filter>& original, const std::vector<sock_filter>& program, bool scope,
                     const std::string& what, bool verbose) {
    ++mutants;
    std::vector<std::string> found = check::violations(program, scope);
    seccomp_data data;
    if (found.empty() && difference(original, program, data)) {
        ++survivors;
        printf("NOT NOTICED: %s; for example call %d (%#llx, %#llx, %#llx, %#llx)\n", what.c_str(), data.nr,
               data.args[0], data.args[1], data.args[2], data.args[3]);
    } else if (found.empty()) {
        ++equivalents;
        if (verbose) printf("changes nothing: %s\n", what.c_str());
    } else if (verbose) {
        printf("noticed: %s\n    %s\n", what.c_str(), found[0].c_str());
    }
}

void mutate_rules(const std::vector<sock_filter>& original, bool scope, bool verbose) {
    for (u32 i = 0; i < host::kRuleCount; ++i) {
        const host::Rule& rule = host::kRules[i];
        host::FilterOptions options;
        options.signal_scope = scope;
        if (!host::rule_active(rule, options)) continue;
        options.omit_rule = static_cast<i32>(i);
        std::string name = rule.name;
        must_be_noticed(original, build(options), scope, "without the rule for " + name, verbose);
        for (u32 j = 0; j < rule.pattern_count; ++j) {
            options.omit_pattern = static_cast<i32>(j);
            must_be_noticed(original, build(options), scope,
                            "without the pattern of " + name + ": " + rule.patterns[j].text, verbose);
        }
    }
}

void mutate_instructions(const std::vector<sock_filter>& original, bool scope, bool verbose) {
    auto with = [&](usize place, sock_filter instruction, const char* how) {
        std::vector<sock_filter> program = original;
        program[place] = instruction;
        must_be_noticed(original, program, scope, "instruction " + std::to_string(place) + " " + how, verbose);
    };
    for (usize i = 0; i < original.size(); ++i) {
        sock_filter instruction = original[i];
        if (BPF_CLASS(instruction.code) == BPF_JMP && BPF_OP(instruction.code) != BPF_JA) {
            // A test against nothing (JSET 0) never succeeds as it is: only the other way is a change.
            bool never = BPF_OP(instruction.code) == BPF_JSET && instruction.k == 0;
            if (instruction.jt == instruction.jf) continue;
            with(i, {instruction.code, instruction.jt, instruction.jt, instruction.k}, "always jumps");
            if (!never) with(i, {instruction.code, instruction.jf, instruction.jf, instruction.k}, "never jumps");
        } else if (instruction.code == (BPF_RET | BPF_K)) {
            for (u32 answer : {SECCOMP_RET_ALLOW, SECCOMP_RET_KILL_PROCESS})
                if (instruction.k != answer) with(i, {instruction.code, 0, 0, answer}, "answers otherwise");
        } else if (instruction.code == (BPF_ALU | BPF_AND | BPF_K)) {
            with(i, {instruction.code, 0, 0, 0}, "masks everything");
        }
    }
}

}  // namespace

int main(int count, char** words) {
    bool only_original = false, verbose = false;
    for (int i = 1; i < count; ++i) {
        if (strcmp(words[i], "--only-original") == 0)
            only_original = true;
        else if (strcmp(words[i], "--verbose") == 0)
            verbose = true;
        else {
            fprintf(stderr, "usage: check-mutate [--only-original] [--verbose]\n");
            return 2;
        }
    }
    bool good = true;
    for (bool scope : {true, false}) {
        host::FilterOptions options;
        options.signal_scope = scope;
        std::vector<sock_filter> program = build(options);
        if (program.empty()) {
            printf("the filter does not fit into %zu instructions\n", host::kMaxFilterLength);
            return 1;
        }
        for (const std::string& violation : check::violations(program, scope, 20)) {
            printf("%s landlock's signal scope: %s\n", scope ? "with" : "without", violation.c_str());
            good = false;
        }
        if (only_original || !good) continue;
        mutate_rules(program, scope, verbose);
        mutate_instructions(program, scope, false);  // their number is what counts
    }
    if (!only_original && good)
        printf("%d weakened filters: %d noticed, %d change nothing, %d NOT noticed\n", mutants,
               mutants - survivors - equivalents, equivalents, survivors);
    return good && survivors == 0 ? 0 : 1;
}
