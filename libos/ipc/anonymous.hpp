// SPDX-License-Identifier: Apache-2.0
// What files without a name have in common.
#pragma once

#include "libos/fs/inode.hpp"
#include "libos/fs/path.hpp"

namespace postern::libos {

/// fstat of a pipe, socket or anonymous inode: `mode` with type bits, owned by the caller's effective user.
void fill_anonymous_stat(Thread& thread, Stat& stat, u32 mode, u64 number);

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
