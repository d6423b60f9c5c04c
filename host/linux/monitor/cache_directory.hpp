// SPDX-License-Identifier: Apache-2.0
// Where runs keep what makes later ones faster: directories of the user's own that no program sees where it could
// write to them (compile_view). What others could have written is not believed. All members may be removed at any time.
#pragma once

#include <sys/stat.h>
#include <sys/uio.h>

#include <span>
#include <string>
#include <vector>

#include "host/linux/monitor/sys.hpp"

namespace postern::host {

/// $XDG_CACHE_HOME/postern of the environment, or ~/.cache/postern if the user has a home directory of the user's own.
/// Without one: root's is /var/cache/postern, and others have none ("").
std::string cache_directory();

class CacheDirectory {
public:
    /// Makes nothing yet. "": has no members and takes none.
    explicit CacheDirectory(std::string path) : path_{std::move(path)} {}

    bool exists_nowhere() const { return path_.empty(); }
    /// True when it is there, with `create` after making it, and is the user's own; from then on it stays open.
    bool open(bool create);
    int get() const { return directory_.get(); }
    /// A member, for reading. Not valid when it is missing or foreign.
    Fd member(const char* name, struct stat& status) const;
    /// Writes a member as a whole: readers see the old or the new one. False: nothing was changed.
    bool replace(const char* name, std::span<const iovec> parts) const;
    std::vector<std::string> members() const;
    void remove(const std::string& member) const { unlinkat(directory_.get(), member.c_str(), 0); }

private:
    std::string path_;
    Fd directory_;
};

/// Of data that was written by this program: found to be damaged, not forged.
u64 sum_of(const void* data, usize size);
bool write_all(int file, const void* data, usize size);

}  // namespace postern::host
