// SPDX-License-Identifier: Apache-2.0
// Time, randomness, references, display, debugging; and the three upcalls.
#pragma once

#include "gate/table/common.hpp"

namespace postern::gate::schema {

inline constexpr Call kOtherCalls[] = {
    call(53, "DkSystemTimeQuery", Group::other) +
        value(Type::clock, "clock", Unit::none, Domain::clock, "which clock") +
        out(Type::u64_pointer, "nanoseconds", "the clock's value; realtime counts from 1970-01-01 UTC",
            Unit::nanoseconds) +
        fails(Err::bad_argument, "no such clock") + fails(Err::bad_address, "`nanoseconds` is not writable") +
        docs("Reads a clock. The monotonic clocks never run backwards; the CPU clocks count the calling thread or this "
             "picoprocess."),

    call(54, "DkTimerSet", Group::other) +
        value(Type::timer_kind, "kind", Unit::none, Domain::timer_kind, "which of the three timers") +
        in64("nanoseconds", "until the interrupt; 0: off", Unit::nanoseconds) +
        fails(Err::bad_argument, "no such timer") +
        docs("Sets one of the picoprocess's timers, replacing what was set. When it runs out some thread is "
             "interrupted with kExternalTimer, kExternalCpuTimer (user time) or kExternalProfileTimer (user and "
             "system time). The resolution is the host's, a microsecond or better. Forked picoprocesses start with "
             "timers off.") +
        needed("A thread that sleeps in DkThreadDelayExecution can stand for a wall-clock timer at the price of a "
               "thread per process, but nothing else in the gate fires on consumed processor time."),

    call(55, "DkRandomBitsRead", Group::other) + bytes_out("buffer", "size", "where they go") +
        in64("size", "bytes", Unit::bytes) + fails(Err::bad_address, "the buffer is not writable") +
        docs("Fills a buffer with random bits that are fit for keys."),

    call(56, "DkInstructionCacheFlush", Group::other) + in64("address", "first byte", Unit::address) +
        in64("size", "bytes", Unit::bytes) + fails(Err::bad_argument, "the range wraps around") +
        docs("Makes instructions that were written visible to execution by every thread of this picoprocess. Cheap "
             "where the processor does so by itself."),

    call(57, "DkObjectReference", Group::other) + handle("object", kAnyKind, Right::none, "any open handle") +
        reason::kBadHandle + fails(Err::no_quota, "the count of references is at its limit") +
        docs("Adds a reference to a handle: it stays open until as many DkObjectClose follow."),

    call(58, "DkObjectClose", Group::other) + handle("object", kAnyKind, Right::none, "any open handle") +
        reason::kBadHandle +
        docs("Drops one reference; with the last one the handle's number is free and, unless others hold it, the "
             "object gone. Never fails for an open handle. Threads that wait for the object are not woken."),

    call(59, "DkInputEventRead", Group::other) + handle("input", ObjectKind::stream, Right::read, "an input queue") +
        bytes_out("buffer", "size", "where events go") + in64("size", "bytes that the buffer takes", Unit::bytes) +
        out(Type::u64_pointer, "actual", "bytes of whole events", Unit::bytes) + reason::kHandle +
        fails(Err::bad_address, "a buffer is not accessible") +
        fails(Err::interrupted, "DkThreadInterrupt ended the wait") +
        fails(Err::unsupported, "this host has no display") + blocking + unsupported_on_linux +
        docs("Reads keyboard and pointer events."),

    call(60, "DkFrameBufferExport", Group::other) +
        in64("address", "first byte of the pixels, a page multiple", Unit::page_address) +
        in32("width", "pixels", Domain::any, Unit::pixels) + in32("height", "pixels", Domain::any, Unit::pixels) +
        in32("stride", "bytes from one line to the next", Domain::any, Unit::bytes) +
        new_handle("frame_buffer", ObjectKind::stream, "the exported picture") + reason::kNewHandle +
        fails(Err::bad_argument, "the picture is empty or does not fit its stride") +
        fails(Err::unsupported, "this host has no display") + unsupported_on_linux +
        docs("Shows memory of the guest as a picture of 32-bit pixels."),

    call(61, "DkFrameBufferNotifyUpdate", Group::other) +
        handle("frame_buffer", ObjectKind::stream, Right::write, "an exported picture") +
        in32("x", "left edge", Domain::any, Unit::pixels) + in32("y", "upper edge", Domain::any, Unit::pixels) +
        in32("width", "pixels", Domain::any, Unit::pixels) + in32("height", "pixels", Domain::any, Unit::pixels) +
        reason::kHandle + fails(Err::bad_argument, "the rectangle leaves the picture") +
        fails(Err::unsupported, "this host has no display") + unsupported_on_linux +
        docs("Says which rectangle has changed."),

    call(62, "DkDebugStringPrint", Group::other) +
        Param{.name = "text", .type = Type::string, .unit = Unit::text, .sized_by = "size", .doc = "not terminated"} +
        in64("size", "bytes, at most 4096 are kept", Unit::bytes) +
        fails(Err::bad_address, "the text is not readable") +
        docs("Writes text to the host's debug log, for people. Where no log is kept it goes nowhere."),
};

inline constexpr Call kUpcalls[] = {
    call(101, "LibOsInitialize", Group::upcall) +
        Param{.name = "parameters", .type = Type::parameters, .doc = "gate, arguments, limits; valid for ever"} +
        Returns::never +
        docs("First entry into the library OS, on the first thread, in a picoprocess that was started and not forked."),
    call(102, "LibOsThreadStart", Group::upcall) + in64("parameter", "as given to DkThreadCreate") + Returns::never +
        docs("First entry of a thread, on the stack that DkThreadCreate named."),
    call(103, "LibOsExceptionDispatch", Group::upcall) +
        Param{.name = "info", .type = Type::exception_info, .doc = "what happened"} +
        in64("instruction", "address of the instruction that faulted", Unit::address) + Returns::address +
        docs("A fault inside the library OS itself. The address returned is where the thread continues (an "
             "exception-table fix-up); 0: there is none, and the picoprocess ends with a report. The one upcall that "
             "returns, and it returns nothing but that address."),
};

}  // namespace postern::gate::schema
