// SPDX-License-Identifier: Apache-2.0
// Arguments for random gate calls, from the table: valid ones, boundaries, undefined bits, stale and foreign handles.
//
// Freestanding and deterministic: the same seed makes the same calls.
#pragma once

#include "base/types.hpp"
#include "gate/checks.hpp"

namespace postern::gate::fuzz {

enum class Make : u8 { number, flags, member, handle, token, deadline, uri, pointer, buffer, page_address, page_size };
struct Argument {
    Make make;
    u8 kinds;   ///< handles: kinds that the call accepts
    u64 limit;  ///< flags: mask; member: largest
};

}  // namespace postern::gate::fuzz

#include "gate/generated/fuzz_data.hpp"

namespace postern::gate::fuzz {

/// xorshift64*: not for secrets.
struct Random {
    u64 state;
    u64 next() {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        return state * 0x2545f4914f6cdd1dull;
    }
    u64 below(u64 limit) { return next() % limit; }
    bool one_in(u64 count) { return below(count) == 0; }
};

/// What the arguments may refer to. The caller owns it all and survives whatever a call does to it.
struct Pool {
    const Handle* handles;    ///< open and closed ones
    const ObjectKind* kinds;  ///< of each handle
    u32 handle_count;
    const char* const* uris;
    u32 uri_count;
    u64 memory_low, memory_high;  ///< addresses that calls may map, unmap and write
    u64 buffer, buffer_size;      ///< memory that stays mapped
    ThreadToken token;
    u64 now;  ///< Clock::monotonic, so that deadlines are short
};

inline u64 make(const Argument& argument, Random& random, const Pool& pool) {
    switch (argument.make) {
        case Make::flags: return random.one_in(16) ? random.next() & 0xffff'ffff : random.next() & argument.limit;
        case Make::member: return random.one_in(16) ? random.next() & 0xffff'ffff : random.below(argument.limit + 1);
        case Make::handle: {
            if (random.one_in(16)) return random.next() & 0xffff'ffff;
            u64 index = random.below(pool.handle_count);
            // Mostly one of a kind that the call accepts, if there is any.
            for (u32 tries = 0; tries < 32 && !random.one_in(8); ++tries) {
                if ((argument.kinds >> static_cast<unsigned>(pool.kinds[index]) & 1) != 0) break;
                index = random.below(pool.handle_count);
            }
            return pool.handles[index];
        }
        case Make::token: return random.one_in(2) ? random.next() : pool.token.value;
        case Make::deadline: return random.one_in(2) ? kPoll : pool.now + random.below(200'000);
        case Make::uri: return reinterpret_cast<u64>(pool.uris[random.below(pool.uri_count)]);
        case Make::pointer:  // null or accessible: the rest may be the caller's own fault, in both senses
            return random.one_in(32) ? 0 : pool.buffer + (random.below(pool.buffer_size / 2) & ~7ull);
        case Make::buffer:
            switch (random.below(8)) {
                case 0: return 0;
                case 1: return random.next();  // usually not canonical
                case 2: return pool.memory_low + random.below(pool.memory_high - pool.memory_low);
                default: return pool.buffer + (random.below(pool.buffer_size / 2) & ~7ull);
            }
        case Make::page_address:
            if (random.one_in(16)) return random.next();
            return page_floor(pool.memory_low + random.below(pool.memory_high - pool.memory_low));
        case Make::page_size:
            if (random.one_in(16)) return random.next();
            return kPageSize * random.below(16);
        case Make::number:
            switch (random.below(6)) {
                case 0: return random.next();
                case 1: return ~0ull;
                case 2: return 0x7fff'ffff'ffff'ffff;
                case 3: return 0;
                default: return random.below(4096);
            }
    }
    return 0;
}

}  // namespace postern::gate::fuzz
