// SPDX-License-Identifier: Apache-2.0
// Memory calls. The guest chooses every address; the host supplies only memory.
#pragma once

#include "gate/table/common.hpp"

namespace postern::gate::schema {

inline constexpr Param kAddressParam = in64("address", "first byte, a page multiple", Unit::page_address);
inline constexpr Param kSizeParam = in64("size", "bytes, a page multiple, not 0", Unit::page_bytes);
inline constexpr Param kProtParam = in32("prot", "permitted accesses", Domain::prot, Unit::bits);

inline constexpr Call kMemoryCalls[] = {
    call(1, "DkVirtualMemoryAlloc", Group::memory) + kAddressParam + kSizeParam +
        in32("flags", "exactly one of reserve and commit, and modifiers", Domain::alloc_flags, Unit::bits) +
        kProtParam + reason::kRange + fails(Err::exists, "part of the range is in use and `replace` is not given") +
        fails(Err::no_memory, "memory or address space is exhausted") +
        fails(Err::denied, "the range belongs to the host part of the picoprocess") +
        docs("Takes addresses. `reserve` makes every access fault; `commit` gives memory that reads zero until it is "
             "written, with `shared` the same memory in every picoprocess that forks from this one. `replace` puts it "
             "in place of what the range holds in one step; without it a used range is refused and left as it was. "
             "`populate` supplies the memory now instead of on first touch."),

    call(2, "DkVirtualMemoryFree", Group::memory) + kAddressParam + kSizeParam +
        value(Type::free_kind, "kind", Unit::none, Domain::free_kind, "what is given up") + reason::kRange +
        fails(Err::denied, "the range belongs to the host part of the picoprocess") +
        fails(Err::no_memory, "splitting a range needs memory that is exhausted; or `kind` needs a fully used range") +
        fails(Err::unsupported, "the memory has no such operation (for example `remove` of private memory)") +
        fails(Err::io, "the provider behind a mapping reported a failure") +
        docs("`release` gives addresses and contents back; holes in the range are permitted. `decommit` drops the "
             "contents and keeps the addresses: the next touch reads zero, or the mapped stream. `lazy` permits the "
             "host to drop them when memory is short. `remove` gives back the storage behind a shared mapping, which "
             "then reads zero everywhere. `will_need` announces use and changes nothing."),

    call(3, "DkVirtualMemoryProtect", Group::memory) + kAddressParam + kSizeParam + kProtParam + reason::kRange +
        fails(Err::denied, "the range belongs to the host part, or a shared mapping lacks the write right") +
        fails(Err::no_memory, "part of the range is not in use, or splitting needs memory that is exhausted") +
        docs("Sets the permitted accesses of a range in use. An access that is not permitted is delivered as "
             "ExceptionKind::access_violation with the address and the kind of access."),

    call(4, "DkVirtualMemoryMove", Group::memory) + in64("address", "first byte, a page multiple", Unit::page_address) +
        in64("size", "bytes moved, a page multiple; all of one mapping", Unit::page_bytes) +
        in64("new_address", "where the range goes; equal to `address`: resize in place", Unit::page_address) +
        in64("new_size", "bytes afterwards, a page multiple, not 0", Unit::page_bytes) + reason::kRange +
        fails(Err::denied, "a range belongs to the host part of the picoprocess") +
        fails(Err::exists, "resizing in place would run into a range in use") +
        fails(Err::bad_address, "the old range is not in use, or is several mappings") +
        fails(Err::no_memory, "memory or address space is exhausted") +
        docs("Moves a mapping with its contents to other addresses and changes its size; whatever the new range held "
             "is replaced. Growth reads zero, or continues the mapped stream. Old and new range do not overlap, "
             "except that equal addresses resize in place.") +
        needed("Growing a large block by allocation and copying touches every page twice and needs both at once, and "
               "for a private mapping of a stream no other call keeps the pages that were already written. Moving "
               "changes addresses only."),
};

}  // namespace postern::gate::schema
