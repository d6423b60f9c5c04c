// SPDX-License-Identifier: Apache-2.0
// What the monitor's tests run in place of a library OS: argument 1 says what to do.
#include "base/format.hpp"
#include "gate/abi.hpp"

using namespace postern;
using namespace postern::gate;

namespace {

const Calls* g;
const LibOsParameters* parameters_;
Handle output;

void print(std::string_view text) {
    u64 actual;
    g->DkStreamWrite(output, kNoOffset, text.data(), text.size(), &actual);
}

template <class... Parts>
void say(const Parts&... parts) {
    TextBuffer<512> text;
    text.add(parts..., '\n');
    print(text.view());
}

void sleep_ms(u64 milliseconds) {
    u64 left = milliseconds * 1'000'000;
    while (left != 0 && g->DkThreadDelayExecution(&left) != Err::ok) {
    }
}

[[noreturn]] void sleep_for_ever() {
    for (;;) sleep_ms(1'000'000);
}

[[noreturn]] void finish(u32 code) {
    g->DkProcessExit(code);
    __builtin_trap();
}

bool fork_child() {
    ForkResult result;
    if (g->DkProcessFork(&result) != Err::ok) return false;
    return result.is_child != 0;
}

u32 number(const char* text) {
    u32 value = 0;
    for (; text != nullptr && *text >= '0' && *text <= '9'; ++text) value = value * 10 + static_cast<u32>(*text - '0');
    return value;
}

void bomb() {
    u32 made = 0;
    for (;;) {
        ForkResult result;
        Err error = g->DkProcessFork(&result);
        if (error != Err::ok) {
            say("made ", made, " then ", static_cast<u32>(error));
            return;
        }
        if (result.is_child) sleep_for_ever();
        ++made;
    }
}

void eat(u64 base, bool shared) {
    Handle arena = 0;
    u64 arena_size = parameters_->arena_size;
    if (shared) g->DkStreamOpen("memory:arena", kAccessRead | kAccessWrite, 0, kCreateNever, 0, &arena, nullptr);
    constexpr u64 kStep = 1 << 20;
    for (u64 i = 0;; ++i) {
        u64 address = base + i * kStep;
        Err error = shared ? g->DkStreamMap(arena, address, kStep, i * kStep, kProtRead | kProtWrite, kMapShared)
                           : g->DkVirtualMemoryAlloc(address, kStep, kAllocCommit, kProtRead | kProtWrite);
        if (error != Err::ok || (shared && (i + 1) * kStep > arena_size)) {
            say("refused after ", i, " MiB");
            return;
        }
        for (u64 page = 0; page < kStep; page += 4096) *reinterpret_cast<volatile u8*>(address + page) = 1;
    }
}

void open(const char* uri, u32 access, u32 create) {
    Handle stream;
    Attributes attributes{};
    Err error = g->DkStreamOpen(uri, access, 0644, create, 0, &stream, &attributes);
    if (error != Err::ok) return say("error ", static_cast<u32>(error));
    char text[200];
    u64 actual = 0;
    if (attributes.type == StreamType::file && (access & kAccessRead)) {
        g->DkStreamRead(stream, 0, text, sizeof text, &actual);
        print({text, actual});
    } else {
        say("opened ", static_cast<u32>(attributes.type));
    }
    g->DkObjectClose(stream);
}

}  // namespace

extern "C" [[noreturn]] void LibOsInitialize(const LibOsParameters* parameters) {
    g = parameters->calls;
    parameters_ = parameters;
    g->DkStreamOpen("stdout:", kAccessWrite, 0, kCreateNever, 0, &output, nullptr);
    std::string_view what = parameters->argument_count > 1 ? parameters->arguments[1] : "exit";
    const char* argument = parameters->argument_count > 2 ? parameters->arguments[2] : "0";
    if (what == "exit") finish(number(argument));
    if (what == "sleep") {
        say("ready");
        sleep_for_ever();
    }
    if (what == "family") {
        for (u32 i = number(argument); i > 0; --i) {
            if (fork_child()) sleep_for_ever();
        }
        say("ready");
        sleep_for_ever();
    }
    if (what == "clones") {  // processes that are made and end all the time, while somebody is killed
        for (int i = 0; i < 4; ++i) {
            if (fork_child()) break;
        }
        say("ready");
        for (;;) {
            if (fork_child()) finish(0);
            sleep_ms(1);
        }
    }
    if (what == "leave") {
        if (fork_child()) {
            sleep_ms(300);
            say("left behind");
            finish(0);
        }
        finish(3);
    }
    if (what == "bomb") {
        bomb();
        finish(0);
    }
    if (what == "eat") {
        eat(0x2000'0000'0000, false);
        finish(0);
    }
    if (what == "share") {
        eat(0x2000'0000'0000, true);
        finish(0);
    }
    if (what == "print") {
        // More than a pipe holds, so that somebody must read.
        for (u32 i = number(argument); i > 0; --i) say("line ", i, " of a text that is long enough to fill a pipe");
        finish(0);
    }
    if (what == "crash") *reinterpret_cast<volatile u32*>(8) = 1;
    if (what == "echo") {
        Handle input;
        g->DkStreamOpen("stdin:", kAccessRead, 0, kCreateNever, 0, &input, nullptr);
        char text[4096];
        for (;;) {
            u64 actual = 0;
            if (g->DkStreamRead(input, kNoOffset, text, sizeof text, &actual) != Err::ok || actual == 0) break;
            print({text, actual});
        }
        finish(0);
    }
    if (what == "options") {
        print(parameters->options);
        say("cwd=", parameters->working_directory);
        finish(0);
    }
    if (what == "query") {  // how long a question takes: NUMBER NAME
        u64 start = 0, end = 0;
        u32 count = number(argument);
        g->DkSystemTimeQuery(Clock::monotonic, &start);
        for (u32 i = 0; i < count; ++i) {
            Attributes attributes{};
            g->DkStreamAttributesQuery(parameters->arguments[3], 0, &attributes);
        }
        g->DkSystemTimeQuery(Clock::monotonic, &end);
        say((end - start) / count, " ns");
        finish(0);
    }
    if (what == "read") open(argument, kAccessRead, kCreateNever);
    if (what == "write") open(argument, kAccessWrite, kCreateTry);
    finish(0);
}

extern "C" [[noreturn]] void LibOsThreadStart(u64) { __builtin_trap(); }
extern "C" u64 LibOsExceptionDispatch(const ExceptionInfo*, u64) { return 0; }
