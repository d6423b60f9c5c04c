// SPDX-License-Identifier: Apache-2.0
// What the host answered about names on immutable routes, kept for the whole family.
//
// Only answers that the gate calls cacheable enter, refusals among them, so nothing ever needs to be taken out: the
// table is read without a lock, and grows until its limit. Listings of directories (listing.hpp) answer, too, for the
// names that they have and for those that they lack.
#pragma once

#include <string_view>

#include "libos/errno.hpp"
#include "libos/gate.hpp"

namespace postern::libos {

struct Listing;

/// One answer. It stays for ever.
struct KnownName {
    KnownName* next;
    u32 hash;     ///< of the path
    u32 options;  ///< kOpenNoFollow or 0
    bool either;  ///< no link is involved: the answer is the same with both options
    gate::Err error;
    u32 path_length;
    u32 name_at;  ///< where in `text` the canonical name begins
    gate::Attributes attributes;
    mutable bool large;              ///< too large a directory for being listed in one answer
    mutable bool opened;             ///< as a file, since it was asked about
    mutable const Listing* listing;  ///< of the directory; atomic
    char text[8];                    ///< path, NUL, and unless that is all the canonical name, NUL, target, NUL

    std::string_view name() const { return {text + name_at, attributes.name_length}; }
    bool is_directory() const { return error == gate::Err::ok && attributes.type == gate::StreamType::directory; }
};

/// Once, before the first fork.
Res<void> name_cache_initialize();

/// Writes `name` below the directory `base`, or `base` itself when `name` is empty, and a NUL. Its length without that;
/// `to` has room for both and two bytes more.
usize join_path(char* to, std::string_view base, std::string_view name);
/// Answers `known` as the gate would: with the canonical name, which is `base` or `name` below it, and a link's target
/// in the buffer that `answer` lends, if it does. False: the buffer is too small, and the gate must be asked.
bool answer_named(gate::Attributes& answer, const gate::Attributes& known, std::string_view base, std::string_view name,
                  std::string_view target);
/// DkStreamAttributesQuery, answered from memory where that is allowed. `answer.name` may lend a buffer as there.
gate::Err query_name(const char* uri, u32 options, gate::Attributes& answer);
/// The part of it that asks nobody, unless for a listing that will answer more than this. False: nothing is known.
bool known_answer(const char* uri, u32 options, gate::Attributes& answer, gate::Err& error);
/// What the gate answered a question.
void note_answer(const char* uri, u32 options, gate::Err error, const gate::Attributes& answer);
/// A refusal that is known without asking, for opening what exists: Err::ok when nothing is known.
gate::Err known_refusal(const char* uri, u32 options, gate::Attributes& answer);
/// The entry of a `file:` name (without the scheme), a refusal or not; null when nothing is known.
const KnownName* find_name(std::string_view path, u32 options);
/// As above, of a name that leads to something on the host.
const KnownName* known_name(const char* uri, u32 options);
/// The names of the entry's answer, as DkStreamOpen gives them. False: `answer` lends too small a buffer.
bool known_name_answer(const KnownName& known, gate::Attributes& answer);
/// Remembers what opening an existing name answered.
void note_name(const char* uri, u32 options, gate::Err error, const gate::Attributes& answer);
/// Remembers an answer about `path`, which is canonical and no link; null: the cache is full.
const KnownName* note_canonical(std::string_view path, gate::Err error, const gate::Attributes& answer);
/// The table takes no more.
bool name_cache_full();

/// How many bytes all listings that are kept take; changed atomically.
u64& known_listing_bytes();
/// A word about the directory of that hash, or about another that has the same place.
u32& word_about(u32 hash);
u32 hash_of_name(std::string_view text);

}  // namespace postern::libos
