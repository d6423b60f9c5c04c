// SPDX-License-Identifier: Apache-2.0
// The registered personality, and the functions through which the assembly reaches it.
#pragma once

#include "gate/personality.hpp"

namespace postern::host {

extern const gate::Personality* g_personality;  ///< null until one has registered
extern const gate::PersonalityHost kPersonalityHost;

extern "C" {
/// Called by the entry code for every system call of the program.
extern void (*personality_system_call)(gate::Frame*);
void deliver_exception(gate::Frame* frame);
void deliver_interrupt(gate::Frame* frame);
}

}  // namespace postern::host
