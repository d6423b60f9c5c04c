// SPDX-License-Identifier: Apache-2.0
// The personality's side: registration, and handing it exceptions and interrupts.
#include "host/linux/entry/personality.hpp"

#include "base/memory.hpp"
#include "host/linux/entry/calls.hpp"
#include "host/linux/entry/host_call.hpp"
#include "host/linux/entry/patch/patching.hpp"
#include "host/linux/entry/request.hpp"
#include "host/linux/entry/threads.hpp"

namespace postern::host {

const gate::Personality* g_personality = nullptr;

namespace {

/// Until a personality registers no program code runs, so this cannot be reached from a program.
void no_personality(gate::Frame*) { fail("a system call before a personality has registered"); }

Err register_personality(const gate::Personality* personality) {
    if (g_personality != nullptr) return Err::exists;
    if (personality == nullptr || personality->system_call == nullptr || personality->exception == nullptr)
        return Err::bad_argument;
    g_personality = personality;
    personality_system_call = personality->system_call;
    return Err::ok;
}

[[noreturn]] void resume(gate::Frame* frame) { resume_frame(frame); }

Err members_usage(const u32* members, u32 count, gate::MembersUsage* usage) {
    Request request{Ask::usage};
    std::string_view numbers{reinterpret_cast<const char*>(members), count * sizeof *members};
    if (count > 64 || !request.name("") || !request.second(numbers)) return Err::bad_argument;
    if (Err error = request.ring(); error != Err::ok) return error;
    if (request.slot().text_length != sizeof *usage) return Err::io;
    memcpy(usage, request.slot().names, sizeof *usage);
    return Err::ok;
}

void limit_met(gate::Limit limit) {
    u32 bit = static_cast<u32>(limit);
    u32& known = g_process.requests->limits_met;
    if ((__atomic_load_n(&known, __ATOMIC_RELAXED) & bit) == 0) __atomic_or_fetch(&known, bit, __ATOMIC_RELAXED);
}

}  // namespace

extern "C" {
void (*personality_system_call)(gate::Frame*) = no_personality;

void deliver_exception(gate::Frame* frame) {
    if (g_personality == nullptr) fail("an exception before a personality has registered");
    g_personality->exception(frame, &gate::thread_control()->exception);
}

void deliver_interrupt(gate::Frame* frame) {
    gate::ThreadControl& control = *gate::thread_control();
    __atomic_store_n(&control.pending, 0, __ATOMIC_SEQ_CST);
    gate::ExceptionInfo info;
    info.kind = gate::ExceptionKind::interrupt;
    info.external = __atomic_exchange_n(&control.external, 0, __ATOMIC_SEQ_CST);
    if (g_personality != nullptr) g_personality->exception(frame, &info);
}
}

const gate::PersonalityHost kPersonalityHost = {
    .version = 1,
    .size = sizeof(gate::PersonalityHost),
    .register_personality = register_personality,
    .resume = resume,
    .code_changed = patch_code_changed,
    .code_reset = patch_code_reset,
    .code_prepared = patch_code_prepared,
    .members_usage = members_usage,
    .limit_met = limit_met,
};

}  // namespace postern::host
