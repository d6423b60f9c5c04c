// SPDX-License-Identifier: Apache-2.0
// Thread calls. The guest owns every stack; a thread appears through LibOsThreadStart.
#pragma once

#include "gate/table/common.hpp"

namespace postern::gate::schema {

inline constexpr Call kThreadCalls[] = {
    call(5, "DkThreadCreate", Group::thread) +
        in64("stack", "lowest address of the new thread's stack", Unit::address) +
        in64("stack_size", "bytes of the stack, at least 4096", Unit::bytes) +
        in64("parameter", "handed to LibOsThreadStart and DkThreadGetParameter") +
        new_handle("thread", ObjectKind::thread, "the new thread; signals when it has ended") +
        out(Type::token_pointer, "token", "names the thread for DkThreadInterrupt in the whole family") +
        fails(Err::bad_argument, "the stack is too small or leaves user addresses") + reason::kNewHandle +
        docs("Starts a thread: LibOsThreadStart(parameter) runs on the given stack. The memory of the stack belongs to "
             "the guest, which may reuse it when the thread's `clear` word has become 0 (DkThreadExit)."),

    call(6, "DkThreadDelayExecution", Group::thread) +
        in_out(Type::u64_pointer, "nanoseconds", "in: how long; out: what is left of it", Unit::nanoseconds) +
        fails(Err::bad_address, "`nanoseconds` is not accessible") +
        fails(Err::interrupted, "DkThreadInterrupt ended the delay; the rest stands in `nanoseconds`") + blocking +
        docs("Sleeps. After a full delay `nanoseconds` is 0."),

    call(7, "DkThreadYieldExecution", Group::thread) + docs("Lets other threads run. Never fails and never sleeps."),

    call(8, "DkThreadExit", Group::thread) +
        maybe(in_out(Type::u32_pointer, "clear", "word set to 0 when the stack is no longer used; may be null")) +
        Returns::never +
        docs("Ends the calling thread and signals its handle. When `*clear` has become 0 the thread's stack may be "
             "reused; threads in DkAddressWait on that word (as a shared one) are woken. The last thread's exit ends "
             "the picoprocess with code 0."),

    call(9, "DkThreadGetParameter", Group::thread) +
        out(Type::u64_pointer, "parameter", "what DkThreadCreate was given; 0 in the first thread") +
        fails(Err::bad_address, "`parameter` is not writable") + docs("Reads the calling thread's start parameter."),

    call(10, "DkThreadRaiseException", Group::thread) +
        handle("thread", ObjectKind::thread, Right::signal, "a thread of this picoprocess") +
        in32("code", "ExternalRequest bits that the exception carries", Domain::external, Unit::bits) +
        reason::kHandle + fails(Err::bad_argument, "a bit of `code` is not defined") +
        fails(Err::bad_state, "the thread has ended") +
        docs("Delivers ExceptionKind::interrupt with `code` added to ExceptionInfo::external, as DkThreadInterrupt "
             "delivers one without a code. Several raised before the thread gets to them are delivered as one with "
             "all bits."),

    call(11, "DkThreadInterrupt", Group::thread) +
        value(Type::token, "thread", Unit::none, Domain::any, "a thread of the family, in any picoprocess") +
        fails(Err::not_found, "no such thread, or it has ended") +
        fails(Err::denied, "the token names no thread of the family") +
        docs("Interrupts a thread: a call that blocks returns Err::interrupted, running program code is stopped with "
             "ExceptionKind::interrupt, and inside the personality the interrupt stays pending until the way out. An "
             "interrupt between a check and the sleep is never lost: the sleep then ends at once.") +
        needed("Linux signals must end the sleep of a thread in another picoprocess of the family. "
               "DkThreadRaiseException takes a handle, which only the creating picoprocess has, and handles cannot be "
               "passed inside a family without a channel between all pairs."),

    call(12, "DkSegmentBaseSet", Group::thread) + in32("segment", "0: FS", Domain::segment) +
        in64("base", "the new base, a user address", Unit::address) +
        fails(Err::bad_argument, "another segment, or a base outside user addresses") +
        docs("Sets the calling thread's FS base. GS belongs to the host.") +
        needed("Programs keep thread-local storage at FS. Where the processor lets programs write the base themselves "
               "no call is needed, but older kernels do not enable that, and a new thread's base must be restored "
               "there too."),
};

}  // namespace postern::gate::schema
