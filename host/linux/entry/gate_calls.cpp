// SPDX-License-Identifier: Apache-2.0
// The structure of entry points that the library OS gets: each call counted, and traced when asked for.
#include "host/linux/entry/calls.hpp"
#include "host/linux/entry/host_call.hpp"
#include "host/linux/entry/trace.hpp"

namespace postern::host {
namespace {

template <CallNumber Number, auto Function>
struct Entry;

template <CallNumber Number, class R, class... A, R (*Function)(A...)>
struct Entry<Number, Function> {
    /// Values and null pointers are checked here, from the table, for every call alike.
    static R checked(A... arguments) {
        if constexpr (!std::is_void_v<R> && gate::works_on_linux(Number))
            if (Err error = gate::check_values<Number>(arguments...); error != Err::ok) [[unlikely]]
                return error;
        return Function(arguments...);
    }
    static R plain(A... arguments) {
        count_gate_call();
        return checked(arguments...);
    }
    static R traced(A... arguments) {
        count_gate_call();
        u64 words[8] = {static_cast<u64>(trace_word(arguments))...};
        trace_begin(Number, words);
        if constexpr (std::is_void_v<R>) {
            Function(arguments...);
        } else {
            R result = checked(arguments...);
            trace_end(Number, words, result);
            return result;
        }
    }
};

template <bool Traced>
constexpr gate::Calls make() {
    gate::Calls calls{};
    calls.version = gate::kAbiVersion;
    calls.size = sizeof(gate::Calls);
#define POSTERN_CALL(number, name) \
    calls.name = Traced ? Entry<CallNumber::name, &name>::traced : Entry<CallNumber::name, &name>::plain;
#define POSTERN_UPCALL(number, name)
#include "gate/generated/calls.inc"
#undef POSTERN_CALL
#undef POSTERN_UPCALL
    return calls;
}

constexpr gate::Calls kPlain = make<false>();
constexpr gate::Calls kTraced = make<true>();

}  // namespace

const gate::Calls* gate_calls(bool traced) { return traced ? &kTraced : &kPlain; }

// What this host does not offer.
Err DkStreamMapPeBinary(Handle, u64, u64*) { return Err::unsupported; }
Err DkHandlePass(Handle, Handle, Handle*) { return Err::unsupported; }
Err DkChannelCreate(Handle*, Handle*) { return Err::unsupported; }
Err DkChannelCall(Handle, const void*, u32, void*, u32, u32*) { return Err::unsupported; }
Err DkChannelReplyReceive(Handle, const void*, u32, void*, u32, u32*) { return Err::unsupported; }
Err DkChannelSend(Handle, const void*, u32) { return Err::unsupported; }
Err DkInputEventRead(Handle, void*, u64, u64*) { return Err::unsupported; }
Err DkFrameBufferExport(u64, u32, u32, u32, Handle*) { return Err::unsupported; }
Err DkFrameBufferNotifyUpdate(Handle, u32, u32, u32, u32) { return Err::unsupported; }

}  // namespace postern::host
