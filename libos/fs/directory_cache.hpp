// SPDX-License-Identifier: Apache-2.0
// What the listings of directories tell about names, and when it pays to fetch one.
//
// A listing costs the host about as much as two or three questions, and then answers all questions for names that the
// directory lacks, and where attributes came with it also those for names that it has.
#pragma once

#include <string_view>

#include "libos/gate.hpp"

namespace postern::libos {

/// Answers from listings and from what is known of the directories above, as DkStreamAttributesQuery would. False:
/// they do not tell.
bool listed_answer(std::string_view path, u32 options, gate::Attributes& answer, gate::Err& error);

/// A name is about to be asked about. True: a listing was fetched that may tell of it.
bool fetch_before_query(std::string_view path);
/// As above, for opening what should be there.
bool fetch_before_open(std::string_view path);
/// A directory is about to be opened. True: its listing was fetched, unless some other was in the way.
bool fetch_directory(std::string_view path);
/// Takes `.`, and `..` with what it leaves, out of the path where the directories on the way are known to be no links.
/// The length that is left; it stays NUL-terminated.
usize without_dots(char* path, usize length);
/// Does the `file:` name lie in a directory of an immutable route, as far as is known, and is it perhaps a file?
bool may_be_file(const char* uri);
/// The host was asked about a name and answered so.
void note_question(std::string_view path, gate::Err error, const gate::Attributes& answer);

}  // namespace postern::libos
