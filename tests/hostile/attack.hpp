// SPDX-License-Identifier: Apache-2.0
// One attack a function. Each prints lines "key value" that the harness judges; reaching something is never fatal here,
// so that one run shows every hole at once.
#pragma once

namespace hostile {

struct Attack {
    const char* name;
    int (*run)(int argc, char** argv);  ///< arguments after the attack's name
    const char* what;
};
extern const Attack kAttacks[];
extern const int kAttackCount;

/// How a forked child ended.
enum class Ending { returned, killed, other_signal, hung };
struct Outcome {
    Ending ending;
    int signal;
    long value;  ///< what the child's call returned, when it did
};
/// Runs `body` in a forked child with a deadline; its result comes back through shared memory.
Outcome in_child(long (*body)(void* cookie), void* cookie, int milliseconds = 1500);

int numbers_here(int argc, char** argv);
int numbers_gate(int argc, char** argv);
int forbidden_gate(int argc, char** argv);
int other_entries(int argc, char** argv);
int arguments_gate(int argc, char** argv);
int signals(int argc, char** argv);
int descriptors(int argc, char** argv);
int overmap(int argc, char** argv);
int slots(int argc, char** argv);
int uninvited(int argc, char** argv);
int fork_bomb(int argc, char** argv);
int cpu_bomb(int argc, char** argv);
int memory_bomb(int argc, char** argv);
int session_storm(int argc, char** argv);
int answered(int argc, char** argv);
int allowed_gate(int argc, char** argv);
int remap_gate(int argc, char** argv);

}  // namespace hostile
