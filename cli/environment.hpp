// SPDX-License-Identifier: Apache-2.0
// What of the caller's environment a program gets.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace postern::cli {

/// Does a variable of that name probably hold a secret, or a way to somebody who would act for the caller?
bool looks_secret(std::string_view name);
/// The caller's variables without those that look secret; `minimal`: only those by which a program finds its way and
/// talks to the user. PATH is always there. Then each of `changes` in turn: "NAME=VALUE" sets, "NAME" passes the
/// caller's value (docker's -e).
std::vector<std::string> make_environment(bool minimal, const std::vector<std::string>& changes);

}  // namespace postern::cli
