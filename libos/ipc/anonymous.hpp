// SPDX-License-Identifier: Apache-2.0
// What files without a name have in common.
#pragma once

#include "libos/fs/file.hpp"

namespace postern::libos {

/// Type bits of st_mode, as inode(7).
inline constexpr u32 kModeFifo = 0010000, kModeCharacter = 0020000, kModeDirectory = 0040000, kModeBlock = 0060000,
                     kModeRegular = 0100000, kModeLink = 0120000, kModeSocket = 0140000;

/// fstat of a pipe, socket or anonymous inode: `mode` with type bits, owned by the caller's effective user.
void fill_anonymous_stat(Thread& thread, Stat& stat, u32 mode, u64 number);

/// Gives the file the text that /proc/PID/fd shows. Memory shortage leaves it without.
void set_path_text(File& file, std::string_view text);

/// A File that is held for the length of one call. With a table that no other thread can change the table's own
/// reference suffices: a picoprocess that is killed meanwhile then leaves no reference behind.
class HeldFile {
public:
    HeldFile() = default;
    HeldFile(const HeldFile&) = delete;
    HeldFile& operator=(const HeldFile&) = delete;
    ~HeldFile() { drop(); }
    Res<void> hold(Thread& thread, u32 fd);
    void drop();
    File* get() const { return file_; }
    File* operator->() const { return file_; }

private:
    File* file_ = nullptr;
    bool referenced_ = false;
};

}  // namespace postern::libos
