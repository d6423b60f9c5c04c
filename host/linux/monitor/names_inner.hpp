// SPDX-License-Identifier: Apache-2.0
// What the files of names*.cpp share.
#pragma once

#include "host/linux/monitor/names.hpp"

namespace postern::host {

inline constexpr int kMaxRaces = 8;  ///< how often a name is resolved anew because somebody renames meanwhile

inline std::string_view directory_of(std::string_view path) {
    usize slash = path.rfind('/');
    return slash == 0 || slash == std::string_view::npos ? std::string_view{"/"} : path.substr(0, slash);
}
/// The host path of what a route covers at `path`: for a glob, the component that matched stands in for the pattern's.
std::string host_path(const core::Route& route, std::string_view path, std::string_view rest);

}  // namespace postern::host
